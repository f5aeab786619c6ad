-- Sessions of the web UI: each was opened with a token, and is identified by the hash of its own secret.

CREATE TABLE sessions (
  session_id  TEXT COLLATE "C" PRIMARY KEY,
  token_id    TEXT COLLATE "C" NOT NULL REFERENCES tokens (token_id),
  secret_hash BYTEA NOT NULL UNIQUE,
  created_at  BIGINT NOT NULL,
  used_at     BIGINT NOT NULL,
  revoked_at  BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX sessions_by_token ON sessions (token_id, used_at);
CREATE INDEX sessions_by_use ON sessions (used_at);
