// One row of the transcript: a question or an answer, with its parts, tags and actions.

import { Component } from '../vendor/preact.js';
import { useRef } from '../vendor/preact-hooks.js';
import { areEarlier, openId } from '../chat.js';
import { editMessage, retry } from '../turn_commands.js';
import { editedId } from '../editing.js';
import { costWords, timeWords, tokenWords } from '../figures.js';
import { useFocusLeft } from '../focus.js';
import { isOfAgent } from '../models.js';
import { modelWords } from '../providers.js';
import { figuresOf, itemsOf } from '../rows.js';
import { unsentText } from '../unsent.js';
import { fork } from '../versions.js';
import { textOf } from '../view.js';
import { CopyButton } from './copy.js';
import { confirm } from './dialog.js';
import { Editor, withText } from './editor.js';
import { IconButton, html } from './html.js';
import { Part } from './part.js';
import { Call, Calls } from './tool_call.js';
import { VersionPager } from './versions.js';

// Why a model's answer ended early.
const OUTCOMES = {
  length: 'Cut off at the token limit',
  refusal: 'Refused by the model',
  content_filter: 'Stopped by the content filter',
  empty: 'Empty answer',
};

/** `row` is one of rows.js; `live`: its running tool calls; `hasFoot`: the answer is finished; `canRetry`: last, earlier
 *  or ''. Rendered again only when one of these changes. */
export class Message extends Component {
  shouldComponentUpdate(next, state) {
    return state !== this.state || Object.keys({ ...this.props, ...next }).some((key) => next[key] !== this.props[key]);
  }

  // A fault in one message must not stop the whole chat.
  componentDidCatch(error) {
    console.error(error);
    this.setState({ hasFailed: true });
  }

  render(props, { hasFailed }) {
    if (hasFailed) return html`<${Raw} row=${props.row} />`;
    return this.shown(props);
  }

  shown({ row, live, hasFoot, canRetry, isReadOnly }) {
    if (row.kind === 'user') return html`<${Question} row=${row} isReadOnly=${isReadOnly} />`;
    if (row.kind === 'assistant') {
      return html`<${Answer} row=${row} live=${live} hasFoot=${hasFoot} canRetry=${canRetry} isReadOnly=${isReadOnly} />`;
    }
    return html`<article class="message ${row.kind}" ...${names(row.message)}>
      ${(row.message.content ?? []).map((part) => html`<${Part} part=${part} />`)}
    </article>`;
  }
}

/** A message that could not be shown as it is meant: its texts. */
const Raw = ({ row }) => html`<article class="message ${row.kind}" ...${names(row.message ?? {})}>
  <p class="meta">This message could not be shown as it is meant. This is its text.</p>
  <pre class="plain">${textOf(row.message?.content ?? row.parts)}</pre>
</article>`;

const names = (message) => ({ 'data-testid': 'message', 'data-role': message.role, 'data-id': message.id });

function Question({ row, isReadOnly }) {
  const { message } = row;
  const isEditing = editedId.value === message.id && !isReadOnly;
  const setEditing = (isOn) => (editedId.value = isOn ? message.id : 0);
  const text = textOf(message.content);
  const others = (message.content ?? []).filter((part) => part.type !== 'text');
  const save = (changed) => editMessage(message.id, withText(message.content, changed));
  if (isEditing) {
    return html`<article class="message user" aria-label="You" ...${names(message)}>
      <${Editor} text=${text} yes="Send again" hint="What follows it is replaced."
        unsent=${unsentText(`${openId.peek()}.${message.id}`)} onSave=${save}
        onClose=${() => setEditing(false)} />
    </article>`;
  }
  return html`<article class="message user" aria-label="You" ...${names(message)}>
    ${text && html`<div class="bubble" dir="auto">${text}</div>`}
    ${others.map((part) => html`<${Part} part=${part} />`)}
    <div class="foot">
      <span class="meta">${timeWords(message.created_at)}</span>
      ${!isReadOnly && html`<${IconButton} name="pencil" label="Edit" onClick=${() => setEditing(true)} />`}
      <${CopyButton} text=${() => text} />
      <${ForkButton} message=${message} isReadOnly=${isReadOnly} />
      <${VersionPager} after=${row.before ?? (areEarlier.value ? undefined : 0)} />
    </div>
  </article>`;
}

