// A modal dialog: asks for a confirmation, or for a line of text.

import { signal } from '../vendor/signals.js';
import { useLayoutEffect, useRef, useState } from '../vendor/preact-hooks.js';
import { html } from './html.js';

const question = signal(null);

/** Asks for a confirmation. Resolves to true or false. */
export const confirm = ({ title, text, yes }) => ask({ title, text, yes, isDanger: true }).then(Boolean);

/** Asks for a line of text. Resolves to the text, or null. */
export const prompt = ({ title, label, value, yes, length_max }) => ask({ title, label, value, yes, length_max });

const ask = (fields) => new Promise((resolve) => (question.value = { ...fields, resolve }));

export const Dialog = () => question.value && html`<${Open} key=${question.value} ...${question.value} />`;

function Open({ title, text, label, value = '', yes, length_max, isDanger, resolve }) {
  const dialog = useRef(null);
  const [line, setLine] = useState(value);
  const answer = (result) => {
    question.value = null;
    resolve(result);
  };
  useLayoutEffect(() => {
    const element = dialog.current;
    element.showModal();
    return () => element.close(); // restores the focus
  }, []);
  const submit = (event) => {
    event.preventDefault();
    answer(label ? line.trim() : true);
  };
  return html`<dialog ref=${dialog} aria-labelledby="dialog-title" onCancel=${() => answer(null)}>
    <form onSubmit=${submit}>
      <h2 id="dialog-title">${title}</h2>
      ${text && html`<p>${text}</p>`}
      ${
        label &&
        html`<label>${label}
        <input value=${line} maxlength=${length_max} onInput=${(event) => setLine(event.target.value)} autofocus />
      </label>`
      }
      <div class="row end">
        <button type="button" onClick=${() => answer(null)}>Cancel</button>
        <button class=${isDanger ? 'danger' : 'primary'} disabled=${Boolean(label) && !line.trim()}>${yes}</button>
      </div>
    </form>
  </dialog>`;
}
