// The commands of the page, with their keys: the palette lists them, the sheet of shortcuts explains them.

import { chats, filter, setFilter, showArchive } from './chats.js';
import { compareChats } from './chat_rows.js';
import { finishDeletions } from './deletion.js';
import { preferences, setPreference } from './preferences.js';
import { report } from './notice.js';
import { HREF_OF_INBOX, goTo, hrefOfSection, isListOpen, show, shownChatId } from './route.js';
import { signOut } from './session.js';
import { signal } from './vendor/signals.js';

/** What is open above the page: 'palette', 'shortcuts' or ''. */
export const overlay = signal('');

const IS_APPLE = /Mac|iPhone|iPad/.test(navigator.platform ?? '');
const MOD = IS_APPLE ? '⌘' : 'Ctrl+';
const SHIFT = IS_APPLE ? '⇧' : 'Shift+';
const ALT = IS_APPLE ? '⌥' : 'Alt+';

const focusSoon = (selector) => requestAnimationFrame(() => document.querySelector(selector)?.focus());

export function newChat() {
  show(null);
  focusSoon('#composer-text');
}

export function searchChats() {
  isListOpen.value = true;
  focusSoon('#chat-search');
}

/** Shows the chat that is `by` places below the shown one in the list. */
function showNeighbour(by) {
  const list = [...(chats.peek() ?? [])].sort(compareChats);
  const index = list.findIndex((chat) => chat.id === shownChatId.peek());
  const next = list[index < 0 ? 0 : index + by];
  if (next) show(next.id);
}

/** Focuses the message box, or where there is none the heading. */
export function toComposer() {
  (document.querySelector('#composer-text') ?? document.querySelector('main h1'))?.focus();
}

export async function leave() {
  await finishDeletions();
  await report(signOut);
}

const NEXT_THEME = { system: 'dark', dark: 'light', light: 'system' };
const nextTheme = () => setPreference('theme', NEXT_THEME[preferences.peek().theme]);

/** {name, label, keys?, icon, run, matches?(event), isGlobal?, isInEmptyField?}: a key that is not `isGlobal` does nothing
 *  while a person types; with `isInEmptyField` it works in a field without text (on a Mac Option and an arrow move in
 *  the text). */
export const COMMANDS = [
  {
    name: 'palette',
    label: 'Find a chat or a command',
    keys: `${MOD}K`,
    icon: 'search',
    isGlobal: true,
    matches: (event) => isMod(event) && event.key.toLowerCase() === 'k' && !event.shiftKey,
    run: () => (overlay.value = overlay.peek() === 'palette' ? '' : 'palette'),
  },
  {
    name: 'new',
    label: 'New chat',
    keys: `${MOD}${SHIFT}O`,
    icon: 'plus',
    isGlobal: true,
    matches: (event) => isMod(event) && event.shiftKey && event.key.toLowerCase() === 'o',
    run: newChat,
  },
  {
    name: 'next',
    label: 'Next chat',
    keys: `${ALT}↓`,
    icon: 'down',
    isGlobal: !IS_APPLE,
    isInEmptyField: true,
    matches: (event) => event.altKey && !isMod(event) && event.key === 'ArrowDown',
    run: () => showNeighbour(1),
  },
  {
    name: 'previous',
    label: 'Previous chat',
    keys: `${ALT}↑`,
    icon: 'up',
    isGlobal: !IS_APPLE,
    isInEmptyField: true,
    matches: (event) => event.altKey && !isMod(event) && event.key === 'ArrowUp',
    run: () => showNeighbour(-1),
  },
  {
    name: 'search',
    label: 'Search chats',
    keys: '/',
    icon: 'search',
    matches: (event) => event.key === '/' && !isMod(event) && !event.altKey,
    run: searchChats,
  },
  {
    name: 'shortcuts',
    label: 'Keyboard shortcuts',
    keys: '?',
    icon: 'keys',
    matches: (event) => event.key === '?' && !isMod(event) && !event.altKey,
    run: () => (overlay.value = 'shortcuts'),
  },
  {
    name: 'settings',
    label: 'Settings',
    keys: `${MOD},`,
    icon: 'settings',
    isGlobal: true,
    matches: (event) => isMod(event) && event.key === ',',
    run: () => goTo(hrefOfSection('')),
  },
  { name: 'inbox', label: 'Inbox', icon: 'inbox', run: () => goTo(HREF_OF_INBOX) },
  {
    name: 'archive',
    label: 'Show archived chats, or go back',
    icon: 'archive',
    run: () => {
      showArchive(!filter.peek().isArchived);
      isListOpen.value = true;
    },
  },
  {
    name: 'all',
    label: 'Show all chats',
    icon: 'menu',
    run: () => setFilter({ words: '', label: null, isArchived: false }),
  },
  { name: 'usage', label: 'Usage and costs', icon: 'settings', run: () => goTo(hrefOfSection('usage')) },
  { name: 'models', label: 'Models and keys', icon: 'settings', run: () => goTo(hrefOfSection('models')) },
  { name: 'theme', label: 'Change the theme: system, dark, light', icon: 'theme', run: nextTheme },
  { name: 'sign-out', label: 'Sign out', icon: 'out', run: leave },
];

/** Keys that are handled where they belong; the sheet of shortcuts lists them, too. */
export const OTHER_KEYS = [
  [
    'Write a message',
    [
      ['Enter', 'Send'],
      [`${SHIFT}Enter`, 'New line'],
      ['↑', 'Edit the last question, while the box is empty'],
      [`${ALT}↑ ${ALT}↓`, 'Move a waiting message'],
      ['Esc', 'Stop the answer'],
    ],
  ],
  [
    'In the list of chats',
    [
      ['↑ ↓', 'Move'],
      ['Enter', 'Open'],
      ['F2', 'Rename'],
      ['Del', 'Delete'],
      [`${SHIFT}F10`, 'All actions'],
      [`${MOD}Z`, 'Undo, while the message about it is shown'],
    ],
  ],
];

function isMod(event) {
  return IS_APPLE ? event.metaKey : event.ctrlKey;
}
