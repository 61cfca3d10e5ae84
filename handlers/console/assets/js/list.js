// The list of accounts: what it asks for, its pages, and its rows. Rows are rendered on the server.

import { fragment, Problem } from './api.js';
import { number, sentence, t } from './i18n.js';
import { announce, later, settle, toast } from './ui.js';

const searchPause = 25; // milliseconds

// List keeps the table in step with the form above it and with the address of the page. What else is on the page listens to its events: rows.
export class List extends EventTarget {
  constructor(page) {
    super();
    this.path = page.dataset.rows;
    this.table = page.querySelector('#table');
    this.form = page.querySelector('#filter');
    this.total = page.querySelector('#total');
    this.range = page.querySelector('#range');
    this.previous = page.querySelector('#previous');
    this.next = page.querySelector('#next');
    // The cursors of the pages up to this one, so that there is a way back.
    const cursor = new URLSearchParams(location.search).get('cursor');
    this.cursors = history.state?.cursors ?? (cursor ? [cursor] : []);
    this.known = Boolean(history.state?.cursors) || !cursor; // how many pages come before this one
    this.#listen();
    this.#shown();
  }

  get rows() { return this.table.tBodies[0]; }

  get position() { return Number(this.rows.dataset.position); }

  row(id) { return this.rows.querySelector(`tr[data-id="${CSS.escape(id)}"]`); }

  // query is what the list asks for.
  query() {
    const q = new URLSearchParams();
    for (const [name, value] of new FormData(this.form)) if (value && !(name === 'limit' && value === '50')) q.set(name, value);
    return q;
  }

  get isFiltered() {
    const q = this.query();
    return q.has('q') || q.has('type');
  }

  // load shows what the form asks for: the first page, or that of the last of the cursors. minimum is a position that it must show.
  async load({ cursors = [], push = false, minimum = 0, quiet = false } = {}) {
    this.abort?.abort();
    const abort = this.abort = new AbortController();
    const q = this.query();
    const cursor = cursors.at(-1);
    if (cursor) q.set('cursor', cursor);
    const ask = new URLSearchParams(q);
    if (minimum) ask.set('min_position', minimum);
    this.table.setAttribute('aria-busy', 'true');
    try {
      const rows = await fragment(`${this.path}?${ask}`, { signal: abort.signal });
      this.rows.replaceWith(settle(rows));
      if (!cursor) this.known = true;
      this.cursors = cursors;
      history[push ? 'pushState' : 'replaceState']({ cursors }, '', `?${q}`);
      this.#shown();
      if (!quiet) announce(t('list.announce', { n: Number(rows.dataset.total) }));
      if (push) scrollTo({ top: 0 });
    } catch (error) {
      if (error.name === 'AbortError') return;
      if (!(error instanceof Problem)) throw error;
      if (cursor && error.code === 'invalid_cursor') return this.load();
      toast(sentence(error.code, error.detail), { bad: true });
    } finally {
      if (this.abort === abort) this.table.setAttribute('aria-busy', 'false');
    }
  }

  // fetch returns rows of accounts, as far as they are still there and the filter lets them through. Those of no accounts tell how many there are.
  async fetch(ids, minimum) {
    const q = this.query();
    for (const id of ids.length ? ids : ['']) q.append('id', id);
    q.set('min_position', minimum);
    return settle(await fragment(`${this.path}?${q}`));
  }

  // count shows how many accounts there are.
  count(rows) {
    const total = Number(rows.dataset.total);
    this.total.textContent = `${rows.dataset.estimate === 'true' ? '≈ ' : ''}${number(total)}`;
    this.showRange(total);
  }

  showRange(total) {
    const size = this.rows.querySelectorAll('tr[data-id]').length;
    const before = this.cursors.length * Number(this.form.elements.limit.value);
    this.range.textContent = size === 0 || !this.known ? '' : t('list.range', { from: before + 1, to: before + size, total });
  }

  sort(by) {
    const { sort, order } = this.form.elements;
    order.value = sort.value === by && order.value === 'asc' ? 'desc' : 'asc';
    sort.value = by;
    for (const th of this.table.tHead.querySelectorAll('[aria-sort]')) {
      th.setAttribute('aria-sort', th.querySelector(`[data-sort="${by}"]`) ? (order.value === 'asc' ? 'ascending' : 'descending') : 'none');
    }
    this.load();
  }

  clear() {
    this.form.elements.q.value = '';
    this.#choose('');
    this.load();
    this.form.elements.q.focus();
  }

  #shown() {
    this.count(this.rows);
    this.next.disabled = !this.rows.dataset.next;
    this.previous.disabled = this.cursors.length === 0;
    this.dispatchEvent(new Event('rows'));
  }

  #listen() {
    const search = later(() => this.load(), searchPause);
    this.form.addEventListener('submit', (event) => { event.preventDefault(); this.load(); });
    this.form.elements.q.addEventListener('input', search);
    this.form.addEventListener('change', (event) => { if (event.target.name !== 'q') this.load(); });
    this.table.tHead.addEventListener('click', (event) => {
      const link = event.target.closest('[data-sort]');
      if (!link || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      this.sort(link.dataset.sort);
    });
    this.next.addEventListener('click', () => this.turn(1));
    this.previous.addEventListener('click', () => this.turn(-1));
    addEventListener('popstate', (event) => this.#restore(event.state));
  }

  // turn goes a page on or back.
  turn(by) {
    if (by > 0 && !this.next.disabled) this.load({ cursors: [...this.cursors, this.rows.dataset.next], push: true });
    if (by < 0 && !this.previous.disabled) this.load({ cursors: this.cursors.slice(0, -1), push: true });
  }

  #choose(type) {
    for (const choice of this.form.elements.type) choice.checked = choice.value === type;
  }

  #restore(state) {
    const q = new URLSearchParams(location.search);
    const { elements } = this.form;
    this.#choose(q.get('type') ?? '');
    for (const [name, fallback] of [['q', ''], ['limit', '50'], ['sort', 'created_at'], ['order', 'desc']]) elements[name].value = q.get(name) ?? fallback;
    this.load({ cursors: state?.cursors ?? (q.has('cursor') ? [q.get('cursor')] : []) });
  }
}
