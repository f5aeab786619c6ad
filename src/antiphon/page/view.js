// The view of a chat: the fold of its events (facts, deltas, resync, caught_up). Pure: no clock, no I/O.
//
// A view is immutable. `apply(view, event)` returns the next view, or the same view for an event that changes nothing
// (stale, unknown, ping), or GAP: events are missing, read again from the last cursor.

export const GAP = Symbol('gap');

const RESOLVED_MAX = 100; // decisions that are held

const IDLE = new Set(['waiting', 'error']);

export function emptyView() {
  return {
    chat: {},
    seq: 0,
    status: 'waiting',
    turnId: null,
    lastTurnId: null,
    lastError: null, // why the last turn failed: {message, kind?, retryable?}
    messages: [], // ascending by id
    hasMore: false, // earlier messages exist
    queue: [], // steering, then promoted, then other messages: the order of delivery
    preview: openDraft(0),
    // the holder of the turn: 'worker' | 'none' | 'lost' | 'released' | 'unknown' (after a resync)
    holder: 'unknown',
    retry: null, // the pending retry_scheduled
    notice: null, // the last report of another program: {kind: 'retry' | 'error', retry?, error?}; not in the store
    action: null, // {calls, deadline} that are waiting for people or clients
    resolved: {}, // by tool_call_id: {outcome, by, always} of the calls that were decided while the chat was open
    truncations: 0, // how often the history was cut while the chat was open: edits and retries
    isCaughtUp: false,
    isDeleted: false,
  };
}

function openDraft(draft) {
  return { draft, position: 0, parts: [], call: null, progress: {} };
}

export const isBusy = (view) => !IDLE.has(view.status);

export function apply(view, event) {
  if (event.type === 'resync') return fromResync(event);
  if (event.type === 'caught_up') return view.isCaughtUp ? view : { ...view, isCaughtUp: true };
  if (event.type === 'delta') return applyDelta(view, event);
  if (event.type === 'notice') return { ...view, notice: event };
  if (typeof event.seq === 'number') return applyFact(view, event);
  return view;
}

/** The view with at most `count` of its last messages: a chat that stays open does not keep all that it was sent. */
export function withLast(view, count) {
  if (view.messages.length <= count) return view;
  return { ...view, messages: view.messages.slice(-count), hasMore: true };
}

function fromResync({ chat, messages, has_more, queued_messages, open_draft }) {
  const preview = openDraft(open_draft?.draft ?? chat.draft);
  for (const { part_index, ...part } of open_draft?.parts ?? []) extend(preview, part_index, part, 0);
  preview.position = open_draft?.to ?? 0;
  return {
    ...emptyView(),
    chat,
    seq: chat.seq,
    status: chat.status,
    turnId: chat.turn_id ?? null,
    lastTurnId: messages.findLast((message) => message.turn_id)?.turn_id ?? null,
    lastError: chat.status === 'error' ? { message: chat.last_error || 'The last turn failed.' } : null,
    messages,
    hasMore: has_more,
    queue: sortedQueue(queued_messages ?? []),
    action: actionOf(chat),
    preview,
  };
}

/** The calls that a chat is waiting for: {calls, deadline}; null: none, or the server is older. */
const actionOf = ({ open_calls }) =>
  open_calls?.length ? { calls: open_calls, deadline: open_calls[0].deadline } : null;

// --- deltas -----------------------------------------------------------------------------------------

function applyDelta(view, { draft, from, to, part_index, part, arrived_ms }) {
  const { preview } = view;
  if (draft < preview.draft) return view;
  if (draft > preview.draft || from > preview.position) return GAP;
  if (to <= preview.position) return view;
  const next = { ...preview, position: to };
  extend(next, part_index, part, preview.position - from, arrived_ms);
  return { ...view, preview: next, retry: null };
}

/** Adds a delta's part to a new preview, in place. A tool call's arguments are appended to `args_text`. `arrived_ms` (when
 *  the delta was received) gives a reasoning part the times `began_ms` and `ended_ms`. */
