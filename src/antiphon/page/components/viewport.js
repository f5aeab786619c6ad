// Shows only the rows around the viewport of a scrolled list; the others are spacers of their measured height. The position
// of what is being read is kept while rows are added, removed and resized, and the end stays visible while it is.
//
// How: after each rendering, and whenever a row is resized, the row that was first visible (the anchor) is moved back to
// where it was. A row that was never shown has an estimated height; when it is rendered, the anchor corrects the error.

import { useLayoutEffect, useMemo, useReducer, useRef } from '../vendor/preact-hooks.js';
import { isPrinting } from '../printing.js';
import { html } from './html.js';

const BOTTOM_PX = 24; // maximum distance that counts as at the bottom
const ESTIMATE_PX = 140;
const MARGIN_PX_MIN = 500;
const HEIGHTS_MAX = 5000;

/**
 * The state of a viewport. `keys` are those of the rows, in order; `hasLater`: the list continues after its last row.
 * `onScrolled({top_px, bottom_px, isStuck})` gets the distances to the ends of the list after each scrolling.
 * Returns {scroller (a ref), spans, observer, toEnd, toRow, stick}.
 */
export function useViewport({ keys, hasLater, onScrolled }) {
  const scroller = useRef(null);
  const [, rerender] = useReducer((count) => count + 1, 0);
  const port = useMemo(() => new Viewport(scroller, rerender), []);
  Object.assign(port, { keys, hasLater, onScrolled });
  isPrinting.value; // rendered again when printing begins and ends
  useLayoutEffect(() => port.settle());
  useLayoutEffect(() => {
    port.resizes.observe(scroller.current);
    port.resizes.observe(scroller.current.firstElementChild);
    return () => port.resizes.disconnect();
  }, []);
  return { scroller, port, spans: port.spans() };
}

class Viewport {
  keys = [];
  hasLater = false;
  heights = new Map();
  isStuck = true;
  anchor = null; // {key, offset_px}: the first visible row and its distance to the top of the viewport
  pinned = new Set();
  last_px = 0; // scrollTop as it was left
  range = [0, 0];
  hasOverflow = false; // as of the last resizing: asking for it in a rendering would force a layout

  constructor(scroller, rerender) {
    this.scroller = scroller;
    this.rerender = rerender;
    this.resizes = new ResizeObserver((entries) => this.resized(entries));
  }

  /** What to render: [{key}] for rows, [{height_px, key}] for spacers. */
  spans() {
    this.range = this.findRange();
    const [from, to] = this.range;
    const spans = [];
    this.keys.forEach((key, index) => {
      if ((index >= from && index < to) || this.pinned.has(key)) spans.push({ key });
      else if (spans.at(-1)?.height_px !== undefined) spans.at(-1).height_px += this.height(key);
      else spans.push({ key: `s${key}`, height_px: this.height(key) });
    });
    return spans;
  }

  height(key) {
    return this.heights.get(key) ?? ESTIMATE_PX;
  }

  /** [from, to): the rows within a margin around the viewport. */
  findRange() {
    const element = this.scroller.current;
    const shown_px = element?.clientHeight || 800;
    const margin_px = Math.max(shown_px, MARGIN_PX_MIN);
    const count = this.keys.length;
    if (isPrinting.peek()) return [0, count];
    const place = this.anchor ? this.keys.indexOf(this.anchor.key) : -1;
    if (this.isStuck || (place < 0 && !element)) return [this.reach(count, -1, shown_px + margin_px), count];
    if (place >= 0) {
      const offset_px = this.anchor.offset_px;
      return [
        this.reach(place, -1, margin_px + Math.max(0, offset_px)),
        this.reach(place, 1, shown_px + margin_px - offset_px),
      ];
    }
    let top_px = element.scrollTop;
    let first = 0;
    while (first < count - 1 && top_px > this.height(this.keys[first])) top_px -= this.height(this.keys[first++]);
    return [this.reach(first, -1, margin_px), this.reach(first, 1, shown_px + margin_px + top_px)];
  }

  /** The index that is `px` away from the start of the row `index`, in a direction. */
  reach(index, step, px) {
    let at = index;
    let left_px = px;
    while (left_px > 0 && (step < 0 ? at > 0 : at < this.keys.length)) {
      left_px -= this.height(this.keys[step < 0 ? at - 1 : at]);
      at += step;
    }
    return at;
  }

