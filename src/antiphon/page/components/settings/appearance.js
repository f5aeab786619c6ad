// The appearance of the page in this browser, and desktop notifications.

import { askPermission, permission } from '../../attention.js';
import { preferences, setPreference } from '../../preferences.js';
import { html } from '../html.js';
import { Segments } from './segments.js';

const THEMES = [
  ['system', 'As the system'],
  ['light', 'Light'],
  ['dark', 'Dark'],
];
const SIZES = [
  ['small', 'Small'],
  ['normal', 'Normal'],
  ['large', 'Large'],
  ['largest', 'Largest'],
];

export const Appearance = () => html`
  <p>These choices hold for this browser.</p>
  <${Choice} name="theme" legend="Theme" options=${THEMES} />
  <${Choice} name="textSize" legend="Size of the text" options=${SIZES} />
  <h3>Desktop notifications</h3>
  <${Notifications} />
`;

const Choice = ({ name, legend, options }) => html`<${Segments} name=${name} legend=${legend} options=${options}
  value=${preferences.value[name]} onChange=${(value) => setPreference(name, value)} />`;

const PROBLEMS = {
  denied: 'The browser blocks notifications of this page. Allow them in the browser’s settings of this site.',
  unsupported: 'This browser cannot show notifications.',
};

function Notifications() {
  const problem = PROBLEMS[permission.value] ?? '';
  const onChange = async (event) => {
    const isOn = event.target.checked;
    setPreference('isNotifying', isOn && (await askPermission()) === 'granted');
  };
  return html`
    <label class="check">
      <input type="checkbox" checked=${preferences.value.isNotifying && !problem} disabled=${Boolean(problem)} onChange=${onChange} />
      Notify me when an answer is finished or a chat waits for me, while this page is in the background
    </label>
    ${problem && html`<p class="hint" role="status">${problem}</p>`}
    <p class="hint">Texts of messages are not shown in a notification.</p>
  `;
}
