-- Child chats: chats that a turn of another chat has started. They are listed by their parent, and nowhere beside the
-- owner's other chats.

ALTER TABLE chats ADD COLUMN parent_chat_id TEXT;
DROP INDEX chats_by_owner;
CREATE INDEX chats_by_owner ON chats (owner_id, updated_at DESC, chat_id DESC)
  WHERE is_deleted = 0 AND parent_chat_id IS NULL;
CREATE INDEX chats_by_parent ON chats (parent_chat_id, updated_at DESC, chat_id DESC)
  WHERE is_deleted = 0 AND parent_chat_id IS NOT NULL;
