CREATE INDEX ix_vicar_role_domain ON role (domain_id, name, id);
CREATE INDEX ix_vicar_group_domain ON "group" (domain_id, id);
CREATE INDEX ix_vicar_local_user_name ON local_user (name);
CREATE INDEX ix_vicar_nonlocal_user_name ON nonlocal_user (name);
CREATE INDEX ix_vicar_federated_user_display_name ON federated_user (display_name);
CREATE INDEX ix_vicar_group_name ON "group" (name, id);
CREATE INDEX ix_vicar_project_name ON project (name, id);
