// The address of the icon, which has the version of the page's files in it.

export const ICON = new URL('icon.svg', import.meta.url).href;
