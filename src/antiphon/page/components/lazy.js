// A component whose module is loaded when it is first shown.

import { useEffect } from '../vendor/preact-hooks.js';
import { signal } from '../vendor/signals.js';
import { html } from './html.js';

/** `load()` imports the module; `name` is the component in it; `isQuiet`: nothing is shown while it loads. */
export function lazy(load, name, { isQuiet = false } = {}) {
  const loaded = signal(null);
  const problem = signal('');
  const start = async () => {
    problem.value = '';
    try {
      loaded.value = (await load())[name];
    } catch {
      problem.value = 'This part of the page could not be loaded.';
    }
  };
  return function Lazy(props) {
    useEffect(() => void (loaded.peek() ?? start()), []);
    if (loaded.value) return html`<${loaded.value} ...${props} />`;
    if (problem.value) {
      return html`<div class="welcome" role="alert">
        <p>${problem.value}</p>
        <button type="button" class="primary" onClick=${start}>Try again</button>
      </div>`;
    }
    return isQuiet ? null : html`<div class="welcome" aria-busy="true"><p>Loading…</p></div>`;
  };
}
