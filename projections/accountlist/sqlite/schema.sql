-- One row: the position of the last event that the tables show.
CREATE TABLE progress (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    checkpoint INTEGER NOT NULL
);
INSERT INTO progress VALUES (1, 0);

-- Counters are kept with the rows, so that totals need no counting.
CREATE TABLE apps (
    id         INTEGER PRIMARY KEY,
    app        TEXT    NOT NULL UNIQUE,
    name       TEXT    NOT NULL,
    max_admins INTEGER NOT NULL,
    created_at INTEGER NOT NULL, -- nanoseconds since 1970
    updated_at INTEGER NOT NULL,
    revision   INTEGER NOT NULL,
    normals    INTEGER NOT NULL,
    admins     INTEGER NOT NULL
);

-- id is of this table only: it is dense, so that postings are small.
CREATE TABLE accounts (
    id                INTEGER PRIMARY KEY,
    app               INTEGER NOT NULL,
    user_id           TEXT    NOT NULL,
    type              TEXT    NOT NULL,
    nickname          TEXT    NOT NULL, -- empty for none, as are the other texts
    face_url          TEXT    NOT NULL,
    gender            TEXT    NOT NULL,
    birthday          INTEGER NOT NULL, -- YYYYMMDD, zero for none
    location          TEXT    NOT NULL,
    self_signature    TEXT    NOT NULL,
    allow_type        TEXT    NOT NULL,
    language          INTEGER,
    msg_settings      INTEGER,
    admin_forbid_type TEXT    NOT NULL,
    level             INTEGER,
    role              INTEGER,
    created_at        INTEGER NOT NULL, -- nanoseconds since 1970
    updated_at        INTEGER NOT NULL,
    revision          INTEGER NOT NULL
);
CREATE UNIQUE INDEX accounts_user_id    ON accounts (app, user_id);
CREATE        INDEX accounts_created_at ON accounts (app, created_at, user_id);
CREATE        INDEX accounts_nickname   ON accounts (app, nickname, user_id);

-- Administrators are few: their indexes cost nothing when a normal account is
-- written. Normal accounts are listed by the indexes above, which pass over the few.
CREATE INDEX admins_user_id    ON accounts (app, user_id)             WHERE type = 'admin';
CREATE INDEX admins_created_at ON accounts (app, created_at, user_id) WHERE type = 'admin';
CREATE INDEX admins_nickname   ON accounts (app, nickname, user_id)   WHERE type = 'admin';

-- The search index: which accounts have a gram in their user id or nickname.
-- See gram.go and posting.go for the form of gram and ids.
CREATE TABLE postings (
    app   INTEGER NOT NULL,
    gram  INTEGER NOT NULL,
    chunk INTEGER NOT NULL,
    ids   BLOB    NOT NULL,
    PRIMARY KEY (app, gram, chunk)
) WITHOUT ROWID;
