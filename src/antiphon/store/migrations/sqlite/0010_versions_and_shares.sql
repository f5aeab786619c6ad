-- What edits and retries have replaced is listed by the truncation that hid it.
CREATE INDEX messages_hidden ON messages (chat_id, hidden_by) WHERE hidden_by <> 0;

-- Links by which anyone reads a chat. They are deleted with it.
CREATE TABLE shares (
  share_id    TEXT PRIMARY KEY,
  chat_id     TEXT NOT NULL,
  owner_id    TEXT NOT NULL,
  secret_hash BLOB NOT NULL UNIQUE,
  created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX shares_by_chat ON shares (chat_id, created_at, share_id);

-- Pinned chats are listed by the order of their pins.
CREATE INDEX chats_pinned ON chats (owner_id, json_extract(state, '$.pin_order'), chat_id)
  WHERE json_extract(state, '$.pin_order') > 0;
