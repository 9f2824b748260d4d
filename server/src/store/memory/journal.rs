//! The journal of changes: which tables have triggers, and what these leave in `vicar_change`.
//!
//! A row of the journal names a table, and of the changed row the values that readers look it up by: its keys, each with a
//! word for what it is (`u:` a user, `p:` a project, …). What belongs to something larger has the key of that: whatever is
//! known of a user changes under the user's key. So what a foreign key deletes, of which MariaDB's triggers hear nothing, has changed
//! under the key of the row that was deleted first.

use super::super::schema::Dialect;

/// A table whose changes are written down.
#[derive(Debug)]
pub(super) struct Journaled {
    /// Its name.
    pub(super) table: &'static str,
    /// What its rows are looked up by.
    pub(super) keys: &'static [Key],
}

/// What rows are looked up by.
#[derive(Debug)]
pub(super) struct Key {
    /// What it is, in a word.
    pub(super) kind: &'static str,
    /// The column with it; empty for a key that all rows have which fit `when`.
    pub(super) column: &'static str,
    /// Where the value is found, when it is not the column's own: by this column of that table.
    pub(super) by: Option<By>,
    /// Columns that are null in the rows that have it. A reader finds them by saying so.
    pub(super) when_null: &'static [&'static str],
}

/// A value that is in another table.
#[derive(Debug)]
pub(super) struct By {
    /// The table.
    pub(super) table: &'static str,
    /// Its column that the key's column names.
    pub(super) id: &'static str,
    /// Its column with the value.
    pub(super) value: &'static str,
}

const fn key(kind: &'static str, column: &'static str) -> Key {
    Key { kind, column, by: None, when_null: &[] }
}

const fn by(
    kind: &'static str,
    column: &'static str,
    table: &'static str,
    id: &'static str,
    value: &'static str,
) -> Key {
    Key { kind, column, by: Some(By { table, id, value }), when_null: &[] }
}

const fn journaled(table: &'static str, keys: &'static [Key]) -> Journaled {
    Journaled { table, keys }
}

const NAMES_NOBODY: &[&str] = &["user_id", "audit_id", "trust_id", "audit_chain_id"];

/// All of them. A statement that reads another table is never remembered.
pub(super) const JOURNALED: &[Journaled] = &[
    journaled("user", &[key("u", "id")]),
    journaled("local_user", &[key("u", "user_id")]),
    journaled("nonlocal_user", &[key("u", "user_id")]),
    journaled("federated_user", &[key("u", "user_id")]),
    journaled("user_option", &[key("u", "user_id")]),
    journaled("password", &[by("u", "local_user_id", "local_user", "id", "user_id")]),
    journaled("user_group_membership", &[key("u", "user_id")]),
    journaled("expiring_user_group_membership", &[key("u", "user_id")]),
    journaled("project", &[key("p", "id")]),
    journaled("role", &[key("r", "id")]),
    journaled("role_option", &[key("r", "role_id")]),
    journaled("implied_role", &[]),
    journaled("assignment", &[key("h", "target_id")]),
    journaled("system_assignment", &[]),
    journaled("service", &[]),
    journaled("endpoint", &[]),
    journaled("endpoint_group", &[]),
    journaled("project_endpoint", &[]),
    journaled("project_endpoint_group", &[]),
    journaled("identity_provider", &[]),
    journaled("federation_protocol", &[]),
    journaled("service_provider", &[]),
    journaled("credential", &[key("c", "id")]),
    journaled("application_credential", &[key("x", "id")]),
    journaled(
        "application_credential_role",
        &[by("x", "application_credential_id", "application_credential", "internal_id", "id")],
    ),
    journaled(
        "application_credential_access_rule",
        &[by("x", "application_credential_id", "application_credential", "internal_id", "id")],
    ),
    journaled("access_rule", &[]),
    journaled("trust", &[key("t", "id")]),
    journaled("trust_role", &[key("t", "trust_id")]),
    journaled("consumer", &[]),
    journaled("access_token", &[key("o", "id")]),
    journaled(
        "revocation_event",
        &[
            key("ru", "user_id"),
            key("ra", "audit_id"),
            key("rc", "audit_chain_id"),
            key("rt", "trust_id"),
            Key { kind: "rp", column: "project_id", by: None, when_null: NAMES_NOBODY },
            Key {
                kind: "r",
                column: "",
                by: None,
                when_null: &["project_id", "user_id", "audit_id", "trust_id", "audit_chain_id"],
            },
        ],
    ),
    journaled("vicar_keypair", &[key("c", "credential_id"), key("t", "trust_id")]),
    journaled("vicar_trust_terms", &[key("t", "trust_id")]),
    journaled("vicar_may_delegate", &[key("x", "application_credential_id")]),
    journaled("registered_limit", &[]),
    journaled("limit", &[]),
    journaled("vicar_delegation_policy", &[key("d", "holder_id")]),
    journaled("vicar_role_loss", &[key("l", "user_id")]),
    journaled("vicar_directory", &[]),
    journaled("vicar_directory_entry", &[key("u", "public_id")]),
];

