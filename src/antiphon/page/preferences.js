// What this browser remembers of a person's choices: theme, text size, desktop notifications. In localStorage, so that
// it holds for all tabs and after a restart; without storage the choices last as long as the page.

import { effect, signal } from './vendor/signals.js';

const KEY = 'antiphon.preferences';
const DEFAULTS = { theme: 'system', textSize: 'normal', isNotifying: false, isSetupDismissed: false };
const CHOICES = { theme: ['system', 'light', 'dark'], textSize: ['small', 'normal', 'large', 'largest'] };

/** {theme, textSize, isNotifying, isSetupDismissed}. */
export const preferences = signal(load());

export function setPreference(name, value) {
  preferences.value = { ...preferences.peek(), [name]: value };
  try {
    localStorage.setItem(KEY, JSON.stringify(preferences.peek()));
  } catch {
    // blocked or full: the choice lasts as long as the page
  }
}

function load() {
  let stored = {};
  try {
    stored = JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    // blocked, or not written by this page
  }
  const isValid = (name) => !CHOICES[name] || CHOICES[name].includes(stored[name]);
  return Object.fromEntries(
    Object.entries(DEFAULTS).map(([name, value]) => [name, name in stored && isValid(name) ? stored[name] : value]),
  );
}

// another tab has changed them
addEventListener('storage', (event) => {
  if (event.key === KEY) preferences.value = load();
});

// The stylesheet reads these attributes; without `data-theme` it follows the system.
effect(() => {
  const { theme, textSize } = preferences.value;
  const { dataset } = document.documentElement;
  if (theme === 'system') delete dataset.theme;
  else dataset.theme = theme;
  dataset.textSize = textSize;
  for (const bar of document.querySelectorAll('meta[name=theme-color]')) {
    bar.dataset.media ??= bar.media; // of a phone's bar: that of the system, or of the chosen theme
    const isChosen = theme === 'system' ? null : bar.dataset.media.includes(theme);
    bar.media = isChosen === null ? bar.dataset.media : isChosen ? 'all' : 'not all';
  }
});
