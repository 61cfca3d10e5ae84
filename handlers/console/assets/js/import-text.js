// Text of a file, made safe to look at.

import { t } from './i18n.js';

// Characters that show nothing or change what others show, but for joiners, which writing needs.
const unseen = /([^\P{C}\u200c\u200d\p{Co}\p{Cn}]|[\u2028\u2029\u00a0\u034f\u115f\u1160\u2800\u3164\uffa0])/u;

const nameOf = (c) => `U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}`;

// shown returns a text isolated from the words around it, with names of the characters that cannot be seen in their places.
export function shown(text) {
  const holder = document.createElement('bdi');
  for (const [i, part] of text.split(unseen).entries()) {
    if (i % 2 === 0) { holder.append(part); continue; }
    const mark = nameOf(part);
    holder.append(Object.assign(document.createElement('span'), { className: 'mark', textContent: mark, title: t('words.invisible', { mark }) }));
  }
  return holder;
}
