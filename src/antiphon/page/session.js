// The sign-in of this browser. The token is sent only to POST /session, which sets a cookie.

import { signal } from './vendor/signals.js';
import { forgetAll } from './kept_chats.js';
import { ApiError, request, requestUntilAnswered, whenSignedOut } from './api.js';
import { clearStorage, load, save } from './storage.js';

/** 'checking' | 'in' | 'out' */
export const session = signal('checking');
export const signInProblem = signal('');
/** Whether an admin is signed in; null until that is known. */
export const isAdmin = signal(null);
/** The id of the owner that is signed in; null until that is known. */
export const ownerId = signal(null);

whenSignedOut(() => {
  session.value = 'out';
  isAdmin.value = null;
});

const tokenOfAddress = () => new URLSearchParams(location.hash.slice(1)).get('token');

// A new address that differs only in its fragment does not reload the web UI: with a token, reload it.
addEventListener('hashchange', () => tokenOfAddress() && location.reload());

/** Signs in with the token of the address (#token=…), which is removed from it, or with the cookie. */
export async function startSession() {
  const token = tokenOfAddress();
  if (!token) return void (session.value = 'in'); // if the cookie is not valid, the first response is 401 and signs out
  history.replaceState(null, '', location.pathname + location.search);
  await signIn(token);
}

export async function signIn(token) {
  signInProblem.value = '';
  try {
    const identity = await request('POST', '/session', { token });
    otherTabs?.postMessage(identity);
    if (!(await recognize(identity))) return;
    session.value = 'in';
  } catch (error) {
    session.value = 'out';
    const isWrong = error instanceof ApiError && [401, 422].includes(error.status);
    signInProblem.value = isWrong ? 'This token is not valid.' : error.message;
  }
}

/** Takes over who is signed in. If this tab was another owner's, what it holds is not to be sent, shown or stored: the
 *  page starts again without it. Returns whether it goes on. */
async function recognize({ admin, owner_id }) {
  if (load('owner', owner_id) !== owner_id) {
    await leave();
    return false;
  }
  save('owner', owner_id);
  isAdmin.value = admin;
  ownerId.value = owner_id;
  return true;
}

// The cookie is that of all tabs: a sign-in in one of them changes who the others are.
const otherTabs = globalThis.BroadcastChannel && new BroadcastChannel('antiphon.session');
if (otherTabs) otherTabs.onmessage = ({ data }) => session.peek() === 'in' && recognize(data);

/** Deletes what this tab has stored, and starts the page again. */
async function leave() {
  session.value = 'checking'; // ends the streams, and what is being sent again and again
  clearStorage();
  await forgetAll();
  location.replace(location.pathname);
}

/** Loads whether an admin is signed in, if the session was started by the cookie. */
export async function loadIdentity() {
  if (isAdmin.peek() !== null) return;
  const isWanted = () => session.peek() === 'in';
  try {
    await recognize(await requestUntilAnswered('GET', '/session', undefined, { isWanted }));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error; // a 401 shows the sign-in form
  }
}

/** Ends the session and deletes what this tab has stored. */
export async function signOut() {
  await request('DELETE', '/session');
  await leave();
}
