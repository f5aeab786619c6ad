// Which chat the address names: #/chat/<id>; anything else is the start page with a new chat.

import { signal } from './vendor/signals.js';

const read = () => /^#\/chat\/([0-9a-fA-F-]{36})$/.exec(location.hash)?.[1].toLowerCase() ?? null;

/** The id of the chat that is shown; null: a new one. */
export const shownChatId = signal(read());

/** On a narrow screen the list of chats lies over the chat, and is closed at first. */
export const isListOpen = signal(false);

addEventListener('hashchange', () => (shownChatId.value = read()));

export const hrefOf = (chatId) => (chatId ? `#/chat/${chatId}` : '#/');

export function show(chatId, { replace = false } = {}) {
  if (replace) history.replaceState(null, '', hrefOf(chatId));
  else location.hash = hrefOf(chatId);
  shownChatId.value = chatId;
}
