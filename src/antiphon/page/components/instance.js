// The open instance: its chats, the controls of the chosen chat, and its events.

import { useEffect, useLayoutEffect, useRef } from '../vendor/preact-hooks.js';
import {
  activate,
  chosenId,
  instances,
  interrupt,
  isBusy,
  isGone,
  opened,
  openedProblem,
  outcome,
  send,
} from '../instances.js';
import { countWords, titleWords, visible } from '../instance_words.js';
import { hrefOfInstance } from '../route.js';
import { unsentText } from '../unsent.js';
import { Directory } from './directory.js';
import { Icon, html } from './html.js';
import { InstanceLog } from './instance_log.js';

const SHOWN_MAX = 200;
const NARROW = '(max-width: 64rem)'; // as in css/instances.css: on such a screen the list is hidden

export function Instance({ instanceId }) {
  const heading = useRef(null);
  useEffect(() => {
    if (matchMedia(NARROW).matches) heading.current.focus();
  }, []);
  const known = opened.value ?? instances.value?.find((item) => item.instance_id === instanceId);
  return html`<section class="instance-open" aria-labelledby="instance-title" data-testid="instance">
    <header>
      <a class="back" href=${hrefOfInstance('')}><${Icon} name="back" /> All servers</a>
      <h2 id="instance-title" ref=${heading} tabindex="-1">${known ? html`<${Directory} path=${known.project_id} />` : 'Server'}</h2>
      ${known && html`<p class="meta">Process ${known.pid}, version ${visible(known.version)}</p>`}
    </header>
    ${openedProblem.value && html`<p class="problem" role="alert">${openedProblem.value}</p>`}
    ${isGone.value ? html`<p class="failure" role="alert">This server is no longer running.</p>` : html`<${Chats} />`}
    <${InstanceLog} titles=${titlesOf(opened.value)} />
  </section>`;
}

const titlesOf = (item) => new Map((item?.sessions ?? []).map(({ id, title }) => [id, titleWords(title)]));

function Chats() {
  const item = opened.value;
  if (!item) return !openedProblem.value && html`<p class="empty">Loading…</p>`;
  if (item.is_silent) return html`<p class="failure" role="alert">This server does not respond.</p>`;
  if (item.role !== 'primary') return html`<p class="empty">This server is ready to take over. Until then it has nothing to show.</p>`;
  const sessions = item.sessions ?? [];
  const chosen = sessions.find(({ id }) => id === chosenId.value);
  return html`
    <section aria-labelledby="sessions-title">
      <h3 id="sessions-title">Chats</h3>
      ${!sessions.length && html`<p class="empty">This server has no chats yet.</p>`}
      <ul class="sessions" data-testid="sessions">
        ${sessions.slice(0, SHOWN_MAX).map(
          (session) => html`<${Session} key=${session.id} session=${session}
          isActive=${session.id === item.active_session_id} isChosen=${session === chosen} />`,
        )}
      </ul>
      ${sessions.length > SHOWN_MAX && html`<p class="hint">The newest ${SHOWN_MAX} of ${sessions.length} chats.</p>`}
    </section>
    ${chosen && html`<${Controls} key=${chosen.id} session=${chosen} isActive=${chosen.id === item.active_session_id} />`}
  `;
}

function Session({ session, isActive, isChosen }) {
  const choose = () => {
    outcome.value = null;
    chosenId.value = session.id;
  };
  return html`<li><button type="button" class="session" data-session-id=${session.id} aria-pressed=${isChosen}
    disabled=${isBusy.value} onClick=${choose}>
    <span class="title"><bdi>${titleWords(session.title)}</bdi></span>
    ${isActive && html`<span class="tag is-self">active</span>`}
    <span class="meta">
      ${countWords(session.message_count, 'message')}, <time datetime=${session.updated_at}>${timeWords(session.updated_at)}</time>
    </span>
  </button></li>`;
}

const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: 'short', hourCycle: 'h23' });
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short', hourCycle: 'h23' });

function timeWords(text) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return '';
  return (at.toDateString() === new Date().toDateString() ? CLOCK : DAY).format(at);
}

// --- controls ---------------------------------------------------------------------------------------

function Controls({ session, isActive }) {
  const text = unsentText(session.id);
  useFocusKept(isBusy.value);
  const submit = async (event) => {
    event?.preventDefault();
    const content = text.peek();
    if (!content.trim() || isBusy.peek()) return;
    if ((await send(session.id, content)) && text.peek() === content) text.value = '';
  };
  const onKeyDown = (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    submit();
  };
  return html`<form class="controls" aria-labelledby="controls-title" data-testid="controls" onSubmit=${submit}>
    <fieldset disabled=${isBusy.value} aria-busy=${isBusy.value}>
      <div class="controls-row">
        <h3 id="controls-title"><bdi>${titleWords(session.title)}</bdi></h3>
        <button type="button" disabled=${isActive} onClick=${() => activate(session.id)}>Activate</button>
        <button type="button" onClick=${() => interrupt(session.id)}><${Icon} name="stop" /> Interrupt</button>
      </div>
      <div class="controls-row">
        <label for="instance-text" class="hidden">Message to this chat</label>
        <textarea id="instance-text" rows="2" value=${text.value} placeholder="Send a message…"
          enterkeyhint="send" onInput=${(event) => (text.value = event.target.value)} onKeyDown=${onKeyDown}></textarea>
        <button class="primary" disabled=${isBusy.value || !text.value.trim()}>Send</button>
      </div>
    </fieldset>
    <p class="outcome ${outcome.value?.isProblem ? 'problem' : 'meta'}" role="status" data-testid="outcome">
      ${isBusy.value ? 'One moment…' : outcome.value?.words}
    </p>
  </form>`;
}

/** Restores the focus of an element that is disabled temporarily. */
function useFocusKept(isResting) {
  const held = useRef(null);
  if (isResting && !held.current) held.current = document.activeElement;
  useLayoutEffect(() => {
    if (isResting || !held.current) return;
    const element = held.current;
    held.current = null;
    if (document.activeElement === document.body || document.activeElement === element) element.focus();
  }, [isResting]);
}
