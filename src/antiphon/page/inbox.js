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

export async function markRead(id) {
  const read = await request('PUT', path('inbox', id, 'read'));
  const before = notifications.value?.find((known) => known.id === id);
  if (before && !before.read_at) counted.value = Math.max(0, counted.value - 1);
  notifications.value = notifications.value?.map((known) => (known.id === id ? read : known)) ?? null;
}

/** Who opens a chat has seen what was told of it. */
export async function markChatRead(chatId) {
  const unread = (notifications.value ?? []).filter((known) => !known.read_at && known.targets.includes(chatId));
  await Promise.all(unread.map((known) => markRead(known.id)));
}

export const markAllRead = () =>
  report(async () => {
    await request('PUT', '/inbox/read-all');
    await reloadInbox();
  });
