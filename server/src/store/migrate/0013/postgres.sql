CREATE TABLE IF NOT EXISTS vicar_workload (
    audit_chain_id VARCHAR(32) NOT NULL,
    idp_id VARCHAR(64) NOT NULL,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    audiences TEXT NOT NULL,
    ends_at BIGINT NOT NULL,
    PRIMARY KEY (audit_chain_id)
);
CREATE INDEX IF NOT EXISTS ix_vicar_workload_ends_at ON vicar_workload (ends_at);
