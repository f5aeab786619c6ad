// The commands on the open chat: a refusal becomes the notice, or a sentence of the caller's.

import { path, request, requestUntilAnswered } from './api.js';
import { FILES_MAX, attachedFiles, filesOf } from './attachments.js';
import { openId, view } from './chat.js';
import { notice, report } from './notice.js';
import { unsentText } from './unsent.js';
import { textOf } from './view.js';

const here = (...segments) => path('chats', openId.peek(), ...segments.map(String));

export const retry = (turnId) => report(() => request('POST', here('retry'), turnId ? { turn_id: turnId } : {}));

export const editMessage = (id, content) => report(() => request('PATCH', here('messages', id), { content }));

// --- the queue --------------------------------------------------------------------------------------

export const editQueued = (id, content) => report(() => request('PATCH', here('queue', id), { content }));
export const deleteQueued = (id) => report(() => request('DELETE', here('queue', id)));
export const promoteQueued = (id) => report(() => request('POST', here('queue', id, 'promote')));
export const moveQueued = (id, before) => report(() => request('POST', here('queue', id, 'move'), { before }));

/** Stops the answer and removes the waiting messages; their texts and files return to the composer. */
export async function stopEverything() {
  const { turnId, queue } = view.peek() ?? {};
  if (!turnId) return;
  const chatId = openId.peek();
  const isWanted = () => view.peek()?.turnId === turnId;
  const isDone = await report(() =>
    requestUntilAnswered('POST', here('interrupt'), { turn_id: turnId, clear_queue: true }, { isWanted }),
  );
  if (!isDone || !queue.length) return;
  const texts = queue.map((item) => textOf(item.content)).filter(Boolean);
  const typed = unsentText(chatId);
  typed.value = [...texts, typed.peek()].filter(Boolean).join('\n\n');
  const files = queue.flatMap((item) => filesOf(item.content));
  const attached = attachedFiles(chatId);
  if (files.length) attached.value = [...files, ...attached.peek()].slice(0, FILES_MAX);
}

// --- calls that wait --------------------------------------------------------------------------------

/** The calls that this tab has decided: by tool_call_id. */
const decided = new Set();
const DECIDED_MAX = 500;

/** Whether this tab, and not another client, has decided a call. */
export const isOwnDecision = (callId) => decided.has(callId);

/** `decision` is {approved, args?, always?, reason?}. */
export const decideCall = (tool_call_id, decision) => decide('approvals', tool_call_id, decision);
export const answerCall = (tool_call_id, answer) => decide('answers', tool_call_id, { answer });
export const submitResult = (tool_call_id, result, is_error = false) =>
  decide('tool-results', tool_call_id, { result, is_error });

async function decide(route, tool_call_id, body) {
  decided.add(tool_call_id);
  if (decided.size > DECIDED_MAX) decided.delete(decided.values().next().value);
  let isDone = false;
  await report(async () => {
    try {
      await request('POST', here(route), { tool_call_id, ...body });
      isDone = true;
    } catch (error) {
      decided.delete(tool_call_id);
      if (error.status !== 409) throw error;
      notice.value = 'Another window or program has answered this first. Nothing was changed.';
    }
  });
  return isDone;
}
