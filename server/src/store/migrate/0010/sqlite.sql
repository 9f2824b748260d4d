CREATE TABLE IF NOT EXISTS vicar_delegation_policy (
    holder_id VARCHAR(64) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    policy TEXT NOT NULL,
    PRIMARY KEY (holder_id, kind)
);
