// A modal dialog is open as long as its component is shown; then the focus returns to where it was.

import { useLayoutEffect, useRef } from '../vendor/preact-hooks.js';

/** The ref of a <dialog>. */
export function useModal() {
  const dialog = useRef(null);
  useLayoutEffect(() => {
    const element = dialog.current;
    element.showModal();
    return () => element.close(); // restores the focus
  }, []);
  return dialog;
}
