-- The inbox: one line for what is about one thing, put off and brought back.

ALTER TABLE inbox_items ADD COLUMN cause TEXT NOT NULL DEFAULT '';            -- the change that it came from last
ALTER TABLE inbox_items ADD COLUMN line TEXT NOT NULL DEFAULT '';             -- what it is about: what else happens to that joins it
ALTER TABLE inbox_items ADD COLUMN count INTEGER NOT NULL DEFAULT 1;          -- changes that the line stands for
ALTER TABLE inbox_items ADD COLUMN told_at INTEGER NOT NULL DEFAULT 0;        -- when it last came up: made, joined by another, woken
ALTER TABLE inbox_items ADD COLUMN snoozed_until INTEGER NOT NULL DEFAULT 0;  -- 0: not put off
ALTER TABLE inbox_items ADD COLUMN moved_at INTEGER NOT NULL DEFAULT 0;       -- when it was last put away or off; the same for all of one go
ALTER TABLE inbox_items ADD COLUMN notify INTEGER NOT NULL DEFAULT 0;         -- whether the browser says so too
UPDATE inbox_items SET told_at = created_at, cause = id, line = object_id;

DROP INDEX inbox_items_user_id_created_at_idx;
CREATE INDEX inbox_items_user_id_told_at_idx ON inbox_items (user_id, told_at);
CREATE INDEX inbox_items_user_id_cause_idx ON inbox_items (user_id, cause);
CREATE INDEX inbox_items_snoozed_until_idx ON inbox_items (snoozed_until) WHERE snoozed_until > 0;

-- What a person wants to be told, and how, where that differs from the usual.
CREATE TABLE inbox_rules (
    user_id TEXT NOT NULL REFERENCES users (id),
    reason  TEXT NOT NULL,
    way     TEXT NOT NULL,                     -- off, inbox, notify
    PRIMARY KEY (user_id, reason)
) STRICT, WITHOUT ROWID;

-- Investigations of which a person hears only what is meant for them.
CREATE TABLE inbox_mutes (
    user_id          TEXT NOT NULL REFERENCES users (id),
    investigation_id TEXT NOT NULL REFERENCES investigations (id),
    since            INTEGER NOT NULL,
    PRIMARY KEY (user_id, investigation_id)
) STRICT, WITHOUT ROWID;
