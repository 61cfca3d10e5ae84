// The page of an application's exports: jobs as they go on, downloads, and orders.

import { fragment } from './api.js';
import { openDialog } from './dialog.js';
import { cancel, copySum, download, openExport } from './export.js';
import { Follower } from './follow.js';
import { sentence, t } from './i18n.js';
import { shortcut } from './keys.js';
import { startPage } from './page.js';
import { announce, busy, oneAtATime, settle, toast } from './ui.js';

const { app } = document.body.dataset;
const page = document.getElementById('exports');
const minute = 60_000;

const refresh = oneAtATime(show);
const order = () => openExport(app, { what: t('exports.scope_all') }, refresh);
page.querySelector('#export').addEventListener('click', order);
page.addEventListener('click', (event) => {
  const button = event.target.closest('[data-act]');
  if (button) busy(button, () => act(button, button.closest('.job').dataset.id));
});
shortcut('n', t('exports.order'), order);
const follower = new Follower(page.dataset.live, Number(page.querySelector('#jobs').dataset.position), {
  state: document.getElementById('live-state'), changes: refresh, stale: refresh,
});
setInterval(() => { if (!document.hidden) refresh(); }, minute); // how far ends lie ahead
startPage();

async function act(button, id) {
  switch (button.dataset.act) {
    case 'download': return download(app, id);
    case 'manifest': return download(app, id, { manifest: true });
    case 'cancel': return askToCancel(id, button.closest('.job').querySelector('h2').innerText);
    default: return copySum(button.dataset.sum);
  }
}

async function askToCancel(id, what) {
  const dialog = await openDialog(`/console/apps/${encodeURIComponent(app)}/exports/cancel`);
  if (!dialog) return;
  dialog.querySelector('[data-what]').textContent = what;
  dialog.querySelector('form').addEventListener('submit', (event) => {
    event.preventDefault();
    busy(dialog.querySelector('[data-go]'), async () => {
      await cancel(app, id);
      dialog.close();
      await refresh();
    });
  });
}

// show puts jobs in the place of those that have changed, and leaves the others as they stand.
async function show() {
  try {
    const fresh = settle(await fragment(page.dataset.rows + location.search));
    follower.behind(Number(fresh.dataset.position));
    const old = page.querySelector('#jobs');
    const ids = (root) => [...root.querySelectorAll('.job')].map((job) => job.dataset.id).join();
    if (ids(fresh) !== ids(old)) old.replaceWith(fresh);
    else for (const job of [...fresh.querySelectorAll('.job')]) swap(old.querySelector(`.job[data-id="${CSS.escape(job.dataset.id)}"]`), job);
  } catch (error) {
    if (error.code !== 'network') toast(sentence(error.code, error.detail), { bad: true });
  }
}

function swap(old, job) {
  if (old.dataset.version === job.dataset.version) { // but how far its end lies ahead
    old.querySelector('[data-format="ahead"]')?.replaceWith(job.querySelector('[data-format="ahead"]'));
    return;
  }
  const focused = old.contains(document.activeElement) ? document.activeElement.dataset.act : null;
  old.replaceWith(job);
  if (focused) (job.querySelector(`[data-act="${focused}"]`) ?? job.querySelector('[data-act]'))?.focus();
  if ('live' in old.dataset && !('live' in job.dataset)) announce(job.querySelector('.status').textContent);
}
