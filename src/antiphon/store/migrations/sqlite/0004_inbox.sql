-- The inbox: notifications of owners, and the last fact of a chat that its owner has read.

CREATE TABLE notifications (
  notification_id TEXT PRIMARY KEY,
  owner_id        TEXT NOT NULL,
  chat_id         TEXT NOT NULL,
  body            BLOB NOT NULL,
  created_at      INTEGER NOT NULL,
  read_at         INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX notifications_by_owner ON notifications (owner_id, created_at DESC, notification_id DESC);
CREATE INDEX notifications_by_time ON notifications (created_at, notification_id);
CREATE INDEX notifications_by_chat ON notifications (chat_id);

CREATE TABLE read_cursors (
  chat_id TEXT PRIMARY KEY,
  seq     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
