CREATE TABLE IF NOT EXISTS vicar_use (
    id VARCHAR(64) NOT NULL,
    type VARCHAR(32) NOT NULL,
    created_at BIGINT,
    created_by VARCHAR(255),
    audit_chain_id VARCHAR(32),
    last_used_at BIGINT,
    use_count BIGINT,
    validated_at BIGINT,
    validated_by VARCHAR(64),
    PRIMARY KEY (id, type)
);
CREATE INDEX IF NOT EXISTS ix_vicar_use_audit_chain_id ON vicar_use (audit_chain_id);
