-- Words that people wrote stand only in `events.body` and `texts.body`. Both
-- tables grow at their end and never lose a row: a body is erased by setting it
-- to NULL, which leaves no copy behind, where DELETE does (pages are rebalanced
-- and keep stale copies). Everything else may be updated and deleted freely.

CREATE TABLE sessions (
    id               INTEGER PRIMARY KEY,
    tenant           TEXT NOT NULL,
    key              TEXT NOT NULL,
    user             TEXT NOT NULL,
    agent            TEXT NOT NULL,
    model            TEXT NOT NULL,
    channel          TEXT NOT NULL,
    source           TEXT NOT NULL,
    project          TEXT,
    lifecycle        TEXT NOT NULL,
    pinned           INTEGER NOT NULL,
    is_empty         INTEGER NOT NULL,
    is_busy          INTEGER NOT NULL,
    message_count    INTEGER NOT NULL,
    tokens           INTEGER NOT NULL,
    cost_usd         REAL,
    created_at       INTEGER NOT NULL,
    last_activity_at INTEGER NOT NULL,
    archived_at      INTEGER,
    deleted_at       INTEGER,
    warn_at          INTEGER,
    expires_at       INTEGER,
    state            BLOB NOT NULL,
    details          INTEGER -- texts.pos of the title, labels, metadata and policy
);

CREATE INDEX sessions_by_key ON sessions (tenant, key, id);
CREATE INDEX sessions_by_activity ON sessions (tenant, pinned, last_activity_at, id)
    WHERE deleted_at IS NULL AND archived_at IS NULL;
CREATE INDEX sessions_busy ON sessions (id) WHERE is_busy;
CREATE INDEX sessions_empty ON sessions (tenant, user, id)
    WHERE is_empty AND deleted_at IS NULL AND archived_at IS NULL;
CREATE INDEX sessions_open ON sessions (tenant, user, agent)
    WHERE lifecycle <> 'ended' AND deleted_at IS NULL;
CREATE INDEX sessions_by_lifecycle ON sessions (lifecycle) WHERE deleted_at IS NULL;
CREATE INDEX sessions_expiring ON sessions (warn_at, expires_at) WHERE warn_at IS NOT NULL;

CREATE TABLE events (
    pos     INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    type    TEXT NOT NULL,
    body    BLOB -- the event as JSON; NULL once erased
);

CREATE UNIQUE INDEX events_by_seq ON events (session, seq);

CREATE TABLE texts (
    pos     INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    kind    TEXT NOT NULL, -- details, chunk, answer (holds words), receipt (holds none)
    body    BLOB -- NULL once erased
);

CREATE INDEX texts_live ON texts (session, kind) WHERE body IS NOT NULL;

CREATE TABLE answers (
    scope       BLOB PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    session     INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    text        INTEGER NOT NULL -- texts.pos of the result
) WITHOUT ROWID;

CREATE INDEX answers_by_age ON answers (at);
