-- Every statement of the PostgreSQL store, named and described. Each is one round trip and its own transaction.

-- name: append
-- Any number of appends, one after another, and the outcome of each by append_facts_1 to _3 in the migrations: done,
-- conflict, answered, lease_live or newer. The lock timeout applies to this transaction only.
-- (a JSON document, the lock timeout)
WITH limited AS MATERIALIZED (SELECT set_config('lock_timeout', $2, true))
SELECT a.number, append_facts_3(
  a.parent_chat_id, a.chat_id, a.after_seq, a.append_id, a.chat,
  a.f_seq, a.f_at, a.f_kind, a.f_body, a.f_status, a.f_draft, a.f_more, a.f_content_seq, a.f_append_id,
  a.c_seq, a.c_body, a.m_seq, a.m_role, a.m_queued_id, a.h_by, a.h_from, a.deleted_by,
  a.r_client_id, a.r_body_hash, a.r_answer, a.l_kind, a.l_attempt, a.l_instance_id, a.l_us,
  a.n_id, a.n_body, a.n_created_at, a.n_kept
)
FROM limited, jsonb_to_recordset($1) AS a (
  number bigint, parent_chat_id text, chat_id text, after_seq bigint, append_id text, chat appended_chat,
  f_seq bigint[], f_at bigint[], f_kind text[], f_body bytea[], f_status text[], f_draft bigint[], f_more boolean[],
  f_content_seq bigint[], f_append_id text[],
  c_seq bigint[], c_body bytea[], m_seq bigint[], m_role text[], m_queued_id bigint[],
  h_by bigint[], h_from bigint[], deleted_by bigint,
  r_client_id text[], r_body_hash bytea[], r_answer bytea[],
  l_kind text, l_attempt bigint, l_instance_id text, l_us bigint,
  n_id text, n_body bytea, n_created_at bigint, n_kept bigint
);

-- name: renew
-- A renewal needs the lease's row: an attempt that has ended renews nothing. (instance_id, chat_ids, attempts, microseconds)
WITH held AS MATERIALIZED (
  SELECT l.chat_id FROM leases l JOIN unnest($2::text[], $3::bigint[]) AS asked (chat_id, attempt)
    ON asked.chat_id = l.chat_id AND asked.attempt = l.attempt
  WHERE l.instance_id = $1 ORDER BY l.chat_id FOR UPDATE OF l
)
UPDATE leases l SET ends_at = (SELECT store_now_us()) + $4 FROM held, chats c
WHERE l.chat_id = held.chat_id AND c.chat_id = held.chat_id
RETURNING l.chat_id, c.status;

-- name: flush
-- Only while the draft is open: the chat's row is locked, so that no append closes the draft meanwhile. A stored delta is
-- replaced by a longer one from the same position. (chat_ids, drafts, froms, tos, bodies)
WITH longest AS (
  SELECT DISTINCT ON (chat_id, draft, from_position) * FROM
    unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[])
    AS deltas (chat_id, draft, from_position, to_position, body)
  ORDER BY chat_id, draft, from_position, to_position DESC
), open AS MATERIALIZED (
  SELECT c.chat_id, c.draft FROM chats c
  WHERE c.chat_id = ANY ($1) AND NOT c.is_deleted ORDER BY c.chat_id FOR KEY SHARE
)
INSERT INTO flushed (chat_id, draft, from_position, to_position, body)
SELECT longest.* FROM longest JOIN open USING (chat_id, draft)
ON CONFLICT (chat_id, draft, from_position) DO UPDATE SET to_position = excluded.to_position, body = excluded.body
WHERE excluded.to_position > flushed.to_position;

-- name: read_flushed
SELECT from_position, to_position, body FROM flushed WHERE chat_id = $1 AND draft = $2 ORDER BY from_position;

-- name: load
SELECT state FROM chats WHERE chat_id = $1;

-- name: read_entries
-- Facts after a seq, with their content unless it is hidden, up to the one with which they reach the size. Here and
-- below, the rows that belong to a row are looked up one by one (LATERAL … LIMIT 1): if the planner does not know that
-- a chat is long, a join reads all rows of the chat.
-- (chat_id, after, limit, bytes)
SELECT seq, at, body, status, draft, more, hidden_by, content FROM (
  SELECT *, sum(size) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) - size AS size_before FROM (
    SELECT f.seq, f.at, f.body, f.status, f.draft, f.more, coalesce(m.hidden_by, 0) AS hidden_by,
           CASE WHEN coalesce(m.hidden_by, 0) = 0 THEN c.body END AS content,
           octet_length(f.body) + CASE WHEN coalesce(m.hidden_by, 0) = 0 THEN coalesce(octet_length(c.body), 0)
                                       ELSE 0 END AS size
    FROM (SELECT * FROM facts WHERE chat_id = $1 AND seq > $2 ORDER BY seq LIMIT $3) AS f
    LEFT JOIN LATERAL (SELECT hidden_by FROM messages WHERE chat_id = $1 AND seq = f.seq LIMIT 1) AS m ON TRUE
    LEFT JOIN LATERAL (SELECT body FROM contents WHERE chat_id = $1 AND seq = f.content_seq LIMIT 1) AS c ON TRUE
  ) AS found
) AS summed WHERE size_before < $4 ORDER BY seq;

