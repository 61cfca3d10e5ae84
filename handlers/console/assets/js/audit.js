// The page of events: its filters, what is older, what is new, and the state of the ledger.

import { fragment, Problem } from './api.js';
import { Follower } from './follow.js';
import { number, sentence, t } from './i18n.js';
import { shortcut } from './keys.js';
import { startPage } from './page.js';
import { append, newestOf, prepend } from './timeline.js';
import { announce, busy, copy, later, paced, settle, toast } from './ui.js';

const page = document.getElementById('audit');
const form = document.getElementById('filter');
const fault = document.getElementById('fault');
const looking = document.getElementById('looking');
const older = document.getElementById('older');
const stop = document.getElementById('stop');
const follow = document.getElementById('follow');
const typing = 250; // milliseconds
const gather = 400;
const signingPause = 2000;

let abort = new AbortController(); // of what is being looked for

const events = () => document.getElementById('events');

// Times are of the reader's place in the form, and in UTC in the address.
for (const input of form.querySelectorAll('[data-moment]')) {
  const at = new Date(input.dataset.moment);
  if (Number.isNaN(at.getTime()) || /^\d+$/.test(input.dataset.moment)) continue;
  input.value = new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}

function query() {
  const q = new URLSearchParams();
  for (const input of form.elements) {
    if (!input.name || !input.value) continue;
    q.set(input.name, input.type === 'datetime-local' ? new Date(input.value).toISOString() : input.value);
  }
  return q;
}

const ask = (more, signal) => {
  const q = query();
  for (const [name, value] of Object.entries(more)) q.set(name, value);
  return fragment(`${page.dataset.events}?${q}`, { signal });
};

// load shows the latest events that the filter lets through.
async function load() {
  const signal = renew();
  const q = query();
  document.getElementById('clear').hidden = q.size === 0;
  try {
    const list = await ask({}, signal);
    fault.hidden = true;
    events().replaceWith(settle(list));
    history.replaceState(null, '', `?${q}`);
    await reach(signal);
    announce(t('event.shown', { number: number(events().children.length) }));
  } catch (error) {
    if (error.name === 'AbortError') return;
    if (!(error instanceof Problem)) throw error;
    events().replaceChildren();
    events().dataset.before = 0;
    shown();
    fault.textContent = sentence(error.code, error.detail);
    fault.hidden = false;
  }
  follow.disabled = q.has('until');
  follower.turn(follow.checked && !follow.disabled);
}

function renew() {
  abort.abort();
  abort = new AbortController();
  return abort.signal;
}

// reach looks further back until there is something to see, or nothing is left, or somebody stops it.
async function reach(signal, enough = 1) {
  const wanted = events().children.length + (enough > 1 ? 1 : 0);
  stop.hidden = false;
  try {
    while (Number(events().dataset.before) > 0 && events().children.length < Math.max(wanted, 1)) {
      looking.textContent = t('audit.looking', { position: number(Number(events().dataset.before)) });
      append(events(), await ask({ before: events().dataset.before }, signal));
    }
  } finally {
    stop.hidden = true;
    shown();
  }
}

function shown() {
  const more = Number(events().dataset.before) > 0;
  older.hidden = !more;
  looking.textContent = !events().children.length && fault.hidden ? (more ? t('audit.stopped', { position: number(Number(events().dataset.before)) }) : t('audit.none')) : '';
}

older.addEventListener('click', () => busy(older, async () => {
  const first = events().children.length;
  try {
    await reach(renew(), 2);
  } catch (error) {
    if (error.name !== 'AbortError') toast(sentence(error.code, error.detail), { bad: true });
  }
  events().children[first]?.querySelector('summary').focus({ preventScroll: true });
}));
stop.addEventListener('click', () => abort.abort());

// What an event did is asked for when somebody wants to see it.
page.addEventListener('toggle', async (event) => {
  const row = event.target;
  const place = row.open && row.querySelector(':scope [data-changes]');
  if (!place || place.childElementCount || !row.dataset.event) return;
  try {
    place.replaceChildren(settle(await fragment(row.dataset.event)));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    place.textContent = sentence(error.code, error.detail);
  }
}, true);

page.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-copy]');
  if (!button) return;
  const text = document.getElementById(button.dataset.copy);
  if (await copy(text.textContent)) toast(t('ledger.copied'));
  else getSelection().selectAllChildren(text); // it is there to be copied by hand
});

const change = later(load, typing);
form.addEventListener('submit', (event) => { event.preventDefault(); load(); });
form.addEventListener('input', change);
document.getElementById('clear').addEventListener('click', () => {
  for (const input of form.elements) if (input.name) input.value = '';
  load();
  form.elements.user_id.focus();
});

let signing;

// lookAtLedger shows how far the log is signed, again as long as there is something to sign. What somebody uses is left alone.
async function lookAtLedger() {
  clearTimeout(signing);
  const old = document.getElementById('ledger');
  if (!old.contains(document.activeElement)) {
    const card = settle(await fragment(page.dataset.events.replace(/events$/, 'ledger')));
    card.querySelector('details').open = old.querySelector('details').open;
    old.replaceWith(card);
  }
  signAgain();
}

function signAgain() {
  if (Number(document.getElementById('ledger').dataset.unsigned) === 0 || document.hidden) return;
  signing = setTimeout(() => lookAtLedger().catch(() => {}), signingPause);
}

// fresh puts in front what has happened.
const fresh = paced(async () => {
  try {
    const after = Math.max(newestOf(events()), Number(events().dataset.last));
    const list = await ask({ after });
    const { last } = list.dataset;
    if (Number(list.dataset.before) > 0) { await load(); return; }
    const entries = prepend(events(), list);
    events().dataset.last = last;
    if (entries.length) {
      shown();
      announce(t('account.news', { n: entries.length }));
    }
    await lookAtLedger();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
  }
}, gather);

const follower = new Follower(page.dataset.live, Number(events().dataset.last), {
  state: document.getElementById('live-state'), changes: fresh, stale: load,
});
follow.addEventListener('change', () => {
  if (follow.checked) fresh();
  follower.turn(follow.checked);
});
follower.turn(follow.checked && !follow.disabled);

const step = (by) => {
  const rows = [...events().querySelectorAll('summary')];
  const i = rows.indexOf(document.activeElement.closest('summary'));
  (rows[i + by] ?? (i < 0 ? rows[0] : null))?.focus();
};
shortcut('/', t('keys.search'), () => form.elements.user_id.focus());
shortcut('j', t('keys.down'), () => step(1));
shortcut('k', t('keys.up'), () => step(-1));
shortcut('f', t('audit.follow'), () => { if (!follow.disabled) follow.click(); });
reach(abort.signal).catch((error) => { if (error.name !== 'AbortError') throw error; });
signAgain();
startPage();
