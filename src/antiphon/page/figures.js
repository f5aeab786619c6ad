// Numbers as people read them: durations, tokens, costs, times. Pure.

/** 0.2 s, 4 s, 2 min 5 s, 1 h 3 min. */
export function durationWords(ms) {
  if (ms < 100) return `${Math.max(1, Math.round(ms))} ms`;
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** 'Thought for 4 s'; 'Thought' if the time is unknown. */
export function thoughtWords(ms) {
  if (!(ms >= 1000)) return 'Thought';
  return `Thought for ${ms < 9950 ? `${Math.round(ms / 1000)} s` : durationWords(ms)}`;
}

/** 950 tokens, 12.3k tokens. */
export function tokenWords(count) {
  const shown = count < 10_000 ? count.toLocaleString('en') : `${(count / 1000).toFixed(count < 100_000 ? 1 : 0)}k`;
  return `${shown} ${count === 1 ? 'token' : 'tokens'}`;
}

/** A cost in millionths of a currency's unit: 0.0123. */
export const costWords = (micros) => (micros / 1_000_000).toFixed(micros < 10_000 ? 6 : 4).replace(/0{1,3}$/, '');

/** The time of day, and the day if it is another one: 14:05, or 3 Nov, 14:05. */
export function timeWords(iso, now = new Date()) {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return '';
  const time = at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  if (at.toDateString() === now.toDateString()) return time;
  const year = at.getFullYear() === now.getFullYear() ? {} : { year: 'numeric' };
  return `${at.toLocaleDateString([], { day: 'numeric', month: 'short', ...year })}, ${time}`;
}
