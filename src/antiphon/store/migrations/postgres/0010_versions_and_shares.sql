-- What edits and retries have replaced is listed by the truncation that hid it.
CREATE INDEX messages_hidden ON messages (chat_id, hidden_by) WHERE hidden_by <> 0;

-- Links by which anyone reads a chat. They are deleted with it.
CREATE TABLE shares (
  share_id    TEXT COLLATE "C" PRIMARY KEY,
  chat_id     TEXT COLLATE "C" NOT NULL,
  owner_id    TEXT COLLATE "C" NOT NULL,
  secret_hash BYTEA NOT NULL UNIQUE,
  created_at  BIGINT NOT NULL
);
CREATE INDEX shares_by_chat ON shares (chat_id, created_at, share_id);
CREATE FUNCTION end_shares() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM shares WHERE chat_id = NEW.chat_id;
  RETURN NULL;
END
$$;
CREATE TRIGGER chats_end_shares AFTER UPDATE ON chats
  FOR EACH ROW WHEN (NEW.is_deleted AND NOT OLD.is_deleted) EXECUTE FUNCTION end_shares();
