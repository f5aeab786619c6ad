// The list of the instances of this machine, and the open instance beside it.

import { instances, listProblem } from '../instances.js';
import { countWords, runtimeWords, titleWords, visible } from '../instance_words.js';
import { hrefOfInstance, shownInstanceId } from '../route.js';
import { isAdmin } from '../session.js';
import { Directory } from './directory.js';
import { Head, useDocumentTitle, useEscape } from './head.js';
import { html } from './html.js';
import { Instance } from './instance.js';

export function Instances() {
  useDocumentTitle('Instances');
  useEscape(() => {});
  const id = shownInstanceId.value;
  return html`
    <${Head} title="Instances" />
    ${isAdmin.value === false && html`<p class="empty">Only an admin sees the instances.</p>`}
    ${isAdmin.value === null && html`<p class="empty">Loading…</p>`}
    ${
      isAdmin.value &&
      html`<div class="instances ${id ? 'has-open' : ''}" data-testid="instances">
      <${List} />
      ${id && html`<${Instance} key=${id} instanceId=${id} />`}
    </div>`
    }
  `;
}

function List() {
  const list = instances.value;
  return html`<section class="instance-list" aria-labelledby="instance-list-title" aria-busy=${!list}>
    <h2 id="instance-list-title">On this machine</h2>
    ${listProblem.value && html`<p class="problem" role="alert">${listProblem.value}</p>`}
    ${!list && !listProblem.value && html`<p class="empty">Loading…</p>`}
    <ul>${list?.map((item) => html`<${Item} key=${item.instance_id} item=${item} />`)}</ul>
    ${
      list?.every((item) => item.is_self) &&
      html`<p class="hint">No other instance is running here. <code>antiphon serve --data …</code> starts another one, with
      chats of its own.</p>`
    }
  </section>`;
}

// A standby has nothing to show and accepts no commands.
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
  <span class="tag">${visible(item.role)}</span>
  ${item.is_self && html`<span class="tag is-self">this one</span>`}
  ${item.is_silent && html`<span class="tag is-silent">does not respond</span>`}
</span>`;
