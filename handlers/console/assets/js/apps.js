// The page of applications: creating one, and its settings.

import { appPath, call, newKey, Problem } from './api.js';
import { openDialog } from './dialog.js';
import { clearProblem, showProblem, startForm, valueOf } from './form.js';
import { t } from './i18n.js';
import { shortcut } from './keys.js';
import { startPage } from './page.js';
import { busy } from './ui.js';

async function openApp(path) {
  const dialog = await openDialog(path);
  if (!dialog) return;
  const form = dialog.querySelector('form');
  startForm(form);
  const key = newKey();
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    busy(form.querySelector('.dialog-foot .primary'), () => save(form, key));
  });
}

async function save(form, key) {
  clearProblem(form);
  const { app } = form.dataset;
  const body = { name: form.elements.name.value, max_admins: valueOf(form.elements.max_admins) };
  try {
    const { position } = app
      ? await call('PATCH', appPath(app), { body })
      : await call('POST', '/v1/apps', { body: { app: form.elements.app.value, ...body }, headers: { 'Idempotency-Key': key } });
    location.assign(`/console/?min_position=${position}`);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    showProblem(form, problem, { app_exists: 'app', admins_over_limit: 'max_admins' });
  }
}

const create = document.getElementById('new-app');
if (create) {
  create.addEventListener('click', () => openApp('/console/apps/new'));
  shortcut('n', t('apps.new'), () => create.click());
}
for (const button of document.querySelectorAll('[data-settings]')) {
  button.addEventListener('click', () => openApp(`/console/apps/${encodeURIComponent(button.dataset.settings)}/settings`));
}
startPage();
