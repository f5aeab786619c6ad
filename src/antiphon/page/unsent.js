// Text that is typed but not sent: one per chat (null: the new chat), stored for this tab.

import { effect, signal } from './vendor/signals.js';
import { load, save } from './storage.js';

const texts = new Map();

/** The signal of a chat's unsent text; with `<chat>.<message>`, of the change of a message. */
export function unsentText(chatId) {
  const key = `unsent.${chatId ?? 'new'}`;
  if (!texts.has(key)) {
    const text = signal(load(key, ''));
    effect(() => save(key, text.value));
    texts.set(key, text);
  }
  return texts.get(key);
}
