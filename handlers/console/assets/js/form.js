// Forms in dialogs: what is wrong stands beside its field, bytes are counted as one types, pictures are shown before they are kept.

import { signInPath } from './api.js';
import { fault, number, sentence, t } from './i18n.js';
import { pictureOf } from './pictures.js';

const utf8 = new TextEncoder();

export const byteLength = (text) => utf8.encode(text).length;

// startForm makes a form of a dialog ready.
export function startForm(form) {
  for (const count of form.querySelectorAll('.count')) countBytes(count, form.querySelector(`#${count.dataset.countOf}`));
  for (const face of form.querySelectorAll('[data-preview]')) preview(form, face);
  for (const bit of form.querySelectorAll('[data-bit]')) followBit(bit, form.querySelector(`#${bit.dataset.bit}`));
  form.addEventListener('input', (event) => clearFault(form, event.target.name));
}

function countBytes(count, input) {
  const limit = Number(count.dataset.limit);
  const show = () => {
    const used = byteLength(input.value);
    count.textContent = `${number(used)} / ${number(limit)}`;
    count.classList.toggle('over', used > limit);
  };
  input.addEventListener('input', show);
  show();
}

// A picture is loaded when the address has stood still for a moment, and only one that a page may load.
function preview(form, face) {
  const input = form.querySelector(`#${face.dataset.preview}`);
  const note = form.querySelector(`[data-preview-note="${face.dataset.preview}"]`);
  const hint = note.textContent;
  let timer;
  const show = () => {
    face.querySelector('img')?.remove();
    note.textContent = hint;
    const address = pictureOf(input.value);
    if (!address) return;
    const img = Object.assign(new Image(48, 48), { alt: '', referrerPolicy: 'no-referrer', decoding: 'async' });
    img.addEventListener('load', () => { note.textContent = t('form.picture_shown'); });
    img.addEventListener('error', () => { note.textContent = t('form.picture_failed'); });
    img.src = address;
    face.append(img);
  };
  input.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(show, 400); });
  if (input.value) show();
}

// followBit keeps a switch and bit 0 of a number alike.
function followBit(box, input) {
  const value = () => (/^\d+$/.test(input.value) ? Number(input.value) : 0);
  box.addEventListener('change', () => {
    const even = value() - (value() % 2);
    input.value = box.checked ? even + 1 : (input.value === '' ? '' : even);
    input.dispatchEvent(new Event('input', { bubbles: true }));
  });
  input.addEventListener('input', () => { box.checked = value() % 2 === 1; });
}

// valueOf returns what a control says, as the API takes it: null for nothing. A number that is none goes as it is, for the service to refuse.
export function valueOf(control) {
  const text = control.value;
  if (text === '') return null;
  if (control.dataset.kind === 'date') return Number(text.replaceAll('-', ''));
  if (control.dataset.kind === 'number' && /^\d+$/.test(text)) return Number(text);
  return text;
}

export function clearFault(form, name) {
  const place = name && form.querySelector(`[data-fault="${CSS.escape(name)}"]`);
  if (!place) return;
  place.hidden = true;
  place.textContent = '';
  for (const control of form.querySelectorAll(`[name="${CSS.escape(name)}"]`)) control.removeAttribute('aria-invalid');
}

// clearProblem takes away what an earlier try was told.
export function clearProblem(form) {
  const whole = form.querySelector('.problem');
  whole.hidden = true;
  whole.textContent = '';
  for (const place of form.querySelectorAll('[data-fault]')) clearFault(form, place.dataset.fault);
}

// showProblem says what is wrong, beside the field that it is about where that is known.
export function showProblem(form, problem, fieldOfCode = {}) {
  let first = null;
  const rest = [];
  const faults = problem.fields.length ? problem.fields : (fieldOfCode[problem.code] ? [{ field: fieldOfCode[problem.code], code: problem.code }] : []);
  for (const { field, code, detail } of faults) {
    const place = form.querySelector(`[data-fault="${CSS.escape(field)}"]`);
    if (!place) { rest.push(fault(field, code, detail)); continue; }
    place.textContent = fault(field, code, detail);
    place.hidden = false;
    const control = form.querySelector(`[name="${CSS.escape(field)}"]`);
    control?.setAttribute('aria-invalid', 'true');
    first ??= control;
  }
  if (!first || rest.length) {
    const whole = form.querySelector('.problem');
    whole.textContent = rest.join(' ') || sentence(problem.code, problem.detail);
    if (problem.code === 'unauthenticated') { // in another tab, so that what was typed can be sent again
      whole.append(' ', Object.assign(document.createElement('a'), { href: signInPath(), target: '_blank', textContent: t('sign_in.submit') }));
    }
    whole.hidden = false;
    whole.scrollIntoView({ block: 'nearest' });
  }
  first?.focus();
}
