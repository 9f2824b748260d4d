CREATE TABLE IF NOT EXISTS vicar_lapse (
    trust_id VARCHAR(64) NOT NULL,
    lapses_at BIGINT NOT NULL,
    PRIMARY KEY (trust_id)
);
