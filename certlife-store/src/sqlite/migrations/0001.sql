-- What a record is, without its body: rows stay small, so that scans and lease changes touch few pages.
CREATE TABLE record (
    row         INTEGER PRIMARY KEY,
    kind        TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    revision    INTEGER NOT NULL,
    -- Moments are milliseconds since 1970 in UTC.
    due         INTEGER,
    -- The fencing token of the last claim; 0 before the first.
    token       INTEGER NOT NULL DEFAULT 0,
    worker      TEXT,
    lease_until INTEGER,
    -- When the record is both due and free. A column of its own, so that one index answers a claim.
    ready_at    INTEGER CHECK (ready_at IS max(due, ifnull(lease_until, due))),
    -- The index values as JSON, `[["state","issued"],…]`: read with the record, compared on replacing it.
    found_by    TEXT    NOT NULL,
    UNIQUE (kind, id)
) STRICT;

-- Holds what waits and nothing else. With the row number that every index carries, it covers a claim.
CREATE INDEX record_ready ON record (ready_at) WHERE ready_at IS NOT NULL;

CREATE TABLE body (
    row  INTEGER PRIMARY KEY,
    text TEXT    NOT NULL
) STRICT;

-- Where each record stands in the order of each index field.
CREATE TABLE place (
    kind  TEXT NOT NULL,
    field TEXT NOT NULL,
    value TEXT NOT NULL,
    id    TEXT NOT NULL,
    PRIMARY KEY (kind, field, value, id)
) STRICT, WITHOUT ROWID;

-- The last event position and the last fencing token that were given out.
CREATE TABLE counter (
    name  TEXT    PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO counter (name, value) VALUES ('event', 0), ('token', 0);
