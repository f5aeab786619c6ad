// The sign-in of this browser. The token is sent only to POST /session, which sets a cookie.

import { signal } from './vendor/signals.js';
import { forgetAll } from './kept_chats.js';
import { ApiError, request, requestUntilAnswered, whenSignedOut } from './api.js';

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
    const { admin, owner_id } = await request('POST', '/session', { token });
    isAdmin.value = admin;
    ownerId.value = owner_id;
    session.value = 'in';
  } catch (error) {
    session.value = 'out';
    const isWrong = error instanceof ApiError && [401, 422].includes(error.status);
    signInProblem.value = isWrong ? 'This token is not valid.' : error.message;
  }
}

/** Loads whether an admin is signed in, if the session was started by the cookie. */
export async function loadIdentity() {
  if (isAdmin.peek() !== null) return;
  const isWanted = () => session.peek() === 'in';
  try {
    const { admin, owner_id } = await requestUntilAnswered('GET', '/session', undefined, { isWanted });
    isAdmin.value = admin;
    ownerId.value = owner_id;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error; // a 401 shows the sign-in form
  }
}

/** Ends the session and deletes what this tab has stored. */
export async function signOut() {
  await request('DELETE', '/session');
  sessionStorage.clear();
  await forgetAll();
  location.replace(location.pathname);
}
