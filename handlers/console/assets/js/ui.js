// Small things that every page needs: messages that pass, words for screen readers, what the server rendered made ready.

import { showTimes } from './i18n.js';
import { showPictures } from './pictures.js';

const toastLife = 5000;

// toast shows a message for a moment. A bad one stays longer, and one that offers an action, {label, act}, longer still.
export function toast(text, { bad = false, action } = {}) {
  const el = document.createElement('div');
  el.className = bad ? 'toast bad' : 'toast';
  el.textContent = text;
  if (action) {
    const button = Object.assign(document.createElement('button'), { type: 'button', textContent: action.label });
    button.addEventListener('click', () => { el.remove(); action.act(); });
    el.append(button);
  }
  document.getElementById('toasts').append(el);
  setTimeout(() => el.remove(), action ? 6 * toastLife : bad ? 2 * toastLife : toastLife);
}

// announce tells those who do not see the page.
export function announce(text) {
  const el = document.getElementById('announcer');
  el.textContent = '';
  requestAnimationFrame(() => { el.textContent = text; });
}

// copy puts a text where it can be pasted, and tells whether it did. Pages without TLS have but the old way.
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = Object.assign(document.createElement('textarea'), { value: text, className: 'unseen' });
    const back = document.activeElement;
    (document.querySelector('dialog[open]') ?? document.body).append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    back?.focus({ preventScroll: true });
    return done;
  }
}

// settle makes what was rendered on the server ready: times in the reader's words, and pictures.
export function settle(root) {
  showTimes(root);
  showPictures(root);
  return root;
}

// later returns a function that calls f once it has not been called for a while.
export function later(f, milliseconds) {
  let timer;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(f, milliseconds, ...args);
  };
}

// oneAtATime returns a function that has f look again at something: once more behind the look that is under way, however often it is called meanwhile.
export function oneAtATime(f) {
  let [looking, again] = [null, false];
  const look = async () => {
    do {
      again = false;
      await f();
    } while (again);
  };
  return () => {
    again = true;
    looking ??= look().finally(() => { looking = null; });
    return looking;
  };
}

// paced is oneAtATime with a pause before each look: what never ends being told, as while an import runs, is shown all the same.
export function paced(f, milliseconds) {
  return oneAtATime(async () => {
    await new Promise((done) => { setTimeout(done, milliseconds); });
    await f();
  });
}

// busy marks a button while work goes on, and keeps it from being pressed again.
export async function busy(button, work) {
  if (button.getAttribute('aria-busy') === 'true') return undefined;
  button.setAttribute('aria-busy', 'true');
  try {
    return await work();
  } finally {
    button.removeAttribute('aria-busy');
  }
}
