// The sign-in form, shown without a session.

import { useState } from '../vendor/preact-hooks.js';
import { ICON } from '../icon.js';
import { signIn, signInProblem } from '../session.js';
import { Connection } from './connection.js';
import { html } from './html.js';

export function SignIn() {
  const [token, setToken] = useState('');
  const [isBusy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    if (!token.trim()) return;
    setBusy(true);
    await signIn(token.trim());
    setBusy(false);
  };
  return html`<main class="signin">
    <form class="card" onSubmit=${submit} data-testid="sign-in">
      <img src=${ICON} alt="" width="40" height="40" />
      <h1>Antiphon</h1>
      <p>Open the sign-in link that you were given, or enter the part after <code>#token=</code> here. On your own machine
        <code>antiphon serve</code> prints the link.</p>
      <label for="token">Token</label>
      <input id="token" type="password" autocomplete="current-password" spellcheck=${false} value=${token}
        aria-describedby="sign-in-problem" aria-invalid=${Boolean(signInProblem.value)}
        onInput=${(event) => setToken(event.target.value)} autofocus />
      <p id="sign-in-problem" class="problem" role="alert">${signInProblem.value}</p>
      <button class="primary" disabled=${isBusy || !token.trim()}>${isBusy ? 'Signing in…' : 'Sign in'}</button>
      <${Connection} />
    </form>
  </main>`;
}
