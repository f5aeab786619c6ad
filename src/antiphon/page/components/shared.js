// A chat by a link: read-only, without signing in.

import { useEffect, useState } from '../vendor/preact-hooks.js';
import { pageTitle } from '../attention.js';
import { ICON } from '../icon.js';
import { sentenceOf } from '../notice.js';
import { readShared, readSharedFile } from '../shares.js';
import { textOf } from '../view.js';
import { Icon, html } from './html.js';
import { Markdown } from './markdown.js';

const JSON_CHARS_MAX = 20_000;
const IMAGES = /^image\/(?:png|jpeg|gif|webp)$/;
const IMAGE_BYTES_MAX = 5_000_000;

export function Shared({ secret }) {
  const { chat, problem, isLoading, loadEarlier } = useShared(secret);
  const title = chat?.title?.trim() || (chat ? 'Untitled chat' : 'Shared chat');
  useEffect(() => void (pageTitle.value = `${title} · Antiphon`), [title]);
  return html`<div class="shared" data-testid="shared">
    <header class="head"><img src=${ICON} alt="" width="24" height="24" />
      <div class="head-title"><h1 dir="auto">${title}</h1></div><span class="meta">Shared, to read only</span></header>
    <main class="transcript" tabindex="0" aria-label="Messages" aria-busy=${isLoading}><div class="column">
      ${problem && html`<p class="failure" role="alert">${problem}</p>`}
      ${!chat && !problem && html`<p class="empty" role="status">Loading…</p>`}
      ${
        chat?.has_more &&
        html`<button type="button" class="quiet earlier"
        disabled=${isLoading} onClick=${loadEarlier}>Show earlier</button>`
      }
      ${chat?.messages.map((message) => html`<${SharedMessage} key=${message.id} message=${message} secret=${secret} />`)}
      ${chat?.messages.length === 0 && html`<p class="empty">This chat has no messages yet.</p>`}
    </div></main>
  </div>`;
}

function useShared(secret) {
  const [state, setState] = useState({ chat: null, problem: '', isLoading: true });
  const load = async (beforeId) => {
    setState((before) => ({ ...before, isLoading: true }));
    try {
      const page = await readShared(secret, beforeId);
      setState(({ chat }) => ({
        chat: { ...page, messages: [...page.messages, ...((beforeId && chat?.messages) || [])] },
        problem: '',
        isLoading: false,
      }));
    } catch (error) {
      const isGone = error.status === 401 || error.status === 404;
      const problem = isGone
        ? 'This link is not valid. It may have been revoked: ask the person who sent it.'
        : sentenceOf(error);
      setState((before) => ({ ...before, problem, isLoading: false }));
    }
  };
  useEffect(() => void load(), []);
  return { ...state, loadEarlier: () => load(state.chat.messages[0]?.id) };
}

function SharedMessage({ message, secret }) {
  if (message.role === 'user') {
    const others = message.content.filter((part) => part.type !== 'text');
    return html`<article class="message user" aria-label="Question"><div class="bubble" dir="auto">${textOf(message.content)}</div>
      ${others.map((part, index) => html`<${Part} key=${index} part=${part} secret=${secret} />`)}</article>`;
  }
  return html`<article class="message assistant" aria-label=${message.role === 'assistant' ? 'Answer' : 'Result'}>
    ${message.content.map((part, index) => html`<${Part} key=${index} part=${part} secret=${secret} />`)}
  </article>`;
}

function Part({ part, secret }) {
  if (part.type === 'text') return html`<${Markdown} text=${part.text} />`;
  if (part.type === 'reasoning') return html`<${Fold} summary="Thoughts"><${Markdown} text=${part.text} /><//>`;
  if (part.type === 'tool-call')
    return html`<${Fold} summary=${`Calls ${part.tool_name}`}><${Json} value=${part.args} /><//>`;
  if (part.type === 'tool-result')
    return html`<${Fold} summary=${`Result of ${part.tool_name}`}><${Json} value=${part.result} /><//>`;
  if (part.type === 'file-reference' && part.file_id) return html`<${File} part=${part} secret=${secret} />`;
  if (part.type === 'file-reference') return html`<p class="meta">Lines of ${part.file_name}</p>`;
  return null;
}

const Fold = ({ summary, children }) =>
  html`<details class="fold"><summary dir="auto">${summary}</summary>${children}</details>`;

const Json = ({ value }) => {
  const text = typeof value === 'string' ? value : JSON.stringify(value, null, 2);
  return html`<pre tabindex="0">${(text ?? '').slice(0, JSON_CHARS_MAX)}</pre>`;
};

/** An image in place, anything else to download. The browser cannot load it by its address: the link's secret is sent in
 *  a header. */
function File({ part, secret }) {
  const [image, setImage] = useState('');
  const [problem, setProblem] = useState('');
  const name = part.file_name || 'File without a name';
  const isImage = IMAGES.test(part.media_type ?? '') && part.size <= IMAGE_BYTES_MAX;
  const read = (action) =>
    readSharedFile(secret, part.file_id)
      .then(action)
      .catch((error) => setProblem(sentenceOf(error)));
  useEffect(() => {
    if (isImage) read(async (blob) => setImage(await dataAddress(blob)));
  }, []);
  const download = () =>
    read((blob) => {
      const href = URL.createObjectURL(blob);
      Object.assign(document.createElement('a'), { href, download: part.file_name ?? '' }).click();
      setTimeout(() => URL.revokeObjectURL(href), 60_000);
    });
  if (image) return html`<img class="file" src=${image} alt=${name} />`;
  return html`<div class="row">
    <button type="button" onClick=${download}><${Icon} name="download" /> <span dir="auto">${name}</span></button>
    ${problem && html`<span class="problem" role="alert">${problem}</span>`}</div>`;
}

/** The bytes as a data: address, which the page's policy allows for images. */
const dataAddress = (blob) =>
  new Promise((resolve, reject) => {
    const reader = Object.assign(new FileReader(), { onload: () => resolve(reader.result), onerror: reject });
    reader.readAsDataURL(blob);
  });
