CREATE TABLE vicar_adoption (
    trust_id VARCHAR(64) NOT NULL,
    user_id VARCHAR(64) NOT NULL,
    PRIMARY KEY (trust_id)
) ENGINE=InnoDB CHARSET=utf8;
CREATE INDEX ix_vicar_adoption_user_id ON vicar_adoption (user_id);
