// Requests to this server: the API under /v1 with the session in place of a token, and fragments of pages.

// Problem is a request that was not fulfilled: RFC 9457 with the service's own codes, or code "network" when there was no answer.
export class Problem extends Error {
  constructor(status, { code, detail, errors } = {}) {
    super(detail ?? code);
    this.status = status;
    this.code = code ?? 'internal';
    this.detail = detail;
    this.fields = errors ?? [];
  }
}

// signInPath returns where a visitor signs in, and comes back from to this page.
export const signInPath = () => `/console/sign-in?${new URLSearchParams({ next: location.pathname + location.search })}`;

async function request(path, options) {
  let answer;
  try {
    answer = await fetch(path, { credentials: 'same-origin', cache: 'no-store', ...options });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem(0, { code: 'network' });
  }
  if (answer.ok) return answer;
  if (answer.status === 401 && !document.querySelector('dialog[open] form[data-keep]')) { // what was typed there would be lost
    location.assign(signInPath());
  }
  const body = await answer.json().catch(() => ({}));
  throw new Problem(answer.status, body);
}

// call gives a request to the API. It returns what the answer says, with position and etag from its headers.
export async function call(method, path, { body, headers, signal } = {}) {
  const answer = await request(path, {
    method,
    signal,
    headers: body === undefined ? headers : { 'Content-Type': 'application/json', ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  return {
    value: answer.status === 204 ? null : await answer.json(),
    position: Number(answer.headers.get('Rollcall-Position') ?? 0),
  };
}

// fragment returns a part of a page that the server rendered.
export async function fragment(path, { signal } = {}) {
  const answer = await request(path, { signal, headers: { Accept: 'text/html' } });
  const holder = document.createElement('template');
  holder.innerHTML = await answer.text(); // made by html/template, which escapes what accounts say
  return holder.content.firstElementChild;
}

// newKey returns the id of a command, under which it may be given again without being done twice.
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(20));
  return `console-${Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('')}`;
}

export const appPath = (app) => `/v1/apps/${encodeURIComponent(app)}`;

// accountPath returns where an account is. . and .. would be lost on the way, however they are written.
export const accountPath = (app, id) => (id === '.' || id === '..'
  ? `/console/apps/${encodeURIComponent(app)}/account/dotted?${new URLSearchParams({ user_id: id })}`
  : `${appPath(app)}/accounts/${encodeURIComponent(id)}`);
