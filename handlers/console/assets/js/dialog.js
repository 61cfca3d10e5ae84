// Dialogs: fetched as fragments, shown above the page, gone when closed. Where the focus was it goes back to.

import { fragment } from './api.js';
import { sentence, t } from './i18n.js';
import { settle, toast } from './ui.js';

let opening = false;

// openDialog shows the dialog that the server renders at a path, and returns it once it is there, or null when it cannot be shown.
// Its visitor may leave it unless guard, if there is one, returns false. What was typed into a form marked data-keep is lost only after a question.
export async function openDialog(path, { guard = () => true } = {}) {
  if (opening || document.querySelector('dialog[open]')) return null;
  opening = true;
  try {
    const dialog = settle(await fragment(path));
    const back = document.activeElement;
    document.body.append(dialog);
    const form = dialog.querySelector('form[data-keep]');
    const said = () => (form ? JSON.stringify([...new FormData(form)]) : '');
    const first = said();
    whenLeft(dialog, async () => {
      if (guard() && (said() === first || await askToDiscard())) dialog.close();
    });
    dialog.addEventListener('close', () => {
      dialog.remove();
      (back?.isConnected && back.checkVisibility() ? back : document.getElementById('main')).focus({ preventScroll: true });
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

// whenLeft calls leave when somebody wants a dialog to close: by a button, by Esc, or by what else a browser has for that.
function whenLeft(dialog, leave) {
  dialog.addEventListener('click', (event) => {
    if (!event.target.closest('[data-close]')) return;
    event.preventDefault();
    leave();
  });
  dialog.addEventListener('cancel', (event) => {
    if (event.target !== dialog) return; // a file field has one of its own
    event.preventDefault();
    leave();
  });
  dialog.addEventListener('keydown', (event) => { // before the browser, which lets a second Esc in a row not be prevented
    if (event.key !== 'Escape' || event.isComposing) return;
    event.preventDefault();
    event.stopPropagation(); // it is no key of the page behind, which may be there again by then
    leave();
  });
}

// askToDiscard asks whether what was typed may be lost.
function askToDiscard() {
  const el = (name, properties, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const keep = el('button', { className: 'button', textContent: t('dialog.keep'), autofocus: true });
  const discard = el('button', { className: 'button danger', value: 'discard', textContent: t('dialog.discard') });
  const question = el('dialog', { className: 'dialog small question', role: 'alertdialog' }, el('form', { className: 'dialog-frame', method: 'dialog' },
    el('div', { className: 'dialog-head' }, el('h2', { id: 'question', textContent: t('dialog.unsaved') })),
    el('div', { className: 'dialog-body' }, el('p', { textContent: t('dialog.unsaved_lead') })),
    el('div', { className: 'dialog-foot' }, keep, discard)));
  question.setAttribute('aria-labelledby', 'question');
  document.body.append(question);
  question.showModal();
  return new Promise((resolve) => {
    question.addEventListener('close', () => {
      question.remove();
      resolve(question.returnValue === 'discard');
    });
  });
}
