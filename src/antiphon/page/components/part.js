// One part of a message that is not a tool call.

import { thoughtWords } from '../figures.js';
import { isSafeLink } from '../link.js';
import { InlineFile, StoredFile } from './file.js';
import { Fold } from './fold.js';
import { html } from './html.js';
import { Json } from './json.js';
import { Markdown } from './markdown.js';

export function Part({ part, thought_ms, isGrowing }) {
  switch (part.type) {
    case 'text':
      return html`<${Markdown} text=${part.text} isGrowing=${isGrowing} />`;
    case 'reasoning':
      return html`<${Fold} id=${`r${part.text.slice(0, 200)}`} data-testid="reasoning" class="thoughts"
        summary=${isGrowing ? 'Thinking…' : thoughtWords(thought_ms ?? part.ended_ms - part.began_ms)}
        body=${() => html`<${Markdown} text=${part.text} isGrowing=${isGrowing} />`} />`;
    case 'tool-result':
      return html`<${Fold} id=${`t${part.tool_call_id}`} data-testid="tool-result" class="tool ${part.is_error ? 'is-error' : ''}"
        summary=${html`${part.is_error ? 'Error' : 'Result'} from <code>${part.tool_name}</code>`}
        body=${() => html`<${Json} value=${part.result} />`} />`;
    case 'source':
      return html`<p class="meta">Source: <${SourceLink} part=${part} /></p>`;
    case 'file':
      return html`<${InlineFile} part=${part} />`;
    case 'data':
      return html`<${Fold} id=${part} isOpen data-testid="data" summary=${part.name || 'Data'}
        body=${() => html`<${Json} value=${part.data} />`} />`;
    case 'file-reference':
      if (part.file_id && !part.content) return html`<${StoredFile} part=${part} />`;
      return html`<${Fold} id=${part} summary=${`${part.file_name}, lines ${part.start_line} to ${part.end_line}`}
        body=${() => html`<pre tabindex="0">${part.content}</pre>`} />`;
    default:
      return html`<p class="meta">Unknown part: ${part.type}</p>`;
  }
}

function SourceLink({ part }) {
  const words = part.title || part.url;
  if (!isSafeLink(part.url)) return words;
  return html`<a href=${part.url} rel="noopener noreferrer" target="_blank">${words}</a>`;
}
