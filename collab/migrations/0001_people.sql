-- Who may come in, and what they hold. Secrets are stored as SHA-256 (they are
-- long and random), passwords as argon2id. Times are nanoseconds since the epoch.

CREATE TABLE users (
	id TEXT PRIMARY KEY,
	email TEXT NOT NULL UNIQUE, -- lower case
	name TEXT NOT NULL,
	role TEXT NOT NULL CHECK (role IN ('viewer', 'member', 'admin')),
	password_hash TEXT NOT NULL, -- empty: none chosen yet
	created_at INTEGER NOT NULL,
	deactivated_at INTEGER
) STRICT;

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
) STRICT;

-- Links that let one person in once: an invitation makes an account, one with
-- a user_id lets that user choose a password, a setup link makes the first
-- administrator.
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

CREATE TABLE settings (
	key TEXT PRIMARY KEY,
	value TEXT NOT NULL,
	updated_at INTEGER NOT NULL
) STRICT;

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
