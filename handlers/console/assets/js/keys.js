// Shortcuts of one key. They wait while somebody types, while a dialog is open, and when they are switched off.

import { t } from './i18n.js';

const shortcuts = [];
const storage = 'rollcall.keys';

export const keysOn = () => localStorage.getItem(storage) !== 'off';

// shortcut has a key do something. names are keys as KeyboardEvent.key names them; the label is shown on ?. Where the focus is on
// something that on, a selector, does not name, the key does what it does elsewhere.
export function shortcut(names, label, act, { on = '*' } = {}) {
  shortcuts.push({ names: [names].flat(), label, act, on });
}

// keyOf returns the key as a keyboard of Latin letters has it: with the Korean input source of macOS the key n is ㅜ.
const keyOf = ({ key, code }) => (/^[ㄱ-ㅣ]$/.test(key) && /^Key[A-Z]$/.test(code) ? code.slice(3).toLowerCase() : key);

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !keysOn()) return;
  if (event.target.matches('input:not([type="checkbox"], [type="radio"]), textarea, select, [contenteditable]')) return;
  if (document.querySelector('dialog[open], [popover]:popover-open')) return;
  const key = keyOf(event);
  const found = shortcuts.find((s) => s.names.includes(key) && event.target.matches(s.on));
  if (!found) return;
  event.preventDefault();
  found.act(key);
});

// startHelp shows the shortcuts of the page in the dialog that ? opens.
export function startHelp() {
  const dialog = document.getElementById('help');
  if (!dialog) return;
  const show = () => {
    dialog.querySelector('#help-keys').replaceChildren(...shortcuts.flatMap(({ names, label }) => {
      const key = document.createElement('dt');
      key.append(...names.map((name) => Object.assign(document.createElement('kbd'), { textContent: name === 'Escape' ? 'Esc' : name })));
      return [key, Object.assign(document.createElement('dd'), { textContent: label })];
    }));
    dialog.showModal();
  };
  shortcut('?', t('keys.help'), show);
  document.getElementById('help-button').addEventListener('click', show);
  dialog.querySelector('[data-close]').addEventListener('click', () => dialog.close());
  const on = document.getElementById('keys-on');
  on.checked = keysOn();
  on.addEventListener('change', () => localStorage.setItem(storage, on.checked ? 'on' : 'off'));
}
