CREATE TABLE dropped_files (
  path TEXT PRIMARY KEY              -- nobody needs it any more; it may still be there
) STRICT;
CREATE TABLE edge_runs (
  id TEXT PRIMARY KEY,
  path TEXT NOT NULL,
  level INTEGER NOT NULL,            -- how often it was merged
  links INTEGER NOT NULL,
  traces INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  min_arrived_unix_nano INTEGER NOT NULL,
  max_arrived_unix_nano INTEGER NOT NULL,
  corrupt TEXT NOT NULL DEFAULT '',
  created_unix_nano INTEGER NOT NULL
) STRICT;
CREATE TABLE epochs (
  id INTEGER PRIMARY KEY,
  identity TEXT NOT NULL,           -- of the ingest log
  applied_sequence INTEGER NOT NULL, -- every message up to it is in a segment
  created_unix_nano INTEGER NOT NULL
) STRICT;
CREATE TABLE segments (
  id TEXT PRIMARY KEY,
  epoch_id INTEGER NOT NULL REFERENCES epochs (id),
  first_sequence INTEGER NOT NULL,
  last_sequence INTEGER NOT NULL,
  path TEXT NOT NULL,
  rows INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  checksum INTEGER NOT NULL,         -- CRC-32C of the Parquet file
  min_start_unix_nano INTEGER NOT NULL,
  max_start_unix_nano INTEGER NOT NULL,
  min_arrived_unix_nano INTEGER NOT NULL,
  max_arrived_unix_nano INTEGER NOT NULL,
  level INTEGER NOT NULL,            -- how often its rows were compacted
  corrupt TEXT NOT NULL DEFAULT '',  -- why it was set aside; empty: it answers
  created_unix_nano INTEGER NOT NULL
) STRICT;
