CREATE TABLE vicar_guard (
    id INTEGER NOT NULL,
    turn BIGINT NOT NULL,
    PRIMARY KEY (id)
);
ALTER TABLE vicar_schema ADD COLUMN serves_from INTEGER;
