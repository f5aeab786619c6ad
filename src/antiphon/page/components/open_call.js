// A card for a tool call that waits: an approval, a question of the agent, or the result of a tool that clients run.

import { useState } from '../vendor/preact-hooks.js';
import { answerCall, decideCall, submitResult } from '../turn_commands.js';
import { timeWords } from '../figures.js';
import { Editor } from './editor.js';
import { html } from './html.js';
import { Json } from './json.js';
import { SchemaForm } from './schema_form.js';

/** `call` is {tool_call_id, args, needs}; `args` what the model wrote; `deadline` when it expires. */
export function OpenCall({ call, args, deadline }) {
  const id = call.tool_call_id;
  if (call.needs === 'approval') return html`<${Approval} id=${id} args=${args} deadline=${deadline} />`;
  if (call.needs === 'answer')
    return html`<${Question} id=${id} asked=${call.args ?? args ?? {}} deadline=${deadline} />`;
  return html`<${Result} id=${id} deadline=${deadline} />`;
}

const Until = ({ deadline }) =>
  deadline &&
  html`<span class="meta until">Waits until <time datetime=${deadline}>${timeWords(deadline)}</time></span>`;

function Approval({ id, args, deadline }) {
  const [mode, setMode] = useState('');
  const [isBusy, setBusy] = useState(false);
  const close = () => setMode('');
  const decide = async (decision) => {
    setBusy(true); // a second click does nothing
    if (!(await decideCall(id, decision))) setBusy(false);
  };
  if (mode === 'edit') {
    const save = (text) => decideCall(id, { approved: true, args: JSON.parse(text) });
    return html`<div class="call-card" data-testid="approval"><h3>Change the arguments</h3>
      <${Editor} text=${JSON.stringify(args, null, 2)} label="Arguments" yes="Allow with these" hint="JSON" problemOf=${argsProblem}
        onSave=${save} onClose=${close} /></div>`;
  }
  if (mode === 'deny') {
    const save = (reason) => decideCall(id, { approved: false, reason: reason.trim() });
    return html`<div class="call-card" data-testid="approval"><h3>Why not?</h3>
      <${Editor} text="" label="Reason" yes="Deny" hint="The model reads the reason. It may be empty." canBeEmpty onSave=${save} onClose=${close} /></div>`;
  }
  return html`<div class="call-card" data-testid="approval" role="group" aria-label="Allow this call?">
    <h3>Allow this call? <${Until} deadline=${deadline} /></h3>
    <${Json} label="Arguments" value=${args} />
    <div class="row">
      <button type="button" class="primary" disabled=${isBusy} onClick=${() => decide({ approved: true })}>Allow</button>
      <button type="button" disabled=${isBusy} onClick=${() => decide({ approved: true, always: true })}>Always allow in this chat</button>
      <button type="button" disabled=${isBusy} onClick=${() => setMode('edit')}>Edit arguments</button>
      <button type="button" disabled=${isBusy} onClick=${() => setMode('deny')}>Deny</button>
    </div>
  </div>`;
}

function argsProblem(text) {
  try {
    const value = JSON.parse(text);
    const isObject = value !== null && typeof value === 'object' && !Array.isArray(value);
    return isObject ? '' : 'The arguments must be a JSON object, like {"name": "value"}.';
  } catch (error) {
    return `This is not JSON: ${error.message}.`;
  }
}

function Question({ id, asked, deadline }) {
  const { question = 'The agent asks a question.', schema = {} } = asked;
  return html`<div class="call-card question" data-testid="question" role="group" aria-label=${question}>
    <p dir="auto">${question} <${Until} deadline=${deadline} /></p>
    <${SchemaForm} schema=${schema} onSend=${(value) => answerCall(id, value)} />
  </div>`;
}

function Result({ id, deadline }) {
  const [mode, setMode] = useState('');
  const close = () => setMode('');
  if (mode) {
    const isError = mode === 'error';
    const save = (text) => submitResult(id, parsed(text), isError);
    return html`<div class="call-card" data-testid="result"><h3>${isError ? 'What went wrong?' : 'The result'}</h3>
      <${Editor} text="" label=${isError ? 'Error' : 'Result'} yes=${isError ? 'Send error' : 'Send result'} hint="Text or JSON" onSave=${save} onClose=${close} /></div>`;
  }
  return html`<div class="call-card" data-testid="result">
    <p>Another program runs this tool and sends its result. You can also enter it yourself. <${Until} deadline=${deadline} /></p>
    <div class="row">
      <button type="button" onClick=${() => setMode('result')}>Enter the result</button>
      <button type="button" onClick=${() => setMode('error')}>Report an error</button>
    </div>
  </div>`;
}

/** JSON, or else the text itself. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
