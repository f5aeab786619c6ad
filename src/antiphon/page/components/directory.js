// The path of a directory.

import { visible } from '../instance_words.js';
import { html } from './html.js';

/** A path that breaks at its slashes. */
export const Directory = ({ path }) => html`<bdi>${visible(path)
  .split('/')
  .map((name, index) => (index ? html`/<wbr />${name}` : name))}</bdi>`;
