// Messages that the server has not confirmed. Each has its own id, so that it can be retried, also after a reload, and
// takes effect once.

import { signal } from './vendor/signals.js';
import { path, randomId, requestUntilAnswered } from './api.js';
import { attachedFiles, partsOf } from './attachments.js';
import { updateChats } from './chats.js';
import { notice } from './notice.js';
import { show, shownChatId } from './route.js';
import { session } from './session.js';
import { load, save } from './storage.js';
import { unsentText } from './unsent.js';

/** {id, chatId, isNew, text, files, model, when_busy, problem?, seq?}: `seq` is set when the server has accepted the
 *  message. */
export const outbox = signal(load('outbox', []));

/** Sends a message; `files` are attached files that were uploaded, `model`: '' is the chat's. */
export function send(chatId, { text, files = [], model = '', when_busy = 'queue' }) {
  const item = { id: randomId(), chatId: chatId ?? randomId(), isNew: !chatId, text, files, model, when_busy };
  put([...outbox.peek(), item]);
  if (item.isNew) show(item.chatId);
  deliver(item);
}

/** Retries the messages whose sending a reload has cancelled. */
export function resumeOutbox() {
  for (const item of outbox.peek()) if (!item.seq && !underway.has(item.id)) deliver(item);
}

/** Removes the messages that the view shows: up to its seq, or with the same client id. */
export function clearArrived(chatId, view) {
  const has = new Set([...view.messages, ...view.queue].map((message) => message.client_message_id));
  const isHere = (item) => item.chatId === chatId && ((item.seq && item.seq <= view.seq) || has.has(item.id));
  if (outbox.value.some(isHere)) put(outbox.value.filter((item) => !isHere(item)));
}

/** Cancels a message that the server has not confirmed; its text returns to the composer. */
export function giveUp(item) {
  put(outbox.peek().filter((other) => other.id !== item.id));
  returnText(item);
}

const underway = new Set();
const lines = new Map(); // by chat: the last delivery, for which the next one waits, so that the order is kept

function deliver(item) {
  underway.add(item.id);
  const before = lines.get(item.chatId) ?? Promise.resolve();
  lines.set(
    item.chatId,
    before.then(() => deliverNow(item)),
  );
}

async function deliverNow(item) {
  const isHeld = () => outbox.peek().some((other) => other.id === item.id);
  const isWanted = () => session.peek() === 'in' && isHeld(); // another owner may sign in next
  const onDelay = (error) => change(item.id, { problem: error.message });
  try {
    if (!isWanted()) return;
    const answer = await requestUntilAnswered('POST', ...requestOf(item), { isWanted, onDelay });
    change(item.id, { seq: answer.seq, problem: undefined });
    if (item.isNew) updateChats([answer]);
  } catch (error) {
    if (!isWanted()) return; // taken back, or (401) it continues after signing in
    change(item.id, { problem: error.message });
    notice.value = error.message;
    giveUp(item);
  } finally {
    underway.delete(item.id);
  }
}

function requestOf({ id, chatId, isNew, text, files = [], model, when_busy }) {
  const content = files.length ? [...(text ? [{ type: 'text', text }] : []), ...partsOf(files)] : text;
  const named = model ? { model } : {};
  if (isNew) return ['/chats', { id: chatId, content, ...named }];
  return [path('chats', chatId, 'messages'), { content, when_busy, client_message_id: id, ...named }];
}

function returnText(item) {
  const place = item.isNew ? null : item.chatId;
  const typed = unsentText(place);
  typed.value = [item.text, typed.peek()].filter(Boolean).join('\n\n');
  const attached = attachedFiles(place);
  if (item.files?.length) attached.value = [...item.files, ...attached.peek()];
  if (item.isNew && shownChatId.peek() === item.chatId) show(null, { replace: true });
}

const change = (id, changes) => put(outbox.peek().map((item) => (item.id === id ? { ...item, ...changes } : item)));

function put(items) {
  outbox.value = items;
  save('outbox', items);
}
