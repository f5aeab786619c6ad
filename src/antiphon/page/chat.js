// The open chat: its view, updated by its stream, and the commands on it.

import { batch, computed, signal } from './vendor/signals.js';
import { path, request, requestUntilAnswered, url } from './api.js';
import { openChildren } from './children.js';
import { dropChat, updateListedChat, wasRemoved } from './chats.js';
import { editedId } from './editing.js';
import { markChatRead } from './inbox.js';
import { report } from './notice.js';
import { openStream } from './stream.js';
import {
  PAGE,
  bounded,
  emptyHistory,
  hasEarlier,
  shownMessages,
  withEarlierPage,
  withLaterPage,
  withoutFrom,
} from './history.js';
import { GAP, apply, emptyView, withLast } from './view.js';

/** The shown view of the open chat; null until its first state has arrived. */
export const view = signal(null);
export const openId = signal(null);
/** The state of the open chat's stream (see openStream); null when no chat is open. */
export const streamState = signal(null);

/** The window of the history that is held (see history.js). */
const history = signal(emptyHistory());
/** The messages that can be scrolled to, ascending. */
export const messages = computed(() => (view.value ? shownMessages(history.value, view.value) : []));
export const areEarlier = computed(() => Boolean(view.value) && hasEarlier(history.value, view.value));
/** Whether messages after the shown ones are not held: the end is not shown. */
export const areLater = computed(() => history.value.isDetached);
/** How calls were decided while the chat was open: {outcome, by, always} by tool_call_id. */
export const resolvedCalls = computed(() => view.value?.resolved ?? {});
/** Whether the reader is at the end. Set by the transcript. */
export const isAtEnd = signal(true);

let stream = null;
let latest = emptyView(); // newer than `view` by the events since the last frame
let isFrameRequested = false;
const interruptedTurn = signal(0);

export function openChat(chatId) {
  if (chatId === openId.peek()) return;
  closeChat();
  openId.value = chatId;
  openChildren(chatId);
  stream = openStream({
    address: url(path('chats', chatId, 'stream')),
    liveOn: 'caught_up',
    onEvent: (event) => chatId === openId.peek() && handleEvent(event),
    onState: (state) => chatId === openId.peek() && (streamState.value = state),
  });
}

export function closeChat() {
  markReadNow();
  stream?.close();
  stream = null;
  latest = emptyView();
  openId.value = streamState.value = view.value = null;
  history.value = emptyHistory();
  isAtEnd.value = true;
  editedId.value = 0; // another chat may have a message with this id
  openChildren(null);
  interruptedTurn.value = 0;
  readUpTo = 0;
}

/** Shows what was kept of the open chat in this browser, until the server has sent its state. Returns whether it is
 *  shown. */
export function showKeptView(chatId, { chat, messages }) {
  if (chatId !== openId.peek() || view.peek()) return false;
  view.value = { ...emptyView(), chat, messages, seq: chat.seq };
  return true;
}

// --- reading ----------------------------------------------------------------------------------------

const READ_AFTER_MS = 600;
let readUpTo = 0;
let readTimer = 0;

/** Marks the chat as read when it has not changed for READ_AFTER_MS in a visible tab. */
function scheduleMarkRead() {
  clearTimeout(readTimer);
  readTimer = 0;
  if (!openId.peek() || document.hidden || !(latest.seq > readUpTo) || latest.isDeleted) return;
  readTimer = setTimeout(markReadNow, READ_AFTER_MS);
}

/** Marks the chat as read at once, when the chat or the tab is left. */
function markReadNow() {
  const isDue = readTimer !== 0;
  clearTimeout(readTimer);
  readTimer = 0;
  if (isDue && view.peek() && !wasRemoved(openId.peek())) markRead(openId.peek(), view.peek().seq);
}

async function markRead(chatId, seq) {
  try {
    await request('PUT', path('chats', chatId, 'read'), { seq }, { keepalive: true });
    if (chatId === openId.peek()) readUpTo = Math.max(readUpTo, seq);
    updateListedChat({ id: chatId, has_unread: false });
    await markChatRead(chatId);
  } catch {
    // retried after the next change
  }
}

