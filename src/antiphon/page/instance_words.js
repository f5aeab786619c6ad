// Descriptions of an instance and of its events, for people. Pure.
//
// The texts come from other programs, models and tools. They are shown as text; control characters and characters that
// change the direction of writing are shown as marks.

const QUOTED_CHARS_MAX = 500;

const ACTS = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g;

/** The text with a mark for each control character and each character that changes the direction of writing. */
export const visible = (text) => String(text ?? '').replace(ACTS, mark);

const mark = (character) => `⟨U+${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}⟩`;

export const titleWords = (title) => visible(title).trim() || 'Untitled chat';

const ROLES = { primary: 'in charge', standby: 'ready to take over', replica: 'shares the work' };
/** What an instance does, as people say it. */
export const roleWords = (role) => ROLES[role] ?? visible(role);

export const countWords = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** A sentence or phrase for an event that is not part of a growing line. */
export function summaryOf({ topic, type, payload = {}, ...rest }) {
  switch (topic ?? type) {
    case 'session.list':
      return `${countWords(payload.sessions?.length ?? 0, 'chat')} listed`;
    case 'session.update':
      return `Has ${countWords(payload.message_count, 'message')}`;
    case 'session.activated':
      return 'Is now the active chat';
    case 'session.deleted':
      return 'Was deleted';
    case 'llm.start':
      return 'Model call started';
    case 'llm.end':
      return `Model call ended: ${payload.tokens_in} tokens in, ${payload.tokens_out} out`;
    case 'tool.start':
      return `${visible(payload.tool_name)} started ${quoted(payload.params)}`;
    case 'tool.end':
      return `${visible(payload.tool_name)} ${payload.is_error ? 'failed' : 'returned'}: ${quoted(payload.result)}`;
    case 'instance.heartbeat':
      return `Uptime ${runtimeWords(payload)}, ${countWords(payload.session_count, 'chat')}`;
    case 'instance.shutdown':
      return `Shuts down${payload.reason ? `: ${visible(payload.reason)}` : ''}`;
    case 'message.append':
      return `${visible(payload.role)}: ${quoted(payload.content)}`;
    case 'antiphon.append':
      return `Has facts up to ${payload.seq}`;
    case 'left_out':
      return `${countWords(rest.count, 'event')} dropped: they arrived faster than the web UI reads them`;
    default:
      return quoted(JSON.stringify(payload));
  }
}

function quoted(text) {
  const shown = visible(text);
  if (shown.length <= QUOTED_CHARS_MAX) return shown;
  return `${shown.slice(0, QUOTED_CHARS_MAX).replace(/[\ud800-\udbff]$/, '')}…`;
}

/** The uptime of an instance: as it reports it (a duration in Go's format), or since its start. */
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
