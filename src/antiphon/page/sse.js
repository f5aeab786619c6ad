// Server-sent events from text chunks. Pure. Lines end at CR, LF or CRLF only (never at U+2028).

/** Returns `push(chunk)`, which calls `onEvent({id, event, data})` for each complete event. `id` may be undefined. */
export function makeSseParser(onEvent) {
  let rest = '';
  let fields = {};

  function line(text) {
    if (text === '') return dispatch();
    if (text.startsWith(':')) return;
    const colon = text.indexOf(':');
    const name = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? '' : text.slice(colon + 1).replace(/^ /, '');
    if (name === 'data') fields.data = fields.data === undefined ? value : `${fields.data}\n${value}`;
    else if (name === 'id' || name === 'event') fields[name] = value;
  }

  function dispatch() {
    if (fields.data !== undefined) onEvent({ event: 'message', ...fields });
    fields = {};
  }

  return function push(chunk) {
    const text = rest + chunk;
    const ends = /\r\n|\n|\r(?!$)/g; // a CR at the very end may be the first half of a CRLF
    ends.lastIndex = Math.max(0, rest.length - 1); // a long line comes in many chunks: each is searched once
    let start = 0;
    for (let end; (end = ends.exec(text)); start = ends.lastIndex) line(text.slice(start, end.index));
    rest = text.slice(start);
  };
}
