// The toast: a status message with one button. It goes after some seconds, later while the pointer or the focus is on it.

import { useEffect, useRef } from '../vendor/preact-hooks.js';
import { focusIfLost } from '../focus.js';
import { endToast, toast } from '../toast.js';
import { IconButton, html } from './html.js';

const SHOWN_MS = 6_000;

function end(how) {
  endToast(how);
  focusIfLost('#composer-text', 'main h1');
}

/** The element that announces is always present: a screen reader reads what is added to it. */
export const Toast = () => html`<div role="status" aria-live="polite" data-testid="toast">
  ${toast.value && html`<${Open} key=${toast.value} ...${toast.value} />`}
</div>`;

function Open({ text, actionLabel, onAction }) {
  const timer = useRef(0);
  const stop = () => clearTimeout(timer.current);
  const start = () => {
    stop();
    timer.current = setTimeout(endToast, SHOWN_MS);
  };
  useEffect(() => {
    start();
    return stop;
  }, []);
  return html`<div class="toast" onMouseEnter=${stop} onMouseLeave=${start} onFocusIn=${stop} onFocusOut=${start}>
    <span dir="auto">${text}</span>
    ${
      onAction &&
      html`<button type="button" class="quiet" onClick=${() => end({ isReverted: true })}>${actionLabel}</button>`
    }
    <${IconButton} name="close" label="Dismiss" onClick=${() => end()} />
  </div>`;
}
