// An editor for the text of a message. Escape closes it, Ctrl+Enter saves.

import { useLayoutEffect, useRef, useState } from '../vendor/preact-hooks.js';
import { html } from './html.js';

/** `onSave(text)` returns whether it succeeded; then, or on cancel, `onClose()` is called. `problemOf(text)` is a sentence
 *  on what is wrong with the text, or ''. `onLost(text)` gets a changed text whose editor disappears before that; `unsent`
 *  is a signal that stores it instead. */
export function Editor({ text, label = 'Text', yes, hint, canBeEmpty = false, problemOf = () => '', unsent, onSave, onClose, onLost }) {
  const [value, setText] = useState(unsent?.peek() || text);
  const setValue = (typed) => {
    if (unsent) unsent.value = typed === text ? '' : typed;
    setText(typed);
  };
  const [problem, setProblem] = useState('');
  const [isBusy, setBusy] = useState(false);
  const area = useRef(null);
  const changed = useRef('');
  changed.current = value === text ? '' : value;
  const life = useRef({ isSaving: false, isGone: false }).current;
  useLayoutEffect(
    () => () => {
      life.isGone = true;
      if (changed.current && !life.isSaving) onLost?.(changed.current);
    },
    [],
  );
  const close = () => {
    changed.current = '';
    if (unsent) unsent.value = '';
    onClose();
  };
  useLayoutEffect(() => {
    const holder = area.current.closest('[data-id]');
    area.current.focus();
    return () => requestAnimationFrame(() => giveFocusBack(holder));
  }, []);
  const submit = async (event) => {
    event?.preventDefault();
    const found = problemOf(value);
    setProblem(found);
    if (found || isBusy || !(canBeEmpty || value.trim())) return;
    setBusy(true);
    life.isSaving = true;
    const isSaved = await onSave(value);
    life.isSaving = false;
    if (isSaved) close();
    else if (life.isGone) onLost?.(value);
    else setBusy(false);
  };
  const onKeyDown = (event) => {
    if (event.isComposing) return;
    if (event.key === 'Escape') {
      event.stopPropagation(); // here it closes the editor; otherwise it interrupts the answer
      close();
    } else if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) submit(event);
  };
  const rows = Math.min(12, value.split('\n').length + 1);
  return html`<form class="editor" onSubmit=${submit} onKeyDown=${onKeyDown}>
    <textarea ref=${area} rows=${rows} aria-label=${label} dir="auto" value=${value}
      aria-invalid=${problem ? 'true' : undefined} onInput=${(event) => setValue(event.target.value)}></textarea>
    ${problem && html`<p class="problem" role="alert">${problem}</p>`}
    <div class="row end">
      ${hint && html`<span class="hint">${hint}</span>`}
      <button type="button" onClick=${close}>Cancel</button>
      <button class="primary" disabled=${isBusy || !(canBeEmpty || value.trim())}>${yes}</button>
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