document.addEventListener('visibilitychange', () => (document.hidden ? markReadNow() : scheduleMarkRead()));

function handleEvent(event) {
  const next = apply(latest, event.type === 'delta' ? { ...event, arrived_ms: performance.now() } : event);
  if (next === GAP) return false;
  latest = next;
  if (event.type === 'resync') history.value = emptyHistory();
  if (event.type === 'history_truncated') history.value = withoutFrom(history.peek(), event.from_message_id);
  if (latest.turnId !== interruptedTurn.peek()) interruptedTurn.value = 0; // it has ended; a retry has the same turn id
  if (latest.isDeleted) dropChat(openId.peek());
  requestFrame();
  return true;
}

// Renders at most once per animation frame, however many deltas arrive. A hidden tab has no frames.
function requestFrame() {
  if (isFrameRequested) return;
  isFrameRequested = true;
  const show = () => {
    isFrameRequested = false;
    if (!openId.peek()) return;
    showLatest();
    scheduleMarkRead();
  };
  if (document.hidden) setTimeout(show, 250);
  else requestAnimationFrame(show);
}

// --- commands ---------------------------------------------------------------------------------------

const here = (...segments) => path('chats', openId.peek(), ...segments.map(String));

/** Shows the newest view; what is held of a chat that stays open is bounded. */
function showLatest() {
  batch(() => {
    const [window, count] = bounded(history.peek(), latest, isAtEnd.peek());
    latest = withLast(latest, count);
    history.value = window;
    view.value = latest;
  });
}

/** 'earlier', 'later', 'first' or '': which messages are being loaded. */
export const loading = signal('');

/** Loads a page of messages and adds it to the window. Returns whether it was loaded. */
async function loadPage(kind, query, add) {
  const chatId = openId.peek();
  if (loading.peek() || !view.peek()) return false;
  const before = history.peek();
  loading.value = kind;
  const isLoaded = await report(async () => {
    const page = await request('GET', `${here('messages')}?${query}&limit=${PAGE}`);
    if (chatId !== openId.peek() || history.peek() !== before) return; // replaced meanwhile
    history.value = add(before, page);
  });
  loading.value = '';
  return isLoaded;
}

const addEarlier = (window, page) => withEarlierPage(window, view.peek(), page);
const addLater = (window, page) => withLaterPage(window, view.peek(), page);

export const loadEarlier = () => loadPage('earlier', `before_id=${messages.peek()[0]?.id ?? 0}`, addEarlier);
export const loadLater = () => loadPage('later', `after_id=${messages.peek().at(-1)?.id ?? 0}`, addLater);

/** Shows the first messages of the chat. */
export async function showFirst() {
  if (!areEarlier.peek()) return true;
  return loadPage('first', 'after_id=0', (window, page) =>
    addLater({ older: [], hasEarlier: false, isDetached: true }, page),
  );
}

/** Shows the end of the chat. */
export const showEnd = () => (history.value = emptyHistory());

/** Whether the shown turn is being interrupted, by this or another client. */
export const isStopping = computed(
  () =>
    view.value?.status === 'interrupting' ||
    (interruptedTurn.value !== 0 && interruptedTurn.value === view.value?.turnId),
);

/** Interrupts the shown turn, and no later one. */
export async function stop() {
  const turnId = view.peek()?.turnId;
  if (!turnId || isStopping.peek()) return;
  interruptedTurn.value = turnId;
  const isWanted = () => view.peek()?.turnId === turnId;
  const body = { turn_id: turnId };
  const giveUp = (error) => {
    interruptedTurn.value = 0;
    if (error) throw error;
  };
  const address = here('interrupt');
  await report(async () => {
    const { interrupted } = await requestUntilAnswered('POST', address, body, { isWanted }).catch(giveUp);
    if (!interrupted) giveUp();
  });
}
