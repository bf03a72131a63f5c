-- What is done with attributes before they are stored, by the key that they came
-- with: names, one a line, each exact or "prefix.*".

ALTER TABLE ingest_keys ADD COLUMN drop_names TEXT NOT NULL DEFAULT '';
ALTER TABLE ingest_keys ADD COLUMN hash_names TEXT NOT NULL DEFAULT '';        -- their values are replaced by hashes
