-- +goose Up

-- How far each list is rid of deleted accounts. A program of before leaves both as they are, which only makes the list look
-- worse than it is until the next vacuum.
ALTER TABLE rollcall.lists
    ADD COLUMN vacuumed bigint  NOT NULL DEFAULT 0,     -- no row is left that was deleted at or before this position
    ADD COLUMN stained  boolean NOT NULL DEFAULT false; -- rows were deleted, whose bytes may be in the unused middle of a page

-- +goose Down
ALTER TABLE rollcall.lists DROP COLUMN stained, DROP COLUMN vacuumed;
