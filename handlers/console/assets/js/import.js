// The page that imports a file: choosing one, looking at it, giving it away, and what became of it.

import { Problem } from './api.js';
import { number, size, t } from './i18n.js';
import { look } from './import-file.js';
import { reasonOf, Report } from './import-report.js';
import { Import } from './import-run.js';
import { shown } from './import-text.js';
import { startPage } from './page.js';
import { announce, toast } from './ui.js';

const { app } = document.body.dataset;
const page = document.getElementById('import');
const part = (name) => document.getElementById(`import-${name}`);
const fields = JSON.parse(page.dataset.fields);

let chosen = null; // {file, table}
let work = null; // the import, while it is on its way or may go on
let running = false;
let report = null;

function show(...names) {
  for (const name of ['choose', 'preview', 'work', 'report']) part(name).hidden = !names.includes(name);
}

async function choose(file) {
  if (!file || running) return;
  let found;
  try {
    found = await look(file, fields);
  } catch { // moved, or it is a folder
    toast(t('import.unreadable'), { bad: true });
    return;
  }
  chosen = { file, table: found.table };
  part('name').replaceChildren(shown(file.name));
  part('size').textContent = `${found.table ? 'CSV' : 'NDJSON'} · ${size(file.size)}`;
  const refused = found.problems.some((p) => p.fatal);
  part('start').disabled = refused;
  part('problems').hidden = found.problems.length === 0;
  part('problems').replaceChildren(...found.problems.map((p) => {
    const item = document.createElement('li');
    if (p.fatal) item.className = 'fatal';
    item.append(shown(wordsOf(p)));
    return item;
  }));
  showRows(found);
  show('preview');
  part('preview').focus();
  if (found.problems.length) announce(found.problems.map(wordsOf).join(' '));
}

function wordsOf({ code, name, line }) {
  switch (code) {
    case 'encoding': return t('import.encoding');
    case 'empty': return t('import.empty');
    case 'header': return t('import.no_header');
    case 'column': return chosen.table ? t('import.unknown_column', { name }) : t('import.unknown_field', { name });
    case 'twice': return t('import.column_twice', { name });
    case 'user_id': return t('import.no_user_id');
    case 'nameless': return t('import.row_no_user_id', { line });
    case 'cells': return t('import.ragged', { line });
    default: return t('import.not_json', { line });
  }
}

function showRows({ columns, rows }) {
  const cell = (kind, content, scope) => {
    const el = document.createElement(kind);
    if (scope) el.scope = scope;
    el.append(content);
    return el;
  };
  const head = document.createElement('tr');
  head.append(cell('th', t('import.line'), 'col'), ...columns.map((name) => {
    const th = cell('th', shown(name), 'col');
    th.classList.toggle('bad', !fields.includes(name));
    return th;
  }));
  part('rows').tHead.replaceChildren(head);
  part('rows').tBodies[0].replaceChildren(...rows.map((row) => {
    const tr = document.createElement('tr');
    tr.append(cell('th', number(row.line), 'row'), ...row.cells.map((text) => cell('td', shown(text))));
    return tr;
  }));
  part('scroll').hidden = rows.length === 0;
}

// Speed is measured over the time that the import ran, without that in which it waited for its visitor.
let [ran, since, rows] = [0, 0, 0];
let drawn = true;
let drawnAt = 0;
const drawPause = 200; // milliseconds: often enough to read, and seldom enough to leave the machine to the import

function progress() {
  if (!drawn) return;
  drawn = false;
  setTimeout(draw, Math.max(0, drawnAt + drawPause - performance.now()));
}

function draw() {
  drawn = true;
  drawnAt = performance.now();
  if (!work) return;
  const { figures, sent, file } = work;
  part('progress').max = file.size;
  part('progress').value = sent;
  part('bytes').textContent = t('import.sent', { sent: size(sent), total: size(file.size) });
  for (const el of page.querySelectorAll('[data-figure]')) el.textContent = number(figures[el.dataset.figure]);
  page.querySelector('[data-figure="unknown"]').parentElement.hidden = figures.unknown === 0;
  rows = Object.values(figures).reduce((a, b) => a + b, 0);
  const seconds = (ran + (running ? performance.now() - since : 0)) / 1000;
  part('speed').textContent = seconds > 0 ? t('import.speed', { n: Math.round(rows / seconds) }) : '';
}

function start() {
  report = new Report(part('report'));
  const mode = page.querySelector('[name=mode]:checked').value;
  [ran, rows] = [0, 0];
  work = new Import(app, chosen.file, { table: chosen.table, mode, report, progress });
  run();
}

async function run() {
  show('work');
  part('broken').hidden = true;
  part('go-on').hidden = true;
  part('again').hidden = true;
  part('stop').hidden = false;
  part('stop').textContent = t('import.stop');
  part('state').textContent = t('import.working');
  part('work').focus();
  [running, since] = [true, performance.now()];
  let [ended, problem] = [false, null];
  try {
    ended = await work.run();
  } catch (error) {
    problem = error;
  }
  ran += performance.now() - since;
  running = false;
  draw();
  if (problem) broken(problem);
  else part('state').textContent = ended ? t('import.done', { n: rows }) : t('import.stopped', { n: rows });
  part('stop').hidden = true;
  part('again').hidden = false;
  part('go-on').hidden = ended || (problem !== null && !mayGoOn(problem));
  report.show();
  part('work').focus();
}

// mayGoOn tells whether it is worth another try: not with a table that the service refuses, nor with a file that is no longer there.
const mayGoOn = (problem) => problem instanceof Problem && problem.status !== 422;

// broken says why an import broke off, and what is known of its rows.
function broken(problem) {
  const { piece } = work;
  part('broken').hidden = false;
  part('state').textContent = t('import.broken');
  part('why').textContent = problem instanceof Problem ? reasonOf({ ...problem, errors: problem.fields }) : t('import.unreadable');
  part('safe').textContent = !mayGoOn(problem) ? '' : piece.doubtful ? t('import.doubtful', { line: piece.line }) : t('import.left', { line: piece.line });
}

function another() {
  work = null;
  part('file').value = '';
  show('choose');
  part('file').focus();
}

function save(failed) {
  const url = URL.createObjectURL(report.file({ failed }));
  const name = chosen.file.name.replace(/\.[^.]*$/, '');
  Object.assign(document.createElement('a'), { href: url, download: `${name}-${failed ? 'failed' : 'report'}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // once the browser has it
}

part('file').addEventListener('change', () => choose(part('file').files[0]));
part('other').addEventListener('click', another);
part('again').addEventListener('click', another);
part('start').addEventListener('click', start);
part('go-on').addEventListener('click', run);
part('stop').addEventListener('click', () => {
  work.stop();
  part('stop').textContent = t('import.stop_now');
  part('state').textContent = t('import.stopping');
});
part('all').addEventListener('click', () => save(false));
part('failed').addEventListener('click', () => save(true));

// A file that is dropped beside the field is taken as well, and never opened in place of the page.
addEventListener('dragover', (event) => { event.preventDefault(); part('drop').classList.add('over'); });
addEventListener('dragleave', (event) => { if (!event.relatedTarget) part('drop').classList.remove('over'); });
addEventListener('drop', (event) => {
  event.preventDefault();
  part('drop').classList.remove('over');
  if (!work) choose(event.dataTransfer.files[0]);
});
addEventListener('beforeunload', (event) => { if (running) event.preventDefault(); });
startPage();
