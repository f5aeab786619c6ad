// The messages, the draft below them, and what the chat is waiting for.

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from '../vendor/preact-hooks.js';
import { areEarlier, areLater, isAtEnd, loadEarlier, loadLater, loading, messages, showEnd } from '../chat.js';
import { editedId } from '../editing.js';
import { giveUp } from '../outbox.js';
import { keyOf, rowsOf } from '../rows.js';
import { shownVersion } from '../versions.js';
import { isBusy, noticeWords, runningCalls } from '../view.js';
import { PendingFiles } from './attachments.js';
import { Icon, IconButton, html } from './html.js';
import { Message } from './message.js';
import { Slot, Spacer, useViewport } from './viewport.js';
import { VersionLine } from './versions.js';
import { Announcer, Failure, Unanswered, Waiting, isUnanswered } from './waiting.js';

const LOAD_AHEAD_PX = 1500; // earlier and later messages are loaded at this distance before they are reached

export function Transcript({ view, pending }) {
  const rows = useRows(useShownMessages());
  const keys = useMemo(() => rows.map((row) => row.key), [rows]);
  const [isStuck, setStuck] = useState(true);
  const onScrolled = (place) => {
    setStuck((isAtEnd.value = place.isStuck));
    if (place.top_px < LOAD_AHEAD_PX && !place.isStuck && areEarlier.peek() && !hasFailed.current) load(loadEarlier);
    if (place.bottom_px < LOAD_AHEAD_PX && areLater.peek() && !hasFailed.current) load(loadLater);
  };
  const isEnd = !areLater.value && !shownVersion.value;
  const hasFailed = useRef(false); // then only the button loads: a lost connection is not asked at every scrolling
  const load = async (some) => (hasFailed.current = !(await some()));
  const { scroller, port, spans } = useViewport({ keys, hasLater: areLater.value, onScrolled });
  useToEndWhenSent(port, pending.length);
  useEffect(() => {
    const row = rows.find((each) => each.message.id === editedId.value);
    if (row && !port.find(row.key)) port.toRow(row.key);
  }, [editedId.value]);
  const toEnd = () => {
    showEnd();
    setStuck((isAtEnd.value = true));
    port.toEnd();
  };
  return html`<div class="transcript-frame">
    <div class="transcript" ref=${scroller} onScroll=${() => port.scrolled()} tabindex="0" data-testid="transcript"
      role="log" aria-label="Messages" aria-live="off" aria-busy=${!view?.isCaughtUp}>
      <div class="column">
        ${areEarlier.value && html`<${More} kind="earlier" onClick=${() => (port.unstick(), load(loadEarlier))} />`}
        <${Rows} view=${view} rows=${rows} spans=${spans} port=${port} isEnd=${isEnd} />
        ${areLater.value && html`<${More} kind="later" onClick=${() => load(loadLater)} />`}
        ${isEnd && html`<${End} view=${view} pending=${pending} />`}
      </div>
    </div>
    <${VersionLine} />
    <${Jumps} view=${view} rows=${rows} port=${port} isAway=${!isStuck || areLater.value} toEnd=${toEnd} />
    <${Announcer} view=${view} />
  </div>`;
}

/** The messages of the chat, or of the version that is shown: then what replaced it is not. */
function useShownMessages() {
  const shown = shownVersion.value;
  const list = messages.value;
  return useMemo(() => {
    if (!shown) return list;
    return [...list.filter((message) => message.id <= (shown.version.after_message_id ?? 0)), ...shown.messages];
  }, [shown, list]);
}

function useRows(list) {
  const held = useRef(new Map());
  return useMemo(() => {
    const rows = rowsOf(list, held.current);
    held.current = new Map(rows.map((row) => [row.key, row]));
    return rows;
  }, [list]);
}

/** Shows the message that was just sent. */
function useToEndWhenSent(port, count) {
  const before = useRef(0);
  useLayoutEffect(() => {
    if (count > before.current) {
      shownVersion.value = null;
      showEnd();
      port.toEnd();
    }
    before.current = count;
  }, [count]);
}

const More = ({
  kind,
  onClick,
}) => html`<button type="button" class="quiet earlier" data-kind=${kind} disabled=${loading.value !== ''}
  onClick=${onClick}>${loading.value ? 'Loading…' : `Show ${kind}`}</button>`;

// --- messages ---------------------------------------------------------------------------------------

