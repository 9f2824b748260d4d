CREATE TABLE IF NOT EXISTS vicar_trust_terms (
    trust_id VARCHAR(64) NOT NULL,
    terms TEXT NOT NULL,
    PRIMARY KEY (trust_id)
);
