CREATE TABLE vicar_adoption (
    trust_id VARCHAR(64) NOT NULL,
    user_id VARCHAR(64) NOT NULL,
    PRIMARY KEY (trust_id)
) ENGINE=InnoDB CHARSET=utf8;
CREATE INDEX ix_vicar_adoption_user_id ON vicar_adoption (user_id);
CREATE TABLE vicar_may_delegate (
    application_credential_id VARCHAR(64) NOT NULL,
    terms TEXT NOT NULL,
    PRIMARY KEY (application_credential_id)
) ENGINE=InnoDB CHARSET=utf8;
CREATE TABLE vicar_trust_credential (
    trust_id VARCHAR(64) NOT NULL,
    application_credential_id VARCHAR(64) NOT NULL,
    PRIMARY KEY (trust_id)
) ENGINE=InnoDB CHARSET=utf8;
CREATE INDEX ix_vicar_trust_credential_credential ON vicar_trust_credential (application_credential_id);
