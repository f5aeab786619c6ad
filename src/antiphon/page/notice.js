// The notice of the last error.

import { signal } from './vendor/signals.js';
import { ApiError, NetworkError } from './api.js';

/** The shown sentence; '': none. */
export const notice = signal('');

export const dismiss = () => (notice.value = '');

/** Runs `action`; a refusal or a lost connection becomes the notice. Returns whether it succeeded. */
export async function report(action) {
  try {
    await action();
    return true;
  } catch (error) {
    const sentence = sentenceOf(error);
    if (error.status !== 401) notice.value = sentence; // a 401 shows the sign-in form
    return false;
  }
}

/** `report` for requests that the page makes by itself: a lost connection is shown by its state alone. */
export const reportRefusal = (action) =>
  report(() =>
    action().catch((error) => {
      if (!(error instanceof NetworkError)) throw error;
    }),
  );

/** What a person reads of a refusal or a lost connection. Any other error is a fault of the page, and is thrown. */
export function sentenceOf(error) {
  if (!(error instanceof ApiError) && !(error instanceof NetworkError)) throw error;
  return error.message;
}
