// Reading without the server: what was read last is kept (kept_chats.js), and shown while the server cannot be reached.

import { computed, effect, signal } from './vendor/signals.js';
import { openId, showKeptView, streamState, view } from './chat.js';
import { chats, feedState, filter, showKeptList } from './chats.js';
import { forgetAll, forgetChat, keepFor, keepList, keepView, keptList, keptView } from './kept_chats.js';
import { ownerId, session } from './session.js';
import { isBusy } from './view.js';

const PAUSE_MS = 1_500;

/** When what is shown instead of the server's state was kept, in ms since the epoch; null: it is the server's. */
export const keptAt = signal(null);

const isUnreachable = (stream) => ['reconnecting', 'offline'].includes(stream?.state);
const isLive = (stream) => stream?.state === 'live';
const isFeedLost = computed(() => isUnreachable(feedState.value));
const isChatLost = computed(() => isUnreachable(streamState.value));

/** Calls `work` when nothing has changed for PAUSE_MS. */
function makePause(work) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), PAUSE_MS);
  };
}

export function startOffline() {
  const keepListLater = makePause(keepList);
  const keepViewLater = makePause((chatId, shown) => chatId === openId.peek() && keepView(chatId, shown));
  effect(() => {
    const { words, label, isArchived } = filter.value;
    const isWhole = !words && !label && !isArchived;
    if (isWhole && chats.value && isLive(feedState.value)) keepListLater(chats.value);
  });
  effect(() => {
    const shown = view.value;
    if (!shown || !isLive(streamState.value)) return;
    keptAt.value = null;
    if (shown.isDeleted) forgetChat(openId.peek());
    else if (!isBusy(shown)) keepViewLater(openId.peek(), shown);
  });
  effect(() => {
    if (isFeedLost.value && session.value === 'in' && !chats.peek()) showList();
  });
  effect(() => {
    if (isChatLost.value && session.value === 'in' && openId.value && !view.peek()) showView(openId.value);
  });
  effect(() => {
    if (!openId.value) keptAt.value = null;
  });
  effect(() => {
    if (session.value === 'out') forgetAll();
    else if (ownerId.value) keepFor(ownerId.value);
  });
}

async function showList() {
  const kept = await keptList();
  if (kept && isFeedLost.peek() && session.peek() === 'in') showKeptList(kept.chats);
}

async function showView(chatId) {
  const kept = await keptView(chatId);
  if (kept && isChatLost.peek() && session.peek() === 'in' && showKeptView(chatId, kept)) keptAt.value = kept.at;
}