function extend(preview, index, part, overlap, arrived_ms) {
  const held = preview.parts[index];
  const put = (value) => (preview.parts = Object.assign([...preview.parts], { [index]: value }));
  switch (part.type) {
    case 'call-started':
      preview.call = part;
      break;
    case 'text':
      put({ type: part.type, text: (held?.text ?? '') + dropCodePoints(part.text, overlap) });
      break;
    case 'reasoning':
      put({
        type: part.type,
        text: (held?.text ?? '') + dropCodePoints(part.text, overlap),
        ...thinkingTimes(held, arrived_ms),
      });
      break;
    case 'tool-call':
      put({ ...part, args_text: '' });
      break;
    case 'source':
    case 'file':
    case 'file-reference':
    case 'data':
      put(part);
      break;
    case 'tool-call-args':
      put({ ...held, args_text: (held?.args_text ?? '') + dropCodePoints(part.args_delta, overlap) });
      break;
    case 'tool-progress': {
      const said = preview.progress[part.tool_call_id] ?? '';
      preview.progress = { ...preview.progress, [part.tool_call_id]: said + part.text };
      break;
    }
    // a kind of a newer version: the position advances, nothing is shown
  }
}

// Of a part whose beginning was not received (it is in a resync) the duration is unknown.
function thinkingTimes(held, arrived_ms) {
  if (arrived_ms === undefined || (held && held.began_ms === undefined)) return {};
  return { began_ms: held?.began_ms ?? arrived_ms, ended_ms: arrived_ms };
}

/** `text` without its first `count` code points (a position counts code points, a string UTF-16 units). */
export function dropCodePoints(text, count) {
  let index = 0;
  for (let left = count; left > 0 && index < text.length; left--) {
    index += text.codePointAt(index) > 0xffff ? 2 : 1;
  }
  return text.slice(index);
}

// --- facts ------------------------------------------------------------------------------------------

function applyFact(view, fact) {
  if (fact.seq <= view.seq) return view;
  if (fact.seq > view.seq + 1 && fact.type !== 'chat_deleted') return GAP; // a deleted chat has only this fact
  const next = { ...view, ...(CHANGES[fact.type]?.(view, fact) ?? {}) };
  next.seq = fact.seq;
  next.notice = null;
  next.status = fact.status ?? view.status;
  next.chat = { ...next.chat, status: next.status, seq: fact.seq, queue_length: next.queue.length };
  if (fact.draft !== undefined && fact.draft !== view.preview.draft) {
    next.preview = openDraft(fact.draft);
    // the result of one call does not end the progress of those beside it
    if (fact.message?.role === 'tool') next.preview.progress = view.preview.progress;
    next.retry = fact.type === 'retry_scheduled' ? next.retry : null;
  }
  if (!isBusy(next)) Object.assign(next, { turnId: null, retry: null, holder: 'none' });
  if (next.status !== 'error') next.lastError = null;
  if (next.status !== 'requires_action') next.action = null;
  return next;
}

