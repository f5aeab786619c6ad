// Deleting a chat: it disappears at once, and the server deletes it when the toast with "Undo" has gone or the page is
// left. A browser that dies in between deletes nothing.

import { path, request } from './api.js';
import { hidden, remove, titleOf } from './chats.js';
import { report } from './notice.js';
import { show, shownChatId } from './route.js';
import { endToast, showToast } from './toast.js';

/** Chats that are hidden, whose deletion is not yet requested. */
const pending = new Set();
/** The last request to delete a chat. */
let underway = Promise.resolve();

export function removeWithUndo(chat) {
  const wasShown = shownChatId.peek() === chat.id;
  pending.add(chat.id);
  hide(chat.id, true);
  if (wasShown) show(null);
  showToast({
    text: `“${titleOf(chat)}” was deleted.`,
    actionLabel: 'Undo',
    onAction: () => {
      pending.delete(chat.id);
      hide(chat.id, false);
      if (wasShown) show(chat.id);
    },
    onGone: () => (underway = removeNow(chat.id)),
  });
}

async function removeNow(chatId) {
  if (!pending.delete(chatId)) return;
  await report(() => remove(chatId));
  hide(chatId, false); // it is gone, or it could not be deleted and is shown again
}

/** Requests what is pending, before the person signs out. */
export async function finishDeletions() {
  endToast();
  await underway;
}

function hide(chatId, isHidden) {
  const next = new Set(hidden.peek());
  if (isHidden) next.add(chatId);
  else next.delete(chatId);
  hidden.value = next;
}

addEventListener('pagehide', () => {
  for (const chatId of pending)
    request('DELETE', path('chats', chatId), undefined, { keepalive: true }).catch(() => {});
  pending.clear();
});
