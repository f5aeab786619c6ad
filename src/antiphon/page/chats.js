// The list of the owner's chats, updated by the feed. Which chats are shown is the filter's choice: the archive or the
// others, a label, and words of the title. Chats that are loaded are filtered here at once, while the server searches
// all of them.

import { computed, signal } from './vendor/signals.js';
import { keepsFeed, onChatEvent, onNotification } from './attention.js';
import { path, request, requestUntilAnswered, sleep, url } from './api.js';
import { compareChats } from './chat_rows.js';
import { dropChild, updateChild } from './children.js';
import { addNotification, reloadInbox } from './inbox.js';
import { report } from './notice.js';
import { openStream } from './stream.js';

const FIRST_PAGE = 50;
const PAGE = 100;
const REFRESHED_MAX = 500; // after a reconnect this many chats are loaded again; older ones when they are scrolled to
const TYPING_MS = 150;
/** The pinned chats, which may be on any page of the list. */
const PINNED = '/chats?pinned=true&limit=500';

/** The loaded chats by id, with `at_ms`; null until the first response. */
const byId = signal(null);
/** {words, label, isArchived}: `words` of the title, `label` [key, value] or null. */
export const filter = signal({ words: '', label: null, isArchived: false });
/** Of the filter: whether its first page is loading, the cursor of the next page (null: none), and the ids of the chats
 *  that the server has found by the words. */
const listing = signal({ isLoading: true, next: null, found: new Set() });
/** Chats that are about to be deleted (see deletion.js). */
export const hidden = signal(new Set());
export const feedState = signal({ state: 'connecting' });

export const isArchiveShown = computed(() => filter.value.isArchived);
export const isListLoading = computed(() => byId.value === null || listing.value.isLoading);
export const nextPage = computed(() => listing.value.next);

/** The shown chats, sorted; null until the first response. */
export const chats = computed(() => {
  if (!byId.value) return null;
  const isShown = makePredicate(filter.value, listing.value.found);
  return [...byId.value.values()].filter((chat) => isShown(chat) && !hidden.value.has(chat.id)).sort(compareChats);
});

/** The loaded chats that wait for a person, the longest first. */
export const chatsThatWait = computed(() =>
  loadedChats.value.filter((chat) => chat.status === 'requires_action').sort((a, b) => a.at_ms - b.at_ms),
);

/** All loaded chats, in no order. */
export const loadedChats = computed(() => [...(byId.value?.values() ?? [])]);
export const chatOf = (chatId) => byId.value?.get(chatId);

function makePredicate({ words, label, isArchived }, found) {
  const wanted = words.trim().toLowerCase();
  return (chat) =>
    chat.archived === isArchived &&
    (!label || chat.labels?.[label[0]] === label[1]) &&
    (!wanted || found.has(chat.id) || chat.title.toLowerCase().includes(wanted));
}

// --- the feed ---------------------------------------------------------------------------------------

let feed = null;
/** The feed's events since the list was requested, which the response may not include; null: no request is pending. */
let missedEvents = null;

export function openFeed() {
  feed ??= openStream({
    address: url('/feed'),
    liveOn: 'resync',
    onEvent: onFeedEvent,
    onState: (state) => (feedState.value = state),
    isKeptOpen: () => keepsFeed.peek(),
  });
}

export function closeFeed() {
  feed?.close();
  feed = null;
  byId.value = null;
}

function onFeedEvent(event) {
  missedEvents?.push(event);
  if (event.type === 'inbox') {
    addNotification(event.inbox_notification);
    onNotification(event.inbox_notification);
  } else if (event.type === 'resync') {
    reload();
    reloadInbox();
  } else if (event.type === 'chat') applyChatEvent(event);
}

function applyChatEvent({ kind, chat }) {
  if (kind === 'deleted') return dropChat(chat.id);
  onChatEvent(byId.peek()?.get(chat.id), chat);
  updateChats([chat]);
}

// --- loading ----------------------------------------------------------------------------------------

/** Loads the newest chats again, and replaces all that are loaded. */
async function reload() {
  const mine = (missedEvents = []);
  const limit = Math.min(REFRESHED_MAX, Math.max(FIRST_PAGE, byId.peek()?.size ?? 0));
  await report(async () => {
    const page = await loadFirst(limit, () => missedEvents === mine);
    if (missedEvents === mine) missedEvents = null;
    if (!page) return; // a newer request is pending
    byId.value = new Map(page.chats.map((chat) => [chat.id, withTime(chat)]));
    mine.forEach((event) => event.type === 'chat' && applyChatEvent(event));
  });
}

