// A code block: its language, copy, and the code; long code is in chunks, of which only those around the viewport
// are rendered.

import { Component } from '../vendor/preact.js';
import { useMemo } from '../vendor/preact-hooks.js';
import { highlighted, highlighter, languageOf } from '../markdown.js';
import { CopyButton } from './copy.js';
import { Diagram } from './diagram.js';
import { Deferred } from './deferred.js';
import { html } from './html.js';

const LINE_PX = 20;
const CHUNKS_WHOLE_MAX = 3;

// Growing code is plain text: highlighting the whole code in each frame would be slow.
export function Code({ section, isOpen, isDeferred }) {
  const { chunks, info } = section;
  const language = languageOf(info);
  const text = () => chunks.join('').replace(/\n$/, '');
  const isLong = chunks.length > CHUNKS_WHOLE_MAX;
  if (language === 'mermaid' && !isOpen && !isLong) {
    return html`<${Diagram} text=${text()}><div class="code-text"><pre><code class="hljs">${text()}</code></pre></div><//>`;
  }
  return html`<div class="code" data-testid="code">
    <div class="code-head">
      <span>${headWords(language)}</span>
      <${CopyButton} text=${text} words />
    </div>
    <div class="code-text" tabindex="0" role="region" aria-label=${`Code${language ? ` in ${language}` : ''}`}>
      ${isLong ? chunks.map((chunk, index) => html`<${Chunk} key=${index} text=${chunk} isDeferred=${index < chunks.length - 1} />`) : html`<${Whole} text=${text()} language=${language} isOpen=${isOpen} isDeferred=${isDeferred} />`}
    </div>
  </div>`;
}

/** What is said of a code's language. */
export const headWords = (language) => language || 'text';

const heightOf = (text) => (text.split('\n').length + 1) * LINE_PX;

function Whole({ text, language, isOpen, isDeferred }) {
  const body = () => html`<${Colored} text=${text} language=${language} isOpen=${isOpen} />`;
  return html`<${Deferred} isDeferred=${isDeferred} estimate=${() => heightOf(text)} body=${body} />`;
}

function Colored({ text, language, isOpen }) {
  const colored = useMemo(() => !isOpen && highlighted(text, language), [text, language, isOpen, highlighter.value]);
  const inner = isOpen
    ? html`<code class="hljs" key="plain">${text}</code>`
    : html`<code class="hljs" key="done" dangerouslySetInnerHTML=${{ __html: colored }} />`;
  return html`<pre>${inner}</pre>`;
}

class Chunk extends Component {
  shouldComponentUpdate({ text, isDeferred }) {
    return text !== this.props.text || isDeferred !== this.props.isDeferred;
  }

  render({ text, isDeferred }) {
    return html`<${Deferred} isDeferred=${isDeferred} estimate=${() => heightOf(text)} body=${() => html`<pre><code class="hljs">${text}</code></pre>`} />`;
  }
}
