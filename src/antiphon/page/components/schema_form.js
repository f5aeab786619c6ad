// A form for a value of a JSON schema (see schema_form.js).

import { useMemo, useRef, useState } from '../vendor/preact-hooks.js';
import { choicesOf, fieldOf, valueOf } from '../schema_form.js';
import { html } from './html.js';

const BUTTONS_MAX = 8; // a single choice among so few values is made by buttons

/** `onSend(value)` is called with a value that fits the schema. */
export function SchemaForm({ schema, yes = 'Send answer', label = 'Answer', onSend }) {
  const field = useMemo(() => fieldOf(schema), [schema]);
  const [filled, setFilled] = useState(field.initial);
  const [errors, setErrors] = useState({});
  const form = useRef(null);
  const buttons =
    field.kind === 'boolean'
      ? [
          ['Yes', true],
          ['No', false],
        ]
      : choicesOf(field.schema);
  if (buttons.length && buttons.length <= BUTTONS_MAX) {
    return html`<div class="row">${buttons.map(([words, value], index) => html`<button type="button" key=${index} onClick=${() => onSend(value)}>${words}</button>`)}</div>`;
  }
  const submit = (event) => {
    event.preventDefault();
    const result = valueOf(field, filled);
    setErrors(result.errors ?? {});
    if (!result.errors) return onSend(result.value ?? null);
    requestAnimationFrame(() => form.current?.querySelector('[aria-invalid=true]')?.focus());
    return undefined;
  };
  const named = field.kind === 'object' ? field : { ...field, label: field.label || label };
  return html`<form class="schema-form" ref=${form} onSubmit=${submit} noValidate>
    <${Field} field=${named} filled=${filled} onFill=${setFilled} errors=${errors} path="" />
    <div class="row end"><button class="primary">${yes}</button></div>
  </form>`;
}

function Field({ field, filled, onFill, errors, path }) {
  if (field.kind === 'object') {
    const fields = field.fields.map(
      (each) => html`<${Field} key=${each.name} field=${each} filled=${filled[each.name]} errors=${errors}
      path=${path ? `${path}.${each.name}` : each.name} onFill=${(value) => onFill({ ...filled, [each.name]: value })} />`,
    );
    return path ? html`<fieldset class="group"><legend>${field.label}</legend>${fields}</fieldset>` : fields;
  }
  const error = errors[path];
  if (field.kind === 'choices')
    return html`<${Checks} field=${field} filled=${filled} onFill=${onFill} error=${error} />`;
  const input = html`<${Input} field=${field} filled=${filled} onFill=${onFill} isWrong=${Boolean(error)} />`;
  const isCheck = field.kind === 'boolean';
  const mark = field.isRequired || isCheck ? '' : ' (optional)';
  return html`<label class=${isCheck ? 'check' : 'field'}>
    ${isCheck && input}<span class="label">${field.label}${mark}</span>${!isCheck && input}
    ${field.hint && html`<span class="hint">${field.hint}</span>`}
    ${error && html`<span class="problem" role="alert">${error}</span>`}
  </label>`;
}

function Input({ field, filled, onFill, isWrong }) {
  const { kind, choices } = field;
  const onInput = ({ target }) => onFill(target.value);
  const shared = { 'aria-invalid': isWrong ? 'true' : undefined, 'aria-label': field.label, onInput };
  switch (kind) {
    case 'boolean':
      return html`<input type="checkbox" checked=${filled} onChange=${({ target }) => onFill(target.checked)} />`;
    case 'choice':
      return html`<select ...${shared} value=${filled}>
        <option value="">Choose…</option>
        ${choices.map(([words], index) => html`<option key=${index} value=${index}>${words}</option>`)}
      </select>`;
    case 'lines':
    case 'json':
      return html`<textarea ...${shared} rows="4" dir="auto" value=${filled} class=${kind === 'json' ? 'mono' : ''}
        placeholder=${kind === 'json' ? 'JSON' : ''}></textarea>`;
    case 'number':
    case 'integer':
      return html`<input ...${shared} inputmode=${kind === 'integer' ? 'numeric' : 'decimal'} value=${filled} />`;
    default:
      return html`<input ...${shared} type=${kind} dir="auto" value=${filled} />`;
  }
}

function Checks({ field, filled, onFill, error }) {
  const toggle = (index, isOn) =>
    onFill(isOn ? [...filled, index].sort((a, b) => a - b) : filled.filter((each) => each !== index));
  return html`<fieldset class="group"><legend>${field.label}${field.isRequired ? '' : ' (optional)'}</legend>
    ${field.hint && html`<span class="hint">${field.hint}</span>`}
    ${field.choices.map(
      ([words], index) => html`<label class="check" key=${index}>
      <input type="checkbox" checked=${filled.includes(index)} onChange=${({ target }) => toggle(index, target.checked)} />${words}</label>`,
    )}
    ${error && html`<span class="problem" role="alert">${error}</span>`}
  </fieldset>`;
}
