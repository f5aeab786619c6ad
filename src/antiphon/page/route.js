// The address: #/chat/<id> is a chat, #/inbox the inbox, #/settings/<section> the settings; #/shared/<secret> a
// chat by a link, for everyone who has the link; any other address shows a new chat. #/settings/servers/<id> is one
// server; #/instances and #/instances/<id> are the same under their former names.

import { signal } from './vendor/signals.js';

const readChat = () => /^#\/chat\/([0-9a-fA-F-]{36})$/.exec(location.hash)?.[1].toLowerCase() ?? null;

function readInstances() {
  const found = /^#\/(?:instances|settings\/servers)(?:\/([\w-]{1,64}))?$/.exec(location.hash);
  return found && (found[1] ?? '');
}

function readSection() {
  if (readInstances() !== null) return 'servers';
  const found = /^#\/settings(?:\/([a-z]{1,32}))?$/.exec(location.hash);
  return found && (found[1] ?? '');
}

/** The id of the shown chat; null: a new chat, or none. */
export const shownChatId = signal(readChat());

/** The id of the shown server; '': only the list of servers; null: none. */
export const shownInstanceId = signal(readInstances());

/** The shown section of the settings; '': the first one; null: none. */
export const shownSection = signal(readSection());

/** Whether the inbox is shown. */
export const isInboxShown = signal(location.hash === '#/inbox');

/** On a narrow screen the list of chats covers the chat, and is closed at first. */
export const isListOpen = signal(false);

/** The secret of the link by which a chat is shown, or undefined. Such a page has no session and shows nothing else. */
export const shareSecret = readShare();

function readShare() {
  return /^#\/shared\/([\w.~-]{8,512})$/.exec(location.hash)?.[1];
}

addEventListener('hashchange', () => (readShare() === shareSecret ? read() : location.reload()));

function read() {
  shownChatId.value = readChat();
  shownInstanceId.value = readInstances();
  shownSection.value = readSection();
  isInboxShown.value = location.hash === '#/inbox';
}

export const hrefOf = (chatId) => (chatId ? `#/chat/${chatId}` : '#/');
export const HREF_OF_INBOX = '#/inbox';
export const hrefOfShare = (secret) => new URL(`#/shared/${secret}`, document.baseURI).href;
export const hrefOfSection = (section) => (section ? `#/settings/${section}` : '#/settings');
export const hrefOfInstance = (instanceId) => (instanceId ? `#/settings/servers/${instanceId}` : '#/settings/servers');

/** Shows a chat; null: a new one. */
export function show(chatId, { replace = false } = {}) {
  if (replace) history.replaceState(null, '', hrefOf(chatId));
  else location.hash = hrefOf(chatId);
  read();
}

/** Shows another address of the page. */
export function goTo(href) {
  location.hash = href;
  read();
}
