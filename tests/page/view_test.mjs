// The view of a chat is the fold of its events. Run by test_view.py: node --test.

import assert from 'node:assert/strict';
import { test } from 'node:test';

const page = new URL('../../src/antiphon/page/', import.meta.url);
const {
  GAP,
  apply,
  dropCodePoints,
  emptyView,
  moveTarget,
  noticeWords,
  runningCalls,
  sizeWords,
  textOf,
  waitingWords,
} = await import(new URL('view.js', page));
const { makeSseParser } = await import(new URL('sse.js', page));

const USER = (id, text, more = {}) => ({ id, role: 'user', turn_id: id, content: [{ type: 'text', text }], ...more });
const ANSWER = (id, text, more = {}) => ({ id, role: 'assistant', content: [{ type: 'text', text }], ...more });
const queued = (id, when_busy = 'queue', promoted = false) => ({
  id,
  when_busy,
  promoted,
  content: [{ type: 'text', text: `q${id}` }],
});

const resync = (more = {}) => ({
  type: 'resync',
  reason: 'start',
  chat: { id: 'c', seq: 3, draft: 3, status: 'running', turn_id: 2, title: 'T', ...more.chat },
  messages: more.messages ?? [USER(2, 'hello')],
  has_more: false,
  queued_messages: more.queued ?? [],
  open_draft: more.open_draft ?? { draft: 3, to: 0, parts: [] },
});

const fact = (seq, type, status, draft, fields = {}) => ({
  type,
  seq,
  at: '2026-01-01T00:00:00Z',
  status,
  draft,
  ...fields,
});

/** A delta of draft 3 (or `draft`) from `from`; its length is that of its text in code points, else 1. */
function delta(from, part, { part_index, draft = 3 } = {}) {
  const text = part.text !== undefined && part.type !== 'tool-progress' ? part.text : part.args_delta;
  const length = text === undefined ? 1 : [...text].length;
  return { type: 'delta', draft, from, to: from + length, part_index, part };
}

const text = (from, words, more = { part_index: 0 }) => delta(from, { type: 'text', text: words }, more);

function fold(events, view = emptyView()) {
  for (const event of events) {
    view = apply(view, event);
    assert.notEqual(view, GAP, `a gap at ${JSON.stringify(event)}`);
  }
  return view;
}

const preview = (view) => view.preview.parts.map((part) => part?.text ?? part?.args_text).join('|');

test('deltas extend the preview part by part', () => {
  const view = fold([
    resync(),
    delta(0, { type: 'call-started', model: 'm', provider: 'p', try: 1 }),
    delta(1, { type: 'reasoning', text: 'hm' }, { part_index: 0 }),
    text(3, 'one ', { part_index: 1 }),
    text(7, 'two', { part_index: 1 }),
    delta(10, { type: 'tool-call', tool_call_id: 'a', tool_name: 'f' }, { part_index: 2 }),
    delta(11, { type: 'tool-call-args', args_delta: '{"x"' }, { part_index: 2 }),
    delta(15, { type: 'tool-call-args', args_delta: ':1}' }, { part_index: 2 }),
  ]);
  assert.equal(preview(view), 'hm|one two|{"x":1}');
  assert.equal(view.preview.parts[2].tool_name, 'f');
  assert.equal(view.preview.call.model, 'm');
  assert.equal(view.preview.position, 18);
});

test('an overlap is cut by code points, not by UTF-16 units', () => {
  const view = fold([resync(), text(0, '😀é'), text(1, 'é👩‍👩‍👧!')]);
  assert.equal(preview(view), '😀é👩‍👩‍👧!');
  assert.equal(view.preview.position, 8);
  assert.equal(dropCodePoints('a😀b', 2), 'b');
});

test('a repeated delta changes nothing, whole or cut at any position', () => {
  const whole = '😀 words, and more 👋 of them';
  const length = [...whole].length;
  for (let held = 0; held <= length; held++) {
    for (let from = 0; from <= held; from++) {
      const first = held ? [text(0, [...whole].slice(0, held).join(''))] : [];
      const view = fold([resync(), ...first, text(from, [...whole].slice(from).join(''))]);
      assert.equal(preview(view), whole);
    }
  }
  const view = fold([resync(), text(0, 'abc')]);
  assert.equal(apply(view, text(0, 'ab')), view);
});

test('a gap in the draft and a delta of a newer draft are gaps', () => {
  const view = fold([resync(), text(0, 'abc')]);
  assert.equal(apply(view, text(4, 'e')), GAP);
  assert.equal(apply(view, text(0, 'x', { part_index: 0, draft: 9 })), GAP);
});

