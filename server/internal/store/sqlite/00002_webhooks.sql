-- +goose Up

-- How far each webhook was told of changes, and which server tells it until when.
CREATE TABLE webhooks (
    name         TEXT PRIMARY KEY,
    position     BIGINT NOT NULL,
    holder       TEXT NOT NULL,
    leased_until BIGINT NOT NULL
);
