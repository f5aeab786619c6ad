// The events of an instance as lines. Run by test_view.py: node --test.

import assert from 'node:assert/strict';
import { test } from 'node:test';

const page = new URL('../../src/antiphon/page/', import.meta.url);
const { LINES_MAX, LINE_CHARS_MAX, addEvents, addRemark, emptyLog } = await import(new URL('instance_log.js', page));
const { runtimeWords, summaryOf, titleWords, visible } = await import(new URL('instance_words.js', page));

const AT = '2026-01-01T00:00:00Z';
const event = (topic, payload = {}, sessionId = 's') => ({ type: topic, topic, timestamp: AT, sessionId, payload });
const start = (draft = 3, from = 0) => event('llm.start', { draft, from, to: from + 1 });
const token = (from, text, { draft = 3, session = 's' } = {}) =>
  event('llm.token', { draft, from, to: from + [...text].length, token: text, part_index: 0 }, session);
const part = (from, value, part_index) =>
  event('llm.token', { draft: 3, from, to: from + 1, token: '', part: value, part_index });
const end = () => event('llm.end', { tokens_in: 14, tokens_out: 9 });

const texts = (log) => log.lines.map((line) => line.text);
const fold = (...events) => events.reduce((log, one) => addEvents(log, [one]), emptyLog());

test('the tokens of one call extend one line', () => {
  const log = fold(start(), token(1, 'one '), event('tool.start', { tool_name: 'f', params: '{}' }), token(5, 'two'));
  assert.deepEqual(texts(log), ['Model call started', 'one two', 'f started {}']);
});

test('many events at once give the same lines as one by one', () => {
  const events = [start(), token(1, 'a'), token(2, 'b'), end(), start(9), token(1, 'c', { draft: 9 })];
  assert.deepEqual(texts(addEvents(emptyLog(), events)), texts(fold(...events)));
});

test('another call and another session have their own lines', () => {
  const log = fold(start(), token(1, 'a'), token(0, 'other', { session: 't' }), end(), start(3, 2), token(3, 'b'));
  const grown = log.lines.filter((line) => line.topic === 'llm.token').map(({ sessionId, text }) => [sessionId, text]);
  assert.deepEqual(grown, [['s', 'a'], ['t', 'other'], ['s', 'b']]);
});

test('reasoning and the arguments of a tool call extend their own lines', () => {
  const log = fold(
    start(),
    part(1, { type: 'call-started', model: 'm', provider: 'p', try: 2 }),
    part(2, { type: 'reasoning', text: 'let me ' }, 0),
    part(3, { type: 'reasoning', text: 'see' }, 0),
    part(4, { type: 'tool-call', tool_call_id: 'c', tool_name: 'add' }, 1),
    part(5, { type: 'tool-call-args', args_delta: '{"a"' }, 1),
    part(6, { type: 'tool-call-args', args_delta: ':1}' }, 1),
  );
  assert.deepEqual(texts(log), ['Model call started', 'm, try 2', 'Reasoning: let me see', 'Calls add {"a":1}']);
});

test('a gap in a text is shown', () => {
  assert.deepEqual(texts(fold(token(7, 'joined late'))), ['…joined late']);
  assert.deepEqual(texts(fold(start(), token(1, 'a'), token(5, 'b'), token(6, 'c'))).at(-1), 'a…bc');
});

test('a heartbeat replaces the previous line if that is a heartbeat too', () => {
  const beat = (uptime) => event('instance.heartbeat', { uptime, session_count: 1 }, undefined);
  const log = fold(beat('5s'), beat('1m10s'), end(), beat('2h0m1s'));
  assert.deepEqual(
    log.lines.map(({ text, count }) => [text, count]),
    [
      ['Uptime 1 min, 1 chat', 2],
      ['Model call ended: 14 tokens in, 9 out', 1],
      ['Uptime 2 h 0 min, 1 chat', 1],
    ],
  );
});

test('the newest lines are kept, and the newest characters of a long line', () => {
  const many = Array.from({ length: LINES_MAX + 20 }, (_, n) => event('message.append', { role: 'user', content: `${n}` }));
  const log = addEvents(emptyLog(), many);
  assert.equal(log.lines.length, LINES_MAX);
  assert.equal(log.lines[0].text, 'user: 20');
  assert.equal(new Set(log.lines.map((line) => line.key)).size, LINES_MAX);
  const long = fold(start(), token(1, '😀'.repeat(LINE_CHARS_MAX)), token(1 + LINE_CHARS_MAX, 'end'));
  assert.ok(long.lines[1].text.length <= LINE_CHARS_MAX + 1);
  assert.ok(long.lines[1].text.endsWith('😀end'));
  assert.ok(long.lines[1].text.isWellFormed());
});

test('a log is not changed in place, and unchanged lines are the same objects', () => {
  const before = fold(start(), token(1, 'a'));
  const copy = structuredClone(before);
  const after = addEvents(before, [token(2, 'b')]);
  assert.deepEqual(before, copy);
  assert.equal(after.lines[0], before.lines[0]);
  assert.notEqual(after.lines[1], before.lines[1]);
  assert.equal(addRemark(after, AT, 'said').lines.at(-1).text, 'said');
});

test('control characters and direction marks are shown as marks', () => {
  assert.equal(visible('\x1b[31mred\u202egnp\x00\u2066 \n\tשלום'), '⟨U+001B⟩[31mred⟨U+202E⟩gnp⟨U+0000⟩⟨U+2066⟩ \n\tשלום');
  assert.deepEqual(texts(fold(token(0, '<b>\x1b[2J\u202e'))), ['<b>⟨U+001B⟩[2J⟨U+202E⟩']);
  assert.equal(titleWords(' \u202e'), '⟨U+202E⟩');
  assert.equal(titleWords(undefined), 'Untitled chat');
});

test('every topic has a description, and an unknown topic its payload', () => {
  const said = (topic, payload) => summaryOf(event(topic, payload));
  assert.equal(said('session.list', { sessions: [{}, {}] }), '2 chats listed');
  assert.equal(said('session.update', { message_count: 1 }), 'Has 1 message');
  assert.equal(said('session.activated', {}), 'Is now the active chat');
  assert.equal(said('session.deleted', {}), 'Was deleted');
  assert.equal(said('tool.end', { tool_name: 'add', is_error: true, result: 'no' }), 'add failed: no');
  assert.equal(said('tool.end', { tool_name: 'add', is_error: false, result: '3' }), 'add returned: 3');
  assert.equal(said('instance.shutdown', { reason: 'stopped' }), 'Shuts down: stopped');
  assert.equal(said('antiphon.append', { seq: 5 }), 'Has facts up to 5');
  assert.equal(said('moon.rise', { at: 1 }), '{"at":1}');
  assert.match(summaryOf({ type: 'left_out', count: 3 }), /^3 events dropped/);
  assert.ok(said('message.append', { role: 'user', content: 'x'.repeat(9999) }).length < 600);
});

test('the uptime is the one that the instance reports, or is computed from its start', () => {
  const began = Date.parse(AT);
  assert.equal(runtimeWords({ uptime: '59s' }, 0), '59 s');
  assert.equal(runtimeWords({ uptime: '25h1m1s' }, 0), '1 day 1 h');
  assert.equal(runtimeWords({ started_at: AT }, began + 61_000), '1 min');
  assert.equal(runtimeWords({ started_at: AT }, began - 5_000), '0 s');
  assert.equal(runtimeWords({ started_at: 'soon' }, began), 'an unknown time');
});
