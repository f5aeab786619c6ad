// The pure parts of the list of chats, the palette and the usage, run by `node --test` (tests/page/test_view.py).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  chatIndexFrom, compareChats, labelsOf, labelsText, parseLabels, rowsOf, shownRange,
} from '../../src/antiphon/page/chat_rows.js';
import { bestMatches, match } from '../../src/antiphon/page/fuzzy.js';
import { barsOf, budgetOf, costWords, daysBetween, sumsBy } from '../../src/antiphon/page/usage.js';

const MONTHS = new Intl.DateTimeFormat('en', { month: 'long', year: 'numeric' });
const NOW = new Date(2026, 10, 20, 15, 0);
const chat = (id, ...at) => ({ id, at_ms: new Date(2026, ...at).getTime(), pin_order: 0 });

test('chats are grouped by the days of the reader, pinned ones first', () => {
  const chats = [
    chat('noon', 10, 20, 12), chat('midnight', 10, 20, 0), chat('late', 10, 19, 23, 59), chat('week', 10, 14, 12),
    chat('month', 10, 1, 12), chat('old', 8, 30, 12), { ...chat('pinned', 0, 1), pin_order: 2 },
    { ...chat('first', 0, 2), pin_order: 1 },
  ];
  const rows = rowsOf(chats.sort(compareChats), NOW, MONTHS);
  assert.deepEqual(rows.map((row) => row.heading ?? row.chat.id), [
    'Pinned', 'first', 'pinned', 'Today', 'noon', 'midnight', 'Yesterday', 'late', 'Previous 7 days', 'week',
    'Previous 30 days', 'month', 'September 2026', 'old',
  ]);
  assert.deepEqual(rows.filter((row) => row.chat).map((row) => row.position), [1, 2, 3, 4, 5, 6, 7, 8]);
  assert.equal(chatIndexFrom(rows, 2, 1), 4); // over the heading
  assert.equal(chatIndexFrom(rows, 4, -1), 2);
  assert.equal(chatIndexFrom(rows, 1, -1), null);
  assert.equal(chatIndexFrom(rows, 1, 100), rows.length - 1);
});

test('the rendered range covers the view and stays small', () => {
  for (const top of [0, 39, 40, 12_345, 399_000, 10 ** 9]) {
    const [first, last] = shownRange(10_000, { top, height: 600, row: 40 });
    assert.ok(first <= Math.min(10_000, Math.floor(top / 40)) && last <= 10_000 && last - first <= 40, `${top}`);
    if (top < 399_000) assert.ok(last >= Math.ceil((top + 600) / 40));
  }
  assert.deepEqual(shownRange(0, { top: 0, height: 600, row: 40 }), [0, 0]);
});

test('labels are read from one line and written as one', () => {
  const { labels } = parseLabels(' work ,project: apollo: two,, ');
  assert.deepEqual(labels, { work: '', project: 'apollo: two' });
  assert.deepEqual(parseLabels(labelsText(labels)).labels, labels);
  assert.match(parseLabels(': x').problem, /no name before the colon/);
  assert.deepEqual(parseLabels('').labels, {});
  assert.deepEqual(labelsOf([{ labels: { a: '1' } }, { labels: { b: '' } }, { labels: { a: '1' } }, {}], 5), [['a', '1'], ['b', '']]);
});

test('a few letters find what begins with them before what only contains them', () => {
  const items = ['Announce', 'New chat', 'A new chart', 'Über uns'].map((text) => ({ text }));
  assert.deepEqual(bestMatches('nc', items, 3).map(({ text }) => text), ['New chat', 'A new chart', 'Announce']);
  assert.deepEqual(match('nch', 'New chat').places, [0, 4, 5]);
  assert.equal(match('xyz', 'New chat'), null);
  assert.deepEqual(bestMatches('über', items, 3)[0].places, [0, 1, 2, 3]);
  assert.deepEqual(bestMatches('ounce', items, 3).map(({ text }) => text), ['Announce']);
  assert.deepEqual(match('b', '😀 b').places, [2]); // code points
});

const row = (day, model, tokens, cost_micros = null) => ({
  day, model, calls: 1, turns: 1, input_tokens: tokens, output_tokens: 1, cost_micros,
});

test('usage is summed by day and model', () => {
  const rows = [row('2026-02-28', 'a', 9), row('2026-03-01', 'a', 1, 500_000), row('2026-03-01', 'b', 99)];
  const days = daysBetween('2026-02-27', '2026-03-01');
  assert.deepEqual(days, ['2026-02-27', '2026-02-28', '2026-03-01']);
  assert.deepEqual(barsOf(rows, days).map(({ tokens, parts }) => [tokens, parts.length]), [[0, 0], [10, 1], [102, 2]]);
  assert.deepEqual(sumsBy(rows, 'model').map(({ model, cost_micros }) => [model, cost_micros]), [['b', null], ['a', 500_000]]);
  assert.equal(costWords(null, 'USD'), '–');
  assert.match(costWords(1_250_000, 'USD'), /1[.,]25/);
  assert.match(costWords(1_200, 'USD'), /0[.,]0012/);
  assert.match(costWords(5, 'not a currency'), /not a currency/);
  assert.match(budgetOf({ name: 'tokens_per_day', limit: 100, used: 40 }, null).leftWords, /^60 of 100 tokens left/);
  assert.match(budgetOf({ name: 'tokens_per_day', limit: 100, used: 140 }, null).leftWords, /used up/);
});
