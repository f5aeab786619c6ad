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

-- Pinned chats are listed by the order of their pins, which is in their state. It is read as text: PostgreSQL's JSON has no
-- character NUL, which a prompt may have. A quote inside a text has a backslash before it, so the pattern finds keys only;
-- a key of that name in a client's tool may be found too, and readers compare with the state. The function is immutable
-- for one encoding, which the server checks.
CREATE FUNCTION pin_of(a_state BYTEA) RETURNS INTEGER LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT substring(convert_from(a_state, 'UTF8') FROM '[{,]"pin_order":([0-9]{1,9})[,}]')::integer
$$;
CREATE INDEX chats_pinned ON chats (owner_id, pin_of(state), chat_id) WHERE pin_of(state) > 0;
