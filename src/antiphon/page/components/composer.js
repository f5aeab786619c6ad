// The input of a message: Enter sends, Shift+Enter adds a new line. On a touch screen, which has no Shift+Enter, Enter
// adds a new line and the button sends. Everything below the text has a reserved place, so that the transcript does not
// move when an answer begins or ends.

import { useEffect, useLayoutEffect, useRef, useState } from '../vendor/preact-hooks.js';
import { attach, attachedFiles } from '../attachments.js';
import { isStopping, stop, view as openView } from '../chat.js';
import { stopEverything } from '../turn_commands.js';
import { editedId } from '../editing.js';
import { chosenModel } from '../models.js';
import { useFocusLeft } from '../focus.js';
import { notice } from '../notice.js';
import { send } from '../outbox.js';
import { unsentText } from '../unsent.js';
import { isBusy } from '../view.js';
import { Attachments } from './attachments.js';
import { Icon, IconButton, html } from './html.js';
import { ModelPicker } from './model_picker.js';
import { WhenBusy, whenBusy } from './when_busy.js';

const isTouch = () => matchMedia('(hover: none) and (pointer: coarse)').matches;

export function Composer({ chatId, view }) {
  const text = unsentText(chatId);
  const files = attachedFiles(chatId);
  const area = useRef(null);
  const isBusyNow = Boolean(view && isBusy(view));
  useLayoutEffect(() => fitHeight(area.current), [text.value]);
  useLayoutEffect(() => {
    if (matchMedia('(pointer: fine)').matches) area.current.focus();
  }, []);
  const add = (chosen) => chosen.length && (notice.value = attach(chatId, chosen));
  const isDragging = useDrop(add);
  const isReady = files.value.every((file) => file.state === 'ready');
  const isEmpty = !text.value.trim() && !files.value.length;

  const submit = (event) => {
    event?.preventDefault();
    if ((!text.peek().trim() && !files.peek().length) || !isReady) return;
    const model = chosenModel(chatId);
    send(chatId, {
      text: text.peek().trim() ? text.peek() : '',
      files: files.peek(),
      model: model.peek(),
      when_busy: isBusyNow ? whenBusy.peek() : 'queue',
    });
    text.value = '';
    files.value = [];
    whenBusy.value = 'queue';
    area.current?.focus();
  };
  return html`<form class="composer" data-testid="composer" onSubmit=${submit}>
    <div class="composer-box ${isDragging ? 'is-target' : ''}">
      <${Attachments} chatId=${chatId} />
      <label for="composer-text" class="hidden">Message</label>
      <textarea id="composer-text" ref=${area} rows="1" value=${text.value} dir="auto" enterkeyhint=${isTouch() ? 'enter' : 'send'}
        placeholder=${isDragging ? 'Drop the files here' : isBusyNow ? 'Next message…' : 'Write a message…'}
        onInput=${(event) => (text.value = event.target.value)} onKeyDown=${(event) => onKeyDown(event, submit)}
        onPaste=${(event) => onPaste(event, add)}></textarea>
      <div class="composer-tools">
        <${FilePicker} onChosen=${add} />
        <${ModelPicker} chatId=${chatId} chat=${view?.chat} />
        ${isBusyNow && html`<${WhenBusy} onChosen=${() => area.current?.focus()} />`}
        <span class="grow"></span>
        ${isBusyNow && html`<${Stop} view=${view} area=${area} />`}
        <button class="send" data-testid="send" aria-label="Send" title=${sendTitle(isReady)} disabled=${isEmpty || !isReady}>
          <${Icon} name="send" />
        </button>
      </div>
    </div>
    <p class="hint">Enter sends, Shift+Enter makes a new line${isBusyNow ? ', Escape stops the answer' : ''}.</p>
  </form>`;
}

const sendTitle = (isReady) => (!isReady ? 'The files are not uploaded yet' : isTouch() ? 'Send' : 'Send (Enter)');

function onKeyDown(event, submit) {
  if (event.isComposing || event.keyCode === 229) return;
  if (event.key === 'ArrowUp' && !event.target.value && !event.shiftKey && !event.altKey) return editLast(event);
  if (event.key !== 'Enter' || event.shiftKey || isTouch()) return undefined;
  event.preventDefault();
  return submit();
}

/** ↑ in the empty composer edits the last question. */
function editLast(event) {
  const last = openView.peek()?.messages.findLast((message) => message.role === 'user');
  if (!last) return;
  event.preventDefault();
  editedId.value = last.id;
}

function onPaste(event, add) {
  const files = [...(event.clipboardData?.files ?? [])];
  if (!files.length || event.clipboardData.getData('text/plain')) return; // a copied cell of a table is text and an image
  event.preventDefault();
  add(files);
}

/** Files that are dropped anywhere in the window. Returns whether some are being dragged over it. */
function useDrop(add) {
  const [isDropping, setDropping] = useState(false);
  const latest = useRef(add);
  latest.current = add;
  useEffect(() => {
    const hasFiles = (event) => event.dataTransfer?.types.includes('Files');
    const onOver = (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setDropping(true);
    };
    const onLeave = (event) => !event.relatedTarget && setDropping(false);
    const onDrop = (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setDropping(false);
      latest.current([...event.dataTransfer.files]);
    };
    const listeners = Object.entries({ dragover: onOver, dragleave: onLeave, drop: onDrop });
    listeners.forEach(([name, listener]) => addEventListener(name, listener));
    return () => listeners.forEach(([name, listener]) => removeEventListener(name, listener));
  }, []);
  return isDropping;
}

function FilePicker({ onChosen }) {
  const input = useRef(null);
  const onChange = ({ target }) => {
    onChosen([...target.files]);
    target.value = ''; // the same file can be chosen again
  };
  return html`<${IconButton} name="clip" label="Attach files" onClick=${() => input.current.click()} />
    <input type="file" multiple hidden ref=${input} aria-label="Files" data-testid="files" onChange=${onChange} />`;
}

// The buttons are disabled by what they do, and disappear with the answer: the text gets their focus.
function Stop({ view, area }) {
  const both = useRef(null);
  useFocusLeft(both, '#composer-text');
  const then = (action) => () => {
    if (matchMedia('(pointer: fine)').matches) area.current?.focus();
    action();
  };
  const words = isStopping.value ? 'Stopping…' : 'Stop';
  return html`<span class="contents" ref=${both}>${
    view.queue.length > 0 &&
    html`<button type="button" class="stop-all quiet" data-testid="stop-all" disabled=${!view.turnId}
      title="Stops the answer and takes the waiting messages back into the text" onClick=${then(stopEverything)}>Stop everything</button>`
  }
  <button type="button" class="stop" data-testid="stop" title="Stop (Escape)" aria-label=${words}
    disabled=${!view.turnId || isStopping.value} onClick=${then(stop)}><${Icon} name="stop" /></button></span>`;
}

function fitHeight(area) {
  area.style.height = 'auto';
  area.style.height = `${area.scrollHeight}px`;
}
