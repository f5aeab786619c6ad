// The queued messages, in the order of delivery.

import { useState } from '../vendor/preact-hooks.js';
import { deleteQueued, editQueued, moveQueued, promoteQueued } from '../chat.js';
import { moveTarget, partOfQueue, textOf } from '../view.js';
import { Editor, withText } from './editor.js';
import { IconButton, html } from './html.js';

const PART_WORDS = ['steers', 'next', ''];

export function Queue({ queue }) {
  if (!queue.length) return null;
  return html`<section class="queue" data-testid="queue" aria-label="Waiting messages">
    <h2>${queue.length === 1 ? '1 queued message' : `${queue.length} queued messages`}</h2>
    <ol>${queue.map((item) => html`<${Item} key=${item.id} item=${item} queue=${queue} />`)}</ol>
  </section>`;
}

function Item({ item, queue }) {
  const [isEditing, setEditing] = useState(false);
  const [up, down] = [moveTarget(queue, item.id, -1), moveTarget(queue, item.id, 1)];
  const part = partOfQueue(item);
  if (isEditing) {
    const save = (text) => editQueued(item.id, withText(item.content, text));
    return html`<li data-id=${item.id}><${Editor} text=${textOf(item.content)} yes="Save" onSave=${save}
      onClose=${() => setEditing(false)} /></li>`;
  }
  return html`<li data-id=${item.id}>
    ${PART_WORDS[part] && html`<span class="tag">${PART_WORDS[part]}</span>`}
    <span class="queued-text">${textOf(item.content)}</span>
    <span class="row">
      <${IconButton} name="now" label="Send now" disabled=${part === 1} onClick=${() => promoteQueued(item.id)} />
      <${IconButton} name="up" label="Move up" disabled=${up === undefined} onClick=${() => moveQueued(item.id, up)} />
      <${IconButton} name="down" label="Move down" disabled=${down === undefined}
        onClick=${() => moveQueued(item.id, down)} />
      <${IconButton} name="pencil" label="Edit" onClick=${() => setEditing(true)} />
      <${IconButton} name="trash" label="Delete" onClick=${() => deleteQueued(item.id)} />
    </span>
  </li>`;
}
