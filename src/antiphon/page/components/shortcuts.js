// The sheet of keyboard shortcuts.

import { COMMANDS, OTHER_KEYS, overlay } from '../commands.js';
import { html } from './html.js';
import { useModal } from './modal.js';

const close = () => (overlay.value = '');

export function Shortcuts() {
  const dialog = useModal();
  const everywhere = COMMANDS.filter(({ keys }) => keys).map(({ keys, label }) => [keys, label]);
  return html`<dialog ref=${dialog} class="shortcuts" aria-labelledby="shortcuts-title" data-testid="shortcuts" onCancel=${close}>
    <h2 id="shortcuts-title">Keyboard shortcuts</h2>
    ${[['Everywhere', everywhere], ...OTHER_KEYS].map(
      ([title, keys]) => html`<h3>${title}</h3>
      <dl>${keys.map(([key, words]) => html`<dt>${words}</dt><dd><kbd>${key}</kbd></dd>`)}</dl>`,
    )}
    <p class="hint">The keys without Ctrl work while no text is being written.</p>
    <div class="row end"><button type="button" class="primary" onClick=${close} autofocus>Close</button></div>
  </dialog>`;
}
