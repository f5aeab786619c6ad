// A part of a long text: outside of a margin around the viewport, it is an empty box of its height.

import { useLayoutEffect, useRef, useState } from '../vendor/preact-hooks.js';
import { isPrinting } from '../printing.js';
import { html } from './html.js';

const MARGIN_PX = 900;
const SHOWN_PER_FRAME = 2; // the others follow: many at once would block the tab

const shows = new WeakMap(); // by element: what is called when it enters the margin or leaves it
const observers = new WeakMap(); // by scrolled element

function observerOf(root) {
  const key = root ?? document.body;
  if (!observers.has(key))
    observers.set(key, new IntersectionObserver(onChange, { root, rootMargin: `${MARGIN_PX}px 0px` }));
  return observers.get(key);
}

const coming = new Set(); // elements within the margin that are not shown yet
let isScheduled = false;

function onChange(entries) {
  for (const { target, isIntersecting, boundingClientRect } of entries) {
    if (isIntersecting) coming.add(target);
    else if (!coming.delete(target)) shows.get(target)?.(false, boundingClientRect.height);
  }
  schedule();
}

function schedule() {
  if (isScheduled || !coming.size) return;
  isScheduled = true;
  requestAnimationFrame(() => {
    isScheduled = false;
    const places = [...coming].map((element) => [distance(element), element]).sort(([one], [other]) => one - other);
    for (const [, element] of places.slice(0, SHOWN_PER_FRAME)) {
      coming.delete(element);
      shows.get(element)?.(true);
    }
    schedule();
  });
}

/** From the middle of the window: what is visible comes first. */
function distance(element) {
  const { top, bottom } = element.getBoundingClientRect();
  return Math.abs((top + bottom) / 2 - innerHeight / 2);
}

/** `body()` renders the part; `estimate()` is its height in pixels until it was shown. Without `isDeferred` it is shown. */
export function Deferred({ isDeferred, estimate, body }) {
  const box = useRef(null);
  const [isWithin, setWithin] = useState(!isDeferred);
  const within = useRef(isWithin);
  const isShown = isWithin || !isDeferred || isPrinting.value;
  useLayoutEffect(() => {
    if (!isDeferred) return undefined;
    const element = box.current;
    const observer = observerOf(element.closest('.transcript'));
    shows.set(element, (isIn, seen_px) => {
      if (isIn === within.current) return;
      if (!isIn) element.style.minHeight = `${seen_px}px`;
      within.current = isIn;
      setWithin(isIn);
    });
    observer.observe(element);
    return () => {
      observer.unobserve(element);
      coming.delete(element);
    };
  }, [isDeferred]);
  useLayoutEffect(() => {
    const { style } = box.current;
    if (isShown) style.minHeight = '';
    else style.minHeight ||= `${Math.round(estimate())}px`;
  }, [isShown]);
  return html`<div class="section" ref=${box}>${isShown && body()}</div>`;
}
