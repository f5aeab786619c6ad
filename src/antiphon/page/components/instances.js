// The servers: which instances of Antiphon run on this machine and on its store, and the open one beside the list.

import { useEffect } from '../vendor/preact-hooks.js';
import { closeInstance, closeInstances, instances, listProblem, openInstance, openInstances } from '../instances.js';
import { countWords, roleWords, runtimeWords, titleWords } from '../instance_words.js';
import { hrefOfInstance, shownInstanceId } from '../route.js';
import { Directory } from './directory.js';
import { html } from './html.js';
import { Instance } from './instance.js';

export function Instances() {
  const id = shownInstanceId.value;
  useEffect(() => {
    openInstances();
    return closeInstances;
  }, []);
  useEffect(() => {
    if (!id) return undefined;
    openInstance(id);
    return closeInstance;
  }, [id]);
  return html`<div class="instances ${id ? 'has-open' : ''}" data-testid="instances">
    <${List} />
    ${id && html`<${Instance} key=${id} instanceId=${id} />`}
  </div>`;
}

function List() {
  const list = instances.value;
  return html`<section class="instance-list" aria-labelledby="instance-list-title" aria-busy=${!list}>
    <h2 id="instance-list-title">Servers</h2>
    <p class="hint">What runs on this machine, and on the same store. Choose one to see its chats and what it is doing.</p>
    ${listProblem.value && html`<p class="problem" role="alert">${listProblem.value}</p>`}
    ${!list && !listProblem.value && html`<p class="empty">Loading…</p>`}
    <ul>${list?.map((item) => html`<${Item} key=${item.instance_id} item=${item} />`)}</ul>
    ${
      list?.every((item) => item.is_self) &&
      html`<p class="hint">No other server is running here. <code>antiphon serve --data …</code> starts another one, with
      chats of its own.</p>`
    }
  </section>`;
}

// A standby (it takes over when the primary is lost) has nothing to show and accepts no commands.
function Item({ item }) {
  const isOpen = item.instance_id === shownInstanceId.value;
  if (item.role !== 'primary') return html`<li class="instance"><${About} item=${item} /></li>`;
  return html`<li><a class="instance" href=${hrefOfInstance(item.instance_id)} data-instance-id=${item.instance_id}
    aria-current=${isOpen ? 'page' : undefined}><${About} item=${item} /></a></li>`;
}

function About({ item }) {
  const isPrimary = item.role === 'primary';
  return html`
    <span class="directory"><${Directory} path=${item.project_id} /></span>
    <${Marks} item=${item} />
    <span class="meta">
      Runs for ${runtimeWords(item, Date.now())}
      ${isPrimary && !item.is_silent && ` · ${countWords(item.session_count, 'chat')}`}
    </span>
    ${item.active_session_id && html`<span class="meta active-title">Active: <bdi>${titleWords(item.active_title)}</bdi></span>`}
  `;
}

const Marks = ({ item }) => html`<span class="marks">
  <span class="tag">${roleWords(item.role)}</span>
  ${item.is_self && html`<span class="tag is-self">this one</span>`}
  ${item.is_silent && html`<span class="tag is-silent">does not respond</span>`}
</span>`;
