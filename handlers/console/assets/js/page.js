// What every page does.

import { startHelp } from './keys.js';
import { settle } from './ui.js';

export function startPage() {
  settle(document);
  startHelp();
  document.body.dataset.started = ''; // keys and buttons do something from here on
}
