//! What is deleted with what: the statements that remove a row and all that hangs on it, made from
//! [`schema`](super::schema), where each column says what its values name.
//!
//! Engines could do some of it by foreign keys, but SQLite does not enforce Keystone's, and most references have
//! none. What ends by rules (trusts, tokens, everything that a domain owns) is not in these statements.

use super::schema::{self, Column, Dialect, KEYSTONE, OWN, OnDelete, Reference, Table};
use super::{Proof, Result, Value, WriteTx};

/// The name under which rows refer to a project that is a domain.
pub const DOMAIN: &str = "domain";

/// The statements that delete what falls with the row of this key, and then the row itself, in an order that
/// foreign keys allow. Each has the key as its only argument.
///
/// `table` is a name in the schema with a key `id`, or [`DOMAIN`] for what hangs on a domain besides the
/// project that it is (the row of `project` itself is not deleted then).
pub fn statements(dialect: Dialect, table: &str, key: &str) -> Vec<(String, Vec<Value>)> {
    falls_with(dialect, table).into_iter().map(|sql| (sql, vec![Value::Id(key.to_owned())])).collect()
}

/// Deletes these rows of a table. MariaDB before 11.1 asks a subquery anew for each row of the table, unless the deletion is
/// written as one from several tables: then the subquery's rows lead to those that are deleted.
fn deletion(dialect: Dialect, table: &str, rows: &str) -> String {
    match dialect {
        Dialect::Mysql => format!("DELETE \"{table}\" FROM \"{table}\" WHERE {rows}"),
        Dialect::Sqlite | Dialect::Postgres => format!("DELETE FROM \"{table}\" WHERE {rows}"),
    }
}

/// Deletes what falls with the row of this key, and the row itself; see [`statements`].
///
/// # Errors
/// [`super::Error::NeedsWriter`] in a rehearsal, otherwise as the engine says.
pub async fn delete(tx: &mut WriteTx, _proof: &impl Proof, table: &'static str, key: &str) -> Result<()> {
    tx.writes()?;
    for (sql, args) in statements(tx.store.dialect(), table, key) {
        tx.statement(&sql, &args).await?;
    }
    Ok(())
}

/// The same as SQL, each with one `?` for the key.
pub fn falls_with(dialect: Dialect, table: &str) -> Vec<String> {
    let mut out = Vec::new();
    visit(dialect, table, &|_| "= ?".to_owned(), &mut vec![table], &mut out);
    if schema::table(table).is_some() {
        out.push(deletion(dialect, table, "\"id\" = ?"));
    }
    out
}

/// Something that keeps a row from being deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The table that refers to the row.
    pub table: &'static str,
    /// Its column.
    pub column: &'static str,
    /// A query that finds a row when the deletion is to be refused, with the key as its only argument.
    pub query: String,
}

/// What keeps a row of a table from being deleted.
pub fn refusals(table: &str) -> Vec<Refusal> {
    let found = referring(table).filter(|(_, _, reference)| reference.on_delete == OnDelete::Refuses);
    found
        .map(|(refers, column, reference)| Refusal {
            table: refers.name,
            column: column.name,
            query: format!(
                "SELECT 1 FROM \"{}\" WHERE {} LIMIT 1",
                refers.name,
                condition(column, reference, "= ?")
            ),
        })
        .collect()
}

/// All columns that name rows of a table.
fn referring(table: &str) -> impl Iterator<Item = (&'static Table, &'static Column, &'static Reference)> {
    let columns = KEYSTONE.iter().chain(OWN).flat_map(|t| t.columns.iter().map(move |c| (t, c)));
    let all = columns.flat_map(|(t, c)| c.references().map(move |r| (t, c, r)));
    all.filter(move |(_, _, r)| r.table == table)
}

/// The rows whose column is what `is` says.
fn condition(column: &Column, reference: &Reference, is: &str) -> String {
    let when = reference.when.map(|when| format!("{when} AND ")).unwrap_or_default();
    format!("{when}\"{}\" {is}", column.name)
}