test('a delta of an older draft is dropped', () => {
  const view = fold([resync()]);
  assert.equal(apply(view, text(0, 'old', { part_index: 0, draft: 2 })), view);
});

test('a part of an unknown kind advances the position and shows nothing', () => {
  const view = fold([resync(), delta(0, { type: 'hologram' }, { part_index: 0 }), text(1, 'a', { part_index: 1 })]);
  assert.equal(view.preview.position, 2);
  assert.equal(preview(view), '|a');
});

test('a resync shows the open draft up to its position', () => {
  const parts = [
    { type: 'call-started', model: 'm', provider: 'p', try: 1 },
    { type: 'text', text: '😀 a', part_index: 0 },
    { type: 'tool-call', tool_call_id: 'a', tool_name: 'f', part_index: 1 },
    { type: 'tool-call-args', args_delta: '{', part_index: 1 },
  ];
  const view = fold([
    resync({ open_draft: { draft: 3, to: 6, parts } }),
    delta(6, { type: 'tool-call-args', args_delta: '}' }, { part_index: 1 }),
  ]);
  assert.equal(preview(view), '😀 a|{}');
  assert.equal(view.turnId, 2);
});

test('a fact that replaces the draft clears the preview, and the message takes its place', () => {
  const view = fold([
    resync(),
    text(0, 'done'),
    fact(4, 'message_appended', 'running', 4, {
      message: ANSWER(4, 'done', { turn_id: 2 }),
      closes: { draft: 3, upto: 4 },
      more: true,
    }),
    fact(5, 'turn_ended', 'waiting', 5, { turn_id: 2, outcome: 'answered' }),
    { type: 'caught_up' },
  ]);
  assert.deepEqual(view.preview.parts, []);
  assert.equal(textOf(view.messages.at(-1).content), 'done');
  assert.equal(view.messages.at(-1).draft, 3);
  assert.deepEqual([view.status, view.turnId, view.lastTurnId, view.isCaughtUp], ['waiting', null, 2, true]);
});

test('other facts leave the draft alone', () => {
  const view = fold([
    resync(),
    text(0, 'half'),
    fact(4, 'message_queued', 'running', 3, { queued_message: queued(4), when_busy: 'queue' }),
    fact(5, 'title_changed', 'running', 3, { title: 'New', by: 'person' }),
    fact(6, 'interrupt_requested', 'interrupting', 3, { turn_id: 2, by: 'x' }),
    text(4, ' more'),
  ]);
  assert.equal(preview(view), 'half more');
  assert.deepEqual([view.chat.title, view.status, view.queue.length], ['New', 'interrupting', 1]);
});

test('repeated facts are dropped, and a missing fact is a gap', () => {
  const view = fold([resync()]);
  assert.equal(apply(view, fact(3, 'attempt_lost', 'running', 3, {})), view);
  assert.equal(apply(view, fact(5, 'attempt_lost', 'running', 5, {})), GAP);
});

test('a fact of an unknown kind still advances the state', () => {
  const view = fold([resync(), fact(4, 'colour_changed', 'running', 3), fact(5, 'attempt_started', 'running', 5)]);
  assert.deepEqual([view.seq, view.preview.draft], [5, 5]);
});

test('the queue keeps its order: steering, promoted, the rest', () => {
  const ids = (view) => view.queue.map((item) => item.id);
  const add = (seq, item) =>
    fact(seq, 'message_queued', 'running', 3, { queued_message: item, when_busy: item.when_busy });
  let view = fold([
    resync({ queued: [] }),
    add(4, queued(4)),
    add(5, queued(5)),
    add(6, queued(6, 'interrupt', true)),
    add(7, queued(7, 'steer')),
    add(8, queued(8)),
  ]);
  assert.deepEqual(ids(view), [7, 6, 4, 5, 8]);
  view = fold([fact(9, 'queued_message_promoted', 'running', 3, { queued_id: 8 })], view);
  assert.deepEqual(ids(view), [7, 6, 8, 4, 5]);
  view = fold([fact(10, 'queue_moved', 'running', 3, { queued_id: 8, before: 6 })], view);
  view = fold([fact(11, 'queue_moved', 'running', 3, { queued_id: 4, before: null })], view);
  assert.deepEqual(ids(view), [7, 8, 6, 5, 4]);
  view = fold([fact(12, 'queued_message_deleted', 'running', 3, { queued_id: 6 })], view);
  view = fold(
    [fact(13, 'queued_message_edited', 'running', 3, { queued_id: 5, content: [{ type: 'text', text: 'new' }] })],
    view,
  );
  assert.deepEqual([ids(view), textOf(view.queue[2].content)], [[7, 8, 5, 4], 'new']);
  view = fold([fact(14, 'message_appended', 'running', 14, { message: USER(14, 'q5'), queued_id: 5 })], view);
  assert.deepEqual([ids(view), view.turnId], [[7, 8, 4], 14]);
});

