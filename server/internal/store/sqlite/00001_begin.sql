-- Times are milliseconds since 1970 UTC; 0 is none. Lists and objects are JSON. Names of nodes are in lower case.

-- +goose Up

-- The revision of all that decides: pools, sets, refused AKs. One row.
CREATE TABLE policy_revision (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    revision BIGINT NOT NULL
);
INSERT INTO policy_revision (one, revision) VALUES (1, 1);

CREATE TABLE pools (
    name                  TEXT PRIMARY KEY,
    description           TEXT NOT NULL,
    requires              TEXT NOT NULL,
    bindings              TEXT NOT NULL,
    allow_simulated_nodes BOOLEAN NOT NULL,
    revision              BIGINT NOT NULL
);

CREATE TABLE sets (
    name        TEXT PRIMARY KEY,
    description TEXT NOT NULL,
    part        TEXT NOT NULL,
    node        TEXT NOT NULL,
    pools       TEXT NOT NULL,
    known_good  TEXT NOT NULL,
    source      TEXT NOT NULL,
    state       TEXT NOT NULL,
    valid_from  BIGINT NOT NULL,
    valid_until BIGINT NOT NULL,
    author      TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    approved_by TEXT NOT NULL,
    approved_at BIGINT NOT NULL,
    retired_by  TEXT NOT NULL,
    retired_at  BIGINT NOT NULL,
    revision    BIGINT NOT NULL
);
CREATE INDEX sets_state ON sets (state, name);

CREATE TABLE refused_aks (
    name  TEXT PRIMARY KEY,
    note  TEXT NOT NULL,
    actor TEXT NOT NULL,
    at    BIGINT NOT NULL
);

CREATE TABLE nodes (
    id           INTEGER PRIMARY KEY,
    name         TEXT NOT NULL,
    aliases      TEXT NOT NULL,
    address      TEXT NOT NULL,
    server_name  TEXT NOT NULL,
    pool         TEXT NOT NULL,
    labels       TEXT NOT NULL,
    state        TEXT NOT NULL,
    state_reason TEXT NOT NULL,
    binding      TEXT NOT NULL,
    ek           TEXT NOT NULL,
    record       TEXT NOT NULL,
    ek_name      TEXT NOT NULL, -- that of the record, in hexadecimal digits
    suggestions  TEXT NOT NULL,
    revision     BIGINT NOT NULL,
    added_at     BIGINT NOT NULL,
    added_by     TEXT NOT NULL,
    -- The schedule: when the node is to be asked next, and until when somebody is at it.
    due_at       BIGINT NOT NULL,
    leased_until BIGINT NOT NULL,
    failures     BIGINT NOT NULL,
    last_error   TEXT NOT NULL,
    reached_at   BIGINT NOT NULL,
    -- What is not kept is counted.
    good_quotes  BIGINT NOT NULL,
    bad_quotes   BIGINT NOT NULL,
    unanswered   BIGINT NOT NULL
);
CREATE INDEX nodes_due ON nodes (due_at);
CREATE INDEX nodes_pool ON nodes (pool);
CREATE INDEX nodes_name ON nodes (name);
CREATE INDEX nodes_ek ON nodes (ek_name);

-- Who has a name, its own or an alias. Decommissioned nodes have none.
CREATE TABLE names (
    name    TEXT PRIMARY KEY,
    node_id BIGINT NOT NULL REFERENCES nodes (id),
    alias   BOOLEAN NOT NULL
);
CREATE INDEX names_node ON names (node_id);

CREATE TABLE verdicts (
    node_id       BIGINT PRIMARY KEY REFERENCES nodes (id),
    level         INTEGER NOT NULL,
    reason        TEXT NOT NULL,
    detail        TEXT NOT NULL,
    quoted_at     BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,
    generation    BIGINT NOT NULL,
    changed_at    BIGINT NOT NULL,
    sets          TEXT NOT NULL,
    ek_binding    TEXT NOT NULL,
    booted        BOOLEAN NOT NULL,
    reset_count   BIGINT NOT NULL,
    restart_count BIGINT NOT NULL
);
CREATE INDEX verdicts_level ON verdicts (level, expires_at);

-- Which verdicts rest on a set.
CREATE TABLE verdict_sets (
    set_name TEXT NOT NULL,
    node_id  BIGINT NOT NULL REFERENCES nodes (id),
    PRIMARY KEY (set_name, node_id)
);
CREATE INDEX verdict_sets_node ON verdict_sets (node_id);

-- Each change of a verdict; its number is the generation.
CREATE TABLE history (
    generation    INTEGER PRIMARY KEY AUTOINCREMENT,
    node_id       BIGINT NOT NULL REFERENCES nodes (id),
    at            BIGINT NOT NULL,
    level         INTEGER NOT NULL,
    reason        TEXT NOT NULL,
    detail        TEXT NOT NULL,
    quoted_at     BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,
    sets          TEXT NOT NULL,
    ek_binding    TEXT NOT NULL,
    booted        BOOLEAN NOT NULL,
    reset_count   BIGINT NOT NULL,
    restart_count BIGINT NOT NULL,
    rebooted      BOOLEAN NOT NULL,
    evidence_id   BIGINT NOT NULL
);
CREATE INDEX history_node ON history (node_id, generation);

-- What a third party needs to judge again. kind is good or bad for a node's last one, change for those that history names.
CREATE TABLE evidence (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    node_id   BIGINT NOT NULL REFERENCES nodes (id),
    kind      TEXT NOT NULL,
    quoted_at BIGINT NOT NULL,
    nonce     BLOB NOT NULL,
    body      TEXT NOT NULL
);
CREATE INDEX evidence_node ON evidence (node_id, kind);

CREATE TABLE evidence_logs (
    evidence_id BIGINT NOT NULL REFERENCES evidence (id) ON DELETE CASCADE,
    position    BIGINT NOT NULL,
    source      TEXT NOT NULL,
    sha256      BLOB NOT NULL,
    PRIMARY KEY (evidence_id, position)
);
CREATE INDEX evidence_logs_sha256 ON evidence_logs (sha256);

CREATE TABLE logs (
    sha256  BLOB PRIMARY KEY,
    size    BIGINT NOT NULL,
    used_at BIGINT NOT NULL,
    raw     BLOB NOT NULL
);

CREATE TABLE alarms (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    at              BIGINT NOT NULL,
    kind            TEXT NOT NULL,
    node            TEXT NOT NULL,
    detail          TEXT NOT NULL,
    acknowledged_by TEXT NOT NULL,
    acknowledged_at BIGINT NOT NULL
);

CREATE TABLE tokens (
    name       TEXT PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    role       TEXT NOT NULL,
    sha256     BLOB NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- What administrators did, each entry bound to the one before.
CREATE TABLE admin_log (
    seq     BIGINT PRIMARY KEY,
    at      BIGINT NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL,
    hash    BLOB NOT NULL
);
