// The person's own instructions, which every model gets in every chat of theirs.

import { useState } from '../../vendor/preact-hooks.js';
import { request } from '../../api.js';
import { html } from '../html.js';
import { LoadState, useAction, useLoaded } from './loaded.js';

export function Prompt() {
  const loaded = useLoaded(() => request('GET', '/me/prompt'));
  return html`
    <p>What you write here is sent to every model at the start of each of your chats: who you are, how answers should
      be written, what to avoid.</p>
    <${LoadState} loaded=${loaded} />
    ${loaded.value && html`<${Form} stored=${loaded.value.prompt} />`}
  `;
}

function Form({ stored: first }) {
  const [stored, setStored] = useState(first);
  const [text, setText] = useState(first);
  const action = useAction();
  const save = async (event) => {
    event.preventDefault();
    const sent = text.trim();
    await action.run(async () => {
      if (sent) await request('PUT', '/me/prompt', { prompt: sent });
      else await request('DELETE', '/me/prompt');
      setStored(sent);
      setText((now) => (now.trim() === sent ? sent : now));
    });
  };
  const isChanged = text.trim() !== stored;
  return html`<form class="stack" onSubmit=${save}>
    <label class="stack">Your prompt
      <textarea rows="10" dir="auto" value=${text} onInput=${(event) => setText(event.target.value)}></textarea>
    </label>
    ${action.problem && html`<p class="problem" role="alert">${action.problem} Your text is still here.</p>`}
    <div class="row">
      <button class="primary" disabled=${action.isBusy || !isChanged}>Save</button>
      <button type="button" disabled=${action.isBusy || !isChanged} onClick=${() => setText(stored)}>Undo changes</button>
      <span class="hint" role="status">${isChanged ? 'Not saved yet.' : stored ? 'Saved.' : 'You have no prompt.'}</span>
    </div>
  </form>`;
}
