// The child chats of the open chat: those that its turns have started.

import { signal } from './vendor/signals.js';
import { request } from './api.js';
import { reportRefusal } from './notice.js';

const PAGE = 500; // maximum number of children that are loaded

/** The children of the open chat by id; null until they are loaded. */
const byId = signal(null);
let parentId = null;
let isLoading = false;

/** Another chat is open, or none. */
export function openChildren(chatId) {
  parentId = chatId;
  isLoading = false;
  byId.value = null;
}

/** Loads the children once; later ones arrive in the feed. */
export async function loadChildren() {
  const mine = parentId;
  if (isLoading || !mine) return;
  isLoading = true;
  await reportRefusal(async () => {
    const page = await request('GET', `/chats?parent_chat_id=${mine}&limit=${PAGE}`);
    if (mine === parentId) page.chats.forEach(updateChild);
  });
}

/** Updates a child; of two states the one with the greater seq is kept. */
export function updateChild(chat) {
  if (chat.parent_chat_id !== parentId) return;
  const held = byId.peek()?.get(chat.id);
  if (held && chat.seq < held.seq) return;
  byId.value = new Map(byId.peek() ?? []).set(chat.id, chat);
}

export function dropChild(chatId) {
  if (!byId.peek()?.has(chatId)) return;
  const next = new Map(byId.peek());
  next.delete(chatId);
  byId.value = next;
}

/** The children that one call has started, oldest first. */
export const childrenOf = (callId) =>
  [...(byId.value?.values() ?? [])]
    .filter((chat) => chat.parent_tool_call_id === callId)
    .sort((a, b) => a.created_at.localeCompare(b.created_at));
