// The members: who may sign in, links to hand out, and access that is withdrawn.

import { useState } from '../../vendor/preact-hooks.js';
import { path, request } from '../../api.js';
import { CopyField } from '../copy_field.js';
import { focusIfLost } from '../../focus.js';
import { confirm } from '../dialog.js';
import { html } from '../html.js';
import { LoadState, useAction, useLoaded } from './loaded.js';

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' });
const SHOWN_MAX = 500;

export function Members() {
  const loaded = useLoaded(() => request('GET', '/tokens'));
  const [made, setMade] = useState(null);
  const onMade = (token) => {
    setMade(token);
    loaded.reload();
  };
  return html`
    <p>Each member has chats of their own, which no other member sees. A member signs in with a link. Members of the
      same name share their chats.</p>
    <${Add} onMade=${onMade} />
    ${made && html`<${SignInLink} key=${made.id} token=${made} onClose=${() => setMade(null)} />`}
    <${LoadState} loaded=${loaded} />
    ${loaded.value && html`<${List} tokens=${loaded.value.tokens} onChanged=${loaded.reload} />`}
  `;
}

function Add({ onMade }) {
  const [name, setName] = useState('');
  const [isAdmin, setAdmin] = useState(false);
  const action = useAction();
  const submit = async (event) => {
    event.preventDefault();
    await action.run(async () => {
      onMade(await request('POST', '/tokens', { owner: name.trim(), admin: isAdmin }));
      setName('');
      setAdmin(false);
    });
  };
  return html`<form class="item stack" onSubmit=${submit}>
    <h3>Add a member</h3>
    <label class="stack">Name
      <input value=${name} maxlength="128" autocomplete="off" dir="auto" onInput=${(event) => setName(event.target.value)} />
    </label>
    <label class="check"><input type="checkbox" checked=${isAdmin} onChange=${(event) => setAdmin(event.target.checked)} />
      Admin: may change models, members and servers
    </label>
    ${action.problem && html`<p class="problem" role="alert">${action.problem}</p>`}
    <div class="row"><button class="primary" disabled=${action.isBusy || !name.trim()}>Make a sign-in link</button></div>
  </form>`;
}

/** The link is shown only now: the server keeps no copy of the token. */
function SignInLink({ token, onClose }) {
  const link = new URL(`#token=${token.token}`, document.baseURI).href;
  return html`<div class="item stack is-new" role="group" aria-label="Sign-in link" data-testid="sign-in-link">
    <h3>The sign-in link of <bdi>${token.owner}</bdi></h3>
    <p>Copy it now: it is shown only once. Everyone who has it can sign in as <bdi>${token.owner}</bdi>, so send it in
      a way that only <bdi>${token.owner}</bdi> can read.</p>
    <${CopyField} label="Sign-in link" value=${link} />
    <div class="row"><button type="button" onClick=${onClose}>Done</button></div>
  </div>`;
}

function List({ tokens, onChanged }) {
  const active = tokens.filter((token) => !token.revoked_at);
  const action = useAction();
  const revoke = async (token) => {
    const isSure = await confirm({
      title: `Withdraw the access of ${token.owner}?`,
      text: 'The browsers and programs that were signed in with this link are signed out at once. The chats stay.',
      yes: 'Withdraw',
    });
    if (isSure && (await action.run(() => request('DELETE', path('tokens', token.id))))) await onChanged();
    focusIfLost('.settings');
  };
  return html`
    <h3>Who may sign in</h3>
    ${action.problem && html`<p class="problem" role="alert">${action.problem}</p>`}
    <ul class="lines" data-testid="members">${active.slice(0, SHOWN_MAX).map(
      (token) => html`<li key=${token.id}>
      <span class="grow" dir="auto">${token.owner}</span>
      ${token.admin && html`<span class="tag">admin</span>`}
      <span class="hint">since ${dayWords(token.created_at)}</span>
      <button type="button" class="quiet" aria-label=${`Withdraw the access of ${token.owner}`} disabled=${action.isBusy}
        onClick=${() => revoke(token)}>Withdraw</button>
    </li>`,
    )}</ul>
    ${active.length > SHOWN_MAX && html`<p class="hint">The first ${SHOWN_MAX} of ${active.length}.</p>`}
  `;
}

function dayWords(text) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? 'an unknown day' : DAY.format(at);
}
