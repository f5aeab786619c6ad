// A diagram in a text: its picture, or while there is none its source.

import { useEffect, useState } from '../vendor/preact-hooks.js';
import { CopyButton } from './copy.js';
import { html } from './html.js';

/** Whether the page is dark, by the colour that it has. */
function isDarkPaper() {
  const [red, green, blue] = getComputedStyle(document.body).backgroundColor.match(/\d+/g)?.map(Number) ?? [255, 255, 255];
  return red + green + blue < 384;
}

/** `children` is the source as code. */
export function Diagram({ text, children }) {
  const [picture, setPicture] = useState(null);
  const [isSource, setSource] = useState(false);
  useEffect(() => {
    let isWanted = true;
    import('../diagrams.js')
      .then(({ drawDiagram }) => drawDiagram(text, isDarkPaper()))
      .then((made) => isWanted && setPicture(made))
      .catch(() => isWanted && setPicture({ problem: 'The part that draws could not be loaded.' }));
    return () => (isWanted = false);
  }, [text]);
  const isShown = picture?.url && !isSource;
  return html`<figure class="diagram" data-testid="diagram" data-state=${picture ? (picture.url ? 'drawn' : 'failed') : 'drawing'}>
    <div class="code-head">
      <span>Diagram</span>
      <span class="row">
        ${
          picture?.url &&
          html`<button type="button" class="quiet" aria-pressed=${isSource} onClick=${() => setSource(!isSource)}>
          ${isSource ? 'Show the diagram' : 'Show the source'}
        </button>`
        }
        <${CopyButton} text=${() => text} words />
      </span>
    </div>
    ${picture?.problem && html`<p class="meta" role="status">This diagram could not be drawn. ${picture.problem}</p>`}
    ${
      isShown
        ? html`<div class="diagram-picture"><img src=${picture.url} width=${picture.width} height=${picture.height}
            alt="Diagram. Its source can be shown." /></div>`
        : children
    }
  </figure>`;
}
