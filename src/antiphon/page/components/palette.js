// The palette: finds a chat or a command by a few letters. Arrows choose, Enter runs, Escape closes.

import { useEffect, useLayoutEffect, useMemo, useState } from '../vendor/preact-hooks.js';
import { request } from '../api.js';
import { view } from '../chat.js';
import { chatOf, loadedChats, titleOf, updateChats } from '../chats.js';
import { commandsOf } from '../chat_commands.js';
import { COMMANDS, overlay } from '../commands.js';
import { bestMatches } from '../fuzzy.js';
import { report } from '../notice.js';
import { show, shownChatId } from '../route.js';
import { Icon, html } from './html.js';
import { useModal } from './modal.js';

const SHOWN_MAX = 30;
const TYPING_MS = 150;
const FOUND_MAX = 30;

const close = () => (overlay.value = '');

export function Palette() {
  const dialog = useModal();
  const [words, setWords] = useState('');
  const [chosen, setChosen] = useState(0);
  useServerSearch(words);
  const items = useMemo(() => itemsFor(words), [words, loadedChats.value]);
  const index = Math.min(chosen, items.length - 1);
  useLayoutEffect(() => {
    dialog.current.querySelector('[aria-selected=true]')?.scrollIntoView({ block: 'nearest' });
  }, [index, items]);
  const run = (item) => {
    close();
    setTimeout(item.run); // after the dialog has closed and given the focus back
  };
  const onKeyDown = (event) => {
    if (event.isComposing) return;
    if (event.key === 'ArrowDown') setChosen((index + 1) % Math.max(1, items.length));
    else if (event.key === 'ArrowUp') setChosen((index - 1 + items.length) % Math.max(1, items.length));
    else if (event.key === 'Enter') items[index] && run(items[index]);
    else if (event.key === 'Escape') {
      event.stopPropagation(); // by itself it would only clear the field, and outside of the palette it stops the answer
      close();
    } else return;
    event.preventDefault();
  };
  const onInput = (event) => {
    setWords(event.target.value);
    setChosen(0);
  };
  return html`<dialog ref=${dialog} class="palette" aria-label="Find a chat or a command" data-testid="palette"
    onCancel=${close} onClick=${(event) => event.target === dialog.current && close()}>
    <div class="search-box">
      <${Icon} name="search" />
      <input type="search" role="combobox" aria-label="Find a chat or a command" aria-expanded="true" aria-controls="palette-list"
        aria-activedescendant=${index >= 0 ? `palette-${index}` : undefined} autocomplete="off" maxlength="200"
        placeholder="Find a chat or a command" value=${words} onInput=${onInput} onKeyDown=${onKeyDown} autofocus />
    </div>
    <div id="palette-list" role="listbox" aria-label="Chats and commands">${items.map(
      (item, at) => html`<div role="option" key=${item.key} id=${`palette-${at}`} aria-selected=${at === index}
      onClick=${() => run(item)} onMouseMove=${() => at !== index && setChosen(at)}>
      <${Icon} name=${item.icon} /><span class="grow" dir="auto"><${Marked} ...${item} /></span>
      ${item.note && html`<span class="meta">${item.note}</span>`}${item.keys && html`<kbd>${item.keys}</kbd>`}
    </div>`,
    )}</div>
    ${!items.length && html`<p class="empty" role="status">Nothing matches.</p>`}
  </dialog>`;
}

/** The letters that were found, marked. */
function Marked({ text, places }) {
  if (!places?.length) return text;
  const found = new Set(places);
  return [...text].map((letter, at) => (found.has(at) ? html`<mark>${letter}</mark>` : letter));
}

/** Commands for the shown chat, commands of the page, and chats; the best matches first. */
function itemsFor(words) {
  const shown = shownChatId.peek() && (chatOf(shownChatId.peek()) ?? view.peek()?.chat);
  const ofChat = (shown ? commandsOf(shown) : []).map((command) => ({
    ...command,
    key: `this ${command.name}`,
    text: `${command.label.replace('…', '')} this chat`,
    keys: '',
  }));
  const commands = COMMANDS.filter(({ name }) => name !== 'palette').map((command) => ({
    ...command,
    key: command.name,
    text: command.label,
  }));
  const chats = [...loadedChats.value]
    .sort((a, b) => b.at_ms - a.at_ms)
    .map((chat) => ({
      key: chat.id,
      text: titleOf(chat),
      icon: chat.archived ? 'archive' : 'chat',
      note: chat.archived ? 'archived' : '',
      run: () => show(chat.id),
    }));
  if (!words.trim()) return [...chats.slice(0, 8), ...commands, ...ofChat].slice(0, SHOWN_MAX);
  return bestMatches(words, [...commands, ...ofChat, ...chats], SHOWN_MAX);
}

/** Asks the server for chats that are not loaded. */
function useServerSearch(words) {
  useEffect(() => {
    const wanted = words.trim();
    if (!wanted) return undefined;
    const timer = setTimeout(() => {
      report(async () => {
        const asked = new URLSearchParams({ q: wanted, limit: FOUND_MAX });
        updateChats((await request('GET', `/chats?${asked}`)).chats);
      });
    }, TYPING_MS);
    return () => clearTimeout(timer);
  }, [words]);
}
