// The events that an instance publishes, folded into lines. Pure: no clock, no I/O.
//
// The deltas of one model call extend one line per kind (text, reasoning, the arguments of each tool call). A repeated
// event, such as a heartbeat, replaces the previous line of the same topic.

import { summaryOf, visible } from './instance_words.js';

export const LINES_MAX = 500;
export const LINE_CHARS_MAX = 4000;

/** Topics whose newest event replaces the previous one. */
const REPEATED = new Set(['instance.heartbeat', 'session.list', 'antiphon.append']);

/** Lines are {key, at, topic, sessionId, text, count}, oldest first; a changed line is a new object. */
export const emptyLog = () => ({ lines: [], made: 0, places: new Map() });

/** The log with more events, limited to the newest LINES_MAX lines. */
export function addEvents(log, events) {
  const next = { ...log, lines: [...log.lines], places: new Map(log.places) };
  for (const event of events) add(next, event);
  next.lines.splice(0, next.lines.length - LINES_MAX);
  return next;
}

/** The log with a remark of the web UI. */
export const addRemark = (log, at, text) => addEvents(log, [{ type: 'page', topic: 'page', timestamp: at, remark: text }]);

function add(log, event) {
  const { topic, payload, sessionId = '' } = event;
  if (topic === 'llm.start' || topic === 'llm.end') endGrowth(log, sessionId);
  if (topic === 'llm.token') return addToken(log, event);
  if (topic === 'llm.start') log.places.set(sessionId, payload);
  const last = log.lines.at(-1);
  const isRepeated = REPEATED.has(topic) && last?.topic === topic && last.sessionId === sessionId;
  const line = makeLine(log, event, event.remark ?? summaryOf(event));
  if (isRepeated) log.lines[log.lines.length - 1] = { ...line, key: last.key, count: last.count + 1 };
  else log.lines.push(line);
  return undefined;
}

function makeLine(log, { topic, type, timestamp, sessionId = '' }, text, grows = '') {
  log.made++;
  return { key: log.made, at: timestamp ?? '', topic: topic ?? type, sessionId, text, count: 1, grows };
}

// --- growing lines ----------------------------------------------------------------------------------

function addToken(log, event) {
  const { sessionId = '', payload } = event;
  const { kind, opening, text } = pieceOf(payload);
  const isGap = isBeyond(log.places.get(sessionId), payload);
  log.places.set(sessionId, payload);
  if (kind === '') return;
  const grows = `${sessionId} ${payload.draft} ${kind}`;
  const index = log.lines.findLastIndex((line) => line.grows === grows);
  const added = (isGap ? '…' : '') + text;
  if (index < 0) log.lines.push(makeLine(log, event, newest(opening + added), grows));
  else log.lines[index] = { ...log.lines[index], text: newest(log.lines[index].text + added) };
}

/** Whether the draft has a gap before this delta: PUB drops frames of slow and new subscribers. */
function isBeyond(place, { draft, from }) {
  if (from === undefined) return false;
  return from > (place?.draft === draft ? place.to : 0);
}

function pieceOf({ token, part, part_index }) {
  switch (part?.type) {
    case undefined:
      return { kind: token ? 'text' : '', opening: '', text: visible(token) };
    case 'reasoning':
      return { kind: 'reasoning', opening: 'Reasoning: ', text: visible(part.text) };
    case 'call-started':
      return { kind: 'started', opening: '', text: `${visible(part.model)}, try ${part.try}` };
    case 'tool-call':
      return { kind: `call ${part_index}`, opening: 'Calls ', text: `${visible(part.tool_name)} ` };
    case 'tool-call-args':
      return { kind: `call ${part_index}`, opening: 'Calls ', text: visible(part.args_delta) };
    case 'tool-progress':
      return { kind: `progress ${part.tool_call_id}`, opening: 'Progress: ', text: visible(part.text) };
    default:
      return { kind: `part ${part_index}`, opening: '', text: `Part: ${visible(part.type)}` };
  }
}

function newest(text) {
  if (text.length <= LINE_CHARS_MAX) return text;
  return `…${text.slice(-LINE_CHARS_MAX).replace(/^[\udc00-\udfff]/, '')}`;
}

function endGrowth(log, sessionId) {
  log.places.delete(sessionId);
  log.lines.forEach((line, index) => {
    if (line.grows && line.sessionId === sessionId) log.lines[index] = { ...line, grows: '' };
  });
}
