// The MCP servers, whose tools chats may use, and their state.

import { request } from '../../api.js';
import { html } from '../html.js';
import { LoadState, useLoaded } from './loaded.js';

const STATES = {
  connected: ['Connected', 'Its tools can be used.'],
  starting: ['Starting', 'Its tools can be used as soon as it has started.'],
  lost: ['Not reachable', 'The server tries to connect again. Its tools cannot be used until then.'],
};

export function Tools() {
  const loaded = useLoaded(() => request('GET', '/mcp-servers'));
  const servers = loaded.value?.mcp_servers;
  return html`
    <p>A model can use tools: read files, search, call other programs. They come from MCP servers, which the operator
      of this server sets up.</p>
    <${LoadState} loaded=${loaded} />
    ${
      servers?.length === 0 &&
      html`<p class="empty">No MCP server is set up. The operator names one in the configuration file
      of this server.</p>`
    }
    <ul class="cards">${servers?.map((server) => html`<${Server} key=${server.id} server=${server} />`)}</ul>
    ${servers && html`<div class="row"><button type="button" onClick=${loaded.reload}>Refresh</button></div>`}
  `;
}

function Server({ server }) {
  const [word, sentence] = STATES[server.state] ?? [server.state, ''];
  return html`<li class="item" data-state=${server.state}>
    <div class="item-head"><h3 dir="auto">${server.name}</h3><span class="tag state">${word}</span></div>
    <p class="hint">${sentence}</p>
    ${
      server.tools.length > 0 &&
      html`<details><summary>${server.tools.length === 1 ? '1 tool' : `${server.tools.length} tools`}</summary>
        <ul class="names">${server.tools.map((name) => html`<li key=${name}><code>${name}</code></li>`)}</ul>
      </details>`
    }
  </li>`;
}
