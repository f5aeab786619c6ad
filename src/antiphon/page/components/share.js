// The dialog with the links to a chat: makes one, and revokes them.

import { useState } from '../vendor/preact-hooks.js';
import { titleOf } from '../chats.js';
import { focusIfLost } from '../focus.js';
import { hrefOfShare } from '../route.js';
import { addShare, loadShares, revokeShare, sharedChat } from '../shares.js';
import { CopyField } from './copy_field.js';
import { html } from './html.js';
import { useModal } from './modal.js';
import { LoadState, useAction, useLoaded } from './settings/loaded.js';

const TIME = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const close = () => (sharedChat.value = null);

export function Share({ chat }) {
  const dialog = useModal();
  const loaded = useLoaded(() => loadShares(chat.id));
  const action = useAction();
  const [made, setMade] = useState(null);
  const add = async () => {
    if (await action.run(async () => setMade(await addShare(chat.id)))) loaded.reload();
  };
  const revoke = async (share) => {
    if (!(await action.run(() => revokeShare(chat.id, share.id)))) return;
    if (made?.id === share.id) setMade(null);
    await loaded.reload();
    focusIfLost('dialog.share .primary');
  };
  return html`<dialog ref=${dialog} class="share" aria-labelledby="share-title" data-testid="share" onCancel=${close}>
    <div class="stack">
      <h2 id="share-title" dir="auto">Share “${titleOf(chat)}”</h2>
      <p>Everyone who has a link can read this chat, also what is written later, without signing in. They cannot change
        anything. You can revoke a link at any time.</p>
      ${
        made &&
        html`<p class="hint">Copy the link now: it is shown only once.</p>
        <${CopyField} label="Link to this chat" value=${hrefOfShare(made.secret)} />`
      }
      ${action.problem && html`<p class="problem" role="alert">${action.problem}</p>`}
      <${LoadState} loaded=${loaded} />
      ${
        loaded.value?.length > 0 &&
        html`<ul class="lines" aria-label="Links">${loaded.value.map(
          (
            share,
          ) => html`<li key=${share.id}><span class="grow">Link of ${TIME.format(new Date(share.created_at))}</span>
        <button type="button" class="quiet" disabled=${action.isBusy} onClick=${() => revoke(share)}>Revoke</button></li>`,
        )}</ul>`
      }
      <div class="row end">
        <button type="button" onClick=${close}>Close</button>
        <button type="button" class="primary" disabled=${action.isBusy} onClick=${add} autofocus>Make a link</button>
      </div>
    </div>
  </dialog>`;
}
