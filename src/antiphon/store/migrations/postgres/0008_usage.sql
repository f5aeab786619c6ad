-- What owners have used: one row for each owner, day (since the Unix epoch, UTC) and model. Costs are in millionths of
-- the currency's unit; null: nothing of the row has a price. Few rows that change often: no index on what changes, so
-- that an update stays on its page (HOT).

CREATE TABLE usage_days (
  owner_id              TEXT COLLATE "C" NOT NULL,
  day                   BIGINT NOT NULL,
  model                 TEXT COLLATE "C" NOT NULL,
  calls                 BIGINT NOT NULL,
  turns                 BIGINT NOT NULL,
  input_tokens          BIGINT NOT NULL,
  output_tokens         BIGINT NOT NULL,
  reasoning_tokens      BIGINT NOT NULL,
  cache_creation_tokens BIGINT NOT NULL,
  cache_read_tokens     BIGINT NOT NULL,
  priced_tokens         BIGINT NOT NULL,
  cost_micros           BIGINT,
  PRIMARY KEY (owner_id, day, model)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX usage_days_by_day ON usage_days (day);

-- What owners have sent in their last minute (since the Unix epoch), where that is limited: one row for each owner.
CREATE TABLE send_counts (
  owner_id TEXT COLLATE "C" PRIMARY KEY,
  minute   BIGINT NOT NULL,
  messages BIGINT NOT NULL,
  turns    BIGINT NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

-- append_facts_3, which also counts what the owner sends in a minute (s_minute 0: not limited) and says `written`
-- instead of `done` when this call has written the facts. messages_limited and turns_limited: nothing was written,
-- because the owner has reached a limit; a repeat of a written append is `done` also then. The counts are locked
-- before the chat, so that two appends of one owner cannot deadlock.
CREATE FUNCTION append_facts_4(
  a_parent_chat_id TEXT,
  a_chat_id TEXT, a_after_seq BIGINT, a_append_id TEXT, a_chat appended_chat,
  f_seq BIGINT[], f_at BIGINT[], f_kind TEXT[], f_body BYTEA[], f_status TEXT[], f_draft BIGINT[], f_more BOOLEAN[],
  f_content_seq BIGINT[], f_append_id TEXT[],
  c_seq BIGINT[], c_body BYTEA[],
  m_seq BIGINT[], m_role TEXT[], m_queued_id BIGINT[],
  h_by BIGINT[], h_from BIGINT[], a_deleted_by BIGINT,
  r_client_id TEXT[], r_body_hash BYTEA[], r_answer BYTEA[],
  l_kind TEXT, l_attempt BIGINT, l_instance_id TEXT, l_us BIGINT,
  n_id TEXT, n_body BYTEA, n_created_at BIGINT, n_kept BIGINT,
  s_minute BIGINT, s_messages BIGINT, s_turns BIGINT, s_messages_max BIGINT, s_turns_max BIGINT
) RETURNS TEXT LANGUAGE plpgsql AS $$
DECLARE
  fate TEXT;
  limited TEXT := '';
  v_messages BIGINT;
  v_turns BIGINT;
BEGIN
  IF s_minute > 0 THEN
    INSERT INTO send_counts AS s (owner_id, minute, messages, turns) VALUES (a_chat.owner_id, s_minute, 0, 0)
      ON CONFLICT (owner_id) DO UPDATE SET minute = s.minute  -- locks the row, and changes nothing
      RETURNING CASE WHEN s.minute < s_minute THEN 0 ELSE s.messages END,
                CASE WHEN s.minute < s_minute THEN 0 ELSE s.turns END INTO v_messages, v_turns;
    IF v_messages + s_messages > s_messages_max AND s_messages > 0 THEN
      limited := 'messages_limited';
    ELSIF v_turns + s_turns > s_turns_max AND s_turns > 0 THEN
      limited := 'turns_limited';
    END IF;
    IF limited <> '' AND NOT EXISTS (
      SELECT 1 FROM unnest(r_client_id) AS asked (client_id), LATERAL (
        SELECT 1 FROM receipts WHERE chat_id = a_chat_id AND client_id = asked.client_id LIMIT 1
      ) AS found
    ) AND coalesce((SELECT seq FROM chats WHERE chat_id = a_chat_id), 0) = a_after_seq THEN
      RETURN limited;
    END IF;
  END IF;
  fate := append_facts_3(a_parent_chat_id, a_chat_id, a_after_seq, a_append_id, a_chat, f_seq, f_at, f_kind, f_body, f_status, f_draft,
    f_more, f_content_seq, f_append_id, c_seq, c_body, m_seq, m_role, m_queued_id, h_by, h_from, a_deleted_by,
    r_client_id, r_body_hash, r_answer, l_kind, l_attempt, l_instance_id, l_us, n_id, n_body, n_created_at, n_kept);
  IF fate <> 'done' OR NOT EXISTS (
    SELECT 1 FROM chats WHERE chat_id = a_chat_id AND changed = pg_current_xact_id()::TEXT::BIGINT
  ) THEN
    RETURN fate;
  END IF;
  IF s_minute > 0 THEN
    UPDATE send_counts SET messages = v_messages + s_messages, turns = v_turns + s_turns,
        minute = greatest(minute, s_minute)
      WHERE owner_id = a_chat.owner_id;
  END IF;
  RETURN 'written';
END
$$;
