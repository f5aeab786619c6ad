// A part of a long text: while it is far from the viewport, it is an empty box of its height.

import { useLayoutEffect, useRef, useState } from '../vendor/preact-hooks.js';
import { html } from './html.js';

const MARGIN_PX = 1200;

const shows = new WeakMap(); // by element: what is called when it comes near or goes away
const observers = new WeakMap(); // by scrolled element

function observerOf(root) {
  const key = root ?? document.body;
  if (!observers.has(key)) {
    const onChange = (entries) => entries.forEach(({ target, isIntersecting }) => shows.get(target)?.(isIntersecting));
    observers.set(key, new IntersectionObserver(onChange, { root, rootMargin: `${MARGIN_PX}px 0px` }));
  }
  return observers.get(key);
}

/** `body()` renders the part; `height_px` is its estimated height until it was shown. Without `isFar` it is shown. */
export function Far({ isFar, height_px, body }) {
  const box = useRef(null);
  const [isNear, setNear] = useState(!isFar);
  const isShown = isNear || !isFar;
  useLayoutEffect(() => {
    if (!isFar) return undefined;
    const element = box.current;
    const observer = observerOf(element.closest('.transcript'));
    shows.set(element, (isIn) => {
      if (!isIn) element.style.minHeight = `${element.offsetHeight}px`;
      setNear(isIn);
    });
    observer.observe(element);
    return () => observer.unobserve(element);
  }, [isFar]);
  useLayoutEffect(() => {
    const { style } = box.current;
    if (isShown) style.minHeight = '';
    else style.minHeight ||= `${Math.round(height_px)}px`;
  }, [isShown]);
  return html`<div class="section" ref=${box}>${isShown && body()}</div>`;
}
