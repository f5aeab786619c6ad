// The owner's notifications, updated by the feed.

import { computed, signal } from './vendor/signals.js';
import { path, request, requestUntilAnswered } from './api.js';
import { report } from './notice.js';

/** Newest first; null until the first response. */
export const notifications = signal(null);
const counted = signal(0);

export const unreadCount = computed(() => counted.value);

/** The cursor of older notifications; null: all are loaded. */
export const olderNotifications = signal(null);

/** Loads the list. A notification of the feed that arrives meanwhile is in it, or in the next list. */
export async function reloadInbox() {
  await report(async () => showPage(await requestUntilAnswered('GET', '/inbox?limit=50')));
}

function showPage(page) {
  notifications.value = page.notifications;
  counted.value = page.unread_count;
  olderNotifications.value = page.next ?? null;
}

/** Loads the next page of older notifications. */
export const loadOlder = () =>
  report(async () => {
    const after = olderNotifications.peek();
    const page = await request('GET', `/inbox?limit=50&after=${encodeURIComponent(after)}`);
    if (after !== olderNotifications.peek()) return; // the list was loaded again, or this page twice
    const known = new Set(notifications.peek().map((item) => item.id));
    notifications.value = [...notifications.peek(), ...page.notifications.filter((item) => !known.has(item.id))];
    olderNotifications.value = page.next ?? null;
  });

/** Adds a notification of the feed, unless the list has it. */
export function addNotification(notification) {
  if (!notifications.value || notifications.value.some((known) => known.id === notification.id)) return;
  notifications.value = [notification, ...notifications.value];
  counted.value += 1;
}

async function markRead(id) {
  const read = await request('PUT', path('inbox', id, 'read'));
  notifications.value = notifications.value?.map((known) => (known.id === id ? read : known)) ?? null;
}

/** Marks the notifications about an open chat as read. */
export async function markChatRead(chatId) {
  if (!counted.peek()) return;
  const unread = (await allUnread()).filter((item) => item.targets.includes(chatId));
  if (!unread.length) return;
  await Promise.all(unread.map((item) => markRead(item.id)));
  counted.value = (await request('GET', '/inbox?limit=1')).unread_count;
}

/** All unread notifications, including those older than the shown list. */
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
