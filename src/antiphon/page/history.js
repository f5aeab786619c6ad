// The window of a chat's history: which messages are held and can be scrolled to. Pure.
//
// The view holds the end of the history, which grows while the chat is open. Earlier messages are loaded in pages and
// dropped again: at most HELD_MAX of them are held. While messages between the window and the end are not held, the
// window is detached: `older` alone is shown, and its continuation is loaded like the earlier messages.

export const HELD_MAX = 600;
export const PAGE = 100;
/** The view's own messages beyond this number are dropped, except the last TAIL. */
export const TAIL_MAX = 1000;
export const TAIL = 300;

/** {older, hasEarlier, isDetached}: `older` are messages before those of the view, ascending. */
export const emptyHistory = () => ({ older: [], hasEarlier: false, isDetached: false });

export const shownMessages = (history, view) =>
  history.isDetached ? history.older : history.older.length ? [...history.older, ...view.messages] : view.messages;

export const hasEarlier = (history, view) => (history.older.length ? history.hasEarlier : view.hasMore);

/** The window with a page of messages before its first one; the last ones beyond HELD_MAX are dropped. */
export function withEarlierPage(history, view, page) {
  const shown = shownMessages(history, view);
  const first = shown[0]?.id ?? Infinity;
  const earlier = page.messages.filter((message) => message.id < first);
  const next = { ...history, hasEarlier: page.has_more, older: [...earlier, ...history.older] };
  const whole = [...earlier, ...shown];
  if (whole.length <= HELD_MAX) return next;
  const older = whole.slice(0, HELD_MAX);
  const isDetached = history.isDetached || older.at(-1).id < view.messages.at(-1)?.id;
  return { ...next, older: isDetached ? older : next.older, isDetached };
}

/** A detached window with the page of messages after its last one; the first ones beyond HELD_MAX are dropped. */
export function withLaterPage(history, view, page) {
  const last = history.older.at(-1)?.id ?? 0;
  const end = view.messages[0]?.id ?? Infinity;
  const later = page.messages.filter((message) => message.id > last);
  const isAtEnd = !page.has_more || (later.at(-1)?.id ?? 0) >= end;
  const whole = [...history.older, ...later].filter((message) => !isAtEnd || message.id < end);
  const isCut = whole.length > HELD_MAX;
  return {
    older: isCut ? whole.slice(-HELD_MAX) : whole,
    hasEarlier: history.hasEarlier || isCut,
    isDetached: !isAtEnd,
  };
}

/** The window after the history was cut: the messages from `id` on are gone. */
export function withoutFrom(history, id) {
  const older = history.older.filter((message) => message.id < id);
  const isReached = older.length < history.older.length;
  return { ...history, older, isDetached: history.isDetached && !isReached };
}

/**
 * The window when the view has too many messages: [history, the number of the view's last messages to keep]. At its end
 * only the end is kept; a reader who is further up keeps what is around, and the window becomes detached.
 */
export function bounded(history, view, isAtEnd) {
  if (view.messages.length <= (isAtEnd ? TAIL_MAX : 3 * TAIL_MAX)) {
    const isTooLong = isAtEnd && history.older.length > HELD_MAX;
    return [isTooLong ? emptyHistory() : history, view.messages.length];
  }
  if (isAtEnd || history.isDetached) return [isAtEnd ? emptyHistory() : history, TAIL];
  const older = shownMessages(history, view).slice(0, HELD_MAX);
  return [{ older, hasEarlier: hasEarlier(history, view), isDetached: true }, TAIL];
}
