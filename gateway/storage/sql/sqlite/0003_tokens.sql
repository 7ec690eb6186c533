-- Rows are never deleted: that a token was ever made keeps authentication on.

CREATE TABLE tokens (
    id           TEXT PRIMARY KEY,
    hash         BLOB NOT NULL UNIQUE, -- SHA-256 of the token, which is nowhere
    user         TEXT NOT NULL,
    tenant       TEXT NOT NULL,
    roles        TEXT NOT NULL, -- a JSON array, as scopes
    scopes       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER,
    revoked_at   INTEGER
) WITHOUT ROWID;