-- name: newest_entry
-- The newest fact of a kind after a seq and up to another one, without content. (chat_id, after, kind, upto)
SELECT seq, at, body, status, draft, more, 0, NULL::bytea FROM facts
WHERE chat_id = $1 AND seq > $2 AND seq <= $4 AND kind = $3 ORDER BY seq DESC LIMIT 1;

-- name: oldest_entry
-- The oldest fact of a kind after a seq, without content. (chat_id, after, kind)
SELECT seq, at, body, status, draft, more, 0, NULL::bytea FROM facts
WHERE chat_id = $1 AND seq > $2 AND kind = $3 ORDER BY seq LIMIT 1;

-- name: messages_newest
-- The newest visible messages before an id, newest first, up to the one with which their content reaches the size.
-- `found` is their number up to the limit. (chat_id, before, limit, bytes)
SELECT seq, at, body, status, draft, more, 0, content, found FROM (
  SELECT *, coalesce(sum(size) OVER (ORDER BY seq DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)
            AS size_before, count(*) OVER () AS found FROM (
    SELECT f.seq, f.at, f.body, f.status, f.draft, f.more, c.body AS content, coalesce(octet_length(c.body), 0) AS size
    FROM (
      SELECT seq FROM messages WHERE chat_id = $1 AND seq < $2 AND hidden_by = 0 ORDER BY seq DESC LIMIT $3
    ) AS m
    CROSS JOIN LATERAL (SELECT * FROM facts WHERE chat_id = $1 AND seq = m.seq LIMIT 1) AS f
    LEFT JOIN LATERAL (SELECT body FROM contents WHERE chat_id = $1 AND seq = f.content_seq LIMIT 1) AS c ON TRUE
  ) AS found
) AS summed WHERE size_before < $4 ORDER BY seq DESC;

-- name: messages_after
-- The visible messages after an id, oldest first. (chat_id, after, limit, bytes)
SELECT seq, at, body, status, draft, more, 0, content, found FROM (
  SELECT *, coalesce(sum(size) OVER (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)
            AS size_before, count(*) OVER () AS found FROM (
    SELECT f.seq, f.at, f.body, f.status, f.draft, f.more, c.body AS content, coalesce(octet_length(c.body), 0) AS size
    FROM (
      SELECT seq FROM messages WHERE chat_id = $1 AND seq > $2 AND hidden_by = 0 ORDER BY seq LIMIT $3
    ) AS m
    CROSS JOIN LATERAL (SELECT * FROM facts WHERE chat_id = $1 AND seq = m.seq LIMIT 1) AS f
    LEFT JOIN LATERAL (SELECT body FROM contents WHERE chat_id = $1 AND seq = f.content_seq LIMIT 1) AS c ON TRUE
  ) AS found
) AS summed WHERE size_before < $4 ORDER BY seq;

-- name: past_messages_newest
-- The newest messages before an id that were visible after a fact; as `messages_newest`.
-- (chat_id, before, limit, bytes, as_of)
SELECT seq, at, body, status, draft, more, 0, content, found FROM (
  SELECT *, coalesce(sum(size) OVER (ORDER BY seq DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)
            AS size_before, count(*) OVER () AS found FROM (
    SELECT f.seq, f.at, f.body, f.status, f.draft, f.more, c.body AS content, coalesce(octet_length(c.body), 0) AS size
    FROM (
      SELECT seq FROM messages WHERE chat_id = $1 AND seq < $2 AND seq <= $5
        AND (hidden_by = 0 OR hidden_by > $5) ORDER BY seq DESC LIMIT $3
    ) AS m
    CROSS JOIN LATERAL (SELECT * FROM facts WHERE chat_id = $1 AND seq = m.seq LIMIT 1) AS f
    LEFT JOIN LATERAL (SELECT body FROM contents WHERE chat_id = $1 AND seq = f.content_seq LIMIT 1) AS c ON TRUE
  ) AS found
) AS summed WHERE size_before < $4 ORDER BY seq DESC;

-- name: past_messages_after
-- The messages after an id that were visible after a fact; as `messages_after`.
-- (chat_id, after, limit, bytes, as_of)
SELECT seq, at, body, status, draft, more, 0, content, found FROM (
  SELECT *, coalesce(sum(size) OVER (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)
            AS size_before, count(*) OVER () AS found FROM (
    SELECT f.seq, f.at, f.body, f.status, f.draft, f.more, c.body AS content, coalesce(octet_length(c.body), 0) AS size
    FROM (
      SELECT seq FROM messages WHERE chat_id = $1 AND seq > $2 AND seq <= $5
        AND (hidden_by = 0 OR hidden_by > $5) ORDER BY seq LIMIT $3
    ) AS m
    CROSS JOIN LATERAL (SELECT * FROM facts WHERE chat_id = $1 AND seq = m.seq LIMIT 1) AS f
    LEFT JOIN LATERAL (SELECT body FROM contents WHERE chat_id = $1 AND seq = f.content_seq LIMIT 1) AS c ON TRUE
  ) AS found
) AS summed WHERE size_before < $4 ORDER BY seq;

-- name: read_versions
-- What truncations have hidden, the newest first. (chat_id, limit)
SELECT v.hidden_by, f.at, v.first_seq, coalesce((
  SELECT p.seq FROM messages p
  WHERE p.chat_id = $1 AND p.seq < v.first_seq AND (p.hidden_by = 0 OR p.hidden_by > v.hidden_by)
  ORDER BY p.seq DESC LIMIT 1
), 0)
FROM (
  SELECT hidden_by, min(seq) AS first_seq FROM messages WHERE chat_id = $1 AND hidden_by <> 0
  GROUP BY hidden_by ORDER BY hidden_by DESC LIMIT $2
) AS v
CROSS JOIN LATERAL (SELECT at FROM facts WHERE chat_id = $1 AND seq = v.hidden_by LIMIT 1) AS f
ORDER BY v.hidden_by DESC;

-- name: read_contents
SELECT asked.seq, found.body FROM unnest($2::bigint[]) AS asked (seq), LATERAL (
  SELECT body FROM contents WHERE chat_id = $1 AND seq = asked.seq LIMIT 1
) AS found;

-- name: read_receipts
-- (chat_id, client_ids)
SELECT asked.client_id, found.body_hash, found.answer FROM unnest($2::text[]) AS asked (client_id), LATERAL (
  SELECT body_hash, answer FROM receipts WHERE chat_id = $1 AND client_id = asked.client_id LIMIT 1
) AS found;

-- name: damaged_contents
-- Contents that differ from what was written, hidden ones included (doctor). (chat_id, first seq, last seq)
SELECT seq FROM contents
WHERE chat_id = $1 AND seq BETWEEN $2 AND $3 AND checksum <> sha256(body) ORDER BY seq;

-- name: damaged_receipts
SELECT client_id FROM receipts
WHERE chat_id = $1 AND checksum <> sha256(body_hash || answer) ORDER BY client_id;

-- name: count_chats
SELECT count(*) FROM chats
WHERE owner_id = $1 AND NOT is_deleted AND parent_chat_id IS NULL AND NOT is_archived;

-- name: count_messages
-- The visible messages of people and models. (chat_id)
SELECT count(*) FROM messages WHERE chat_id = $1 AND hidden_by = 0 AND role IN ('user', 'assistant');

-- name: message_role
SELECT role FROM messages WHERE chat_id = $1 AND seq = $2 AND hidden_by = 0;

-- name: queued_fate
SELECT CASE
  WHEN EXISTS (SELECT 1 FROM messages WHERE chat_id = $1 AND queued_id = $2 AND queued_id <> 0) THEN 'delivered'
  WHEN EXISTS (SELECT 1 FROM facts WHERE chat_id = $1 AND seq = $2 AND kind = 'message_queued') THEN 'queued'
END;

-- name: list_chats
-- An owner's chats without a parent, by latest change. A filter is off if its parameter is null. A title matches if it contains the text;
-- the case of ASCII letters is ignored. (owner, archived, label key, label value, title, updated_at, chat_id,
-- limit)
SELECT chat_id, state FROM chats
WHERE owner_id = $1 AND NOT is_deleted AND parent_chat_id IS NULL
  AND ($2::boolean IS NULL OR is_archived = $2)
  AND ($3::text IS NULL OR labels ->> $3 = $4)
  AND ($5::text IS NULL OR strpos(lower(title), lower($5 COLLATE "C")) > 0)
  AND (updated_at, chat_id) < (coalesce($6::bigint, 9223372036854775807), coalesce($7::text, '') COLLATE "C")
ORDER BY updated_at DESC, chat_id DESC LIMIT $8;

-- name: list_pinned_chats
-- An owner's pinned chats without a parent that are not archived, by the order of their pins. (owner, limit)
SELECT chat_id, state FROM chats
WHERE owner_id = $1 AND pin_of(state) > 0
  AND NOT is_deleted AND NOT is_archived AND parent_chat_id IS NULL
ORDER BY pin_of(state), chat_id LIMIT $2;

-- name: list_child_chats
-- The child chats of one chat, as list_chats. (owner, archived, label key, label value, title, updated_at, chat_id,
-- limit, parent)
SELECT chat_id, state FROM chats
WHERE parent_chat_id = $9 AND owner_id = $1 AND NOT is_deleted
  AND ($2::boolean IS NULL OR is_archived = $2)
  AND ($3::text IS NULL OR labels ->> $3 = $4)
  AND ($5::text IS NULL OR strpos(lower(title), lower($5 COLLATE "C")) > 0)
  AND (updated_at, chat_id) < (coalesce($6::bigint, 9223372036854775807), coalesce($7::text, '') COLLATE "C")
ORDER BY updated_at DESC, chat_id DESC LIMIT $8;

-- name: claimable
-- (limit, chats and owners to pass over)
SELECT chat_id FROM chats
WHERE claim_at <= (SELECT store_now_us()) AND owner_id <> ALL ($2::text[]) AND chat_id <> ALL ($2::text[])
ORDER BY claim_at LIMIT $1;

-- name: due
-- Leases that have expired, and (with their state) chats that must be handled without a command. (limit)
(SELECT 1 AS part, ends_at AS at, chat_id, attempt, NULL::bytea AS state FROM leases
 WHERE ends_at <= (SELECT store_now_us()) AND (SELECT leases_may_end()) ORDER BY ends_at LIMIT $1)
UNION ALL
(SELECT 2, due_at, chat_id, 0, state FROM chats WHERE due_at <= (SELECT store_now_us()) ORDER BY due_at LIMIT $1)
ORDER BY part, at;

-- name: leases
-- Every attempt that has a lease (doctor).
SELECT chat_id, attempt FROM leases;

-- name: attempts_of
SELECT chat_id, attempt FROM leases WHERE instance_id = $1;

-- name: changed
-- Chats whose last append may have been invisible when the mark was made. Commits become visible out of order, so a
-- mark is the oldest transaction that was open then. A mark from the future is of another server: all chats.
-- (changed, chat_id, limit): chats after these two; the id is empty for a mark
SELECT now.mark, c.chat_id, c.seq, c.changed
FROM (SELECT pg_snapshot_xmin(s)::text::bigint AS mark, pg_snapshot_xmax(s)::text::bigint AS next
      FROM pg_current_snapshot() AS s) AS now
LEFT JOIN LATERAL (
  SELECT chat_id, seq, changed FROM chats
  WHERE (changed, chat_id) > (CASE WHEN $1 > now.next THEN 0 ELSE $1 END, $2) ORDER BY changed, chat_id LIMIT $3
) AS c ON TRUE
ORDER BY c.changed, c.chat_id;

-- name: change_mark
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint;

-- name: forget_foreign_changes
-- After a dump was restored to another server, transaction numbers are lower.
UPDATE chats SET changed = 0 WHERE changed >= (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint);

-- name: chat_ids
SELECT chat_id FROM chats ORDER BY chat_id;

-- name: create_owner
-- (owner_id, name, is_admin)
INSERT INTO owners (owner_id, name, is_admin, created_at) VALUES ($1, $2, $3, store_now_us())
ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING owner_id;

-- name: find_owner
-- (name)
SELECT owner_id FROM owners WHERE name = $1;

-- name: owner_count
SELECT count(*) FROM owners;

-- name: insert_token
-- Inserts nothing if the token or its secret exists: replicas on one directory insert the same one.
-- (token_id, owner_id, secret_hash)
INSERT INTO tokens (token_id, owner_id, secret_hash, created_at) VALUES ($1, $2, $3, store_now_us())
ON CONFLICT DO NOTHING;

-- name: find_token
SELECT t.token_id, t.owner_id, o.name, o.is_admin, t.created_at, t.revoked_at
FROM tokens t JOIN owners o ON o.owner_id = t.owner_id WHERE t.secret_hash = $1;

-- name: list_tokens
SELECT t.token_id, t.owner_id, o.name, o.is_admin, t.created_at, t.revoked_at
FROM tokens t JOIN owners o ON o.owner_id = t.owner_id ORDER BY t.created_at, t.token_id;

-- name: revoke_token
UPDATE tokens SET revoked_at = store_now_us() WHERE token_id = $1 AND revoked_at = 0 RETURNING 1;

-- name: read_setting
SELECT value FROM settings WHERE name = $1;

-- name: write_setting
INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: try_write
-- Writes one small row, to check that writes work.
INSERT INTO probe (id, at) VALUES (1, store_now_us()) ON CONFLICT (id) DO UPDATE SET at = excluded.at;

-- name: now
SELECT store_now_us();

-- name: hold_lock
-- A new key, and its lock for this session. It never waits for an old session that is still open.
SELECT key, pg_backend_pid() AS pid, pg_advisory_lock('instances'::regclass::oid::int, key)
FROM (SELECT nextval('instance_lock_keys')::int AS key) AS fresh;

-- name: holds_lock
-- Whether this is still the same session, and holds the lock. (server_pid, lock_key)
SELECT pg_backend_pid() = $1::int AND EXISTS (
  SELECT 1 FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.pid = $1::int
    AND l.classid = 'instances'::regclass::oid AND l.objid = $2::int::oid
);

-- name: free_locks
SELECT pg_advisory_unlock_all();

-- name: enter
-- (instance_id, lock_key, host, pid, version, http_url, relay_endpoint, relay_key, started_at, running, capacity,
-- is_draining)
INSERT INTO instances (instance_id, lock_key, host, pid, version, http_url, relay_endpoint, relay_key, started_at,
                       seen_at, running, capacity, is_draining)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, store_now_us(), $10, $11, $12)
ON CONFLICT (instance_id) DO UPDATE SET
  lock_key = excluded.lock_key, host = excluded.host, pid = excluded.pid, version = excluded.version,
  http_url = excluded.http_url, relay_endpoint = excluded.relay_endpoint, relay_key = excluded.relay_key,
  started_at = excluded.started_at, seen_at = excluded.seen_at, running = excluded.running,
  capacity = excluded.capacity, is_draining = excluded.is_draining;

-- name: beat
-- (instance_id, running, is_draining)
UPDATE instances SET seen_at = store_now_us(), running = $2, is_draining = $3 WHERE instance_id = $1 RETURNING 1;

-- name: leave
DELETE FROM instances WHERE instance_id = $1;

-- name: instances
-- Every row, whether its session holds its lock, and how long the server has been up.
SELECT up.uptime_us, i.*, EXISTS (
  SELECT 1 FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.classid = 'instances'::regclass::oid AND l.objid = i.lock_key::oid
) AS is_present
FROM (SELECT store_uptime_us() AS uptime_us) AS up LEFT JOIN instances i ON TRUE ORDER BY i.started_at, i.instance_id;

-- name: config_version
SELECT version FROM config_version;

-- name: read_config
-- The version is in every row; if there is no configuration, in one row without an id. (kind, id or empty)
SELECT v.version, c.config_id, c.body
FROM config_version v LEFT JOIN config c ON c.kind = $1 AND ($2 = '' OR c.config_id = $2) ORDER BY c.config_id;

-- name: write_config
-- (kinds, ids, bodies, after_version or null)
SELECT write_config($1, $2, $3, $4);

-- name: revoked_of
SELECT token_id FROM tokens WHERE revoked_at <> 0 AND token_id = ANY ($1::text[])
UNION ALL
SELECT s.session_id FROM sessions s JOIN tokens t ON t.token_id = s.token_id
WHERE (s.revoked_at <> 0 OR t.revoked_at <> 0) AND s.session_id = ANY ($1::text[]);

-- name: insert_session
-- Inserts nothing if the session exists: a write whose answer was lost is repeated.
-- (session_id, token_id, secret_hash)
INSERT INTO sessions (session_id, token_id, secret_hash, created_at, used_at)
VALUES ($1, $2, $3, store_now_us(), store_now_us())
ON CONFLICT (session_id) DO NOTHING;

-- name: find_session
SELECT s.session_id, s.created_at, s.used_at, s.revoked_at,
       t.token_id, t.owner_id, o.name, o.is_admin, t.created_at, t.revoked_at
FROM sessions s JOIN tokens t ON t.token_id = s.token_id JOIN owners o ON o.owner_id = t.owner_id
WHERE s.secret_hash = $1;

-- name: sessions_of
SELECT session_id FROM sessions WHERE token_id = $1 AND revoked_at = 0 ORDER BY used_at, session_id;

-- name: touch_session
UPDATE sessions SET used_at = store_now_us() WHERE session_id = $1;

-- name: revoke_session
UPDATE sessions SET revoked_at = store_now_us() WHERE session_id = $1 AND revoked_at = 0 RETURNING 1;

-- name: delete_sessions
DELETE FROM sessions WHERE used_at < $1;

-- name: list_notifications
-- The newest first. (owner_id, unread only, created_at, id, limit)
SELECT notification_id, owner_id, chat_id, body, created_at, read_at FROM notifications
WHERE owner_id = $1 AND (NOT $2::boolean OR read_at = 0)
  AND (created_at, notification_id) < (coalesce($3::bigint, 9223372036854775807), coalesce($4::text, '') COLLATE "C")
ORDER BY created_at DESC, notification_id DESC LIMIT $5;

-- name: new_notifications
-- (owners, since, limit)
SELECT notification_id, owner_id, chat_id, body, created_at, read_at FROM notifications
WHERE owner_id = ANY ($1::text[]) AND created_at >= $2 ORDER BY created_at, notification_id LIMIT $3;

-- name: count_unread
SELECT count(*) FROM notifications WHERE owner_id = $1 AND read_at = 0;

-- name: read_notification
-- (owner_id, id)
UPDATE notifications SET read_at = CASE read_at WHEN 0 THEN store_now_us() ELSE read_at END
WHERE owner_id = $1 AND notification_id = $2
RETURNING notification_id, owner_id, chat_id, body, created_at, read_at;

-- name: read_all_notifications
UPDATE notifications SET read_at = (SELECT store_now_us()) WHERE owner_id = $1 AND read_at = 0;

-- name: move_read_cursor
INSERT INTO read_cursors (chat_id, seq) VALUES ($1, $2)
ON CONFLICT (chat_id) DO UPDATE SET seq = greatest(read_cursors.seq, excluded.seq);

-- name: unread_of
SELECT c.id FROM unnest($1::text[]) AS c (id) WHERE EXISTS (
  SELECT 1 FROM messages m WHERE m.chat_id = c.id AND m.role = 'assistant' AND m.hidden_by = 0
    AND m.seq > coalesce((SELECT r.seq FROM read_cursors r WHERE r.chat_id = c.id), 0)
);

-- name: write_file_chunk
-- A chunk that was written before is unchanged: a write whose answer was lost is repeated. (file_id, number, body)
WITH written AS (
  INSERT INTO unfinished_files (file_id, written_at) VALUES ($1, store_now_us())
  ON CONFLICT (file_id) DO UPDATE SET written_at = excluded.written_at WHERE unfinished_files.written_at > 0
)
INSERT INTO file_chunks (file_id, number, body) VALUES ($1, $2, $3) ON CONFLICT (file_id, number) DO NOTHING;

-- name: complete_file
-- (file_id, owner_id, sha256, media_type, size, name, unused microseconds, files_max, bytes_max)
SELECT fate, file_id FROM complete_file($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: begin_file
-- Record an upload before its first byte is written to a place apart from the database; again while it goes on.
INSERT INTO unfinished_files (file_id, written_at) VALUES ($1, store_now_us())
ON CONFLICT (file_id) DO UPDATE SET written_at = excluded.written_at WHERE unfinished_files.written_at > 0;

-- name: record_file
-- (file_id, owner_id, sha256, media_type, size, name, unused microseconds, files_max, bytes_max)
SELECT fate, file_id FROM record_file($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: find_file
SELECT file_id, owner_id, sha256, media_type, size, name, created_at FROM files WHERE file_id = $1;

-- name: file_usage
SELECT count(*), coalesce(sum(size), 0)::bigint FROM files WHERE owner_id = $1;

-- name: list_files
-- (after, limit)
SELECT file_id, owner_id, sha256, media_type, size, name, created_at FROM files
WHERE file_id > $1 ORDER BY file_id LIMIT $2;

-- name: read_file_chunk
-- A part of a chunk. No row: there is no such file. (file_id, number, start from 1, size)
SELECT coalesce((SELECT substring(body FROM $3 FOR $4) FROM file_chunks WHERE file_id = $1 AND number = $2), '')
FROM files WHERE file_id = $1;

-- name: size_of_file
SELECT sum(octet_length(body)) FROM file_chunks WHERE file_id = $1 HAVING count(*) > 0;

-- name: known_files
-- Which of these are files, or uploads and removals in progress. (file_ids)
SELECT file_id FROM files WHERE file_id = ANY($1::text[])
UNION SELECT file_id FROM unfinished_files WHERE file_id = ANY($1::text[]);

-- name: use_files
-- (owner_id, chat_id, file_ids)
SELECT use_files($1, $2, $3::text[]);

-- name: files_of_chat
SELECT file_id FROM file_uses WHERE chat_id = $1;

-- name: delete_expired_files
-- (limit)
SELECT delete_expired_files($1);

-- name: end_stale_file_uses
-- (oldest microseconds, newest microseconds)
SELECT end_stale_file_uses($1, $2);

-- name: unfinished_files
-- Those that were not written for a time. (microseconds, limit)
SELECT file_id FROM unfinished_files WHERE written_at < (SELECT store_now_us()) - $1 ORDER BY written_at LIMIT $2;

-- name: claim_unfinished_file
-- Before its chunks are removed, so that the upload cannot be completed meanwhile. No row: it is a file.
-- (file_id, microseconds since it was written)
UPDATE unfinished_files SET written_at = 0
WHERE file_id = $1 AND written_at <= (SELECT store_now_us()) - $2 RETURNING 1;

-- name: delete_file_chunks
-- (file_id, limit)
DELETE FROM file_chunks WHERE file_id = $1 AND number IN (
  SELECT number FROM file_chunks WHERE file_id = $1 ORDER BY number LIMIT $2
) RETURNING 1;

-- name: forget_unfinished_file
DELETE FROM unfinished_files WHERE file_id = $1;

-- name: file_chunks
-- All bytes of a file, for a copy of the store.
SELECT body FROM file_chunks WHERE file_id = $1 ORDER BY number;

-- name: copy_file_chunk
-- (file_id, number, body)
INSERT INTO file_chunks (file_id, number, body) VALUES ($1, $2, $3);

-- name: append_counting
-- As `append`, for appends that add to their owner's usage or to what the owner sends in a minute: by append_facts_4 in
-- the migrations, which also says messages_limited or turns_limited. The usage is added after all facts and in the
-- order of its key, so that two statements lock the same rows in the same order.
-- (a JSON document, the lock timeout)
WITH limited AS MATERIALIZED (SELECT set_config('lock_timeout', $2, true)),
written AS MATERIALIZED (
  SELECT a.number, (a.chat).owner_id, append_facts_4(
    a.parent_chat_id, a.chat_id, a.after_seq, a.append_id, a.chat,
    a.f_seq, a.f_at, a.f_kind, a.f_body, a.f_status, a.f_draft, a.f_more, a.f_content_seq, a.f_append_id,
    a.c_seq, a.c_body, a.m_seq, a.m_role, a.m_queued_id, a.h_by, a.h_from, a.deleted_by,
    a.r_client_id, a.r_body_hash, a.r_answer, a.l_kind, a.l_attempt, a.l_instance_id, a.l_us,
    a.n_id, a.n_body, a.n_created_at, a.n_kept, a.s_minute, a.s_messages, a.s_turns, a.s_messages_max, a.s_turns_max
  ) AS outcome,
  u_day, u_model, u_calls, u_turns, u_input_tokens, u_output_tokens,
  u_reasoning_tokens, u_cache_creation_tokens, u_cache_read_tokens, u_priced_tokens, u_cost_micros
  FROM limited, jsonb_to_recordset($1) AS a (
    number bigint, parent_chat_id text, chat_id text, after_seq bigint, append_id text, chat appended_chat,
    f_seq bigint[], f_at bigint[], f_kind text[], f_body bytea[], f_status text[], f_draft bigint[], f_more boolean[],
    f_content_seq bigint[], f_append_id text[],
    c_seq bigint[], c_body bytea[], m_seq bigint[], m_role text[], m_queued_id bigint[],
    h_by bigint[], h_from bigint[], deleted_by bigint,
    r_client_id text[], r_body_hash bytea[], r_answer bytea[],
    l_kind text, l_attempt bigint, l_instance_id text, l_us bigint,
    n_id text, n_body bytea, n_created_at bigint, n_kept bigint,
    s_minute bigint, s_messages bigint, s_turns bigint, s_messages_max bigint, s_turns_max bigint,
    u_day bigint[], u_model text[], u_calls bigint[], u_turns bigint[], u_input_tokens bigint[],
    u_output_tokens bigint[], u_reasoning_tokens bigint[], u_cache_creation_tokens bigint[],
    u_cache_read_tokens bigint[], u_priced_tokens bigint[], u_cost_micros bigint[]
  )
), counted AS (
  INSERT INTO usage_days AS d (owner_id, day, model, calls, turns, input_tokens, output_tokens, reasoning_tokens,
                               cache_creation_tokens, cache_read_tokens, priced_tokens, cost_micros)
  SELECT w.owner_id, u.day, u.model,
    least(sum(u.calls), 2305843009213693952)::bigint,
    least(sum(u.turns), 2305843009213693952)::bigint,
    least(sum(u.input_tokens), 2305843009213693952)::bigint,
    least(sum(u.output_tokens), 2305843009213693952)::bigint,
    least(sum(u.reasoning_tokens), 2305843009213693952)::bigint,
    least(sum(u.cache_creation_tokens), 2305843009213693952)::bigint,
    least(sum(u.cache_read_tokens), 2305843009213693952)::bigint,
    least(sum(u.priced_tokens), 2305843009213693952)::bigint,
    CASE WHEN sum(u.cost_micros) IS NOT NULL THEN least(sum(u.cost_micros), 2305843009213693952)::bigint END
  FROM written w, unnest(w.u_day, w.u_model, w.u_calls, w.u_turns, w.u_input_tokens, w.u_output_tokens,
    w.u_reasoning_tokens, w.u_cache_creation_tokens, w.u_cache_read_tokens, w.u_priced_tokens, w.u_cost_micros)
    AS u (day, model, calls, turns, input_tokens, output_tokens, reasoning_tokens, cache_creation_tokens,
          cache_read_tokens, priced_tokens, cost_micros)
  WHERE w.outcome = 'written' GROUP BY w.owner_id, u.day, u.model ORDER BY w.owner_id, u.day, u.model
  ON CONFLICT (owner_id, day, model) DO UPDATE SET
    calls = least(d.calls + excluded.calls, 2305843009213693952),
    turns = least(d.turns + excluded.turns, 2305843009213693952),
    input_tokens = least(d.input_tokens + excluded.input_tokens, 2305843009213693952),
    output_tokens = least(d.output_tokens + excluded.output_tokens, 2305843009213693952),
    reasoning_tokens = least(d.reasoning_tokens + excluded.reasoning_tokens, 2305843009213693952),
    cache_creation_tokens = least(d.cache_creation_tokens + excluded.cache_creation_tokens, 2305843009213693952),
    cache_read_tokens = least(d.cache_read_tokens + excluded.cache_read_tokens, 2305843009213693952),
    priced_tokens = least(d.priced_tokens + excluded.priced_tokens, 2305843009213693952),
    cost_micros = CASE WHEN d.cost_micros IS NULL OR excluded.cost_micros IS NULL
                       THEN coalesce(d.cost_micros, excluded.cost_micros)
                       ELSE least(d.cost_micros + excluded.cost_micros, 2305843009213693952) END
)
SELECT number, CASE outcome WHEN 'written' THEN 'done' ELSE outcome END FROM written;

-- name: add_usage
-- Usage that no append has. Each array has one value for each row. (owner_ids, days, models, calls, turns, the tokens, costs)
INSERT INTO usage_days AS d (owner_id, day, model, calls, turns, input_tokens, output_tokens, reasoning_tokens,
                             cache_creation_tokens, cache_read_tokens, priced_tokens, cost_micros)
SELECT u.owner_id, u.day, u.model,
    least(sum(u.calls), 2305843009213693952)::bigint,
    least(sum(u.turns), 2305843009213693952)::bigint,
    least(sum(u.input_tokens), 2305843009213693952)::bigint,
    least(sum(u.output_tokens), 2305843009213693952)::bigint,
    least(sum(u.reasoning_tokens), 2305843009213693952)::bigint,
    least(sum(u.cache_creation_tokens), 2305843009213693952)::bigint,
    least(sum(u.cache_read_tokens), 2305843009213693952)::bigint,
    least(sum(u.priced_tokens), 2305843009213693952)::bigint,
    CASE WHEN sum(u.cost_micros) IS NOT NULL THEN least(sum(u.cost_micros), 2305843009213693952)::bigint END
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
            $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[])
  AS u (owner_id, day, model, calls, turns, input_tokens, output_tokens, reasoning_tokens, cache_creation_tokens,
        cache_read_tokens, priced_tokens, cost_micros)
GROUP BY u.owner_id, u.day, u.model ORDER BY u.owner_id, u.day, u.model
ON CONFLICT (owner_id, day, model) DO UPDATE SET
  calls = least(d.calls + excluded.calls, 2305843009213693952),
  turns = least(d.turns + excluded.turns, 2305843009213693952),
  input_tokens = least(d.input_tokens + excluded.input_tokens, 2305843009213693952),
  output_tokens = least(d.output_tokens + excluded.output_tokens, 2305843009213693952),
  reasoning_tokens = least(d.reasoning_tokens + excluded.reasoning_tokens, 2305843009213693952),
  cache_creation_tokens = least(d.cache_creation_tokens + excluded.cache_creation_tokens, 2305843009213693952),
  cache_read_tokens = least(d.cache_read_tokens + excluded.cache_read_tokens, 2305843009213693952),
  priced_tokens = least(d.priced_tokens + excluded.priced_tokens, 2305843009213693952),
  cost_micros = CASE WHEN d.cost_micros IS NULL OR excluded.cost_micros IS NULL
                     THEN coalesce(d.cost_micros, excluded.cost_micros)
                     ELSE least(d.cost_micros + excluded.cost_micros, 2305843009213693952) END;

-- name: read_usage
-- (owner_id, first day, last day, limit)
SELECT owner_id, day, model, calls, turns, input_tokens, output_tokens, reasoning_tokens, cache_creation_tokens,
       cache_read_tokens, priced_tokens, cost_micros
FROM usage_days WHERE owner_id = $1 AND day BETWEEN $2 AND $3 ORDER BY day, model LIMIT $4;

-- name: sum_usage
-- What an owner has used in a day. (owner_id, day)
SELECT least(coalesce(sum(input_tokens), 0), 9e18)::bigint, least(coalesce(sum(output_tokens), 0), 9e18)::bigint,
       least(coalesce(sum(priced_tokens), 0), 9e18)::bigint,
       CASE WHEN count(cost_micros) > 0 THEN least(sum(cost_micros), 9e18)::bigint END
FROM usage_days WHERE owner_id = $1 AND day = $2;

-- name: delete_usage
-- (the first day that is kept)
DELETE FROM usage_days WHERE day < $1;

-- name: insert_share
-- Changes nothing if the link exists: a write whose answer was lost is repeated.
-- (share_id, chat_id, owner_id, secret_hash)
INSERT INTO shares (share_id, chat_id, owner_id, secret_hash, created_at) VALUES ($1, $2, $3, $4, store_now_us())
ON CONFLICT (share_id) DO UPDATE SET share_id = excluded.share_id
RETURNING share_id, chat_id, owner_id, created_at;

-- name: find_share
SELECT share_id, chat_id, owner_id, created_at FROM shares WHERE secret_hash = $1;

-- name: list_shares
SELECT share_id, chat_id, owner_id, created_at FROM shares WHERE chat_id = $1 ORDER BY created_at, share_id;

-- name: delete_share
-- (chat_id, share_id)
DELETE FROM shares WHERE chat_id = $1 AND share_id = $2 RETURNING 1;
