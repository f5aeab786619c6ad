// A modal dialog: asks for a confirmation, or for a line of text.

import { signal } from '../vendor/signals.js';
import { useState } from '../vendor/preact-hooks.js';
import { html } from './html.js';
import { useModal } from './modal.js';

const question = signal(null);

/** Asks for a confirmation. Resolves to true or false. */
export const confirm = ({ title, text, yes }) => ask({ title, text, yes, isDanger: true }).then(Boolean);

/** Asks for a line of text. Resolves to the text, or null. `save(text)` resolves to a sentence while the text cannot be
 *  saved: it is shown, and the dialog stays open. */
export const prompt = ({ title, label, hint, value, yes, length_max, isEmptyAllowed, save }) =>
  ask({ title, label, hint, value, yes, length_max, isEmptyAllowed, save });

const ask = (fields) => new Promise((resolve) => (question.value = { ...fields, resolve }));

export const Dialog = () => question.value && html`<${Open} key=${question.value} ...${question.value} />`;

function Open({ title, text, label, hint, value = '', yes, length_max, isDanger, isEmptyAllowed, save, resolve }) {
  const dialog = useModal();
  const [line, setLine] = useState(value);
  const [problem, setProblem] = useState('');
  const [isSaving, setSaving] = useState(false);
  const answer = (result) => {
    question.value = null;
    resolve(result);
  };
  const submit = async (event) => {
    event.preventDefault();
    const result = label ? line.trim() : true;
    setSaving(true);
    const found = await save?.(result);
    setSaving(false);
    if (found) setProblem(found);
    else answer(result);
  };
  const isEmpty = Boolean(label) && !isEmptyAllowed && !line.trim();
  return html`<dialog ref=${dialog} aria-labelledby="dialog-title" onCancel=${() => answer(null)}>
    <form onSubmit=${submit}>
      <h2 id="dialog-title">${title}</h2>
      ${text && html`<p>${text}</p>`}
      ${
        label &&
        html`<label>${label}
        <input value=${line} maxlength=${length_max} onInput=${(event) => setLine(event.target.value)} autofocus />
        ${hint && html`<span class="hint">${hint}</span>`}
      </label>`
      }
      ${problem && html`<p class="problem" role="alert">${problem}</p>`}
      <div class="row end">
        <button type="button" onClick=${() => answer(null)}>Cancel</button>
        <button class=${isDanger ? 'danger' : 'primary'} disabled=${isEmpty || isSaving}>${yes}</button>
      </div>
    </form>
  </dialog>`;
}
