// An editor for the text of a message. Escape closes it, Ctrl+Enter saves.

import { useLayoutEffect, useRef, useState } from '../vendor/preact-hooks.js';
import { html } from './html.js';

/** `onSave(text)` returns whether it succeeded; then, or on cancel, `onClose()` is called. */
export function Editor({ text, yes, hint, onSave, onClose }) {
  const [value, setValue] = useState(text);
  const [isBusy, setBusy] = useState(false);
  const area = useRef(null);
  useLayoutEffect(() => {
    const holder = area.current.closest('[data-id]');
    area.current.focus();
    return () => requestAnimationFrame(() => giveFocusBack(holder));
  }, []);
  const submit = async (event) => {
    event?.preventDefault();
    setBusy(true);
    if (await onSave(value)) onClose();
    else setBusy(false);
  };
  const onKeyDown = (event) => {
    if (event.isComposing) return;
    if (event.key === 'Escape') {
      event.stopPropagation(); // here it closes the editor; otherwise it interrupts the answer
      onClose();
    } else if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) submit(event);
  };
  const rows = Math.min(12, value.split('\n').length + 1);
  return html`<form class="editor" onSubmit=${submit} onKeyDown=${onKeyDown}>
    <textarea ref=${area} rows=${rows} aria-label="Text" dir="auto" value=${value}
      onInput=${(event) => setValue(event.target.value)}></textarea>
    <div class="row end">
      ${hint && html`<span class="hint">${hint}</span>`}
      <button type="button" onClick=${onClose}>Cancel</button>
      <button class="primary" disabled=${isBusy || !value.trim()}>${yes}</button>
    </div>
  </form>`;
}

// The button that opened the editor is rendered again when the editor closes.
function giveFocusBack(holder) {
  if (document.activeElement === document.body) holder?.querySelector('[aria-label="Edit"]')?.focus();
}

/** The content with new text; its other parts stay. */
export function withText(content, text) {
  const others = Array.isArray(content) ? content.filter((part) => part.type !== 'text') : [];
  return others.length ? [{ type: 'text', text }, ...others] : text;
}
