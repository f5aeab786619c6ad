// Formulas and references to footnotes in Markdown: `$…$`, `$$…$$`, `\(…\)`, `\[…\]`, `[^1]`. Pure.
//
// A formula becomes an element with its source as text; the page renders it when the renderer is loaded (math.js).

const TEX_CHARS_MAX = 4000;

const INLINE = [
  /^\$\$((?:[^$\\]|\\[^]){1,4000}?)\$\$/,
  // as in Pandoc: no space inside of the dollars, and no digit behind them, so that "$5 and $6" is no formula
  /^\$(?![\s$])((?:[^$\\\n]|\\[^\n]){0,500}?(?:[^\s$\\]|\\[^\s]))\$(?!\d)/,
  /^\\\(([^]{1,4000}?)\\\)/,
  /^\\\[([^]{1,4000}?)\\\]/,
];
const BLOCK = [/^ {0,3}\$\$([^]{1,4000}?)\$\$[ \t]*(?:\n|$)/, /^ {0,3}\\\[([^]{1,4000}?)\\\][ \t]*(?:\n|$)/];
const NOTE = /^\[\^([^\]\s]{1,100})\]/;

/** The extensions for marked. `escape` makes text safe in HTML. */
export function mathExtensions(escape) {
  const inline = (src) => {
    const index = INLINE.findIndex((rule) => rule.test(src));
    if (index < 0) return undefined;
    const [raw, tex] = INLINE[index].exec(src);
    return { type: 'formula', raw, tex: tex.trim(), isBlock: index === 0 || index === 3 };
  };
  const block = (src) => {
    const found = BLOCK.map((rule) => rule.exec(src)).find(Boolean);
    return found && { type: 'formulaBlock', raw: found[0], tex: found[1].trim(), isBlock: true };
  };
  const note = (src) => {
    const found = NOTE.exec(src);
    return found ? { type: 'noteReference', raw: found[0], id: found[1] } : undefined;
  };
  const start = (src) => {
    const index = src.search(/\$|\\[([]|\[\^/);
    return index < 0 ? undefined : index;
  };
  const startOfBlock = (src) => src.match(/^ {0,3}(?:\$\$|\\\[)/m)?.index;
  const reference = ({ id }) => `<sup class="note-reference">${escape(id)}</sup>`;
  const formula = ({ tex, isBlock }) =>
    `<code class="math-${isBlock ? 'block' : 'inline'}">${escape(tex.slice(0, TEX_CHARS_MAX))}</code>`;
  return [
    { name: 'formula', level: 'inline', start, tokenizer: inline, renderer: formula },
    { name: 'noteReference', level: 'inline', start, tokenizer: note, renderer: reference },
    {
      name: 'formulaBlock',
      level: 'block',
      start: startOfBlock,
      tokenizer: block,
      renderer: (token) => `<p>${formula(token)}</p>`,
    },
  ];
}
