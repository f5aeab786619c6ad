// The list of chats.

import { chats, isArchiveShown, loadMore, nextPage, showArchive, titleOf } from '../chats.js';
import { ICON } from '../icon.js';
import { unreadCount } from '../inbox.js';
import { report } from '../notice.js';
import { HREF_OF_INBOX, hrefOf, hrefOfInstance, isInboxShown, show, shownChatId, shownInstanceId } from '../route.js';
import { isAdmin, signOut } from '../session.js';
import { Icon, IconButton, html } from './html.js';

const STATUS_WORDS = {
  running: 'answering',
  interrupting: 'stopping',
  requires_action: 'waits for you',
  error: 'failed',
};

export function Sidebar() {
  return html`<nav class="sidebar" aria-label="Chats">
    <header>
      <a class="brand" href="#/"><img src=${ICON} alt="" width="24" height="24" /> Antiphon</a>
      <${IconButton} name="out" label="Sign out" onClick=${() => report(signOut)} />
    </header>
    <a class="to-inbox" href=${HREF_OF_INBOX} data-testid="to-inbox"
      aria-current=${isInboxShown.value ? 'page' : undefined}>
      <${Icon} name="inbox" /> Inbox
      ${
        unreadCount.value > 0 &&
        html`<span class="count">${unreadCount.value}<span class="hidden"> unread</span></span>`
      }
    </a>
    <button type="button" class="new-chat" data-testid="new-chat" onClick=${newChat}>
      <${Icon} name="plus" /> New chat
    </button>
    <${List} />
    <footer>
      <button type="button" class="quiet" aria-pressed=${isArchiveShown.value}
        onClick=${() => showArchive(!isArchiveShown.value)}>
        <${Icon} name="archive" /> ${isArchiveShown.value ? 'Back to chats' : 'Archived'}
      </button>
      ${
        isAdmin.value &&
        html`<a class="to-instances" href=${hrefOfInstance('')} data-testid="to-instances"
        aria-current=${shownInstanceId.value === null ? undefined : 'page'}>
        <${Icon} name="instances" /> Instances
      </a>`
      }
    </footer>
  </nav>`;
}

function newChat() {
  show(null);
  requestAnimationFrame(() => document.querySelector('#composer-text')?.focus());
}

function List() {
  const list = chats.value;
  const empty = isArchiveShown.value ? 'No archived chats.' : 'No chats yet. Write the first message.';
  return html`<div class="chat-list" data-testid="chat-list" aria-busy=${!list}>
    ${isArchiveShown.value && html`<h2>Archived</h2>`}
    ${list?.length === 0 && html`<p class="empty">${empty}</p>`}
    <ul>${list?.map((chat) => html`<${Item} key=${chat.id} chat=${chat} />`)}</ul>
    ${list && nextPage.value && html`<button type="button" class="quiet" onClick=${loadMore}>Show more</button>`}
  </div>`;
}

function Item({ chat }) {
  const isShown = chat.id === shownChatId.value;
  const words = STATUS_WORDS[chat.status];
  const isUnread = chat.has_unread && !isShown;
  return html`<li>
    <a href=${hrefOf(chat.id)} data-chat-id=${chat.id} aria-current=${isShown ? 'page' : undefined}
      class=${isUnread ? 'unread' : ''}>
      <span class="title" dir="auto">${titleOf(chat)}</span>
      ${words && html`<span class="status" data-status=${chat.status}>${words}</span>`}
      ${isUnread && html`<span class="unread-dot"><span class="hidden">unread</span></span>`}
    </a>
  </li>`;
}
