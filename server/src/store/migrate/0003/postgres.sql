CREATE TABLE IF NOT EXISTS vicar_role_loss (
    id SERIAL NOT NULL,
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
CREATE INDEX IF NOT EXISTS ix_vicar_revocation_event_rest_of_place ON revocation_event (project_id, issued_before) WHERE user_id IS NULL AND audit_id IS NULL AND trust_id IS NULL AND audit_chain_id IS NULL;
CREATE INDEX IF NOT EXISTS ix_vicar_revocation_event_trust ON revocation_event (trust_id, issued_before);
CREATE INDEX IF NOT EXISTS ix_vicar_revocation_event_chain ON revocation_event (audit_chain_id, issued_before);
CREATE INDEX IF NOT EXISTS ix_vicar_expiring_user_group_membership_group_id ON expiring_user_group_membership (group_id);
CREATE INDEX IF NOT EXISTS ix_vicar_expiring_user_group_membership_idp_id ON expiring_user_group_membership (idp_id);
CREATE INDEX IF NOT EXISTS ix_vicar_application_credential_access_rule_access_rule_id ON application_credential_access_rule (access_rule_id);
CREATE INDEX IF NOT EXISTS ix_vicar_project_parent_id ON project (parent_id);
CREATE INDEX IF NOT EXISTS ix_vicar_implied_role_implied_role_id ON implied_role (implied_role_id);
CREATE INDEX IF NOT EXISTS ix_vicar_assignment_target_id ON assignment (target_id);
CREATE INDEX IF NOT EXISTS ix_vicar_assignment_role_id ON assignment (role_id);
CREATE INDEX IF NOT EXISTS ix_vicar_trust_project_id ON trust (project_id);
CREATE INDEX IF NOT EXISTS ix_vicar_trust_role_role_id ON trust_role (role_id);
CREATE INDEX IF NOT EXISTS ix_vicar_credential_project_id ON credential (project_id);
CREATE INDEX IF NOT EXISTS ix_vicar_application_credential_project_id ON application_credential (project_id);
CREATE INDEX IF NOT EXISTS ix_vicar_application_credential_role_role_id ON application_credential_role (role_id);
DROP INDEX IF EXISTS ix_vicar_revocation_event_trust_id;
DROP INDEX IF EXISTS ix_vicar_revocation_event_audit_chain_id;
DROP INDEX IF EXISTS ix_vicar_revocation_event_rest;
