// Finding by a few letters: the letters of the search are in the text in their order. Pure.
//
// Letters that follow each other, and letters at the beginning of a word, count more; so "nc" finds "New chat" before
// "announce". A text without all letters is not found.

const [LETTER, IN_A_ROW, WORD_START, TEXT_START] = [1, 5, 6, 4];

/** {score, places}: the indexes (of code points) of the letters; null: not found. */
export function match(words, text) {
  const wanted = [...words.toLowerCase()].filter((letter) => letter.trim());
  const letters = [...text.toLowerCase()];
  let score = 0;
  const places = [];
  let from = 0;
  for (const letter of wanted) {
    const at = nextPlace(letters, letter, from, places.at(-1));
    if (at < 0) return null;
    score += LETTER;
    if (at === places.at(-1) + 1) score += IN_A_ROW;
    if (isWordStart(letters, at)) score += WORD_START;
    if (at === 0) score += TEXT_START;
    places.push(at);
    from = at + 1;
  }
  return { score: score - letters.length / 1_000, places };
}

/** The place after the last letter if it fits, else the next beginning of a word, else the first place. */
function nextPlace(letters, letter, from, last) {
  if (last !== undefined && letters[last + 1] === letter) return last + 1;
  const first = letters.indexOf(letter, from);
  for (let at = first; at >= 0; at = letters.indexOf(letter, at + 1)) if (isWordStart(letters, at)) return at;
  return first;
}

const isWordStart = (letters, at) => at === 0 || !/[\p{L}\p{N}]/u.test(letters[at - 1]);

/** The items whose `text` matches, the best first, with their `places`; of two equal ones the earlier item is first. */
export function bestMatches(words, items, count_max) {
  const found = [];
  for (const [order, item] of items.entries()) {
    const result = match(words, item.text) ?? exact(words, item.text);
    if (result) found.push({ ...item, places: result.places, score: result.score, order });
  }
  return found.sort((a, b) => b.score - a.score || a.order - b.order).slice(0, count_max);
}

/** Jumping to a beginning of a word may miss letters before it; the words as they stand are always found. */
function exact(words, text) {
  const at = text.toLowerCase().indexOf(words.trim().toLowerCase());
  if (at < 0) return null;
  const start = [...text.slice(0, at)].length;
  return { score: LETTER, places: [...words.trim()].map((_, index) => start + index) };
}
