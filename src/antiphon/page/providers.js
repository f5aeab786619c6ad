// Providers of models, and models with a name: the requests of an admin.

import { path, request } from './api.js';

export const KIND_WORDS = {
  openai: 'OpenAI’s chat completions',
  'openai-responses': 'OpenAI’s Responses',
  anthropic: 'Anthropic’s Messages',
  rehearsal: 'the demo model',
};

export const DEMO_MODEL = 'rehearsal';
/** The name of a model as a person reads it. */
export const modelWords = (model) => (model === DEMO_MODEL ? 'demo model' : model);

/** {providers, configs, models}: two lists, and {default, models} as GET /models gives them. */
export async function loadProviders() {
  const [{ providers }, { model_configs: configs }, models] = await Promise.all([
    request('GET', '/providers'),
    request('GET', '/model-configs'),
    request('GET', '/models'),
  ]);
  return { providers, configs, models };
}

export const addProvider = (fields) => request('POST', '/providers', fields);
export const changeProvider = (id, changes) => request('PATCH', path('providers', id), changes);
export const removeProvider = (id) => request('DELETE', path('providers', id));
/** Asks the provider for its models: {ok, models, error: {kind, message}}. */
export const checkProvider = (id) => request('POST', path('providers', id, 'check'));

export const addConfig = (fields) => request('POST', '/model-configs', fields);
export const changeConfig = (id, changes) => request('PATCH', path('model-configs', id), changes);
export const removeConfig = (id) => request('DELETE', path('model-configs', id));
