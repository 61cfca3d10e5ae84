// Words, numbers and times in the language of the page.

export const language = document.documentElement.lang;

const { default: messages } = await import(`./messages.${language}.js`);
const plurals = new Intl.PluralRules(language);
const numbers = new Intl.NumberFormat(language);

export const number = (n) => numbers.format(n);

const tenths = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

// size writes bytes as people read them, as the server does.
export function size(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) { n /= 1024; unit += 1; }
  return `${unit === 0 ? n : tenths.format(n)} ${units[unit]}`;
}

export const known = (key) => Object.hasOwn(messages, key);

// t returns the message of a key, its {placeholders} filled. The placeholder n chooses the plural form. It is text, never HTML.
export function t(key, values = {}) {
  let text = messages[key] ?? key;
  if (typeof text === 'object') text = (plurals.select(values.n) === 'one' && text.one) || text.other;
  return text.replace(/\{([a-z_]+)\}/g, (whole, name) => {
    const value = values[name] ?? whole;
    return typeof value === 'number' ? number(value) : value;
  });
}

const relative = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });

// ahead says how far a time lies ahead, roughly.
function ahead(at) {
  const minutes = (at - Date.now()) / 60_000;
  if (minutes < 90) return relative.format(Math.max(0, Math.round(minutes)), 'minute');
  return minutes < 48 * 60 ? relative.format(Math.round(minutes / 60), 'hour') : relative.format(Math.round(minutes / 1440), 'day');
}

const formats = {
  date: new Intl.DateTimeFormat(language, { dateStyle: 'medium' }),
  moment: new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' }),
  second: new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'medium' }),
  exact: new Intl.DateTimeFormat(language, { dateStyle: 'full', timeStyle: 'long' }),
};

// moment says when something was, to the second.
export const moment = (time) => formats.second.format(new Date(time));

// showTimes writes the times below a node as the reader's language and place have them.
export function showTimes(root) {
  for (const el of root.querySelectorAll('time[datetime]:not([title])')) {
    const at = new Date(el.dateTime);
    el.textContent = el.dataset.format === 'ahead' ? ahead(at) : formats[el.dataset.format ?? 'moment'].format(at);
    el.title = formats.exact.format(at);
  }
}

// sentence says what a problem of the service is, in the language of the page.
export function sentence(code, detail) {
  return known(`error.${code}`) ? t(`error.${code}`) : detail || t('error.internal');
}

// fault says what is wrong with a field.
export function fault(field, code, detail) {
  for (const key of [`fault.${field}.${code}`, `fault.${code}`]) if (known(key)) return t(key);
  return sentence(code, detail);
}