const CHANGES = {
  chat_created: (view, { title = '', model = '', parent }) => ({
    chat: { ...view.chat, title, model, parent_chat_id: parent?.chat_id },
  }),
  message_appended: messageAppended,
  message_queued: (view, { queued_message, when_busy }) => ({
    queue: sortedQueue([...view.queue, { when_busy, ...queued_message }]),
  }),
  queued_message_edited: (view, { queued_id, content }) => ({
    queue: view.queue.map((item) => (item.id === queued_id ? { ...item, content } : item)),
  }),
  queued_message_deleted: (view, { queued_id }) => ({ queue: without(view.queue, queued_id) }),
  queue_moved: (view, { queued_id, before }) => ({ queue: movedQueue(view.queue, queued_id, before) }),
  queued_message_promoted: (view, { queued_id }) => ({ queue: promotedQueue(view.queue, queued_id) }),
  history_truncated: (view, { from_message_id }) => ({
    messages: view.messages.filter((message) => message.id < from_message_id),
    truncations: view.truncations + 1,
  }),
  attempt_started: () => ({ holder: 'worker' }),
  attempt_released: () => ({ holder: 'released' }),
  attempt_lost: () => ({ holder: 'lost' }),
  retry_scheduled: (view, fact) => ({ retry: fact }),
  action_required: (view, { calls, deadline }) => ({ action: { calls, deadline }, holder: 'none' }),
  action_resolved: (view, { tool_call_id, outcome, by, always }) => ({
    action: withoutCall(view.action, tool_call_id),
    resolved: Object.fromEntries([
      ...Object.entries(view.resolved).slice(-RESOLVED_MAX),
      [tool_call_id, { outcome, by, always }],
    ]),
  }),
  turn_restarted: (view, { turn_id }) => ({ turnId: turn_id, lastTurnId: turn_id, holder: 'none' }),
  turn_ended: (view, { turn_id, outcome, error }) => ({
    turnId: null,
    lastTurnId: turn_id,
    holder: 'none',
    lastError: outcome === 'failed' ? asError(error) : null,
  }),
  title_changed: (view, { title }) => ({ chat: { ...view.chat, title } }),
  labels_changed: (view, { labels }) => ({ chat: { ...view.chat, labels } }),
  pin_changed: (view, { pin_order }) => ({ chat: { ...view.chat, pin_order } }),
  model_changed: (view, { model }) => ({ chat: { ...view.chat, model } }),
  mcp_servers_changed: (view, { mcp_server_ids }) => ({ chat: { ...view.chat, mcp_server_ids } }),
  archived: (view) => ({ chat: { ...view.chat, archived: true } }),
  unarchived: (view) => ({ chat: { ...view.chat, archived: false } }),
  chat_deleted: () => ({ ...emptyView(), isDeleted: true }),
};

function messageAppended(view, fact) {
  const { message, queued_id } = fact;
  const changes = queued_id ? { queue: without(view.queue, queued_id) } : {};
  if (message.role === 'user') {
    Object.assign(changes, { turnId: message.turn_id, lastTurnId: message.turn_id });
    if (message.turn_id === message.id) changes.holder = 'none';
  }
  if (fact.hidden_by) return changes; // a later fact removes it; it has no content
  changes.messages = [...view.messages, withSeen(message, fact, view.preview)];
  return changes;
}

/** The message with what only its stream says: the draft that it closes, the model that wrote it, how long it thought
 *  (by part, in milliseconds) and which of its calls waited for a person or client. */
function withSeen(message, { closes, calls }, preview) {
  if (!closes?.draft) return message;
  const seen = { draft: closes.draft };
  if (preview.draft === closes.draft && preview.call?.model) seen.model = preview.call.model;
  if (preview.draft === closes.draft && preview.parts.some((part) => part?.began_ms !== undefined)) {
    const thoughts = preview.parts.filter((part) => part?.type === 'reasoning');
    seen.thought_ms = thoughts.map((part) => part.ended_ms - part.began_ms);
  }
  const waited = calls?.filter((call) => call.needs !== 'server').map((call) => call.tool_call_id);
  if (waited?.length) seen.waited = waited;
  return { ...message, ...seen };
}

const asError = (error) => (error && typeof error === 'object' ? error : { message: error || 'The last turn failed.' });

function withoutCall(action, tool_call_id) {
  return action && { ...action, calls: action.calls.filter((call) => call.tool_call_id !== tool_call_id) };
}

// --- the queue --------------------------------------------------------------------------------------

const without = (queue, id) => queue.filter((item) => item.id !== id);

/** The part of the queue that a message is in: 0 steering, 1 promoted, 2 other. It can be moved only within its part. */
export function partOfQueue(item) {
  if (item.promoted || item.when_busy === 'interrupt') return 1;
  return item.when_busy === 'steer' ? 0 : 2;
}

// Array.prototype.sort is stable, so the order within a part is kept.
const sortedQueue = (queue) => [...queue].sort((a, b) => partOfQueue(a) - partOfQueue(b));

function promotedQueue(queue, id) {
  const item = queue.find((other) => other.id === id);
  if (!item || partOfQueue(item) === 1) return queue;
  return sortedQueue([...without(queue, id), { ...item, promoted: true }]);
}

