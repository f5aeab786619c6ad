// The models that a chat may name, loaded for the picker, and the one that was chosen for the next messages of each chat.

import { DEMO_MODEL } from './providers.js';
import { effect, signal } from './vendor/signals.js';
import { ApiError, NetworkError, request } from './api.js';
import { load, save } from './storage.js';

/** {models: [{id, name, …}], default}; null until they are loaded, or while they cannot be. */
export const models = signal(null);
let isLoading = false;

export async function loadModels() {
  if (isLoading) return;
  isLoading = true;
  try {
    models.value = await request('GET', '/models');
  } catch (error) {
    if (!(error instanceof ApiError) && !(error instanceof NetworkError)) throw error; // the picker offers the default
  }
  isLoading = false;
}

const chosen = new Map();

/** The signal of the model that was chosen for a chat's next messages; '': the chat's own. */
export function chosenModel(chatId) {
  const key = `model.${chatId ?? 'new'}`;
  if (!chosen.has(key)) {
    const model = signal(load(key, ''));
    effect(() => save(key, model.value));
    chosen.set(key, model);
  }
  return chosen.get(key);
}

/** Whether a model's name says nothing: the agent is a function, which answers by itself. */
export const isOfAgent = (name) =>
  name === DEMO_MODEL && Boolean(models.value) && !models.value.models.some((model) => model.is_demo);
