-- The inbox: notifications of owners, and the last fact of a chat that its owner has read.

CREATE TABLE notifications (
  notification_id TEXT COLLATE "C" PRIMARY KEY,
  owner_id        TEXT COLLATE "C" NOT NULL,
  chat_id         TEXT COLLATE "C" NOT NULL,
  body            BYTEA NOT NULL,
  created_at      BIGINT NOT NULL,
  read_at         BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX notifications_by_owner ON notifications (owner_id, created_at DESC, notification_id DESC);
CREATE INDEX notifications_by_time ON notifications (created_at, notification_id);
CREATE INDEX notifications_by_chat ON notifications (chat_id);

CREATE TABLE read_cursors (
  chat_id TEXT COLLATE "C" PRIMARY KEY,
  seq     BIGINT NOT NULL
);

-- append_facts_1, and in the same transaction its notification (n_id empty: none). Notifications of a deleted chat are
-- deleted, and those of an owner beyond the newest `n_kept`.
CREATE FUNCTION append_facts_2(
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
  fate := append_facts_1(a_chat_id, a_after_seq, a_append_id, a_chat, f_seq, f_at, f_kind, f_body, f_status, f_draft,
    f_more, f_content_seq, f_append_id, c_seq, c_body, m_seq, m_role, m_queued_id, h_by, h_from, a_deleted_by,
    r_client_id, r_body_hash, r_answer, l_kind, l_attempt, l_instance_id, l_us);
  IF fate = 'done' AND n_id <> '' THEN
    INSERT INTO notifications (notification_id, owner_id, chat_id, body, created_at)
      VALUES (n_id, a_chat.owner_id, a_chat_id, n_body, n_created_at) ON CONFLICT DO NOTHING;
    DELETE FROM notifications WHERE notification_id IN (
      SELECT notification_id FROM notifications WHERE owner_id = a_chat.owner_id
      ORDER BY created_at DESC, notification_id DESC OFFSET n_kept
    );
  END IF;
  IF fate = 'done' AND a_deleted_by > 0 THEN
    DELETE FROM notifications WHERE chat_id = a_chat_id;
    DELETE FROM read_cursors WHERE chat_id = a_chat_id;
  END IF;
  RETURN fate;
END
$$;
