// The page of the instance: it looks again by itself, and touches only what says something else.

import { call, fragment, Problem } from './api.js';
import { openDialog } from './dialog.js';
import { clearProblem, showProblem } from './form.js';
import { sentence, t } from './i18n.js';
import { startPage } from './page.js';
import { busy, settle, toast } from './ui.js';

const pause = 5000; // milliseconds
const said = new Map(); // what each part was when it came from the server

let timer;

const partsOf = (root) => root.querySelectorAll('[data-part]');

for (const part of partsOf(document)) said.set(part.dataset.part, part.outerHTML);

// look shows what has changed. What somebody reads or has opened is left until all is asked for.
async function look({ all = false } = {}) {
  clearTimeout(timer);
  try {
    const fresh = await fragment('/console/health/state');
    for (const part of [...partsOf(fresh)]) {
      const { part: name } = part.dataset;
      const html = part.outerHTML;
      const old = document.querySelector(`[data-part="${name}"]`);
      const used = old.contains(document.activeElement) || old.querySelector('details[open]');
      if (said.get(name) === html || (used && !all)) continue;
      said.set(name, html);
      old.replaceWith(settle(part));
    }
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (all) toast(sentence(error.code, error.detail), { bad: true });
  }
  again();
}

function again() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(look, pause);
}

document.addEventListener('visibilitychange', () => { if (document.hidden) clearTimeout(timer); else look(); });

document.addEventListener('click', (event) => {
  const button = event.target.closest('[data-retry], [data-drop]');
  if (!button) return;
  const id = button.closest('[data-dead]').dataset.dead;
  if ('drop' in button.dataset) drop(id);
  else busy(button, () => retry(id));
});

async function retry(id) {
  try {
    await call('POST', `/v1/commands/dead/${id}/retry`);
    toast(t('health.retried'));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    toast(sentence(error.code, error.detail), { bad: true });
  }
  await look({ all: true });
  document.getElementById('main').focus({ preventScroll: true });
}

async function drop(id) {
  const dialog = await openDialog('/console/health/drop');
  if (!dialog) return;
  const form = dialog.querySelector('form');
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    busy(form.querySelector('[data-go]'), async () => {
      clearProblem(form);
      try {
        await call('DELETE', `/v1/commands/dead/${id}`);
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        showProblem(form, error);
        return;
      }
      dialog.close();
      toast(t('health.dropped'));
      await look({ all: true });
      document.getElementById('main').focus({ preventScroll: true });
    });
  });
}

startPage();
again();
