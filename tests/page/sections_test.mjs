// The splitter of Markdown. Run: node --test

import assert from 'node:assert/strict';
import test from 'node:test';
import { makeSplitter } from '../../src/antiphon/page/sections.js';

const split = (text) => makeSplitter()(text);
const whole = ({ sections }) =>
  sections.map((each) => (each.kind === 'code' ? `\`\`\`${each.info}\n${each.chunks.join('')}${each.isClosed ? '```\n' : ''}` : each.text)).join('');

const SAMPLE = `# Title

Some text with a [link][one].

- a
- b

  \`\`\`js
  inner
  \`\`\`

\`\`\`python
x = 1

y = 2
\`\`\`

$$
a

b
$$

| a | b |
|---|---|
| 1 | 2 |

[one]: https://example.org "Title"

The end[^n].

[^n]: A note
  that goes on.
`;

test('the sections are the text, and code is a section of its own', () => {
  const found = split(SAMPLE);
  assert.deepEqual(found.sections.filter((each) => each.kind === 'code').map((each) => [each.info, each.chunks.join('')]), [['python', 'x = 1\n\ny = 2\n']]);
  assert.equal(whole(found), SAMPLE.slice(0, SAMPLE.indexOf('[^n]:')).replace(/\n\n```python/, '\n\n```python'));
  assert.deepEqual(found.links, { one: { href: 'https://example.org', title: 'Title' } });
  assert.deepEqual(found.notes, [{ id: 'n', text: 'A note\nthat goes on.' }]);
});

test('the result is the same however the text arrives', () => {
  const text = `${SAMPLE}\r\n${SAMPLE.replace(/\n/g, '\r\n')}${'- item\n'.repeat(3000)}${'word '.repeat(8000)}\n`;
  const expected = split(text.replace(/\r\n/g, '\n'));
  for (const step of [1000, 37]) {
    const grow = makeSplitter();
    let found;
    for (let end = 0; end < text.length + step; end += step) found = grow(text.slice(0, end));
    assert.equal(whole(found), whole(expected));
    assert.equal(found.notes.length, expected.notes.length);
  }
});

test('what was split stays the same object when the text grows', () => {
  const grow = makeSplitter();
  const text = 'A paragraph of some words.\n\n'.repeat(2000);
  const before = grow(text).sections;
  const after = grow(`${text}more`).sections;
  assert.ok(before.length > 20);
  before.slice(0, -1).forEach((section, index) => assert.equal(after[index], section));
});

const ENDLESS = {
  'a paragraph of one line': 'word '.repeat(400_000),
  'a line without a space': 'x'.repeat(2_000_000),
  'a list': '- an item of a list\n'.repeat(100_000),
  'a quote': '> said\n'.repeat(200_000),
  'a table': `| a | b |\n|---|---|\n${'| 1 | 2 |\n'.repeat(150_000)}`,
  'code': `\`\`\`\n${'some code\n'.repeat(200_000)}`,
  'code in a list': `- a\n\n  \`\`\`js\n${'  some code\n'.repeat(150_000)}`,
  'a formula': `$$\n${'a + b\n'.repeat(300_000)}`,
  'definitions': Array.from({ length: 50_000 }, (_, n) => `[d${n}]: https://example.org/${n}\n`).join(''),
  'footnotes': Array.from({ length: 50_000 }, (_, n) => `[^d${n}]: note ${n}\n`).join(''),
};

for (const [name, text] of Object.entries(ENDLESS)) {
  test(`${name} of megabytes is cut into parts of a bounded size, whole`, () => {
    const { sections, notes } = split(text);
    for (const section of sections) {
      for (const part of section.chunks ?? [section.text]) assert.ok(part.length < 30_000, `${part.length}`);
    }
    if (name === 'a table') assert.ok(sections.every((each) => each.text.startsWith('| a | b |\n|---|---|\n')));
    if (name === 'footnotes') assert.ok(notes.length <= 2000);
    const words = whole({ sections }).match(/word|x|item|said|\| 1|some code|a \+ b|https/g)?.length ?? 0;
    if (name !== 'footnotes') assert.equal(words, text.match(/word|x|item|said|\| 1|some code|a \+ b|https/g).length);
  });
}

test('a surrogate pair is never cut', () => {
  const { sections } = split('😀'.repeat(100_000));
  assert.ok(sections.every((each) => each.text.isWellFormed()));
});

test('a long text is split in slices of time', () => {
  const grow = makeSplitter();
  let clock = 0;
  const now = () => (clock += 1);
  const text = 'Some words.\n\n'.repeat(50_000);
  let rounds = 0;
  while (!grow(text, { budget_ms: 10, now }).isDone) rounds += 1;
  assert.ok(rounds > 10);
  assert.equal(whole(grow(text)), text);
});

test('a fence closes code at the end of the text, without an end of line', () => {
  for (const mark of ['```', '~~~~']) {
    const { sections } = split(`one\n\n${mark}js\nx = 1\n${mark}`);
    assert.deepEqual(sections.at(-1), { kind: 'code', info: 'js', chunks: ['x = 1\n'], isClosed: true });
  }
  assert.equal(split('```\nx\n``').sections.at(-1).isClosed, false);
});
