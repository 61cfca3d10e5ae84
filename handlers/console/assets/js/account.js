// The page of an account: what it is, what it was, and what happened to it.

import { fragment, Problem } from './api.js';
import { openDelete } from './delete.js';
import { openEdit } from './edit.js';
import { Follower } from './follow.js';
import { moment, number, sentence, t } from './i18n.js';
import { shortcut } from './keys.js';
import { startPage } from './page.js';
import { append, newestOf, prepend } from './timeline.js';
import { announce, busy, later, settle, toast } from './ui.js';

const { app } = document.body.dataset;
const page = document.getElementById('account');
const { user } = page.dataset;
const timeline = document.getElementById('timeline'); // absent for those who do not see what was
const part = (name, query) => fragment(`/console/apps/${encodeURIComponent(app)}/account/${name}?${new URLSearchParams({ user_id: user, ...query })}`);

// told has a request that fails tell why, and nothing else.
async function told(work) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.code !== 'unauthenticated') toast(sentence(error.code, error.detail), { bad: true });
    return null;
  }
}

// Travel is the slider through time. Its last place is now.
class Travel {
  #asked = 0;
  #pause = later(() => this.load(), 60);

  constructor() {
    const box = document.getElementById('travel');
    this.now = document.getElementById('back-to-now');
    this.text = document.getElementById('when-text');
    this.moments = box ? JSON.parse(box.dataset.moments) : [];
    this.slider = document.getElementById('when');
    this.now.addEventListener('click', () => {
      this.go(this.moments.length);
      (this.slider ?? this.now).focus();
    });
    if (!this.slider) return;
    this.earlier = document.getElementById('earlier');
    this.later = document.getElementById('later');
    this.slider.addEventListener('input', () => { this.#tell(); this.#pause(); });
    this.earlier.addEventListener('click', () => this.go(this.place - 1));
    this.later.addEventListener('click', () => this.go(this.place + 1));
    this.#tell();
  }

  get place() { return this.slider ? Number(this.slider.value) : this.moments.length; }

  get isNow() { return this.place === this.moments.length; }

  // at returns the position that is shown, undefined for now.
  get at() { return this.isNow ? undefined : this.moments[this.place - 1].position; }

  go(place) {
    if (!this.slider || place < 1 || place > this.moments.length) return;
    this.slider.value = place;
    this.#tell();
    this.load();
  }

  show(position) {
    const i = this.moments.findIndex((m) => m.position === position);
    if (i >= 0) this.go(i + 1);
  }

  // add puts moments behind the last one. Whoever looks at now stays there.
  add(moments) {
    const follows = this.isNow;
    this.moments.push(...moments);
    if (!this.slider) return;
    this.slider.max = this.moments.length;
    if (follows) this.slider.value = this.moments.length;
    this.#tell();
  }

  // load shows the account as it was at the place of the slider; minimum is a position that now must show.
  async load(minimum = 0) {
    const asked = ++this.#asked;
    const { at } = this;
    const fresh = await told(() => part('at', at ? { at } : minimum ? { min_position: minimum } : {}));
    if (!fresh || asked !== this.#asked) return;
    settle(fresh);
    const head = fresh.querySelector('#account-head');
    if (head) replaceHead(head);
    const facts = fresh.querySelector('#facts');
    facts.classList.toggle('past', Boolean(at));
    document.getElementById('facts').replaceWith(facts);
  }

  #tell() {
    const m = this.moments[this.place - 1];
    const values = { place: this.place, of: this.moments.length, time: m ? moment(m.time) : '' };
    this.text.textContent = this.isNow ? t('account.now') : t('account.then', values);
    this.now.hidden = this.isNow;
    this.slider.setAttribute('aria-valuetext', this.isNow ? t('account.now') : t('account.place', values));
    this.earlier.disabled = this.place === 1;
    this.later.disabled = this.isNow;
    for (const li of timeline.children) li.classList.toggle('shown', !this.isNow && Number(li.dataset.position) === m.position);
  }
}

// replaceHead shows who the account is, with the focus on the button that had it.
function replaceHead(head) {
  const old = document.getElementById('account-head');
  const act = old.contains(document.activeElement) ? document.activeElement.dataset.act : null;
  old.replaceWith(head);
  if (act) (head.querySelector(`[data-act="${act}"]`) ?? document.getElementById('main')).focus({ preventScroll: true });
}

const travel = timeline ? new Travel() : { isNow: true, load: (minimum) => reload(minimum) };

// reload shows the account as it is, for those who do not see what was.
async function reload(minimum) {
  const fresh = await told(() => part('at', { min_position: minimum }));
  if (!fresh) return;
  settle(fresh);
  replaceHead(fresh.querySelector('#account-head'));
  document.getElementById('facts').replaceWith(fresh.querySelector('#facts'));
}

// refresh shows what happened up to a position.
async function refresh(position) {
  if (timeline) {
    const fresh = await told(() => part('history', { after: newestOf(timeline) }));
    if (!fresh) return;
    const entries = prepend(timeline, fresh);
    travel.add(entries.filter((li) => 'moment' in li.dataset).reverse().map((li) => ({ position: Number(li.dataset.position), time: li.dataset.time, kind: li.dataset.kind })));
    if (entries.length) announce(t('account.news', { n: entries.length }));
  }
  if (travel.isNow) await travel.load(position);
}

const act = {
  edit: () => openEdit(app, user, (id, position) => refresh(position)),
  delete: () => openDelete(app, [user], (gone, position) => { if (gone.length) refresh(position); }),
};

page.addEventListener('click', (event) => {
  act[event.target.closest('[data-act]')?.dataset.act]?.();
  const show = event.target.closest('[data-show]');
  if (show) travel.show(Number(show.dataset.show));
});
for (const [key, name, label] of [['e', 'edit', t('list.edit')], ['#', 'delete', t('list.delete')]]) {
  if (page.querySelector(`[data-act="${name}"]`)) shortcut(key, label, () => page.querySelector(`[data-act="${name}"]`)?.click());
}
if (timeline) {
  const older = document.getElementById('older');
  older.addEventListener('click', () => busy(older, async () => {
    const list = await told(() => part('history', { before: timeline.dataset.before }));
    if (!list) return;
    const first = timeline.children.length;
    append(timeline, list);
    older.hidden = Number(timeline.dataset.before) === 0;
    announce(t('event.shown', { number: number(timeline.children.length) }));
    timeline.children[first]?.querySelector('summary').focus({ preventScroll: true });
  }));
  if (travel.slider) {
    shortcut('[', t('account.earlier'), () => travel.go(travel.place - 1));
    shortcut(']', t('account.later'), () => travel.go(travel.place + 1));
    shortcut('0', t('account.back_to_now'), () => travel.go(travel.moments.length));
  }
}
const live = `/console/apps/${encodeURIComponent(app)}/account/live?${new URLSearchParams({ user_id: user })}`;
new Follower(live, Number(page.dataset.position), {
  state: document.getElementById('live-state') ?? document.createElement('span'),
  changes: ({ position }) => refresh(position),
  stale: () => location.reload(),
});
startPage();
