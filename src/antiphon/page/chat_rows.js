// The rows of the list of chats: headings and chats, and the part of them that is rendered. Pure.

const DAY_MS = 86_400_000;

/** Rows for chats that are sorted (by `compareChats`): {key, heading} and {key, chat, position}. `now` is a Date; `months` formats the
 *  name of a month (an Intl.DateTimeFormat with month and year). */
export function rowsOf(chats, now, months) {
  const groupOf = makeGroups(now, months);
  const rows = [];
  let heading = '';
  let position = 0;
  for (const chat of chats) {
    const group = chat.pin_order ? 'Pinned' : groupOf(chat.at_ms);
    if (group !== heading) rows.push({ key: `h ${(heading = group)}`, heading });
    rows.push({ key: chat.id, chat, position: ++position });
  }
  return rows;
}

/** Pinned chats are first, in the order of their pins; the others by their last change, newest first. */
export const compareChats = (a, b) =>
  a.pin_order || b.pin_order ? pinRank(a) - pinRank(b) || b.at_ms - a.at_ms : b.at_ms - a.at_ms;

const pinRank = (chat) => chat.pin_order || Number.MAX_SAFE_INTEGER;

function makeGroups(now, months) {
  const today = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1).getTime(); // a day may have 23 h
  const names = new Map();
  return (at_ms) => {
    if (at_ms >= today) return 'Today';
    if (at_ms >= yesterday) return 'Yesterday';
    if (at_ms >= today - 7 * DAY_MS) return 'Previous 7 days';
    if (at_ms >= today - 30 * DAY_MS) return 'Previous 30 days';
    const at = new Date(at_ms);
    const month = at.getFullYear() * 12 + at.getMonth();
    if (!names.has(month)) names.set(month, months.format(at));
    return names.get(month);
  };
}

/** The rows to render: [first, last), for a list that is scrolled by `top` px and shows `height` px. Rows outside are
 *  included, so that fast scrolling shows no gap; the range changes in steps, so that few scroll events render. */
export function shownRange(count, { top, height, row, step = 8 }) {
  const first = Math.floor(top / row / step) * step - step;
  const last = Math.ceil((top + height) / row / step) * step + step;
  return [Math.max(0, Math.min(first, count)), Math.max(0, Math.min(last, count))];
}

/** The index of the chat that is `by` chats after the one at `index`; headings are skipped. Null: there is none. */
export function chatIndexFrom(rows, index, by) {
  const step = Math.sign(by);
  let found = null;
  for (let at = index + step, left = Math.abs(by); at >= 0 && at < rows.length && left > 0; at += step) {
    if (!rows[at].chat) continue;
    found = at;
    left--;
  }
  return found;
}

/** Labels as one line of text: `work, project: apollo`. */
export const labelsText = (labels) =>
  Object.entries(labels ?? {})
    .map(labelText)
    .join(', ');

/** One label, [key, value], as text. */
export const labelText = ([key, value]) => (value ? `${key}: ${value}` : key);

/** The labels in one line of text. Returns {labels}, or {problem}: a sentence. */
export function parseLabels(text) {
  const labels = {};
  for (const item of text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean)) {
    const [, key, value = ''] = /^([^:]*)(?::(.*))?$/s.exec(item);
    if (!key.trim()) return { problem: `“${item}” has no name before the colon.` };
    labels[key.trim()] = value.trim();
  }
  return { labels };
}

/** The labels of these chats, the most frequent first: [[key, value], …]. */
export function labelsOf(chats, count_max) {
  const counts = new Map();
  for (const chat of chats) {
    for (const label of Object.entries(chat.labels ?? {})) {
      const name = JSON.stringify(label);
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  const sorted = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  return sorted.slice(0, count_max).map(([name]) => JSON.parse(name));
}
