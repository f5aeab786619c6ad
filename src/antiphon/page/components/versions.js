// Earlier versions: the pager under what was edited or answered again, and the line above a version that is shown.

import { fork, showVersion, shownVersion, versionsAfter } from '../versions.js';
import { IconButton, html } from './html.js';

/** `after` is the message before what has versions (0: none). */
export function VersionPager({ after }) {
  const group = after === undefined ? [] : versionsAfter(after);
  if (!group.length) return null;
  const count = group.length + 1;
  const shown = shownVersion.value;
  const number = shown && (shown.version.after_message_id ?? 0) === after ? shown.number : count;
  return html`<span class="pager" data-testid="versions" role="group" aria-label="Versions">
    <${IconButton} name="back" label="Earlier version" disabled=${number === 1} onClick=${() => showVersion(after, number - 1)} />
    <span class="meta">${number}/${count}</span>
    <${IconButton} name="forward" label="Later version" disabled=${number === count} onClick=${() => showVersion(after, number + 1)} />
  </span>`;
}

export function VersionLine() {
  const shown = shownVersion.value;
  if (!shown) return null;
  return html`<div class="version-line" role="status" data-testid="version-line">
    <span>This is an earlier version.</span>
    <button type="button" class="quiet" onClick=${() => fork({ message_id: shown.messages.at(-1)?.id, as_of: shown.version.seq - 1 })}>Continue from here</button>
    <button type="button" class="quiet" onClick=${() => (shownVersion.value = null)}>Back to the newest</button>
  </div>`;
}
