// The forms that change a provider and a model with a name. What was typed stays when the server refuses it.

import { useState } from '../../vendor/preact-hooks.js';
import { KIND_WORDS, addConfig, changeConfig, changeProvider } from '../../providers.js';
import { html } from '../html.js';
import { Buttons, Field } from './field.js';
import { useAction } from './loaded.js';

/** Changes a provider. The key is only sent, never shown; an empty field keeps it. */
export function ProviderForm({ provider, onSaved, onCancel }) {
  const [fields, setFields] = useState({
    name: provider.name,
    kind: provider.kind,
    base_url: provider.base_url ?? '',
    secret: '',
  });
  const action = useAction();
  const set = (name) => (event) => setFields((before) => ({ ...before, [name]: event.target.value }));
  const forgetsKey = fields.kind !== provider.kind || fields.base_url !== (provider.base_url ?? '');
  const save = async (event) => {
    event.preventDefault();
    const { secret, ...others } = fields;
    const changes = Object.fromEntries(
      Object.entries(others).filter(([name, value]) => value !== (provider[name] ?? '')),
    );
    if (secret) changes.secret = secret;
    if (await action.run(() => changeProvider(provider.id, changes))) onSaved();
  };
  return html`<form class="stack" onSubmit=${save}>
    <${Field} label="Name" value=${fields.name} onInput=${set('name')} />
    <label class="stack">API
      <select onChange=${set('kind')}>${Object.entries(KIND_WORDS).map(
        ([kind, words]) => html`<option key=${kind} value=${kind} selected=${kind === fields.kind}>${words}</option>`,
      )}</select>
    </label>
    <${Field} label="Address (empty: the provider’s own)" type="url" value=${fields.base_url} onInput=${set('base_url')} />
    <${Field} label="New key (empty: the key stays)" type="password" value=${fields.secret} onInput=${set('secret')} />
    ${
      forgetsKey &&
      provider.has_secret &&
      !fields.secret &&
      html`<p class="hint">With another API or address the stored key is deleted: enter a key, too.</p>`
    }
    <${Buttons} action=${action} onCancel=${onCancel} isReady=${fields.name.trim()} />
  </form>`;
}

/** Adds or changes a model with a name. `parameters` are sent to the provider with each request. */
export function ConfigForm({ config, onSaved, onCancel }) {
  const [fields, setFields] = useState({
    name: config?.name ?? '',
    model: config?.model ?? '',
    parameters: config && Object.keys(config.parameters).length ? JSON.stringify(config.parameters, null, 2) : '',
  });
  const action = useAction();
  const set = (name) => (event) => setFields((before) => ({ ...before, [name]: event.target.value }));
  const parameters = objectOf(fields.parameters);
  const save = async (event) => {
    event.preventDefault();
    const body = { name: fields.name.trim(), model: fields.model.trim(), parameters };
    if (await action.run(() => (config ? changeConfig(config.id, body) : addConfig(body)))) onSaved();
  };
  return html`<form class="stack" onSubmit=${save}>
    <${Field} label="Name" hint="As people read it, for example: careful" value=${fields.name} onInput=${set('name')} />
    <${Field} label="Model" hint="The provider’s name, a colon, and its model" value=${fields.model} onInput=${set('model')} />
    <label class="stack">Settings for the provider, as a JSON object (optional)
      <textarea rows="3" class="mono" spellcheck=${false} value=${fields.parameters} onInput=${set('parameters')}></textarea>
    </label>
    ${!parameters && html`<p class="problem" role="alert">The settings are not a JSON object.</p>`}
    <${Buttons} action=${action} onCancel=${onCancel} isReady=${fields.name.trim() && fields.model.trim() && parameters} />
  </form>`;
}

/** The object in a JSON text (empty text: an empty object), or null. */
function objectOf(text) {
  if (!text.trim()) return {};
  try {
    const value = JSON.parse(text);
    return value && typeof value === 'object' && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}
