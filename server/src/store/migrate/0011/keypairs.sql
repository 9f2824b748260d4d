INSERT INTO vicar_use (id, type, created_at, created_by, audit_chain_id)
SELECT credential_id, 'keypair', CASE WHEN creator_audit_id IS NULL THEN NULL ELSE created_at END, creator_audit_id, audit_chain_id
  FROM vicar_keypair
