// Tool calls in words: the arguments, the result or the error on one line. Pure.

const CHARS_MAX = 160;

const short = (text) => (text.length > CHARS_MAX ? `${text.slice(0, CHARS_MAX)}…` : text);

const json = (value) => JSON.stringify(value) ?? '';

/** The arguments as one would write the call: `1, 2` for {a: 1, b: 2}; those of an object with several longer values
 *  have their names. A text is JSON that is still being written. */
export function argsWords(args) {
  if (typeof args === 'string') return short(args);
  if (args === null || typeof args !== 'object' || Array.isArray(args)) return short(json(args));
  const entries = Object.entries(args);
  const areShort = entries.every(([, value]) => ['number', 'boolean'].includes(typeof value));
  const isPlain = areShort || entries.length === 1;
  return short(
    entries
      .slice(0, 20)
      .map(([name, value]) => (isPlain ? json(value) : `${name}: ${json(value)}`))
      .join(', '),
  );
}

/** The result on one line. */
export const resultWords = (result) => short((typeof result === 'string' ? result : json(result)).replace(/\s+/g, ' '));

/** The sentence of an error: `{error, message}` as tools report it, or what else there is. */
export function errorWords(result) {
  const text = result?.message ?? result?.error ?? result;
  if (typeof text !== 'string') return short(json(text));
  return short(text.replace(/^\w*(?:Error|Exception): /, '').replace(/\s+/g, ' '));
}
