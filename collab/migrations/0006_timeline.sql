-- Deploys and the like, told by programs. What else a timeline shows stands in
-- the change log.

CREATE TABLE markers (
    id              TEXT PRIMARY KEY,
    type            TEXT NOT NULL,             -- deploy, …
    message         TEXT NOT NULL,
    url             TEXT NOT NULL,
    service         TEXT NOT NULL,             -- empty: about all
    environment     TEXT NOT NULL,             -- empty: about all
    start_at        INTEGER NOT NULL,
    end_at          INTEGER NOT NULL,          -- 0: a moment
    created_by      TEXT NOT NULL,
    created_by_name TEXT NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT;
CREATE INDEX markers_start_at_idx ON markers (start_at);
