// Copying text, and the button that does it.

import { useState } from '../vendor/preact-hooks.js';
import { Icon, html } from './html.js';

const COPIED_MS = 1500;

/** Copies text; the clipboard API is missing on a page served over plain HTTP to another machine. */
export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = Object.assign(document.createElement('textarea'), { value: text });
  document.body.append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
}

/** `text()` is what is copied; `words`: the button says "Copy" beside its icon. */
export function CopyButton({ text, words = false, label = 'Copy' }) {
  const [isCopied, setCopied] = useState(false);
  const copy = async () => {
    await copyText(text());
    setCopied(true);
    setTimeout(() => setCopied(false), COPIED_MS);
  };
  const shown = isCopied ? 'Copied' : label;
  return html`<button type="button" class=${words ? 'quiet copy' : 'icon-button copy'} aria-label=${shown} title=${shown} onClick=${copy}>
    <${Icon} name=${isCopied ? 'check' : 'copy'} />${words && html` ${shown}`}
  </button>`;
}
