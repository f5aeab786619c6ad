// htm bound to preact: templates instead of a build step.

import { h } from '../vendor/preact.js';
import htm from '../vendor/htm.js';

export const html = htm.bind(h);

/** Icons: one stroke each, 24 × 24. */
const PATHS = {
  menu: 'M4 7h16M4 12h16M4 17h16',
  plus: 'M12 5v14M5 12h14',
  send: 'M12 19V5M6 11l6-6 6 6',
  stop: 'M7 7h10v10H7z',
  pencil: 'M4 20l1-4L16 5l3 3L8 19zM14 7l3 3',
  trash: 'M5 7h14M10 7V5h4v2M7 7l1 12h8l1-12',
  archive: 'M4 5h16v4H4zM6 9v10h12V9M10 13h4',
  restore: 'M4 5h16v4H4zM6 9v10h12V9M12 17v-5M10 14l2-2 2 2',
  up: 'M6 15l6-6 6 6',
  down: 'M6 9l6 6 6-6',
  now: 'M13 5l6 7-6 7M5 5l6 7-6 7',
  retry: 'M19 12a7 7 0 1 1-2-5M19 4v4h-4',
  copy: 'M9 9h10v10H9zM5 15V5h10',
  check: 'M5 13l4 4L19 7',
  clip: 'M8 12l6-6a3 3 0 0 1 4 4l-8 8a5 5 0 0 1-7-7l8-8',
  fork: 'M6 4v6a4 4 0 0 0 4 4h4a4 4 0 0 1 4 4v2M18 20l-3-3M18 20l3-3M6 10v10',
  close: 'M6 6l12 12M18 6L6 18',
  back: 'M15 6l-6 6 6 6',
  forward: 'M9 6l6 6-6 6',
  inbox: 'M4 13l3-8h10l3 8v6H4zM4 13h5l1.5 2h3L15 13h5',
  instances: 'M4 4h16v7H4zM4 13h16v7H4zM8 7.5h.01M8 16.5h.01',
  download: 'M12 4v11M7 11l5 5 5-5M5 20h14',
  more: 'M5 11.3v1.4M5.7 12H4.3M12 11.3v1.4M12.7 12h-1.4M19 11.3v1.4M19.7 12h-1.4',
  pin: 'M9 4h6l-1 6 3 3v2H7v-2l3-3zM12 15v5',
  label: 'M4 5h8l8 8-7 7-8-8zM8.5 9h.01',
  search: 'M11 5a6 6 0 1 1 0 12 6 6 0 0 1 0-12M15.5 15.5L20 20',
  settings: 'M4 8h9M17 8h3M4 16h3M11 16h9M15 6v4M9 14v4',
  keys: 'M3 7h18v10H3zM7 11h.01M11 11h.01M15 11h.01M8 14h8',
  theme: 'M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16',
  chat: 'M4 5h16v11H10l-4 4v-4H4z',
  link: 'M10 14l4-4M8 12l-2 2a3 3 0 0 0 4 4l2-2M16 12l2-2a3 3 0 0 0-4-4l-2 2',
  blank: '',
  out: 'M14 5H5v14h9M10 12h10M17 9l3 3-3 3',
};

export const Icon = ({ name }) => html`
  <svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d=${PATHS[name]} /></svg>
`;

/** An icon button; `label` is its tooltip and accessible name. */
export const IconButton = ({ name, label, class: extra = '', ...rest }) => html`
  <button type="button" class="icon-button ${extra}" aria-label=${label} title=${label} ...${rest}>
    <${Icon} name=${name} />
  </button>
`;
