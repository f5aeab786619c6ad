// The keys of the page.

import { COMMANDS, overlay } from './commands.js';
import { endToast, toast } from './toast.js';

const isTextField = (element) => element?.matches?.('input, textarea, select, [contenteditable]');

export function startKeys() {
  addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.isComposing) return;
    if (isUndo(event)) endToast({ isReverted: true });
    else {
      const isTyping = isTextField(event.target);
      const isEmpty = isTyping && !event.target.value;
      const isActive = ({ isGlobal, isInEmptyField }) => isGlobal || !isTyping || (isInEmptyField && isEmpty);
      const command = COMMANDS.find((other) => other.matches?.(event) && isActive(other));
      if (!command || isBelowDialog(command)) return;
      command.run();
    }
    event.preventDefault();
  });
}

/** Ctrl+Z reverts what the toast reports, unless it reverts typing. */
function isUndo(event) {
  const isKey = (event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === 'z';
  return isKey && toast.peek()?.onAction && !(isTextField(event.target) && event.target.value);
}

/** While a dialog is open, only the palette's own key works. */
const isBelowDialog = ({ name }) =>
  document.querySelector('dialog[open]') && !(name === 'palette' && overlay.peek() === 'palette');
