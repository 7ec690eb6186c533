-- `due_at` is when time changes a session next; notes are what the gateway
-- keeps for itself: policies set for agents, what the moments were reckoned by.

ALTER TABLE sessions ADD COLUMN due_at INTEGER;

CREATE INDEX sessions_due ON sessions (due_at, id) WHERE due_at IS NOT NULL;
DROP INDEX sessions_open;
CREATE INDEX sessions_by_user ON sessions (tenant, user, agent, lifecycle) WHERE deleted_at IS NULL;
CREATE INDEX sessions_by_agent ON sessions (agent, id) WHERE deleted_at IS NULL;

CREATE TABLE notes (
    kind  TEXT NOT NULL,
    name  TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;