function Answer({ row, live, hasFoot, canRetry, isReadOnly }) {
  const { message, messages, isPreview } = row;
  const marks = isPreview
    ? { 'data-testid': 'preview', 'data-role': 'assistant', 'aria-busy': 'true' }
    : names(message);
  const items = itemsOf(messages);
  return html`<article class="message assistant" aria-label="Answer" ...${marks}>
    ${items.map(
      (item, index) => html`<${Item} key=${item.key ?? item.call.key} item=${item} live=${live}
      isGrowing=${isPreview && index === items.length - 1} />`,
    )}
    ${messages.map((each) => html`<${Ending} message=${each} />`)}
    ${hasFoot && html`<${Foot} row=${row} canRetry=${canRetry} isReadOnly=${isReadOnly} />`}
  </article>`;
}

function Item({ item, live, isGrowing }) {
  if (item.type === 'call') return html`<${Call} call=${item.call} live=${live} isGrowing=${isGrowing} />`;
  if (item.type === 'calls') return html`<${Calls} calls=${item.calls} />`;
  return html`<${Part} part=${item.part} thought_ms=${item.thought_ms} isGrowing=${isGrowing} />`;
}

const Ending = ({ message }) => html`
  ${message.dropped?.map((call) => html`<p class="meta">The unfinished call of ${call.tool_name} was dropped.</p>`)}
  ${message.interrupted && html`<p class="meta"><span class="tag" data-testid="interrupted">Interrupted</span></p>`}
  ${message.outcome && html`<p class="meta"><span class="tag" data-testid="outcome">${OUTCOMES[message.outcome] ?? message.outcome}</span></p>`}
`;

/** Under an answer: copy, retry, the model, the time and the tokens; the cost on hover. */
function Foot({ row, canRetry, isReadOnly }) {
  const figures = figuresOf(row.messages);
  const tokens = figures.input + figures.output;
  const cost = figures.cost_micros === undefined ? '' : `. Cost: ${costWords(figures.cost_micros)}`;
  const title = `${figures.input.toLocaleString('en')} tokens read, ${figures.output.toLocaleString('en')} written${cost}`;
  const text = () =>
    row.messages
      .filter((each) => each.role === 'assistant')
      .map((each) => textOf(each.content))
      .join('\n');
  return html`<div class="foot" data-testid="foot">
    <${CopyButton} text=${text} />
    ${canRetry && html`<${RetryButton} row=${row} canRetry=${canRetry} />`}
    <${ForkButton} message=${row.messages.at(-1)} isReadOnly=${isReadOnly} />
    <${VersionPager} after=${row.question?.id} />
    <span class="meta">
      ${figures.model && !isOfAgent(figures.model) && html`<span class="foot-model">${modelWords(figures.model)}</span>`}
      <time datetime=${figures.at}>${timeWords(figures.at)}</time>
      ${tokens > 0 && html`<span title=${title} data-testid="tokens">${tokenWords(tokens)}</span>`}
    </span>
  </div>`;
}

function RetryButton({ row, canRetry }) {
  const holder = useRef(null);
  useFocusLeft(holder, '#composer-text');
  return html`<span class="contents" ref=${holder}>
    <${IconButton} name="retry" label="Try again" onClick=${() => tryAgain(row, canRetry)} />
  </span>`;
}

const ForkButton = ({ message, isReadOnly }) =>
  !isReadOnly &&
  html`<${IconButton} name="fork" label="Fork from here" onClick=${() => fork({ message_id: message.id })} />`;

async function tryAgain({ message, question }, canRetry) {
  if (canRetry === 'last' || !question) return retry(message.turn_id);
  const isSure = await confirm({
    title: 'Answer this question again?',
    text: 'The messages after it are replaced. They are kept as an earlier version.',
    yes: 'Answer again',
  });
  return isSure && editMessage(question.id, question.content);
}