/** Changes the filter, and loads the first page of what it shows; while words are typed, after a pause. */
export async function setFilter(changes) {
  const asked = (filter.value = { ...filter.peek(), ...changes });
  listing.value = { isLoading: true, next: null, found: new Set() };
  if (changes.words) await sleep(TYPING_MS);
  if (filter.peek() !== asked) return;
  await report(async () => {
    const page = await loadFirst(FIRST_PAGE, () => feed !== null);
    if (page) updateChats(page.chats);
  });
}

export const showArchive = (isArchived) => setFilter({ isArchived, label: null });

let newest = {};

/** The first page of what the filter shows; null: a newer request has replaced this one. */
async function loadFirst(limit, isWanted) {
  const mine = (newest = {});
  const asked = filter.peek();
  const isNewest = () => newest === mine && filter.peek() === asked && isWanted();
  listing.value = { ...listing.peek(), isLoading: true };
  try {
    const ask = (address) => requestUntilAnswered('GET', address, undefined, { isWanted: isNewest });
    const isAll = !asked.words.trim() && !asked.label && !asked.isArchived;
    const [page, pinned] = await Promise.all([ask(listPath(limit)), isAll ? ask(PINNED) : { chats: [] }]);
    if (!isNewest()) return null;
    const listed = new Set(page.chats.map((chat) => chat.id));
    page.chats.push(...pinned.chats.filter((chat) => !listed.has(chat.id)));
    listing.value = { isLoading: false, next: page.next ?? null, found: idsOf(page) };
    return page;
  } catch (error) {
    if (!isNewest()) return null;
    listing.value = { ...listing.peek(), isLoading: false };
    throw error;
  }
}

let isLoadingMore = false;

/** Loads the next page of what the filter shows, one at a time. */
export async function loadMore() {
  const { next, isLoading } = listing.peek();
  if (isLoadingMore || isLoading || !next) return;
  const asked = newest;
  isLoadingMore = true;
  await report(async () => {
    const page = await request('GET', `${listPath(PAGE)}&after=${encodeURIComponent(next)}`);
    if (asked !== newest) return; // the list was loaded again, or another filter was chosen
    const { found } = listing.peek();
    listing.value = { isLoading: false, next: page.next ?? null, found: new Set([...found, ...idsOf(page)]) };
    updateChats(page.chats);
  });
  isLoadingMore = false;
}

const idsOf = (page) => new Set(filter.peek().words ? page.chats.map((chat) => chat.id) : []);

function listPath(limit) {
  const { words, label, isArchived } = filter.peek();
  const asked = new URLSearchParams({ limit, archived: isArchived });
  if (words.trim()) asked.set('q', words.trim());
  if (label) asked.set('label', label.join(':'));
  return `/chats?${asked}`;
}

// --- changes ----------------------------------------------------------------------------------------

/** Updates chats; of two states of a chat the one with the greater seq is kept. A child is not in the list. */
export function updateChats(list) {
  const next = new Map(byId.value ?? []);
  for (const chat of list) {
    if (chat.parent_chat_id) {
      updateChild(chat);
      continue;
    }
    const held = next.get(chat.id);
    const isOlder = (chat.seq ?? Infinity) < held?.seq;
    if (!isOlder && !removed.has(chat.id)) next.set(chat.id, withTime({ ...held, ...chat }));
  }
  byId.value = next;
}

/** Shows a list that was kept in this browser, until the server has sent its own. */
export function showKeptList(kept) {
  if (byId.peek()) return;
  byId.value = new Map(kept.map((chat) => [chat.id, withTime(chat)]));
  listing.value = { ...listing.peek(), isLoading: false };
}

const withTime = (chat) => ({ ...chat, at_ms: Date.parse(chat.updated_at) || 0 });

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
export const setPin = (chatId, pin_order) => change(chatId, { pin_order });
export const setLabels = (chatId, labels) => change(chatId, { labels });

export async function remove(chatId) {
  await request('DELETE', path('chats', chatId));
  dropChat(chatId);
}
