// Dialogs: fetched as fragments, shown above the page, gone when closed. Where the focus was it goes back to.

import { fragment } from './api.js';
import { sentence } from './i18n.js';
import { settle, toast } from './ui.js';

let opening = false;

// openDialog shows the dialog that the server renders at a path, and returns it once it is there, or null when it cannot be shown.
// Closing asks guard first, if there is one, which returns false to stay.
export async function openDialog(path, { guard } = {}) {
  if (opening || document.querySelector('dialog[open]')) return null;
  opening = true;
  try {
    const dialog = settle(await fragment(path));
    const back = document.activeElement;
    document.body.append(dialog);
    const leave = () => { if (!guard || guard(dialog)) dialog.close(); };
    dialog.addEventListener('cancel', (event) => { event.preventDefault(); leave(); });
    dialog.addEventListener('click', (event) => {
      const button = event.target.closest('[data-close]');
      if (!button) return;
      event.preventDefault();
      leave();
    });
    dialog.addEventListener('close', () => {
      dialog.remove();
      (back?.isConnected ? back : document.getElementById('main')).focus({ preventScroll: true });
    });
    dialog.showModal();
    return dialog;
  } catch (error) {
    toast(sentence(error.code, error.detail), { bad: true });
    return null;
  } finally {
    opening = false;
  }
}
