// Markdown to sanitised HTML, block by block, so that a growing text renders only the changed blocks.
//
// Raw HTML is shown as text. Images of other origins become links; only data: images are shown. The result passes
// DOMPurify with a short list of tags and attributes, and the Content-Security-Policy of the web UI.

import DOMPurify from './vendor/purify.js';
import { Lexer, Marked } from './vendor/marked.js';
import { signal } from './vendor/signals.js';

/** Maximum length of a block. A longer one is shown as plain text: parsing it in each frame would block the tab. */
const BLOCK_CHARS_MAX = 200_000;
/** Maximum length of the text that is parsed as Markdown, in pieces of BLOCK_CHARS_MAX; the rest is plain text. */
const PARSED_CHARS_MAX = 2_000_000;
const HIGHLIGHT_CHARS_MAX = 50_000;

const TAGS = [
  'a',
  'blockquote',
  'br',
  'code',
  'del',
  'em',
  'h1',
  'h2',
  'h3',
  'h4',
  'h5',
  'h6',
  'hr',
  'img',
  'input',
  'li',
  'ol',
  'p',
  'pre',
  'span',
  'strong',
  'table',
  'tbody',
  'td',
  'th',
  'thead',
  'tr',
  'ul',
];
const ATTRIBUTES = [
  'align',
  'alt',
  'checked',
  'class',
  'disabled',
  'href',
  'rel',
  'src',
  'start',
  'target',
  'title',
  'type',
];
const LINK_SCHEMES = new Set(['https:', 'http:', 'mailto:', 'tel:']);
// the classes of the highlighter, as in "hljs-title function_ inherited__"
const HIGHLIGHT_CLASSES = /^hljs(?:-[\w-]+)?(?: [a-z]+_{1,2})*$/;
const DATA_IMAGE = /^data:image\/(?:png|jpeg|gif|webp|avif|svg\+xml)[;,]/i;

const escape = (text) =>
  text.replace(/[&<>"']/g, (char) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' })[char]);

// --- from Markdown to HTML --------------------------------------------------------------------------

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ raw }) => (/^<br\s*\/?>$/i.test(raw) ? '<br>' : escape(raw)),
    link({ href, title, tokens }) {
      return linkHtml(href, this.parser.parseInline(tokens), title);
    },
    image({ href, title, text }) {
      if (!DATA_IMAGE.test(href)) return linkHtml(href, escape(text || href), title ?? 'image');
      return `<img src="${escape(href)}" alt="${escape(text)}">`;
    },
    code: ({ text, lang }) => `<pre><code class="hljs">${highlighted(text, languageOf(lang))}</code></pre>`,
  },
});

/** Whether an address that a model wrote may become a link. Links to this origin are not allowed: `#token=` would sign
 *  the reader in as another owner. */
export function isSafeLink(href) {
  try {
    const { protocol, origin } = new URL(href, document.baseURI);
    return LINK_SCHEMES.has(protocol) && origin !== location.origin;
  } catch {
    return false;
  }
}

function linkHtml(href, inner, title) {
  if (!isSafeLink(href)) return inner;
  const titled = title ? ` title="${escape(title)}"` : '';
  return `<a href="${escape(href)}" rel="noopener noreferrer" target="_blank"${titled}>${inner}</a>`;
}

const purify = DOMPurify(window);
purify.addHook('uponSanitizeAttribute', (node, attribute) => {
  const { attrName, attrValue } = attribute;
  if (attrName === 'class') attribute.keepAttr = HIGHLIGHT_CLASSES.test(attrValue);
  if (attrName === 'src') attribute.keepAttr = DATA_IMAGE.test(attrValue);
});
purify.addHook('afterSanitizeAttributes', (node) => {
  if (node.tagName === 'A') {
    node.setAttribute('target', '_blank');
    node.setAttribute('rel', 'noopener noreferrer');
  }
  if (node.tagName === 'INPUT') node.setAttribute('disabled', ''); // the boxes of a task list
});

const sanitized = (html) =>
  purify.sanitize(html, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
  });

// --- blocks -----------------------------------------------------------------------------------------

/**
 * Returns `split(text)`, which returns the blocks of a text as `[{raw, token}]`. It caches the last text: if the next
 * text extends it, all blocks but the last are the same objects, and only the rest is parsed.
 */
export function makeSplitter() {
  let held = { text: '', blocks: [], links: {} };
  return function split(given) {
    const text = given.includes('\r') ? given.replace(/\r\n?/g, '\n') : given; // as the lexer does
    if (text === held.text) return held.blocks;
    const isGrown = text.startsWith(held.text);
    const blocks = isGrown ? held.blocks.slice(0, -1) : [];
    const links = isGrown ? held.links : {};
    let start = blocks.reduce((sum, block) => sum + block.raw.length, 0);
    let isPlain = isGrown && held.blocks.at(-1)?.raw.length > BLOCK_CHARS_MAX;
    while (start < text.length && !isPlain) {
      const piece = text.slice(start, start + BLOCK_CHARS_MAX);
      const isLast = start + piece.length === text.length;
      const found = lexed(piece, links);
      if (!isLast) found.pop(); // it is truncated
      isPlain = !found.length || start > PARSED_CHARS_MAX;
      if (isPlain) break;
      blocks.push(...found);
      start += found.reduce((sum, block) => sum + block.raw.length, 0);
    }
    if (isPlain) blocks.push(plainBlock(text.slice(start)));
    held = { text, blocks, links };
    return blocks;
  };
}

const plainBlock = (text) => ({ raw: text, token: { type: 'plain', text } });

/** The blocks of a piece. `links` has the link definitions so far; new ones are added. */
function lexed(piece, links) {
  const lexer = new Lexer(marked.defaults);
  Object.assign(lexer.tokens.links, links);
  const tokens = lexer.lex(piece);
  Object.assign(links, tokens.links);
  return joined(tokens);
}

// Blank lines belong to the block before them, so that the last block, which the next text may change, is never blank.
function joined(tokens) {
  const blocks = [];
  for (const token of tokens) {
    if (token.type === 'space' && blocks.length) blocks.at(-1).raw += token.raw;
    else if (token.type === 'space' || token.type === 'def') blocks.push({ raw: token.raw, token: null });
    else blocks.push({ raw: token.raw, token });
  }
  return blocks;
}

const rendered = new WeakMap();

/** The sanitised HTML of a block that is not a code block; cached until the highlighter is loaded. */
export function blockHtml(token) {
  let held = rendered.get(token);
  if (held?.by !== highlighter.value) {
    held = { by: highlighter.value, html: sanitized(marked.parser([token])) };
    rendered.set(token, held);
  }
  return held.html;
}

// --- code -------------------------------------------------------------------------------------------

/** The highlighter, loaded for the first code block. */
export const highlighter = signal(null);
let isRequested = false;

function loadHighlighter() {
  if (isRequested) return;
  isRequested = true;
  import('./vendor/highlight.js').then((module) => (highlighter.value = module.default));
}

export const languageOf = (info) =>
  (info ?? '')
    .trim()
    .split(/[\s,{]/)[0]
    .toLowerCase();

/** Code as HTML; highlighted if its language is known and the highlighter is loaded. */
export function highlighted(code, language) {
  if (!language || code.length > HIGHLIGHT_CHARS_MAX) return escape(code);
  loadHighlighter();
  const known = highlighter.value?.getLanguage(language);
  return known ? sanitized(highlighter.value.highlight(code, { language, ignoreIllegals: true }).value) : escape(code);
}
