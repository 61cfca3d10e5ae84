// The page of an application's accounts: it puts the parts together.

import { openCreate } from './create.js';
import { openDelete } from './delete.js';
import { openEdit } from './edit.js';
import { openExport } from './export.js';
import { t } from './i18n.js';
import { shortcut } from './keys.js';
import { List } from './list.js';
import { Live } from './live.js';
import { startPage } from './page.js';
import { Selection } from './selection.js';

const { app } = document.body.dataset;
const page = document.getElementById('accounts');
const create = document.getElementById('new-account');

if (document.getElementById('table')) startList();
else create?.addEventListener('click', () => openCreate(app, () => {}));
startPage();

function startList() {
  const list = new List(page);
  const selection = new Selection(page, list);
  const live = new Live(page, list, `/console/apps/${encodeURIComponent(app)}/account/live`);

  const current = () => document.activeElement?.closest('#rows tr[data-id]');
  const add = () => openCreate(app, async (id, position) => {
    await list.load({ cursors: list.cursors, minimum: position, quiet: true });
    glow(list.row(id));
  });
  const edit = (row) => openEdit(app, row.dataset.id, async (id, position) => {
    const rows = await list.fetch([id], position);
    const fresh = rows.querySelector('tr[data-id]');
    const old = list.row(id);
    if (fresh && old) live.replace(old, fresh);
  });
  const remove = (ids) => openDelete(app, ids, (gone, position) => {
    selection.remove(gone);
    if (gone.length) list.load({ cursors: list.cursors, minimum: position, quiet: true });
  });

  const order = () => openExport(app, selection.size ? picked(selection.ids) : shown(list));
  if (page.querySelector('#export')) {
    page.querySelector('#export').addEventListener('click', () => openExport(app, shown(list)));
    page.querySelector('#export-selected').addEventListener('click', () => openExport(app, picked(selection.ids)));
    shortcut('s', t('exports.keys'), order);
  }
  create?.addEventListener('click', add);
  page.querySelector('#delete-selected')?.addEventListener('click', () => remove(selection.ids));
  list.table.addEventListener('click', (event) => {
    const row = event.target.closest('tr[data-id]');
    switch (event.target.closest('[data-act]')?.dataset.act) {
      case 'edit': edit(row); break;
      case 'delete': remove([row.dataset.id]); break;
      case 'export': openExport(app, picked([row.dataset.id])); break;
      case 'clear': list.clear(); break;
      default:
    }
  });
  startKeys({ list, selection, current, add, edit, remove });
}

// shown is what the list holds, as the scope of an export.
function shown(list) {
  const q = list.query();
  if (!list.isFiltered) return { what: t('exports.scope_all') };
  const filter = {};
  for (const name of ['type', 'q']) if (q.has(name)) filter[name] = q.get(name);
  return { filter, what: t('exports.scope_filtered', { n: Number(list.rows.dataset.total), total: list.total.textContent }) };
}

// picked is some accounts, as the scope of an export.
function picked(ids) {
  return { user_ids: ids, what: ids.length === 1 ? t('exports.scope_one', { user_id: ids[0] }) : t('exports.what_picked', { n: ids.length }) };
}

function glow(row) {
  row?.classList.add('changed');
  setTimeout(() => row?.classList.remove('changed'), 2400);
}

function startKeys({ list, selection, current, add, edit, remove }) {
  const search = list.form.elements.q;
  const step = (by) => {
    const rows = [...list.rows.querySelectorAll('tr[data-id]')];
    const row = rows[rows.indexOf(current()) + by] ?? (current() ? null : rows[0]);
    row?.focus();
    row?.scrollIntoView({ block: 'nearest' });
  };
  shortcut('/', t('keys.search'), () => search.focus());
  shortcut('j', t('keys.down'), () => step(1));
  shortcut('k', t('keys.up'), () => step(-1));
  shortcut('Enter', t('keys.open'), () => current().querySelector('.nick a').click(), { on: '#rows tr[data-id]' });
  if (selection.all) shortcut('x', t('keys.pick'), () => selection.toggle(current()));
  if (create) {
    shortcut('n', t('accounts.new'), add);
    shortcut('e', t('keys.edit'), () => current() && edit(current()));
    shortcut('#', t('keys.delete'), () => remove(selection.size ? selection.ids : current() ? [current().dataset.id] : []));
  }
  shortcut(['[', ']'], t('keys.turn'), (key) => list.turn(key === ']' ? 1 : -1));
  shortcut('Escape', t('keys.clear'), () => selection.clear());
  search.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && search.value) { event.preventDefault(); search.value = ''; list.load(); } else if (event.key === 'Escape') search.blur();
    if (event.key === 'ArrowDown') { event.preventDefault(); step(1); }
  });
}
