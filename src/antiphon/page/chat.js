// The open chat: its view, updated by its stream, and the commands on it.

import { computed, signal } from './vendor/signals.js';
import { path, request, requestUntilAnswered, url } from './api.js';
import { openChildren } from './children.js';
import { dropChat, updateListedChat, wasRemoved } from './chats.js';
import { markChatRead } from './inbox.js';
import { report } from './notice.js';
import { openStream } from './stream.js';
import { GAP, apply, emptyView, withEarlier } from './view.js';

/** The shown view of the open chat; null until its first state has arrived. */
export const view = signal(null);
export const openId = signal(null);
/** The state of the open chat's stream (see openStream); null when no chat is open. */
export const streamState = signal(null);

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
  openChildren(null);
  interruptedTurn.value = 0;
  readUpTo = 0;
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
  const next = apply(latest, event);
  if (next === GAP) return false;
  latest = next;
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
    view.value = latest;
    scheduleMarkRead();
  };
  if (document.hidden) setTimeout(show, 250);
  else requestAnimationFrame(show);
}

// --- commands ---------------------------------------------------------------------------------------

const here = (...segments) => path('chats', openId.peek(), ...segments.map(String));

export const isLoadingEarlier = signal(false);

export async function loadEarlier() {
  const chatId = openId.peek();
  const first = latest.messages[0]?.id;
  if (isLoadingEarlier.peek() || first === undefined) return;
  isLoadingEarlier.value = true;
  await report(async () => {
    const page = await request('GET', `${here('messages')}?before_id=${first}&limit=50`);
    if (chatId !== openId.peek() || latest.messages[0]?.id !== first) return; // replaced meanwhile
    latest = withEarlier(latest, page);
    view.value = latest;
  });
  isLoadingEarlier.value = false;
}

/** Whether the shown turn is being interrupted, by this or another client. */
export const isStopping = computed(
  () => view.value?.status === 'interrupting' || (interruptedTurn.value !== 0 && interruptedTurn.value === view.value?.turnId),
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

export const retry = (turnId) => report(() => request('POST', here('retry'), turnId ? { turn_id: turnId } : {}));

export const editMessage = (id, content) => report(() => request('PATCH', here('messages', id), { content }));

export const editQueued = (id, content) => report(() => request('PATCH', here('queue', id), { content }));
export const deleteQueued = (id) => report(() => request('DELETE', here('queue', id)));
export const promoteQueued = (id) => report(() => request('POST', here('queue', id, 'promote')));
export const moveQueued = (id, before) => report(() => request('POST', here('queue', id, 'move'), { before }));

/** `decision` is {approved, args?, always?}. */
export const decideCall = (tool_call_id, decision) =>
  report(() => request('POST', here('approvals'), { tool_call_id, ...decision }));
export const answerCall = (tool_call_id, answer) =>
  report(() => request('POST', here('answers'), { tool_call_id, answer }));
export const submitResult = (tool_call_id, result) =>
  report(() => request('POST', here('tool-results'), { tool_call_id, result }));
