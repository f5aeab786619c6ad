// One row of the list of chats: a link, and a button that opens the menu of its actions.

import { useLayoutEffect, useRef } from '../vendor/preact-hooks.js';
import { titleOf } from '../chats.js';
import { labelText } from '../chat_rows.js';
import { commandsOf } from '../chat_commands.js';
import { hrefOf } from '../route.js';
import { html } from './html.js';
import { MenuButton } from './menu.js';

const LABELS_SHOWN = 2;

const STATUS_WORDS = {
  running: 'answering',
  interrupting: 'stopping',
  requires_action: 'waits for you',
  error: 'failed',
};

/** `top`: its place in the list, in px. `position` and `count`: for screen readers, as only a part of the list is in the
 *  page. The row with `isTabStop` is the one that Tab reaches. */
export function ChatRow({ chat, top, position, count, isShown, isTabStop }) {
  const words = STATUS_WORDS[chat.status];
  const isUnread = chat.has_unread && !isShown;
  const labels = Object.entries(chat.labels ?? {}).slice(0, LABELS_SHOWN);
  const tabindex = isTabStop ? 0 : -1;
  return html`<li ref=${usePlace(top)} aria-setsize=${count} aria-posinset=${position} class="chat-row">
    <a href=${hrefOf(chat.id)} data-chat-id=${chat.id} aria-current=${isShown ? 'page' : undefined} tabindex=${tabindex}
      class=${isUnread ? 'unread' : ''}>
      <span class="title" dir="auto" title=${titleOf(chat)}>${titleOf(chat)}</span>
      ${
        labels.length > 0 &&
        html`<span class="labels">${labels.map(
          (label) => html`<span class="tag label" key=${label[0]} dir="auto">${labelText(label)}</span>`,
        )}</span>`
      }
      ${words && html`<span class="status" data-status=${chat.status}>${words}</span>`}
      ${isUnread && html`<span class="unread-dot"><span class="hidden">unread</span></span>`}
    </a>
    <${MenuButton} owner=${`row ${chat.id}`} label=${`Actions for ${titleOf(chat)}`} class="row-menu" tabindex=${tabindex}
      items=${() => commandsOf(chat)} />
  </li>`;
}

/** A heading between the rows. */
export const HeadingRow = ({ heading, top }) => html`<li ref=${usePlace(top)} class="group"><h2>${heading}</h2></li>`;

function usePlace(top) {
  const element = useRef(null);
  useLayoutEffect(() => {
    element.current.style.transform = `translateY(${top}px)`;
  }, [top]);
  return element;
}
