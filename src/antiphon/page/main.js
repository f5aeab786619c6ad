// The start of the web UI: signs in, opens the streams of what is shown, and renders.

import { computed, effect } from './vendor/signals.js';
import { h, render } from './vendor/preact.js';
import { closeChat, openChat, openId, view } from './chat.js';
import { closeFeed, openFeed } from './chats.js';
import { App } from './components/app.js';
import { closeInstance, closeInstances, openInstance, openInstances } from './instances.js';
import { keepFiles } from './kept_files.js';
import { clearArrived, outbox, resumeOutbox } from './outbox.js';
import { shownChatId, shownInstanceId } from './route.js';
import { loadIdentity, isAdmin, session, startSession } from './session.js';

// A new chat is shown when its first message is sent; it can be watched once the server has created it.
const watchedId = computed(() => {
  if (session.value !== 'in') return null;
  const id = shownChatId.value;
  const isComing = outbox.value.some((item) => item.isNew && item.chatId === id && !item.seq);
  return isComing ? null : id;
});

effect(() => (session.value === 'in' ? openFeed() : closeFeed()));
effect(() => {
  if (session.value === 'in') loadIdentity();
});
effect(() => (watchedId.value ? openChat(watchedId.value) : closeChat()));
effect(() => {
  if (session.value === 'in') resumeOutbox();
});
effect(() => {
  if (view.value) clearArrived(openId.peek(), view.value);
});
// Only an admin sees the instances, whatever the address.
const instancesShown = computed(() => (session.value === 'in' && isAdmin.value ? shownInstanceId.value : null));
effect(() => (instancesShown.value === null ? closeInstances() : openInstances()));
effect(() => (instancesShown.value ? openInstance(instancesShown.value) : closeInstance()));

const app = document.getElementById('app');
app.replaceChildren(); // the frame that is shown before this runs
render(h(App), app);
startSession();
keepFiles();
