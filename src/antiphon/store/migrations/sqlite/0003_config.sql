-- Configuration: providers, model configurations and prompts, as rows that only their service can read.

CREATE TABLE config (
  kind      TEXT NOT NULL,
  config_id TEXT NOT NULL,
  body      BLOB NOT NULL,
  PRIMARY KEY (kind, config_id)
) STRICT, WITHOUT ROWID;

-- The number of writes. One row: every writer changes it first, so writes are serialized.
CREATE TABLE config_version (version INTEGER NOT NULL) STRICT;

INSERT INTO config_version (version) VALUES (0);
