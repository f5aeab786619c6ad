// Connects a model in three steps: choose a service, give its key, choose the model that answers. A step that fails says
// why and keeps what was typed; a provider that was added stays and is changed by the next try.

import { useRef, useState } from '../../vendor/preact-hooks.js';
import { useFormFocus } from '../../focus.js';
import { countWords } from '../../instance_words.js';
import { addConfig, addProvider, changeProvider, checkProvider, loadProviders } from '../../providers.js';
import { SERVICES } from '../../services.js';
import { showToast } from '../../toast.js';
import { html } from '../html.js';
import { Buttons, Field } from './field.js';
import { useAction } from './loaded.js';

/** `onDone()` is called when the model is connected, `onCancel()` when the person leaves. */
export function Connect({ onDone, onCancel }) {
  const [found, setFound] = useState(null); // {provider, models} when the key is accepted
  const part = useFormFocus(Boolean(found));
  return html`<div class="stack" data-testid="connect" ref=${part}>
    <h3>${found ? 'Choose the model' : 'Connect a model'}</h3>
    ${
      found
        ? html`<${ModelStep} ...${found} onDone=${onDone} onCancel=${onCancel} />`
        : html`<${KeyStep} onFound=${setFound} onCancel=${onCancel} />`
    }
  </div>`;
}

function KeyStep({ onFound, onCancel }) {
  const [service, setService] = useState(SERVICES[0]);
  const [fields, setFields] = useState({ name: '', base_url: '', secret: '' });
  const added = useRef(null); // the provider of a try that failed later
  const action = useAction();
  const set = (name) => (event) => setFields((before) => ({ ...before, [name]: event.target.value }));
  const choose = (event) => {
    const chosen = SERVICES.find(({ id }) => id === event.target.value);
    setService(chosen);
    setFields((before) => ({ ...before, name: chosen.name, base_url: chosen.base_url }));
  };
  const asksAddress = ['ollama', 'other'].includes(service.id);
  const submit = async (event) => {
    event.preventDefault();
    await action.run(async () => {
      added.current = await saveProvider(added.current, service, fields);
      const { ok, models, error } = await checkProvider(added.current.id);
      if (ok) onFound({ provider: added.current, models });
      else setProblem(error.message);
    });
  };
  const [problem, setProblem] = useState('');
  const isReady = (!service.needsKey || fields.secret.trim()) && (!asksAddress || fields.base_url.trim());
  return html`<form class="stack" onSubmit=${submit} onInput=${() => setProblem('')}>
    <label class="stack">Service
      <select onChange=${choose}>${SERVICES.map(
        ({ id, label }) => html`<option key=${id} value=${id} selected=${id === service.id}>${label}</option>`,
      )}</select>
    </label>
    ${
      service.id === 'other' &&
      html`<${Field} label="Name"
      hint="A short name of your choice, for example: acme" value=${fields.name} onInput=${set('name')} />`
    }
    ${asksAddress && html`<${Field} label="Address" hint="As its documentation gives it; it often ends in /v1" type="url" value=${fields.base_url} onInput=${set('base_url')} />`}
    ${
      service.id === 'ollama' &&
      html`<p class="hint">The server calls addresses of its own machine only if it was started with
      <code>--allow-outbound 127.0.0.1:11434</code>.</p>`
    }
    <${Field} label=${service.needsKey ? 'Key' : 'Key (optional)'} type="password"
      hint=${service.keyHint} value=${fields.secret} onInput=${set('secret')} />
    ${problem && html`<p class="problem" role="alert">${problem}</p>`}
    <${Buttons} action=${action} onCancel=${onCancel} isReady=${isReady} yes="Continue" />
  </form>`;
}

/** Adds the provider under a name that is free, or changes the one of an earlier try. */
async function saveProvider(added, service, { name, base_url, secret }) {
  const fields = { kind: service.kind, base_url: (base_url || service.base_url).trim() };
  if (secret.trim()) fields.secret = secret.trim();
  if (added) return changeProvider(added.id, fields);
  const { providers } = await loadProviders();
  const wanted = (name || service.name || 'provider').trim().toLowerCase();
  const isFree = (other) => !providers.some((provider) => provider.name === other);
  const free = [wanted, ...Array.from({ length: 100 }, (_, n) => `${wanted}-${n + 2}`)].find(isFree);
  return addProvider({ ...fields, name: free });
}

function ModelStep({ provider, models, onDone, onCancel }) {
  const [model, setModel] = useState(models[0] ?? '');
  const action = useAction();
  const submit = async (event) => {
    event.preventDefault();
    const isDone = await action.run(() =>
      addConfig({
        name: `${model.trim().replaceAll(':', ' ')}`,
        model: `${provider.name}:${model.trim()}`,
        is_default: true,
      }),
    );
    if (!isDone) return;
    showToast({ text: `New chats are answered by ${model.trim()}.` });
    onDone();
  };
  return html`<form class="stack" onSubmit=${submit}>
    <p>The key works. Which model should answer new chats?</p>
    <${Field} label="Model" value=${model} options=${models} onInput=${(event) => setModel(event.target.value)}
      hint=${models.length ? `${countWords(models.length, 'model is', 'models are')} offered: type to find one.` : ''} />
    <${Buttons} action=${action} onCancel=${onCancel} isReady=${model.trim()} yes="Use this model" />
  </form>`;
}
