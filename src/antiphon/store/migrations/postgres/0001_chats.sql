-- Chats, their facts, contents once, receipts, leases, flushed drafts, owners and tokens, settings, and the instances
-- that write them. Times are microseconds of the database's clock. Everything is in the first schema of the search
-- path. Names are compared byte by byte (COLLATE "C"), as in every store.

CREATE TABLE owners (
  owner_id   TEXT COLLATE "C" PRIMARY KEY,
  name       TEXT COLLATE "C" NOT NULL UNIQUE,
  is_admin   BOOLEAN NOT NULL DEFAULT FALSE,
  created_at BIGINT NOT NULL
);

CREATE TABLE tokens (
  token_id    TEXT COLLATE "C" PRIMARY KEY,
  owner_id    TEXT COLLATE "C" NOT NULL REFERENCES owners (owner_id),
  secret_hash BYTEA NOT NULL UNIQUE,
  created_at  BIGINT NOT NULL,
  revoked_at  BIGINT NOT NULL DEFAULT 0
);

-- One row for each chat: its state (the fold of its facts) and the columns that listings and claims use.
-- changed is the transaction that wrote it last. A poll reads the rows from the oldest transaction that was open.
CREATE TABLE chats (
  chat_id      TEXT COLLATE "C" PRIMARY KEY,
  owner_id     TEXT COLLATE "C" NOT NULL,
  seq          BIGINT NOT NULL,
  fold_version INTEGER NOT NULL,
  state        BYTEA NOT NULL,
  status       TEXT NOT NULL,
  title        TEXT COLLATE "C" NOT NULL,
  labels       JSONB NOT NULL,
  is_archived  BOOLEAN NOT NULL,
  is_deleted   BOOLEAN NOT NULL,
  updated_at   BIGINT NOT NULL,
  draft        BIGINT NOT NULL,
  claim_at     BIGINT,
  due_at       BIGINT,
  changed      BIGINT NOT NULL
);
CREATE INDEX chats_by_owner ON chats (owner_id, updated_at DESC, chat_id DESC) WHERE NOT is_deleted;
CREATE INDEX chats_to_claim ON chats (claim_at) WHERE claim_at IS NOT NULL;
CREATE INDEX chats_due ON chats (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX chats_changed ON chats (changed);

-- Append-only. status and draft are those after the fact; only the first fact of an append has its append_id.
CREATE TABLE facts (
  chat_id     TEXT COLLATE "C" NOT NULL,
  seq         BIGINT NOT NULL,
  at          BIGINT NOT NULL,
  kind        TEXT NOT NULL,
  body        BYTEA NOT NULL,
  status      TEXT NOT NULL,
  draft       BIGINT NOT NULL,
  more        BOOLEAN NOT NULL,
  content_seq BIGINT NOT NULL,
  append_id   TEXT,
  PRIMARY KEY (chat_id, seq)
);

CREATE TABLE contents (
  chat_id TEXT COLLATE "C" NOT NULL,
  seq     BIGINT NOT NULL,
  body    BYTEA NOT NULL,
  PRIMARY KEY (chat_id, seq)
);

-- The history: which facts are messages, which were queued before, and which a truncation has hidden.
CREATE TABLE messages (
  chat_id   TEXT COLLATE "C" NOT NULL,
  seq       BIGINT NOT NULL,
  role      TEXT NOT NULL,
  queued_id BIGINT NOT NULL,
  hidden_by BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (chat_id, seq)
);
CREATE INDEX messages_queued ON messages (chat_id, queued_id) WHERE queued_id <> 0;

CREATE TABLE receipts (
  chat_id   TEXT COLLATE "C" NOT NULL,
  client_id TEXT COLLATE "C" NOT NULL,
  body_hash BYTEA NOT NULL,
  answer    BYTEA NOT NULL,
  PRIMARY KEY (chat_id, client_id)
);

-- Few rows that change every two seconds: no index on ends_at, so that a renewal stays on its page (HOT).
CREATE TABLE leases (
  chat_id     TEXT COLLATE "C" PRIMARY KEY,
  attempt     BIGINT NOT NULL,
  instance_id TEXT COLLATE "C" NOT NULL,
  ends_at     BIGINT NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

CREATE TABLE flushed (
  chat_id       TEXT COLLATE "C" NOT NULL,
  draft         BIGINT NOT NULL,
  from_position BIGINT NOT NULL,
  to_position   BIGINT NOT NULL,
  body          BYTEA NOT NULL,
  PRIMARY KEY (chat_id, draft, from_position)
) WITH (autovacuum_vacuum_scale_factor = 0.02);

CREATE TABLE settings (
  name  TEXT COLLATE "C" PRIMARY KEY,
  value TEXT NOT NULL
);

-- One row, written to check that writes work.
CREATE TABLE probe (
  id INTEGER PRIMARY KEY,
  at BIGINT NOT NULL
);

-- The instances on this database. The session of an instance holds the advisory lock (this table's oid, lock_key).
CREATE SEQUENCE instance_lock_keys AS INTEGER CYCLE;
CREATE TABLE instances (
  instance_id    TEXT COLLATE "C" PRIMARY KEY,
  lock_key       INTEGER NOT NULL,
  host           TEXT NOT NULL,
  pid            BIGINT NOT NULL,
  version        TEXT NOT NULL,
  http_url       TEXT NOT NULL,
  relay_endpoint TEXT NOT NULL,
  relay_key      TEXT NOT NULL,
  started_at     BIGINT NOT NULL,
  seen_at        BIGINT NOT NULL,
  running        BIGINT NOT NULL,
  capacity       BIGINT NOT NULL,
  is_draining    BOOLEAN NOT NULL
) WITH (fillfactor = 50);

-- The store's clock. Use it as (SELECT store_now_us()): it is then called once for a statement, and an index can be used.
CREATE FUNCTION store_now_us() RETURNS BIGINT LANGUAGE sql VOLATILE AS $$
  SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT
$$;

-- How long the server has been up.
CREATE FUNCTION store_uptime_us() RETURNS BIGINT LANGUAGE sql VOLATILE AS $$
  SELECT (extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) * 1000000)::BIGINT
$$;

-- Whether leases can expire: after a restart their holders get time to renew.
CREATE FUNCTION leases_may_end() RETURNS BOOLEAN LANGUAGE sql VOLATILE AS $$
  SELECT store_uptime_us() >= 5000000
$$;

-- A chat as it is after an append.
CREATE TYPE appended_chat AS (
  owner_id TEXT, seq BIGINT, fold_version INTEGER, state BYTEA, status TEXT, title TEXT, labels JSONB,
  is_archived BOOLEAN, is_deleted BOOLEAN, updated_at BIGINT, draft BIGINT, claim_at BIGINT, due_at BIGINT
);

-- One append, all or nothing. A new version of it gets a new name: instances of two releases run side by side.
-- The row of the chat is locked first, and every later statement sees what was committed before (READ COMMITTED).
CREATE FUNCTION append_facts_1(
  a_chat_id TEXT, a_after_seq BIGINT, a_append_id TEXT, a_chat appended_chat,
  f_seq BIGINT[], f_at BIGINT[], f_kind TEXT[], f_body BYTEA[], f_status TEXT[], f_draft BIGINT[], f_more BOOLEAN[],
  f_content_seq BIGINT[], f_append_id TEXT[],
  c_seq BIGINT[], c_body BYTEA[],
  m_seq BIGINT[], m_role TEXT[], m_queued_id BIGINT[],
  h_by BIGINT[], h_from BIGINT[], a_deleted_by BIGINT,
  r_client_id TEXT[], r_body_hash BYTEA[], r_answer BYTEA[],
  l_kind TEXT, l_attempt BIGINT, l_instance_id TEXT, l_us BIGINT
) RETURNS TEXT LANGUAGE plpgsql AS $$
DECLARE
  found_seq BIGINT;
  found_version INTEGER;
  lease_ends_at BIGINT;
BEGIN
  SELECT seq, fold_version INTO found_seq, found_version FROM chats WHERE chat_id = a_chat_id FOR UPDATE;
  IF coalesce(found_seq, 0) <> a_after_seq THEN
    RETURN append_fate(a_chat_id, a_after_seq, a_append_id, a_chat.seq);
  END IF;
  IF found_version > a_chat.fold_version THEN
    RETURN 'newer';
  END IF;
  IF EXISTS (
    SELECT 1 FROM unnest(r_client_id) AS asked (client_id), LATERAL (  -- one by one: = ANY reads all receipts of a chat
      SELECT 1 FROM receipts WHERE chat_id = a_chat_id AND client_id = asked.client_id LIMIT 1
    ) AS found
  ) THEN
    RETURN 'answered';
  END IF;
  IF l_kind = 'ended' THEN
    SELECT ends_at INTO lease_ends_at FROM leases WHERE chat_id = a_chat_id AND attempt = l_attempt FOR UPDATE;
    IF FOUND AND (lease_ends_at > store_now_us() OR NOT leases_may_end()) THEN
      RETURN 'lease_live';
    END IF;
  END IF;

  IF found_seq IS NULL THEN
    INSERT INTO chats SELECT a_chat_id, a_chat.owner_id, a_chat.seq, a_chat.fold_version, a_chat.state, a_chat.status,
        a_chat.title, a_chat.labels, a_chat.is_archived, a_chat.is_deleted, a_chat.updated_at, a_chat.draft,
        a_chat.claim_at, a_chat.due_at, pg_current_xact_id()::TEXT::BIGINT
      ON CONFLICT (chat_id) DO NOTHING;
    IF NOT FOUND THEN
      RETURN append_fate(a_chat_id, a_after_seq, a_append_id, a_chat.seq);
    END IF;
  ELSE
    UPDATE chats SET owner_id = a_chat.owner_id, seq = a_chat.seq, fold_version = a_chat.fold_version,
        state = a_chat.state, status = a_chat.status, title = a_chat.title, labels = a_chat.labels,
        is_archived = a_chat.is_archived, is_deleted = a_chat.is_deleted, updated_at = a_chat.updated_at,
        draft = a_chat.draft, claim_at = a_chat.claim_at, due_at = a_chat.due_at,
        changed = pg_current_xact_id()::TEXT::BIGINT
      WHERE chat_id = a_chat_id;
    IF a_chat.draft > a_after_seq THEN  -- else the open draft remains open
      DELETE FROM flushed WHERE chat_id = a_chat_id AND draft <> a_chat.draft;
    END IF;
  END IF;

  INSERT INTO facts SELECT a_chat_id, f.* FROM unnest(f_seq, f_at, f_kind, f_body, f_status, f_draft, f_more,
      f_content_seq, f_append_id) AS f;
  IF cardinality(c_seq) > 0 THEN
    INSERT INTO contents SELECT a_chat_id, c.* FROM unnest(c_seq, c_body) AS c;
  END IF;
  IF cardinality(m_seq) > 0 THEN
    INSERT INTO messages SELECT a_chat_id, m.* FROM unnest(m_seq, m_role, m_queued_id) AS m;
  END IF;
  FOR i IN 1 .. cardinality(h_by) LOOP  -- messages hidden by an earlier truncation keep their mark
    UPDATE messages SET hidden_by = h_by[i]
      WHERE chat_id = a_chat_id AND seq >= h_from[i] AND seq < h_by[i] AND hidden_by = 0;
  END LOOP;
  IF cardinality(r_client_id) > 0 THEN
    INSERT INTO receipts SELECT a_chat_id, r.* FROM unnest(r_client_id, r_body_hash, r_answer) AS r;
  END IF;
  IF a_deleted_by > 0 THEN  -- a deleted chat keeps its last fact only
    DELETE FROM facts WHERE chat_id = a_chat_id AND seq < a_deleted_by;
    DELETE FROM contents WHERE chat_id = a_chat_id;
    DELETE FROM messages WHERE chat_id = a_chat_id;
    DELETE FROM flushed WHERE chat_id = a_chat_id;
  END IF;

  IF l_kind = 'grant' THEN
    INSERT INTO leases VALUES (a_chat_id, l_attempt, l_instance_id, store_now_us() + l_us)
      ON CONFLICT (chat_id) DO UPDATE SET attempt = excluded.attempt, instance_id = excluded.instance_id,
                                          ends_at = excluded.ends_at;
  ELSIF l_kind <> '' THEN
    DELETE FROM leases WHERE chat_id = a_chat_id;
  END IF;
  RETURN 'done';
END
$$;

-- Whether this same append is stored after its after_seq (its answer was lost, and it must not be written twice): done,
-- else conflict. An append's first fact has its id, and so has a deletion.
CREATE FUNCTION append_fate(a_chat_id TEXT, a_after_seq BIGINT, a_append_id TEXT, a_seq BIGINT)
RETURNS TEXT LANGUAGE sql VOLATILE AS $$
  SELECT CASE WHEN EXISTS (
    SELECT 1 FROM unnest(ARRAY[a_after_seq + 1, a_seq]) AS asked (seq), LATERAL (
      SELECT append_id FROM facts WHERE chat_id = a_chat_id AND seq = asked.seq LIMIT 1
    ) AS found WHERE found.append_id = a_append_id
  ) THEN 'done' ELSE 'conflict' END
$$;
