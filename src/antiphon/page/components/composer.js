// The input of a message: Enter sends, Shift+Enter adds a new line. On a touch screen, which has no Shift+Enter, Enter
// adds a new line and the button sends.

import { useEffect, useLayoutEffect, useRef } from '../vendor/preact-hooks.js';
import { signal } from '../vendor/signals.js';
import { isStopping, stop } from '../chat.js';
import { send } from '../outbox.js';
import { unsentText } from '../unsent.js';
import { isBusy } from '../view.js';
import { Icon, html } from './html.js';

/** What happens to a message that arrives while the chat is busy; a choice applies to one message. */
const whenBusy = signal('queue');

const CHOICES = [
  ['queue', 'Queue', 'It waits until the answer is finished.'],
  ['steer', 'Steer', 'It joins the answer before its next step.'],
  ['interrupt', 'Interrupt', 'It stops the answer and goes first.'],
];

const isTouch = () => matchMedia('(hover: none) and (pointer: coarse)').matches;

export function Composer({ chatId, view }) {
  const text = unsentText(chatId);
  const area = useRef(null);
  const isBusyNow = Boolean(view && isBusy(view));
  useLayoutEffect(() => fitHeight(area.current), [text.value]);
  useLayoutEffect(() => {
    if (matchMedia('(pointer: fine)').matches) area.current.focus();
  }, []);

  const submit = (event) => {
    event?.preventDefault();
    if (!text.peek().trim()) return;
    send(chatId, text.peek(), isBusyNow ? whenBusy.peek() : 'queue');
    text.value = '';
    whenBusy.value = 'queue';
    area.current?.focus();
  };
  const onKeyDown = (event) => {
    if (event.key !== 'Enter' || event.shiftKey || isTouch() || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    submit();
  };

  return html`<form class="composer" data-testid="composer" onSubmit=${submit}>
    ${isBusyNow && html`<${WhenBusy} onChosen=${() => area.current?.focus()} />`}
    <div class="composer-box">
      <label for="composer-text" class="hidden">Message</label>
      <textarea id="composer-text" ref=${area} rows="1" value=${text.value} dir="auto" enterkeyhint=${isTouch() ? 'enter' : 'send'}
        placeholder=${isBusyNow ? 'Next message…' : 'Write a message…'}
        onInput=${(event) => (text.value = event.target.value)} onKeyDown=${onKeyDown}></textarea>
      ${isBusyNow && html`<${Stop} turnId=${view.turnId} />`}
      <button class="send" data-testid="send" aria-label="Send" title=${isTouch() ? 'Send' : 'Send (Enter)'} disabled=${!text.value.trim()}>
        <${Icon} name="send" />
      </button>
    </div>
    <p class="hint">Enter sends, Shift+Enter makes a new line${isBusyNow ? ', Escape stops the answer' : ''}.</p>
  </form>`;
}

function Stop({ turnId }) {
  const words = isStopping.value ? 'Stopping…' : 'Stop';
  return html`<button type="button" class="stop" data-testid="stop" title="Stop (Escape)"
    disabled=${!turnId || isStopping.value} onClick=${stop}><${Icon} name="stop" /> ${words}</button>`;
}

function WhenBusy({ onChosen }) {
  useEffect(() => () => (whenBusy.value = 'queue'), []); // a choice applies only during this answer
  // after a click or touch (`detail` counts clicks) focus the text; after an arrow key keep the focus here
  const onClick = ({ detail }) => detail && requestAnimationFrame(onChosen);
  return html`<fieldset class="when-busy">
    <legend class="hidden">What the next message does during the answer</legend>
    ${CHOICES.map(
      ([value, label, words]) => html`<label title=${words} key=${value} onClick=${onClick}>
      <input type="radio" name="when-busy" value=${value} checked=${whenBusy.value === value}
        onChange=${() => (whenBusy.value = value)} /><span>${label}</span>
    </label>`,
    )}
    <span class="hint">${CHOICES.find(([value]) => value === whenBusy.value)[2]}</span>
  </fieldset>`;
}

function fitHeight(area) {
  area.style.height = 'auto';
  area.style.height = `${area.scrollHeight}px`;
}
