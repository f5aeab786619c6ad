// A stream of server-sent events, read with fetch(). It reconnects and resumes after the last cursor.

import { NetworkError, backoff_ms, errorOf, reach, signedOut } from './api.js';
import { makeSseParser } from './sse.js';

const SILENCE_MAX_MS = 40_000; // the server pings every 15 s
const RETRY_MAX_MS = 10_000;
const HIDDEN_MS = 5_000;

const FINAL_REASONS = new Set(['deleted', 'revoked']);

/**
 * Opens `address` and keeps it open until `close()`.
 *
 * `onEvent(event, cursor)` gets the JSON of each event. If it returns `false` (a gap), the stream is read again from the
 * last cursor. `onState({state, problem?, reason?})` gets the state: connecting, live, reconnecting, offline or ended
 * (for good, with the reason deleted, revoked, refused or signed_out). The stream is live from the first `liveOn` event,
 * or without `liveOn` from the response. A hidden tab closes its connection after HIDDEN_MS (browsers allow six per
 * server) and reconnects when it becomes visible, unless `isKeptOpen()` says that it stays open.
 */
export function openStream({ address, liveOn, onEvent, onState, isKeptOpen = () => false }) {
  let cursor = null;
  let isClosed = false;
  let tries = 0;
  let wake = () => {};
  let abort = new AbortController();
  let hiddenTimer = 0;

  async function run() {
    onState({ state: 'connecting' });
    while (!isClosed) {
      const { reason, problem, delay_ms } = await readOnce();
      if (isClosed) return;
      if (reason) return end(reason, problem);
      tries++;
      onState({ state: navigator.onLine ? 'reconnecting' : 'offline', problem });
      await pause(document.hidden && !hiddenTimer && !isKeptOpen() ? Infinity : (delay_ms ?? backoff_ms(tries, RETRY_MAX_MS)));
    }
  }

  async function readOnce() {
    abort = new AbortController();
    let outcome = {};
    const watchdog = makeWatchdog(() => abort.abort());
    try {
      const headers = { Accept: 'text/event-stream', ...(cursor !== null && { 'Last-Event-ID': cursor }) };
      const response = await reach(address, {
        headers,
        credentials: 'same-origin',
        cache: 'no-store',
        signal: abort.signal,
      });
      if (!response.ok) return refused(await errorOf(response));
      if (liveOn === undefined) becomeLive();
      const push = makeSseParser((raw) => {
        outcome = handleEvent(raw) ?? outcome;
      });
      for await (const text of iterText(response.body)) {
        watchdog.feed();
        push(text);
        if (outcome.stop) break;
      }
    } catch (error) {
      if (error.name !== 'AbortError' && !(error instanceof NetworkError)) throw error;
    } finally {
      watchdog.stop();
      abort.abort();
    }
    return outcome;
  }

  /** Handles one event. Returns an outcome if the connection must end. */
  function handleEvent(raw) {
    const event = JSON.parse(raw.data);
    event.type ??= raw.event;
    if (event.type === 'bye') {
      return {
        stop: true,
        delay_ms: event.retry_ms,
        reason: FINAL_REASONS.has(event.reason) ? event.reason : undefined,
      };
    }
    if (isClosed || event.type === 'ping') return undefined;
    if (onEvent(event, raw.id) === false) {
      abort.abort();
      return { stop: true };
    }
    if (raw.id !== undefined) cursor = raw.id;
    if (event.type === liveOn) becomeLive();
    return undefined;
  }

  function becomeLive() {
    tries = 0;
    onState({ state: 'live' });
  }

  function refused(error) {
    if (error.status === 401) return { reason: 'signed_out' };
    if (error.code === 'cursor_invalid' && cursor !== null) {
      cursor = null; // the chat no longer has this cursor (a restored backup): restart
      return {};
    }
    if (error.isTemporary || error.status >= 500) {
      return { problem: error.message, delay_ms: error.fields.retry_after_ms };
    }
    return { reason: 'refused', problem: error.message };
  }

  function end(reason, problem) {
    stopListening();
    isClosed = true;
    onState({ state: 'ended', reason, problem });
    if (reason === 'revoked') signedOut();
  }

  function pause(ms) {
    return new Promise((resolve) => {
      const timer = ms === Infinity ? 0 : setTimeout(resolve, ms);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  function onVisibility() {
    clearTimeout(hiddenTimer);
    hiddenTimer = 0;
    if (!document.hidden || isKeptOpen()) return wake();
    hiddenTimer = setTimeout(() => {
      hiddenTimer = 0;
      if (!isKeptOpen()) abort.abort();
    }, HIDDEN_MS);
  }

  const onOnline = () => wake();
  const onOffline = () => abort.abort();

  function stopListening() {
    clearTimeout(hiddenTimer);
    document.removeEventListener('visibilitychange', onVisibility);
    removeEventListener('online', onOnline);
    removeEventListener('offline', onOffline);
  }

  document.addEventListener('visibilitychange', onVisibility);
  addEventListener('online', onOnline);
  addEventListener('offline', onOffline);
  run().catch((error) => {
    end('refused', 'The stream could not be read. Please reload the page.');
    throw error;
  });

  return {
    close() {
      if (isClosed) return;
      isClosed = true;
      stopListening();
      abort.abort();
      wake();
    },
  };
}

function makeWatchdog(onSilence) {
  let timer = setTimeout(onSilence, SILENCE_MAX_MS);
  return {
    feed() {
      clearTimeout(timer);
      timer = setTimeout(onSilence, SILENCE_MAX_MS);
    },
    stop: () => clearTimeout(timer),
  };
}

async function* iterText(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const chunk = await reader.read().catch(() => {
      throw new NetworkError(); // the connection was lost (a TypeError), or this code aborted it
    });
    if (chunk.done) return;
    yield decoder.decode(chunk.value, { stream: true });
  }
}
