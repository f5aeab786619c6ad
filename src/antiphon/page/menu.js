// The open menu: a list of actions beside the button or row that it belongs to.

import { signal } from './vendor/signals.js';

/** {items, label, owner, at, returnTo}, or null. Items are {label, icon?, keys?, isDanger?, run}; `owner` names what the
 *  menu belongs to; `at` is the rectangle that it is placed beside. */
export const menu = signal(null);

/** Opens a menu beside `element`, which gets the focus back when the menu is closed without an action. */
export function openMenu(element, { items, label, owner, at = element.getBoundingClientRect() }) {
  menu.value = { items, label, owner, at, returnTo: element };
}

export function closeMenu({ isFocusReturned = true } = {}) {
  const closed = menu.peek();
  menu.value = null;
  if (isFocusReturned && closed?.returnTo.isConnected) closed.returnTo.focus();
}
