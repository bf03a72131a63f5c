CREATE TABLE allowed_hosts (
    host       TEXT PRIMARY KEY,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE annotation_reactions (
    annotation_id TEXT NOT NULL REFERENCES annotations (id),
    reaction      TEXT NOT NULL,
    actor_id      TEXT NOT NULL,
    actor_name    TEXT NOT NULL,
    at            INTEGER NOT NULL,
    PRIMARY KEY (annotation_id, reaction, actor_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE annotation_versions (
    annotation_id TEXT NOT NULL REFERENCES annotations (id),
    version       INTEGER NOT NULL,
    text          TEXT NOT NULL,
    actor_id      TEXT NOT NULL,
    actor_name    TEXT NOT NULL,
    at            INTEGER NOT NULL,
    PRIMARY KEY (annotation_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE annotations (
    id               TEXT PRIMARY KEY,
    investigation_id TEXT NOT NULL,            -- empty: anchored to a trace alone
    block_id         TEXT NOT NULL,
    trace_id         TEXT NOT NULL,
    span_id          TEXT NOT NULL,
    moment           INTEGER NOT NULL,         -- a moment, 0: none
    text             TEXT NOT NULL,
    mentions         TEXT NOT NULL,            -- JSON: user ids
    field_offsets    TEXT NOT NULL,
    created_by       TEXT NOT NULL,
    created_by_name  TEXT NOT NULL,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    deleted_at       INTEGER NOT NULL DEFAULT 0
, parent_id TEXT NOT NULL DEFAULT '', resolved_at INTEGER NOT NULL DEFAULT 0, resolved_by TEXT NOT NULL DEFAULT '', resolved_by_name TEXT NOT NULL DEFAULT '', moment_end INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE INDEX annotations_block_id_idx ON annotations (block_id) WHERE block_id <> '';

CREATE INDEX annotations_investigation_id_idx ON annotations (investigation_id) WHERE investigation_id <> '';

CREATE INDEX annotations_parent_id_idx ON annotations (parent_id) WHERE parent_id <> '';

CREATE INDEX annotations_trace_id_idx ON annotations (trace_id) WHERE trace_id <> '';

CREATE TABLE audit_entries (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	at INTEGER NOT NULL,
	actor_id TEXT NOT NULL, -- empty: nobody signed in, or the command line
	actor_name TEXT NOT NULL,
	action TEXT NOT NULL,
	subject TEXT NOT NULL,
	detail TEXT NOT NULL,
	address TEXT NOT NULL
) STRICT;

CREATE TABLE blocks (
    id               TEXT PRIMARY KEY,
    investigation_id TEXT NOT NULL REFERENCES investigations (id),
    kind             TEXT NOT NULL,
    position         TEXT NOT NULL,            -- sorts the board, between any two there is a third
    title            TEXT NOT NULL,
    text             TEXT NOT NULL,
    url              TEXT NOT NULL,
    trace_id         TEXT NOT NULL,
    span_id          TEXT NOT NULL,
    query            TEXT NOT NULL,
    locator          TEXT NOT NULL,            -- the path of the live view
    evidence_sha256  TEXT NOT NULL,
    evidence_bytes   INTEGER NOT NULL,
    field_offsets    TEXT NOT NULL,
    created_offset   INTEGER NOT NULL,
    changed_offset   INTEGER NOT NULL,
    created_by       TEXT NOT NULL,
    created_by_name  TEXT NOT NULL,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    deleted_at       INTEGER NOT NULL DEFAULT 0
, state TEXT NOT NULL DEFAULT '', cited TEXT NOT NULL DEFAULT '', done INTEGER NOT NULL DEFAULT 0, assignee TEXT NOT NULL DEFAULT '', sides TEXT NOT NULL DEFAULT '', due_at INTEGER NOT NULL DEFAULT 0, edited_by TEXT NOT NULL DEFAULT '', edited_by_name TEXT NOT NULL DEFAULT '') STRICT;

CREATE INDEX blocks_investigation_id_position_idx ON blocks (investigation_id, position);

CREATE INDEX blocks_trace_id_idx ON blocks (trace_id) WHERE trace_id <> '';

CREATE TABLE changes (
    investigation_id TEXT NOT NULL REFERENCES investigations (id),
    offset           INTEGER NOT NULL,
    type             TEXT NOT NULL,
    object_id        TEXT NOT NULL,
    actor_id         TEXT NOT NULL,
    actor_name       TEXT NOT NULL,
    at               INTEGER NOT NULL,
    ref              TEXT NOT NULL,
    data             TEXT NOT NULL,            -- JSON; erased when its object is deleted
    PRIMARY KEY (investigation_id, offset)
) STRICT, WITHOUT ROWID;

CREATE INDEX changes_actor_id_idx ON changes (actor_id);

CREATE INDEX changes_investigation_id_actor_id_idx ON changes (investigation_id, actor_id);

CREATE INDEX changes_object_id_investigation_id_offset_idx ON changes (object_id, investigation_id, offset);

CREATE TABLE deliveries (
    id               TEXT PRIMARY KEY,
    target_id        TEXT NOT NULL REFERENCES targets (id),
    cause            TEXT NOT NULL,            -- what it is about; one delivery each
    reason           TEXT NOT NULL,
    investigation_id TEXT NOT NULL,
    object_id        TEXT NOT NULL,
    notice           TEXT NOT NULL,            -- JSON
    state            TEXT NOT NULL,            -- pending, delivered, failed
    attempts         INTEGER NOT NULL,
    next_at          INTEGER NOT NULL,         -- not before
    leased_until     INTEGER NOT NULL,         -- a worker has it until then
    created_at       INTEGER NOT NULL,
    done_at          INTEGER NOT NULL DEFAULT 0,
    UNIQUE (target_id, cause)
) STRICT;

CREATE INDEX deliveries_created_at_idx ON deliveries (created_at);

CREATE INDEX deliveries_due_idx ON deliveries (next_at) WHERE state = 'pending';

CREATE INDEX deliveries_investigation_id_object_id_idx ON deliveries (investigation_id, object_id);

CREATE TABLE delivery_attempts (
    delivery_id TEXT NOT NULL REFERENCES deliveries (id),
    attempt     INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    took_nano   INTEGER NOT NULL,
    status      INTEGER NOT NULL,              -- HTTP, 0: no answer
    response    TEXT NOT NULL,                 -- its beginning
    error       TEXT NOT NULL,
    next_at     INTEGER NOT NULL,              -- of the retry, 0: none
    PRIMARY KEY (delivery_id, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE evidence (
    block_id       TEXT PRIMARY KEY REFERENCES blocks (id),
    sha256         TEXT NOT NULL,
    body           BLOB NOT NULL,              -- canonical JSON
    locator        TEXT NOT NULL,              -- canonical JSON: what was asked for
    frozen_by      TEXT NOT NULL,
    frozen_by_name TEXT NOT NULL,
    frozen_at      INTEGER NOT NULL
, services TEXT NOT NULL DEFAULT '[]', first_at INTEGER NOT NULL DEFAULT 0, last_at INTEGER NOT NULL DEFAULT 0, origin TEXT NOT NULL DEFAULT '', redactions TEXT NOT NULL DEFAULT '') STRICT;

CREATE INDEX evidence_origin_idx ON evidence (origin) WHERE origin <> '';

CREATE TABLE inbox_items (
    id               TEXT PRIMARY KEY,
    user_id          TEXT NOT NULL REFERENCES users (id),
    reason           TEXT NOT NULL,            -- mention, assignment, status
    investigation_id TEXT NOT NULL,
    title            TEXT NOT NULL,            -- of the investigation or trace, as it was
    text             TEXT NOT NULL,
    path             TEXT NOT NULL,
    actor_id         TEXT NOT NULL,
    actor_name       TEXT NOT NULL,
    object_id        TEXT NOT NULL,
    created_at       INTEGER NOT NULL,
    read_at          INTEGER NOT NULL DEFAULT 0,
    done_at          INTEGER NOT NULL DEFAULT 0
, cause TEXT NOT NULL DEFAULT '', line TEXT NOT NULL DEFAULT '', count INTEGER NOT NULL DEFAULT 1, told_at INTEGER NOT NULL DEFAULT 0, snoozed_until INTEGER NOT NULL DEFAULT 0, moved_at INTEGER NOT NULL DEFAULT 0, notify INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE INDEX inbox_items_investigation_id_object_id_idx ON inbox_items (investigation_id, object_id);

CREATE INDEX inbox_items_snoozed_until_idx ON inbox_items (snoozed_until) WHERE snoozed_until > 0;

CREATE INDEX inbox_items_unread_idx ON inbox_items (user_id) WHERE read_at = 0 AND done_at = 0;

CREATE INDEX inbox_items_user_id_cause_idx ON inbox_items (user_id, cause);

CREATE INDEX inbox_items_user_id_told_at_idx ON inbox_items (user_id, told_at);

CREATE TABLE inbox_mutes (
    user_id          TEXT NOT NULL REFERENCES users (id),
    investigation_id TEXT NOT NULL REFERENCES investigations (id),
    since            INTEGER NOT NULL,
    PRIMARY KEY (user_id, investigation_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE inbox_rules (
    user_id TEXT NOT NULL REFERENCES users (id),
    reason  TEXT NOT NULL,
    way     TEXT NOT NULL,                     -- off, inbox, notify
    PRIMARY KEY (user_id, reason)
) STRICT, WITHOUT ROWID;

CREATE TABLE ingest_keys (
	id TEXT PRIMARY KEY,
	secret_hash BLOB NOT NULL UNIQUE,
	hint TEXT NOT NULL,
	name TEXT NOT NULL,
	environment TEXT NOT NULL, -- '*': taken from the resource
	created_by TEXT NOT NULL,
	created_at INTEGER NOT NULL,
	last_used_at INTEGER,
	revoked_at INTEGER
, drop_names TEXT NOT NULL DEFAULT '', hash_names TEXT NOT NULL DEFAULT '') STRICT;

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

CREATE TABLE investigations (
    id              TEXT PRIMARY KEY,
    epoch           TEXT NOT NULL,             -- identity of the change log
    offset          INTEGER NOT NULL,          -- of the last change; the creation is 1
    title           TEXT NOT NULL,
    status          TEXT NOT NULL,
    severity        TEXT NOT NULL,
    lead            TEXT NOT NULL,             -- a user's id, empty: nobody
    field_offsets   TEXT NOT NULL,             -- JSON: field → offset of its last change
    created_by      TEXT NOT NULL,
    created_by_name TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    deleted_at      INTEGER NOT NULL DEFAULT 0
, visibility TEXT NOT NULL DEFAULT 'workspace', kind TEXT NOT NULL DEFAULT 'real', lead_since INTEGER NOT NULL DEFAULT 0, next_update INTEGER NOT NULL DEFAULT 0, reminded_of INTEGER NOT NULL DEFAULT 0, impact_start INTEGER NOT NULL DEFAULT 0, impact_end INTEGER NOT NULL DEFAULT 0, services TEXT NOT NULL DEFAULT '{}', merged_into TEXT NOT NULL DEFAULT '') STRICT;

CREATE INDEX investigations_lead_idx ON investigations (lead);

CREATE INDEX investigations_merged_into_idx ON investigations (merged_into) WHERE merged_into <> '';

CREATE INDEX investigations_next_update_idx ON investigations (next_update) WHERE next_update > 0;

CREATE INDEX investigations_updated_at_idx ON investigations (updated_at);

CREATE TABLE invitations (
	id TEXT PRIMARY KEY,
	kind TEXT NOT NULL CHECK (kind IN ('invite', 'password', 'setup')),
	secret_hash BLOB NOT NULL UNIQUE,
	email TEXT NOT NULL, -- empty: anybody who has the link
	role TEXT NOT NULL CHECK (role IN ('viewer', 'member', 'admin')),
	user_id TEXT REFERENCES users (id) ON DELETE CASCADE,
	created_by TEXT NOT NULL,
	created_at INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	used_at INTEGER
) STRICT;

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

CREATE TABLE migrations (
		number INTEGER PRIMARY KEY,
		name TEXT NOT NULL,
		applied_at INTEGER NOT NULL
	) STRICT;

CREATE TABLE pictures (
    block_id TEXT PRIMARY KEY REFERENCES blocks (id),
    sha256   TEXT NOT NULL,
    type     TEXT NOT NULL,                    -- image/png, image/jpeg, image/webp
    width    INTEGER NOT NULL,                 -- pixels
    height   INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    body     BLOB NOT NULL
) STRICT;

CREATE TABLE refs (
    scope     TEXT NOT NULL,                   -- an investigation's id, or empty
    actor_id  TEXT NOT NULL,
    ref       TEXT NOT NULL,
    request   BLOB NOT NULL,                   -- SHA-256 of what was asked
    object_id TEXT NOT NULL,
    offset    INTEGER NOT NULL,                -- of the change it made, 0 if none
    at        INTEGER NOT NULL,
    PRIMARY KEY (scope, actor_id, ref)
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
	id TEXT PRIMARY KEY,
	secret_hash BLOB NOT NULL UNIQUE,
	user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	address TEXT NOT NULL,
	user_agent TEXT NOT NULL,
	created_at INTEGER NOT NULL,
	last_used_at INTEGER NOT NULL,
	expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX sessions_user_id_idx ON sessions (user_id);

CREATE TABLE settings (
	key TEXT PRIMARY KEY,
	value TEXT NOT NULL,
	updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE targets (
    id         TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,                  -- slack
    name       TEXT NOT NULL,
    url        TEXT NOT NULL,
    reasons    TEXT NOT NULL,                  -- JSON list
    enabled    INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE team_members (
    team_id TEXT NOT NULL REFERENCES teams (id),
    user_id TEXT NOT NULL REFERENCES users (id),
    since   INTEGER NOT NULL,
    PRIMARY KEY (team_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX team_members_user_id_idx ON team_members (user_id);

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

CREATE TABLE tokens (
	id TEXT PRIMARY KEY,
	secret_hash BLOB NOT NULL UNIQUE,
	hint TEXT NOT NULL, -- the last characters, to tell them apart
	name TEXT NOT NULL,
	role TEXT NOT NULL CHECK (role IN ('viewer', 'member', 'admin')),
	created_by TEXT NOT NULL, -- a name, as it was
	created_at INTEGER NOT NULL,
	last_used_at INTEGER,
	expires_at INTEGER,
	revoked_at INTEGER
) STRICT;

CREATE TABLE users (
	id TEXT PRIMARY KEY,
	email TEXT NOT NULL UNIQUE, -- lower case
	name TEXT NOT NULL,
	role TEXT NOT NULL CHECK (role IN ('viewer', 'member', 'admin')),
	password_hash TEXT NOT NULL, -- empty: none chosen yet
	created_at INTEGER NOT NULL,
	deactivated_at INTEGER
) STRICT;

