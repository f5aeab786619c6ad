// What is said of an instance and of its events, in words for people. Pure.
//
// Texts here come from other programs, models and tools. They are shown as text, and what would act on a terminal
// or turn the writing around is shown as a mark instead.

const QUOTED_CHARS_MAX = 500;

const ACTS = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g;

/** The text with a mark for each control character, and for each that turns the direction of writing. */
export const visible = (text) => String(text ?? '').replace(ACTS, mark);

const mark = (character) => `⟨U+${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}⟩`;

export const titleWords = (title) => visible(title).trim() || 'Untitled chat';

export const countWords = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** One sentence or phrase for an event that is not a piece of a growing line. */
export function summaryOf({ topic, type, payload = {}, ...rest }) {
  switch (topic ?? type) {
    case 'session.list':
      return `${countWords(payload.sessions?.length ?? 0, 'chat')} listed`;
    case 'session.update':
      return `Has ${countWords(payload.message_count, 'message')}`;
    case 'session.activated':
      return 'Is the active chat now';
    case 'session.deleted':
      return 'Was deleted';
    case 'llm.start':
      return 'The model is called';
    case 'llm.end':
      return `The call has ended: ${payload.tokens_in} tokens in, ${payload.tokens_out} out`;
    case 'tool.start':
      return `${visible(payload.tool_name)} begins ${quoted(payload.params)}`;
    case 'tool.end':
      return `${visible(payload.tool_name)} ${payload.is_error ? 'failed' : 'gave'}: ${quoted(payload.result)}`;
    case 'instance.heartbeat':
      return `Runs for ${runtimeWords(payload)}, with ${countWords(payload.session_count, 'chat')}`;
    case 'instance.shutdown':
      return `Ends${payload.reason ? `: ${visible(payload.reason)}` : ''}`;
    case 'message.append':
      return `${visible(payload.role)}: ${quoted(payload.content)}`;
    case 'antiphon.append':
      return `Has facts up to ${payload.seq}`;
    case 'left_out':
      return `${countWords(rest.count, 'event')} left out: they came faster than this page takes them`;
    default:
      return quoted(JSON.stringify(payload));
  }
}

function quoted(text) {
  const shown = visible(text);
  if (shown.length <= QUOTED_CHARS_MAX) return shown;
  return `${shown.slice(0, QUOTED_CHARS_MAX).replace(/[\ud800-\udbff]$/, '')}…`;
}

/** How long an instance has run: by its own word (a duration as Go writes it), else by when it began. */
export function runtimeWords({ uptime, started_at }, now_ms) {
  return durationWords(uptime ? secondsOf(uptime) : Math.max(0, (now_ms - Date.parse(started_at)) / 1000));
}

function secondsOf(text) {
  const [, hours = 0, minutes = 0, seconds = 0] = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(text) ?? [];
  return Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
}

function durationWords(seconds) {
  if (!Number.isFinite(seconds)) return 'an unknown time';
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (minutes < 1) return `${Math.floor(seconds)} s`;
  if (hours < 1) return `${minutes} min`;
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${countWords(Math.floor(hours / 24), 'day')} ${hours % 24} h`;
}
