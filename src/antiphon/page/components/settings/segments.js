// A choice of one among a few, as buttons beside each other.

import { html } from '../html.js';

/** `options` are [value, label]; `isLegendHidden`: it is only read by screen readers. */
export const Segments = ({ name, legend, isLegendHidden, options, value, onChange }) => html`<fieldset class="choice">
  <legend class=${isLegendHidden ? 'hidden' : ''}>${legend}</legend>
  <div class="segments">${options.map(
    ([option, label]) => html`<label key=${option}>
    <input type="radio" name=${name} checked=${option === value} onChange=${() => onChange(option)} /><span>${label}</span>
  </label>`,
  )}</div>
</fieldset>`;
