// The address: #/chat/<id> is a chat, #/inbox the inbox, #/instances and #/instances/<id> the instances of the machine;
// any other address shows a new chat.

import { signal } from './vendor/signals.js';

const readChat = () => /^#\/chat\/([0-9a-fA-F-]{36})$/.exec(location.hash)?.[1].toLowerCase() ?? null;

function readInstances() {
  const found = /^#\/instances(?:\/([\w-]{1,64}))?$/.exec(location.hash);
  return found && (found[1] ?? '');
}

/** The id of the shown chat; null: a new chat, or none. */
export const shownChatId = signal(readChat());

/** The id of the shown instance; '': only the list of instances; null: chats are shown. */
export const shownInstanceId = signal(readInstances());

/** Whether the inbox is shown. */
export const isInboxShown = signal(location.hash === '#/inbox');

/** On a narrow screen the list of chats covers the chat, and is closed at first. */
export const isListOpen = signal(false);

addEventListener('hashchange', read);

function read() {
  shownChatId.value = readChat();
  shownInstanceId.value = readInstances();
  isInboxShown.value = location.hash === '#/inbox';
}

export const hrefOf = (chatId) => (chatId ? `#/chat/${chatId}` : '#/');
export const HREF_OF_INBOX = '#/inbox';
export const hrefOfInstance = (instanceId) => (instanceId ? `#/instances/${instanceId}` : '#/instances');

/** Shows a chat; null: a new one. */
export function show(chatId, { replace = false } = {}) {
  if (replace) history.replaceState(null, '', hrefOf(chatId));
  else location.hash = hrefOf(chatId);
  read();
}
