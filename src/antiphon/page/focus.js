// The focus is never lost: when the element that has it disappears, another one gets it.

import { useLayoutEffect, useRef } from './vendor/preact-hooks.js';

/** For a part that shows a form or not: when `step` changes, its first field gets the focus, or its first button. */
export function useFormFocus(step) {
  const container = useRef(null);
  const shown = useRef(step);
  useLayoutEffect(() => {
    if (shown.current === step) return;
    shown.current = step;
    const fields = container.current?.querySelector('input, select, textarea');
    (fields ?? container.current?.querySelector('button'))?.focus();
  }, [step]);
  return container;
}

/** Focuses the first of these that exists, if the focus was lost by the change that is being rendered. */
export function focusIfLost(...selectors) {
  requestAnimationFrame(() => {
    if (document.activeElement !== document.body) return;
    selectors
      .map((selector) => document.querySelector(selector))
      .find(Boolean)
      ?.focus();
  });
}

/** When a part disappears with the focus in it, the first of `selectors` that exists gets the focus. Not on a touch
 *  screen, where that would open the keyboard. `part` is a ref. */
export function useFocusLeft(part, ...selectors) {
  useLayoutEffect(
    () => () => {
      const hasFocus = part.current?.contains(document.activeElement);
      if (hasFocus && matchMedia('(pointer: fine)').matches) focusIfLost(...selectors);
    },
    [],
  );
}