test('a queued message moves within its own part only', () => {
  const queue = [queued(7, 'steer'), queued(6, 'queue', true), queued(4), queued(5), queued(8)];
  assert.equal(moveTarget(queue, 7, 1), undefined);
  assert.equal(moveTarget(queue, 4, -1), undefined);
  assert.equal(moveTarget(queue, 5, -1), 4);
  assert.equal(moveTarget(queue, 4, 1), 8);
  assert.equal(moveTarget(queue, 5, 1), null);
  assert.equal(moveTarget(queue, 8, 1), undefined);
});

test('an edit removes later messages, and a hidden message is not shown', () => {
  const view = fold([
    resync({ messages: [USER(2, 'a'), ANSWER(3, 'b')], chat: { seq: 4, draft: 4, status: 'waiting', turn_id: null } }),
    fact(5, 'message_appended', 'running', 5, { message: { id: 5, role: 'user', turn_id: 5 }, hidden_by: 6 }),
    fact(6, 'history_truncated', 'running', 6, { from_message_id: 3, more: true }),
    fact(7, 'turn_restarted', 'running', 7, { turn_id: 2 }),
  ]);
  assert.deepEqual(
    view.messages.map((message) => message.id),
    [2],
  );
  assert.deepEqual([view.turnId, view.status], [2, 'running']);
});

test('a failed turn shows its error until the next turn', () => {
  let view = fold([
    resync(),
    fact(4, 'turn_ended', 'error', 4, { turn_id: 2, outcome: 'failed', error: { message: 'no key' } }),
  ]);
  assert.equal(view.lastError.message, 'no key');
  view = fold([fact(5, 'turn_restarted', 'running', 5, { turn_id: 2 })], view);
  assert.equal(view.lastError, null);
  const seen = fold([resync({ chat: { status: 'error', last_error: 'no key', turn_id: null } })]);
  assert.equal(seen.lastError.message, 'no key');
});

test('the waiting sentence names what the chat is waiting for', () => {
  const words = (...events) => waitingWords(fold([resync(), ...events]), 3.2);
  const started = fact(4, 'attempt_started', 'running', 4, { instance_id: 'i' });
  const retry = fact(5, 'retry_scheduled', 'running', 5, {
    tries: 1,
    delay_ms: 4000,
    error: '429',
    kind: 'rate_limit',
    retrying_at: '',
  });
  assert.equal(words(started, retry), 'Rate limited, retrying in 4 s (try 2).');
  assert.equal(
    words(started, retry, delta(0, { type: 'call-started' }, { draft: 5 })),
    'Waiting for the model’s first words…',
  );
  assert.equal(
    words(started, fact(5, 'attempt_lost', 'running', 5, { attempt: 4, reason: 'dead' })),
    'The server failed during the answer; the answer goes on.',
  );
  assert.equal(
    words(fact(4, 'attempt_released', 'running', 4, { attempt: 3 })),
    'The server is restarting; the answer goes on.',
  );
  assert.equal(words(fact(4, 'message_appended', 'running', 4, { message: USER(4, 'x') })), 'Starting…');
  assert.equal(words(fact(4, 'interrupt_requested', 'interrupting', 3, { turn_id: 2 })), 'Stopping…');
  assert.equal(words(started, text(0, 'a', { part_index: 0, draft: 4 })), '');
  assert.equal(words(fact(4, 'turn_ended', 'waiting', 4, { turn_id: 2, outcome: 'answered' })), '');
});