  resized(entries) {
    for (const { target, borderBoxSize } of entries) {
      if (target.dataset.key) this.heights.set(target.dataset.key, borderBoxSize[0].blockSize);
    }
    if (this.heights.size > HEIGHTS_MAX) this.heights.clear();
    this.settle();
    const { scrollHeight, clientHeight } = this.scroller.current ?? {};
    this.hasOverflow = scrollHeight > clientHeight + BOTTOM_PX;
    if (this.findRange().some((end, index) => end !== this.range[index])) this.rerender();
  }

  /** Moves the viewport to its end, or back to its anchor. */
  settle() {
    const element = this.scroller.current;
    if (!element) return;
    if (this.isStuck && !this.hasLater) {
      element.scrollTop = element.scrollHeight;
      this.last_px = element.scrollTop;
      return;
    }
    const row = this.anchor && this.find(this.anchor.key);
    if (!row) return this.findAnchor();
    const { inner } = this.anchor; // within a long answer, the section that is read
    const moved_px = inner?.isConnected
      ? this.offsetOf(inner) - this.anchor.inner_px
      : this.offsetOf(row) - this.anchor.offset_px;
    if (Math.abs(moved_px) >= 1) element.scrollTop += moved_px;
  }

  find(key) {
    return this.scroller.current.querySelector(`.slot[data-key="${CSS.escape(key)}"]`);
  }

  offsetOf(row) {
    return row.getBoundingClientRect().top - this.scroller.current.getBoundingClientRect().top;
  }

  findAnchor() {
    const top_px = this.scroller.current.getBoundingClientRect().top;
    this.anchor = null;
    for (const row of this.scroller.current.querySelectorAll('.slot')) {
      const box = row.getBoundingClientRect();
      if (box.bottom <= top_px || !this.keys.includes(row.dataset.key)) continue;
      if (box.top - top_px < this.scroller.current.clientHeight) {
        this.anchor = { key: row.dataset.key, offset_px: box.top - top_px, ...this.findInner(row, top_px) };
      }
      return;
    }
  }

  findInner(row, top_px) {
    const sections = row.querySelectorAll('.section');
    let [from, to] = [0, sections.length]; // they are in order: the first whose bottom is visible, by bisection
    while (from < to) {
      const middle = (from + to) >> 1;
      if (sections[middle].getBoundingClientRect().bottom > top_px) to = middle;
      else from = middle + 1;
    }
    const inner = sections[from];
    return inner && { inner, inner_px: inner.getBoundingClientRect().top - top_px };
  }

  scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller.current;
    const bottom_px = scrollHeight - scrollTop - clientHeight;
    // while the end is shown, only scrolling up leaves it: what is added below may be scrolled past a moment later
    const isStill = this.isStuck && scrollTop >= this.last_px - 1;
    this.isStuck = (isStill || bottom_px < BOTTOM_PX) && !this.hasLater;
    this.last_px = scrollTop;
    this.findAnchor();
    this.pin();
    this.onScrolled({ top_px: scrollTop, bottom_px, isStuck: this.isStuck });
    if (this.findRange().some((end, index) => end !== this.range[index])) this.rerender();
  }

  /** A row with the focus or an editor stays rendered: what is typed there is not lost. */
  pin() {
    const held = [...this.scroller.current.querySelectorAll('.slot :is(.editor, :focus)')];
    this.pinned = new Set(held.map((element) => element.closest('.slot').dataset.key));
  }

  toEnd() {
    this.isStuck = true;
    this.anchor = null;
    this.rerender();
  }

  /** Shows a row at the top of the viewport. */
  toRow(key, offset_px = 12) {
    this.isStuck = false;
    this.anchor = { key, offset_px };
    this.rerender();
  }

  unstick() {
    if (!this.isStuck) return;
    this.isStuck = false;
    this.findAnchor();
  }
}

/** A row; its height is measured. */
export function Slot({ id, port, children }) {
  const slot = useRef(null);
  useLayoutEffect(() => {
    const element = slot.current;
    port.resizes.observe(element);
    return () => port.resizes.unobserve(element);
  }, []);
  return html`<div class="slot" ref=${slot} data-key=${id}>${children}</div>`;
}

export function Spacer({ height_px }) {
  const spacer = useRef(null);
  useLayoutEffect(() => {
    spacer.current.style.height = `${height_px}px`;
  }, [height_px]);
  return html`<div class="spacer" ref=${spacer} aria-hidden="true"></div>`;
}
