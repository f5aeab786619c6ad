// The shown chat: head, transcript, queue, composer.

import { stop, streamState, view } from '../chat.js';
import { archive, chats, remove, rename, titleOf } from '../chats.js';
import { ICON } from '../icon.js';
import { notice, report } from '../notice.js';
import { outbox } from '../outbox.js';
import { hrefOf, show } from '../route.js';
import { isBusy } from '../view.js';
import { Composer } from './composer.js';
import { confirm, prompt } from './dialog.js';
import { Head, useDocumentTitle, useEscape } from './head.js';
import { IconButton, html } from './html.js';
import { Queue } from './queue.js';
import { Transcript } from './transcript.js';

const TITLE_CHARS_MAX = 256;

export function Chat({ chatId }) {
  const shown = chatId ? view.value : null;
  const pending = outbox.value.filter((item) => item.chatId === chatId);
  useEscape(stop);
  const isGone = Boolean(chatId) && (shown?.isDeleted || hasEnded());
  const chat = shown?.chat ?? chats.value?.find((other) => other.id === chatId);
  const title = isGone ? 'No chat' : chatId ? titleOf(chat) : 'New chat';
  useDocumentTitle(title);
  if (isGone) return html`<${Head} title=${title} /><${Gone} />`;
  const isEmpty = !chatId || (shown && !shown.messages.length && !pending.length && !isBusy(shown));
  return html`
    <${Head} title=${title} notes=${shown && html`<${Notes} chat=${shown.chat} />`}>
      ${shown?.chat && html`<${Actions} chat=${shown.chat} />`}
    <//>
    ${isEmpty ? html`<${Welcome} />` : html`<${Transcript} view=${shown} pending=${pending} />`}
    ${shown && html`<${Queue} queue=${shown.queue} />`}
    <${Composer} chatId=${chatId} view=${shown} />
  `;
}

const hasEnded = () =>
  streamState.value?.state === 'ended' && ['deleted', 'refused'].includes(streamState.value.reason);

const Notes = ({ chat }) => html`
  ${chat.parent_chat_id && html`<a href=${hrefOf(chat.parent_chat_id)} data-testid="parent">Started by another chat</a>`}
  ${chat.archived && html`<span class="tag">Archived</span>`}
  ${chat.model && html`<span class="model">${chat.model}</span>`}
`;

function Actions({ chat }) {
  const onRename = async () => {
    const title = await prompt({
      title: 'Rename this chat',
      label: 'Title',
      value: chat.title,
      yes: 'Rename',
      length_max: TITLE_CHARS_MAX,
    });
    if (title) report(() => rename(chat.id, title));
  };
  const onDelete = async () => {
    const isSure = await confirm({
      title: 'Delete this chat?',
      text: `“${titleOf(chat)}” and all its messages will be deleted permanently.`,
      yes: 'Delete',
    });
    if (isSure && (await report(() => remove(chat.id)))) show(null);
  };
  return html`<div class="row">
    <${IconButton} name="pencil" label="Rename" onClick=${onRename} />
    <${IconButton} name=${chat.archived ? 'restore' : 'archive'}
      label=${chat.archived ? 'Restore from the archive' : 'Archive'}
      onClick=${() => report(() => archive(chat.id, !chat.archived))} />
    <${IconButton} name="trash" label="Delete" onClick=${onDelete} />
  </div>`;
}

const Welcome = () => html`<div class="welcome">
  <img src=${ICON} alt="" width="48" height="48" />
  <h2>How can I help?</h2>
  <p>Write a message to begin. The answer continues if you close this page, and is here when you return.</p>
</div>`;

const Gone = () => html`<div class="welcome" data-testid="gone">
  <h2>Chat not found</h2>
  <p>${streamState.value?.reason === 'refused' ? streamState.value.problem : 'It was deleted.'}</p>
  <button type="button" class="primary" onClick=${() => {
    notice.value = '';
    show(null);
  }}>New chat</button>
</div>`;
