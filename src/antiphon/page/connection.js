// How the page is connected, in one word and one sentence: the open chat's stream, else the feed.

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
  const isOver = stream?.state === 'ended';
  const shown = stream && !isOver ? stream : feedState.value;
  return { ...shown, words: WORDS[shown.state] };
});
