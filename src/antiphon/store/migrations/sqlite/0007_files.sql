-- Files that owners upload. Their bytes are in the folder `files` beside the database, each under its file_id.
-- expires_at is null once a chat names the file; it is set again when its last chat is deleted or when the same bytes
-- are uploaded again.

CREATE TABLE files (
  file_id    TEXT PRIMARY KEY,
  owner_id   TEXT NOT NULL,
  sha256     TEXT NOT NULL,
  media_type TEXT NOT NULL,
  size       INTEGER NOT NULL,
  name       TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX files_by_content ON files (owner_id, sha256, media_type);
CREATE INDEX files_by_expiry ON files (expires_at) WHERE expires_at IS NOT NULL;

-- Which chats name which files. The row of a chat may be written after its uses.
CREATE TABLE file_uses (
  chat_id TEXT NOT NULL,
  file_id TEXT NOT NULL REFERENCES files (file_id),
  used_at INTEGER NOT NULL,
  PRIMARY KEY (chat_id, file_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX file_uses_by_file ON file_uses (file_id);
CREATE INDEX file_uses_by_time ON file_uses (used_at);
