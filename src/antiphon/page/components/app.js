// The frame: sign-in, or the list of chats beside the shown chat, inbox or settings.

import { useEffect } from '../vendor/preact-hooks.js';
import { useSignalEffect } from '../vendor/signals.js';
import { overlay, toComposer } from '../commands.js';
import { focusIfLost } from '../focus.js';
import { dismiss, notice } from '../notice.js';
import { isInboxShown, isListOpen, shareSecret, shownChatId, shownInstanceId, shownSection } from '../route.js';
import { session } from '../session.js';
import { sharedChat } from '../shares.js';
import { Chat } from './chat.js';
import { Dialog } from './dialog.js';
import { IconButton, html } from './html.js';
import { Inbox } from './inbox.js';
import { lazy } from './lazy.js';
import { Menu } from './menu.js';
import { Sidebar } from './sidebar.js';
import { SignIn } from './signin.js';
import { Toast } from './toast.js';

const Settings = lazy(() => import('./settings/settings.js'), 'Settings');
const Shared = lazy(() => import('./shared.js'), 'Shared');
const Share = lazy(() => import('./share.js'), 'Share', { isQuiet: true });
const Palette = lazy(() => import('./palette.js'), 'Palette', { isQuiet: true });
const Shortcuts = lazy(() => import('./shortcuts.js'), 'Shortcuts', { isQuiet: true });

export function App() {
  useSignalEffect(() => {
    shownChatId.value; // a chat was chosen: close the list
    shownInstanceId.value;
    shownSection.value;
    isInboxShown.value;
    isListOpen.value = false;
    overlay.value = '';
  });
  useFocusAfterNavigation();
  if (shareSecret) return html`<${Shared} secret=${shareSecret} />`;
  if (session.value === 'checking') return html`<main class="signin" aria-busy="true"></main>`;
  if (session.value === 'out') return html`<${SignIn} />`;
  return html`
    <button type="button" class="skip" onClick=${toComposer}>Skip to the message box</button>
    <div class="frame ${isListOpen.value ? 'list-open' : ''}">
      <${Sidebar} />
      <button type="button" class="scrim" aria-label="Close the list of chats" tabindex=${isListOpen.value ? 0 : -1}
        onClick=${() => (isListOpen.value = false)}></button>
      <main><${Shown} /><${Menu} /></main>
    </div>
    <${Notice} />
    <${Toast} />
    <${Dialog} />
    ${sharedChat.value && html`<${Share} key=${sharedChat.value.id} chat=${sharedChat.value} />`}
    ${overlay.value === 'palette' && html`<${Palette} />`}
    ${overlay.value === 'shortcuts' && html`<${Shortcuts} />`}
  `;
}

function Shown() {
  if (isInboxShown.value) return html`<${Inbox} />`;
  return shownSection.value === null ? html`<${ShownChat} />` : html`<${Settings} />`;
}

const ShownChat = () => html`<${Chat} key=${shownChatId.value ?? 'new'} chatId=${shownChatId.value} />`;

/** Focuses the heading of what is shown now, if the element with the focus has disappeared. */
function useFocusAfterNavigation() {
  const shown = [shownChatId.value, shownSection.value, isInboxShown.value];
  useEffect(() => {
    const timer = setTimeout(() => {
      const focused = document.activeElement;
      const isLost = focused === document.body || !focused.checkVisibility({ visibilityProperty: true });
      if (isLost && !document.querySelector('dialog[open]')) document.querySelector('main h1')?.focus();
    }, 250); // after the list has slid away on a narrow screen
    return () => clearTimeout(timer);
  }, shown);
}

function dismissNotice() {
  dismiss();
  focusIfLost('#composer-text', 'main h1');
}

const Notice = () =>
  notice.value &&
  html`<div class="notice" role="alert">
    <span>${notice.value}</span>
    <${IconButton} name="close" label="Dismiss" onClick=${dismissNotice} />
  </div>`;
