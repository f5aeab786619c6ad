// The list of chats. Only the rows in view are in the page, however many there are; each row has the same height. The
// list is one stop of Tab: arrows move, Enter opens, F2 renames, Delete deletes, the menu key opens the menu.

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from '../vendor/preact-hooks.js';
import { signal } from '../vendor/signals.js';
import { chatIndexFrom, rowsOf, shownRange } from '../chat_rows.js';
import { chats, filter, hidden, isListLoading, loadMore, nextPage, setFilter } from '../chats.js';
import { deleteChat, renameChat } from '../chat_commands.js';
import { shownChatId } from '../route.js';
import { ChatRow, HeadingRow } from './chat_row.js';
import { html } from './html.js';

const MONTHS = new Intl.DateTimeFormat(undefined, { month: 'long', year: 'numeric' });
const MORE_ROWS = 30; // the next page is loaded when so few rows are left below
const ROW_PX = 40; // until it is measured
const MINUTE_MS = 60_000;

/** The id of the chat that Tab reaches, if a person has moved there; else it is the shown one or the first. */
const tabStopId = signal(null);

export function ChatList() {
  const scroller = useRef(null);
  const rows = useRows();
  const { row, range, onScroll } = useWindow(scroller, rows.length);
  const stop = tabStopOf(rows);
  useEffect(() => {
    if (rows.length - range[1] < MORE_ROWS && nextPage.value) loadMore();
  }, [range[1], rows.length, nextPage.value]);
  const spacer = useRef(null);
  useLayoutEffect(() => {
    spacer.current.style.height = `${rows.length * row}px`;
  }, [rows.length, row]);
  useFocusAfterRemoval(rows, scroller);
  const shown = indexesOf(range, stop);
  const count = nextPage.value ? -1 : chats.value?.length; // -1: unknown, there are more
  return html`<div class="chat-list" data-testid="chat-list" ref=${scroller} onScroll=${onScroll}
    aria-busy=${isListLoading.value} onKeyDown=${(event) => onKeyDown(event, rows, scroller.current, row)}
    onFocusIn=${(event) => rememberFocus(event.target)}>
    <${Empty} rows=${rows} />
    <p class="hidden" role="status">${foundWords()}</p>
    <ul ref=${spacer} role="list" aria-label="Chats">${shown.map((index) => {
      const { key, chat, heading, position } = rows[index];
      if (!chat) return html`<${HeadingRow} key=${key} heading=${heading} top=${index * row} />`;
      return html`<${ChatRow} key=${key} chat=${chat} top=${index * row} position=${position} count=${count}
        isShown=${chat.id === shownChatId.value} isTabStop=${index === stop} />`;
    })}</ul>
  </div>`;
}

function Empty({ rows }) {
  const { words, label, isArchived } = filter.value;
  if (rows.length) return null;
  if (isListLoading.value) return html`<p class="empty" role="status">${words ? 'Searching…' : 'Loading…'}</p>`;
  if (words.trim() || label) {
    const text = isArchived ? 'No archived chat has this title or label.' : 'No chat has this title or label.';
    return html`<p class="empty" role="status">${text}</p>
      <button type="button" class="quiet wide" onClick=${() => setFilter({ isArchived: !isArchived })}>
        ${isArchived ? 'Search the other chats' : 'Search the archive'}
      </button>`;
  }
  return html`<p class="empty">${isArchived ? 'No archived chats.' : 'No chats yet. Write the first message.'}</p>`;
}

/** What a search has found, for screen readers. */
function foundWords() {
  const count = chats.value?.length;
  if (!filter.value.words.trim() || isListLoading.value || !count) return '';
  return `${count === 1 ? '1 chat' : `${count} chats`} found${nextPage.value ? ', and more' : ''}.`;
}

// --- rows -------------------------------------------------------------------------------------------

function useRows() {
  const [minute, setMinute] = useState(0); // at midnight “Today” becomes “Yesterday”
  useEffect(() => {
    const timer = setInterval(() => setMinute(Math.floor(Date.now() / MINUTE_MS / 10)), MINUTE_MS);
    return () => clearInterval(timer);
  }, []);
  return useMemo(() => rowsOf(chats.value ?? [], new Date(), MONTHS), [chats.value, minute]);
}

