-- What the web process keeps: who may sign in, who has, and what everybody did.

CREATE TABLE users (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL CHECK (role IN ('viewer', 'trader', 'admin')),
    password_hash TEXT,
    made_ms INTEGER NOT NULL,
    off_ms INTEGER,
    totp_secret TEXT,
    totp_since_ms INTEGER,
    totp_step INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE recovery_codes (
    name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    hash TEXT NOT NULL,
    used_ms INTEGER,
    PRIMARY KEY (name, hash)
) STRICT;

CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    way TEXT NOT NULL CHECK (way IN ('password', 'link')),
    made_ms INTEGER NOT NULL,
    seen_ms INTEGER NOT NULL,
    ends_ms INTEGER NOT NULL,
    revoked_ms INTEGER,
    confirmed_until_ms INTEGER NOT NULL DEFAULT 0,
    address TEXT NOT NULL,
    agent TEXT NOT NULL
) STRICT;

CREATE INDEX sessions_by_name ON sessions (name);

CREATE TABLE refresh_tokens (
    hash TEXT PRIMARY KEY,
    session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    made_ms INTEGER NOT NULL,
    ends_ms INTEGER NOT NULL,
    used_ms INTEGER
) STRICT;

CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session);

-- Failed sign-ins by the name that was given, whether there is such a user or not.
CREATE TABLE failures (
    name TEXT PRIMARY KEY,
    count INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    locked_until_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE links (
    hash TEXT PRIMARY KEY,
    ends_ms INTEGER NOT NULL,
    used_ms INTEGER
) STRICT;

CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY,
    pem TEXT NOT NULL,
    made_ms INTEGER NOT NULL,
    retired_ms INTEGER
) STRICT;

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    detail TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL
) STRICT;

-- The last row once more: without it nobody would miss rows that were cut off at the end.
CREATE TABLE audit_head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seq INTEGER NOT NULL,
    hash TEXT NOT NULL
) STRICT;

CREATE TRIGGER audit_keeps_its_rows BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;

CREATE TRIGGER audit_keeps_its_words BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;
