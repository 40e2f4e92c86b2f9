-- +goose Up

-- The pool that the node was in when its verdict changed: whoever is told of that pool's changes is told also when the node leaves it. Empty in changes from before.
ALTER TABLE history ADD COLUMN pool TEXT NOT NULL DEFAULT '';
