-- Files that owners upload. expires_at is null once a chat names the file; it is set again when its last chat is deleted
-- or when the same bytes are uploaded again.

CREATE TABLE files (
  file_id    TEXT COLLATE "C" PRIMARY KEY,
  owner_id   TEXT COLLATE "C" NOT NULL,
  sha256     TEXT COLLATE "C" NOT NULL,
  media_type TEXT COLLATE "C" NOT NULL,
  size       BIGINT NOT NULL,
  name       TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT
);
CREATE UNIQUE INDEX files_by_content ON files (owner_id, sha256, media_type);
CREATE INDEX files_by_expiry ON files (expires_at) WHERE expires_at IS NOT NULL;

-- Which chats name which files. The row of a chat may be written after its uses.
CREATE TABLE file_uses (
  chat_id TEXT COLLATE "C" NOT NULL,
  file_id TEXT COLLATE "C" NOT NULL REFERENCES files (file_id),
  used_at BIGINT NOT NULL,
  PRIMARY KEY (chat_id, file_id)
);
CREATE INDEX file_uses_by_file ON file_uses (file_id);
CREATE INDEX file_uses_by_time ON file_uses (used_at);

-- The bytes of a file in pieces of 256 KiB, numbered from 0. They are stored outside of the row and are not compressed,
-- so that a part of a piece is read without the rest.
CREATE TABLE file_chunks (
  file_id TEXT COLLATE "C" NOT NULL,
  number  BIGINT NOT NULL,
  body    BYTEA NOT NULL,
  PRIMARY KEY (file_id, number)
);
ALTER TABLE file_chunks ALTER COLUMN body SET STORAGE EXTERNAL;

-- Uploads and removals in progress: their chunks belong to no file. One that was not written for a long time was ended by
-- a crash. written_at is 0 once the chunks are being removed; then the upload cannot be completed any more.
CREATE TABLE unfinished_files (
  file_id    TEXT COLLATE "C" PRIMARY KEY,
  written_at BIGINT NOT NULL
);
CREATE INDEX unfinished_files_by_time ON unfinished_files (written_at);

-- Complete an upload: stored; or equal (the owner has one with the same bytes, which is renewed), many_files, many_bytes,
-- or lost (its bytes are not complete). file_id is that of the file. The lock serializes an owner's uploads, so that two
-- of them do not exceed the quota. A repeat finds its own row.
CREATE FUNCTION complete_file(
  a_file_id TEXT, a_owner_id TEXT, a_sha256 TEXT, a_media_type TEXT, a_size BIGINT, a_name TEXT, a_unused_us BIGINT,
  a_files_max BIGINT, a_bytes_max BIGINT, OUT fate TEXT, OUT file_id TEXT
) LANGUAGE plpgsql AS $$
DECLARE
  v_now BIGINT := store_now_us();
  v_count BIGINT;
  v_size BIGINT;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('antiphon files of ' || a_owner_id, 0));
  UPDATE files f SET expires_at = greatest(f.expires_at, v_now + a_unused_us)
    WHERE f.owner_id = a_owner_id AND f.sha256 = a_sha256 AND f.media_type = a_media_type
    RETURNING f.file_id INTO file_id;
  IF FOUND THEN
    fate := CASE file_id WHEN a_file_id THEN 'stored' ELSE 'equal' END;
    RETURN;
  END IF;
  file_id := a_file_id;
  SELECT coalesce(sum(octet_length(c.body)), 0) INTO v_size FROM file_chunks c WHERE c.file_id = a_file_id;
  IF v_size <> a_size THEN
    fate := 'lost';
    RETURN;
  END IF;
  SELECT count(*), coalesce(sum(f.size), 0) INTO v_count, v_size FROM files f WHERE f.owner_id = a_owner_id;
  IF v_count + 1 > a_files_max THEN
    fate := 'many_files';
    RETURN;
  END IF;
  IF v_size + a_size > a_bytes_max THEN
    fate := 'many_bytes';
    RETURN;
  END IF;
  DELETE FROM unfinished_files u WHERE u.file_id = a_file_id AND u.written_at > 0;
  IF NOT FOUND THEN  -- its chunks are being removed
    fate := 'lost';
    RETURN;
  END IF;
  INSERT INTO files VALUES (a_file_id, a_owner_id, a_sha256, a_media_type, a_size, a_name, v_now, v_now + a_unused_us);
  fate := 'stored';
END
$$;

