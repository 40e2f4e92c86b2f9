-- +goose Up

-- The nodes of which nothing is known are found without looking at all others: those that were never reached, and those whose verdict is from later than now.
CREATE INDEX nodes_never_reached ON nodes (name) WHERE reached_at = 0;
CREATE INDEX verdicts_quoted ON verdicts (quoted_at);
