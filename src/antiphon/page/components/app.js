// The frame: sign-in, or the list of chats beside the shown chat or instances.

import { useSignalEffect } from '../vendor/signals.js';
import { dismiss, notice } from '../notice.js';
import { isInboxShown, isListOpen, shownChatId, shownInstanceId } from '../route.js';
import { session } from '../session.js';
import { Chat } from './chat.js';
import { Dialog } from './dialog.js';
import { IconButton, html } from './html.js';
import { Inbox } from './inbox.js';
import { Instances } from './instances.js';
import { Sidebar } from './sidebar.js';
import { SignIn } from './signin.js';

export function App() {
  useSignalEffect(() => {
    shownChatId.value; // a chat was chosen: close the list
    shownInstanceId.value;
    isInboxShown.value;
    isListOpen.value = false;
  });
  if (session.value === 'checking') return html`<main class="signin" aria-busy="true"></main>`;
  if (session.value === 'out') return html`<${SignIn} />`;
  return html`
    <div class="frame ${isListOpen.value ? 'list-open' : ''}">
      <${Sidebar} />
      <button type="button" class="scrim" aria-label="Close the list of chats" tabindex=${isListOpen.value ? 0 : -1}
        onClick=${() => (isListOpen.value = false)}></button>
      <main><${Shown} /></main>
    </div>
    <${Notice} />
    <${Dialog} />
  `;
}

function Shown() {
  if (isInboxShown.value) return html`<${Inbox} />`;
  return shownInstanceId.value === null ? html`<${ShownChat} />` : html`<${Instances} />`;
}

const ShownChat = () => html`<${Chat} key=${shownChatId.value ?? 'new'} chatId=${shownChatId.value} />`;

const Notice = () =>
  notice.value &&
  html`<div class="notice" role="alert">
    <span>${notice.value}</span>
    <${IconButton} name="close" label="Dismiss" onClick=${dismiss} />
  </div>`;
