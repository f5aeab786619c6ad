// The inbox: the chats that wait for the person, and the owner's notifications.

import { chatsThatWait, titleOf } from '../chats.js';
import { loadOlder, markAllRead, notifications, olderNotifications, unreadCount } from '../inbox.js';
import { hrefOf } from '../route.js';
import { Head, useDocumentTitle, useEscape } from './head.js';
import { html } from './html.js';

export function Inbox() {
  useDocumentTitle('Inbox');
  useEscape(() => {});
  const list = notifications.value;
  return html`
    <${Head} title="Inbox" />
    <section class="inbox" data-testid="inbox" aria-label="Inbox" tabindex="0" aria-busy=${!list}>
      <${Waiting} chats=${chatsThatWait.value} />
      <div class="row end">
        <button type="button" class="quiet" disabled=${!unreadCount.value} onClick=${markAllRead}>
          Mark all as read
        </button>
      </div>
      ${list?.length === 0 && html`<p class="empty">No notifications.</p>`}
      <ul>${list?.map((item) => html`<${Item} key=${item.id} item=${item} />`)}</ul>
      ${
        olderNotifications.value &&
        html`<div class="row"><button type="button" class="quiet wide" onClick=${loadOlder}>Show older</button></div>`
      }
    </section>
  `;
}

/** Chats with an approval or a question that is open. */
const Waiting = ({ chats }) =>
  chats.length > 0 &&
  html`<h2>Waiting for you</h2>
    <ul data-testid="waiting-chats">${chats.map(
      (chat) => html`<li key=${chat.id} data-icon="action"><a href=${hrefOf(chat.id)}>
      <span class="title" dir="auto">${titleOf(chat)}</span>
      <span class="content">${callWords(chat.open_calls)}</span>
    </a></li>`,
    )}</ul>`;

const NEEDS = {
  approval: (call) => `Allow or deny ${call.tool_name}.`,
  answer: (call) => call.question || 'Answer a question.',
  result: (call) => `A program must give the result of ${call.tool_name}.`,
};

const callWords = (calls) =>
  (calls ?? []).map((call) => NEEDS[call.needs]?.(call) ?? '').join(' ') || 'Open it to answer.';

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
