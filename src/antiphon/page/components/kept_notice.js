// Says that what is shown was kept in this browser, while the server cannot be reached.

import { keptAt } from '../offline.js';
import { html } from './html.js';

const TIME = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

export const KeptNotice = () =>
  keptAt.value !== null &&
  html`<p class="kept-notice" role="status" data-testid="kept">
    The server cannot be reached. This is what you read last, on ${TIME.format(keptAt.value)}. What you send is sent when
    the server is back.
  </p>`;
