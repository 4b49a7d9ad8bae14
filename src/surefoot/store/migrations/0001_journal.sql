-- The journal: what reached the engine and what it answered, in order, forever.

CREATE TABLE runs (
    run TEXT PRIMARY KEY,
    started_ms INTEGER NOT NULL,
    mode TEXT NOT NULL,
    version TEXT NOT NULL,
    settings_digest TEXT NOT NULL
) STRICT;

CREATE TABLE journal (
    seq INTEGER PRIMARY KEY,
    run TEXT NOT NULL REFERENCES runs (run),
    at_ms INTEGER NOT NULL,
    edge TEXT NOT NULL CHECK (edge IN ('event', 'command')),
    kind TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE INDEX journal_by_run ON journal (run);

-- History is not edited: not by a mistake of ours, and not by hand without first taking these away.
CREATE TRIGGER journal_keeps_its_rows BEFORE DELETE ON journal
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;

CREATE TRIGGER journal_keeps_its_words BEFORE UPDATE ON journal
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;
