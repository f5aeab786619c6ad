// The header: the title, the connection, and the button that opens the list on a narrow screen.

import { useEffect } from '../vendor/preact-hooks.js';
import { pageTitle } from '../attention.js';
import { isListOpen } from '../route.js';
import { Connection } from './connection.js';
import { IconButton, html } from './html.js';

/** `notes` are beside the title, the children at the end. */
export const Head = ({ title, notes, children }) => html`<header class="head">
  <${IconButton} name="menu" label="List of chats" class="menu" onClick=${openList}
    aria-expanded=${isListOpen.value} />
  <div class="head-title"><h1 dir="auto" title=${title} tabindex="-1">${title}</h1>${notes}</div>
  <${Connection} />
  ${children}
</header>`;

function openList() {
  isListOpen.value = true;
  requestAnimationFrame(() => document.querySelector('.new-chat').focus());
}

export function useDocumentTitle(title) {
  useEffect(() => {
    pageTitle.value = `${title} · Antiphon`;
  }, [title]);
}

/** Escape closes the list; otherwise it calls `otherwise`, unless an inner element handles it (an editor stops its
 *  propagation). */
export function useEscape(otherwise) {
  useEffect(() => {
    const onKey = (event) => {
      if (event.key !== 'Escape' || event.isComposing || document.querySelector('dialog[open], .menu-list')) return;
      if (isListOpen.peek()) isListOpen.value = false;
      else otherwise();
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, []);
}
