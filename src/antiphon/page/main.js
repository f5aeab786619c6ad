// The page's start: sign in, keep the streams of what is shown open, draw.

import { computed, effect } from './vendor/signals.js';
import { h, render } from './vendor/preact.js';
import { closeChat, openChat, openId, view } from './chat.js';
import { closeFeed, openFeed } from './chats.js';
import { App } from './components/app.js';
import { clearArrived, outbox, resumeOutbox } from './outbox.js';
import { shownChatId } from './route.js';
import { session, startSession } from './session.js';

// A new chat is shown from the moment its first message is sent; it can be watched once the server has made it.
const watchedId = computed(() => {
  if (session.value !== 'in') return null;
  const id = shownChatId.value;
  const isComing = outbox.value.some((item) => item.isNew && item.chatId === id && !item.seq);
  return isComing ? null : id;
});

effect(() => (session.value === 'in' ? openFeed() : closeFeed()));
effect(() => (watchedId.value ? openChat(watchedId.value) : closeChat()));
effect(() => {
  if (session.value === 'in') resumeOutbox();
});
effect(() => {
  if (view.value) clearArrived(openId.peek(), view.value);
});

render(h(App), document.getElementById('app'));
startSession();
