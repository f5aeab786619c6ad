// The instances of this machine, and the open one: its chats, its events and the commands to it.

import { signal } from './vendor/signals.js';
import { ApiError, NetworkError, path, request, url } from './api.js';
import { addEvents, addRemark, emptyLog } from './instance_log.js';
import { openStream } from './stream.js';

const REFRESH_MS = 3_000;
const SOON_MS = 1_000; // an instance lists its chats at most this often

/** The response of GET /instances; null until the first one. */
export const instances = signal(null);
/** The open instance, the response of GET /instances/{id}; null until the first one. */
export const opened = signal(null);
/** Why the last refresh of the list, or of the open instance, failed, as a sentence; '' if it succeeded. */
export const listProblem = signal('');
export const openedProblem = signal('');
export const isGone = signal(false);
export const log = signal(emptyLog());
/** The state of the stream of the events (see openStream); null when no instance is open. */
export const logState = signal(null);

/** The id of the chosen chat; null: none. Only the person changes it, so that no message goes to the wrong chat. */
export const chosenId = signal(null);
export const isBusy = signal(false);
/** The outcome of the last command: {words, isProblem}, or null. */
export const outcome = signal(null);

let openId = null;
let stream = null;
let timer = 0;
let soonTimer = 0;
let waiting = []; // events since the last frame
let reloadOpened = async () => {};

// --- the list and the open instance -----------------------------------------------------------------

/** Polls the list of instances while the tab is visible. */
export function openInstances() {
  if (timer) return;
  timer = setInterval(() => document.hidden || reload(), REFRESH_MS);
  reload();
}

export function closeInstances() {
  clearInterval(timer);
  timer = 0;
  instances.value = null;
  listProblem.value = '';
}

export function openInstance(instanceId) {
  if (instanceId === openId) return;
  closeInstance();
  openId = instanceId;
  const isMine = () => instanceId === openId;
  reloadOpened = oneAtATime(() => loadOpened(instanceId));
  reloadOpened();
  stream = openStream({
    address: url(path('instances', instanceId, 'events')),
    onEvent: (event) => isMine() && handleEvent(event),
    onState: (state) => isMine() && onLogState(state),
  });
}

export function closeInstance() {
  stream?.close();
  stream = openId = null;
  waiting = [];
  reloadOpened = async () => {};
  opened.value = logState.value = chosenId.value = outcome.value = null;
  isGone.value = false;
  openedProblem.value = '';
  log.value = emptyLog();
}

export const reload = () => Promise.all([reloadList(), reloadOpened()]);

const reloadList = oneAtATime(() =>
  refresh(listProblem, async () => {
    const { instances: list } = await request('GET', '/instances');
    if (timer) instances.value = list;
  }),
);

const loadOpened = (instanceId) =>
  refresh(openedProblem, async () => {
    const found = await request('GET', path('instances', instanceId)).catch((error) => {
      if (error.status !== 404) throw error;
      return null;
    });
    if (instanceId !== openId) return;
    isGone.value = !found;
    if (!found) return endLog();
    if (!opened.peek()?.sessions?.length) chosenId.value ??= found.active_session_id ?? found.sessions?.[0]?.id ?? null;
    else if (!found.is_silent && !found.sessions.some(({ id }) => id === chosenId.peek())) chosenId.value = null;
    opened.value = found;
  });

/** Ends the log of an instance that is gone: a killed instance publishes nothing. */
function endLog() {
  stream.close();
  logState.value = { state: 'ended' };
}

async function refresh(problem, action) {
  try {
    await action();
    problem.value = '';
  } catch (error) {
    if (!(error instanceof ApiError) && !(error instanceof NetworkError)) throw error;
    problem.value = error.message;
  }
}

/** `action` as a function that never runs concurrently: a call during a run makes it run once more afterwards. */
function oneAtATime(action) {
  let isRunning = false;
  let isRequested = false;
  return async () => {
    isRequested = true;
    if (isRunning) return;
    isRunning = true;
    try {
      while (isRequested) {
        isRequested = false;
        await action();
      }
    } finally {
      isRunning = false;
    }
  };
}

// --- events -----------------------------------------------------------------------------------------

function handleEvent(event) {
  if (!waiting.length) requestFrame();
  waiting.push(event);
  if (/^(session|instance)\./.test(event.type)) reloadSoon();
}

// Renders at most once per animation frame, however many tokens arrive. A hidden tab has no frames.
function requestFrame() {
  const show = () => {
    if (openId) log.value = addEvents(log.peek(), waiting);
    waiting = [];
  };
  if (document.hidden) setTimeout(show, 250);
  else requestAnimationFrame(show);
}

function reloadSoon() {
  soonTimer ||= setTimeout(() => {
    soonTimer = 0;
    if (timer && !document.hidden) reload();
  }, SOON_MS);
}

let wasLive = false;

function onLogState(state) {
  if (state.state === 'connecting') wasLive = false;
  if (state.state === 'live' && wasLive) {
    const now = new Date().toISOString();
    log.value = addRemark(log.peek(), now, 'The connection was lost: events published meanwhile are missing.');
  }
  wasLive ||= state.state === 'live';
  logState.value = state;
}

// --- commands ---------------------------------------------------------------------------------------

export const activate = (session_id) => sendCommand('activate', { session_id }, 'It is now the active chat.');
export const interrupt = (session_id) => sendCommand('interrupt', { session_id }, 'Interrupt requested.');
export const send = (session_id, content) => sendCommand('messages', { session_id, content }, 'Sent.');

/** Sends a command, one at a time: the controls are disabled meanwhile. Returns whether it succeeded. */
async function sendCommand(name, body, words) {
  if (isBusy.peek()) return false;
  const instanceId = openId;
  isBusy.value = true;
  outcome.value = null;
  let result;
  try {
    await request('POST', path('instances', instanceId, name), body);
    result = { words, isProblem: false };
  } catch (error) {
    if (!(error instanceof ApiError) && !(error instanceof NetworkError)) throw error;
    result = { words: error.message, isProblem: true };
  } finally {
    isBusy.value = false;
  }
  if (instanceId === openId) outcome.value = result;
  reload();
  return !result.isProblem;
}