// The draft has the key of the message that replaces it, so the answer replaces its preview without a new rendering.
function Rows({ view, rows, spans, port, isEnd }) {
  const byKey = useMemo(() => new Map(rows.map((row) => [row.key, row])), [rows]);
  if (!view) return null;
  const draft = isEnd && draftRow(view.preview);
  const live = useLive(view);
  const lastAnswer = rows.findLast((row) => row.kind === 'assistant');
  const isIdle = !isBusy(view);
  const place = shownVersion.value ? (shownVersion.value.version.after_message_id ?? 0) : undefined;
  const shown = spans.map(({ key, height_px }) => {
    if (height_px !== undefined) return html`<${Spacer} key=${key} height_px=${height_px} />`;
    const row = byKey.get(key);
    const isLast = row === rows.at(-1);
    const isReadOnly = place !== undefined && row.message.id > place;
    const hasFoot = row.isTurnEnd && (isReadOnly || isIdle || row.message.turn_id !== view.turnId);
    return html`<${Slot} key=${key} id=${key} port=${port}>
      <${Message} row=${row} live=${row === lastAnswer ? live : null} hasFoot=${hasFoot} isReadOnly=${isReadOnly}
        canRetry=${hasFoot && isIdle && !shownVersion.value ? (isLast ? 'last' : 'earlier') : ''} />
    </${Slot}>`;
  });
  if (draft)
    shown.push(html`<${Slot} key=${draft.key} id=${draft.key} port=${port}><${Message} row=${draft} /></${Slot}>`);
  return shown;
}

function draftRow({ draft, parts }) {
  const content = parts.filter(Boolean);
  const message = { role: 'assistant', draft, content };
  return (
    content.length > 0 && { key: keyOf(message), kind: 'assistant', message, messages: [message], isPreview: true }
  );
}

/** The running calls of the last answer; null: none. */
function useLive(view) {
  const running = isBusy(view) ? runningCalls(view) : [];
  if (!running.length) return null;
  return {
    ids: new Set(running.map((call) => call.tool_call_id)),
    progress: view.preview.progress,
    action: view.action,
    isAsked: view.status === 'requires_action',
  };
}

function End({ view, pending }) {
  return html`
    ${!view && !pending.length && html`<p class="empty">Loading…</p>`}
    ${pending.map((item) => html`<${Pending} key=${item.id} item=${item} />`)}
    ${view && html`<${Waiting} view=${view} />`}
    ${view?.notice && html`<p class="waiting" data-testid="notice">${noticeWords(view.notice)}</p>`}
    ${view && isUnanswered(view) && html`<${Unanswered} turnId=${view.lastTurnId} />`}
    ${view?.lastError && html`<${Failure} error=${view.lastError} turnId=${view.lastTurnId} />`}
  `;
}

function Pending({ item }) {
  return html`<article class="message user pending" data-testid="pending">
    ${item.text && html`<div class="bubble" dir="auto">${item.text}</div>`}
    <${PendingFiles} files=${item.files} />
    <p class="meta">
      ${item.problem && html`<span class="problem">${item.problem} Trying again…</span>`}
      ${!item.problem && (item.seq ? 'Sent' : 'Sending…')}
      ${item.problem && html` <button type="button" class="quiet" onClick=${() => giveUp(item)}>Take back</button>`}
    </p>
  </article>`;
}

// --- jumps ------------------------------------------------------------------------------------------

/** The buttons over the transcript: to the question before, and to the end. */
function Jumps({ view, rows, port, isAway, toEnd }) {
  const newest = `${view?.messages.at(-1)?.id} ${view?.preview.draft}`;
  const seen = useRef(newest);
  useEffect(() => {
    if (!isAway) seen.current = newest;
  });
  const isNew = isAway && seen.current !== newest;
  const toQuestion = () => {
    const at = rows.findIndex((row) => row.key === port.anchor?.key);
    const above = rows.slice(0, at < 0 || port.isStuck ? rows.length : at + (port.anchor.offset_px < -4 ? 1 : 0));
    const question = above.findLast((row) => row.kind === 'user');
    if (question) port.toRow(question.key);
  };
  const hasQuestion = port.hasOverflow && rows.some((row) => row.kind === 'user');
  return html`<div class="jumps">
    ${hasQuestion && html`<${IconButton} name="up" label="To the last question" class="jump" onClick=${toQuestion} />`}
    ${
      isAway &&
      html`<button type="button" class="jump to-bottom" onClick=${toEnd} aria-label=${isNew ? 'New below' : 'Latest'}>
      <${Icon} name="down" /> ${isNew ? 'New below' : 'Latest'}
    </button>`
    }
  </div>`;
}
