// A labelled field of a form, with a hint below it.

import { useState } from '../../vendor/preact-hooks.js';
import { html } from '../html.js';

let made = 0;

export function Field({ label, hint, type = 'text', options = [], ...rest }) {
  const [id] = useState(() => `field-${++made}`);
  return html`<div class="stack">
    <label class="stack">${label}
      <input type=${type} autocomplete=${type === 'password' ? 'new-password' : 'off'} spellcheck=${false}
        aria-describedby=${hint ? `${id}-hint` : undefined} list=${options.length ? `${id}-list` : undefined} ...${rest} />
    </label>
    ${
      options.length > 0 &&
      html`<datalist id=${`${id}-list`}>
      ${options.map((value) => html`<option key=${value} value=${value} />`)}
    </datalist>`
    }
    ${hint && html`<span class="hint" id=${`${id}-hint`}>${hint}</span>`}
  </div>`;
}

/** The end of a form: what was wrong, and its buttons. */
export const Buttons = ({ action, onCancel, isReady, yes = 'Save' }) => html`
  ${action.problem && html`<p class="problem" role="alert">${action.problem}</p>`}
  <div class="row end">
    <button type="button" onClick=${onCancel}>Cancel</button>
    <button class="primary" disabled=${action.isBusy || !isReady}>${action.isBusy ? 'One moment…' : yes}</button>
  </div>`;
