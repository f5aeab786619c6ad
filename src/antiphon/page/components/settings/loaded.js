// What a section of the settings loads from the server, with its problem as a sentence.

import { useEffect, useState } from '../../vendor/preact-hooks.js';
import { sentenceOf } from '../../notice.js';
import { html } from '../html.js';

/** {value, problem, reload}: `value` is null until `load()` has succeeded once. */
export function useLoaded(load) {
  const [state, setState] = useState({ value: null, problem: '' });
  const reload = async () => {
    try {
      setState({ value: await load(), problem: '' });
    } catch (error) {
      const problem = sentenceOf(error);
      setState((before) => ({ ...before, problem }));
    }
  };
  useEffect(() => void reload(), []);
  return { ...state, reload };
}

/** Shown until there is a value, and above it when the last request failed. */
export function LoadState({ loaded }) {
  if (loaded.problem) {
    return html`<p class="problem" role="alert">${loaded.problem}
      <button type="button" class="quiet" onClick=${loaded.reload}>Try again</button></p>`;
  }
  return loaded.value === null && html`<p class="empty" role="status">Loading…</p>`;
}

const FIELD_WORDS = {
  base_url: 'Address',
  secret: 'Key',
  name: 'Name',
  owner: 'Name',
  model: 'Model',
  parameters: 'Settings',
};

/** The sentence of a refusal, with the name that the form gives the field. */
function fieldSentence(error) {
  const { field, reason } = error.fields ?? {};
  return field in FIELD_WORDS && reason ? `${FIELD_WORDS[field]}: ${reason}.` : sentenceOf(error);
}

/** Runs one action at a time: {isBusy, problem, run(action)}. `run` resolves to whether it succeeded. */
export function useAction() {
  const [state, setState] = useState({ isBusy: false, problem: '' });
  const run = async (action) => {
    if (state.isBusy) return false;
    setState({ isBusy: true, problem: '' });
    try {
      await action();
      setState({ isBusy: false, problem: '' });
      return true;
    } catch (error) {
      setState({ isBusy: false, problem: fieldSentence(error) });
      return false;
    }
  };
  return { ...state, run };
}