/// The table of that name, if its changes are written down.
pub(super) fn journaled_table(name: &str) -> Option<&'static Journaled> {
    JOURNALED.iter().find(|journaled| journaled.table == name)
}

/// How the names of all our triggers begin. The number is another as soon as what they write down is.
pub(super) const PREFIX: &str = "vicar_change1_";

/// How a change is made.
const EVENTS: [(&str, &str, &[&str]); 3] =
    [("INSERT", "i", &["NEW"]), ("DELETE", "d", &["OLD"]), ("UPDATE", "u", &["OLD", "NEW"])];

/// How many triggers there are when all are there.
pub(super) fn count(dialect: Dialect) -> usize {
    match dialect {
        // One for rows, whatever becomes of them, and one for all of a table at once.
        Dialect::Postgres => JOURNALED.len() * 2,
        Dialect::Sqlite | Dialect::Mysql => JOURNALED.len() * EVENTS.len(),
    }
}

impl Journaled {
    /// The key of a row as SQL. Empty when it is of something that is not there: then nothing depends on the row but
    /// by its table as a whole.
    fn value(&self, key: &Key, row: &str, dialect: Dialect) -> String {
        let join = |value: &str| match dialect {
            Dialect::Mysql => format!("CONCAT('{}:', {value})", key.kind),
            Dialect::Sqlite | Dialect::Postgres => format!("'{}:' || {value}", key.kind),
        };
        match &key.by {
            None if key.column.is_empty() => format!("'{}:'", key.kind),
            None => join(&format!("{row}.{}", key.column)),
            Some(by) => format!(
                "COALESCE((SELECT {} FROM {} b WHERE b.{} = {row}.{}), '')",
                join(&format!("b.{}", by.value)),
                by.table,
                by.id,
                key.column
            ),
        }
    }

    /// The condition under which a key is written down for a row; nothing when it always is. Of a row that was updated,
    /// the old key is, and the new one if it is another.
    fn condition(&self, key: &Key, row: &str, is_update: bool, dialect: Dialect) -> Option<String> {
        let mut all = Vec::new();
        if key.by.is_none() && !key.column.is_empty() {
            all.push(format!("{row}.{} IS NOT NULL", key.column));
        }
        all.extend(key.when_null.iter().map(|column| format!("{row}.{column} IS NULL")));
        if is_update && row == "NEW" && key.when_null.is_empty() && !key.column.is_empty() {
            let same = match dialect {
                Dialect::Sqlite => "IS",
                Dialect::Postgres => "IS NOT DISTINCT FROM",
                Dialect::Mysql => "<=>",
            };
            all.push(format!("NOT (NEW.{column} {same} OLD.{column})", column = key.column));
        }
        (!all.is_empty()).then(|| all.join(" AND "))
    }

    /// The statements that write a change of a row down.
    fn inserts(&self, rows: &[&str], is_update: bool, dialect: Dialect) -> String {
        let table = self.table;
        let mut out = Vec::new();
        let mut add = |value: &str, condition: Option<String>| match dialect {
            Dialect::Sqlite | Dialect::Postgres => {
                let only = condition.map(|c| format!(" WHERE {c}")).unwrap_or_default();
                // In PostgreSQL a row has the number of its transaction; in SQLite one by which a backup's is told apart.
                let n = if dialect == Dialect::Postgres { "txid_current()" } else { "random()" };
                out.push(format!(
                    "INSERT INTO vicar_change (slot, n, tab, k) SELECT 0, {n}, '{table}', {value}{only};"
                ));
            }
            // Each row takes the next number of its slot, whose row is locked until the transaction ends. `INSERT … SELECT` would
            // lock the ids of all until the statement ends, and who changes several rows meet others in a deadlock.
            Dialect::Mysql => {
                let (begin, end) = match condition {
                    Some(condition) => (format!("IF {condition} THEN "), " END IF;"),
                    None => (String::new(), ""),
                };
                out.push(format!(
                    "{begin}UPDATE vicar_tick SET n = n + 1 WHERE slot = {SLOT};
                     INSERT INTO vicar_change (slot, n, tab, k)
                     VALUES ({SLOT}, COALESCE((SELECT t.n FROM vicar_tick t WHERE t.slot = {SLOT}), 0), '{table}', {value});{end}"
                ));
            }
        };
        if self.keys.is_empty() {
            add("''", None);
        }
        for row in rows {
            for key in self.keys {
                add(&self.value(key, row, dialect), self.condition(key, row, is_update, dialect));
            }
        }
        out.join(" ")
    }

