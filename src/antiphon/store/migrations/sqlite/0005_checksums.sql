-- The SHA-256 of contents and receipts, with which `antiphon doctor` finds a changed byte. Rows of earlier versions have
-- none.

ALTER TABLE contents ADD COLUMN checksum BLOB;
ALTER TABLE receipts ADD COLUMN checksum BLOB;
