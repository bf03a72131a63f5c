-- What people make of annotations: replies, reactions, edits, an end.

ALTER TABLE annotations ADD COLUMN parent_id TEXT NOT NULL DEFAULT '';        -- of a reply
ALTER TABLE annotations ADD COLUMN resolved_at INTEGER NOT NULL DEFAULT 0;    -- 0: open
ALTER TABLE annotations ADD COLUMN resolved_by TEXT NOT NULL DEFAULT '';
ALTER TABLE annotations ADD COLUMN resolved_by_name TEXT NOT NULL DEFAULT '';
CREATE INDEX annotations_parent_id_idx ON annotations (parent_id) WHERE parent_id <> '';

-- Every text that an annotation had, the first with version 1.
CREATE TABLE annotation_versions (
    annotation_id TEXT NOT NULL REFERENCES annotations (id),
    version       INTEGER NOT NULL,
    text          TEXT NOT NULL,
    actor_id      TEXT NOT NULL,
    actor_name    TEXT NOT NULL,
    at            INTEGER NOT NULL,
    PRIMARY KEY (annotation_id, version)
) STRICT, WITHOUT ROWID;
INSERT INTO annotation_versions SELECT id, 1, text, created_by, created_by_name, updated_at FROM annotations WHERE deleted_at = 0;

CREATE TABLE annotation_reactions (
    annotation_id TEXT NOT NULL REFERENCES annotations (id),
    reaction      TEXT NOT NULL,
    actor_id      TEXT NOT NULL,
    actor_name    TEXT NOT NULL,
    at            INTEGER NOT NULL,
    PRIMARY KEY (annotation_id, reaction, actor_id)
) STRICT, WITHOUT ROWID;
