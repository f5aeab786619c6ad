// Which question is being edited: one at a time.

import { signal } from './vendor/signals.js';

/** The id of the message that is being edited; 0: none. */
export const editedId = signal(0);
