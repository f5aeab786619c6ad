// Links by which anyone reads a chat.

import { errorOf, path, reach, request, url } from './api.js';
import { signal } from './vendor/signals.js';

/** The chat whose links are shown in a dialog; null: none. */
export const sharedChat = signal(null);

export const loadShares = async (chatId) => (await request('GET', path('chats', chatId, 'shares'))).shares;
export const addShare = (chatId) => request('POST', path('chats', chatId, 'shares'));
export const revokeShare = (chatId, id) => request('DELETE', path('chats', chatId, 'shares', id));

/** A page of the chat of a link: {title, messages, has_more}. */
export const readShared = async (secret, beforeId) =>
  (await getShared(secret, `/shared?limit=100${beforeId ? `&before_id=${beforeId}` : ''}`)).json();

/** A file of the chat of a link, as a Blob. */
export const readSharedFile = async (secret, fileId) =>
  (await getShared(secret, `/shared${path('files', fileId)}`)).blob();

async function getShared(secret, pathAndQuery) {
  const headers = { Authorization: `Bearer ${secret}` };
  const response = await reach(url(pathAndQuery), { headers, credentials: 'omit', cache: 'no-store' });
  if (!response.ok) throw await errorOf(response);
  return response;
}
