// An import on its way: pieces of a file, given to the API one after the other.

import { appPath, newKey, Problem } from './api.js';
import { pieces } from './import-file.js';

const figures = () => ({ created: 0, edited: 0, unchanged: 0, failed: 0, unknown: 0 });

// outcomeOf is what became of a row. One whose outcome is not known has not failed.
const outcomeOf = (row) => (row.code === 'outcome_unknown' ? 'unknown' : row.status);

// Import gives a file to an application. It is run again after it stopped, and goes on with the piece that it stopped in: under the same key, so that
// no row is executed twice.
export class Import {
  sent = 0; // bytes of the file whose rows have results
  piece = null; // that is not done
  #pieces;
  #ahead = null; // the piece behind the one on its way, when it is being cut
  #key;
  #done = figures(); // of the pieces before
  #rows = new Map(); // of this one, by line of the file
  #stopping = false;
  #abort = new AbortController();

  // report takes what became of the rows of a piece, see Report; progress is called whenever there is news.
  constructor(app, file, { table, mode, report, progress }) {
    Object.assign(this, { app, file, table, mode, report, progress });
    this.#pieces = pieces(file, table);
  }

  // stop lets the piece on its way be finished. Stopped again, it is broken off.
  stop() {
    if (this.#stopping) this.#abort.abort();
    this.#stopping = true;
  }

  get figures() {
    const sum = { ...this.#done };
    for (const row of this.#rows.values()) sum[outcomeOf(row)] += 1;
    return sum;
  }

  // run goes on until the file ends (true), or it is stopped (false). Errors: Problem, with the piece that it is about in piece.
  async run() {
    this.#stopping = false;
    this.#abort = new AbortController();
    for (;;) {
      if (!this.piece) {
        const { value, done } = await this.#next();
        if (done) return true;
        this.piece = value;
        this.#key = newKey();
      }
      this.#ahead ??= this.#cut();
      await this.#send(this.piece);
      this.#settle();
      if (this.#stopping) return this.sent === this.file.size;
    }
  }

  // next returns the piece behind the last, which is cut while that one is on its way.
  #next() {
    const next = this.#ahead ?? this.#cut();
    this.#ahead = null;
    return next;
  }

  #cut() {
    const cut = this.#pieces.next();
    cut.catch(() => {}); // told when it is asked for
    return cut;
  }

  // settle counts and reports what became of the piece.
  #settle() {
    this.report.add(this.#results());
    this.#done = this.figures;
    this.#rows = new Map();
    this.sent = this.piece.to;
    this.piece = null;
    this.progress();
  }

  #results() {
    return Array.from(this.#rows.values(), (row) => ({ ...row, status: outcomeOf(row) }));
  }

  async #send(piece) {
    try {
      await this.#exchange(piece);
    } catch (problem) {
      if (problem.status === 0) piece.doubtful = true; // the service may have rows whose results did not arrive
      const missing = piece.doubtful ? Math.max(0, piece.rows - this.#rows.size) : 0;
      this.report.leaveOpen(this.#results(), piece.line, missing);
      throw problem;
    }
  }

  async #exchange(piece) {
    let summary;
    try {
      const answer = await this.#post(piece);
      for await (const result of linesOf(answer.body)) {
        if ('done' in result) summary = result;
        else this.#take(piece, result);
      }
    } catch (error) {
      if (error instanceof Problem) throw error;
      throw new Problem(0, { code: 'network' }); // broken off, by the network or by stop
    }
    if (!summary?.done) throw new Problem(0, summary ?? { code: 'network' });
  }

  async #post(piece) {
    const answer = await fetch(`${appPath(this.app)}/accounts:import?mode=${this.mode}`, {
      method: 'POST', credentials: 'same-origin', cache: 'no-store', signal: this.#abort.signal, body: piece.body,
      headers: { 'Content-Type': this.table ? 'text/csv' : 'application/x-ndjson', 'Idempotency-Key': this.#key },
    });
    if (answer.ok) return answer;
    throw new Problem(answer.status, await answer.json().catch(() => ({})));
  }

  #take(piece, result) {
    const line = result.line - piece.skipped + piece.line - 1;
    this.#rows.set(line, { ...result, line });
    this.sent = piece.from + Math.floor((piece.to - piece.from) * Math.min(1, this.#rows.size / piece.rows));
    this.progress();
  }
}

async function* linesOf(stream) {
  let rest = '';
  for await (const text of chunks(stream.pipeThrough(new TextDecoderStream()))) {
    const lines = (rest + text).split('\n');
    rest = lines.pop();
    for (const line of lines) if (line) yield JSON.parse(line);
  }
}

// chunks reads a stream, which not every browser lets a loop do.
async function* chunks(stream) {
  const reader = stream.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    yield value;
  }
}
