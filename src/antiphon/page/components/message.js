// One message: its parts, its tags and its actions.

import { Component } from '../vendor/preact.js';
import { useEffect, useState } from '../vendor/preact-hooks.js';
import { editMessage, retry } from '../chat.js';
import { titleOf } from '../chats.js';
import { childrenOf, loadChildren } from '../children.js';
import { isSafeLink } from '../markdown.js';
import { hrefOf } from '../route.js';
import { textOf } from '../view.js';
import { Editor, withText } from './editor.js';
import { InlineFile, StoredFile } from './file.js';
import { IconButton, html } from './html.js';
import { Markdown } from './markdown.js';
import { OpenCall } from './open_call.js';

const JSON_CHARS_MAX = 20_000;

// Why a model's answer ended early.
const OUTCOMES = {
  length: 'Cut off at the token limit',
  refusal: 'Refused by the model',
  content_filter: 'Stopped by the content filter',
  empty: 'Empty answer',
};

/** `message`, or `isPreview` and the draft's `parts`; `live`: its running tool calls. Rendered again only when one of
 *  these changes. */
export class Message extends Component {
  shouldComponentUpdate(next) {
    return Object.keys({ ...this.props, ...next }).some((key) => next[key] !== this.props[key]);
  }

  render({ message, isPreview, parts, live, canRetry }) {
    if (isPreview) return html`<${Answer} isPreview parts=${parts} />`;
    if (message.role === 'user') return html`<${Question} message=${message} />`;
    if (message.role === 'assistant') {
      return html`<${Answer} message=${message} parts=${message.content ?? []} live=${live} canRetry=${canRetry} />`;
    }
    return html`<article class="message ${message.role}" ...${names(message)}>
      ${(message.content ?? []).map((part) => html`<${Part} part=${part} />`)}
    </article>`;
  }
}

const names = (message) => ({ 'data-testid': 'message', 'data-role': message.role, 'data-id': message.id });

function Question({ message }) {
  const [isEditing, setEditing] = useState(false);
  const text = textOf(message.content);
  const others = (message.content ?? []).filter((part) => part.type !== 'text');
  const save = (changed) => editMessage(message.id, withText(message.content, changed));
  return html`<article class="message user" aria-label="You" ...${names(message)}>
    ${
      isEditing
        ? html`<${Editor} text=${text} yes="Send again" hint="What follows it is replaced." onSave=${save}
          onClose=${() => setEditing(false)} />`
        : html`<div class="line">
            <div class="actions"><${IconButton} name="pencil" label="Edit" onClick=${() => setEditing(true)} /></div>
            <div class="bubble" dir="auto">${text}</div>
          </div>
          ${others.map((part) => html`<${Part} part=${part} />`)}`
    }
  </article>`;
}

function Answer({ message, parts, isPreview = false, live, canRetry }) {
  const marks = isPreview
    ? { 'data-testid': 'preview', 'data-role': 'assistant', 'aria-busy': 'true' }
    : names(message);
  return html`<article class="message assistant" aria-label="Answer" ...${marks}>
    ${parts.map(
      (part, index) => html`<${Part} key=${index} part=${part} live=${live}
      isGrowing=${isPreview && index === parts.length - 1} />`,
    )}
    ${message?.dropped?.map((call) => html`<p class="meta">The unfinished call of ${call.tool_name} was dropped.</p>`)}
    ${message?.interrupted && html`<p class="meta"><span class="tag" data-testid="interrupted">Interrupted</span></p>`}
    ${message?.outcome && html`<p class="meta"><span class="tag" data-testid="outcome">${OUTCOMES[message.outcome] ?? message.outcome}</span></p>`}
    ${
      canRetry &&
      html`<div class="actions">
        <${IconButton} name="retry" label="Try again" onClick=${() => retry(message.turn_id)} />
      </div>`
    }
  </article>`;
}

// --- parts ------------------------------------------------------------------------------------------

