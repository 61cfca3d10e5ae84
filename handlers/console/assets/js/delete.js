// The dialog that deletes accounts: it warns, asks for the number where it is large, works in batches and tells what became of each.

import { appPath, call, newKey } from './api.js';
import { openDialog } from './dialog.js';
import { number, sentence, t } from './i18n.js';

const batch = 100; // as many as the API takes
const askFrom = 10; // accounts, from which on the number must be typed
const named = 6;

// openDelete deletes accounts. deleted is called with the ids that are gone and the position.
export async function openDelete(app, ids, deleted) {
  if (ids.length === 0) return;
  const deletion = new Deletion(app, ids, deleted);
  const dialog = await openDialog(`/console/apps/${encodeURIComponent(app)}/account/delete`, { guard: () => !deletion.working });
  if (dialog) deletion.ask(dialog);
}

class Deletion {
  working = false;
  #stopped = false;
  #gone = [];
  #failures = [];
  #absent = []; // that somebody else deleted before
  #position = 0;

  constructor(app, ids, deleted) {
    Object.assign(this, { app, ids, deleted });
  }

  ask(dialog) {
    this.part = (name) => dialog.querySelector(`[data-${name}]`);
    const n = this.ids.length;
    this.part('title').textContent = n === 1 ? t('delete.title_one', { user_id: this.ids[0] }) : t('delete.title', { n });
    const items = this.ids.slice(0, named).map((id) => Object.assign(document.createElement('li'), { textContent: id }));
    if (n > named) items.push(Object.assign(document.createElement('li'), { textContent: t('delete.more', { n: n - named }) }));
    this.part('ids').replaceChildren(...items);
    const confirm = this.part('confirm').querySelector('input');
    if (n >= askFrom) {
      this.part('confirm').hidden = false;
      this.part('confirm-label').textContent = t('delete.confirm', { number: number(n) });
      this.part('go').disabled = true;
      confirm.addEventListener('input', () => { this.part('go').disabled = confirm.value.replaceAll(/[,.\s]/g, '') !== String(n); });
      confirm.focus();
    } else {
      this.part('cancel').focus();
    }
    this.part('stop').addEventListener('click', () => { this.#stopped = true; this.part('stop').disabled = true; });
    dialog.querySelector('form').addEventListener('submit', (event) => {
      event.preventDefault();
      if (!this.working && !this.part('go').disabled) this.run();
    });
  }

  async run() {
    this.working = true;
    for (const name of ['ask', 'cancel', 'go']) this.part(name).hidden = true;
    this.part('work').hidden = false;
    this.part('stop').hidden = this.ids.length <= batch;
    for (let done = 0; done < this.ids.length && !this.#stopped; done += batch) {
      this.#show(done);
      await this.#delete(this.ids.slice(done, done + batch));
    }
    this.working = false;
    this.#finish();
  }

  #show(done) {
    this.part('progress').value = done / this.ids.length;
    this.part('state').textContent = t('delete.progress', { done, total: this.ids.length });
  }

  async #delete(ids) {
    try {
      const { value, position } = await call('POST', `${appPath(this.app)}/accounts:delete`, { body: { user_ids: ids }, headers: { 'Idempotency-Key': newKey() } });
      this.#position = Math.max(this.#position, position);
      for (const { user_id: id, status, code, detail } of value.results) {
        if (status === 'deleted') this.#gone.push(id);
        else this.#failures.push({ id, why: sentence(code, detail) });
        if (code === 'account_not_found') this.#absent.push(id);
      }
    } catch (problem) {
      for (const id of ids) this.#failures.push({ id, why: sentence(problem.code, problem.detail) });
      this.#stopped = true; // what failed for a whole batch would fail for the next
    }
  }

  #finish() {
    for (const name of ['work', 'stop']) this.part(name).hidden = true;
    this.part('done').hidden = false;
    this.part('title').textContent = t('delete.title_done');
    const left = this.ids.length - this.#gone.length - this.#failures.length;
    const sums = [t('delete.done', { n: this.#gone.length })];
    if (this.#failures.length) sums.push(t('delete.failed', { n: this.#failures.length }));
    if (left) sums.push(t('delete.left', { n: left }));
    this.part('outcome').textContent = sums.join(' ');
    this.part('failures').replaceChildren(...this.#failures.map(({ id, why }) => {
      const item = document.createElement('li');
      item.append(Object.assign(document.createElement('b'), { textContent: id, className: 'mono' }), ` ${why}`);
      return item;
    }));
    this.part('finish').hidden = false;
    this.part('finish').focus();
    this.deleted([...this.#gone, ...this.#absent], this.#position);
  }
}
