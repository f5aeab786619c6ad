-- Child chats: chats that a turn of another chat has started. They are listed by their parent, and nowhere beside the
-- owner's other chats.

ALTER TABLE chats ADD COLUMN parent_chat_id TEXT COLLATE "C";
DROP INDEX chats_by_owner;
CREATE INDEX chats_by_owner ON chats (owner_id, updated_at DESC, chat_id DESC)
  WHERE NOT is_deleted AND parent_chat_id IS NULL;
CREATE INDEX chats_by_parent ON chats (parent_chat_id, updated_at DESC, chat_id DESC)
  WHERE NOT is_deleted AND parent_chat_id IS NOT NULL;

-- append_facts_2, and in the same transaction the parent of a new child chat (null: none).
CREATE FUNCTION append_facts_3(
  a_parent_chat_id TEXT,
  a_chat_id TEXT, a_after_seq BIGINT, a_append_id TEXT, a_chat appended_chat,
  f_seq BIGINT[], f_at BIGINT[], f_kind TEXT[], f_body BYTEA[], f_status TEXT[], f_draft BIGINT[], f_more BOOLEAN[],
  f_content_seq BIGINT[], f_append_id TEXT[],
  c_seq BIGINT[], c_body BYTEA[],
  m_seq BIGINT[], m_role TEXT[], m_queued_id BIGINT[],
  h_by BIGINT[], h_from BIGINT[], a_deleted_by BIGINT,
  r_client_id TEXT[], r_body_hash BYTEA[], r_answer BYTEA[],
  l_kind TEXT, l_attempt BIGINT, l_instance_id TEXT, l_us BIGINT,
  n_id TEXT, n_body BYTEA, n_created_at BIGINT, n_kept BIGINT
) RETURNS TEXT LANGUAGE plpgsql AS $$
DECLARE
  fate TEXT;
BEGIN
  fate := append_facts_2(a_chat_id, a_after_seq, a_append_id, a_chat, f_seq, f_at, f_kind, f_body, f_status, f_draft,
    f_more, f_content_seq, f_append_id, c_seq, c_body, m_seq, m_role, m_queued_id, h_by, h_from, a_deleted_by,
    r_client_id, r_body_hash, r_answer, l_kind, l_attempt, l_instance_id, l_us, n_id, n_body, n_created_at, n_kept);
  IF fate = 'done' AND a_after_seq = 0 AND a_parent_chat_id IS NOT NULL THEN
    UPDATE chats SET parent_chat_id = a_parent_chat_id WHERE chat_id = a_chat_id;
  END IF;
  RETURN fate;
END
$$;
