// Whether the page is being printed: then all messages that are held are rendered, not only those around the viewport.

import { signal } from './vendor/signals.js';

export const isPrinting = signal(false);

addEventListener('beforeprint', () => (isPrinting.value = true));
addEventListener('afterprint', () => (isPrinting.value = false));
