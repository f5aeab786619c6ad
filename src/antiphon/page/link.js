// Which addresses that a model wrote may become links.

const LINK_SCHEMES = new Set(['https:', 'http:', 'mailto:', 'tel:']);

/** Whether an address may become a link. Links to this origin are not allowed: `#token=` would sign the reader in as
 *  another owner. */
export function isSafeLink(href) {
  try {
    const { protocol, origin } = new URL(href, document.baseURI);
    return LINK_SCHEMES.has(protocol) && origin !== location.origin;
  } catch {
    return false;
  }
}
