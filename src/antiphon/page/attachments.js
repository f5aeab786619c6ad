// Files that are attached but not sent: one list per chat. Each is uploaded at once; what was uploaded survives a reload.

import { effect, signal } from './vendor/signals.js';
import { path, randomId, signedOut, url } from './api.js';
import { load, save } from './storage.js';
import { sizeWords } from './view.js';

export const FILES_MAX = 64; // in one message
const UPLOADS_MAX = 3; // at a time: the server allows 4 of one owner
const IDLE_MS = 60_000;

const lists = new Map();

/**
 * The signal of a chat's attached files: [{key, name, size, media_type, state, share, file_id?, problem?}]. `state` is
 * waiting, uploading, ready, failed or lost (a reload ended its upload); `share` of it is uploaded, 0 to 1.
 */
export function attachedFiles(chatId) {
  const key = `files.${chatId ?? 'new'}`;
  if (!lists.has(key)) {
    const list = signal(load(key, []).map(afterReload));
    effect(() => save(key, list.value));
    lists.set(key, list);
  }
  return lists.get(key);
}

const afterReload = (file) =>
  file.state === 'ready'
    ? file
    : { ...file, state: 'lost', problem: 'Not uploaded: the page was reloaded. Add it again.' };

const sources = new Map(); // by key: {file (a File), list, xhr?}
const waiting = [];
let uploading = 0;

/** Attaches files and uploads them. Returns a sentence on those that were not attached, or ''. */
export function attach(chatId, files) {
  const list = attachedFiles(chatId);
  const free = Math.max(0, FILES_MAX - list.peek().length);
  const added = [...files].slice(0, free).map((file) => {
    const item = {
      key: randomId(),
      name: file.name || 'file',
      size: file.size,
      media_type: file.type,
      state: 'waiting',
      share: 0,
    };
    sources.set(item.key, { file, list });
    return item;
  });
  list.value = [...list.peek(), ...added];
  added.forEach((item) => enqueue(item.key));
  return files.length > free
    ? `A message can have at most ${FILES_MAX} files; ${files.length - free} were not attached.`
    : '';
}

/** Removes a file, and ends its upload. */
export function detach(chatId, key) {
  const list = attachedFiles(chatId);
  list.value = list.peek().filter((item) => item.key !== key);
  sources.get(key)?.xhr?.abort();
  sources.delete(key);
}

export const canUploadAgain = (key) => sources.has(key);

export function uploadAgain(key) {
  change(key, { state: 'waiting', problem: undefined, share: 0 });
  enqueue(key);
}

/** The message parts of files that were uploaded. */
export const partsOf = (files) =>
  files.map(({ file_id, name }) => ({ type: 'file-reference', file_id, file_name: name }));

/** The uploaded files of a message's content, as attached files. */
export const filesOf = (content) =>
  (Array.isArray(content) ? content : [])
    .filter((part) => part.type === 'file-reference' && part.file_id)
    .map(({ file_id, file_name, size = 0, media_type = '' }) => {
      const name = file_name || 'file';
      return { key: randomId(), name, size, media_type, state: 'ready', share: 1, file_id };
    });

function enqueue(key) {
  waiting.push(key);
  startNext();
}

function startNext() {
  while (uploading < UPLOADS_MAX && waiting.length) {
    const key = waiting.shift();
    if (!sources.has(key)) continue; // removed meanwhile
    uploading += 1;
    upload(key, sources.get(key)).then(() => {
      uploading -= 1;
      startNext();
    });
  }
}

/** Uploads one file. XMLHttpRequest, because fetch() does not report the progress of an upload. */
function upload(key, source) {
  return new Promise((resolve) => {
    const xhr = new XMLHttpRequest();
    source.xhr = xhr;
    let idle = 0;
    const watch = () => {
      clearTimeout(idle);
      idle = setTimeout(() => xhr.abort(), IDLE_MS);
    };
    xhr.open('POST', url(path('files')));
    if (source.file.type) xhr.setRequestHeader('Content-Type', source.file.type);
    xhr.setRequestHeader('X-Filename', encodeURIComponent(source.file.name || 'file'));
    xhr.upload.onprogress = ({ loaded, total }) => {
      watch();
      change(key, { share: total ? loaded / total : 0 });
    };
    xhr.onloadend = () => {
      clearTimeout(idle);
      finish(key, xhr, source.file);
      resolve();
    };
    change(key, { state: 'uploading' });
    watch();
    xhr.send(source.file);
  });
}

function finish(key, xhr, file) {
  const answer = parsed(xhr.responseText);
  if (xhr.status === 201 && answer?.file_id) {
    change(key, { state: 'ready', share: 1, file_id: answer.file_id, media_type: answer.media_type });
    return sources.delete(key);
  }
  if (xhr.status === 401) signedOut();
  return change(key, { state: 'failed', problem: problemOf(xhr.status, answer, file) });
}

function problemOf(status, answer, file) {
  if (status === 0) return 'The upload was interrupted. Try it again.';
  if (status === 413) return `${sizeWords(file.size)} is too large for this server.`;
  if (answer?.error?.reason) return `The server refuses this file: ${answer.error.reason}.`;
  return answer?.error?.message ?? `The server refused the file (${status}).`;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // a proxy's response; the status is enough
  }
}

function change(key, changes) {
  const list = sources.get(key)?.list;
  if (list) list.value = list.peek().map((item) => (item.key === key ? { ...item, ...changes } : item));
}
