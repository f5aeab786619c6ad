-- The SHA-256 of contents and receipts, with which `antiphon doctor` finds a changed byte. Rows of earlier versions have
-- none. A trigger computes them, because instances of an earlier version may write the same tables.

ALTER TABLE contents ADD COLUMN checksum BYTEA;
ALTER TABLE receipts ADD COLUMN checksum BYTEA;

CREATE FUNCTION set_content_checksum() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  NEW.checksum := sha256(NEW.body);
  RETURN NEW;
END
$$;
CREATE TRIGGER contents_checksum BEFORE INSERT ON contents
  FOR EACH ROW WHEN (NEW.checksum IS NULL) EXECUTE FUNCTION set_content_checksum();

CREATE FUNCTION set_receipt_checksum() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  NEW.checksum := sha256(NEW.body_hash || NEW.answer);
  RETURN NEW;
END
$$;
CREATE TRIGGER receipts_checksum BEFORE INSERT ON receipts
  FOR EACH ROW WHEN (NEW.checksum IS NULL) EXECUTE FUNCTION set_receipt_checksum();
