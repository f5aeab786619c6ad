// The choice of the model that answers the next messages.

import { useEffect } from '../vendor/preact-hooks.js';
import { chosenModel, loadModels, models } from '../models.js';
import { modelWords } from '../providers.js';
import { html } from './html.js';

export function ModelPicker({ chatId, chat }) {
  useEffect(() => {
    loadModels();
  }, []);
  const known = models.value;
  const chosen = chosenModel(chatId);
  const own = chat?.model || known?.default || '';
  const value = chosen.value || own;
  const names = [...new Set([...(known?.models ?? []).map((model) => model.name), value])].filter(Boolean);
  if (!names.length) return null;
  return html`<select class="model-picker" aria-label="Model for the next messages" title="The model that answers" data-testid="model"
    value=${value} onChange=${({ target }) => (chosen.value = target.value === own ? '' : target.value)}>
    ${names.map((name) => html`<option key=${name} value=${name}>${modelWords(name)}</option>`)}
  </select>`;
}
