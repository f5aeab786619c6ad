// Files of messages: images in place, everything else as a row to download. Nothing of a file runs here: only formats
// without scripts are shown, by <img>, and the server sends every file with `sandbox` and `nosniff`.

import { useState } from '../vendor/preact-hooks.js';
import { path, url } from '../api.js';
import { sizeWords } from '../view.js';
import { Icon, html } from './html.js';

const IMAGES = /^image\/(?:png|jpeg|gif|webp|avif)$/;
const STORED_IMAGES = /^image\/(?:png|jpeg|gif|webp)$/; // those whose bytes the server has checked

const WIDTH_MAX = 512;
const HEIGHT_MAX = 384;

/** A stored file: a `file-reference` part with a `file_id`. */
export function StoredFile({ part }) {
  const [isBroken, setBroken] = useState(false);
  const address = url(path('files', part.file_id));
  if (!STORED_IMAGES.test(part.media_type ?? '') || isBroken) return html`<${Row} part=${part} address=${address} />`;
  return html`<a class="picture" href=${address} target="_blank" rel="noopener" data-testid="picture">
    <img class="file" src=${address} alt=${part.file_name || 'Image without a name'} loading="lazy" decoding="async"
      ...${shownSize(part)} onError=${() => setBroken(true)} />
  </a>`;
}

/** A file whose bytes are in the message: a `file` part. */
export function InlineFile({ part }) {
  if (IMAGES.test(part.media_type) && part.data) {
    const data = `data:${part.media_type};base64,${part.data}`;
    return html`<img class="file" src=${data} alt=${part.name || 'Attached image'} />`;
  }
  return html`<p class="meta">A file: ${part.name ? `${part.name} ` : ''}(${part.media_type || 'unknown type'})</p>`;
}

function Row({ part, address }) {
  const name = part.file_name || 'File without a name';
  return html`<a class="download" href=${address} download=${part.file_name ?? ''} data-testid="download">
    <${Icon} name="download" />
    <span class="name" dir="auto">${name}</span>
    <span class="meta">${[part.media_type, part.size && sizeWords(part.size)].filter(Boolean).join(' · ')}</span>
  </a>`;
}

/** The size at which an image is shown, so that its place is reserved before it is loaded; empty if it is unknown. */
function shownSize({ width, height }) {
  if (!(width > 0 && height > 0)) return {};
  const scale = Math.min(1, WIDTH_MAX / width, HEIGHT_MAX / height);
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}
