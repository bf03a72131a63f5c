-- Who took values out of a frozen copy, and when.

ALTER TABLE evidence ADD COLUMN redactions TEXT NOT NULL DEFAULT '';           -- JSON list, empty: none
