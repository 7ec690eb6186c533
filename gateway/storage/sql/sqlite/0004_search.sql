-- The full text index stands in parts: tables search_<part>, made as they are
-- needed. All that a session said is in one part, or in few when it is much.
-- To erase it the part is emptied as a whole: each of its pages is overwritten,
-- where deleting rows leaves stale copies of words behind. What others said is
-- then indexed again from the log. These tables hold numbers only.

CREATE TABLE search_parts (
    part            INTEGER PRIMARY KEY,
    docs            INTEGER NOT NULL,
    newest          INTEGER NOT NULL, -- no doc has a higher events.pos
    rebuild_session INTEGER,          -- rebuilt as far as this session and seq; NULL: complete
    rebuild_seq     INTEGER,
    rebuild_to      INTEGER           -- the highest events.pos to index again
);

CREATE TABLE search_places (
    session INTEGER NOT NULL,
    part    INTEGER NOT NULL,
    first   INTEGER NOT NULL, -- events.pos, of its docs in this part
    last    INTEGER NOT NULL,
    PRIMARY KEY (session, part)
) WITHOUT ROWID;

CREATE INDEX search_places_by_part ON search_places (part, session);

-- Two hands go through `events`: one keeps up with what is new, one with what
-- was there before there was an index.
CREATE TABLE search_progress (
    tail       INTEGER NOT NULL,
    backlog    INTEGER NOT NULL,
    backlog_to INTEGER NOT NULL
);

INSERT INTO search_progress SELECT COALESCE(MAX(pos), 0), 0, COALESCE(MAX(pos), 0) FROM events;
