// The version, and the health of the server as sentences.

import { ownAddress, reach } from '../../api.js';
import { html } from '../html.js';
import { LoadState, useLoaded } from './loaded.js';

const SLOWED = {
  hints: 'Messages between the servers are delayed, so changes appear up to some seconds late.',
  relay: 'The connection between the servers is interrupted, so text that another server writes appears late.',
  mcp: 'An MCP server cannot be reached: its tools cannot be used. See Tools.',
  file_storage: 'The storage of files cannot be reached: files cannot be sent or opened.',
};
const WARNINGS = {
  bus_without_keys: 'The servers talk to each other without keys. The operator should set keys.',
  bus_without_credentials: 'The servers talk to each other without a password. The operator should set credentials.',
};

/** {version, ready}; the probes are outside of the API, and `ready` has status 503 while something does not work. */
async function loadHealth() {
  const options = { headers: { Accept: 'application/json' }, cache: 'no-store', credentials: 'same-origin' };
  const [own, ready] = await Promise.all(
    ['', 'readyz'].map(async (name) => (await reach(ownAddress(name), options)).json().catch(() => ({}))),
  );
  return { version: own.version, ready };
}

export function About() {
  const loaded = useLoaded(loadHealth);
  return html`
    <${LoadState} loaded=${loaded} />
    ${loaded.value && html`<${Health} ...${loaded.value} />`}
    <div class="row"><button type="button" onClick=${loaded.reload}>Check again</button></div>
    <h3>Keys and links</h3>
    <p>Press <kbd>?</kbd> for all keys of this page. Programs use the same API as this page:${' '}
      <a href=${ownAddress('openapi.json')} target="_blank" rel="noopener">the API as a document</a>.</p>
  `;
}

function Health({ version, ready }) {
  const isReady = ready.status === 'ready';
  return html`
    <p>Antiphon${version && `, version ${version}`}.</p>
    <p class="health" data-testid="health" data-ready=${isReady} role="status">
      <span class="dot" aria-hidden="true"></span>
      ${isReady ? 'The server is ready and everything works.' : 'The server works, but not all of it.'}
    </p>
    <ul class="sentences">
      ${(ready.slowed ?? []).map((name) => html`<li key=${name}>${SLOWED[name] ?? `A part is slow: ${name}.`}</li>`)}
      ${(ready.warnings ?? []).map((name) => html`<li key=${name}>${WARNINGS[name] ?? `A setting is not safe: ${name}.`}</li>`)}
    </ul>
  `;
}
