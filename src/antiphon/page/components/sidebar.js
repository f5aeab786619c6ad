// The side bar: a new chat, the search, the inbox, the list of chats, and the settings.

import { useRef } from '../vendor/preact-hooks.js';
import { filter, isArchiveShown, loadedChats, setFilter, showArchive } from '../chats.js';
import { labelText, labelsOf } from '../chat_rows.js';
import { leave, newChat } from '../commands.js';
import { ICON } from '../icon.js';
import { unreadCount } from '../inbox.js';
import { HREF_OF_INBOX, hrefOfSection, isInboxShown, shownSection } from '../route.js';
import { ChatList } from './chat_list.js';
import { Icon, IconButton, html } from './html.js';
import { MenuButton } from './menu.js';

const LABELS_OFFERED_MAX = 40;

export function Sidebar() {
  return html`<nav class="sidebar" aria-label="Chats">
    <header>
      <a class="brand" href="#/"><img src=${ICON} alt="" width="24" height="24" /> Antiphon</a>
      <${IconButton} name="out" label="Sign out" onClick=${leave} />
    </header>
    <button type="button" class="new-chat" data-testid="new-chat" title="New chat (Ctrl+Shift+O)" onClick=${newChat}>
      <${Icon} name="plus" /> New chat
    </button>
    <a class="to-inbox" href=${HREF_OF_INBOX} data-testid="to-inbox"
      aria-current=${isInboxShown.value ? 'page' : undefined}>
      <${Icon} name="inbox" /> Inbox
      ${
        unreadCount.value > 0 &&
        html`<span class="count">${unreadCount.value}<span class="hidden"> unread</span></span>`
      }
    </a>
    <${Search} />
    ${isArchiveShown.value && html`<h2 class="list-title">Archived</h2>`}
    <${ChatList} />
    <footer>
      <button type="button" class="quiet" aria-pressed=${isArchiveShown.value}
        onClick=${() => showArchive(!isArchiveShown.value)}>
        <${Icon} name="archive" /> ${isArchiveShown.value ? 'Back to chats' : 'Archived'}
      </button>
      <a class="to-settings" href=${hrefOfSection('')} data-testid="to-settings"
        aria-current=${shownSection.value === null ? undefined : 'page'}><${Icon} name="settings" /> Settings</a>
    </footer>
  </nav>`;
}

function Search() {
  const input = useRef(null);
  const { words, label } = filter.value;
  const onKeyDown = (event) => {
    if (event.key === 'ArrowDown') document.querySelector('.chat-list a[tabindex="0"]')?.focus();
    else if (event.key === 'Escape' && words) setFilter({ words: '' });
    else return;
    event.preventDefault();
    event.stopPropagation(); // otherwise Escape stops the answer
  };
  const clear = () => {
    setFilter({ words: '' });
    input.current.focus();
  };
  return html`<div class="search" role="search">
    <div class="search-box">
      <${Icon} name="search" />
      <label for="chat-search" class="hidden">Search chats</label>
      <input id="chat-search" ref=${input} type="search" autocomplete="off" placeholder="Search chats" maxlength="200"
        value=${words} onInput=${(event) => setFilter({ words: event.target.value })} onKeyDown=${onKeyDown} />
      ${words && html`<${IconButton} name="close" label="Clear the search" onClick=${clear} />`}
      <${LabelFilter} />
    </div>
    ${
      label &&
      html`<button type="button" class="chip" aria-label=${`Show chats without the label ${labelText(label)}, too`}
        onClick=${() => setFilter({ label: null })}>
        <span dir="auto">${labelText(label)}</span><${Icon} name="close" />
      </button>`
    }
  </div>`;
}

/** Offers the labels of the chats that are loaded. */
function LabelFilter() {
  const labels = labelsOf(loadedChats.value, LABELS_OFFERED_MAX);
  if (!labels.length) return null;
  const items = () =>
    labels.map((label) => ({ label: labelText(label), icon: 'label', run: () => setFilter({ label }) }));
  return html`<${MenuButton} owner="labels" label="Show one label" icon="label" items=${items} />`;
}