/// Adds what falls with some rows of `table`. `is` compares one of its columns with those of these rows; `path`
/// are the tables on the way here, which ends a circle.
fn visit<'a>(
    dialect: Dialect,
    table: &str,
    is: &dyn Fn(&str) -> String,
    path: &mut Vec<&'a str>,
    out: &mut Vec<String>,
) where
    'static: 'a,
{
    for (refers, column, reference) in referring(table) {
        let rows = condition(column, reference, &is(reference.column));
        let name = refers.name;
        match reference.on_delete {
            OnDelete::Goes if !path.contains(&name) => {
                let these = |by: &str| format!("IN (SELECT \"{by}\" FROM \"{name}\" WHERE {rows})");
                path.push(name);
                visit(dialect, name, &these, path, out);
                path.pop();
                out.push(deletion(dialect, name, &rows));
            }
            OnDelete::Takes(other) => {
                let Some(owner) =
                    refers.columns.iter().find(|c| c.name == other).and_then(|c| c.references[0])
                else {
                    continue;
                };
                let these = format!("IN (SELECT \"{other}\" FROM \"{name}\" WHERE {rows})");
                let owners = |by: &str| {
                    if by == owner.column {
                        return these.clone();
                    }
                    format!(
                        "IN (SELECT \"{by}\" FROM \"{}\" WHERE \"{}\" {these})",
                        owner.table, owner.column
                    )
                };
                // The rows here say who the owners are, so they go last. Where foreign keys are enforced they
                // have gone with the owners then.
                path.extend([name, owner.table]);
                visit(dialect, owner.table, &owners, path, out);
                path.truncate(path.len() - 2);
                out.push(deletion(dialect, owner.table, &format!("\"{}\" {these}", owner.column)));
                // In parentheses of its own: MySQL does not read from the table that it deletes from.
                let taken = format!(
                    "\"{other}\" IN
                         (SELECT taken.\"{other}\" FROM (SELECT \"{other}\" FROM \"{name}\" WHERE {rows}) taken)"
                );
                out.push(deletion(dialect, name, &taken));
            }
            OnDelete::Forgets => {
                out.push(format!("UPDATE \"{name}\" SET \"{}\" = NULL WHERE {rows}", column.name));
            }
            OnDelete::Goes
            | OnDelete::Refuses
            | OnDelete::ByRules(_)
            | OnDelete::Kept(_)
            | OnDelete::Follows(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::{OWN_INDEXES, Type, ddl};
    use super::super::{DateTime, Store, Tx, WriteTx, placeholders};
    use super::*;

    fn all() -> impl Iterator<Item = &'static Table> {
        KEYSTONE.iter().chain(OWN)
    }

    /// Endings of the names of columns that refer to somebody or something that can be deleted.
    const NOUNS: &[&str] = &[
        "user_id",
        "group_id",
        "project_id",
        "domain_id",
        "role_id",
        "role_ids",
        "trust_id",
        "credential_id",
        "region_id",
        "service_id",
        "endpoint_id",
        "actor_id",
        "target_id",
        "parent_id",
        "place_id",
        "public_id",
    ];

    #[test]
    fn every_column_that_names_something_says_what_happens_when_that_goes() {
        for table in all() {
            for column in table.columns {
                let names = NOUNS.iter().any(|noun| column.name.ends_with(noun));
                assert!(
                    !names || column.references().next().is_some(),
                    "{}.{}: what becomes of the row when the one that it names is deleted?",
                    table.name,
                    column.name
                );
            }
            for key in table.foreign_keys {
                let says = |name: &&str| {
                    let column = table.columns.iter().find(|c| c.name == *name).expect("a column");
                    column.references().any(|r| r.table == key.table || r.table == DOMAIN)
                };
                assert!(key.columns.iter().any(says), "{}: {:?}", table.name, key.columns);
            }
        }
    }

    /// Tables of which a deployment has hundreds of rows at most.
    const SMALL: &[&str] = &[
        "access_token",
        "config_register",
        "endpoint",
        "endpoint_group",
        "federation_protocol",
        "group",
        "identity_provider",
        "idp_remote_ids",
        "implied_role",
        "limit",
        "policy_association",
        "project_endpoint",
        "project_endpoint_group",
        "region",
        "request_token",
        "role",
        "sensitive_config",
        "system_assignment",
        "whitelisted_config",
    ];

    /// Deletions hold up everybody who writes.
    #[test]
    fn what_is_deleted_with_something_is_found_by_an_index() {
        for table in all().filter(|table| !SMALL.contains(&table.name)) {
            for column in table.columns {
                let sought = column
                    .references()
                    .any(|r| !matches!(r.on_delete, OnDelete::Kept(_) | OnDelete::Follows(_)));
                for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::Mysql] {
                    let indexes = table
                        .indexes
                        .iter()
                        .chain(OWN_INDEXES.iter().filter(|own| own.0 == table.name).map(|own| &own.1));
                    let indexes = indexes.filter(|i| i.scope.covers(dialect)).map(|i| i.columns);
                    // MySQL makes an index for each foreign key.
                    let keys = table.foreign_keys.iter().filter(|_| dialect == Dialect::Mysql);
                    let keys = keys.filter(|k| k.scope.covers(dialect)).map(|k| k.columns);
                    let uniques = table.uniques.iter().filter(|u| u.scope.covers(dialect)).map(|u| u.columns);
                    let mut all = indexes.chain(keys).chain(uniques).chain([table.primary_key]);
                    let found = all.any(|columns| columns.first() == Some(&column.name));
                    assert!(!sought || found, "{}.{} on {dialect:?}", table.name, column.name);
                }
            }
        }
    }

    #[test]
    fn references_are_to_what_is_there() {
        for table in all() {
            for column in table.columns {
                for reference in column.references() {
                    let at = format!("{}.{}", table.name, column.name);
                    match reference.on_delete {
                        OnDelete::ByRules(why) | OnDelete::Kept(why) => {
                            assert!(!why.is_empty(), "{at}");
                            continue;
                        }
                        OnDelete::Follows(other) | OnDelete::Takes(other) => {
                            let other = table.columns.iter().find(|c| c.name == other).expect("a column");
                            assert_eq!(
                                other.references[0].map(|r| r.on_delete),
                                Some(OnDelete::Goes),
                                "{at}"
                            );
                            assert_eq!(other.references[1].map(|r| r.on_delete), None, "{at}");
                        }
                        OnDelete::Forgets => assert!(column.nullable, "{at}"),
                        OnDelete::Goes => assert_ne!(reference.table, table.name, "{at}"),
                        OnDelete::Refuses => {}
                    }
                    let named = if reference.table == DOMAIN { "project" } else { reference.table };
                    let named = schema::table(named).unwrap_or_else(|| panic!("{at}: {named}"));
                    assert!(named.columns.iter().any(|c| c.name == reference.column), "{at}");
                    if let OnDelete::Takes(other) = reference.on_delete {
                        // The statements count on it.
                        let with_owner =
                            |k: &&schema::ForeignKey| k.columns == [other] && k.on_delete_cascade;
                        assert!(table.foreign_keys.iter().any(|k| with_owner(&k)), "{at}");
                    }
                }
            }
        }
    }

    #[test]
    fn each_statement_has_one_argument_and_no_two_are_the_same() {
        for table in all().map(|t| t.name).chain([DOMAIN]) {
            let mut statements = falls_with(Dialect::Sqlite, table);
            assert!(statements.iter().all(|sql| sql.matches('?').count() == 1), "{statements:#?}");
            let many = statements.len();
            statements.sort();
            statements.dedup();
            assert_eq!(statements.len(), many, "{table}");
        }
    }

    /// The tables from which something goes or is forgotten.
    fn touched(table: &str) -> Vec<String> {
        let first = |sql: &String| {
            let verb = if sql.starts_with("UPDATE") { "forgets " } else { "" };
            format!("{verb}{}", sql.split('"').nth(1).unwrap_or_default())
        };
        let mut touched: Vec<String> = falls_with(Dialect::Sqlite, table).iter().map(first).collect();
        touched.sort();
        touched.dedup();
        touched
    }

    #[test]
    fn what_falls() {
        let user = "access_rule access_token application_credential application_credential_access_rule \
                    application_credential_role assignment credential expiring_user_group_membership \
                    federated_user id_mapping local_user nonlocal_user password request_token \
                    system_assignment user user_group_membership user_option vicar_delegation_policy \
                    vicar_directory_entry vicar_keypair vicar_may_delegate vicar_use";
        let group = "assignment expiring_user_group_membership group id_mapping system_assignment \
                     user_group_membership";
        let role = "application_credential application_credential_access_rule application_credential_role \
                    assignment implied_role role role_option system_assignment vicar_may_delegate vicar_use";
        for (table, falls) in [
            ("user", user),
            ("group", group),
            ("role", role),
            (
                "trust",
                "trust trust_role vicar_adoption vicar_lapse vicar_trust_credential vicar_trust_state vicar_trust_terms \
                 vicar_use",
            ),
            ("credential", "credential vicar_keypair vicar_use"),
            (
                "domain",
                "assignment config_register id_mapping limit sensitive_config vicar_directory \
                 vicar_directory_entry whitelisted_config",
            ),
            ("region", "policy_association region"),
            ("service", "endpoint policy_association project_endpoint service"),
            ("endpoint", "endpoint policy_association project_endpoint"),
            ("endpoint_group", "endpoint_group project_endpoint_group"),
            ("policy", "policy policy_association"),
        ] {
            assert_eq!(touched(table).join(" "), falls, "{table}");
        }
        assert_eq!(
            touched("project"),
            [
                "access_token",
                "application_credential",
                "application_credential_access_rule",
                "application_credential_role",
                "assignment",
                "credential",
                "forgets user",
                "limit",
                "project",
                "project_endpoint",
                "project_endpoint_group",
                "project_option",
                "project_tag",
                "request_token",
                "vicar_delegation_policy",
                "vicar_keypair",
                "vicar_may_delegate",
                "vicar_use",
            ]
        );
    }

    #[test]
    fn what_refuses() {
        let refused = |table: &str| -> Vec<String> {
            refusals(table).iter().map(|r| format!("{}.{}", r.table, r.column)).collect()
        };
        assert_eq!(refused("region"), ["endpoint.region_id"]);
        assert_eq!(refused("project"), ["project.parent_id"]);
        assert_eq!(refused("registered_limit"), ["limit.registered_limit_id"]);
        assert_eq!(refused("user"), Vec::<String>::new());
        assert_eq!(refusals("region")[0].query, "SELECT 1 FROM \"endpoint\" WHERE \"region_id\" = ? LIMIT 1");
    }

    #[test]
    fn a_role_takes_the_credentials_that_carry_it() {
        let carriers = r#"IN (SELECT "application_credential_id" FROM "application_credential_role" WHERE "role_id" = ?)"#;
        let statements = falls_with(Dialect::Sqlite, "role");
        let at = |sql: String| statements.iter().position(|s| *s == sql).expect("is there");
        let rules = at(format!(
            r#"DELETE FROM "application_credential_access_rule" WHERE "application_credential_id" {carriers}"#
        ));
        let owner = at(format!(r#"DELETE FROM "application_credential" WHERE "internal_id" {carriers}"#));
        assert!(
            rules < owner && statements[owner + 1].starts_with("DELETE FROM \"application_credential_role\"")
        );
    }

    /// A value for a column that has to have one.
    fn filler(column: &Column, n: i64) -> Value {
        match column.ty {
            Type::Varchar(_) | Type::Text => n.to_string().into(),
            Type::Integer | Type::BigInt | Type::Serial => n.into(),
            Type::Boolean => false.into(),
            Type::DateTime => DateTime(n).into(),
            Type::Date => Value::Date("2026-01-01".into()),
            Type::Enum { values, .. } => values[0].into(),
        }
    }

    /// Inserts a row of a table in which one column has a value, and others by the condition.
    async fn insert(tx: &mut WriteTx, table: &Table, n: i64, given: &[(&str, Value)]) {
        let columns: Vec<&Column> = table.columns.iter().collect();
        let values: Vec<Value> = columns
            .iter()
            .map(|c| {
                let value = given.iter().find(|(name, _)| *name == c.name).map(|(_, v)| v.clone());
                value.unwrap_or_else(|| filler(c, n))
            })
            .collect();
        let names: Vec<String> = columns.iter().map(|c| format!("\"{}\"", c.name)).collect();
        let sql = format!(
            "INSERT INTO \"{}\" ({}) VALUES ({})",
            table.name,
            names.join(", "),
            placeholders(values.len())
        );
        tx.statement(&sql, &values).await.expect(&sql);
    }

    /// Values that make a reference's condition true: the column and the words are in it.
    fn chosen(reference: &Reference) -> Vec<(&'static str, Value)> {
        let Some(when) = reference.when else { return Vec::new() };
        let (column, _) = when.split_once(' ').expect("a column");
        vec![(column, when.split('\'').nth(1).expect("a word").into())]
    }

    /// Every reference to everything, by two rows: one to what is deleted, one to another.
    #[tokio::test]
    async fn nothing_names_what_is_gone_and_nothing_else_is_lost() {
        for gone in all().map(|t| t.name).chain([DOMAIN]) {
            let store = Store::memory().expect("opens");
            let mut tx = store.change_schema().await.expect("begins");
            for sql in all().flat_map(|t| ddl(t, Dialect::Sqlite)) {
                tx.change(&sql).await.expect("creates");
            }
            let mut n = 0;
            for (table, column, reference) in referring(gone) {
                for key in ["gone", "stays"] {
                    n += 1;
                    let mut given = chosen(reference);
                    given.push((column.name, key.into()));
                    insert(&mut tx, table, n, &given).await;
                }
            }
            for (sql, args) in statements(Dialect::Sqlite, gone, "gone") {
                tx.statement(&sql, &args).await.expect(&sql);
            }
            for (table, column, reference) in referring(gone) {
                for (key, is_left) in [("gone", false), ("stays", true)] {
                    let is_left = match reference.on_delete {
                        OnDelete::Goes | OnDelete::Takes(_) | OnDelete::Forgets => is_left,
                        // Kept by this column; another of the row may name the same.
                        _ if !is_left => continue,
                        _ => true,
                    };
                    let rows = condition(column, reference, "= ?");
                    let sql = format!("SELECT 1 FROM \"{}\" WHERE {rows}", table.name);
                    let found = tx.exists(&sql, &[Value::Id(key.into())]).await.expect(&sql);
                    assert_eq!(found, is_left, "{gone}: {}.{} {key}", table.name, column.name);
                }
            }
        }
    }

    /// What hangs on something that hangs on what is deleted.
    #[tokio::test]
    async fn what_hangs_on_what_falls_falls_too() {
        let store = Store::memory().expect("opens");
        let mut tx = store.change_schema().await.expect("begins");
        for sql in all().flat_map(|t| ddl(t, Dialect::Sqlite)) {
            tx.change(&sql).await.expect("creates");
        }
        let table = |name| schema::table(name).expect("a table");
        for (n, user) in [(1_i64, "gone"), (2, "stays")] {
            let id = || ("internal_id", Value::Int(n));
            insert(&mut tx, table("local_user"), n, &[("user_id", user.into()), ("id", n.into())]).await;
            insert(&mut tx, table("password"), n, &[("local_user_id", n.into())]).await;
            insert(&mut tx, table("application_credential"), n, &[("user_id", user.into()), id()]).await;
            for role in ["taken", "other"] {
                let row = [("application_credential_id", n.into()), ("role_id", role.into())];
                insert(&mut tx, table("application_credential_role"), n, &row).await;
            }
            let rule = [("application_credential_id", n.into()), ("access_rule_id", n.into())];
            insert(&mut tx, table("application_credential_access_rule"), n, &rule).await;
            insert(&mut tx, table("credential"), n, &[("user_id", user.into()), ("id", user.into())]).await;
            insert(&mut tx, table("vicar_keypair"), n, &[("credential_id", user.into())]).await;
        }
        async fn count(tx: &mut Tx, tables: &[&str]) -> Vec<i64> {
            let mut counts = Vec::new();
            for table in tables {
                counts.extend(
                    tx.column::<i64>(&format!("SELECT COUNT(*) FROM {table}"), &[]).await.expect("counts"),
                );
            }
            counts
        }
        let tables = [
            "local_user",
            "password",
            "application_credential",
            "application_credential_role",
            "application_credential_access_rule",
            "credential",
            "vicar_keypair",
        ];
        assert_eq!(count(&mut tx, &tables).await, [2, 2, 2, 4, 2, 2, 2]);
        for (sql, args) in statements(Dialect::Sqlite, "user", "gone") {
            tx.statement(&sql, &args).await.expect(&sql);
        }
        assert_eq!(count(&mut tx, &tables).await, [1, 1, 1, 2, 1, 1, 1]);
        // The credential carries another role besides, and goes as a whole.
        for (sql, args) in statements(Dialect::Sqlite, "role", "taken") {
            tx.statement(&sql, &args).await.expect(&sql);
        }
        assert_eq!(count(&mut tx, &tables).await, [1, 1, 0, 0, 0, 1, 1]);
    }
}
