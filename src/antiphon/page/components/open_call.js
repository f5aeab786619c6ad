// A tool call that waits: an approval, a question of the agent, or the result of a tool that clients run.

import { useState } from '../vendor/preact-hooks.js';
import { answerCall, decideCall, submitResult } from '../chat.js';
import { Editor } from './editor.js';
import { html } from './html.js';

/** `call` is {tool_call_id, args, needs}; `args` what the model wrote. */
export function OpenCall({ call, args }) {
  if (call.needs === 'approval') return html`<${Approval} id=${call.tool_call_id} args=${args} />`;
  if (call.needs === 'answer') return html`<${Question} id=${call.tool_call_id} asked=${call.args ?? args ?? {}} />`;
  return html`<${Result} id=${call.tool_call_id} />`;
}

function Approval({ id, args }) {
  const [isEditing, setEditing] = useState(false);
  if (isEditing) {
    const save = (text) => withJson(text, (value) => decideCall(id, { approved: true, args: value }));
    return html`<${Editor} text=${JSON.stringify(args, null, 2)} yes="Run with these" hint="JSON" onSave=${save}
      onClose=${() => setEditing(false)} />`;
  }
  return html`<div class="row" data-testid="approval" role="group" aria-label="Approve this call?">
    <span>Approve this call?</span>
    <button type="button" class="primary" onClick=${() => decideCall(id, { approved: true })}>Approve</button>
    <button type="button" onClick=${() => decideCall(id, { approved: true, always: true })}>Always in this chat</button>
    <button type="button" onClick=${() => setEditing(true)}>Change arguments</button>
    <button type="button" onClick=${() => decideCall(id, { approved: false })}>Deny</button>
  </div>`;
}

function Question({ id, asked }) {
  const { question = 'The agent asks a question.', schema = {} } = asked;
  return html`<div class="question" data-testid="question" role="group" aria-label=${question}>
    <p dir="auto">${question}</p>
    <${Choices} values=${choicesOf(schema)} onChoose=${(value) => answerCall(id, value)} />
    ${choicesOf(schema).length === 0 && html`<${Field} schema=${schema} onSend=${(value) => answerCall(id, value)} />`}
  </div>`;
}

const Choices = ({ values, onChoose }) => html`<div class="row">
  ${values.map(([label, value]) => html`<button type="button" onClick=${() => onChoose(value)}>${label}</button>`)}
</div>`;

function choicesOf(schema) {
  if (schema.type === 'boolean') return [['Yes', true], ['No', false]];
  return Array.isArray(schema.enum) ? schema.enum.map((value) => [String(value), value]) : [];
}

// A text field; for other types than text the answer is JSON.
function Field({ schema, onSend }) {
  const [value, setValue] = useState('');
  const [error, setError] = useState('');
  const isText = !schema.type || schema.type === 'string';
  const isNumber = schema.type === 'number' || schema.type === 'integer';
  const submit = (event) => {
    event.preventDefault();
    if (isText) return onSend(value);
    const parsed = parse(value);
    setError(parsed ? '' : `This is not ${isNumber ? 'a number' : 'JSON'}.`);
    return parsed && onSend(parsed.value);
  };
  return html`<form class="row" onSubmit=${submit}>
    <input class="grow" aria-label="Answer" dir="auto" inputmode=${isNumber ? 'decimal' : 'text'} value=${value}
      placeholder=${isText ? 'Answer' : isNumber ? 'A number' : `JSON: ${JSON.stringify(schema).slice(0, 200)}`}
      onInput=${(event) => setValue(event.target.value)} />
    <button class="primary" disabled=${!value.trim()}>Send answer</button>
    ${error && html`<span class="hint" role="alert">${error}</span>`}
  </form>`;
}

function Result({ id }) {
  const [isEditing, setEditing] = useState(false);
  const save = (text) => submitResult(id, parse(text)?.value ?? text);
  if (isEditing)
    return html`<${Editor} text="" yes="Send result" hint="JSON or text" onSave=${save}
      onClose=${() => setEditing(false)} />`;
  return html`<div class="row" data-testid="result">
    <span class="meta">Waiting for a client to run this tool and send its result.</span>
    <button type="button" onClick=${() => setEditing(true)}>Enter the result</button>
  </div>`;
}

function parse(text) {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return null;
  }
}

// An editor stays open for text that is not JSON.
const withJson = (text, send) => {
  const parsed = parse(text);
  return parsed ? send(parsed.value) : Promise.resolve(false);
};
