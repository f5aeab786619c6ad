// Whether a real model is connected: without one, the page of a new chat explains the demo model.

import { effect, signal } from './vendor/signals.js';
import { request } from './api.js';
import { reportRefusal } from './notice.js';
import { session } from './session.js';

/** Whether only the demo model is available; null until that is known. */
export const isDemoOnly = signal(null);

export const reloadSetup = () =>
  reportRefusal(async () => {
    const { models } = await request('GET', '/models');
    isDemoOnly.value = models.length > 0 && models.every((model) => model.is_demo);
  });

export function startSetup() {
  effect(() => {
    if (session.value === 'in') reloadSetup();
    else isDemoOnly.value = null;
  });
}
