// Hearing of what happens on the server while the page is looked at.

// In milliseconds.
const again = 5000;

// Follower follows a stream of the server behind a position. state is an element that shows while it is heard.
// changes is called with each message, stale when too much happened to be told.
export class Follower {
  #on = true;

  constructor(path, after, { state, changes, stale }) {
    Object.assign(this, { path, after, state, changes, stale });
    document.addEventListener('visibilitychange', () => this.#look());
    addEventListener('pagehide', () => this.#stop());
    this.#look();
  }

  // behind tells that the page shows all up to a position.
  behind(position) { this.after = Math.max(this.after, position); }

  // turn switches it on or off.
  turn(on) {
    this.#on = on;
    this.#look();
  }

  #look() {
    if (this.#on && !document.hidden) this.#start();
    else this.#stop();
  }

  #start() {
    if (this.source) return;
    this.source = new EventSource(`${this.path}${this.path.includes('?') ? '&' : '?'}after=${this.after}`);
    this.source.addEventListener('open', () => { this.state.hidden = false; });
    this.source.addEventListener('error', () => this.#broken());
    this.source.addEventListener('changes', (event) => {
      const news = JSON.parse(event.data);
      this.behind(news.position);
      this.changes(news);
    });
    this.source.addEventListener('stale', (event) => {
      this.after = Number(event.lastEventId);
      this.stale();
    });
  }

  // A stream that breaks is taken up again by the browser, but not one that was refused, as by a server that is starting.
  #broken() {
    this.state.hidden = true;
    if (this.source?.readyState !== EventSource.CLOSED) return;
    this.#stop();
    setTimeout(() => this.#look(), again);
  }

  #stop() {
    this.source?.close();
    this.source = null;
    this.state.hidden = true;
  }
}
