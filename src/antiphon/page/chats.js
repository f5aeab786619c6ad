// The list of the owner's chats, kept live by the feed.

import { computed, signal } from './vendor/signals.js';
import { path, request, requestUntilAnswered, url } from './api.js';
import { hearNotification, reloadInbox } from './inbox.js';
import { report } from './notice.js';
import { openStream } from './stream.js';

/** Chats by id; null until the first answer. */
const known = signal(null);
/** What the server gives to ask for the next page; null: there is none. */
export const nextPage = signal(null);
export const isArchiveShown = signal(false);
export const feedState = signal({ state: 'connecting' });

export const chats = computed(() => {
  if (!known.value) return null;
  const shown = [...known.value.values()].filter((chat) => chat.archived === isArchiveShown.value);
  // for two that are not pinned the difference is NaN, and the time decides
  return shown.sort((a, b) => place(a) - place(b) || b.updated_at.localeCompare(a.updated_at));
});

/** Pinned chats stand first, in the order of their pins. */
const place = (chat) => chat.pin_order || Infinity;

let feed = null;
/** What the feed told while the list was on its way, and the list may not know yet; null: none is on its way. */
let heard = null;

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
  known.value = null;
}

export function showArchive(isShown) {
  isArchiveShown.value = isShown;
  known.value = null;
  reload();
}

function onFeedEvent(event) {
  heard?.push(event);
  if (event.type === 'inbox') hearNotification(event.inbox_notification);
  else if (event.type === 'resync') {
    reload();
    reloadInbox();
  }
  else if (event.type === 'chat' && event.kind === 'deleted') forget(event.chat.id);
  else if (event.type === 'chat') remember([event.chat]);
}

async function reload() {
  const mine = (heard = []);
  await report(async () => {
    const page = await requestUntilAnswered('GET', listPath(), undefined, { isWanted: () => heard === mine });
    if (heard !== mine) return; // a newer reload is on its way
    heard = null;
    known.value = new Map(page.chats.map((chat) => [chat.id, chat]));
    nextPage.value = page.next ?? null;
    mine.forEach(onFeedEvent);
  });
}

export async function loadMore() {
  await report(async () => {
    const page = await request('GET', `${listPath()}&after=${encodeURIComponent(nextPage.value)}`);
    remember(page.chats);
    nextPage.value = page.next ?? null;
  });
}

const listPath = () => `/chats?limit=50&archived=${isArchiveShown.value}`;

/** Takes newer knowledge of chats; of two, the one with the greater seq stays. */
export function remember(list) {
  const next = new Map(known.value ?? []);
  for (const chat of list) {
    const held = next.get(chat.id);
    if (!held || !((chat.seq ?? Infinity) < held.seq)) next.set(chat.id, { ...held, ...chat });
  }
  known.value = next;
}

const removed = new Set();
/** Whether the chat was deleted, here or elsewhere, while this page was open. */
export const wasRemoved = (chatId) => removed.has(chatId);

/** Takes news of a chat that is in the list; of another one they would be all that is known. */
export function rememberListed(chat) {
  if (known.peek()?.has(chat.id)) remember([chat]);
}

export function forget(chatId) {
  removed.add(chatId);
  if (!known.value?.has(chatId)) return;
  const next = new Map(known.value);
  next.delete(chatId);
  known.value = next;
}

export const titleOf = (chat) => chat?.title?.trim() || 'Untitled chat';

const change = async (chatId, changes) => remember([await request('PATCH', path('chats', chatId), changes)]);

export const rename = (chatId, title) => change(chatId, { title });
export const archive = (chatId, archived) => change(chatId, { archived });

export async function remove(chatId) {
  await request('DELETE', path('chats', chatId));
  forget(chatId);
}
