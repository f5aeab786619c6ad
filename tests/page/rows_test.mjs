// The rows of a transcript, the window of a history, forms from schemas, and figures in words. Run: node --test

import assert from 'node:assert/strict';
import test from 'node:test';
import { durationWords, thoughtWords, tokenWords } from '../../src/antiphon/page/figures.js';
import * as history from '../../src/antiphon/page/history.js';
import { figuresOf, itemsOf, rowsOf } from '../../src/antiphon/page/rows.js';
import { fieldOf, valueOf } from '../../src/antiphon/page/schema_form.js';
import { argsWords, errorWords, resultWords } from '../../src/antiphon/page/tool_words.js';

const at = (s) => new Date(Date.UTC(2026, 0, 1, 0, 0, s)).toISOString();
const user = (id) => ({ id, role: 'user', turn_id: id, created_at: at(id), content: [{ type: 'text', text: `q${id}` }] });
const call = (id) => ({ type: 'tool-call', tool_call_id: id, tool_name: 'add', args: { a: 1 } });
const answer = (id, turn_id, ...content) => ({ id, role: 'assistant', turn_id, created_at: at(id), content });
const result = (id, turn_id, callId, more = {}) => ({
  id, role: 'tool', turn_id, created_at: at(id),
  content: [{ type: 'tool-result', tool_call_id: callId, tool_name: 'add', result: 3, ...more }],
});
const words = (text) => ({ type: 'text', text });

test('results join their calls, and answers of calls only join the row before them', () => {
  const messages = [
    user(1),
    answer(2, 1, words('let me see'), call('a')), result(3, 1, 'a'),
    answer(4, 1, call('b'), call('c')), result(5, 1, 'c'), result(6, 1, 'b', { is_error: true }),
    answer(7, 1, words('so')),
    user(8),
  ];
  const rows = rowsOf(messages);
  assert.deepEqual(rows.map((row) => [row.kind, row.messages.map((m) => m.id), row.isTurnEnd]), [
    ['user', [1], false], ['assistant', [2, 3, 4, 5, 6], false], ['assistant', [7], true], ['user', [8], false],
  ]);
  const items = itemsOf(rows[1].messages);
  assert.deepEqual(items.map((item) => item.type), ['part', 'calls']);
  assert.deepEqual(items[1].calls.map((each) => [each.part.tool_call_id, each.ms, each.result.is_error]), [
    ['a', 1000, undefined], ['b', 2000, true], ['c', 1000, undefined],
  ]);
  assert.equal(rows[2].before, 6);
});

test('a row that did not change is the same object', () => {
  const messages = [user(1), answer(2, 1, words('x'))];
  const held = new Map(rowsOf(messages).map((row) => [row.key, row]));
  const rows = rowsOf([...messages, user(3)], held);
  assert.equal(rows[0], held.get('m1'));
  assert.equal(rows[1], held.get('m2'));
});

test('a call without a result stays open, and a result without its call is a row', () => {
  assert.deepEqual(itemsOf([answer(2, 1, call('a'))])[0].call.result, undefined);
  assert.deepEqual(rowsOf([result(3, 1, 'gone'), user(4)]).map((row) => row.kind), ['tool', 'user']);
});

test('the time of a call that waited for a person is not shown', () => {
  const waited = { ...answer(2, 1, call('a')), waited: ['a'] };
  assert.equal(itemsOf([waited, result(3, 1, 'a')])[0].call.ms, undefined);
  assert.equal(itemsOf([answer(2, 1, call('a')), result(3600, 1, 'a')])[0].call.ms, undefined);
});

test('figures of an answer add up what its messages used', () => {
  const used = (id, usage) => ({ ...answer(id, 1), usage, model: 'm' });
  const figures = figuresOf([used(2, { input_tokens: 3, output_tokens: 4, cost_micros: 10 }), used(4, { output_tokens: 1 })]);
  assert.deepEqual([figures.input, figures.output, figures.cost_micros, figures.model], [3, 5, 10, 'm']);
});

test('durations and tokens are written as people read them', () => {
  assert.deepEqual([40, 200, 4000, 61_000, 3_780_000].map(durationWords), ['40 ms', '0.2 s', '4.0 s', '1 min 1 s', '1 h 3 min']);
  assert.deepEqual([thoughtWords(4200), thoughtWords(NaN), thoughtWords(300)], ['Thought for 4 s', 'Thought', 'Thought']);
  assert.deepEqual([1, 950, 12_300].map(tokenWords), ['1 token', '950 tokens', '12.3k tokens']);
});

