// The inbox: the owner's notifications.

import { markAllRead, notifications, unreadCount } from '../inbox.js';
import { hrefOf } from '../route.js';
import { Head, useDocumentTitle, useEscape } from './head.js';
import { html } from './html.js';

export function Inbox() {
  useDocumentTitle('Inbox');
  useEscape(() => {});
  const list = notifications.value;
  return html`
    <${Head} title="Inbox" />
    <section class="inbox" data-testid="inbox" aria-busy=${!list}>
      <div class="row end">
        <button type="button" class="quiet" disabled=${!unreadCount.value} onClick=${markAllRead}>
          Mark all as read
        </button>
      </div>
      ${list?.length === 0 && html`<p class="empty">No notifications.</p>`}
      <ul>${list?.map((item) => html`<${Item} key=${item.id} item=${item} />`)}</ul>
    </section>
  `;
}

function Item({ item }) {
  const isUnread = !item.read_at;
  const at = new Date(item.created_at);
  return html`<li class=${isUnread ? 'unread' : ''} data-icon=${item.icon}>
    <a href=${hrefOf(item.targets[0])}>
      <span class="title" dir="auto">${item.title}</span>
      ${isUnread && html`<span class="unread-dot"><span class="hidden">unread</span></span>`}
      <time datetime=${item.created_at}>${at.toLocaleString([], { dateStyle: 'short', timeStyle: 'short' })}</time>
      <span class="content" dir="auto">${item.content}</span>
    </a>
  </li>`;
}
