// Whether this browser is signed in. The token is only ever handed to POST /session; then a cookie does it.

import { signal } from './vendor/signals.js';
import { ApiError, request, requestUntilAnswered, whenSignedOut } from './api.js';

/** 'checking' | 'in' | 'out' */
export const session = signal('checking');
export const signInProblem = signal('');
/** Whether an admin is signed in; null until that is known. */
export const isAdmin = signal(null);

whenSignedOut(() => {
  session.value = 'out';
  isAdmin.value = null;
});

const tokenOfAddress = () => new URLSearchParams(location.hash.slice(1)).get('token');

// An address with a token that is typed over the page's own changes nothing but the fragment: begin anew with it.
addEventListener('hashchange', () => tokenOfAddress() && location.reload());

/** Signs in with the token of the address (#token=…), which is removed from it, or by the cookie there is. */
export async function startSession() {
  const token = tokenOfAddress();
  if (!token) return void (session.value = 'in'); // the first answer tells: 401 signs out
  history.replaceState(null, '', location.pathname + location.search);
  await signIn(token);
}

export async function signIn(token) {
  signInProblem.value = '';
  try {
    const { admin } = await request('POST', '/session', { token });
    isAdmin.value = admin;
    session.value = 'in';
  } catch (error) {
    session.value = 'out';
    const isWrong = error instanceof ApiError && [401, 422].includes(error.status);
    signInProblem.value = isWrong ? 'This token is not valid.' : error.message;
  }
}

/** Asks who is signed in, where the cookie alone says that somebody is. */
export async function askWho() {
  if (isAdmin.peek() !== null) return;
  const isWanted = () => session.peek() === 'in';
  try {
    const { admin } = await requestUntilAnswered('GET', '/session', undefined, { isWanted });
    isAdmin.value = admin;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error; // a 401 shows the sign-in form
  }
}

/** Ends the session; nothing typed or sent here stays in the tab. */
export async function signOut() {
  await request('DELETE', '/session');
  sessionStorage.clear();
  location.replace(location.pathname);
}
