// What the next message does while an answer is written.

import { useEffect } from '../vendor/preact-hooks.js';
import { signal } from '../vendor/signals.js';
import { html } from './html.js';

/** A choice applies to one message. */
export const whenBusy = signal('queue');

const CHOICES = [
  ['queue', 'Wait', 'The message waits until the answer is finished.'],
  ['steer', 'Add to this answer', 'The model reads the message before its next step.'],
  ['interrupt', 'Interrupt', 'The answer stops, and the message is answered next.'],
];

export function WhenBusy({ onChosen }) {
  useEffect(() => () => (whenBusy.value = 'queue'), []); // a choice applies only during this answer
  // after a click or touch (`detail` counts clicks) focus the text; after an arrow key keep the focus here
  const onClick = ({ detail }) => detail && requestAnimationFrame(onChosen);
  return html`<fieldset class="when-busy" data-testid="when-busy">
    <legend class="hidden">What the next message does during the answer</legend>
    ${CHOICES.map(
      ([value, label, words]) => html`<label title=${words} key=${value} onClick=${onClick}>
      <input type="radio" name="when-busy" value=${value} checked=${whenBusy.value === value}
        onChange=${() => (whenBusy.value = value)} /><span>${label}</span>
    </label>`,
    )}
  </fieldset>`;
}
