// The state of the connection, as a dot and a word.

import { connection } from '../connection.js';
import { html } from './html.js';

export const Connection = () => {
  const { state, words, problem } = connection.value;
  return html`<span class="connection" data-testid="connection" data-state=${state}
    role="status" title=${problem ?? ''}>
    <span class="dot" aria-hidden="true"></span>${words}
  </span>`;
};
