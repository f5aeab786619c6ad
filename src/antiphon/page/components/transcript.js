// The messages, the draft below them, and what the chat is waiting for.

import { useEffect, useLayoutEffect, useRef, useState } from '../vendor/preact-hooks.js';
import { isLoadingEarlier, loadEarlier, retry } from '../chat.js';
import { giveUp } from '../outbox.js';
import { isBusy, noticeWords, runningCalls, textOf, waitingWords } from '../view.js';
import { Icon, html } from './html.js';
import { Message } from './message.js';

const BOTTOM_PX = 24; // maximum distance that counts as at the bottom
const ANNOUNCED_CHARS_MAX = 600;

export function Transcript({ view, pending }) {
  const { scroller, isAway, onScroll, toBottom, unstick } = useStickyBottom(view?.messages[0]?.id, pending.length);
  const onEarlier = () => {
    unstick(); // keep the earlier messages in view, even if the bottom is visible
    loadEarlier();
  };
  return html`<div class="transcript-frame">
    <div class="transcript" ref=${scroller} onScroll=${onScroll} tabindex="0" data-testid="transcript"
      role="log" aria-label="Messages" aria-live="off" aria-busy=${!view?.isCaughtUp}>
      <div class="column">
        ${
          view?.hasMore &&
          html`<button type="button" class="quiet earlier" disabled=${isLoadingEarlier.value} onClick=${onEarlier}>
          ${isLoadingEarlier.value ? 'Loading…' : 'Show earlier'}
        </button>`
        }
        ${view ? html`<${Messages} view=${view} />` : !pending.length && html`<p class="empty">Loading…</p>`}
        ${pending.map((item) => html`<${Pending} key=${item.id} item=${item} />`)}
        ${view && html`<${Waiting} view=${view} />`}
        ${view?.notice && html`<p class="waiting" data-testid="notice">${noticeWords(view.notice)}</p>`}
        ${view && isUnanswered(view) && html`<${Unanswered} turnId=${view.lastTurnId} />`}
        ${view?.lastError && html`<${Failure} error=${view.lastError} turnId=${view.lastTurnId} />`}
      </div>
    </div>
    ${isAway && html`<button type="button" class="to-bottom" onClick=${toBottom}>
      <${Icon} name="down" /> Latest
    </button>`}
    <${Announcer} view=${view} />
  </div>`;
}

// --- messages ---------------------------------------------------------------------------------------

// The draft and the message that replaces it have the same key, so the answer replaces its preview without a new
// rendering, and expanded parts stay expanded.
function Messages({ view }) {
  const running = isBusy(view) ? runningCalls(view) : [];
  const live = running.length
    ? {
        ids: new Set(running.map((call) => call.tool_call_id)),
        progress: view.preview.progress,
        action: view.action,
        isAsked: view.status === 'requires_action',
      }
    : null;
  const last = view.messages.at(-1);
  const canRetry = last?.role === 'assistant' && !isBusy(view);
  const lastAnswer = view.messages.findLast((message) => message.role === 'assistant');
  const shown = view.messages.map(
    (message) => html`<${Message} key=${keyOf(message)} message=${message}
    live=${message === lastAnswer ? live : null} canRetry=${canRetry && message === last} />`,
  );
  const parts = view.preview.parts.filter(Boolean);
  if (parts.length) shown.push(html`<${Message} key=${`d${view.preview.draft}`} isPreview parts=${parts} />`);
  return shown;
}

const keyOf = (message) => (message.draft ? `d${message.draft}` : `m${message.id}`);

function Pending({ item }) {
  return html`<article class="message user pending" data-testid="pending">
    <div class="bubble" dir="auto">${item.text}</div>
    <p class="meta">
      ${item.problem && html`<span class="problem">${item.problem} Trying again…</span>`}
      ${!item.problem && (item.seq ? 'Sent' : 'Sending…')}
      ${item.problem && html` <button type="button" class="quiet" onClick=${() => giveUp(item)}>Take back</button>`}
    </p>
  </article>`;
}

// --- waiting ----------------------------------------------------------------------------------------

