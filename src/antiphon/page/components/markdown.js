// A text in Markdown. Unchanged blocks are not rendered again, so a growing answer renders only its last block.

import { useLayoutEffect, useMemo, useRef, useState } from '../vendor/preact-hooks.js';
import { blockHtml, highlighted, highlighter, languageOf, makeSplitter } from '../markdown.js';
import { Icon, html } from './html.js';

export function Markdown({ text, isGrowing = false }) {
  const splitter = useRef(null);
  splitter.current ??= makeSplitter();
  const blocks = splitter.current(text);
  return html`<div class="markdown">
    ${blocks.map(({ token }, index) => {
      const isOpen = isGrowing && index === blocks.length - 1;
      return token && html`<${Block} key=${index} token=${token} isOpen=${isOpen} />`;
    })}
  </div>`;
}

function Block({ token, isOpen }) {
  if (token.type === 'plain') return html`<div class="plain" dir="auto">${token.text}</div>`;
  if (token.type === 'code')
    return html`<${Code} code=${token.text} language=${languageOf(token.lang)} isOpen=${isOpen} />`;
  return html`<${Rendered} __html=${blockHtml(token)} />`;
}

function Rendered({ __html }) {
  const block = useRef(null);
  useLayoutEffect(() => addCopyButtons(block.current), [__html]);
  return html`<div class="block" dir="auto" ref=${block} dangerouslySetInnerHTML=${{ __html }} />`;
}

/** Code inside lists and quotes is part of a block's HTML: the copy buttons are added to the elements. */
function addCopyButtons(block) {
  for (const code of block.querySelectorAll('pre')) {
    const frame = Object.assign(document.createElement('div'), { className: 'inner-code' });
    const button = Object.assign(document.createElement('button'), { type: 'button', className: 'quiet' });
    button.textContent = 'Copy';
    button.addEventListener('click', async () => {
      await copyText(code.textContent.replace(/\n$/, ''));
      button.textContent = 'Copied';
      setTimeout(() => (button.textContent = 'Copy'), 1500);
    });
    code.replaceWith(frame);
    frame.append(button, code);
    Object.assign(code, { tabIndex: 0, ariaLabel: 'Code' });
  }
}

// Growing code is plain text: highlighting the whole code in each frame would be slow.
function Code({ code, language, isOpen }) {
  const [isCopied, setCopied] = useState(false);
  const copy = async () => {
    await copyText(code);
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  const colored = useMemo(() => !isOpen && highlighted(code, language), [code, language, isOpen, highlighter.value]);
  const inner = isOpen
    ? html`<code class="hljs" key="plain">${code}</code>`
    : html`<code class="hljs" key="done" dangerouslySetInnerHTML=${{ __html: colored }} />`;
  return html`<div class="code">
    <div class="code-head">
      <span>${language || 'text'}</span>
      <button type="button" class="quiet" onClick=${copy}>
        <${Icon} name="copy" /> ${isCopied ? 'Copied' : 'Copy'}
      </button>
    </div>
    <pre tabindex="0" aria-label="Code">${inner}</pre>
  </div>`;
}

/** Copies text; the clipboard API is missing on a page served over plain HTTP to another machine. */
async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = Object.assign(document.createElement('textarea'), { value: text });
  document.body.append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
}
