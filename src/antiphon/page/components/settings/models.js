// Models: which one answers, the providers with their keys, and models with a name of their own.

import { useState } from '../../vendor/preact-hooks.js';
import { focusIfLost, useFormFocus } from '../../focus.js';
import {
  DEMO_MODEL,
  KIND_WORDS,
  changeConfig,
  changeProvider,
  checkProvider,
  loadProviders,
  modelWords,
  removeConfig,
  removeProvider,
} from '../../providers.js';
import { countWords } from '../../instance_words.js';
import { isAdmin } from '../../session.js';
import { reloadSetup } from '../../setup.js';
import { confirm } from '../dialog.js';
import { html } from '../html.js';
import { Connect } from './connect.js';
import { LoadState, useAction, useLoaded } from './loaded.js';
import { ConfigForm, ProviderForm } from './provider_form.js';

export function Models() {
  const loaded = useLoaded(loadProviders);
  const { value } = loaded;
  const reload = () => Promise.all([loaded.reload(), reloadSetup()]);
  return html`
    ${isAdmin.value === false && html`<p>An admin of this server connects models. You can see here which there are.</p>`}
    <${LoadState} loaded=${loaded} />
    ${
      value &&
      html`
      <${Default} configs=${value.configs} fallback=${value.models} onChanged=${reload} />
      <h3>Providers</h3>
      <p class="hint">A provider is a service that runs models. The key is stored encrypted, and is never shown again.</p>
      ${!value.providers.length && html`<p class="empty">No provider is connected.</p>`}
      <ul class="cards" data-testid="providers">
        ${value.providers.map((provider) => html`<${Provider} key=${provider.id} provider=${provider} onChanged=${reload} />`)}
      </ul>
      ${
        isAdmin.value &&
        html`<${Opened} label="Connect a provider"
        form=${(close) => html`<${Connect} onDone=${() => (close(), reload())} onCancel=${close} />`} />`
      }
      <h3>Models with a name</h3>
      <p class="hint">A model of a provider, with settings of its own, under a name that you choose.</p>
      <ul class="cards" data-testid="configs">
        ${value.configs.map((config) => html`<${Config} key=${config.id} config=${config} onChanged=${reload} />`)}
      </ul>
      ${
        isAdmin.value &&
        html`<${Opened} label="Add a model"
        form=${(close) => html`<${ConfigForm} onSaved=${() => (close(), reload())} onCancel=${close} />`} />`
      }
    `
    }
  `;
}

async function afterChange(onChanged) {
  await onChanged();
  focusIfLost('.settings');
}

/** A button that opens a form in its place. */
function Opened({ label, form }) {
  const [isOpen, setOpen] = useState(false);
  const part = useFormFocus(isOpen);
  if (isOpen) return html`<div class="item" ref=${part}>${form(() => setOpen(false))}</div>`;
  return html`<div class="row" ref=${part}><button type="button" onClick=${() => setOpen(true)}>${label}</button></div>`;
}

function Default({ configs, fallback, onChanged }) {
  const action = useAction();
  const chosen = configs.find((config) => config.is_default);
  const enabled = configs.filter((config) => config.is_enabled);
  const choose = async (event) => {
    const { value } = event.target;
    const done = await action.run(() =>
      value ? changeConfig(value, { is_default: true }) : changeConfig(chosen.id, { is_default: false }),
    );
    if (done) onChanged();
  };
  return html`<label class="stack">Model of new chats
    <select disabled=${!isAdmin.value || action.isBusy} onChange=${choose} data-testid="default-model">
      <option value="" selected=${!chosen}>${chosen ? 'No choice: as the server was started' : startedWords(fallback)}</option>
      ${enabled.map(
        (config) => html`<option key=${config.id} value=${config.id} selected=${config === chosen}>
        ${config.name} (${modelWords(config.model)})</option>`,
      )}
    </select></label>
    ${action.problem && html`<p class="problem" role="alert">${action.problem}</p>`}`;
}

/** Which model answers as long as none is chosen. */
const startedWords = ({ default: name }) =>
  !name ? 'Up to the agent' : name === DEMO_MODEL ? 'The demo model' : `${name}, as the server was started`;

