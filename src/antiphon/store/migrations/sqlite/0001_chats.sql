-- Chats, their facts, contents once, receipts, leases, flushed drafts, owners and tokens.

CREATE TABLE owners (
  owner_id   TEXT PRIMARY KEY,
  name       TEXT NOT NULL UNIQUE,
  is_admin   INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE tokens (
  token_id    TEXT PRIMARY KEY,
  owner_id    TEXT NOT NULL REFERENCES owners (owner_id),
  secret_hash BLOB NOT NULL UNIQUE,
  created_at  INTEGER NOT NULL,
  revoked_at  INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One row for each chat: its state (the fold of its facts) and the columns that listings and claims use.
-- changed grows with every append of any chat: a poll reads the rows above its mark.
CREATE TABLE chats (
  chat_id      TEXT PRIMARY KEY,
  owner_id     TEXT NOT NULL,
  seq          INTEGER NOT NULL,
  fold_version INTEGER NOT NULL,
  state        BLOB NOT NULL,
  title        TEXT NOT NULL,
  labels       TEXT NOT NULL,
  is_archived  INTEGER NOT NULL,
  is_deleted   INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL,
  draft        INTEGER NOT NULL,
  claim_at     INTEGER,
  due_at       INTEGER,
  changed      INTEGER NOT NULL
) STRICT;
CREATE INDEX chats_by_owner ON chats (owner_id, updated_at DESC, chat_id DESC) WHERE is_deleted = 0;
CREATE INDEX chats_to_claim ON chats (claim_at) WHERE claim_at IS NOT NULL;
CREATE INDEX chats_due ON chats (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX chats_changed ON chats (changed);

-- Append-only. status and draft are those after the fact; only the first fact of an append has its append_id.
CREATE TABLE facts (
  chat_id     TEXT NOT NULL,
  seq         INTEGER NOT NULL,
  at          INTEGER NOT NULL,
  body        BLOB NOT NULL,
  status      TEXT NOT NULL,
  draft       INTEGER NOT NULL,
  more        INTEGER NOT NULL,
  content_seq INTEGER NOT NULL,
  append_id   TEXT,
  PRIMARY KEY (chat_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE contents (
  chat_id TEXT NOT NULL,
  seq     INTEGER NOT NULL,
  body    BLOB NOT NULL,
  PRIMARY KEY (chat_id, seq)
) STRICT;

-- The history: which facts are messages, which were queued before, and which a truncation has hidden.
CREATE TABLE messages (
  chat_id   TEXT NOT NULL,
  seq       INTEGER NOT NULL,
  role      TEXT NOT NULL,
  queued_id INTEGER NOT NULL,
  hidden_by INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (chat_id, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX messages_queued ON messages (chat_id, queued_id) WHERE queued_id <> 0;

CREATE TABLE receipts (
  chat_id   TEXT NOT NULL,
  client_id TEXT NOT NULL,
  body_hash BLOB NOT NULL,
  answer    BLOB NOT NULL,
  PRIMARY KEY (chat_id, client_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (
  chat_id     TEXT PRIMARY KEY,
  attempt     INTEGER NOT NULL,
  instance_id TEXT NOT NULL,
  ends_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX leases_by_end ON leases (ends_at);

CREATE TABLE flushed (
  chat_id       TEXT NOT NULL,
  draft         INTEGER NOT NULL,
  from_position INTEGER NOT NULL,
  to_position   INTEGER NOT NULL,
  body          BLOB NOT NULL,
  PRIMARY KEY (chat_id, draft, from_position)
) STRICT;
