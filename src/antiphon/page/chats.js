// The list of the owner's chats, updated by the feed.

import { computed, signal } from './vendor/signals.js';
import { path, request, requestUntilAnswered, url } from './api.js';
import { dropChild, updateChild } from './children.js';
import { addNotification, reloadInbox } from './inbox.js';
import { report } from './notice.js';
import { openStream } from './stream.js';

/** Chats by id; null until the first response. */
const byId = signal(null);
/** The cursor of the next page; null: this is the last page. */
export const nextPage = signal(null);
export const isArchiveShown = signal(false);
export const feedState = signal({ state: 'connecting' });

export const chats = computed(() => {
  if (!byId.value) return null;
  const shown = [...byId.value.values()].filter((chat) => chat.archived === isArchiveShown.value);
  // for two chats that are not pinned the difference is NaN, and the time decides
  return shown.sort((a, b) => pinRank(a) - pinRank(b) || b.updated_at.localeCompare(a.updated_at));
});

/** Pinned chats are first, in the order of their pins. */
const pinRank = (chat) => chat.pin_order || Infinity;

let feed = null;
/** The feed's events since the list was requested, which the response may not include; null: no request is pending. */
let missedEvents = null;

export function openFeed() {
  feed ??= openStream({
    address: url('/feed'),
    liveOn: 'resync',
    onEvent: onFeedEvent,
    onState: (state) => (feedState.value = state),
  });
}

export function closeFeed() {
  feed?.close();
  feed = null;
  byId.value = null;
}

export function showArchive(isShown) {
  isArchiveShown.value = isShown;
  byId.value = null;
  reload();
}

function onFeedEvent(event) {
  missedEvents?.push(event);
  if (event.type === 'inbox') addNotification(event.inbox_notification);
  else if (event.type === 'resync') {
    reload();
    reloadInbox();
  }
  else if (event.type === 'chat' && event.kind === 'deleted') dropChat(event.chat.id);
  else if (event.type === 'chat') updateChats([event.chat]);
}

async function reload() {
  const mine = (missedEvents = []);
  await report(async () => {
    const page = await requestUntilAnswered('GET', listPath(), undefined, { isWanted: () => missedEvents === mine });
    if (missedEvents !== mine) return; // a newer request is pending
    missedEvents = null;
    byId.value = new Map(page.chats.map((chat) => [chat.id, chat]));
    nextPage.value = page.next ?? null;
    mine.forEach(onFeedEvent);
  });
}

export async function loadMore() {
  await report(async () => {
    const page = await request('GET', `${listPath()}&after=${encodeURIComponent(nextPage.value)}`);
    updateChats(page.chats);
    nextPage.value = page.next ?? null;
  });
}

const listPath = () => `/chats?limit=50&archived=${isArchiveShown.value}`;

/** Updates chats; of two states of a chat the one with the greater seq is kept. A child is not in the list. */
export function updateChats(list) {
  const next = new Map(byId.value ?? []);
  for (const chat of list) {
    if (chat.parent_chat_id) {
      updateChild(chat);
      continue;
    }
    const held = next.get(chat.id);
    if (!held || !((chat.seq ?? Infinity) < held.seq)) next.set(chat.id, { ...held, ...chat });
  }
  byId.value = next;
}

const removed = new Set();
/** Whether the chat was deleted, by this or another client, while the web UI was open. */
export const wasRemoved = (chatId) => removed.has(chatId);

/** Updates fields of a chat in the list; of another chat these fields would be all that is known. */
export function updateListedChat(chat) {
  if (byId.peek()?.has(chat.id)) updateChats([chat]);
}

export function dropChat(chatId) {
  removed.add(chatId);
  dropChild(chatId);
  if (!byId.value?.has(chatId)) return;
  const next = new Map(byId.value);
  next.delete(chatId);
  byId.value = next;
}

export const titleOf = (chat) => chat?.title?.trim() || 'Untitled chat';

const change = async (chatId, changes) => updateChats([await request('PATCH', path('chats', chatId), changes)]);

export const rename = (chatId, title) => change(chatId, { title });
export const archive = (chatId, archived) => change(chatId, { archived });

export async function remove(chatId) {
  await request('DELETE', path('chats', chatId));
  dropChat(chatId);
}
