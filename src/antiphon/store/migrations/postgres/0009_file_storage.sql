-- Files whose bytes are in a place apart from the database.

-- Record a file whose bytes are durable there. Its upload was recorded in `unfinished_files` before its first byte. The
-- fates are those of `complete_file`.
CREATE FUNCTION record_file(
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
  IF NOT FOUND THEN  -- its bytes are being removed
    fate := 'lost';
    RETURN;
  END IF;
  INSERT INTO files VALUES (a_file_id, a_owner_id, a_sha256, a_media_type, a_size, a_name, v_now, v_now + a_unused_us);
  fate := 'stored';
END
$$;
