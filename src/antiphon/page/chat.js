// The chat that is open: its view, kept live by its stream, and what a person can do to it.

import { computed, signal } from './vendor/signals.js';
import { path, request, requestUntilAnswered, url } from './api.js';
import { forget, rememberListed, wasRemoved } from './chats.js';
import { markChatRead } from './inbox.js';
import { report } from './notice.js';
import { openStream } from './stream.js';
import { GAP, apply, emptyView, withEarlier } from './view.js';

/** What is shown of the open chat; null until its first state has come. */
export const view = signal(null);
export const openId = signal(null);
/** The state of the open chat's stream (see openStream); null when no chat is open. */
export const streamState = signal(null);

let stream = null;
let held = emptyView(); // ahead of `view` by what has come since the last frame
let isFrameAsked = false;
const stopAsked = signal(0);

export function openChat(chatId) {
  if (chatId === openId.peek()) return;
  closeChat();
  openId.value = chatId;
  stream = openStream({
    address: url(path('chats', chatId, 'stream')),
    liveOn: 'caught_up',
    onEvent: (event) => chatId === openId.peek() && take(event),
    onState: (state) => chatId === openId.peek() && (streamState.value = state),
  });
}

export function closeChat() {
  markReadNow();
  stream?.close();
  stream = null;
  held = emptyView();
  openId.value = streamState.value = view.value = null;
  stopAsked.value = 0;
  readUpTo = 0;
}

// --- reading ----------------------------------------------------------------------------------------

const READ_AFTER_MS = 600;
let readUpTo = 0;
let readTimer = 0;

/** Marks what is shown as read, once it has not changed for a moment in a visible tab. */
function noteRead() {
  clearTimeout(readTimer);
  readTimer = 0;
  if (!openId.peek() || document.hidden || !(held.seq > readUpTo) || held.isDeleted) return;
  readTimer = setTimeout(markReadNow, READ_AFTER_MS);
}

/** Marks what is shown as read without waiting: the chat is left, or the tab is. What was drawn was seen. */
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
    rememberListed({ id: chatId, has_unread: false });
    await markChatRead(chatId);
  } catch {
    // the next change repeats it
  }
}

document.addEventListener('visibilitychange', () => (document.hidden ? markReadNow() : noteRead()));

function take(event) {
  const next = apply(held, event);
  if (next === GAP) return false;
  held = next;
  if (held.turnId !== stopAsked.peek()) stopAsked.value = 0; // it has ended; a retry has the same turn's id
  if (held.isDeleted) forget(openId.peek());
  askFrame();
  return true;
}

// At most one rendering for each animation frame, however many deltas come. A hidden tab has no frames.
function askFrame() {
  if (isFrameAsked) return;
  isFrameAsked = true;
  const show = () => {
    isFrameAsked = false;
    if (!openId.peek()) return;
    view.value = held;
    noteRead();
  };
  if (document.hidden) setTimeout(show, 250);
  else requestAnimationFrame(show);
}

// --- commands ---------------------------------------------------------------------------------------

const here = (...segments) => path('chats', openId.peek(), ...segments.map(String));

export const isLoadingEarlier = signal(false);

export async function loadEarlier() {
  const chatId = openId.peek();
  const first = held.messages[0]?.id;
  if (isLoadingEarlier.peek() || first === undefined) return;
  isLoadingEarlier.value = true;
  await report(async () => {
    const page = await request('GET', `${here('messages')}?before_id=${first}&limit=50`);
    if (chatId !== openId.peek() || held.messages[0]?.id !== first) return; // replaced meanwhile
    held = withEarlier(held, page);
    view.value = held;
  });
  isLoadingEarlier.value = false;
}

/** Whether the turn that is shown was asked to stop, here or elsewhere. */
export const isStopping = computed(
  () => view.value?.status === 'interrupting' || (stopAsked.value !== 0 && stopAsked.value === view.value?.turnId),
);

/** Stops the turn that is shown, and no later one. */
export async function stop() {
  const turnId = view.peek()?.turnId;
  if (!turnId || isStopping.peek()) return;
  stopAsked.value = turnId;
  const isWanted = () => view.peek()?.turnId === turnId;
  const body = { turn_id: turnId };
  const giveUp = (error) => {
    stopAsked.value = 0;
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

export const decideCall = (tool_call_id, approved) =>
  report(() => request('POST', here('approvals'), { tool_call_id, approved }));
