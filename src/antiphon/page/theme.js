// The theme and the size of the text, set before the first paint: a script of its own, which the page waits for. It is no
// module, since modules run after the first paint. preferences.js stores the choices, and changes them.

(() => {
  try {
    const { theme, textSize } = JSON.parse(localStorage.getItem('antiphon.preferences')) ?? {};
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
    if (textSize) document.documentElement.dataset.textSize = textSize;
  } catch {
    // nothing is stored, or storage is blocked
  }
})();