-- Record that a chat names files, all or none. Returns the ids that are not files of the owner. The chat's row is locked
-- first, as by an append, so that a deletion comes before or after this. A deleted chat uses no file.
CREATE FUNCTION use_files(a_owner_id TEXT, a_chat_id TEXT, a_file_ids TEXT[]) RETURNS SETOF TEXT LANGUAGE plpgsql AS $$
DECLARE
  v_is_deleted BOOLEAN;
  v_missing TEXT[];
BEGIN
  SELECT is_deleted INTO v_is_deleted FROM chats WHERE chat_id = a_chat_id FOR KEY SHARE;
  PERFORM 1 FROM files WHERE file_id = ANY (a_file_ids) AND owner_id = a_owner_id ORDER BY file_id FOR UPDATE;
  v_missing := ARRAY(
    SELECT asked.id FROM unnest(a_file_ids) AS asked (id) WHERE NOT EXISTS (
      SELECT 1 FROM files WHERE file_id = asked.id AND owner_id = a_owner_id
    )
  );
  IF cardinality(v_missing) > 0 OR coalesce(v_is_deleted, FALSE) THEN
    RETURN QUERY SELECT unnest(v_missing);
    RETURN;
  END IF;
  INSERT INTO file_uses SELECT DISTINCT a_chat_id, asked.id, store_now_us() FROM unnest(a_file_ids) AS asked (id)
    ON CONFLICT (chat_id, file_id) DO UPDATE SET used_at = excluded.used_at;
  UPDATE files SET expires_at = NULL WHERE file_id = ANY (a_file_ids);
END
$$;

-- Files that no chat names any more expire now, unless they were uploaded again.
CREATE FUNCTION release_files(a_file_ids TEXT[]) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM files WHERE file_id = ANY (a_file_ids) ORDER BY file_id FOR UPDATE;
  UPDATE files SET expires_at = store_now_us()
    WHERE file_id = ANY (a_file_ids) AND expires_at IS NULL
      AND NOT EXISTS (SELECT 1 FROM file_uses u WHERE u.file_id = files.file_id);
END
$$;

-- The deletion of a chat ends its uses of files. A trigger does it, because instances of an earlier version may delete
-- chats of the same tables. The files are locked first: of two chats that are deleted at once, the second one sees that
-- the first one uses the file no longer.
CREATE FUNCTION end_file_uses() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
  v_file_ids TEXT[];
BEGIN
  v_file_ids := ARRAY(SELECT file_id FROM file_uses WHERE chat_id = NEW.chat_id ORDER BY file_id);
  IF cardinality(v_file_ids) > 0 THEN
    PERFORM 1 FROM files WHERE file_id = ANY (v_file_ids) ORDER BY file_id FOR UPDATE;
    DELETE FROM file_uses WHERE chat_id = NEW.chat_id;
    PERFORM release_files(v_file_ids);
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER chats_end_file_uses AFTER UPDATE ON chats
  FOR EACH ROW WHEN (NEW.is_deleted AND NOT OLD.is_deleted) EXECUTE FUNCTION end_file_uses();

-- End the uses that were recorded between two times ago (in microseconds) and have no chat.
CREATE FUNCTION end_stale_file_uses(a_oldest_us BIGINT, a_newest_us BIGINT) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
  v_now BIGINT := store_now_us();
  v_stale TEXT[];
BEGIN
  WITH ended AS (
    DELETE FROM file_uses u WHERE u.used_at >= v_now - a_oldest_us AND u.used_at < v_now - a_newest_us
      AND NOT EXISTS (SELECT 1 FROM chats c WHERE c.chat_id = u.chat_id AND NOT c.is_deleted)
    RETURNING u.file_id
  )
  SELECT array_agg(DISTINCT file_id) INTO v_stale FROM ended;
  IF v_stale IS NOT NULL THEN
    PERFORM release_files(v_stale);
  END IF;
END
$$;

-- Delete the rows of expired files, and return their ids: their chunks are to be removed.
CREATE FUNCTION delete_expired_files(a_limit BIGINT) RETURNS SETOF TEXT LANGUAGE plpgsql AS $$
DECLARE
  v_now BIGINT := store_now_us();
  v_file_id TEXT;
BEGIN
  FOR v_file_id IN
    SELECT file_id FROM files WHERE expires_at <= v_now ORDER BY expires_at LIMIT a_limit FOR UPDATE SKIP LOCKED
  LOOP
    IF EXISTS (SELECT 1 FROM file_uses WHERE file_id = v_file_id) THEN
      UPDATE files SET expires_at = NULL WHERE file_id = v_file_id;
    ELSE
      DELETE FROM files WHERE file_id = v_file_id;
      INSERT INTO unfinished_files (file_id, written_at) VALUES (v_file_id, v_now);
      RETURN NEXT v_file_id;
    END IF;
  END LOOP;
END
$$;
