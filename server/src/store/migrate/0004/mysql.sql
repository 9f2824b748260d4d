CREATE INDEX ix_vicar_trust_trustor ON trust (trustor_user_id, id);
CREATE INDEX ix_vicar_trust_trustee ON trust (trustee_user_id, id);
CREATE INDEX ix_vicar_user_domain ON "user" (domain_id, id);
CREATE INDEX ix_vicar_credential_user ON credential (user_id, id);
CREATE INDEX ix_vicar_project_domain ON project (domain_id, id);
DROP INDEX ix_vicar_trust_trustor_user_id ON trust;
DROP INDEX ix_vicar_trust_trustee_user_id ON trust;
DROP INDEX ix_vicar_user_domain_id ON "user";
DROP INDEX ix_vicar_credential_user_id ON credential;
