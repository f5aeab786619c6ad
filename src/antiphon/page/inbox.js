// What happened while nobody watched: the notifications, kept live by the feed.

import { computed, signal } from './vendor/signals.js';
import { path, request, requestUntilAnswered } from './api.js';
import { report } from './notice.js';

/** The newest first; null until the first answer. */
export const notifications = signal(null);
const counted = signal(0);

export const unreadCount = computed(() => counted.value);

/** The list as it is now. What the feed tells meanwhile is in it, or told again by the next one. */
export async function reloadInbox() {
  await report(async () => take(await requestUntilAnswered('GET', '/inbox?limit=50')));
}

function take(page) {
  notifications.value = page.notifications;
  counted.value = page.unread_count;
}

/** A notification came by the feed; one that is known stays as it is. */
export function hearNotification(notification) {
  if (!notifications.value || notifications.value.some((known) => known.id === notification.id)) return;
  notifications.value = [notification, ...notifications.value];
  counted.value += 1;
}

async function markRead(id) {
  const read = await request('PUT', path('inbox', id, 'read'));
  notifications.value = notifications.value?.map((known) => (known.id === id ? read : known)) ?? null;
}

/** Marks the notifications about a chat as read: it is open. */
export async function markChatRead(chatId) {
  if (!counted.peek()) return;
  const unread = (await allUnread()).filter((item) => item.targets.includes(chatId));
  if (!unread.length) return;
  await Promise.all(unread.map((item) => markRead(item.id)));
  counted.value = (await request('GET', '/inbox?limit=1')).unread_count;
}

/** The unread notifications, also those that are older than the list shows. */
async function allUnread() {
  const shown = (notifications.peek() ?? []).filter((known) => !known.read_at);
  if (shown.length >= counted.peek()) return shown;
  const found = [];
  let after = '';
  do {
    const page = await request('GET', `/inbox?unread=true&limit=200${after && `&after=${encodeURIComponent(after)}`}`);
    found.push(...page.notifications);
    after = page.next;
  } while (after);
  return found;
}

export const markAllRead = () =>
  report(async () => {
    await request('PUT', '/inbox/read-all');
    await reloadInbox();
  });