function Waiting({ view }) {
  const left_s = useCountdown(view.retry);
  const words = waitingWords(view, left_s);
  return (
    words &&
    html`<p class="waiting" data-testid="waiting" data-status=${view.status}>
    <span class="pulse" aria-hidden="true"></span>${words}
  </p>`
  );
}

/** Seconds until a scheduled retry, at most its delay: the server's clock may differ from the browser's. */
function useCountdown(scheduled) {
  const [left_s, setLeft] = useState(0);
  useEffect(() => {
    if (!scheduled) return undefined;
    const until = Math.min(Date.parse(scheduled.retrying_at) || Infinity, Date.now() + scheduled.delay_ms);
    const tick = () => setLeft(Math.max(0, (until - Date.now()) / 1000));
    tick();
    const timer = setInterval(tick, 500);
    return () => clearInterval(timer);
  }, [scheduled]);
  return scheduled ? left_s : 0;
}

// A turn that was interrupted before its first token has no answer.
const isUnanswered = (view) => view.status === 'waiting' && view.messages.at(-1)?.role === 'user';

const Unanswered = ({ turnId }) => html`<p class="waiting">
  There is no answer.
  <button type="button" class="quiet" onClick=${() => retry(turnId)}><${Icon} name="retry" /> Try again</button>
</p>`;

const Failure = ({ error, turnId }) => html`<div class="failure" role="alert" data-testid="error">
  <p><strong>The answer failed.</strong> ${error.message}</p>
  <button type="button" onClick=${() => retry(turnId)}><${Icon} name="retry" /> Try again</button>
</div>`;

// Announces the start and the text of each answer to a screen reader, once, and not each streamed token (the log is
// aria-live=off). The failure above has its own alert.
function Announcer({ view }) {
  const newest = useRef(undefined);
  const [words, setWords] = useState('');
  const last = view?.messages.at(-1);
  useEffect(() => {
    if (!view?.isCaughtUp) return;
    const isNew = newest.current !== undefined && newest.current !== last?.id;
    newest.current = last?.id ?? 0;
    if (!isNew || !last) return;
    if (last.role === 'assistant') setWords(`Answer: ${textOf(last.content).slice(0, ANNOUNCED_CHARS_MAX)}`);
    else if (last.role === 'user') setWords('Answering…');
  }, [last?.id, view?.isCaughtUp]);
  return html`<div class="hidden" role="status" aria-live="polite">${words}</div>`;
}

// --- scrolling --------------------------------------------------------------------------------------

/** Keeps the bottom visible while the reader is at the bottom, and the position when earlier messages are added. */
function useStickyBottom(firstId, pendingCount) {
  const scroller = useRef(null);
  const at = useRef({ isStuck: true, firstId, pendingCount: 0, height: 0 });
  const [isAway, setAway] = useState(false);

  const toBottom = () => {
    at.current.isStuck = true;
    setAway(false);
    scroller.current.scrollTop = scroller.current.scrollHeight;
  };
  const unstick = () => (at.current.isStuck = false);
  const onScroll = () => {
    const { scrollHeight, scrollTop, clientHeight } = scroller.current;
    at.current.isStuck = scrollHeight - scrollTop - clientHeight < BOTTOM_PX;
    setAway(!at.current.isStuck);
  };

  useLayoutEffect(() => {
    const element = scroller.current;
    const was = at.current;
    const isEarlierAdded = was.firstId !== undefined && firstId < was.firstId;
    if (pendingCount > was.pendingCount)
      toBottom(); // show the message that was just sent
    else if (was.isStuck) element.scrollTop = element.scrollHeight;
    else if (isEarlierAdded) element.scrollTop += element.scrollHeight - was.height;
    Object.assign(was, { firstId, pendingCount, height: element.scrollHeight });
  });
  useLayoutEffect(() => {
    // also when the content grows without a rendering: an image has no height until it is decoded
    const observer = new ResizeObserver(() => at.current.isStuck && toBottom());
    observer.observe(scroller.current);
    observer.observe(scroller.current.firstElementChild);
    return () => observer.disconnect();
  }, []);
  return { scroller, isAway, onScroll, toBottom, unstick };
}
