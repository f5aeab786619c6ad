-- Every statement of the SQLite store, named and described. Parameters are positional.

-- name: last_seq
-- The chat's last seq and fold version, which an append is checked against. (chat_id)
SELECT seq, fold_version FROM chats WHERE chat_id = ?;

-- name: insert_chat
-- The row of a new chat.
INSERT INTO chats (owner_id, seq, fold_version, state, title, labels, is_archived, is_deleted, updated_at, draft,
                   claim_at, due_at, changed, chat_id, parent_chat_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: update_chat
-- The state after an append.
UPDATE chats SET owner_id = ?, seq = ?, fold_version = ?, state = ?, title = ?, labels = ?, is_archived = ?,
                 is_deleted = ?, updated_at = ?, draft = ?, claim_at = ?, due_at = ?, changed = ?
WHERE chat_id = ?;

-- name: insert_fact
INSERT INTO facts (chat_id, seq, at, body, status, draft, more, content_seq, append_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: insert_content
INSERT INTO contents (chat_id, seq, body, checksum) VALUES (?, ?, ?, ?);

-- name: insert_message
INSERT INTO messages (chat_id, seq, role, queued_id) VALUES (?, ?, ?, ?);

-- name: hide_messages
-- A truncation hides the visible messages from a message on; messages hidden earlier keep their mark. (by, chat_id, from)
UPDATE messages SET hidden_by = ? WHERE chat_id = ? AND seq >= ? AND hidden_by = 0;

-- name: insert_receipt
INSERT INTO receipts (chat_id, client_id, body_hash, answer, checksum) VALUES (?, ?, ?, ?, ?);

-- name: checked_contents
-- Contents that have a checksum, hidden ones included (doctor). (chat_id, first seq, last seq)
SELECT seq, body, checksum FROM contents
WHERE chat_id = ? AND seq BETWEEN ? AND ? AND checksum IS NOT NULL ORDER BY seq;

-- name: checked_receipts
SELECT client_id, body_hash, answer, checksum FROM receipts
WHERE chat_id = ? AND checksum IS NOT NULL ORDER BY client_id;

-- name: has_receipt
SELECT 1 FROM receipts WHERE chat_id = ? AND client_id = ?;

-- name: read_receipts
SELECT client_id, body_hash, answer FROM receipts
WHERE chat_id = ? AND client_id IN (SELECT value FROM json_each(?));

-- name: grant_lease
INSERT INTO leases (chat_id, attempt, instance_id, ends_at) VALUES (?, ?, ?, ?)
ON CONFLICT (chat_id) DO UPDATE SET attempt = excluded.attempt, instance_id = excluded.instance_id,
                                    ends_at = excluded.ends_at;

-- name: drop_lease
DELETE FROM leases WHERE chat_id = ?;

-- name: lease_is_live
-- Whether the attempt's lease has not expired yet. (chat_id, attempt, now)
SELECT 1 FROM leases WHERE chat_id = ? AND attempt = ? AND ends_at > ?;

-- name: renew_lease
-- A renewal needs the lease's row: an attempt that has ended renews nothing. (ends_at, chat_id, attempt, instance_id)
UPDATE leases SET ends_at = ? WHERE chat_id = ? AND attempt = ? AND instance_id = ?
RETURNING (SELECT json_extract(state, '$.status') FROM chats WHERE chats.chat_id = leases.chat_id);

-- name: other_leases
-- Used once, when an instance starts: it reads all leases. (instance_id)
SELECT chat_id, attempt FROM leases WHERE instance_id <> ?;

-- name: drop_flushed
-- Flushed deltas are deleted with their draft. (chat_id, open draft)
DELETE FROM flushed WHERE chat_id = ? AND draft <> ?;

-- name: is_open_draft
-- (chat_id, draft)
SELECT 1 FROM chats WHERE chat_id = ? AND draft = ? AND is_deleted = 0;

-- name: flush
-- A stored delta is replaced by a longer one from the same position: a flush whose outcome is unknown is repeated from
-- there. (chat_id, draft, from, to, body)
INSERT INTO flushed (chat_id, draft, from_position, to_position, body)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT (chat_id, draft, from_position) DO UPDATE SET to_position = excluded.to_position, body = excluded.body
WHERE excluded.to_position > flushed.to_position;

-- name: read_flushed
SELECT from_position, to_position, body FROM flushed WHERE chat_id = ? AND draft = ? ORDER BY from_position;

-- name: scrub_facts
-- A deleted chat keeps its last fact only. (chat_id, last seq)
DELETE FROM facts WHERE chat_id = ? AND seq < ?;

-- name: scrub_contents
DELETE FROM contents WHERE chat_id = ?;

-- name: scrub_messages
DELETE FROM messages WHERE chat_id = ?;

-- name: append_id_at
-- The append that wrote a fact. Only an append's first fact and a deletion have its id.
SELECT append_id FROM facts WHERE chat_id = ? AND seq = ?;

-- name: load
SELECT state, fold_version FROM chats WHERE chat_id = ?;

-- name: read_entries
-- Facts after a seq, with their content unless it is hidden. (chat_id, after, limit)
SELECT f.seq, f.at, f.body, f.status, f.draft, f.more, coalesce(m.hidden_by, 0),
       CASE WHEN coalesce(m.hidden_by, 0) = 0 THEN c.body END
FROM facts f
LEFT JOIN messages m ON m.chat_id = f.chat_id AND m.seq = f.seq
LEFT JOIN contents c ON c.chat_id = f.chat_id AND c.seq = f.content_seq
WHERE f.chat_id = ? AND f.seq > ? ORDER BY f.seq LIMIT ?;

-- name: newest_entry
-- The newest fact of a kind after a seq and up to another one, without content. (chat_id, after, upto, kind)
SELECT seq, at, body, status, draft, more, 0, NULL FROM facts
WHERE chat_id = ? AND seq > ? AND seq <= ? AND json_extract(body, '$.type') = ? ORDER BY seq DESC LIMIT 1;

-- name: oldest_entry
-- The oldest fact of a kind after a seq, without content. (chat_id, after, kind)
SELECT seq, at, body, status, draft, more, 0, NULL FROM facts
WHERE chat_id = ? AND seq > ? AND json_extract(body, '$.type') = ? ORDER BY seq LIMIT 1;

-- name: messages_newest
-- The newest visible messages before an id, newest first. (chat_id, before, limit)
SELECT f.seq, f.at, f.body, f.status, f.draft, f.more, 0, c.body
FROM messages m
JOIN facts f ON f.chat_id = m.chat_id AND f.seq = m.seq
LEFT JOIN contents c ON c.chat_id = f.chat_id AND c.seq = f.content_seq
WHERE m.chat_id = ? AND m.seq < ? AND m.hidden_by = 0 ORDER BY m.seq DESC LIMIT ?;

-- name: messages_after
-- The visible messages after an id, oldest first. (chat_id, after, limit)
SELECT f.seq, f.at, f.body, f.status, f.draft, f.more, 0, c.body
FROM messages m
JOIN facts f ON f.chat_id = m.chat_id AND f.seq = m.seq
LEFT JOIN contents c ON c.chat_id = f.chat_id AND c.seq = f.content_seq
WHERE m.chat_id = ? AND m.seq > ? AND m.hidden_by = 0 ORDER BY m.seq LIMIT ?;

-- name: past_messages_newest
-- The newest messages before an id that were visible after a fact, newest first. (chat_id, before, as_of, limit)
SELECT f.seq, f.at, f.body, f.status, f.draft, f.more, 0, c.body
FROM messages m
JOIN facts f ON f.chat_id = m.chat_id AND f.seq = m.seq
LEFT JOIN contents c ON c.chat_id = f.chat_id AND c.seq = f.content_seq
WHERE m.chat_id = ?1 AND m.seq < ?2 AND m.seq <= ?3 AND (m.hidden_by = 0 OR m.hidden_by > ?3)
ORDER BY m.seq DESC LIMIT ?4;

-- name: past_messages_after
-- The messages after an id that were visible after a fact, oldest first. (chat_id, after, as_of, limit)
SELECT f.seq, f.at, f.body, f.status, f.draft, f.more, 0, c.body
FROM messages m
JOIN facts f ON f.chat_id = m.chat_id AND f.seq = m.seq
LEFT JOIN contents c ON c.chat_id = f.chat_id AND c.seq = f.content_seq
WHERE m.chat_id = ?1 AND m.seq > ?2 AND m.seq <= ?3 AND (m.hidden_by = 0 OR m.hidden_by > ?3)
ORDER BY m.seq LIMIT ?4;

-- name: read_versions
-- What truncations have hidden, the newest first. (chat_id, limit)
SELECT v.hidden_by, f.at, v.first_seq, coalesce((
  SELECT p.seq FROM messages p
  WHERE p.chat_id = ?1 AND p.seq < v.first_seq AND (p.hidden_by = 0 OR p.hidden_by > v.hidden_by)
  ORDER BY p.seq DESC LIMIT 1
), 0)
FROM (
  SELECT hidden_by, min(seq) AS first_seq FROM messages WHERE chat_id = ?1 AND hidden_by <> 0
  GROUP BY hidden_by ORDER BY hidden_by DESC LIMIT ?2
) v
JOIN facts f ON f.chat_id = ?1 AND f.seq = v.hidden_by
ORDER BY v.hidden_by DESC;

-- name: count_chats
SELECT count(*) FROM chats WHERE owner_id = ? AND is_deleted = 0 AND parent_chat_id IS NULL AND is_archived = 0;

-- name: count_messages
-- The visible messages of people and models. (chat_id)
SELECT count(*) FROM messages WHERE chat_id = ? AND hidden_by = 0 AND role IN ('user', 'assistant');

-- name: read_setting
SELECT value FROM settings WHERE name = ?;

-- name: write_setting
INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: read_content
SELECT body FROM contents WHERE chat_id = ? AND seq = ?;

-- name: message_role
SELECT role FROM messages WHERE chat_id = ? AND seq = ? AND hidden_by = 0;

-- name: queued_fate
-- (chat_id, queued_id, chat_id, queued_id)
SELECT CASE
  WHEN EXISTS (SELECT 1 FROM messages WHERE chat_id = ? AND queued_id = ? AND queued_id <> 0) THEN 'delivered'
  WHEN EXISTS (SELECT 1 FROM facts WHERE chat_id = ? AND seq = ? AND json_extract(body, '$.type') = 'message_queued')
  THEN 'queued'
END;

-- name: list_chats
-- An owner's chats without a parent, by latest change. A filter is off if its parameter is null. A title matches if it contains the text;
-- the case of ASCII letters is ignored. (owner, archived, label key, label value, title, updated_at, chat_id,
-- limit)
SELECT chat_id, state FROM chats
WHERE owner_id = ?1 AND is_deleted = 0 AND parent_chat_id IS NULL
  AND (?2 IS NULL OR is_archived = ?2)
  AND (?3 IS NULL OR EXISTS (SELECT 1 FROM json_each(labels) WHERE key = ?3 AND value = ?4))
  AND (?5 IS NULL OR instr(lower(title), lower(?5)) > 0)
  AND (?6 IS NULL OR (updated_at, chat_id) < (?6, ?7))
ORDER BY updated_at DESC, chat_id DESC LIMIT ?8;

-- name: list_pinned_chats
-- An owner's pinned chats without a parent that are not archived, by the order of their pins. (owner, limit)
SELECT chat_id, state FROM chats
WHERE owner_id = ? AND json_extract(state, '$.pin_order') > 0
  AND is_deleted = 0 AND is_archived = 0 AND parent_chat_id IS NULL
ORDER BY json_extract(state, '$.pin_order'), chat_id LIMIT ?;

-- name: list_child_chats
-- The child chats of one chat, as list_chats. (owner, archived, label key, label value, title, updated_at, chat_id,
-- limit, parent)
SELECT chat_id, state FROM chats
WHERE parent_chat_id = ?9 AND owner_id = ?1 AND is_deleted = 0
  AND (?2 IS NULL OR is_archived = ?2)
  AND (?3 IS NULL OR EXISTS (SELECT 1 FROM json_each(labels) WHERE key = ?3 AND value = ?4))
  AND (?5 IS NULL OR instr(lower(title), lower(?5)) > 0)
  AND (?6 IS NULL OR (updated_at, chat_id) < (?6, ?7))
ORDER BY updated_at DESC, chat_id DESC LIMIT ?8;

-- name: claimable
-- (now, limit, JSON list of chats and owners to pass over)
SELECT chat_id FROM chats
WHERE claim_at IS NOT NULL AND claim_at <= ?1
  AND owner_id NOT IN (SELECT value FROM json_each(?3)) AND chat_id NOT IN (SELECT value FROM json_each(?3))
ORDER BY claim_at LIMIT ?2;

-- name: due
-- Leases that have expired, and (with their state) chats that must be handled without a command. (now, limit)
SELECT chat_id, attempt, NULL FROM (SELECT chat_id, attempt FROM leases WHERE ends_at <= ?1 ORDER BY ends_at LIMIT ?2)
UNION ALL
SELECT chat_id, 0, state FROM (
  SELECT chat_id, state FROM chats WHERE due_at IS NOT NULL AND due_at <= ?1 ORDER BY due_at LIMIT ?2
);

-- name: changed
-- (mark, limit)
SELECT chat_id, seq, changed FROM chats WHERE changed > ? ORDER BY changed LIMIT ?;

-- name: change_mark
SELECT coalesce(max(changed), 0) FROM chats;

-- name: chat_ids
SELECT chat_id FROM chats ORDER BY chat_id;

-- name: find_owner
SELECT owner_id FROM owners WHERE name = ?;

-- name: insert_owner
INSERT INTO owners (owner_id, name, is_admin, created_at) VALUES (?, ?, ?, ?);

-- name: owner_count
SELECT count(*) FROM owners;

-- name: insert_token
INSERT INTO tokens (token_id, owner_id, secret_hash, created_at) VALUES (?, ?, ?, ?);

-- name: find_token
SELECT t.token_id, t.owner_id, o.name, o.is_admin, t.created_at, t.revoked_at
FROM tokens t JOIN owners o ON o.owner_id = t.owner_id WHERE t.secret_hash = ?;

-- name: list_tokens
SELECT t.token_id, t.owner_id, o.name, o.is_admin, t.created_at, t.revoked_at
FROM tokens t JOIN owners o ON o.owner_id = t.owner_id ORDER BY t.created_at, t.token_id;

-- name: revoke_token
UPDATE tokens SET revoked_at = ? WHERE token_id = ? AND revoked_at = 0;

-- name: config_version
SELECT version FROM config_version;

-- name: read_config
-- The version is in every row; if there is no configuration, in one row without an id. (kind, id or empty)
SELECT v.version, c.config_id, c.body
FROM config_version v LEFT JOIN config c ON c.kind = ?1 AND (?2 = '' OR c.config_id = ?2);

-- name: next_config_version
-- No row: the version differs. (after_version, or NULL)
UPDATE config_version SET version = version + 1 WHERE ?1 IS NULL OR version = ?1 RETURNING version;

-- name: write_config
INSERT INTO config (kind, config_id, body) VALUES (?, ?, ?)
ON CONFLICT (kind, config_id) DO UPDATE SET body = excluded.body;

-- name: delete_config
DELETE FROM config WHERE kind = ? AND config_id = ?;

-- name: revoked_of
-- (JSON list of ids of tokens and sessions)
WITH asked (id) AS (SELECT value FROM json_each(?))
SELECT token_id FROM tokens WHERE revoked_at <> 0 AND token_id IN (SELECT id FROM asked)
UNION ALL
SELECT s.session_id FROM sessions s JOIN tokens t ON t.token_id = s.token_id
WHERE (s.revoked_at <> 0 OR t.revoked_at <> 0) AND s.session_id IN (SELECT id FROM asked);

-- name: insert_session
INSERT INTO sessions (session_id, token_id, secret_hash, created_at, used_at) VALUES (?, ?, ?, ?, ?);

-- name: find_session
SELECT s.session_id, s.created_at, s.used_at, s.revoked_at,
       t.token_id, t.owner_id, o.name, o.is_admin, t.created_at, t.revoked_at
FROM sessions s JOIN tokens t ON t.token_id = s.token_id JOIN owners o ON o.owner_id = t.owner_id
WHERE s.secret_hash = ?;

-- name: sessions_of
SELECT session_id FROM sessions WHERE token_id = ? AND revoked_at = 0 ORDER BY used_at, session_id;

-- name: touch_session
UPDATE sessions SET used_at = ? WHERE session_id = ?;

-- name: revoke_session
UPDATE sessions SET revoked_at = ? WHERE session_id = ? AND revoked_at = 0;

-- name: delete_sessions
DELETE FROM sessions WHERE used_at < ?;

-- name: try_write
-- Writes one small row, to check that writes work.
CREATE TABLE IF NOT EXISTS probe (at INTEGER); REPLACE INTO probe (rowid, at) VALUES (1, ?);

-- name: insert_notification
INSERT INTO notifications (notification_id, owner_id, chat_id, body, created_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING;

-- name: drop_old_notifications
-- All but an owner's newest. (owner_id, number)
DELETE FROM notifications WHERE notification_id IN (
  SELECT notification_id FROM notifications WHERE owner_id = ?
  ORDER BY created_at DESC, notification_id DESC LIMIT -1 OFFSET ?
);

-- name: drop_notifications
DELETE FROM notifications WHERE chat_id = ?;

-- name: drop_read_cursor
DELETE FROM read_cursors WHERE chat_id = ?;

-- name: list_notifications
-- The newest first. (owner_id, unread only, created_at, id, limit)
SELECT notification_id, owner_id, chat_id, body, created_at, read_at FROM notifications
WHERE owner_id = ?1 AND (NOT ?2 OR read_at = 0) AND (?3 IS NULL OR (created_at, notification_id) < (?3, ?4))
ORDER BY created_at DESC, notification_id DESC LIMIT ?5;

-- name: new_notifications
-- The owners are filtered last: few notifications are new. (JSON list of owners, since, limit)
SELECT notification_id, owner_id, chat_id, body, created_at, read_at FROM notifications
WHERE created_at >= ?2 AND +owner_id IN (SELECT value FROM json_each(?1))
ORDER BY created_at, notification_id LIMIT ?3;

-- name: count_unread
SELECT count(*) FROM notifications WHERE owner_id = ? AND read_at = 0;

-- name: read_notification
-- (now, owner_id, id)
UPDATE notifications SET read_at = CASE read_at WHEN 0 THEN ? ELSE read_at END
WHERE owner_id = ? AND notification_id = ?
RETURNING notification_id, owner_id, chat_id, body, created_at, read_at;

-- name: read_all_notifications
-- (now, owner_id)
UPDATE notifications SET read_at = ? WHERE owner_id = ? AND read_at = 0;

-- name: move_read_cursor
INSERT INTO read_cursors (chat_id, seq) VALUES (?, ?)
ON CONFLICT (chat_id) DO UPDATE SET seq = max(seq, excluded.seq);

-- name: unread_of
-- (JSON list of chats)
SELECT asked.value FROM json_each(?) AS asked WHERE EXISTS (
  SELECT 1 FROM messages m WHERE m.chat_id = asked.value AND m.role = 'assistant' AND m.hidden_by = 0
    AND m.seq > coalesce((SELECT r.seq FROM read_cursors r WHERE r.chat_id = asked.value), 0)
);

-- name: find_file
SELECT file_id, owner_id, sha256, media_type, size, name, created_at FROM files WHERE file_id = ?;

-- name: find_equal_file
-- (owner_id, sha256, media_type)
SELECT file_id, owner_id, sha256, media_type, size, name, created_at FROM files
WHERE owner_id = ? AND sha256 = ? AND media_type = ?;

-- name: renew_file
-- (expires_at, file_id)
UPDATE files SET expires_at = max(coalesce(expires_at, 0), ?) WHERE file_id = ?;

-- name: insert_file
INSERT INTO files (file_id, owner_id, sha256, media_type, size, name, created_at, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: file_usage
SELECT count(*), coalesce(sum(size), 0) FROM files WHERE owner_id = ?;

-- name: list_files
-- (after, limit)
SELECT file_id, owner_id, sha256, media_type, size, name, created_at FROM files
WHERE file_id > ? ORDER BY file_id LIMIT ?;

-- name: files_of_chat
SELECT file_id FROM file_uses WHERE chat_id = ?;

-- name: chat_is_deleted
SELECT 1 FROM chats WHERE chat_id = ? AND is_deleted = 1;

-- name: use_file
-- (chat_id, file_id, now)
INSERT INTO file_uses (chat_id, file_id, used_at) VALUES (?, ?, ?)
ON CONFLICT (chat_id, file_id) DO UPDATE SET used_at = excluded.used_at;

-- name: keep_file
UPDATE files SET expires_at = NULL WHERE file_id = ?;

-- name: release_file
-- A file that no chat names any more expires now, unless it was uploaded again. (now, file_id)
UPDATE files SET expires_at = ?1
WHERE file_id = ?2 AND expires_at IS NULL AND NOT EXISTS (SELECT 1 FROM file_uses u WHERE u.file_id = ?2);

-- name: drop_file_uses
DELETE FROM file_uses WHERE chat_id = ? RETURNING file_id;

-- name: drop_stale_file_uses
-- The uses that were recorded between two times and have no chat. (from, to)
DELETE FROM file_uses
WHERE used_at >= ? AND used_at < ? AND NOT EXISTS (SELECT 1 FROM chats c WHERE c.chat_id = file_uses.chat_id AND c.is_deleted = 0)
RETURNING file_id;

-- name: expired_files
-- (now, limit)
SELECT file_id, EXISTS (SELECT 1 FROM file_uses u WHERE u.file_id = files.file_id) FROM files
WHERE expires_at <= ? ORDER BY expires_at LIMIT ?;

-- name: delete_file
DELETE FROM files WHERE file_id = ?;

-- name: add_usage
-- Add what an owner has used of a model in a day. No sum exceeds 2^61, so that none can exceed 64 bits.
-- (owner_id, day, model, calls, turns, the tokens, cost)
INSERT INTO usage_days (owner_id, day, model, calls, turns, input_tokens, output_tokens, reasoning_tokens, cache_creation_tokens,
                        cache_read_tokens, priced_tokens, cost_micros)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (owner_id, day, model) DO UPDATE SET
  calls = min(calls + excluded.calls, 2305843009213693952),
  turns = min(turns + excluded.turns, 2305843009213693952),
  input_tokens = min(input_tokens + excluded.input_tokens, 2305843009213693952),
  output_tokens = min(output_tokens + excluded.output_tokens, 2305843009213693952),
  reasoning_tokens = min(reasoning_tokens + excluded.reasoning_tokens, 2305843009213693952),
  cache_creation_tokens = min(cache_creation_tokens + excluded.cache_creation_tokens, 2305843009213693952),
  cache_read_tokens = min(cache_read_tokens + excluded.cache_read_tokens, 2305843009213693952),
  priced_tokens = min(priced_tokens + excluded.priced_tokens, 2305843009213693952),
  cost_micros = CASE WHEN cost_micros IS NULL OR excluded.cost_micros IS NULL
                     THEN coalesce(cost_micros, excluded.cost_micros)
                     ELSE min(cost_micros + excluded.cost_micros, 2305843009213693952) END;

-- name: read_usage
-- (owner_id, first day, last day, limit)
SELECT owner_id, day, model, calls, turns, input_tokens, output_tokens, reasoning_tokens, cache_creation_tokens,
       cache_read_tokens, priced_tokens, cost_micros
FROM usage_days WHERE owner_id = ? AND day BETWEEN ? AND ? ORDER BY day, model LIMIT ?;

-- name: sum_usage
-- What an owner has used in a day. (A sum of floating point numbers cannot overflow; it is exact up to 2^53.)
-- (owner_id, day)
SELECT CAST(min(total(input_tokens), 9e18) AS INTEGER), CAST(min(total(output_tokens), 9e18) AS INTEGER),
       CAST(min(total(priced_tokens), 9e18) AS INTEGER),
       CASE WHEN count(cost_micros) > 0 THEN CAST(min(total(cost_micros), 9e18) AS INTEGER) END
FROM usage_days WHERE owner_id = ? AND day = ?;

-- name: delete_usage
-- (the first day that is kept)
DELETE FROM usage_days WHERE day < ?;

-- name: read_send_count
-- What an owner has sent in a minute, or in a later one if the clock went back. (owner_id, minute)
SELECT messages, turns FROM send_counts WHERE owner_id = ? AND minute >= ?;

-- name: count_send
-- (owner_id, minute, messages, turns)
INSERT INTO send_counts (owner_id, minute, messages, turns) VALUES (?, ?, ?, ?)
ON CONFLICT (owner_id) DO UPDATE SET
  messages = excluded.messages + CASE WHEN minute < excluded.minute THEN 0 ELSE messages END,
  turns = excluded.turns + CASE WHEN minute < excluded.minute THEN 0 ELSE turns END,
  minute = max(minute, excluded.minute);

-- name: insert_share
-- (share_id, chat_id, owner_id, secret_hash, created_at)
INSERT INTO shares (share_id, chat_id, owner_id, secret_hash, created_at) VALUES (?, ?, ?, ?, ?);

-- name: find_share
SELECT share_id, chat_id, owner_id, created_at FROM shares WHERE secret_hash = ?;

-- name: list_shares
SELECT share_id, chat_id, owner_id, created_at FROM shares WHERE chat_id = ? ORDER BY created_at, share_id;

-- name: delete_share
-- (chat_id, share_id)
DELETE FROM shares WHERE chat_id = ? AND share_id = ?;

-- name: delete_shares
DELETE FROM shares WHERE chat_id = ?;