test('a call is written as a call, and an error is a sentence', () => {
  assert.equal(argsWords({ a: 1, b: 2 }), '1, 2');
  assert.equal(argsWords({ path: 'x', text: 'y' }), 'path: "x", text: "y"');
  assert.equal(argsWords('{"a": 1'), '{"a": 1');
  assert.equal(errorWords({ error: 'failed', message: 'ValueError: no such file' }), 'no such file');
  assert.equal(resultWords({ n: [1] }), '{"n":[1]}');
  assert.ok(resultWords('x'.repeat(1e6)).length < 200);
});

// --- the window of a history ------------------------------------------------------------------------

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => ({ id: from + index }));

test('any place of a long history is reached with a bounded window, and its end again', () => {
  const view = { messages: range(9951, 10_000), hasMore: true };
  let window = history.emptyHistory();
  const shown = () => history.shownMessages(window, view);
  while (history.hasEarlier(window, view)) {
    const first = shown()[0].id;
    const from = Math.max(1, first - history.PAGE);
    window = history.withEarlierPage(window, view, { messages: range(from, first - 1), has_more: from > 1 });
    assert.ok(shown().length <= history.HELD_MAX + view.messages.length);
    assert.equal(shown().at(-1).id - shown()[0].id, shown().length - 1, 'no gap');
  }
  assert.equal(shown()[0].id, 1);
  assert.ok(window.isDetached);
  while (window.isDetached) {
    const last = shown().at(-1).id;
    const to = Math.min(10_000, last + history.PAGE);
    window = history.withLaterPage(window, view, { messages: range(last + 1, to), has_more: to < 10_000 });
    assert.equal(shown().at(-1).id - shown()[0].id, shown().length - 1, 'no gap');
  }
  assert.equal(shown().at(-1).id, 10_000);
});

test('an edit removes what it hides from the window', () => {
  const window = { older: range(1, 100), hasEarlier: false, isDetached: true };
  const cut = history.withoutFrom(window, 51);
  assert.deepEqual([cut.older.length, cut.isDetached], [50, false]);
  assert.equal(history.withoutFrom(window, 500).isDetached, true);
});

test('a chat that stays open does not hold all that it was sent, wherever the reader is', () => {
  const long = { messages: range(1, 5000), hasMore: false };
  const [atEnd, count] = history.bounded(history.emptyHistory(), long, true);
  assert.deepEqual([atEnd.older.length, count], [0, history.TAIL]);
  const [away, kept] = history.bounded(history.emptyHistory(), long, false);
  assert.deepEqual([away.isDetached, away.older[0].id, away.older.length, kept], [true, 1, history.HELD_MAX, history.TAIL]);
});

// --- forms ------------------------------------------------------------------------------------------

test('a schema becomes fields, and what was filled in its value or sentences', () => {
  const schema = {
    type: 'object',
    required: ['name', 'age', 'color'],
    properties: {
      name: { type: 'string', title: 'Your name', minLength: 2 },
      age: { type: 'integer', minimum: 18 },
      color: { enum: ['red', 'blue'] },
      tags: { type: 'array', items: { $ref: '#/$defs/Tag' } },
      note: { anyOf: [{ type: 'string', maxLength: 5000 }, { type: 'null' }] },
      day: { type: 'string', format: 'date' },
      address: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
      deep: { type: 'object', properties: { more: { type: 'object', properties: { x: { type: 'object', properties: { y: {} } } } } } },
    },
    $defs: { Tag: { enum: ['a', 'b', 'c'] } },
  };
  const field = fieldOf(schema);
  assert.deepEqual(field.fields.map((each) => each.kind), ['text', 'integer', 'choice', 'choices', 'lines', 'date', 'object', 'object']);
  assert.equal(field.fields[0].label, 'Your name');
  const empty = valueOf(field, field.initial);
  assert.deepEqual(Object.keys(empty.errors), ['name', 'age', 'color']);
  const filled = { ...field.initial, name: 'Ada', age: '36', color: '1', tags: [0, 2], address: { city: 'Paris' } };
  assert.deepEqual(valueOf(field, filled).value, { name: 'Ada', age: 36, color: 'blue', tags: ['a', 'c'], address: { city: 'Paris' } });
  assert.equal(valueOf(field, { ...filled, age: '3.5' }).errors.age, 'This is not a whole number.');
  assert.equal(valueOf(field, { ...filled, age: '3' }).errors.age, 'At least 18, please.');
});

test('a schema that is no form is JSON, and a hostile one ends', () => {
  assert.equal(fieldOf({ type: 'array', items: { type: 'object' } }).kind, 'json');
  assert.ok(valueOf(fieldOf({ type: 'array' }), '[1').errors['']);
  const circular = { $ref: '#/$defs/A', $defs: { A: { $ref: '#/$defs/A' } } };
  assert.ok(fieldOf(circular).kind);
  const many = { type: 'object', properties: Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`p${n}`, {}])) };
  assert.equal(fieldOf(many).kind, 'json');
  assert.equal(fieldOf(null).kind, 'text');
});
