CREATE TABLE vicar_guard (
    id INTEGER NOT NULL,
    turn BIGINT NOT NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB CHARSET=utf8;
ALTER TABLE vicar_schema ADD COLUMN serves_from INTEGER;
