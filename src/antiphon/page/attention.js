// What waits for the person while the tab is hidden: a mark on the tab, and desktop notifications if they are wanted.
//
// A hidden tab closes its streams after some seconds, so that many tabs do not use up the browser's connections. Of all
// tabs, one keeps its feed open; a lock of the browser chooses it.

import { computed, effect, signal } from './vendor/signals.js';
import { unreadCount } from './inbox.js';
import { preferences } from './preferences.js';
import { hrefOf, shownChatId } from './route.js';

const LOCK = 'antiphon.feed';

/** Whether this tab keeps its feed while it is hidden. */
export const keepsFeed = signal(false);

// without locks (an old browser, or no TLS) every tab that notifies keeps its feed
if (navigator.locks) {
  navigator.locks.request(LOCK, () => new Promise(() => (keepsFeed.value = true))).catch(() => {});
} else effect(() => (keepsFeed.value = preferences.value.isNotifying));

// --- desktop notifications --------------------------------------------------------------------------

export const canNotify = () => 'Notification' in globalThis;

/** 'default' (not asked yet), 'granted', 'denied' or 'unsupported'. */
export const permission = signal(canNotify() ? Notification.permission : 'unsupported');

/** Asks the browser for its permission. */
export async function askPermission() {
  if (canNotify()) permission.value = await Notification.requestPermission();
  return permission.value;
}

const isWanted = () =>
  document.hidden && preferences.peek().isNotifying && canNotify() && Notification.permission === 'granted';

const STATUS_TEXTS = {
  waiting: 'The answer is finished.',
  requires_action: 'It waits for you: an approval or an answer.',
  error: 'The answer failed.',
};

/** A chat has changed, as the feed reports. The chat that was open when the tab was hidden makes no notification in the
 *  inbox if it is still watched, so its changes are reported here. */
export function onChatEvent(before, chat) {
  if (chat.id !== shownChatId.peek() || !before || before.status === chat.status) return;
  const isNews = chat.status === 'requires_action' || ['running', 'interrupting'].includes(before.status);
  if (isNews && STATUS_TEXTS[chat.status]) notify(chat.id, chat.title || 'Antiphon', STATUS_TEXTS[chat.status]);
}

/** A notification has arrived in the inbox. */
export const onNotification = (item) => notify(item.targets[0], item.title, '');

/** Texts of messages are left out: other people may see the desktop. */
function notify(chatId, title, body) {
  if (!isWanted()) return;
  const shown = new Notification(title, { body, tag: chatId, icon: iconAddress() });
  shown.onclick = () => {
    window.focus();
    location.hash = hrefOf(chatId);
    shown.close();
  };
}

// --- the mark on the tab ----------------------------------------------------------------------------

const COUNT_SHOWN_MAX = 9;
const ICON_PX = 64;

/** The title without the mark. */
export const pageTitle = signal('Antiphon');

const countText = computed(() =>
  unreadCount.value > COUNT_SHOWN_MAX ? `${COUNT_SHOWN_MAX}+` : `${unreadCount.value}`,
);

export function startMark() {
  effect(() => {
    document.title = unreadCount.value ? `(${countText.value}) ${pageTitle.value}` : pageTitle.value;
  });
  effect(() => drawIcon(unreadCount.value ? countText.value : ''));
}

const link = () => document.querySelector('link[rel=icon]');
const plainIcon = link()?.href ?? '';
const iconAddress = () => plainIcon || undefined;
let drawn = '';

/** Draws a dot with the count on the icon of the tab. */
async function drawIcon(text) {
  if (text === drawn || !link()) return;
  drawn = text;
  const address = text ? await iconWith(text) : plainIcon;
  if (drawn === text) Object.assign(link(), { href: address });
}

async function iconWith(text) {
  const image = new Image(ICON_PX, ICON_PX);
  image.src = plainIcon;
  await image.decode().catch(() => {}); // then the dot is alone
  const canvas = Object.assign(document.createElement('canvas'), { width: ICON_PX, height: ICON_PX });
  const context = canvas.getContext('2d');
  if (image.naturalWidth) context.drawImage(image, 0, 0, ICON_PX, ICON_PX);
  context.fillStyle = '#c0392b';
  context.beginPath();
  context.arc(ICON_PX - 20, 20, 20, 0, 2 * Math.PI);
  context.fill();
  context.fillStyle = '#ffffff';
  context.font = 'bold 28px system-ui, sans-serif';
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.fillText(text, ICON_PX - 20, 22);
  return canvas.toDataURL('image/png');
}