function movedQueue(queue, id, before) {
  const item = queue.find((other) => other.id === id);
  if (!item) return queue;
  const rest = without(queue, id);
  const place = before === null || before === undefined ? rest.length : rest.findIndex((x) => x.id === before);
  return sortedQueue(rest.toSpliced(place < 0 ? rest.length : place, 0, item));
}

/** `before` for moving a queued message one position up (-1) or down (+1); undefined if that is not possible. */
export function moveTarget(queue, id, step) {
  const item = queue.find((other) => other.id === id);
  const part = queue.filter((other) => partOfQueue(other) === partOfQueue(item));
  const place = part.indexOf(item) + step;
  if (place < 0 || place >= part.length) return undefined;
  return step < 0 ? part[place].id : (part[place + 1]?.id ?? null);
}

/** `{before}` for dropping a queued message on another one of its part: it gets that one's place; null: not possible. */
export function dropTarget(queue, id, targetId) {
  const item = queue.find((other) => other.id === id);
  const target = queue.find((other) => other.id === targetId);
  if (!item || !target || id === targetId || partOfQueue(item) !== partOfQueue(target)) return null;
  const part = queue.filter((other) => partOfQueue(other) === partOfQueue(item));
  const isDown = part.indexOf(item) < part.indexOf(target);
  return { before: isDown ? (part[part.indexOf(target) + 1]?.id ?? null) : targetId };
}

// --- words ------------------------------------------------------------------------------------------

const KIND_WORDS = {
  rate_limit: 'Rate limited',
  overloaded: 'The model is overloaded',
  timeout: 'The model took too long',
  network: 'The model could not be reached',
  server: 'The model service failed',
};

/** A sentence on what a busy chat is waiting for, or ''. `retryLeft_s` is the rest of a scheduled retry's delay. */
export function waitingWords(view, retryLeft_s = 0) {
  if (view.status === 'interrupting') return 'Stopping…';
  if (view.status === 'requires_action') return actionWords(view.action);
  if (view.status !== 'running') return '';
  if (view.retry) return retryWords(view.retry, retryLeft_s);
  if (view.holder === 'lost') return 'The server failed during the answer; the answer goes on.';
  if (view.holder === 'released') return 'The server is restarting; the answer goes on.';
  if (view.holder === 'none') return 'Starting…';
  const tools = runningCalls(view).map((call) => call.tool_name);
  if (tools.length) return `Running ${tools.join(', ')}…`;
  const shown = view.preview.parts.filter(Boolean);
  if (!shown.length) return view.preview.call ? 'Waiting for the model’s first words…' : 'Working…';
  return shown.at(-1).type === 'reasoning' ? 'Thinking…' : '';
}

function retryWords(retry, left_s) {
  const what = KIND_WORDS[retry.kind] ?? retry.error ?? 'The model failed';
  const when = left_s > 0 ? `retrying in ${Math.ceil(left_s)} s` : 'retrying';
  return `${what}, ${when} (try ${retry.tries + 1}).`;
}

function actionWords(action) {
  if (action?.calls.every((call) => call.needs === 'result')) return 'Waiting for another program to run a tool.';
  return 'Waiting for your decision.';
}

/** The report of another program, on one line; '': none. */
export function noticeWords(notice) {
  if (!notice) return '';
  const words = notice.retry?.error ?? notice.error?.message ?? '';
  return notice.kind === 'retry' ? `Another program retries: ${words}` : `Another program reports: ${words}`;
}

/** The tool calls of the last answer that have no result yet. */
export function runningCalls(view) {
  const last = view.messages.findLastIndex((message) => message.role === 'assistant');
  if (last < 0) return [];
  const later = view.messages.slice(last + 1).flatMap((message) => message.content ?? []);
  const done = new Set(later.map((part) => part.tool_call_id));
  return (view.messages[last].content ?? []).filter(
    (part) => part.type === 'tool-call' && !done.has(part.tool_call_id),
  );
}

/** A number of bytes as people read it: 900 B, 1.5 kB, 12 MB. */
export function sizeWords(bytes) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** The text parts of a content, joined by newlines. */
export function textOf(content) {
  if (typeof content === 'string') return content;
  return (content ?? []).flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('\n');
}
