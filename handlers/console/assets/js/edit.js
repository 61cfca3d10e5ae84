// The dialog that edits an account. It sends what was changed, on condition that the account is still as it was shown.

import { accountPath, call, Problem } from './api.js';
import { compare, showConflict } from './conflict.js';
import { openDialog } from './dialog.js';
import { clearProblem, showProblem, startForm, valueOf } from './form.js';
import { t } from './i18n.js';
import { busy, toast } from './ui.js';

// openEdit edits an account. edited is called with its id and position.
export async function openEdit(app, id, edited) {
  const q = new URLSearchParams({ user_id: id });
  const dialog = await openDialog(`/console/apps/${encodeURIComponent(app)}/account/edit?${q}`);
  if (!dialog) return;
  const edit = new Edit(app, dialog);
  edit.form.addEventListener('submit', (event) => {
    event.preventDefault();
    busy(edit.form.querySelector('.dialog-foot .primary'), () => edit.save(edited));
  });
}

class Edit {
  constructor(app, dialog) {
    this.app = app;
    this.dialog = dialog;
    this.form = dialog.querySelector('form');
    this.base = JSON.parse(this.form.dataset.account);
    this.controls = [...this.form.elements].filter((el) => el.name);
    // Controls write some values in their own way, such as the ends of lines: only what a person changed is a change.
    this.initial = new Map(this.controls.map((el) => [el.name, el.value]));
    startForm(this.form);
  }

  // changes returns what a person changed, as a merge patch.
  changes() {
    const patch = {};
    for (const el of this.controls) if (el.value !== this.initial.get(el.name)) patch[el.name] = valueOf(el);
    return patch;
  }

  async save(edited) {
    clearProblem(this.form);
    const conflict = this.form.querySelector('[data-conflict]');
    const open = conflict.querySelector('.difference:has(input):not(:has(:checked)) input');
    if (open) {
      open.focus();
      return;
    }
    const patch = this.changes();
    const { user_id: id, revision } = this.base;
    if (Object.keys(patch).length === 0) {
      this.dialog.close();
      toast(t('edit.unchanged'));
      return;
    }
    try {
      const { position } = await call('PATCH', accountPath(this.app, id), { body: patch, headers: { 'If-Match': `"${revision}"` } });
      this.dialog.close();
      toast(t('edit.done', { user_id: id }));
      edited(id, position);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (problem.code === 'revision_mismatch') await this.meet(patch);
      else showProblem(this.form, problem);
    }
  }

  // meet shows what somebody else changed meanwhile. What only they changed is taken over; for the rest a person chooses.
  async meet(mine) {
    let theirs;
    try {
      ({ value: theirs } = await call('GET', accountPath(this.app, this.base.user_id)));
    } catch (problem) {
      showProblem(this.form, problem);
      return;
    }
    const differences = compare(this.base, mine, theirs);
    this.base = theirs;
    for (const { field, value } of differences) {
      const control = this.form.elements[field];
      const own = control.value;
      this.set(control, value);
      this.initial.set(field, control.value);
      if (field in mine) this.set(control, own, { raw: true });
    }
    showConflict(this.form, differences, {
      choose: (field, ofMine) => this.set(this.form.elements[field], ofMine ? mine[field] : theirs[field] ?? null),
    });
  }

  set(control, value, { raw = false } = {}) {
    let text = value === null || value === undefined ? '' : String(value);
    if (!raw && control.dataset.kind === 'date' && text) text = text.padStart(8, '0').replace(/(....)(..)(..)/, '$1-$2-$3');
    control.value = text;
    control.dispatchEvent(new Event('input', { bubbles: true }));
  }
}
