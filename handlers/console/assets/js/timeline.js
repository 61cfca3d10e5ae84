// Lists of events, the newest first: what comes in front and what is older.

import { settle } from './ui.js';

const glow = 2400; // milliseconds

// prepend puts those entries of a list in front of another that it does not have yet, and returns them.
export function prepend(list, fresh) {
  const newest = Math.max(0, ...positionsOf(list));
  const entries = [...settle(fresh).children].filter((li) => positionOf(li) > newest);
  list.prepend(...entries);
  for (const li of entries) {
    li.classList.add('changed');
    setTimeout(() => li.classList.remove('changed'), glow);
  }
  return entries;
}

// append puts the entries of a list behind those of another.
export function append(list, older) {
  list.append(...settle(older).children);
  list.dataset.before = older.dataset.before;
}

// newestOf returns the position of the first entry, zero when there is none.
export const newestOf = (list) => Math.max(0, ...positionsOf(list).slice(0, 1));

const positionsOf = (list) => [...list.children].map(positionOf);

const positionOf = (li) => Number((li.dataset.position ? li : li.firstElementChild).dataset.position);
