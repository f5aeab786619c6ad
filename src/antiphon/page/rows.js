// The rows of a transcript: what is shown of a list of messages. Pure.
//
// The result of a tool call is a message of its own; here it joins the call. An answer that has nothing but calls joins
// the row before it, so that consecutive calls are shown together, whatever the number of messages they came in.

const CALLS_PER_ROW_MAX = 200;

/**
 * The rows of messages: [{key, kind, message, messages, question?, before, isTurnEnd}]. `kind` is user, assistant, tool (a result
 * whose call is not held) or system; `messages` are all that the row shows; `before`
 * is the id of the message before them (undefined: not held); `isTurnEnd`: it is the last answer of its turn.
 * A row that is equal to the one in `held` (earlier rows by key) is the same object, so that it is not rendered again.
 */
export function rowsOf(messages, held = new Map()) {
  const rows = [];
  const open = new Map(); // the row of each call that has no result yet
  let question = null;
  let before;
  for (const message of messages) {
    if (message.role === 'user') question = message;
    const row = message.role === 'tool' ? open.get(callIdOf(message)) : joinable(rows.at(-1), message);
    if (row) row.messages.push(message);
    else
      rows.push({
        key: keyOf(message),
        kind: message.role,
        message,
        messages: [message],
        question,
        before,
        isTurnEnd: false,
      });
    if (message.role === 'tool') open.delete(callIdOf(message));
    for (const call of callsOf(message)) open.set(call.tool_call_id, row ?? rows.at(-1));
    before = message.id;
  }
  markTurnEnds(rows);
  return rows.map((row) => (isSame(held.get(row.key), row) ? held.get(row.key) : row));
}

/** An answer and the draft that it replaces have the same key: it is not rendered again, and unfolded parts stay so. */
export const keyOf = (message) => (message.draft ? `d${message.draft}` : `m${message.id}`);

const callIdOf = (message) => message.content?.[0]?.tool_call_id;
const callsOf = (message) =>
  message.role === 'assistant' ? (message.content ?? []).filter((part) => part.type === 'tool-call') : [];

/** The row that an answer of calls only joins: the one before it, if that is of the same turn and ends with a call. */
function joinable(row, message) {
  if (row?.kind !== 'assistant' || message.role !== 'assistant' || message.turn_id !== row.message.turn_id) return null;
  const answers = row.messages.filter((other) => other.role === 'assistant');
  const last = answers.at(-1);
  if (last.interrupted || last.outcome || !isCall(last.content?.at(-1))) return null;
  const isOnlyCalls = message.content?.length > 0 && message.content.every(isCall);
  const count = answers.reduce((sum, other) => sum + callsOf(other).length, 0);
  return isOnlyCalls && count < CALLS_PER_ROW_MAX ? row : null;
}

const isCall = (part) => part?.type === 'tool-call';

function markTurnEnds(rows) {
  rows.forEach((row, index) => {
    const next = rows[index + 1];
    row.isTurnEnd = row.kind === 'assistant' && next?.kind !== 'assistant' && next?.kind !== 'tool';
  });
}

function isSame(held, row) {
  return (
    held !== undefined &&
    held.isTurnEnd === row.isTurnEnd &&
    held.question === row.question &&
    held.before === row.before &&
    held.messages.length === row.messages.length &&
    held.messages.every((message, index) => message === row.messages[index])
  );
}

// --- the parts of an answer -------------------------------------------------------------------------

const FOLDED_MIN = 3;

/**
 * What a row of an answer shows, in order: [{type: 'part', part, key, thought_ms?} | {type: 'call', call} |
 * {type: 'calls', calls, key}]. A call is {part, key, result?, files, ms?, error?}; `ms` is the time from the call to
 * its result. FOLDED_MIN and more finished calls in a row are one item of type calls.
 */
export function itemsOf(messages) {
  const results = new Map();
  for (const message of messages) if (message.role === 'tool') results.set(callIdOf(message), message);
  const items = [];
  for (const message of messages) {
    if (message.role === 'assistant') addItems(items, message, results);
  }
  return folded(items);
}

function addItems(items, message, results) {
  let thought = 0;
  (message.content ?? []).forEach((part, index) => {
    const key = `${keyOf(message)}.${index}`;
    if (part.type === 'tool-call') items.push({ type: 'call', call: callOf(part, key, message, results) });
    else if (part.type === 'reasoning')
      items.push({ type: 'part', part, key, thought_ms: message.thought_ms?.[thought++] });
    else items.push({ type: 'part', part, key });
  });
}

function callOf(part, key, message, results) {
  const answer = results.get(part.tool_call_id);
  const call = { part, key, result: answer?.content[0], files: answer?.content.slice(1) ?? [] };
  const hasWaited = message.waited?.includes(part.tool_call_id);
  const ms = answer && !hasWaited ? Date.parse(answer.created_at) - Date.parse(message.created_at) : NaN;
  if (ms >= 0 && ms <= TOOL_MS_MAX) call.ms = ms;
  return call;
}

/** A longer time is that of a person who had to decide, not that of a tool. */
const TOOL_MS_MAX = 300_000;

function folded(items) {
  const shown = [];
  let run = [];
  const flush = () => {
    if (run.length >= FOLDED_MIN)
      shown.push({ type: 'calls', calls: run.map((item) => item.call), key: `f${run[0].call.key}` });
    else shown.push(...run);
    run = [];
  };
  for (const item of items) {
    if (item.type === 'call' && item.call.result && !item.call.files.length) run.push(item);
    else {
      flush();
      shown.push(item);
    }
  }
  flush();
  return shown;
}

/** The tokens, the cost in millionths and the model of the answers of a turn; undefined: unknown. */
export function figuresOf(messages) {
  const figures = { input: 0, output: 0, cost_micros: undefined, model: '', at: messages.at(-1)?.created_at };
  for (const { usage, model, role } of messages) {
    if (role !== 'assistant') continue;
    figures.input += usage?.input_tokens ?? 0;
    figures.output += usage?.output_tokens ?? 0;
    if (usage?.cost_micros !== undefined) figures.cost_micros = (figures.cost_micros ?? 0) + usage.cost_micros;
    if (model) figures.model = model;
  }
  return figures;
}
