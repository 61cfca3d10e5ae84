// Ordering an export: the dialog, its progress, and the download. A dialog that is closed leaves the work going on.

import { appPath, call, newKey } from './api.js';
import { openDialog } from './dialog.js';
import { clearProblem, showProblem } from './form.js';
import { known, number, sentence, size, t } from './i18n.js';
import { busy, copy, oneAtATime, toast } from './ui.js';

const over = ['completed', 'failed', 'cancelled', 'expired'];

export const exportPath = (app, id) => `${appPath(app)}/exports/${encodeURIComponent(id)}`;

// download fetches a file under an address that is made at this moment, or what describes the file.
export async function download(app, id, { manifest = false } = {}) {
  try {
    const { value } = await call('GET', exportPath(app, id));
    const url = manifest ? value.manifest_url : value.download_url;
    if (!url) throw Object.assign(new Error(), { code: 'export_expired' });
    location.assign(url); // an attachment: the page stays
  } catch (error) {
    toast(sentence(error.code, error.detail), { bad: true });
  }
}

// cancel ends an export, and returns whether it did.
export async function cancel(app, id) {
  try {
    await call('DELETE', exportPath(app, id), { headers: { 'Idempotency-Key': newKey() } });
    return true;
  } catch (error) {
    toast(sentence(error.code, error.detail), { bad: true });
    return false;
  }
}

// copySum puts the hash of a file where it can be pasted.
export async function copySum(sum) {
  if (await copy(sum)) toast(t('exports.copied'));
}

// openExport orders an export of a scope: {user_ids}, {filter} or neither, said to people as what. ordered is called with the job.
export async function openExport(app, { what, ...scope }, ordered = () => {}) {
  const dialog = await openDialog(`/console/apps/${encodeURIComponent(app)}/exports/new`);
  if (dialog) new Order(app, scope, what, ordered, dialog);
}

class Order {
  constructor(app, scope, what, ordered, dialog) {
    Object.assign(this, { app, scope, ordered, dialog });
    this.form = dialog.querySelector('form');
    this.part = (name) => dialog.querySelector(`[data-${name}]`);
    this.part('scope').textContent = what;
    this.part('work').hidden = true;
    this.boxes = [...this.form.querySelectorAll('[name="fields"]')];
    this.form.addEventListener('change', () => this.#choices());
    for (const tool of dialog.querySelectorAll('[data-fields]')) {
      tool.addEventListener('click', () => {
        for (const box of this.boxes) box.checked = tool.dataset.fields === 'all';
        this.#choices();
      });
    }
    this.form.addEventListener('submit', (event) => { event.preventDefault(); busy(this.part('go'), () => this.#order()); });
    this.part('stop').addEventListener('click', () => busy(this.part('stop'), () => cancel(app, this.id)));
    this.part('download').addEventListener('click', () => busy(this.part('download'), () => download(app, this.id)));
    this.part('copy').addEventListener('click', () => copySum(this.part('sum').textContent));
    dialog.addEventListener('close', () => this.#closed());
    this.#choices();
  }

  // A workbook is compressed already, and a file has a column at least.
  #choices() {
    const { compression, format } = this.form.elements;
    compression.disabled = format.value === 'xlsx';
    if (compression.disabled) compression.value = 'none';
    const picked = this.boxes.filter((box) => box.checked).length;
    this.part('field-count').textContent = `${number(picked)} / ${number(this.boxes.length)}`;
    this.part('go').disabled = picked === 0;
  }

  async #order() {
    const { as_of: moment, compression, format } = this.form.elements;
    clearProblem(this.form);
    const fields = this.boxes.filter((box) => box.checked).map((box) => box.value);
    const body = { ...this.scope, format: format.value, compression: compression.value };
    if (fields.length < this.boxes.length) body.fields = fields;
    if (moment.value) body.as_of = new Date(moment.value).toISOString();
    try {
      const { value } = await call('POST', `${appPath(this.app)}/exports`, { body, headers: { 'Idempotency-Key': this.key ??= newKey() } });
      this.id = value.id;
      this.ordered(value);
      this.#follow(value);
    } catch (problem) {
      if (problem.code !== 'network') this.key = undefined; // it was refused; what comes next is another order
      showProblem(this.form, problem, { position_ahead: 'as_of' });
    }
  }

  #follow(job) {
    for (const name of ['ask', 'go']) this.part(name).hidden = true;
    for (const name of ['work', 'stop']) this.part(name).hidden = false;
    this.part('leave').textContent = t('dialog.close');
    this.#show(job);
    this.events = new EventSource(`${exportPath(this.app, this.id)}/events`);
    for (const kind of ['started', 'progressed', 'interrupted', 'recalled', 'withdrawn', ...over]) this.events.addEventListener(kind, () => this.#look());
    this.events.addEventListener('error', () => this.#look()); // the end of the stream, or of the connection: it comes back by itself
  }

  // look asks how far the job is. An event says that it has moved, not where to.
  #look = oneAtATime(async () => {
    try {
      this.#show((await call('GET', exportPath(this.app, this.id))).value);
    } catch (error) {
      if (error.code !== 'network') this.part('state').textContent = sentence(error.code, error.detail);
    }
  });

  #show(job) {
    if (this.over) return;
    if (over.includes(job.status)) { this.#finish(job); return; }
    const { done, total, bytes, rows_per_second: rate, seconds_left: left } = job.progress;
    const bar = this.part('progress');
    if (total) Object.assign(bar, { max: total, value: done });
    const said = [total ? t('exports.rows_of', { done, total }) : t(job.status === 'running' ? 'exports.begins' : 'exports.waits')];
    if (bytes) said.push(size(bytes));
    if (rate) said.push(t('exports.rate', { n: Math.round(rate) }));
    if (left) said.push(t('exports.left', { n: Math.ceil(left) }));
    this.part('state').textContent = said.join(' · ');
  }

  #finish(job) {
    this.events?.close();
    this.over = true;
    if (!this.dialog.open) { this.#tell(job); return; }
    for (const name of ['work', 'stop']) this.part(name).hidden = true;
    this.part('done').hidden = false;
    const outcome = this.part('outcome');
    switch (job.status) {
      case 'completed': outcome.textContent = t('exports.done'); break;
      case 'cancelled': outcome.textContent = t('exports.done_cancelled'); break;
      default: outcome.textContent = `${t('exports.done_failed')} ${why(job)}`;
    }
    if (job.status !== 'completed') { this.part('leave').focus(); return; }
    this.part('facts').hidden = false;
    this.part('rows').textContent = number(job.rows);
    this.part('size').textContent = size(job.bytes);
    this.part('position').textContent = number(job.position);
    this.part('sum').textContent = job.sha256;
    this.part('download').hidden = false;
    this.part('download').focus();
  }

  // tell says how it ended to somebody who has closed the dialog.
  #tell(job) {
    if (job.status === 'completed') toast(t('exports.done'), { action: { label: t('exports.download'), act: () => download(this.app, this.id) } });
    else if (job.status !== 'cancelled') toast(`${t('exports.done_failed')} ${why(job)}`, { bad: true });
  }

  #closed() {
    if (this.id && !this.over) toast(t('exports.goes_on'));
  }
}

// why says why a job has no file.
const why = ({ error, error_code: code }) => (known(`exports.why_${code}`) ? t(`exports.why_${code}`) : error ?? '');
