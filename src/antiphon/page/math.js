// Formulas as MathML, which browsers render themselves. The renderer is loaded for the first formula.

/** Nothing that a formula says is trusted: no links, images, classes or styles of its own, and bounded macros. */
const OPTIONS = { trust: false, strict: false, throwOnError: true, maxExpand: 200, maxSize: [20, 20] };

let renderer = null;

/** Replaces the sources of formulas below `element` by the rendered formulas. A formula with an error keeps its source. */
export async function renderMath(element) {
  const sources = [...element.querySelectorAll('code.math-inline, code.math-block')];
  if (!sources.length) return;
  renderer ??= import('./vendor/temml.js').then((module) => module.default);
  const temml = await renderer.catch(() => (renderer = null));
  if (!temml) return; // the server cannot be reached: the next formula tries again
  for (const source of sources) if (source.isConnected) renderOne(temml, source);
}

function renderOne(temml, source) {
  const displayMode = source.classList.contains('math-block');
  const holder = document.createElement('span');
  holder.className = displayMode ? 'math display' : 'math';
  try {
    temml.render(source.textContent, holder, { ...OPTIONS, displayMode });
  } catch {
    source.title = 'This formula could not be read.';
    return;
  }
  // names that a formula gives (\label, \id) must not shadow those of the page
  for (const named of holder.querySelectorAll('[id], [name]')) {
    named.removeAttribute('id');
    named.removeAttribute('name');
  }
  if (displayMode) holder.tabIndex = 0;
  holder.dir = 'ltr';
  source.replaceWith(holder);
}
