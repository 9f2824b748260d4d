CREATE INDEX IF NOT EXISTS ix_vicar_application_credential_user ON application_credential (user_id, id);
CREATE INDEX IF NOT EXISTS ix_vicar_application_credential_id ON application_credential (id);
CREATE INDEX IF NOT EXISTS ix_vicar_access_rule_user ON access_rule (user_id, external_id);
