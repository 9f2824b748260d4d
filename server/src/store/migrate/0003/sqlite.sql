CREATE TABLE IF NOT EXISTS vicar_role_loss (
    id INTEGER NOT NULL,
    act VARCHAR(32) NOT NULL,
    user_id VARCHAR(64) NOT NULL,
    place_type VARCHAR(16) NOT NULL,
    place_id VARCHAR(64) NOT NULL,
    roles TEXT NOT NULL,
    lost_at BIGINT NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX IF NOT EXISTS ix_vicar_role_loss_user_id_lost_at ON vicar_role_loss (user_id, lost_at);
CREATE INDEX IF NOT EXISTS ix_vicar_role_loss_lost_at ON vicar_role_loss (lost_at);
CREATE INDEX IF NOT EXISTS ix_vicar_revocation_event_place ON revocation_event (project_id, user_id, audit_id, trust_id, audit_chain_id, issued_before);
CREATE INDEX IF NOT EXISTS ix_vicar_revocation_event_trust ON revocation_event (trust_id, issued_before);
CREATE INDEX IF NOT EXISTS ix_vicar_revocation_event_chain ON revocation_event (audit_chain_id, issued_before);
DROP INDEX IF EXISTS ix_vicar_revocation_event_trust_id;
DROP INDEX IF EXISTS ix_vicar_revocation_event_audit_chain_id;
DROP INDEX IF EXISTS ix_vicar_revocation_event_rest;
