// A tool call in one row: `add(1, 2) → 3  0.2 s`. Unfolded, it shows the arguments and the result.

import { useEffect } from '../vendor/preact-hooks.js';
import { resolvedCalls } from '../chat.js';
import { titleOf } from '../chats.js';
import { childrenOf, loadChildren } from '../children.js';
import { isOwnDecision } from '../turn_commands.js';
import { durationWords } from '../figures.js';
import { hrefOf } from '../route.js';
import { argsWords, errorWords, resultWords } from '../tool_words.js';
import { Fold } from './fold.js';
import { html } from './html.js';
import { Json } from './json.js';
import { lazy } from './lazy.js';
import { Part } from './part.js';

const PROGRESS_CHARS_MAX = 20_000;

/** `call` is one of rows.js; `live` has the running calls of its row, `isGrowing`: its arguments are being written. */
export function Call({ call, live, isGrowing }) {
  const { part, result, files } = call;
  const isRunning = !result && live?.ids.has(part.tool_call_id);
  const asked = isRunning && live.isAsked ? openCallOf(part, live.action) : null;
  const state = asked
    ? 'waits'
    : isGrowing
      ? 'writing'
      : isRunning
        ? 'running'
        : result?.is_error
          ? 'failed'
          : result
            ? 'done'
            : '';
  const progress = isRunning ? live.progress[part.tool_call_id] : '';
  return html`<div class="call-frame">
    <${Fold} id=${`c${part.tool_call_id}`} class="tool ${result?.is_error ? 'is-error' : ''}" data-testid="tool-call" data-state=${state}
      summary=${html`<${Line} call=${call} state=${state} />`} body=${() => html`<${Details} call=${call} />`} />
    <${Children} callId=${part.tool_call_id} />
    ${progress && html`<pre class="progress" data-testid="progress">${progress.slice(-PROGRESS_CHARS_MAX)}</pre>`}
    <${Decided} callId=${part.tool_call_id} />
    ${asked && html`<${Card} call=${asked} args=${part.args} deadline=${live.action?.deadline} />`}
    ${files.map((file) => html`<${Part} part=${file} />`)}
  </div>`;
}

/** The card for a call that waits; its module is loaded with the first one. */
const Card = lazy(() => import('./open_call.js'), 'OpenCall', { isQuiet: true });

const STATE_WORDS = { waits: 'waits for you', writing: 'being written', running: 'running', failed: 'failed' };

function Line({ call: { part, result, ms }, state }) {
  return html`<span class="call-line"><code class="tool-name">${part.tool_name}</code><span class="glimpse">(${argsWords(part.args_text ?? part.args)})</span>${
    result &&
    html`<span class="glimpse result"> → ${result.is_error ? errorWords(result.result) : resultWords(result.result)}</span>`
  }</span>
  ${STATE_WORDS[state] && html`<span class="tag">${STATE_WORDS[state]}</span>`}
  ${ms !== undefined && html`<span class="took" title="From the call to its result">${durationWords(ms)}</span>`}`;
}

const Details = ({ call: { part, result } }) => html`<div class="call-details">
  <${Json} label="Arguments" value=${part.args_text ?? part.args} />
  ${result?.is_error && html`<p class="problem">${errorWords(result.result)}</p>`}
  ${result && html`<${Json} label=${result.is_error ? 'Error' : 'Result'} value=${result.result} />`}
</div>`;

/** Several finished calls in one row. */
export function Calls({ calls }) {
  const failed = calls.filter((call) => call.result.is_error).length;
  const names = [...new Set(calls.map((call) => call.part.tool_name))].slice(0, 4).join(', ');
  return html`<${Fold} id=${`f${calls[0].key}`} class="tool calls" data-testid="tool-calls"
    summary=${html`<span class="call-line">${calls.length} tool calls <span class="glimpse">${names}</span></span>
      ${failed > 0 && html`<span class="tag problem">${failed} failed</span>`}`}
    body=${() => html`<div class="call-list">${calls.map((call) => html`<${Call} key=${call.key} call=${call} />`)}</div>`} />`;
}

const DECISIONS = { approved: 'Allowed', denied: 'Denied', result: 'Answered', expired: 'Not answered in time' };

/** Who has decided a call while the chat was open: this window, or another one. */
function Decided({ callId }) {
  const decision = resolvedCalls.value[callId];
  if (!decision) return null;
  const words = DECISIONS[decision.outcome] ?? 'Decided';
  const where = decision.outcome === 'expired' || isOwnDecision(callId) ? '' : ' in another window';
  return html`<p class="meta" data-testid="decided">${words}${where}${decision.always ? ', and always in this chat' : ''}.</p>`;
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

const CHILD_STATES = {
  running: 'running',
  interrupting: 'stopping',
  requires_action: 'waits for you',
  error: 'failed',
};

// After a resync from an older server it is unknown what an open call needs; approval is then offered, and refused if
// the call does not need it.
function openCallOf(part, action) {
  if (!action) return { tool_call_id: part.tool_call_id, needs: 'approval' };
  return action.calls.find((call) => call.tool_call_id === part.tool_call_id) ?? null;
}
