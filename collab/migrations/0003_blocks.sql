-- Hypotheses, tasks, comparisons and pictures on boards.

ALTER TABLE blocks ADD COLUMN state TEXT NOT NULL DEFAULT '';         -- of a hypothesis
ALTER TABLE blocks ADD COLUMN cited TEXT NOT NULL DEFAULT '';         -- by a hypothesis, JSON: block → for, against
ALTER TABLE blocks ADD COLUMN done INTEGER NOT NULL DEFAULT 0;        -- of a task
ALTER TABLE blocks ADD COLUMN assignee TEXT NOT NULL DEFAULT '';      -- of a task, a user's id
ALTER TABLE blocks ADD COLUMN sides TEXT NOT NULL DEFAULT '';         -- of a comparison, JSON list

-- Pictures on boards, as they were sent.
CREATE TABLE pictures (
    block_id TEXT PRIMARY KEY REFERENCES blocks (id),
    sha256   TEXT NOT NULL,
    type     TEXT NOT NULL,                    -- image/png, image/jpeg, image/webp
    width    INTEGER NOT NULL,                 -- pixels
    height   INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    body     BLOB NOT NULL
) STRICT;
