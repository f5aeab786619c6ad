// The start of the web UI: signs in, opens the streams of what is shown, and renders.

import { computed, effect } from './vendor/signals.js';
import { h, render } from './vendor/preact.js';
import { startMark } from './attention.js';
import { closeChat, openChat, openId, view } from './chat.js';
import { closeFeed, openFeed } from './chats.js';
import { App } from './components/app.js';
import { keepFiles } from './kept_files.js';
import { startKeys } from './keys.js';
import { startOffline } from './offline.js';
import { clearArrived, outbox, resumeOutbox } from './outbox.js';
import { shareSecret, shownChatId } from './route.js';
import { loadIdentity, ownerId, session, startSession } from './session.js';
import { startSetup } from './setup.js';

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
  if (session.value === 'in' && ownerId.value) resumeOutbox(); // what was not sent yet is this owner's
});
effect(() => {
  if (view.value) clearArrived(openId.peek(), view.value);
});

const app = document.getElementById('app');
app.replaceChildren(); // the frame that is shown before this runs
render(h(App), app);
startMark();
startKeys();
startSetup();
if (!shareSecret) {
  startSession();
  startOffline();
}
keepFiles();
