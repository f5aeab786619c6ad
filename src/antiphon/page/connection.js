// The state of the connection, as a word and a sentence: of the open chat's stream, or of the feed.

import { computed } from './vendor/signals.js';
import { streamState } from './chat.js';
import { feedState } from './chats.js';
import { session } from './session.js';

export const WORDS = {
  connecting: 'Connecting…',
  live: 'Live',
  reconnecting: 'Reconnecting…',
  offline: 'Offline',
  ended: 'Closed',
  signed_out: 'Signed out',
};

/** {state, words, problem?}; state is connecting, live, reconnecting, offline, ended or signed_out. */
export const connection = computed(() => {
  if (session.value === 'out') return { state: 'signed_out', words: WORDS.signed_out };
  const stream = streamState.value;
  const hasEnded = stream?.state === 'ended';
  const shown = stream && !hasEnded ? stream : feedState.value;
  return { ...shown, words: WORDS[shown.state] };
});
