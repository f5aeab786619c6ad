// A short message about something that was done, with a button that reverts it. It is announced, and goes by itself.

import { signal } from './vendor/signals.js';

/** {text, actionLabel, onAction, onGone}, or null. */
export const toast = signal(null);

/** Shows a toast in the place of the shown one. `onAction()` is called if its button is pressed, `onGone()` if it goes
 *  in any other way. */
export function showToast(fields) {
  endToast();
  toast.value = fields;
}

/** Removes the toast: `isReverted` if its button was pressed. */
export function endToast({ isReverted = false } = {}) {
  const ended = toast.peek();
  toast.value = null;
  if (isReverted) ended?.onAction?.();
  else ended?.onGone?.();
}
