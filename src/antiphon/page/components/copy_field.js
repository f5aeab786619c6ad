// A text to copy: a field that selects all of it, and a button.

import { useState } from '../vendor/preact-hooks.js';
import { Icon, html } from './html.js';

export function CopyField({ label, value }) {
  const [words, setWords] = useState('');
  const copy = async (event) => {
    const field = event.currentTarget.previousElementSibling;
    try {
      await navigator.clipboard.writeText(value);
      setWords('Copied.');
    } catch {
      field.select(); // without TLS the browser has no clipboard for pages
      setWords('The text is selected: press Ctrl+C to copy it.');
    }
  };
  return html`<div class="stack">
    <div class="row nowrap">
      <input readonly aria-label=${label} value=${value} onFocus=${(event) => event.target.select()} />
      <button type="button" class="primary" onClick=${copy}><${Icon} name="copy" /> Copy</button>
    </div>
    <span class="hint" role="status">${words}</span>
  </div>`;
}
