-- +goose Up

-- Browsers that showed a token, by the SHA-256 of their cookie. Of a token that there is no more, they are worth nothing.
CREATE TABLE sessions (
    sha256   BYTEA PRIMARY KEY,
    token_id TEXT COLLATE "C" NOT NULL,
    ends_at  BIGINT NOT NULL
);
CREATE INDEX sessions_token ON sessions (token_id, ends_at);
