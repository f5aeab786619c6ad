-- Configuration: providers, model configurations and prompts, as rows that only their service can read.

CREATE TABLE config (
  kind      TEXT NOT NULL,
  config_id TEXT NOT NULL,
  body      BYTEA NOT NULL,
  PRIMARY KEY (kind, config_id)
);

-- The number of writes. One row: every writer changes it first, so writes are serialized.
CREATE TABLE config_version (version BIGINT NOT NULL);

INSERT INTO config_version (version) VALUES (0);

-- Write all rows or none (rows without a body are deleted), and return the new version. If `a_after` is given and is not
-- the current version, nothing is written and the result is null.
CREATE FUNCTION write_config(a_kinds TEXT[], a_ids TEXT[], a_bodies BYTEA[], a_after BIGINT)
RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
  v_version BIGINT;
BEGIN
  UPDATE config_version SET version = version + 1 WHERE a_after IS NULL OR version = a_after
    RETURNING version INTO v_version;
  IF v_version IS NULL THEN
    RETURN NULL;
  END IF;
  DELETE FROM config USING unnest(a_kinds, a_ids) AS r (kind, config_id)
    WHERE config.kind = r.kind AND config.config_id = r.config_id;
  INSERT INTO config SELECT r.kind, r.config_id, r.body FROM unnest(a_kinds, a_ids, a_bodies) AS r (kind, config_id, body)
    WHERE r.body IS NOT NULL;
  RETURN v_version;
END
$$;
