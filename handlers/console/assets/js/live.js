// What changes while the page is open. Rows change in their place; new accounts wait behind a button, so that nothing jumps.

import { Follower } from './follow.js';
import { t } from './i18n.js';
import { announce } from './ui.js';

const glow = 2400; // milliseconds

export class Live {
  #new = new Set(); // ids of accounts that the list does not show yet
  #more = 0;

  constructor(page, list, path) {
    this.list = list;
    this.chip = page.querySelector('#news');
    this.chip.addEventListener('click', () => this.catchUp());
    list.addEventListener('rows', () => this.#forget());
    this.follower = new Follower(path, list.position, {
      state: page.querySelector('#live-state'),
      changes: (news) => this.#take(news),
      stale: () => {
        this.#more += 1;
        this.#showChip();
      },
    });
  }

  // catchUp loads the page anew with all that is known to have happened.
  async catchUp() {
    const { sort, order } = this.list.form.elements;
    const newestFirst = sort.value === 'created_at' && order.value === 'desc';
    await this.list.load({ cursors: newestFirst ? [] : this.list.cursors, minimum: this.follower.after });
    this.list.rows.querySelector('tr')?.focus({ preventScroll: true });
  }

  async #take({ changes, more = 0, position }) {
    const fresh = changes.filter((c) => c.position > this.list.position);
    const shown = changes.filter(({ user_id, position: at }) => Number(this.list.row(user_id)?.dataset.revision ?? Infinity) < at);
    const edited = shown.filter((c) => c.kind !== 'deleted');
    const candidates = fresh.filter((c) => c.kind === 'created' && !this.list.row(c.user_id));
    for (const c of shown.filter((change) => change.kind === 'deleted')) this.#gone(this.list.row(c.user_id));
    for (const c of changes.filter((change) => change.kind === 'deleted')) this.#new.delete(c.user_id);
    this.#more += more;
    if (edited.length || candidates.length || fresh.some((c) => c.kind === 'deleted')) {
      const rows = await this.list.fetch([...edited, ...candidates].map((c) => c.user_id), position).catch(() => null);
      if (rows) this.#apply(rows, new Set(candidates.map((c) => c.user_id)));
    }
    this.#showChip();
  }

  #apply(rows, candidates) {
    this.list.count(rows);
    for (const row of [...rows.querySelectorAll('tr[data-id]')]) {
      const { id } = row.dataset;
      const old = this.list.row(id);
      if (Number(old?.dataset.revision) > Number(row.dataset.revision)) continue; // an answer that a later one overtook
      if (old) this.replace(old, row);
      else if (candidates.has(id)) this.#new.add(id);
    }
  }

  // replace puts a row in the place of another, with what was picked and focused as it was.
  replace(old, row) {
    const box = old.querySelector('.pick input');
    if (box?.checked) {
      row.querySelector('.pick input').checked = true;
      row.classList.add('picked');
    }
    const focus = old.contains(document.activeElement) ? document.activeElement : null;
    const act = focus?.dataset.act;
    old.replaceWith(row);
    if (focus) (act ? row.querySelector(`[data-act="${act}"]`) : focus.matches('.pick input') ? row.querySelector('.pick input') : row).focus({ preventScroll: true });
    row.classList.add('changed');
    setTimeout(() => row.classList.remove('changed'), glow);
  }

  #gone(row) {
    row.classList.add('gone');
    for (const control of row.querySelectorAll('button, input')) control.disabled = true;
  }

  #forget() {
    this.#new.clear();
    this.#more = 0;
    this.follower.behind(this.list.position);
    this.#showChip();
  }

  #showChip() {
    const n = this.#new.size;
    const was = this.chip.hidden;
    this.chip.hidden = n === 0 && this.#more === 0;
    if (this.chip.hidden) return;
    this.chip.textContent = this.#more ? t('live.many') : t('live.new', { n });
    if (was) announce(this.chip.textContent);
  }
}
