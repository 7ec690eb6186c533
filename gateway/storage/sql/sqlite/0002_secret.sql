-- Seals what clients are handed to bring back (cursors): as long-lived as the store.
CREATE TABLE secret (value BLOB NOT NULL);
INSERT INTO secret VALUES (randomblob(32));
