-- An event is unique by till, boot, mono and hash. Its time by the till's clock never changes either, however often it
-- is sent; partitions are of that, for they have to be of a part of the key.
CREATE SEQUENCE event_row;

CREATE TABLE event (
    till     text        NOT NULL,
    boot     text        NOT NULL,
    mono     bigint      NOT NULL,
    hash     text        NOT NULL,
    time     timestamptz NOT NULL,
    row      bigint      NOT NULL DEFAULT nextval('event_row'),
    received timestamptz NOT NULL,
    at       timestamptz NOT NULL,
    clock    text        NOT NULL CHECK (clock IN ('office', 'till')),
    kind     text        NOT NULL,
    process  text,
    data     jsonb       NOT NULL,
    PRIMARY KEY (till, boot, mono, hash, time)
) PARTITION BY RANGE (time);

COMMENT ON COLUMN event.time IS 'when it was, by the till''s clock';
COMMENT ON COLUMN event.at IS 'when it was, by the clock that the column clock names';

CREATE INDEX event_by_row ON event (row);
CREATE INDEX event_of_till ON event (till, row);

-- What is of no month that is near.
CREATE TABLE event_other PARTITION OF event DEFAULT;
CREATE INDEX event_other_by_received ON event_other (received);

-- The latest state of each till.
CREATE TABLE now (
    till     text        PRIMARY KEY,
    received timestamptz NOT NULL,
    state    jsonb       NOT NULL
);
