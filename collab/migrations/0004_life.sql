-- The life of investigations: who may see them, who does what, what is due.

-- Named groups of people.
CREATE TABLE teams (
    id              TEXT PRIMARY KEY,
    name            TEXT NOT NULL,
    handle          TEXT NOT NULL,             -- what follows the @, lower case
    services        TEXT NOT NULL,             -- JSON list: names, or patterns with *, of the services it owns
    created_by      TEXT NOT NULL,
    created_by_name TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    deleted_at      INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX teams_handle_idx ON teams (handle) WHERE deleted_at = 0;

CREATE TABLE team_members (
    team_id TEXT NOT NULL REFERENCES teams (id),
    user_id TEXT NOT NULL REFERENCES users (id),
    since   INTEGER NOT NULL,
    PRIMARY KEY (team_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX team_members_user_id_idx ON team_members (user_id);

ALTER TABLE investigations ADD COLUMN visibility TEXT NOT NULL DEFAULT 'workspace'; -- workspace, team, private
ALTER TABLE investigations ADD COLUMN kind TEXT NOT NULL DEFAULT 'real';            -- real, drill
ALTER TABLE investigations ADD COLUMN lead_since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE investigations ADD COLUMN next_update INTEGER NOT NULL DEFAULT 0;       -- when the next word is due, 0: not said
ALTER TABLE investigations ADD COLUMN reminded_of INTEGER NOT NULL DEFAULT 0;       -- the next_update that the lead was reminded of
ALTER TABLE investigations ADD COLUMN impact_start INTEGER NOT NULL DEFAULT 0;
ALTER TABLE investigations ADD COLUMN impact_end INTEGER NOT NULL DEFAULT 0;
ALTER TABLE investigations ADD COLUMN services TEXT NOT NULL DEFAULT '{}';          -- JSON: service → true put there, false taken out by hand
ALTER TABLE investigations ADD COLUMN merged_into TEXT NOT NULL DEFAULT '';         -- the investigation that has its blocks now
CREATE INDEX investigations_next_update_idx ON investigations (next_update) WHERE next_update > 0;
CREATE INDEX investigations_merged_into_idx ON investigations (merged_into) WHERE merged_into <> '';

-- Who was asked in, and what they do there.
CREATE TABLE investigation_people (
    investigation_id TEXT NOT NULL REFERENCES investigations (id),
    user_id          TEXT NOT NULL REFERENCES users (id),
    role             TEXT NOT NULL,            -- in words, empty: takes part
    since            INTEGER NOT NULL,         -- in that role
    PRIMARY KEY (investigation_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX investigation_people_user_id_idx ON investigation_people (user_id);

CREATE TABLE investigation_teams (
    investigation_id TEXT NOT NULL REFERENCES investigations (id),
    team_id          TEXT NOT NULL REFERENCES teams (id),
    since            INTEGER NOT NULL,
    PRIMARY KEY (investigation_id, team_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX investigation_teams_team_id_idx ON investigation_teams (team_id);

-- What a frozen copy tells of itself, so that it can be looked for.
ALTER TABLE evidence ADD COLUMN services TEXT NOT NULL DEFAULT '[]';   -- JSON list
ALTER TABLE evidence ADD COLUMN first_at INTEGER NOT NULL DEFAULT 0;   -- of its spans, 0: none
ALTER TABLE evidence ADD COLUMN last_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE evidence ADD COLUMN origin TEXT NOT NULL DEFAULT '';       -- the trace that began it all
CREATE INDEX evidence_origin_idx ON evidence (origin) WHERE origin <> '';

ALTER TABLE blocks ADD COLUMN due_at INTEGER NOT NULL DEFAULT 0;       -- of a task, 0: none
