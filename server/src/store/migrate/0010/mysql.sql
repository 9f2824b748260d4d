CREATE TABLE vicar_delegation_policy (
    holder_id VARCHAR(64) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    policy TEXT NOT NULL,
    PRIMARY KEY (holder_id, kind)
) ENGINE=InnoDB CHARSET=utf8;
