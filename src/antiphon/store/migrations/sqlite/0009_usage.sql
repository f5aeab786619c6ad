-- What owners have used: one row for each owner, day (since the Unix epoch, UTC) and model. Costs are in millionths of
-- the currency's unit; null: nothing of the row has a price.

CREATE TABLE usage_days (
  owner_id              TEXT NOT NULL,
  day                   INTEGER NOT NULL,
  model                 TEXT NOT NULL,
  calls                 INTEGER NOT NULL,
  turns                 INTEGER NOT NULL,
  input_tokens          INTEGER NOT NULL,
  output_tokens         INTEGER NOT NULL,
  reasoning_tokens      INTEGER NOT NULL,
  cache_creation_tokens INTEGER NOT NULL,
  cache_read_tokens     INTEGER NOT NULL,
  priced_tokens         INTEGER NOT NULL,
  cost_micros           INTEGER,
  PRIMARY KEY (owner_id, day, model)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_days_by_day ON usage_days (day);

-- What owners have sent in their last minute (since the Unix epoch), where that is limited: one row for each owner.
CREATE TABLE send_counts (
  owner_id TEXT PRIMARY KEY,
  minute   INTEGER NOT NULL,
  messages INTEGER NOT NULL,
  turns    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
