// What became of the rows of an import, as a table to look at and as files to keep.

import { fault, known, number, sentence, t } from './i18n.js';
import { shown } from './import-text.js';

const most = 100; // rows to look at
const columns = ['line', 'user_id', 'status', 'code', 'reason', 'detail', 'position'];
const risky = /^[=+\-@\t\r\n'＝＋－＠]/; // a spreadsheet would run it; as in exports

// cell writes a cell of CSV.
function cell(value) {
  let text = String(value ?? '');
  if (risky.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const record = (cells) => `${cells.map(cell).join(',')}\r\n`;

// reasonOf says why a row, or all of an import, was refused, in the language of the page.
export function reasonOf({ code, detail, errors = [] }) {
  if (!code) return '';
  if (errors.length === 0) return sentence(code, detail);
  return errors.map((e) => `${known(`field.${e.field}`) ? t(`field.${e.field}`) : e.field}: ${fault(e.field, e.code, e.detail)}`).join(' ');
}

// partOf is what a piece adds to a report.
function partOf(results) {
  const rows = results.map((row) => ({ ...row, reason: row.reason ?? reasonOf(row) })).sort((a, b) => a.line - b.line);
  const bad = rows.filter((row) => row.status === 'failed' || row.status === 'unknown');
  const text = (some) => new Blob(some.map((row) => record(columns.map((name) => row[name]))));
  return { all: text(rows), failed: text(bad), bad };
}

// Report keeps results as pieces of files, which a browser puts on its disk when they are many.
export class Report {
  #all = [];
  #failed = [];
  #first = []; // rows that failed
  #failures = 0;
  #open = null; // of a piece that is not done

  constructor(section) {
    this.section = section;
  }

  // add takes the results of a piece that is done, of rows in any order.
  add(results) {
    const { all, failed, bad } = partOf(results);
    this.#all.push(all);
    this.#failed.push(failed);
    this.#first.push(...bad.slice(0, most - this.#first.length));
    this.#failures += bad.length;
    this.#open = null;
  }

  // leaveOpen takes the results so far of a piece that begins at a line and may yet be done, and how many rows of it nothing is known of.
  leaveOpen(results, line, missing) {
    const gap = { line, status: 'unknown', reason: t('import.gap', { n: missing }) };
    this.#open = partOf(missing ? [...results, gap] : results);
  }

  // show shows the report as far as there is one.
  show() {
    const part = (id) => this.section.querySelector(`#${id}`);
    const failures = this.#failures + (this.#open?.bad.length ?? 0);
    this.section.hidden = this.#all.length === 0 && !this.#open?.all.size;
    part('import-failures').hidden = failures === 0;
    part('import-failed').hidden = failures === 0;
    part('import-failures-title').textContent = failures > most ? t('import.failures_first', { shown: most, n: failures }) : t('import.failures');
    this.section.querySelector('tbody').replaceChildren(...[...this.#first, ...this.#open?.bad ?? []].slice(0, most).map(tableRow));
  }

  // file returns the results as CSV, with a mark that tells spreadsheets that it is UTF-8.
  file({ failed }) {
    const parts = failed ? [...this.#failed, this.#open?.failed ?? ''] : [...this.#all, this.#open?.all ?? ''];
    return new Blob(['\ufeff', record(columns), ...parts], { type: 'text/csv' });
  }
}

function tableRow(row) {
  const tr = document.createElement('tr');
  const line = Object.assign(document.createElement('th'), { scope: 'row', textContent: number(row.line) });
  const id = document.createElement('td');
  id.className = 'mono';
  id.append(shown(row.user_id ?? ''));
  const reason = document.createElement('td');
  reason.append(shown(row.reason));
  tr.append(line, id, reason);
  return tr;
}