function Part({ part, live, isGrowing }) {
  switch (part.type) {
    case 'text':
      return html`<${Markdown} text=${part.text} isGrowing=${isGrowing} />`;
    case 'reasoning':
      return html`<details class="fold" data-testid="reasoning">
        <summary>${isGrowing ? 'Thinking…' : 'Thoughts'}</summary>
        <${Markdown} text=${part.text} isGrowing=${isGrowing} />
      </details>`;
    case 'tool-call':
      return html`<${Call} part=${part} live=${live} isGrowing=${isGrowing} />`;
    case 'tool-result':
      return html`<details class="fold tool ${part.is_error ? 'is-error' : ''}" data-testid="tool-result">
        <summary>${part.is_error ? 'Error' : 'Result'} of <code>${part.tool_name}</code>
          <${Glimpse} value=${part.result} /></summary>
        <pre tabindex="0">${pretty(part.result)}</pre>
      </details>`;
    case 'source':
      return html`<p class="meta">Source: <${SourceLink} part=${part} /></p>`;
    case 'file':
      return html`<${InlineFile} part=${part} />`;
    case 'data':
      return html`<details class="fold" data-testid="data" open>
        <summary>${part.name || 'Data'}</summary>
        <pre tabindex="0">${pretty(part.data)}</pre></details>`;
    case 'file-reference':
      if (part.file_id && !part.content) return html`<${StoredFile} part=${part} />`;
      return html`<details class="fold">
        <summary>${part.file_name}, lines ${part.start_line} to ${part.end_line}</summary>
        <pre tabindex="0">${part.content}</pre></details>`;
    default:
      return html`<p class="meta">Unknown part: ${part.type}</p>`;
  }
}

function Call({ part, live, isGrowing }) {
  const isRunning = live?.ids.has(part.tool_call_id);
  const asked = isRunning && live.isAsked ? openCallOf(part, live.action) : null;
  const state = asked ? 'waits' : isGrowing ? 'writing' : isRunning ? 'running' : '';
  const progress = isRunning ? live.progress[part.tool_call_id] : '';
  const args = part.args_text ?? part.args;
  return html`<div>
    <details class="fold tool" data-testid="tool-call" data-state=${state}>
      <summary>Call of <code>${part.tool_name}</code> <${Glimpse} value=${args} />
        ${state && html` <span class="tag">${state}</span>`}</summary>
      <pre tabindex="0">${pretty(args)}</pre>
    </details>
    <${Children} callId=${part.tool_call_id} />
    ${progress && html`<pre class="progress">${progress}</pre>`}
    ${asked && html`<${OpenCall} call=${asked} args=${part.args} />`}
  </div>`;
}

/** Links to the child chats that a call has started. */
function Children({ callId }) {
  useEffect(() => {
    loadChildren();
  }, []);
  const children = childrenOf(callId);
  if (!children.length) return null;
  return html`<ul class="children" data-testid="children">
    ${children.map(
      (chat) => html`<li key=${chat.id}><a href=${hrefOf(chat.id)} dir="auto">${titleOf(chat)}</a>
        <span class="tag">${CHILD_STATES[chat.status] ?? 'ended'}</span></li>`,
    )}
  </ul>`;
}

const CHILD_STATES = { running: 'running', interrupting: 'stopping', requires_action: 'waits for you', error: 'failed' };

// After a resync from an older server it is unknown what an open call needs; approval is then offered, and refused if
// the call does not need it.
function openCallOf(part, action) {
  if (!action) return { tool_call_id: part.tool_call_id, needs: 'approval' };
  return action.calls.find((call) => call.tool_call_id === part.tool_call_id) ?? null;
}

function SourceLink({ part }) {
  const words = part.title || part.url;
  if (!isSafeLink(part.url)) return words;
  return html`<a href=${part.url} rel="noopener noreferrer" target="_blank">${words}</a>`;
}

const Glimpse = ({ value }) => html`<span class="glimpse">${compact(value)}</span>`;

const compact = (value) => (typeof value === 'string' ? value : (JSON.stringify(value) ?? '')).slice(0, 120);

function pretty(value) {
  let shown = value;
  if (typeof value === 'string') {
    try {
      shown = JSON.parse(value);
    } catch {
      shown = value; // text, or JSON that is still being written
    }
  }
  const text = typeof shown === 'string' ? shown : (JSON.stringify(shown, null, 2) ?? '');
  return text.length > JSON_CHARS_MAX ? `${text.slice(0, JSON_CHARS_MAX)}\n… (${text.length} characters)` : text;
}
