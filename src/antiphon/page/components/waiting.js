// What a chat is waiting for, why it failed, and the announcements for screen readers.

import { useEffect, useRef, useState } from '../vendor/preact-hooks.js';
import { retry } from '../turn_commands.js';
import { textOf, waitingWords } from '../view.js';
import { Icon, html } from './html.js';

const ANNOUNCED_CHARS_MAX = 600;

export function Waiting({ view }) {
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

/** A turn that was interrupted before its first token has no answer. */
export const isUnanswered = (view) => view.status === 'waiting' && view.messages.at(-1)?.role === 'user';

export const Unanswered = ({ turnId }) => html`<p class="waiting">
  There is no answer.
  <button type="button" class="quiet" onClick=${() => retry(turnId)}><${Icon} name="retry" /> Try again</button>
</p>`;

export const Failure = ({ error, turnId }) => html`<div class="failure" role="alert" data-testid="error">
  <p><strong>The answer failed.</strong> ${error.message}</p>
  <button type="button" onClick=${() => retry(turnId)}><${Icon} name="retry" /> Try again</button>
</div>`;

// Announces the start and the text of each answer to a screen reader, once, and not each streamed token (the log is
// aria-live=off). The failure above has its own alert.
export function Announcer({ view }) {
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
