// The instances of this machine, and the one that is open: its chats, what it publishes, what it is told to do.

import { signal } from './vendor/signals.js';
import { ApiError, NetworkError, path, request, url } from './api.js';
import { addEvents, addRemark, emptyLog } from './instance_log.js';
import { openStream } from './stream.js';

const REFRESH_MS = 3_000;
const SOON_MS = 1_000; // as often as an instance lists its chats at most

/** As GET /instances gives them; null until the first answer. */
export const instances = signal(null);
/** The instance that is open, as GET /instances/{id} gives it; null until its first answer. */
export const opened = signal(null);
/** Why the last look at the list, or at the open instance, brought nothing, as a sentence; '' if it did. */
export const listProblem = signal('');
export const openedProblem = signal('');
export const isGone = signal(false);
export const log = signal(emptyLog());
/** The state of the stream of its events (see openStream); null when no instance is open. */
export const logState = signal(null);

/** The id of the chat that is chosen; null: none. It only ever changes by choice, lest a message go astray. */
export const chosenId = signal(null);
export const isBusy = signal(false);
/** What came of the last command: {words, isProblem}, or null. */
export const outcome = signal(null);

let openId = null;
let stream = null;
let timer = 0;
let soonTimer = 0;
let waiting = []; // events that have come since the last frame
let reloadOpened = async () => {};

// --- looking ----------------------------------------------------------------------------------------

/** Looks now and then at who is there, while the tab is looked at. */
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
    onEvent: (event) => isMine() && take(event),
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
  look(listProblem, async () => {
    const { instances: list } = await request('GET', '/instances');
    if (timer) instances.value = list;
  }),
);

const loadOpened = (instanceId) =>
  look(openedProblem, async () => {
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

/** What has died says nothing, not even that. */
function endLog() {
  stream.close();
  logState.value = { state: 'ended' };
}

async function look(problem, action) {
  try {
    await action();
    problem.value = '';
  } catch (error) {
    if (!(error instanceof ApiError) && !(error instanceof NetworkError)) throw error;
    problem.value = error.message;
  }
}

/** `action` as a function that never runs twice at once: asked meanwhile, it runs once more afterwards. */
function oneAtATime(action) {
  let isRunning = false;
  let isAsked = false;
  return async () => {
    isAsked = true;
    if (isRunning) return;
    isRunning = true;
    try {
      while (isAsked) {
        isAsked = false;
        await action();
      }
    } finally {
      isRunning = false;
    }
  };
}

// --- hearing ----------------------------------------------------------------------------------------

function take(event) {
  if (!waiting.length) askFrame();
  waiting.push(event);
  if (/^(session|instance)\./.test(event.type)) reloadSoon();
}

// At most one rendering for each animation frame, however many tokens come. A hidden tab has no frames.
function askFrame() {
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
    log.value = addRemark(log.peek(), now, 'The connection was lost: what was published meanwhile is missing here.');
  }
  wasLive ||= state.state === 'live';
  logState.value = state;
}

// --- telling ----------------------------------------------------------------------------------------

export const activate = (session_id) => tell('activate', { session_id }, 'It is the active chat now.');
export const interrupt = (session_id) => tell('interrupt', { session_id }, 'Asked to stop.');
export const send = (session_id, content) => tell('messages', { session_id, content }, 'Sent.');

/** Gives whether it went well. One at a time: the controls rest meanwhile. */
async function tell(name, body, words) {
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