test('tool calls run until each has its result; an approval waits for a person', () => {
  const call = (id) => ({ type: 'tool-call', tool_call_id: id, tool_name: `f${id}`, args: {} });
  let view = fold([
    resync(),
    fact(4, 'attempt_started', 'running', 4),
    fact(5, 'message_appended', 'running', 5, {
      message: { id: 5, role: 'assistant', turn_id: 2, content: [call('a'), call('b')] },
    }),
    delta(0, { type: 'tool-progress', tool_call_id: 'a', text: 'half ' }, { draft: 5 }),
    delta(1, { type: 'tool-progress', tool_call_id: 'a', text: 'way' }, { draft: 5 }),
  ]);
  assert.equal(waitingWords(view), 'Running fa, fb…');
  assert.equal(view.preview.progress.a, 'half way');
  const result = { type: 'tool-result', tool_call_id: 'a', tool_name: 'fa', result: 1 };
  view = fold(
    [fact(6, 'message_appended', 'running', 6, { message: { id: 6, role: 'tool', turn_id: 2, content: [result] } })],
    view,
  );
  assert.deepEqual(
    runningCalls(view).map((part) => part.tool_call_id),
    ['b'],
  );
  view = fold(
    [
      fact(7, 'action_required', 'requires_action', 7, {
        calls: [{ tool_call_id: 'b', tool_name: 'fb', args: {}, needs: 'approval' }],
        deadline: '',
      }),
    ],
    view,
  );
  assert.equal(waitingWords(view), 'Waiting for your decision.');
  view = fold([fact(8, 'action_resolved', 'running', 7, { tool_call_id: 'b', outcome: 'approved' })], view);
  assert.equal(view.action, null);
});

test('a deleted chat shows nothing, whatever was missed before', () => {
  const view = fold([resync(), fact(40, 'chat_deleted', 'waiting', 3)]);
  assert.deepEqual([view.isDeleted, view.messages.length], [true, 0]);
});

test('a view is never changed in place', () => {
  const freeze = (value) => {
    if (value && typeof value === 'object' && !Object.isFrozen(value))
      Object.values(Object.freeze(value)).forEach(freeze);
    return value;
  };
  const events = [
    resync({ queued: [queued(3)] }),
    text(0, 'a'),
    text(1, 'b'),
    delta(2, { type: 'tool-progress', tool_call_id: 'a', text: 'x' }),
    fact(4, 'queued_message_promoted', 'running', 3, { queued_id: 3 }),
    fact(5, 'message_appended', 'running', 5, { message: ANSWER(5, 'ab') }),
  ];
  events.reduce((view, event) => freeze(apply(view, event)), freeze(emptyView()));
});

test('server-sent events are parsed in any chunks, and U+2028 is not a line break', () => {
  const stream =
    ': hi\r\nid: 4.2\nevent: delta\r\ndata: {"a":\ndata: "\u2028"}\n\nevent: ping\rdata: {}\r\rdata: x\n\n';
  const expected = [
    { event: 'delta', id: '4.2', data: '{"a":\n"\u2028"}' },
    { event: 'ping', data: '{}' },
    { event: 'message', data: 'x' },
  ];
  for (let cut = 0; cut <= stream.length; cut++) {
    for (const pieces of [[stream.slice(0, cut), stream.slice(cut)], [...stream]]) {
      const seen = [];
      const push = makeSseParser((event) => seen.push(event));
      pieces.forEach(push);
      assert.deepEqual(seen, expected);
    }
  }
});

test('a report of another program is shown until the next fact', () => {
  let view = apply(emptyView(), resync());
  view = apply(view, { type: 'notice', kind: 'retry', retry: { attempt: 1, error: 'overloaded' } });
  assert.equal(noticeWords(view.notice), 'Another program retries: overloaded');
  view = apply(view, { type: 'notice', kind: 'error', error: { message: 'no credit' } });
  assert.equal(noticeWords(view.notice), 'Another program reports: no credit');
  assert.equal(view.seq, 3);
  view = apply(view, fact(4, 'title_changed', 'running', 3, { title: 'U' }));
  assert.equal(noticeWords(view.notice), '');
});

test('sizes are numbers with few digits and a unit', () => {
  const words = [0, 1, 999, 1000, 1540, 9_949, 9_951, 999_499, 999_500, 12_345_678, 5e12, 5e16].map(sizeWords);
  const expected = ['0 B', '1 B', '999 B', '1.0 kB', '1.5 kB', '9.9 kB', '10 kB', '999 kB', '1.0 MB', '12 MB'];
  assert.deepEqual(words, [...expected, '5.0 TB', '50000 TB']);
});

test('a stored file in a draft is a part of its own', () => {
  const part = { type: 'file-reference', file_id: 'f', file_name: 'a.png', media_type: 'image/png', size: 5 };
  const view = apply(apply(emptyView(), resync()), { type: 'delta', draft: 3, from: 0, to: 1, part_index: 0, part });
  assert.deepEqual(view.preview.parts, [part]);
});
