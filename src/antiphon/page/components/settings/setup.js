// The first run: what the demo model is, and how to connect a real one.

import { useState } from '../../vendor/preact-hooks.js';
import { focusIfLost, useFormFocus } from '../../focus.js';
import { setPreference } from '../../preferences.js';
import { isAdmin } from '../../session.js';
import { reloadSetup } from '../../setup.js';
import { IconButton, html } from '../html.js';
import { Connect } from './connect.js';

export function Setup() {
  const [isOpen, setOpen] = useState(false);
  const dismiss = () => {
    setPreference('isSetupDismissed', true);
    document.querySelector('#composer-text')?.focus();
  };
  const finish = async () => {
    await reloadSetup();
    focusIfLost('#composer-text');
  };
  const part = useFormFocus(isOpen);
  if (isOpen)
    return html`<section ref=${part} class="item setup" aria-label="Connect a model">
    <${Connect} onDone=${finish} onCancel=${() => setOpen(false)} />
  </section>`;
  return html`<section ref=${part} class="item setup" aria-labelledby="setup-title" data-testid="setup">
    <div class="item-head"><h3 id="setup-title">The demo model answers</h3>
      <${IconButton} name="close" label="Do not show this again" onClick=${dismiss} /></div>
    <p>It is built in, needs no key, and costs nothing. It shows how everything works, but it knows nothing: its answers
      are prepared.</p>
    ${
      isAdmin.value
        ? html`<div class="row"><button type="button" class="primary" onClick=${() => setOpen(true)}>Connect a model</button>
            <span class="hint">It takes a minute. You need a key, or Ollama.</span></div>`
        : html`<p>Ask the person who runs this server to connect a real model.</p>`
    }
  </section>`;
}
