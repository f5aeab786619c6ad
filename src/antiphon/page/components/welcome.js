// The page of a new chat, before its first message.

import { ICON } from '../icon.js';
import { preferences } from '../preferences.js';
import { isDemoOnly } from '../setup.js';
import { html } from './html.js';
import { lazy } from './lazy.js';

const Setup = lazy(() => import('./settings/setup.js'), 'Setup', { isQuiet: true });

export const Welcome = () => html`<div class="welcome">
  <img src=${ICON} alt="" width="48" height="48" />
  <h2>Start a chat</h2>
  <p>Write a message below. The answer continues if you close this page, and is here when you return.</p>
  ${isDemoOnly.value && !preferences.value.isSetupDismissed && html`<${Setup} />`}
</div>`;
