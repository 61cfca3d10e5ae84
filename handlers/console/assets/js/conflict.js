// Two people edited one account: the second sees what the first changed, and chooses.

import { t } from './i18n.js';

const fixed = new Set(['app', 'user_id', 'type', 'created_at', 'updated_at', 'revision']);

// compare returns the fields that somebody else changed, with the value before and now, and mine where I changed it to something else.
export function compare(base, mine, theirs) {
  const differences = [];
  for (const field of new Set([...Object.keys(base), ...Object.keys(theirs), ...Object.keys(mine)])) {
    if (fixed.has(field)) continue;
    const before = base[field] ?? null;
    const value = theirs[field] ?? null;
    if (before === value) continue;
    const difference = { field, before, value };
    if (field in mine && mine[field] !== value) difference.mine = mine[field];
    differences.push(difference);
  }
  return differences;
}

// showConflict puts the differences into the form. choose is called with a field and whether mine is to stay.
export function showConflict(form, differences, { choose }) {
  const box = document.createElement('section');
  box.className = 'conflict';
  box.tabIndex = -1;
  const title = element('h3', t('conflict.title'));
  const open = differences.some((d) => 'mine' in d);
  box.append(title, element('p', open ? t('conflict.choose') : t('conflict.merged')));
  for (const d of differences) box.append('mine' in d ? choice(form, d, choose) : taken(form, d));
  form.querySelector('[data-conflict]').replaceChildren(box);
  box.focus();
  box.scrollIntoView({ block: 'nearest' });
}

function choice(form, { field, before, value, mine }, choose) {
  const set = document.createElement('fieldset');
  set.className = 'difference';
  const options = document.createElement('div');
  options.className = 'choices';
  for (const [name, label, shown] of [['mine', t('conflict.mine'), mine], ['theirs', t('conflict.theirs'), value]]) {
    const option = element('label', '', 'choice');
    const input = Object.assign(document.createElement('input'), { type: 'radio', name: `choose-${field}`, value: name, required: true });
    input.addEventListener('change', () => choose(field, name === 'mine'));
    const body = document.createElement('span');
    body.append(element('b', label), shownValue(form, field, shown));
    option.append(input, body);
    options.append(option);
  }
  set.append(element('legend', t(`field.${field}`)), options, was(form, field, before));
  return set;
}

function taken(form, { field, before, value }) {
  const box = element('div', '', 'difference');
  const now = document.createElement('div');
  now.append(shownValue(form, field, value));
  box.append(element('span', t(`field.${field}`), 'label'), now, was(form, field, before));
  return box;
}

function was(form, field, before) {
  const p = element('p', `${t('conflict.before')} `, 'before');
  p.append(shownValue(form, field, before));
  return p;
}

// shownValue writes a value as the form names it.
function shownValue(form, field, value) {
  if (value === null) return element('span', t('value.unset'), 'unset');
  const control = form.elements[field];
  if (control?.options) for (const option of control.options) if (option.value === value) return element('span', option.text);
  return element('bdi', String(value));
}

function element(name, text, className = '') {
  return Object.assign(document.createElement(name), { textContent: text, className });
}
