// The HTTP API: requests with and without retries, and errors with a sentence that can be shown to people.

/** Relative to the address of the page: the server may be mounted under a path. */
const PREFIX = new URL('api/v1', document.baseURI).pathname;
const TIMEOUT_MS = 30_000;
const RETRY_DELAY_MAX_MS = 10_000;

/** An error response. `code` and `fields` are those of the HTTP API. */
export class ApiError extends Error {
  constructor(status, { code = 'internal', message, ...fields } = {}) {
    super(
      message ||
        (status > 501 ? `The server is not available right now (${status}).` : `The server answered ${status}.`),
    );
    Object.assign(this, { status, code, fields });
  }

  get isTemporary() {
    return this.code === 'unavailable' || this.code === 'too_many' || [502, 503, 504].includes(this.status);
  }
}

/** No response arrived: the outcome of the request is unknown. */
export class NetworkError extends Error {
  constructor() {
    super('The server cannot be reached.');
  }
}

let onSignedOut = () => {};
/** `listener()` is called for every 401. */
export const whenSignedOut = (listener) => (onSignedOut = listener);
export const signedOut = () => onSignedOut();

export const path = (...segments) => '/' + segments.map(encodeURIComponent).join('/');
export const url = (pathAndQuery) => PREFIX + pathAndQuery;
/** An address of the server outside of the API. */
export const ownAddress = (name) => new URL(name || '.', document.baseURI).pathname;

/** Sends one request. Returns the JSON of the response (null if it is empty). `keepalive`: it is sent even while the
 *  page is closed. */
export async function request(method, pathAndQuery, body, { keepalive = false } = {}) {
  const response = await reach(url(pathAndQuery), {
    method,
    headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
    credentials: 'same-origin',
    cache: 'no-store',
    keepalive,
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (!response.ok) throw await errorOf(response);
  return response.status === 204 ? null : readJson(response);
}

/** `request`, retried with full-jitter backoff while the server is unavailable. Only for idempotent requests (with a
 *  client's own id, or an interrupt of a named turn). `onDelay(error)` is called after each failed try; when
 *  `isWanted()` is false, the last error is thrown. */
export async function requestUntilAnswered(method, pathAndQuery, body, { onDelay, isWanted = () => true } = {}) {
  for (let tries = 1; ; tries++) {
    try {
      return await request(method, pathAndQuery, body);
    } catch (error) {
      const isWorthIt = error instanceof NetworkError || error.isTemporary;
      if (!isWorthIt || !isWanted()) throw error;
      onDelay?.(error);
      await sleep(error.fields?.retry_after_ms ?? backoff_ms(tries, RETRY_DELAY_MAX_MS));
      if (!isWanted()) throw error;
    }
  }
}

/** `fetch`; throws NetworkError if the request did not reach the server. A 401 signs out. */
export async function reach(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new NetworkError();
  }
  if (response.status === 401) signedOut();
  return response;
}

export async function errorOf(response) {
  const body = await response.json().catch(() => null); // a proxy's response is not JSON; the status is enough
  return new ApiError(response.status, body?.error);
}

async function readJson(response) {
  try {
    return await response.json();
  } catch {
    throw new NetworkError(); // truncated: the outcome is unknown
  }
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Exponential backoff with full jitter, with a minimum so that a dead server is not polled in a tight loop. */
export const backoff_ms = (tries, max_ms) => 100 + Math.random() * Math.min(max_ms, 400 * 2 ** Math.min(tries, 10));

/** A random UUID. `crypto.randomUUID` does not exist on a page served over plain HTTP to another machine. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
