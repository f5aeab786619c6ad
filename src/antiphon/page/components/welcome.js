// The page of a new chat, before its first message.

import { ICON } from '../icon.js';
import { html } from './html.js';

export const Welcome = () => html`<div class="welcome">
  <img src=${ICON} alt="" width="48" height="48" />
  <h2>Start a chat</h2>
  <p>Write a message below. The answer continues if you close this page, and is here when you return.</p>
</div>`;