function Provider({ provider, onChanged }) {
  const [isEditing, setEditing] = useState(false);
  const [checked, setChecked] = useState('');
  const action = useAction();
  const change = (run) => async () => (await action.run(run)) && afterChange(onChanged);
  const check = () => action.run(async () => setChecked(checkWords(await checkProvider(provider.id))));
  const remove = async () => {
    const isSure = await confirm({
      title: `Remove ${provider.name}?`,
      text: 'Its key is deleted. Chats that use its models fail until another model is chosen for them.',
      yes: 'Remove',
    });
    if (isSure) await change(() => removeProvider(provider.id))();
  };
  const part = useFormFocus(isEditing);
  if (isEditing)
    return html`<li class="item" ref=${part}><${ProviderForm} provider=${provider} onCancel=${() => setEditing(false)}
    onSaved=${() => (setEditing(false), onChanged())} /></li>`;
  return html`<li class="item" ref=${part}>
    <div class="item-head"><h4 dir="auto">${provider.name}</h4>
      ${!provider.is_enabled && html`<span class="tag">turned off</span>`}
      <span class="tag">${provider.has_secret ? 'key is set' : 'no key'}</span></div>
    <p class="hint">Speaks ${KIND_WORDS[provider.kind] ?? provider.kind}${provider.base_url && html`, at <bdi>${provider.base_url}</bdi>`}.</p>
    ${
      isAdmin.value &&
      html`<div class="row">
      <button type="button" disabled=${action.isBusy} onClick=${check}>Check</button>
      <button type="button" disabled=${action.isBusy} onClick=${() => setEditing(true)}>Change</button>
      <button type="button" disabled=${action.isBusy} onClick=${change(() => changeProvider(provider.id, { is_enabled: !provider.is_enabled }))}>
        ${provider.is_enabled ? 'Turn off' : 'Turn on'}</button>
      <button type="button" class="quiet" disabled=${action.isBusy} onClick=${remove}>Remove</button>
    </div>`
    }
    <${Outcome} action=${action} words=${checked} />
  </li>`;
}

const Outcome = ({ action, words }) => html`
  ${action.problem && html`<p class="problem" role="alert">${action.problem}</p>`}
  <p class="hint" role="status">${action.isBusy ? 'One moment…' : action.problem ? '' : words}</p>`;

/** The answer to a check as a sentence. */
function checkWords({ ok, models, error }) {
  if (!ok) return error.message;
  return `It answers, and offers ${countWords(models.length, 'model')}.`;
}

function Config({ config, onChanged }) {
  const [isEditing, setEditing] = useState(false);
  const action = useAction();
  const change = (run) => async () => (await action.run(run)) && afterChange(onChanged);
  const remove = async () => {
    const text = 'Chats that use it fail until another model is chosen for them.';
    if (await confirm({ title: `Remove ${config.name}?`, text, yes: 'Remove' }))
      await change(() => removeConfig(config.id))();
  };
  const part = useFormFocus(isEditing);
  if (isEditing)
    return html`<li class="item" ref=${part}><${ConfigForm} config=${config} onCancel=${() => setEditing(false)}
    onSaved=${() => (setEditing(false), onChanged())} /></li>`;
  return html`<li class="item" ref=${part}>
    <div class="item-head"><h4 dir="auto">${config.name}</h4>
      ${config.is_default && html`<span class="tag is-self">default</span>`}
      ${!config.is_enabled && html`<span class="tag">turned off</span>`}</div>
    <p class="hint"><bdi>${modelWords(config.model)}</bdi></p>
    ${
      isAdmin.value &&
      html`<div class="row">
      <button type="button" disabled=${action.isBusy} onClick=${() => setEditing(true)}>Change</button>
      <button type="button" disabled=${action.isBusy} onClick=${change(() => changeConfig(config.id, { is_enabled: !config.is_enabled }))}>
        ${config.is_enabled ? 'Turn off' : 'Turn on'}</button>
      <button type="button" class="quiet" disabled=${action.isBusy} onClick=${remove}>Remove</button>
    </div>`
    }
    <${Outcome} action=${action} words="" />
  </li>`;
}
