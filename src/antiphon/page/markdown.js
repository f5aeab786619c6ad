// Markdown to sanitised HTML, section by section (see sections.js) and block by block.
//
// Raw HTML is shown as text. Images of other origins become links; only data: images are shown. The result passes
// DOMPurify with a short list of tags and attributes, and the Content-Security-Policy of the web UI.

import DOMPurify from './vendor/purify.js';
import { Lexer, Marked } from './vendor/marked.js';
import { signal } from './vendor/signals.js';
import { isSafeLink } from './link.js';
import { mathExtensions } from './math_tokens.js';

const HIGHLIGHT_CHARS_MAX = 50_000;
const DATA_IMAGE = /^data:image\/(?:png|jpeg|gif|webp|avif|svg\+xml)[;,]/i;

const TAGS =
  'a blockquote br code del em h1 h2 h3 h4 h5 h6 hr img input li ol p pre span strong sup table tbody td th thead tr ul'.split(
    ' ',
  );
const ATTRIBUTES = 'align alt checked class disabled href rel src start target title type'.split(' ');
// the classes of the highlighter, as in "hljs-title function_ inherited__", of formulas and of references to footnotes
const CLASSES = /^(?:hljs(?:-[\w-]+)?(?: [a-z]+_{1,2})*|math-inline|math-block|note-reference)$/;

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
    // the language is shown by the frame that the page adds (see components/markdown.js)
    code({ text, lang }) {
      const language = languageOf(lang);
      return `<pre title="${escape(language)}"><code class="hljs">${highlighted(text, language)}</code></pre>`;
    },
  },
});

marked.use({ extensions: mathExtensions(escape) });

function linkHtml(href, inner, title) {
  if (!isSafeLink(href)) return inner;
  const titled = title ? ` title="${escape(title)}"` : '';
  return `<a href="${escape(href)}" rel="noopener noreferrer" target="_blank"${titled}>${inner}</a>`;
}

const purify = DOMPurify(window);
purify.addHook('uponSanitizeAttribute', (node, attribute) => {
  const { attrName, attrValue } = attribute;
  if (attrName === 'class') attribute.keepAttr = CLASSES.test(attrValue);
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

/** The blocks of a section's text as tokens, each with `names`: what its references may mean. `links` are the definitions
 *  of the whole text. */
export function blocksOf(text, links) {
  const lexer = new Lexer(marked.defaults);
  lexer.tokens.links = Object.assign(Object.create(null), links); // so that "[constructor]" is no link
  const tokens = readable(() => lexer.lex(text)) ?? [{ type: 'unreadable', raw: text }];
  const own = tokens.filter((token) => token.type === 'def').map((token) => token.raw);
  const names = `${nameOf(links)} ${own.join('')}`;
  return tokens
    .filter((token) => token.type !== 'space' && token.type !== 'def')
    .map((token) => Object.assign(token, { names: token.raw.includes('[') ? names : '' }));
}

/** `work()`, or undefined for a text that is nested too deeply (thousands of quotes): it is shown as it was written. */
function readable(work) {
  try {
    return work();
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

const linkNames = new WeakMap(); // by the links of a text, which are never changed: a name
let named = 0;

function nameOf(links) {
  if (!Object.keys(links).length) return '';
  if (!linkNames.has(links)) linkNames.set(links, String((named += 1)));
  return linkNames.get(links);
}

const CACHED_MAX = 2000;
const CACHED_CHARS_MAX = 20_000; // of a block; only one with an image in it is longer
const cached = new Map(); // by the block's text and links: unchanged blocks of a growing section are not parsed again

/** The sanitised HTML of a block. */
export function blockHtml(token) {
  const key = `${highlighter.value ? 1 : 0} ${token.names} ${token.raw}`;
  let html = cached.get(key);
  if (html === undefined) {
    html = token.type === 'unreadable' ? null : readable(() => sanitized(marked.parser([token])));
    html ??= `<p>${escape(token.raw)}</p>`;
    if (cached.size >= CACHED_MAX) cached.clear();
    if (token.raw.length <= CACHED_CHARS_MAX) cached.set(key, html);
  }
  return html;
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
