// The queued messages, in the order of delivery. They are moved by dragging, by buttons, or with Alt+↑ and Alt+↓.

import { useRef, useState } from '../vendor/preact-hooks.js';
import { openId } from '../chat.js';
import { useFocusLeft } from '../focus.js';
import { notice } from '../notice.js';
import { deleteQueued, editQueued, moveQueued, promoteQueued } from '../turn_commands.js';
import { unsentText } from '../unsent.js';
import { dropTarget, moveTarget, partOfQueue, textOf } from '../view.js';
import { Editor, withText } from './editor.js';
import { IconButton, html } from './html.js';

/** What a message does, by the part of the queue that it is in. */
const PART_WORDS = ['Joins this answer', 'Goes next', 'Waits'];

export function Queue({ queue }) {
  const [dragged, setDragged] = useState(0);
  if (!queue.length) return null;
  return html`<section class="queue" data-testid="queue" aria-label="Waiting messages">
    <h2>${queue.length === 1 ? '1 waiting message' : `${queue.length} waiting messages`}</h2>
    <ol>${queue.map((item) => html`<${Item} key=${item.id} item=${item} queue=${queue} dragged=${dragged} setDragged=${setDragged} />`)}</ol>
  </section>`;
}

function Item({ item, queue, dragged, setDragged }) {
  const [isEditing, setEditing] = useState(false);
  const chatId = openId.peek();
  const keepText = (typed) => returnToComposer(chatId, typed);
  const row = useRef(null);
  const text = textOf(item.content);
  useFocusLeft(row, '.queue [aria-label="Delete"]', '#composer-text');
  if (isEditing) {
    const save = (changed) => editQueued(item.id, withText(item.content, changed));
    return html`<li data-id=${item.id} ref=${row}><${Editor} text=${text} yes="Save" onSave=${save}
      onClose=${() => setEditing(false)} onLost=${keepText} /></li>`;
  }
  const part = partOfQueue(item);
  const target = dragged && dropTarget(queue, dragged, item.id);
  const onKeyDown = (event) => onMoveKey(event, queue, item, row.current);
  const onDrop = (event) => {
    event.preventDefault();
    setDragged(0);
    if (target) moveQueued(dragged, target.before);
  };
  return html`<li data-id=${item.id} ref=${row} draggable="true" onKeyDown=${onKeyDown} class=${target ? 'is-target' : ''}
    onDragStart=${(event) => (event.dataTransfer.setData('text/plain', text), setDragged(item.id))} onDragEnd=${() => setDragged(0)}
    onDragOver=${(event) => target && event.preventDefault()} onDrop=${onDrop}>
    <span class="tag">${PART_WORDS[part]}</span>
    <span class="queued-text" dir="auto">${text || filesWords(item.content)}</span>
    <${Actions} item=${item} queue=${queue} part=${part} onEdit=${() => setEditing(true)} />
  </li>`;
}

/** A message was sent while it was edited: what was typed is not lost. */
function returnToComposer(chatId, typed) {
  const unsent = unsentText(chatId);
  unsent.value = [typed, unsent.peek()].filter(Boolean).join('\n\n');
  notice.value = 'The message was sent before the change was saved. What you have typed is in the message box.';
}

function Actions({ item, queue, part, onEdit }) {
  const [up, down] = [moveTarget(queue, item.id, -1), moveTarget(queue, item.id, 1)];
  return html`<span class="row">
    <${IconButton} name="now" label="Send now" disabled=${part === 1} onClick=${() => promoteQueued(item.id)} />
    <${IconButton} name="up" label="Move up" disabled=${up === undefined} onClick=${() => moveQueued(item.id, up)} />
    <${IconButton} name="down" label="Move down" disabled=${down === undefined}
      onClick=${() => moveQueued(item.id, down)} />
    <${IconButton} name="pencil" label="Edit" onClick=${onEdit} />
    <${IconButton} name="trash" label="Delete" onClick=${() => deleteQueued(item.id)} />
  </span>`;
}

function onMoveKey(event, queue, item, row) {
  if (!event.altKey || !['ArrowUp', 'ArrowDown'].includes(event.key)) return;
  event.preventDefault();
  event.stopPropagation(); // outside of the queue these keys go to the next chat
  const before = moveTarget(queue, item.id, event.key === 'ArrowUp' ? -1 : 1);
  if (before === undefined) return;
  const label = document.activeElement.getAttribute('aria-label');
  // the row that had the focus keeps it: a button that is disabled at the end gives it to the next one
  moveQueued(item.id, before).then(() =>
    requestAnimationFrame(() =>
      (row?.querySelector(`[aria-label="${label}"]:enabled`) ?? row?.querySelector('button:enabled'))?.focus(),
    ),
  );
}

function filesWords(content) {
  const count = Array.isArray(content) ? content.filter((part) => part.type !== 'text').length : 0;
  return count === 1 ? '1 file' : `${count} files`;
}
