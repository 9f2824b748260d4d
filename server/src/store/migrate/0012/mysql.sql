CREATE TABLE vicar_directory (
    domain_id VARCHAR(64) NOT NULL,
    read_at BIGINT NOT NULL,
    PRIMARY KEY (domain_id)
) ENGINE=InnoDB CHARSET=utf8;
CREATE TABLE vicar_directory_entry (
    public_id VARCHAR(64) NOT NULL,
    domain_id VARCHAR(64) NOT NULL,
    read_at BIGINT NOT NULL,
    gone_at BIGINT,
    PRIMARY KEY (public_id)
) ENGINE=InnoDB CHARSET=utf8;
CREATE INDEX ix_vicar_directory_entry_domain_id ON vicar_directory_entry (domain_id);
