// A part that unfolds. What is open stays open when its row leaves the viewport and returns.

import { useState } from '../vendor/preact-hooks.js';
import { html } from './html.js';

const open = new Set();
const OPEN_MAX = 500;

/** `id` is unique in the chat; `body()` makes what is shown when it is open. */
export function Fold({ id, summary, body, class: extra = '', isOpen = false, ...rest }) {
  const [isShown, setShown] = useState(open.has(id) || isOpen);
  const onToggle = ({ target }) => {
    setShown(target.open);
    open.delete(id);
    if (target.open) open.add(id);
    if (open.size > OPEN_MAX) open.delete(open.values().next().value);
  };
  return html`<details class="fold ${extra}" open=${isShown} onToggle=${onToggle} ...${rest}>
    <summary>${summary}</summary>
    ${isShown && body()}
  </details>`;
}
