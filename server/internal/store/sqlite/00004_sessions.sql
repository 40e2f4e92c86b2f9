-- +goose Up

-- Browsers that showed a token, by the SHA-256 of their cookie. Of a token that there is no more, they are worth nothing.
CREATE TABLE sessions (
    sha256   BLOB PRIMARY KEY,
    token_id TEXT NOT NULL,
    ends_at  INTEGER NOT NULL
);
CREATE INDEX sessions_token ON sessions (token_id, ends_at);