/** The height of a row, the indexes of the rows in view, and the handler that updates them. */
function useWindow(scroller, count) {
  const [view, setView] = useState({ row: ROW_PX, top: 0, height: 800 });
  const measure = () => {
    const { scrollTop, clientHeight } = scroller.current;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const row = rem * parseFloat(getComputedStyle(scroller.current).getPropertyValue('--row'));
    setView({ row, top: scrollTop, height: clientHeight });
  };
  useLayoutEffect(() => {
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(scroller.current);
    return () => observer.disconnect();
  }, []);
  const range = shownRange(count, view);
  const onScroll = () => {
    const { scrollTop } = scroller.current;
    const next = shownRange(count, { ...view, top: scrollTop });
    if (next[0] !== range[0] || next[1] !== range[1]) setView({ ...view, top: scrollTop });
  };
  return { row: view.row, range, onScroll };
}

/** The index of the row that Tab reaches; -1: none. */
function tabStopOf(rows) {
  const indexOf = (id) => (id ? rows.findIndex((row) => row.key === id) : -1);
  const found = indexOf(tabStopId.value);
  if (found >= 0) return found;
  const shown = indexOf(shownChatId.value);
  return shown >= 0 ? shown : rows.findIndex((row) => row.chat);
}

/** The row that Tab reaches stays in the page when it is scrolled away, so that the focus is not lost. */
function indexesOf([first, last], stop) {
  const indexes = Array.from({ length: last - first }, (_, at) => first + at);
  if (stop >= 0 && stop < first) indexes.unshift(stop);
  if (stop >= last) indexes.push(stop);
  return indexes;
}

// --- keyboard ---------------------------------------------------------------------------------------

const idOf = (element) => element.closest('.chat-row')?.querySelector('a').dataset.chatId;

function rememberFocus(element) {
  const id = idOf(element);
  if (id) tabStopId.value = id;
}

function onKeyDown(event, rows, scroller, row) {
  if (!idOf(event.target)) return;
  const index = rows.findIndex(({ key }) => key === tabStopId.peek()); // the focus follows when the row is rendered
  if (index < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
  const page = Math.max(1, Math.floor(scroller.clientHeight / row) - 1);
  const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, End: rows.length, Home: -rows.length };
  const { chat } = rows[index];
  if (event.key in steps) focusRow(rows, chatIndexFrom(rows, index, steps[event.key]), scroller, row);
  else if (event.key === 'F2') renameChat(chat);
  else if (event.key === 'Delete') deleteChat(chat);
  else if (event.key === 'ContextMenu' || (event.key === 'F10' && event.shiftKey)) {
    event.target.closest('.chat-row').querySelector('.row-menu').click();
  } else return;
  event.preventDefault();
}

/** Moves the focus to a row: it is scrolled into view and rendered first. */
function focusRow(rows, index, scroller, row) {
  if (index === null) return;
  const top = index * row;
  if (top < scroller.scrollTop)
    scroller.scrollTop = Math.max(0, top - row); // with the heading above it
  else if (top + row > scroller.scrollTop + scroller.clientHeight)
    scroller.scrollTop = top + row - scroller.clientHeight;
  tabStopId.value = rows[index].key;
  const focus = () => linkOf(scroller, rows[index].key)?.focus({ preventScroll: true });
  if (linkOf(scroller, rows[index].key)) focus();
  else requestAnimationFrame(focus);
}

const linkOf = (scroller, id) => scroller.querySelector(`[data-chat-id='${id}']`);

/** When the row with the focus is deleted, the next one gets the focus, or the button of a new chat. */
function useFocusAfterRemoval(rows, scroller) {
  const before = useRef({ rows, hidden: hidden.value });
  useLayoutEffect(() => {
    const { rows: old, hidden: wasHidden } = before.current;
    before.current = { rows, hidden: hidden.value };
    const gone = tabStopId.peek();
    if (!gone || wasHidden.has(gone) || !hidden.value.has(gone)) return;
    const index = old.findIndex(({ key }) => key === gone);
    const next = chatIndexFrom(old, index, 1) ?? chatIndexFrom(old, index, -1);
    tabStopId.value = next === null ? null : old[next].key;
    requestAnimationFrame(() => {
      if (document.activeElement !== document.body) return; // it was deleted from somewhere else
      (linkOf(scroller.current, tabStopId.peek()) ?? document.querySelector('.new-chat')).focus();
    });
  }, [rows]);
}
