-- Up to when each till was heard in each of its boots: how long that had lasted, if it ended without a word.
CREATE TABLE heard (
    till text        NOT NULL,
    boot text        NOT NULL,
    mono bigint      NOT NULL,
    at   timestamptz NOT NULL,
    PRIMARY KEY (till, boot)
);

COMMENT ON COLUMN heard.mono IS 'by CLOCK_MONOTONIC of the boot, in microseconds';
COMMENT ON COLUMN heard.at IS 'by the office''s clock';

CREATE INDEX heard_by_at ON heard (at);

-- Tills that were enrolled: those that were never heard are shown, too.
CREATE TABLE enrolled (
    till text        PRIMARY KEY,
    at   timestamptz NOT NULL DEFAULT now()
);
