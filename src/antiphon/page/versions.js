// The versions of the open chat: what edits and retries have replaced. One of them can be shown in the place of what
// replaced it.

import { computed, effect, signal } from './vendor/signals.js';
import { path, randomId, request } from './api.js';
import { openId, view } from './chat.js';
import { report } from './notice.js';
import { show } from './route.js';

const PAGE = 1000; // messages of a version that are shown; a fork has at most as many

/** [{seq, at, after_message_id, from_message_id}], oldest first. */
const versions = signal([]);
/** The version that is shown: {version, number, count, messages}; null: the chat as it is. */
export const shownVersion = signal(null);

const truncations = computed(() => view.value?.truncations ?? 0);
const loadedOf = computed(() => (view.value?.isCaughtUp ? `${openId.value} ${truncations.value}` : ''));

effect(() => {
  if (!loadedOf.value) versions.value = [];
  else load(openId.peek());
  shownVersion.value = null;
});

async function load(chatId) {
  try {
    const answer = await request('GET', path('chats', chatId, 'versions'));
    if (chatId === openId.peek()) versions.value = answer.versions;
  } catch {
    // without versions the chat is shown as it is; the next edit asks again
  }
}

const byPlace = computed(() => {
  const places = new Map();
  for (const version of versions.value) {
    const place = version.after_message_id ?? 0;
    places.set(place, [...(places.get(place) ?? []), version]);
  }
  return places;
});

/** The versions of what follows a message (0: the beginning of the chat), oldest first; the newest one is shown. */
export const versionsAfter = (messageId) => byPlace.value.get(messageId) ?? [];

/** Shows the version with a number (from 1) of what follows a message; the last number is the chat as it is. */
export async function showVersion(messageId, number) {
  const group = versionsAfter(messageId);
  if (number > group.length) return void (shownVersion.value = null);
  const version = group[number - 1];
  const chatId = openId.peek();
  await report(async () => {
    const query = `as_of=${version.seq - 1}&after_id=${messageId}&limit=${PAGE}`;
    const page = await request('GET', `${path('chats', chatId, 'messages')}?${query}`);
    if (chatId !== openId.peek()) return;
    shownVersion.value = { version, number, count: group.length + 1, messages: page.messages };
  });
}

/** Creates a chat with the history up to a message, and shows it. `as_of` is a seq of the past. */
export async function fork({ message_id, as_of }) {
  const chatId = openId.peek();
  if (isForking) return; // a double click
  isForking = true;
  await report(async () => {
    const body = { id: randomId(), message_id, ...(as_of && { as_of }) };
    const chat = await request('POST', path('chats', chatId, 'fork'), body);
    if (chatId === openId.peek()) show(chat.id);
  });
  isForking = false;
}

let isForking = false;
