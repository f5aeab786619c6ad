// A growing Markdown text, split into sections at linear cost. Pure.
//
// A scanner reads each line once and cuts the text where Markdown allows it: before a line that begins at the margin
// after a blank line. Code between fences is a section of its own, in chunks. What has no such place (a list, a table or
// a paragraph of megabytes) is cut at SECTION_CHARS_MAX: between two items, after a repetition of the table's head, or
// at a space. So a section can be parsed in a few milliseconds, and when the text grows, only the last section changes.

const SECTION_CHARS = 2000; // from this length on a section is cut at the next good place
const SECTION_CHARS_MAX = 4000; // and here at any line
const LINE_CHARS_MAX = 6000;
const CHUNK_CHARS = 8000; // of code
const DEFINITIONS_MAX = 2000; // links and footnotes
const LINES_PER_CHECK = 128;

const FENCE = /^ {0,3}(`{3,}(?=[^`]*$)|~{3,})(.*)$/;
const INNER_FENCE = /^(?:[ \t>]|(?:[-*+]|\d{1,9}[.)])[ \t]+)*(`{3,}(?=[^`]*$)|~{3,})(.*)$/;
const ITEM = /^ {0,3}(?:[-*+]|\d{1,9}[.)])(?:[ \t]|$)/;
const DEFINITION = /^ {0,3}\[(?!\^)((?:[^\]\\]|\\.){1,200})\]:[ \t]*<?([^\s>]+)>?(?:[ \t]+["'(](.*)["')])?[ \t]*$/;
const NOTE = /^ {0,3}\[\^([^\]\s]{1,100})\]:[ \t]*(.*)$/;
const TABLE_RULE = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const HAS_DATA_IMAGE = /\]\(data:image/;

/**
 * A splitter of one text. `split(text, {budget_ms, now})` returns {sections, links, notes, isDone}; a text that continues
 * the last one costs only what is new. After `budget_ms` it stops (isDone is false): call it again with the same text.
 *
 * A section is {kind: 'text', text} or {kind: 'code', info, chunks, isClosed}; all but the last are the same objects the
 * next time. `links` are the definitions for the lexer, `notes` the footnotes: [{id, text}].
 */
export function makeSplitter() {
  let given = '';
  let scanner = new Scanner();
  return function split(text, { budget_ms = Infinity, now = () => 0 } = {}) {
    if (!text.startsWith(given)) scanner = new Scanner();
    given = text;
    const isDone = scanner.scan(text, now() + budget_ms, now);
    return { sections: scanner.sections(), links: scanner.links, notes: scanner.notes, isDone };
  };
}

class Scanner {
  text = ''; // with \n as the only end of a line
  read = 0; // length of the given text that `text` has
  at = 0; // start of the next line
  start = 0; // start of the section
  searched = 0; // no end of a line before it
  closed = [];
  prefix = ''; // what the section begins with, although the text does not
  links = {};
  notes = [];
  definitions = 0;
  code = null; // {mark, info, chunks, start}: the open fence
  inner = null; // {mark, line}: a fence within a list or quote
  mathEnd = ''; // what ends the formula that is open
  isAfterBlank = true;
  isInList = false;
  isInNote = false;
  table = null; // the head and rule of the table that is open
  lineBefore = '';
  last = null; // the last section, while it is open

  scan(given, until, now) {
    this.append(given);
    for (let count = 1; ; count++) {
      const end = this.text.indexOf('\n', Math.max(this.at, this.searched));
      if (end < 0) this.searched = this.text.length;
      const stop = end < 0 ? this.text.length : end;
      if (stop - this.at > LINE_CHARS_MAX && this.cutLine(stop)) {
        this.searched = this.at;
      } else if (end < 0) {
        return true;
      } else {
        this.line(this.text.slice(this.at, end), end + 1);
        this.at = end + 1;
      }
      if (count % LINES_PER_CHECK === 0 && now() > until) return false;
    }
  }

  append(given) {
    const isHeld = given.endsWith('\r'); // it may be the first half of \r\n
    const next = given.slice(this.read, isHeld ? -1 : undefined);
    this.read += next.length;
    this.text += next.includes('\r') ? next.replace(/\r\n?/g, '\n') : next;
  }

  /** Cuts a line that is too long at a space. */
  cutLine(stop) {
    if (!this.code && HAS_DATA_IMAGE.test(this.text.slice(this.at, this.at + LINE_CHARS_MAX))) return false;
    const limit = this.at + SECTION_CHARS_MAX;
    const space = this.text.lastIndexOf(' ', limit);
    let cut = space > this.at ? space + 1 : limit;
    if (isLowSurrogate(this.text.charCodeAt(cut))) cut += 1;
    if (cut >= stop) return false;
    if (this.code) this.chunk(cut);
    else this.cut(cut);
    this.at = cut;
    return true;
  }

  line(line, next) {
    if (this.code) return this.codeLine(line, next);
    if (this.inner || this.mathEnd) this.heldLine(line);
    else if (this.isNote(line, next)) return undefined;
    else this.textLine(line);
    if (this.code) this.code.start = next;
    this.isAfterBlank = line.trim() === '';
    this.lineBefore = line;
    return undefined;
  }

  /** A line in a fence of a list or quote, or in a formula. */
  heldLine(line) {
    if (this.at - this.start > SECTION_CHARS_MAX) {
      const { inner } = this;
      this.cut(this.at, inner ? `${inner.mark}\n` : '', inner ? `${inner.mark}${inner.info}\n` : '');
      if (!inner) this.mathEnd = '';
    }
    if (this.inner && isEndOf(line.replace(/^[\s>]+/, ''), this.inner.mark)) this.inner = null;
    else if (this.mathEnd && line.includes(this.mathEnd)) this.mathEnd = '';
  }

  textLine(line) {
    const isItem = ITEM.test(line);
    const isAtMargin = /^\S/.test(line);
    if (isAtMargin && !isItem && this.isAfterBlank) this.isInList = false;
    this.cutBefore(line, isItem, isAtMargin);
    const fence = !(this.isInList && /^ {2}/.test(line)) && FENCE.exec(line);
    if (fence) {
      this.cut(this.at);
      this.code = { mark: fence[1], info: fence[2].trim(), chunks: [], start: 0 };
      this.isInList = false;
      return;
    }
    if (isItem) this.isInList = true;
    const inner = INNER_FENCE.exec(line);
    if (inner) this.inner = { mark: inner[1], info: inner[2] };
    this.define(line);
    this.openMath(line);
    if (this.isAfterBlank || line.trim() === '') this.table = null;
    else if (!this.table && line.includes('|') && TABLE_RULE.test(line)) this.table = `${this.lineBefore}\n${line}\n`;
  }

  cutBefore(line, isItem, isAtMargin) {
    const length = this.at - this.start;
    if (length === 0) return;
    const isGoodPlace = this.isAfterBlank && isAtMargin && !(isItem && this.isInList) && !/^[>|]/.test(line);
    if (length > SECTION_CHARS && isGoodPlace) this.cut(this.at);
    else if (length > SECTION_CHARS_MAX && line.trim() !== '') {
      // an item of a list begins at its marker: the parts of a long list look like one list
      if (!this.isInList || isItem || length > 2 * SECTION_CHARS_MAX) this.cut(this.at, '', this.table ?? '');
    }
  }

  openMath(line) {
    const found = /^\s*(\$\$|\\\[)/.exec(line);
    if (!found) return;
    const end = found[1] === '$$' ? '$$' : '\\]';
    if (!line.slice(found[0].length).includes(end)) this.mathEnd = end;
  }

  define(line) {
    const found = line.includes(']:') && DEFINITION.exec(line);
    if (!found || this.definitions >= DEFINITIONS_MAX) return;
    const label = found[1].toLowerCase().replace(/\s+/g, ' ');
    if (Object.hasOwn(this.links, label)) return;
    this.definitions += 1;
    this.links = { ...this.links, [label]: { href: found[2], title: found[3] } };
  }

  /** Whether the line is part of a footnote's definition, which is not shown in its place. */
  isNote(line, next) {
    const found = NOTE.exec(line);
    if (found && this.notes.length < DEFINITIONS_MAX) {
      this.cut(this.at);
      this.notes = [...this.notes, { id: found[1], text: found[2] }];
      this.isInNote = true;
    } else if (this.isInNote && (/^( {2}|\t)/.test(line) || line.trim() === '')) {
      const note = this.notes.at(-1);
      this.notes = [...this.notes.slice(0, -1), { ...note, text: `${note.text}\n${line.trim()}` }];
    } else {
      this.isInNote = false;
      return false;
    }
    this.start = next;
    this.isAfterBlank = true;
    return true;
  }

  codeLine(line, next) {
    if (isEndOf(line, this.code.mark)) {
      this.chunk(this.at);
      this.closed.push(this.codeSection(true));
      this.code = null;
      this.start = next;
      this.isAfterBlank = true;
    } else if (next - this.code.start > CHUNK_CHARS) this.chunk(next);
  }

  chunk(end) {
    const { code } = this;
    if (end > code.start) code.chunks.push(this.text.slice(code.start, end));
    code.start = end;
  }

  codeSection(isClosed, rest = '') {
    const { info, chunks } = this.code;
    return { kind: 'code', info, chunks: rest ? [...chunks, rest] : isClosed ? chunks : [...chunks], isClosed };
  }

  /** Ends the section at `end`. The next one begins with `prefix`. */
  cut(end, suffix = '', prefix = '') {
    const text = this.prefix + this.text.slice(this.start, end) + suffix;
    if (text.trim()) this.closed.push({ kind: 'text', text });
    this.start = end;
    this.prefix = prefix;
  }

  sections() {
    if (this.code) {
      const isClosed = isEndOf(this.text.slice(this.at), this.code.mark); // a text may end without an end of line
      const rest = this.text.slice(this.code.start, isClosed ? this.at : undefined);
      return [...this.closed, this.codeSection(isClosed, rest)];
    }
    const text = this.isInNote ? '' : this.prefix + this.text.slice(this.start);
    return text.trim() ? [...this.closed, this.open(text)] : this.closed.slice();
  }

  // the same object while the text is the same
  open(text) {
    if (this.last?.text !== text) this.last = { kind: 'text', text };
    return this.last;
  }
}

/** Whether a line closes a fence that was opened with `mark`. */
function isEndOf(line, mark) {
  const found = /^ {0,3}(`{3,}|~{3,})[ \t]*$/.exec(line);
  return found !== null && found[1][0] === mark[0] && found[1].length >= mark.length;
}

const isLowSurrogate = (code) => code >= 0xdc00 && code <= 0xdfff;
