// What is added to the sanitised HTML of a block: frames around code in lists and quotes, scrolling of tables, formulas,
// and references to footnotes that jump there.

import { renderMath } from '../math.js';
import { headWords } from './code.js';
import { copyText } from './copy.js';

const COPIED_MS = 1500;

export function decorate(block, notes) {
  for (const code of block.querySelectorAll('pre')) frameCode(code);
  for (const table of block.querySelectorAll('table')) frameTable(table);
  for (const reference of block.querySelectorAll('sup.note-reference')) linkNote(reference, notes);
  renderMath(block);
}

const make = (tag, className, fields = {}) => Object.assign(document.createElement(tag), { className, ...fields });

function frameCode(code) {
  const language = code.title;
  code.removeAttribute('title');
  const frame = make('div', 'code');
  const head = make('div', 'code-head');
  const button = make('button', 'quiet copy', { type: 'button', textContent: 'Copy' });
  button.addEventListener('click', async () => {
    await copyText(code.textContent.replace(/\n$/, ''));
    button.textContent = 'Copied';
    setTimeout(() => (button.textContent = 'Copy'), COPIED_MS);
  });
  head.append(make('span', '', { textContent: headWords(language) }), button);
  const text = make('div', 'code-text', { tabIndex: 0, role: 'region', ariaLabel: 'Code' });
  code.replaceWith(frame);
  text.append(code);
  frame.append(head, text);
}

function frameTable(table) {
  const frame = make('div', 'table-frame', { tabIndex: 0, role: 'region', ariaLabel: 'Table' });
  table.replaceWith(frame);
  frame.append(table);
}

/** A reference to a footnote that exists is a button with its number; another one is text, as it was written. */
function linkNote(reference, notes) {
  const id = reference.textContent;
  const number = notes.findIndex((note) => note.id === id) + 1;
  if (!number) return reference.replaceWith(`[^${id}]`);
  const button = make('button', 'note-reference', {
    type: 'button',
    textContent: number,
    title: notes[number - 1].text.slice(0, 300),
  });
  button.ariaLabel = `Footnote ${number}`;
  button.addEventListener('click', () => {
    const note = button.closest('.markdown')?.querySelector(`.notes [data-note="${CSS.escape(id)}"]`);
    note?.scrollIntoView({ block: 'center' });
    note?.focus({ preventScroll: true });
  });
  reference.replaceChildren(button);
}
