-- +goose Up

-- The generations of the account list that there are. The tables of each are in
-- the schema rollcall_list_<generation>.
CREATE TABLE rollcall.lists (
    generation  bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version     integer     NOT NULL, -- of what the list holds and of its tables
    state       text        NOT NULL CHECK (state IN ('building', 'live', 'retired', 'refused')),
    note        text        NOT NULL DEFAULT '', -- why it is refused
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    promoted_at timestamptz           -- the last time that it became live
);
-- Programs of two versions may run side by side, each with the list that it can read.
CREATE UNIQUE INDEX lists_live ON rollcall.lists (version) WHERE state = 'live';

-- Who leads what, until when by the clock of the server.
CREATE TABLE rollcall.leases (
    name       text        PRIMARY KEY,
    holder     text        NOT NULL,
    term       bigint      NOT NULL, -- grows with each change of the holder
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- +goose Down
DROP TABLE rollcall.leases;
DROP TABLE rollcall.lists;
