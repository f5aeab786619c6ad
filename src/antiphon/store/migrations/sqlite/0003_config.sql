-- Configuration: providers, model configurations and prompts, as rows that only their service can read.

CREATE TABLE config (
  kind      TEXT NOT NULL,
  config_id TEXT NOT NULL,
  body      BLOB NOT NULL,
  PRIMARY KEY (kind, config_id)
) STRICT, WITHOUT ROWID;

-- How often it was written. One row: who writes changes it first, and so comes after whoever wrote before.
CREATE TABLE config_version (version INTEGER NOT NULL) STRICT;

INSERT INTO config_version (version) VALUES (0);
