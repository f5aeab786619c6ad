// The files of a message that is being written or sent: previews, progress, removal.

import { path, url } from '../api.js';
import { attachedFiles, canUploadAgain, detach, uploadAgain } from '../attachments.js';
import { sizeWords } from '../view.js';
import { Icon, IconButton, html } from './html.js';

const IMAGES = /^image\/(?:png|jpeg|gif|webp)$/;

/** Those of the composer. */
export function Attachments({ chatId }) {
  const files = attachedFiles(chatId).value;
  if (!files.length) return null;
  return html`<ul class="attachments" aria-label="Attached files" data-testid="attachments">
    ${files.map(
      (file) => html`<li key=${file.key} class=${file.problem ? 'is-error' : ''} data-state=${file.state}>
      <${Preview} file=${file} />
      <span class="attached">
        <span class="name" dir="auto" title=${file.name}>${file.name}</span>
        <${State} file=${file} />
      </span>
      ${
        file.state === 'failed' &&
        canUploadAgain(file.key) &&
        html`<${IconButton} name="retry" label=${`Upload ${file.name} again`}
        onClick=${() => uploadAgain(file.key)} />`
      }
      <${IconButton} name="close" label=${`Remove ${file.name}`} onClick=${() => detach(chatId, file.key)} />
    </li>`,
    )}
  </ul>`;
}

/** Those of a message that is being sent. */
export const PendingFiles = ({ files }) =>
  files?.length > 0 &&
  html`<ul class="attachments">${files.map(
    (file) => html`<li key=${file.key}>
    <${Preview} file=${file} /><span class="name" dir="auto">${file.name}</span></li>`,
  )}</ul>`;

function Preview({ file }) {
  if (file.file_id && IMAGES.test(file.media_type)) {
    return html`<img class="thumb" src=${url(path('files', file.file_id))} alt="" width="36" height="36" />`;
  }
  return html`<span class="thumb"><${Icon} name="clip" /></span>`;
}

function State({ file }) {
  if (file.problem) return html`<span class="meta problem" role="alert">${file.problem}</span>`;
  if (file.state === 'ready') return html`<span class="meta">${sizeWords(file.size)}</span>`;
  const percent = Math.round(file.share * 100);
  return html`<progress max="100" value=${percent} aria-label=${`Upload of ${file.name}`}>${percent} %</progress>`;
}
