// Copying text, and the button that does it.

import { useState } from '../vendor/preact-hooks.js';
import { notice } from '../notice.js';
import { Icon, html } from './html.js';

const COPIED_MS = 1500;

/** Copies text; the clipboard API is missing on a page served over plain HTTP to another machine. */
export async function copyText(text) {
  try {
    if (navigator.clipboard) return await navigator.clipboard.writeText(text);
  } catch {
    // not allowed here; the other way may be
  }
  const area = Object.assign(document.createElement('textarea'), { value: text });
  document.body.append(area);
  area.select();
  const isDone = document.execCommand('copy');
  area.remove();
  if (!isDone) notice.value = 'The browser did not allow copying.';
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
