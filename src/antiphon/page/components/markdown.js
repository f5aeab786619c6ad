// A text in Markdown. Sections that did not change are not rendered again, and those outside of a margin around the viewport are empty
// boxes of their height: an answer of megabytes costs what is visible of it.

import { Component } from '../vendor/preact.js';
import { useEffect, useLayoutEffect, useReducer, useRef, useState } from '../vendor/preact-hooks.js';
import { blockHtml, blocksOf, highlighter } from '../markdown.js';
import { makeSplitter } from '../sections.js';
import { Code } from './code.js';
import { decorate } from './decorate.js';
import { html } from './html.js';
import { Deferred } from './deferred.js';

const SLICE_MS = 20; // splitting a long text for the first time takes several tasks
const WHOLE_SECTIONS_MAX = 6; // a text of fewer sections is shown whole

export function Markdown({ text, isGrowing = false }) {
  const splitter = useRef(null);
  splitter.current ??= makeSplitter();
  const [, goOn] = useReducer((count) => count + 1, 0);
  const { sections, links, notes, isDone } = splitter.current(text, {
    budget_ms: SLICE_MS,
    now: () => performance.now(),
  });
  useEffect(() => {
    if (isDone) return undefined;
    const timer = setTimeout(goOn, 0);
    return () => clearTimeout(timer);
  });
  if (!isDone && !isGrowing) return html`<${Unread} chars=${text.length} />`;
  const isLong = sections.length > WHOLE_SECTIONS_MAX;
  return html`<div class="markdown" aria-busy=${isDone ? undefined : 'true'}>
    ${sections.map((section, index) => {
      const isLast = index === sections.length - 1;
      return html`<${Section} key=${index} section=${section} links=${links} notes=${notes} isOpen=${isGrowing && isLast}
        isDeferred=${isLong && !isLast} />`;
    })}
    ${notes.length > 0 && html`<${Notes} notes=${notes} links=${links} />`}
  </div>`;
}

/** The place of a long text that is still being split. */
function Unread({ chars }) {
  const box = useRef(null);
  useLayoutEffect(() => {
    box.current.style.minHeight = `${Math.round(chars * CHAR_PX)}px`;
  }, []);
  return html`<div class="markdown" aria-busy="true" ref=${box}></div>`;
}

const CHAR_PX = 0.3; // the height of a section that was never shown, for each of its characters

class Section extends Component {
  shouldComponentUpdate(next) {
    return Object.keys(next).some((key) => next[key] !== this.props[key]);
  }

  render({ section, links, notes, isOpen, isDeferred }) {
    if (section.kind === 'code') return html`<${Code} section=${section} isOpen=${isOpen} isDeferred=${isDeferred} />`;
    const body = () => html`<${Blocks} text=${section.text} links=${links} notes=${notes} />`;
    return html`<${Deferred} isDeferred=${isDeferred} estimate=${() => section.text.length * CHAR_PX} body=${body} />`;
  }
}

function Blocks({ text, links, notes }) {
  highlighter.value; // the blocks are rendered again when it is loaded
  return blocksOf(text, links).map(
    (token, index) => html`<${Block} key=${index} __html=${blockHtml(token)} notes=${notes} />`,
  );
}

function Block({ __html, notes }) {
  const block = useRef(null);
  useLayoutEffect(() => decorate(block.current, notes), [__html, notes.length]);
  return html`<div class="block" dir="auto" ref=${block} dangerouslySetInnerHTML=${{ __html }} />`;
}

/** The footnotes, at the end of the text. */
function Notes({ notes, links }) {
  const [isAll, setAll] = useState(notes.length <= 50);
  const shown = isAll ? notes : notes.slice(0, 50);
  return html`<section class="notes" aria-label="Footnotes">
    <ol>${shown.map(
      (note) => html`<li key=${note.id} data-note=${note.id} tabindex="-1">
      <${Blocks} text=${note.text || '…'} links=${links} notes=${[]} />
    </li>`,
    )}</ol>
    ${!isAll && html`<button type="button" class="quiet" onClick=${() => setAll(true)}>Show all ${notes.length} footnotes</button>`}
  </section>`;
}
