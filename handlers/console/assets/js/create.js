// The dialog that creates an account.

import { appPath, call, newKey, Problem } from './api.js';
import { openDialog } from './dialog.js';
import { clearProblem, showProblem, startForm } from './form.js';
import { t } from './i18n.js';
import { busy, toast } from './ui.js';

// openCreate creates an account of an application. created is called with its id and position.
export async function openCreate(app, created) {
  const dialog = await openDialog(`/console/apps/${encodeURIComponent(app)}/account/new`);
  if (!dialog) return;
  const form = dialog.querySelector('form');
  startForm(form);
  let key = newKey();
  form.addEventListener('input', () => { key = newKey(); }); // another account is another command
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    busy(form.querySelector('.dialog-foot .primary'), create);
  });

  async function create() {
    clearProblem(form);
    const { type, user_id: id, nickname, face_url: face } = form.elements;
    const body = { user_id: id.value, type: type.value };
    if (nickname.value) body.nickname = nickname.value;
    if (face.value) body.face_url = face.value;
    try {
      const { value, position } = await call('POST', `${appPath(app)}/accounts`, { body, headers: { 'Idempotency-Key': key } });
      dialog.close();
      toast(t('create.done', { user_id: value.user_id }));
      created(value.user_id, position);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      showProblem(form, problem, { account_exists: 'user_id', admin_limit_reached: 'type' });
    }
  }
}
