CREATE TABLE IF NOT EXISTS vicar_adoption (
    trust_id VARCHAR(64) NOT NULL,
    user_id VARCHAR(64) NOT NULL,
    PRIMARY KEY (trust_id)
);
CREATE INDEX IF NOT EXISTS ix_vicar_adoption_user_id ON vicar_adoption (user_id);
