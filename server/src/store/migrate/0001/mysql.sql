CREATE TABLE vicar_schema (
    version INTEGER NOT NULL,
    applied_at DATETIME NOT NULL,
    PRIMARY KEY (version)
) ENGINE=InnoDB CHARSET=utf8;
CREATE TABLE vicar_keypair (
    credential_id VARCHAR(64) NOT NULL,
    access VARCHAR(255) NOT NULL,
    trust_id VARCHAR(64) NOT NULL,
    audit_chain_id VARCHAR(32) NOT NULL,
    roles TEXT,
    expires_at BIGINT,
    created_at BIGINT NOT NULL,
    creator_audit_id VARCHAR(64),
    last_used_at BIGINT,
    PRIMARY KEY (credential_id),
    CONSTRAINT ixu_vicar_keypair_access UNIQUE (access)
) ENGINE=InnoDB CHARSET=utf8;
CREATE INDEX ix_vicar_keypair_trust_id ON vicar_keypair (trust_id);
CREATE TABLE vicar_trust_state (
    trust_id VARCHAR(64) NOT NULL,
    ended_at BIGINT,
    reason VARCHAR(32),
    uses_granted INTEGER,
    created_at BIGINT,
    external VARCHAR(255),
    PRIMARY KEY (trust_id)
) ENGINE=InnoDB CHARSET=utf8;
CREATE TABLE vicar_replay (
    fingerprint VARCHAR(64) NOT NULL,
    seen_until BIGINT NOT NULL,
    PRIMARY KEY (fingerprint)
) ENGINE=InnoDB CHARSET=utf8;
CREATE INDEX ix_vicar_replay_seen_until ON vicar_replay (seen_until);
CREATE INDEX ix_vicar_user_domain_id ON "user" (domain_id);
CREATE INDEX ix_vicar_trust_redelegated_trust_id ON trust (redelegated_trust_id);
CREATE INDEX ix_vicar_trust_trustor_user_id ON trust (trustor_user_id);
CREATE INDEX ix_vicar_trust_trustee_user_id ON trust (trustee_user_id);
CREATE INDEX ix_vicar_credential_user_id ON credential (user_id);
CREATE INDEX ix_vicar_revocation_event_trust_id ON revocation_event (trust_id);
CREATE INDEX ix_vicar_revocation_event_audit_chain_id ON revocation_event (audit_chain_id);
CREATE INDEX ix_vicar_revocation_event_rest ON revocation_event (user_id, project_id, audit_id, trust_id, audit_chain_id);
