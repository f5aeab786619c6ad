// The settings: one section at a time, each with an address of its own.

import { hrefOfSection, shownSection } from '../../route.js';
import { isAdmin } from '../../session.js';
import { Head, useDocumentTitle, useEscape } from '../head.js';
import { html } from '../html.js';
import { Instances } from '../instances.js';
import { About } from './about.js';
import { Appearance } from './appearance.js';
import { Members } from './members.js';
import { Models } from './models.js';
import { Prompt } from './prompt.js';
import { Tools } from './tools.js';
import { Usage } from './usage.js';

const SECTIONS = [
  { id: 'models', label: 'Models', component: Models },
  { id: 'prompt', label: 'Prompt', component: Prompt },
  { id: 'tools', label: 'Tools', component: Tools },
  { id: 'usage', label: 'Usage', component: Usage },
  { id: 'appearance', label: 'Appearance', component: Appearance },
  { id: 'members', label: 'Members', component: Members, isForAdmins: true },
  { id: 'servers', label: 'Servers', component: Instances, isForAdmins: true, isWide: true },
  { id: 'about', label: 'About', component: About },
];

export function Settings() {
  const id = shownSection.value || 'models';
  const section = SECTIONS.find((other) => other.id === id);
  useDocumentTitle(section ? `${section.label} · Settings` : 'Settings');
  useEscape(() => {});
  return html`
    <${Head} title="Settings" />
    <nav class="sections" aria-label="Settings" data-testid="sections">
      ${SECTIONS.filter(({ isForAdmins }) => !isForAdmins || isAdmin.value).map(
        (other) => html`<a key=${other.id} href=${hrefOfSection(other.id)}
        aria-current=${other.id === id ? 'page' : undefined}>${other.label}</a>`,
      )}
    </nav>
    <${Shown} key=${id} section=${section} />
  `;
}

function Shown({ section }) {
  if (!section) return html`<p class="empty">There is no such section. Choose one above.</p>`;
  if (section.isForAdmins && isAdmin.value === null) return html`<p class="empty" role="status">Loading…</p>`;
  if (section.isForAdmins && !isAdmin.value)
    return html`<p class="empty">Only an admin can see this section. Ask the person who runs this server.</p>`;
  if (section.isWide) return html`<${section.component} />`;
  return html`<div class="settings" data-testid=${`settings-${section.id}`} tabindex="0" role="region" aria-label=${section.label}>
    <div class="settings-column"><h2>${section.label}</h2><${section.component} /></div>
  </div>`;
}
