// Pictures of diagrams, drawn one after another by a sandboxed frame (diagram_frame.js). The frame is made for the first
// diagram; one that takes too long is removed with its frame.

const DRAW_MS = 8_000;
const LOAD_MS = 20_000;
const PICTURES_MAX = 100;
/** Maximum size of a diagram's text and of its picture, in characters. */
const TEXT_MAX = 50_000;
const SVG_MAX = 2_000_000;

/** What was drawn, by the theme and the text; the oldest are forgotten. */
const drawn = new Map();
let frame = null;
let isReady = null;
let last = Promise.resolve();
let number = 0;

/** The picture of a diagram: {url, width, height} in pixels, or {problem}. */
export function drawDiagram(text, isDark) {
  const key = `${isDark} ${text}`;
  if (!drawn.has(key)) {
    const picture = (last = last.then(() => draw(text, isDark)));
    drawn.set(key, picture);
    picture.then(({ isLate }) => isLate && drawn.delete(key)); // it is tried again when it is shown again
    if (drawn.size > PICTURES_MAX) drawn.delete(drawn.keys().next().value);
  }
  return drawn.get(key);
}

async function draw(text, isDark) {
  if (text.length > TEXT_MAX) return { problem: 'It is too long.' };
  try {
    await openFrame();
    const id = (number += 1);
    const answered = nextMessage((data) => data.id === id, DRAW_MS);
    frame.contentWindow.postMessage({ id, text, isDark }, '*'); // a sandboxed frame has no origin to name
    const { svg, problem } = await answered;
    return problem ? { problem } : pictureOf(svg);
  } catch {
    closeFrame();
    return { problem: 'It took too long.', isLate: true };
  }
}

function openFrame() {
  if (frame) return isReady;
  frame = document.createElement('iframe');
  frame.className = 'diagram-frame';
  frame.title = 'Diagrams';
  frame.tabIndex = -1;
  frame.setAttribute('aria-hidden', 'true');
  frame.setAttribute('sandbox', 'allow-scripts');
  frame.src = new URL('diagram.html', import.meta.url).href;
  isReady = nextMessage((data) => data.isReady, LOAD_MS);
  document.body.append(frame);
  return isReady;
}

function closeFrame() {
  frame?.remove();
  frame = isReady = null;
}

/** The next message of the frame that `isWanted`. */
function nextMessage(isWanted, ms) {
  const mine = frame;
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      removeEventListener('message', onMessage);
    };
    const onMessage = ({ source, data }) => {
      if (source !== mine.contentWindow || !data || !isWanted(data)) return;
      stop();
      resolve(data);
    };
    const timer = setTimeout(() => {
      stop();
      reject(new Error('late'));
    }, ms);
    addEventListener('message', onMessage);
  });
}

/** A picture as an image: its scripts do not run, and it loads nothing. */
function pictureOf(svg) {
  if (typeof svg !== 'string' || svg.length > SVG_MAX) return { problem: 'It is too large.' };
  const [, , , width, height] = /viewBox="([-\d.]+) ([-\d.]+) ([\d.]+) ([\d.]+)"/.exec(svg) ?? [];
  const sized = svg.replace('width="100%"', `width="${Number(width) || 600}" height="${Number(height) || 400}"`);
  return {
    url: `data:image/svg+xml;charset=utf-8,${encodeURIComponent(sized)}`,
    width: Math.ceil(Number(width) || 600),
    height: Math.ceil(Number(height) || 400),
  };
}
