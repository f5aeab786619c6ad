// Text typed but not sent: one for each chat (null: the new one), kept for this tab.

import { effect, signal } from './vendor/signals.js';
import { load, save } from './storage.js';

const texts = new Map();

/** The signal that holds the unsent text of a chat. */
export function unsentText(chatId) {
  const key = `unsent.${chatId ?? 'new'}`;
  if (!texts.has(key)) {
    const text = signal(load(key, ''));
    effect(() => save(key, text.value));
    texts.set(key, text);
  }
  return texts.get(key);
}
