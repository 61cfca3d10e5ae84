// A file of accounts: what it begins with, and how it is cut into requests. It is read a little at a time, and never held.

const headBytes = 64 << 10; // read for the preview; also the longest row that the API takes
const readBytes = 256 << 10;
const pieceBytes = (1 << 20) - headBytes; // so that a piece with its last row is at most 1 MiB
const pieceRows = 10_000;
const shownRows = 10;

const [newline, carriageReturn, quote, comma] = [0x0a, 0x0d, 0x22, 0x2c];
const [cellStart, inCell, inQuotes, behindQuotes] = [0, 1, 2, 3];

// Borders finds where records of a table end, as the service does: a line break within a quoted cell ends nothing, a quote within another cell opens none.
class Borders {
  #state = cellStart;

  // ends tells whether a byte ends a record.
  ends(byte) {
    if (this.#state === inQuotes) {
      if (byte === quote) this.#state = behindQuotes;
    } else if (byte === newline) {
      this.#state = cellStart;
      return true;
    } else if (byte === comma) this.#state = cellStart;
    else if (byte === quote && this.#state !== inCell) this.#state = inQuotes;
    else this.#state = inCell;
    return false;
  }
}

const lines = { ends: (byte) => byte === newline };

// isTable tells whether a file is CSV: by its name, else by what it begins with.
async function isTable(file) {
  if (/\.csv$/i.test(file.name)) return true;
  if (/\.(ndjson|jsonl|json)$/i.test(file.name)) return false;
  const begin = await file.slice(0, 1024).text();
  return !begin.trimStart().startsWith('{');
}

// look returns the first rows of a file and what is wrong with it: {table, columns, rows, problems}. A fatal problem is one that the service
// would refuse the file for.
export async function look(file, fields) {
  const table = await isTable(file);
  const found = { table, columns: [], rows: [], problems: [] };
  const whole = file.size <= headBytes;
  let text;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(await file.slice(0, headBytes).arrayBuffer(), { stream: !whole });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    found.problems.push({ code: 'encoding', fatal: true });
    return found;
  }
  if (text.trim() === '') found.problems.push({ code: 'empty', fatal: true });
  else if (table) lookAtTable(found, text, whole);
  else lookAtLines(found, text, whole);
  for (const name of found.columns) if (!fields.includes(name)) found.problems.push({ code: 'column', name, fatal: table });
  return found;
}

function lookAtTable(found, text, whole) {
  const records = recordsOf(text, whole);
  const header = records.shift();
  if (!header) { found.problems.push({ code: 'header', fatal: true }); return; }
  found.columns = header.cells;
  const twice = header.cells.find((name, i) => header.cells.indexOf(name) !== i);
  if (twice !== undefined) found.problems.push({ code: 'twice', name: twice, fatal: true });
  if (!header.cells.includes('user_id')) found.problems.push({ code: 'user_id', fatal: true });
  if (records.length === 0 && whole) found.problems.push({ code: 'empty', fatal: true });
  const ragged = records.find((r) => r.cells.length !== header.cells.length);
  if (ragged) found.problems.push({ code: 'cells', line: ragged.line });
  found.rows = records.slice(0, shownRows);
}

// recordsOf returns the records of a table with the lines that they begin at. The last is left out unless the text is the whole of it.
function recordsOf(text, whole) {
  const records = [];
  const borders = new Borders();
  let [begin, line, next] = [0, 1, 1];
  const add = (end) => {
    const record = text.slice(begin, end).replace(/\r?\n$/, '');
    if (record) records.push({ line, cells: cellsOf(record) });
    [begin, line] = [end, next];
  };
  for (let i = 0; i < text.length; i += 1) {
    const c = text.charCodeAt(i);
    if (c === newline) next += 1;
    if (borders.ends(c)) add(i + 1);
  }
  if (whole && begin < text.length) add(text.length);
  return records;
}

const cellsOf = (record) => Array.from(`,${record}`.matchAll(/,(?:"([^"]*(?:""[^"]*)*)"|([^,]*))/g), ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain);

function lookAtLines(found, text, whole) {
  const all = text.split('\n');
  if (!whole) all.pop();
  let nameless = 0;
  for (const [i, line] of all.entries()) {
    if (line.trim() === '') continue;
    let value;
    try { value = JSON.parse(line); } catch { value = null; }
    if (value === null || typeof value !== 'object' || Array.isArray(value)) {
      if (!found.problems.some((p) => p.code === 'json')) found.problems.push({ code: 'json', line: i + 1 });
      continue;
    }
    for (const name of Object.keys(value)) if (!found.columns.includes(name)) found.columns.push(name);
    if (value.user_id === undefined) nameless ||= i + 1;
    if (found.rows.length < shownRows) found.rows.push({ line: i + 1, value });
  }
  for (const row of found.rows) row.cells = found.columns.map((name) => row.value[name] ?? '').map((v) => (typeof v === 'object' ? JSON.stringify(v) : String(v)));
  if (nameless) found.problems.push({ code: 'nameless', line: nameless });
}

// pieces cuts a file at the borders of its records: {body, from, to, line, rows, skipped}. Each body is a request of its own, a table's with the header
// again. line is where the piece begins in the file, skipped are the lines of its body before that.
export async function* pieces(file, table) {
  const borders = table ? new Borders() : lines;
  let header = null; // of a table, once it is read
  let [from, line, next, rows] = [0, 1, 1, 0];
  let begin = 0; // of the record
  const cut = (to) => {
    const body = new Blob(header ? [header.blob, file.slice(from, to)] : [file.slice(from, to)]);
    const piece = { body, from, to, line, rows, skipped: header?.lines ?? 0 };
    [from, line, rows] = [to, next, 0];
    return piece;
  };
  for (let at = 0; at < file.size; at += readBytes) {
    const bytes = new Uint8Array(await file.slice(at, at + readBytes).arrayBuffer());
    for (let i = 0; i < bytes.length; i += 1) {
      if (bytes[i] === newline) next += 1;
      if (!borders.ends(bytes[i])) continue;
      const to = at + i + 1;
      const empty = to - begin === 1 || (to - begin === 2 && bytes[i - 1] === carriageReturn);
      begin = to;
      if (table && !header) { // empty lines may stand before it
        if (!empty) header = { blob: file.slice(from, to), lines: next - line };
        [from, line] = [to, next];
        continue;
      }
      if (!empty) rows += 1;
      if (rows === pieceRows || to - from >= pieceBytes) yield cut(to);
    }
  }
  if (begin < file.size) rows += 1; // the last needs no line break
  if (from < file.size) yield cut(file.size);
}