    /// The statements that make its triggers.
    pub(super) fn triggers(&self, dialect: Dialect) -> Vec<String> {
        let (table, quote) = (self.table, if dialect == Dialect::Mysql { '`' } else { '"' });
        match dialect {
            Dialect::Sqlite | Dialect::Mysql => EVENTS
                .iter()
                .map(|(event, letter, rows)| {
                    let body = self.inserts(rows, *letter == "u", dialect);
                    let name = format!("{PREFIX}{table}_{letter}");
                    // `CREATE TRIGGER IF NOT EXISTS` is known to MariaDB and not to MySQL.
                    format!("CREATE TRIGGER {name} AFTER {event} ON {quote}{table}{quote} FOR EACH ROW BEGIN {body} END")
                })
                .collect(),
            Dialect::Postgres => {
                let function = format!("{PREFIX}{table}");
                let part = |row: &str, is_update| self.inserts(&[row], is_update, dialect);
                vec![
                    format!(
                        "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
                           SET search_path FROM CURRENT AS $$
                         BEGIN
                           IF TG_OP <> 'INSERT' THEN {old} END IF;
                           IF TG_OP = 'INSERT' THEN {new} ELSIF TG_OP = 'UPDATE' THEN {other} END IF;
                           RETURN NULL;
                         END $$",
                        old = part("OLD", false),
                        new = part("NEW", false),
                        other = part("NEW", true),
                    ),
                    format!("DROP TRIGGER IF EXISTS {function} ON \"{table}\""),
                    format!(
                        "CREATE TRIGGER {function} AFTER INSERT OR UPDATE OR DELETE ON \"{table}\"
                           FOR EACH ROW EXECUTE PROCEDURE {function}()"
                    ),
                    format!("DROP TRIGGER IF EXISTS {function}_all ON \"{table}\""),
                    format!(
                        "CREATE TRIGGER {function}_all AFTER TRUNCATE ON \"{table}\"
                           FOR EACH STATEMENT EXECUTE PROCEDURE {PREFIX}all()"
                    ),
                ]
            }
        }
    }

    /// The statements that remove its triggers, whether or not they are there.
    pub(super) fn removal(&self, dialect: Dialect) -> Vec<String> {
        let table = self.table;
        match dialect {
            Dialect::Sqlite | Dialect::Mysql => EVENTS
                .iter()
                .map(|(_, letter, _)| format!("DROP TRIGGER IF EXISTS {PREFIX}{table}_{letter}"))
                .collect(),
            Dialect::Postgres => vec![
                format!("DROP TRIGGER IF EXISTS {PREFIX}{table} ON \"{table}\""),
                format!("DROP TRIGGER IF EXISTS {PREFIX}{table}_all ON \"{table}\""),
                format!("DROP FUNCTION IF EXISTS {PREFIX}{table}()"),
            ],
        }
    }
}

/// The slot of a connection, of the 120 that `vicar_tick` has: a number that those of Galera's nodes divide, so that two nodes use
/// different ones.
const SLOT: &str = "MOD(CONNECTION_ID() * @@auto_increment_increment + @@auto_increment_offset - 1, 120)";

/// What all triggers of PostgreSQL need: a row for a table that was emptied, after which nothing holds.
pub(super) const POSTGRES_ALL: &str = "CREATE OR REPLACE FUNCTION vicar_change1_all() RETURNS trigger LANGUAGE plpgsql
     SECURITY DEFINER SET search_path FROM CURRENT AS $$
     BEGIN INSERT INTO vicar_change (slot, n, tab, k) VALUES (0, txid_current(), '*', ''); RETURN NULL; END $$";
