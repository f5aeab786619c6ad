// The open menu: arrows move, letters search, Enter chooses, Escape closes (the menu pattern of ARIA's practices).

import { useLayoutEffect, useRef } from '../vendor/preact-hooks.js';
import { closeMenu, menu, openMenu } from '../menu.js';
import { Icon, html } from './html.js';

const MARGIN_PX = 8;

/** A button that opens a menu of `items()`. */
export function MenuButton({ owner, label, icon = 'more', items, class: extra = '', ...rest }) {
  const isOpen = menu.value?.owner === owner;
  const onClick = (event) => {
    if (isOpen) closeMenu();
    else openMenu(event.currentTarget, { items: items(), label, owner });
  };
  return html`<button type="button" class="icon-button ${extra}" aria-label=${label} title=${label}
    aria-haspopup="menu" aria-expanded=${isOpen} onClick=${onClick} ...${rest}><${Icon} name=${icon} /></button>`;
}

export const Menu = () => menu.value && html`<${Open} key=${menu.value.owner} ...${menu.value} />`;

function Open({ items, label, at }) {
  const list = useRef(null);
  useLayoutEffect(() => {
    place(list.current, at);
    list.current.firstElementChild?.focus();
  }, [at]);
  useLayoutEffect(() => {
    const onPointer = ({ target }) => {
      const isInside = list.current?.contains(target) || menu.peek()?.returnTo.contains(target); // its button closes it
      if (!isInside) closeMenu({ isFocusReturned: false });
    };
    const close = () => closeMenu();
    addEventListener('pointerdown', onPointer, true);
    addEventListener('resize', close);
    return () => {
      removeEventListener('pointerdown', onPointer, true);
      removeEventListener('resize', close);
    };
  }, []);
  const choose = (item) => {
    closeMenu(); // the focus returns first, so that a dialog of the action gives it back there
    item.run();
  };
  return html`<div class="menu-list" role="menu" ref=${list} aria-label=${label} data-testid="menu"
    onKeyDown=${(event) => onKeyDown(event, list.current)}>
    ${items.map(
      (item) => html`<button type="button" role="menuitem" tabindex="-1" key=${item.label}
      class=${item.isDanger ? 'is-danger' : ''} onClick=${() => choose(item)}>
      <${Icon} name=${item.icon ?? 'blank'} /><span class="grow">${item.label}</span>
      ${item.keys && html`<kbd aria-hidden="true">${item.keys}</kbd>`}
    </button>`,
    )}
  </div>`;
}

function onKeyDown(event, list) {
  const items = [...list.children];
  const index = items.indexOf(document.activeElement);
  const focus = (at) => items[(at + items.length) % items.length].focus();
  event.stopPropagation();
  if (event.key === 'ArrowDown') focus(index + 1);
  else if (event.key === 'ArrowUp') focus(index - 1);
  else if (event.key === 'Home') focus(0);
  else if (event.key === 'End') focus(-1);
  else if (event.key === 'Escape' || event.key === 'Tab') closeMenu();
  else if (event.key.length === 1 && event.key !== ' ' && !event.ctrlKey && !event.metaKey) {
    const order = [...items.slice(index + 1), ...items.slice(0, index + 1)];
    order.find((item) => item.textContent.trim().toLowerCase().startsWith(event.key.toLowerCase()))?.focus();
  } else return;
  event.preventDefault();
}

/** Below the rectangle, or above it where there is no room; always inside the window. */
function place(list, at) {
  const { width, height } = list.getBoundingClientRect();
  const below = at.bottom + 4;
  const top = below + height + MARGIN_PX <= innerHeight ? below : at.top - height - 4;
  list.style.top = `${Math.max(MARGIN_PX, Math.min(top, innerHeight - height - MARGIN_PX))}px`;
  list.style.left = `${Math.max(MARGIN_PX, Math.min(at.right - width, innerWidth - width - MARGIN_PX))}px`;
}
