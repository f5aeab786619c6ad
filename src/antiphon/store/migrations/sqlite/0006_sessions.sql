-- Sessions of the web UI: each was opened with a token, and is identified by the hash of its own secret.

CREATE TABLE sessions (
  session_id  TEXT PRIMARY KEY,
  token_id    TEXT NOT NULL REFERENCES tokens (token_id),
  secret_hash BLOB NOT NULL UNIQUE,
  created_at  INTEGER NOT NULL,
  used_at     INTEGER NOT NULL,
  revoked_at  INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_token ON sessions (token_id, used_at);
CREATE INDEX sessions_by_use ON sessions (used_at);
