// The selection: accounts by their ids, whichever page they are on.

import { t } from './i18n.js';

export class Selection {
  #ids = new Set();

  constructor(page, list) {
    this.list = list;
    this.bar = page.querySelector('#selection');
    this.all = page.querySelector('#pick-page'); // absent where a selection is good for nothing
    if (!this.all) return;
    this.all.addEventListener('change', () => {
      for (const row of this.#rows()) this.#pick(row, this.all.checked);
      this.show();
    });
    list.table.addEventListener('change', (event) => {
      const row = event.target.closest('tbody tr[data-id]');
      if (!row) return;
      this.#pick(row, event.target.checked);
      this.show();
    });
    page.querySelector('#clear-selection').addEventListener('click', () => this.clear());
    list.addEventListener('rows', () => this.show());
    this.show();
  }

  get ids() { return [...this.#ids]; }

  get size() { return this.#ids.size; }

  toggle(row) {
    if (!this.all || !row) return;
    this.#pick(row, !this.#ids.has(row.dataset.id));
    this.show();
  }

  remove(ids) {
    for (const id of ids) this.#ids.delete(id);
    this.show();
  }

  clear() {
    this.#ids.clear();
    this.show();
  }

  #rows() { return this.list.rows.querySelectorAll('tr[data-id]:not(.gone)'); }

  #pick(row, picked) {
    if (picked) this.#ids.add(row.dataset.id);
    else this.#ids.delete(row.dataset.id);
  }

  show() {
    if (!this.all) return;
    let picked = 0;
    const rows = this.#rows();
    for (const row of rows) {
      const on = this.#ids.has(row.dataset.id);
      picked += on;
      row.classList.toggle('picked', on);
      row.querySelector('.pick input').checked = on;
    }
    this.all.checked = picked > 0 && picked === rows.length;
    this.all.indeterminate = picked > 0 && picked < rows.length;
    this.bar.hidden = this.size === 0;
    this.bar.querySelector('#selection-count').textContent = t('selection.count', { n: this.size });
  }
}
