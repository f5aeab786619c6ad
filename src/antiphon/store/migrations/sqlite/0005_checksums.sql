-- The SHA-256 of what a chat keeps beside its facts, so that `antiphon doctor` finds a changed byte. Rows of earlier
-- versions have none.

ALTER TABLE contents ADD COLUMN checksum BLOB;
ALTER TABLE receipts ADD COLUMN checksum BLOB;
