// The shown chat: head, transcript, queue, composer.

import { stop, streamState, view } from '../chat.js';
import { commandsOf } from '../chat_commands.js';
import { chatOf, titleOf } from '../chats.js';
import { notice } from '../notice.js';
import { outbox } from '../outbox.js';
import { modelWords } from '../providers.js';
import { hrefOf, show } from '../route.js';
import { isBusy } from '../view.js';
import { Composer } from './composer.js';
import { Head, useDocumentTitle, useEscape } from './head.js';
import { html } from './html.js';
import { KeptNotice } from './kept_notice.js';
import { MenuButton } from './menu.js';
import { Queue } from './queue.js';
import { Transcript } from './transcript.js';
import { Welcome } from './welcome.js';

export function Chat({ chatId }) {
  const shown = chatId ? view.value : null;
  const pending = outbox.value.filter((item) => item.chatId === chatId);
  useEscape(stop);
  const isGone = Boolean(chatId) && (shown?.isDeleted || hasEnded());
  const chat = shown?.chat ?? chatOf(chatId);
  const title = isGone ? 'No chat' : chatId ? titleOf(chat) : 'New chat';
  useDocumentTitle(title);
  if (isGone) return html`<${Head} title=${title} /><${Gone} />`;
  const isEmpty = !chatId || (shown && !shown.messages.length && !pending.length && !isBusy(shown));
  return html`
    <${Head} title=${title} notes=${shown && html`<${Notes} chat=${shown.chat} />`}>
      ${shown?.chat && html`<${Actions} chat=${chat} />`}
    <//>
    <${KeptNotice} />
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
  ${chat.model && html`<span class="model">${modelWords(chat.model)}</span>`}
`;

const Actions = ({ chat }) =>
  html`<${MenuButton} owner="head" label="Actions for this chat" items=${() => commandsOf(chat)} />`;

const Gone = () => html`<div class="welcome" data-testid="gone">
  <h2>Chat not found</h2>
  <p>${streamState.value?.reason === 'refused' ? streamState.value.problem : 'It was deleted.'}</p>
  <button type="button" class="primary" onClick=${() => {
    notice.value = '';
    show(null);
  }}>New chat</button>
</div>`;
