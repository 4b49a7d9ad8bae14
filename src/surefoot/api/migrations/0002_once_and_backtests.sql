-- Answers to requests that must not act twice, and the backtests that were asked for.

CREATE TABLE answers (
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    made_ms INTEGER NOT NULL,
    request TEXT NOT NULL,
    status INTEGER,
    body TEXT,
    PRIMARY KEY (name, key)
) STRICT;

CREATE TABLE backtests (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed', 'canceled')),
    made_ms INTEGER NOT NULL,
    started_ms INTEGER,
    ended_ms INTEGER,
    request TEXT NOT NULL,
    summary TEXT,
    problem TEXT
) STRICT;
