// A JSON value, indented, with copy. Long ones are shown in part.

import { useState } from '../vendor/preact-hooks.js';
import { CopyButton } from './copy.js';
import { html } from './html.js';

const CHARS_MAX = 20_000;

export function Json({ value, label }) {
  const [isWhole, setWhole] = useState(false);
  const text = pretty(value);
  const isCut = text.length > CHARS_MAX && !isWhole;
  return html`<div class="json">
    <div class="json-head"><span class="meta">${label}</span><${CopyButton} text=${() => text} words /></div>
    <pre tabindex="0" aria-label=${label ?? 'Value'} dir="auto">${isCut ? text.slice(0, CHARS_MAX) : text}</pre>
    ${
      isCut &&
      html`<button type="button" class="quiet" onClick=${() => setWhole(true)}>
      Show all ${text.length.toLocaleString('en')} characters</button>`
    }
  </div>`;
}

/** A value as text: indented JSON; a text that is no JSON as it is. */
export function pretty(value) {
  let shown = value;
  if (typeof value === 'string') {
    try {
      shown = JSON.parse(value);
    } catch {
      return value; // text, or JSON that is still being written
    }
  }
  return typeof shown === 'string' ? shown : (JSON.stringify(shown, null, 2) ?? '');
}
