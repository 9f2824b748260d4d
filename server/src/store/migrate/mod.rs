//! Creating and adopting databases.
//!
//! Keystone's tables are created when there are none, with its own version marks, and left alone when there
//! are. `vicar_schema` records the steps that our own tables went through.
//!
//! # How the next version adds a step
//!
//! During a rolling upgrade programs of version N and N+1 serve one database, so a step only ever expands:
//! new tables, new columns that may be null or have a default, new indexes. (An index that a new one makes
//! superfluous may go: no program's answers depend on it.) What N does must stay right afterwards. The next
//! version
//! 1. adds a folder `000N` with the statements for each engine, and a [`Step`] at the end of [`STEPS`]. A
//!    statement may be found done already: MariaDB cannot undo a change of the schema, so a step that was
//!    interrupted is done again. `IF NOT EXISTS` says so where every supported engine of a dialect knows it;
//!    MySQL does not, so there the error is taken for it;
//! 2. brings `OWN` and `OWN_INDEXES` in `schema.rs` to the same form; a test compares the two;
//! 3. leaves `serves_from` as it was: N finds a schema that is newer than its own and goes on.
//!
//! A step is never edited once it was released: it is plain SQL, and does not change when `schema.rs` does.
//! A new database goes through all of them.
//!
//! What nobody uses any more is removed by a later step (contract) with `serves_from` set to the first
//! version that never used it. A program that is older refuses the database from then on, and `vicar db
//! sync` of the newer one is done after the last old program has ended.

use super::schema::releases::{self, Release};
use super::schema::{ALEMBIC_HEADS, Dialect, KEYSTONE, OWN, ddl, missing_index_ddl};
use super::{DateTime, Error, Id, Result, Store, Tx, WriteTx};
use crate::args;
use vicar_rules::Micros;

/// A step of our own tables.
#[derive(Debug)]
struct Step {
    version: i64,
    /// The oldest program that can work with the database from here on.
    serves_from: i64,
    /// What is done, on a database that is at the version before. Statements end with a semicolon at the
    /// end of a line.
    sqlite: &'static str,
    postgres: &'static str,
    mysql: &'static str,
    /// The rows that it adds, after its statements, in the transaction that records it.
    rows: &'static [&'static str],
}

/// All steps. The first made the tables.
const STEPS: &[Step] = &[
    Step {
        version: 1,
        serves_from: 1,
        sqlite: include_str!("0001/sqlite.sql"),
        postgres: include_str!("0001/postgres.sql"),
        mysql: include_str!("0001/mysql.sql"),
        rows: &[],
    },
    // The guard of the writers, and the place for `serves_from`; programs of version 1 knew no newer ones.
    Step {
        version: 2,
        serves_from: 2,
        sqlite: include_str!("0002/sqlite.sql"),
        postgres: include_str!("0002/postgres.sql"),
        mysql: include_str!("0002/mysql.sql"),
        // The row that a writer changes first where locking it is locking all.
        rows: &["INSERT INTO vicar_guard (id, turn) VALUES (1, 0)"],
    },
    // Roles that were lost, and indexes by which a validation finds its events whatever the number of
    // others.
    Step {
        version: 3,
        serves_from: 2,
        sqlite: include_str!("0003/sqlite.sql"),
        postgres: include_str!("0003/postgres.sql"),
        mysql: include_str!("0003/mysql.sql"),
        rows: &[],
    },
    // Indexes by which a page of a list is read in the order of its ids, whatever the number of others.
    Step {
        version: 4,
        serves_from: 2,
        sqlite: include_str!("0004/sqlite.sql"),
        postgres: include_str!("0004/postgres.sql"),
        mysql: include_str!("0004/mysql.sql"),
        rows: &[],
    },
    // The same of roles, groups and members, and indexes by which something is found by its name alone.
    Step {
        version: 5,
        serves_from: 2,
        sqlite: include_str!("0005/sqlite.sql"),
        postgres: include_str!("0005/postgres.sql"),
        mysql: include_str!("0005/mysql.sql"),
        rows: &[],
    },
    // The same of application credentials and access rules; a login names one by its id.
    Step {
        version: 6,
        serves_from: 2,
        sqlite: include_str!("0006/sqlite.sql"),
        postgres: include_str!("0006/postgres.sql"),
        mysql: include_str!("0006/mysql.sql"),
        rows: &[],
    },
    // The journal of changes (`store/memory`). Its triggers are no part of the steps: not every database lets them be made.
    Step {
        version: 7,
        serves_from: 2,
        sqlite: include_str!("0007/sqlite.sql"),
        postgres: include_str!("0007/postgres.sql"),
        mysql: include_str!("0007/mysql.sql"),
        rows: &[
            include_str!("0007/slots.sql"),
            "INSERT INTO vicar_change (slot, n, tab, k) VALUES (0, 0, '', '')",
        ],
    },
    // Terms of trusts. A program before them takes such a trust for deleted, so it gives less; but its reaper removes the
    // trust's keypairs. So none is to be made before the last of these has ended: docs/operations.md says so.
    Step {
        version: 8,
        serves_from: 2,
        sqlite: include_str!("0008/sqlite.sql"),
        postgres: include_str!("0008/postgres.sql"),
        mysql: include_str!("0008/mysql.sql"),
        rows: &[],
    },
    // Trusts that were adopted, and those that application credentials made. A program before it cannot read what is recorded of them with
    // the terms, so there they are suspended.
    Step {
        version: 9,
        serves_from: 2,
        sqlite: include_str!("0009/sqlite.sql"),
        postgres: include_str!("0009/postgres.sql"),
        mysql: include_str!("0009/mysql.sql"),
        rows: &[],
    },
    // Ceilings. A program before them knows none, so one that is set holds where it is known alone until the last of these has
    // ended: docs/operations.md says so.
    Step {
        version: 10,
        serves_from: 2,
        sqlite: include_str!("0010/sqlite.sql"),
        postgres: include_str!("0010/postgres.sql"),
        mysql: include_str!("0010/mysql.sql"),
        rows: &[],
    },
    // When delegations were made and used, and what is known of the keypairs of trusts already.
    Step {
        version: 11,
        serves_from: 2,
        sqlite: include_str!("0011/sqlite.sql"),
        postgres: include_str!("0011/postgres.sql"),
        mysql: include_str!("0011/mysql.sql"),
        rows: &[include_str!("0011/keypairs.sql")],
    },
    // When users and groups of directories were read.
    Step {
        version: 12,
        serves_from: 2,
        sqlite: include_str!("0012/sqlite.sql"),
        postgres: include_str!("0012/postgres.sql"),
        mysql: include_str!("0012/mysql.sql"),
        rows: &[],
    },
    // Which workloads logged in.
    Step {
        version: 13,
        serves_from: 2,
        sqlite: include_str!("0013/sqlite.sql"),
        postgres: include_str!("0013/postgres.sql"),
        mysql: include_str!("0013/mysql.sql"),
        rows: &[],
    },
    // Of which trusts it was told that they lapse.
    Step {
        version: 14,
        serves_from: 2,
        sqlite: include_str!("0014/sqlite.sql"),
        postgres: include_str!("0014/postgres.sql"),
        mysql: include_str!("0014/mysql.sql"),
        rows: &[],
    },
];

impl Step {
    fn statements(&self, dialect: Dialect) -> impl Iterator<Item = &'static str> + use<> {
        let text = match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Postgres => self.postgres,
            Dialect::Mysql => self.mysql,
        };
        text.split(";\n").map(str::trim).filter(|statement| !statement.is_empty())
    }
}

/// The version of our own tables that this program was made for.
pub const VERSION: i64 = match STEPS {
    [.., last] => last.version,
    [] => 0,
};

/// Recorded while the tables are being made, where that cannot be undone.
const UNFINISHED: i64 = 0;

/// The row that every domain's `domain_id` refers to.
pub const ROOT_DOMAIN: &str = "<<keystone.domain.root>>";

/// What a database holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Keystone's marks; empty when its tables are not there.
    pub keystone: Vec<String>,
    /// Our version, if our tables are there.
    pub own: Option<i64>,
    /// The oldest of our programs that can work with it.
    pub serves_from: i64,
    /// The first table that is there and has the name of one of ours or Keystone's.
    taken: Option<String>,
    /// Whether a Keystone before 21 left its own mark, and no later one has.
    is_before_alembic: bool,
}

impl State {
    /// Which release of Keystone its tables are of.
    ///
    /// # Errors
    /// A sentence for the operator, when it is none that is served.
    pub fn release(&self) -> Result<Release, String> {
        if !self.keystone.is_empty() {
            return releases::read(&self.keystone);
        }
        Err(match self.taken.as_deref() {
            Some(_) if self.is_before_alembic => format!(
                "the database is of a Keystone before 21, and served are those of {}: upgrade the Keystone first (`keystone-manage db_sync` of a newer one)",
                releases::SERVED
            ),
            Some("alembic_version") => "the migrations of a Keystone were begun and left no version: finish them first (`keystone-manage db_sync`)".to_owned(),
            Some(table) => format!(
                "the database has a table {table} already, which neither Keystone nor this program made"
            ),
            None => "there are no tables of a Keystone".to_owned(),
        })
    }

    /// Whether this program can work with it as it is. A newer one may have expanded it.
    pub fn is_current(&self) -> bool {
        self.release().is_ok() && self.own.is_some_and(|v| v >= VERSION) && !self.is_too_new()
    }

    /// Whether a newer program has removed what this one needs.
    pub fn is_too_new(&self) -> bool {
        self.serves_from > VERSION
    }
}

/// Looks what the database holds, without changing it.
pub async fn state(tx: &mut Tx) -> Result<State> {
    let tables: Vec<String> = tx.column(Store::tables(tx.dialect), &[]).await?;
    let has = |name: &str| tables.iter().any(|t| t == name);
    let keystone = if has("alembic_version") {
        tx.column("SELECT version_num FROM alembic_version", &[]).await?
    } else {
        Vec::new()
    };
    let (mut own, mut serves_from) = (None, 0);
    if has("vicar_schema") {
        // Empty, it was made a moment ago.
        own = number(tx, "SELECT MAX(version) FROM vicar_schema").await?.or(Some(UNFINISHED));
    }
    // The column came with version 2.
    if own.is_some_and(|v| v >= 2) {
        serves_from = number(tx, "SELECT MAX(serves_from) FROM vicar_schema").await?.unwrap_or(0);
    }
    let taken = KEYSTONE.iter().chain(OWN).map(|t| t.name).find(|name| has(name)).map(str::to_owned);
    let is_before_alembic = keystone.is_empty() && has("migrate_version");
    Ok(State { keystone, own, serves_from, taken, is_before_alembic })
}

async fn number(tx: &mut Tx, sql: &str) -> Result<Option<i64>> {
    Ok(tx.first(sql, &[], |r| r.take::<Option<i64>>()).await?.flatten())
}

/// How often two that do the same at once step aside, and for how long.
const TRIES: u32 = 40;
const ASIDE: std::time::Duration = std::time::Duration::from_millis(250);

/// Brings the database to the current version; says whether anything was done. Any number of programs may
/// do so at once.
///
/// # Errors
/// A database whose Keystone marks are not those that we know is refused untouched.
pub async fn sync(store: &Store, now: Micros) -> Result<bool> {
    // Nearly always it is, and who only looks waits for nobody.
    let mut tx = store.read().await?;
    let found = state(&mut tx).await?;
    tx.end().await;
    if found.is_current() {
        return Ok(false);
    }
    let mut done = try_sync(store, now).await;
    for _ in 1..TRIES {
        // Somebody else is doing the same; in the end it is done.
        if !matches!(done, Err(Error::Duplicate | Error::Retry(_))) {
            break;
        }
        tokio::time::sleep(ASIDE).await;
        done = try_sync(store, now).await;
    }
    done
}

async fn try_sync(store: &Store, now: Micros) -> Result<bool> {
    let mut tx = store.change_schema().await?;
    let before = state(&mut tx).await?;
    if before.is_current() {
        return Ok(false);
    }
    refuse(&before)?;
    match before.own {
        None | Some(UNFINISHED) => create(&mut tx, &before, now).await?,
        Some(version) => {
            for step in STEPS.iter().filter(|s| s.version > version) {
                take(&mut tx, step, now).await?;
            }
        }
    }
    tx.commit().await?;
    Ok(true)
}

/// Whether a database can be brought to the current version.
///
/// # Errors
/// A sentence for the operator, when it cannot.
pub fn refuse(before: &State) -> Result<()> {
    if before.is_too_new() {
        return Err(Error::Broken(format!(
            "the database serves programs from version {} on, this one is of version {VERSION}",
            before.serves_from
        )));
    }
    let is_ours_to_make = before.taken.is_none() || before.own == Some(UNFINISHED);
    if before.keystone.is_empty() && is_ours_to_make {
        return Ok(());
    }
    before.release().map(drop).map_err(Error::Broken)
}

/// Brings Keystone's own tables to the newest release that is served, from an older one that is: makes the indexes
/// that it lacks, and leaves the newest mark as that release's migrations do. Returns the names of the indexes.
///
/// # Errors
/// As [`sync`].
pub async fn complete(store: &Store) -> Result<Vec<&'static str>> {
    let mut tx = store.change_schema().await?;
    let before = state(&mut tx).await?;
    refuse(&before)?;
    let release = before.release().map_err(Error::Broken)?;
    for (table, index) in &release.lacks {
        let statement = missing_index_ddl(table, index, tx.dialect);
        tx.change(&statement).await?;
    }
    if release.expand != releases::NEWEST_EXPAND {
        // The mark comes last: where changes of the schema cannot be undone, an interrupted one is done again.
        let mark = "UPDATE alembic_version SET version_num = ? WHERE version_num = ?";
        tx.statement(mark, args![releases::NEWEST_EXPAND, Id(release.expand)]).await?;
    }
    tx.commit().await?;
    Ok(release.lacks.iter().map(|(_, index)| index.name).collect())
}

async fn take(tx: &mut WriteTx, step: &Step, now: Micros) -> Result<()> {
    for statement in step.statements(tx.dialect) {
        tx.change(statement).await?;
    }
    record(tx, step, now).await
}

/// Adds the rows of a step and notes that it was taken.
async fn record(tx: &mut WriteTx, step: &Step, now: Micros) -> Result<()> {
    for row in step.rows {
        tx.statement(row, &[]).await?;
    }
    tx.statement(
        "INSERT INTO vicar_schema (version, applied_at, serves_from) VALUES (?, ?, ?)",
        args![step.version, DateTime(now), step.serves_from],
    )
    .await?;
    Ok(())
}

/// Makes our tables, and Keystone's unless they are there.
async fn create(tx: &mut WriteTx, before: &State, now: Micros) -> Result<()> {
    let dialect = tx.dialect;
    let mut ours = STEPS.iter().flat_map(|step| step.statements(dialect));
    // The first statement of all makes `vicar_schema`.
    let first = ours.next();
    if before.own.is_none() {
        if let Some(statement) = first {
            tx.change(statement).await?;
        }
        tx.statement(
            "INSERT INTO vicar_schema (version, applied_at) VALUES (?, ?)",
            args![UNFINISHED, DateTime(now)],
        )
        .await?;
    }
    let keystone = KEYSTONE.iter().filter(|_| before.keystone.is_empty());
    for statement in keystone.flat_map(|t| ddl(t, dialect)) {
        tx.change(&statement).await?;
    }
    for statement in ours {
        tx.change(statement).await?;
    }
    // All rows in one transaction, on every engine: with them the database is whole.
    if before.keystone.is_empty() {
        fill_keystone(tx).await?;
    }
    for step in STEPS {
        record(tx, step, now).await?;
    }
    tx.statement("DELETE FROM vicar_schema WHERE version = ?", args![UNFINISHED]).await?;
    Ok(())
}

async fn fill_keystone(tx: &mut WriteTx) -> Result<()> {
    for head in ALEMBIC_HEADS {
        tx.statement("INSERT INTO alembic_version (version_num) VALUES (?)", args![*head]).await?;
    }
    tx.statement(
        "INSERT INTO project (id, name, extra, description, enabled, domain_id, parent_id, is_domain)
         VALUES (?, ?, '{}', '', ?, ?, NULL, ?)",
        args![ROOT_DOMAIN, ROOT_DOMAIN, false, ROOT_DOMAIN, true],
    )
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use sha2::{Digest, Sha256};

    use super::super::schema::{OWN_INDEXES, Scope, index_ddl};
    use super::*;

    const DIALECTS: [Dialect; 3] = [Dialect::Sqlite, Dialect::Postgres, Dialect::Mysql];

    /// What a step does, in a few digits.
    fn digest(step: &Step) -> String {
        let mut all = Sha256::new();
        for part in [step.sqlite, step.postgres, step.mysql].iter().chain(step.rows) {
            all.update(part.as_bytes());
            all.update([0]);
        }
        all.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_step_that_was_released_does_not_change() {
        // A new step adds a line here. A line that is here already is never changed.
        let frozen = [
            "7e8c9976d2ed03e7",
            "7f6a5dbf6fcea3e1",
            "8369b132d5b29707",
            "2ba0f9a24efab2ee",
            "35c6938b156cfec8",
            "7cdc6f4e054a826f",
            "2c985d14a8e73df6",
            "7b0064001848db4e",
            "4d05d75dcb9fd313",
            "724ddc72adbf20ab",
            "4200ce017c18dd4f",
            "1f3a709c1e5eae17",
            "33afad41591f8725",
            "ba5eee63081d81ec",
        ];
        let now: Vec<String> = STEPS.iter().map(digest).collect();
        assert_eq!(now, frozen);
    }

    #[test]
    fn steps_are_numbered_and_never_serve_the_future() {
        for (step, version) in STEPS.iter().zip(1..) {
            assert_eq!(step.version, version);
            assert!(step.serves_from <= version);
            assert!(DIALECTS.iter().all(|d| step.statements(*d).next().is_some()));
        }
        assert!(STEPS.windows(2).all(|two| two[0].serves_from <= two[1].serves_from));
    }

    /// The columns and keys of a schema as SQLite tells them, table by table, and its indexes.
    async fn shape(tx: &mut Tx) -> BTreeMap<String, Vec<String>> {
        let mut out = BTreeMap::new();
        let names: Vec<String> = tx.column(Store::tables(Dialect::Sqlite), &[]).await.expect("tables");
        for table in names {
            let mut lines: Vec<String> = tx
                .map(
                    "SELECT name, type, \"notnull\", COALESCE(dflt_value, ''), pk FROM pragma_table_info(?)",
                    args![&table],
                    |r| {
                        let text = (r.take::<String>()?, r.take::<String>()?);
                        Ok(format!(
                            "{text:?} {} {} {}",
                            r.take::<i64>()?,
                            r.take::<String>()?,
                            r.take::<i64>()?
                        ))
                    },
                )
                .await
                .expect("columns");
            lines.sort();
            let indexes: Vec<String> = tx
                .column(
                    "SELECT il.name || ' ' || il.\"unique\" || il.partial || ' ' ||
                            (SELECT group_concat(ii.name) FROM pragma_index_info(il.name) ii)
                       FROM pragma_index_list(?) il WHERE il.origin <> 'pk' ORDER BY il.origin, il.name",
                    args![&table],
                )
                .await
                .expect("indexes");
            lines.extend(indexes);
            out.insert(table, lines);
        }
        out
    }

    #[tokio::test]
    async fn the_steps_make_what_the_schema_describes() {
        let described = Store::memory().expect("opens");
        let mut tx = described.change_schema().await.expect("begins");
        for statement in KEYSTONE.iter().chain(OWN).flat_map(|t| ddl(t, Dialect::Sqlite)) {
            tx.change(&statement).await.expect("creates");
        }
        for (table, index) in OWN_INDEXES.iter().filter(|own| own.1.scope.covers(Dialect::Sqlite)) {
            tx.change(&index_ddl(table, index, Dialect::Sqlite)).await.expect("creates");
        }
        let described = shape(&mut tx).await;
        let stepped = new_shape().await;
        assert!(stepped.len() > 50);
        assert_eq!(stepped, described);
    }

    /// What a new database is like.
    async fn new_shape() -> BTreeMap<String, Vec<String>> {
        let store = Store::memory().expect("opens");
        assert!(sync(&store, 0).await.expect("makes it"));
        let mut tx = store.change_schema().await.expect("begins");
        shape(&mut tx).await
    }

    #[tokio::test]
    async fn every_version_is_brought_to_the_current_one() {
        for version in 1..VERSION {
            let store = Store::memory().expect("opens");
            let mut tx = store.change_schema().await.expect("begins");
            let keystone = KEYSTONE.iter().flat_map(|t| ddl(t, Dialect::Sqlite));
            for statement in keystone {
                tx.change(&statement).await.expect("creates");
            }
            fill_keystone(&mut tx).await.expect("fills");
            for step in STEPS.iter().filter(|step| step.version <= version) {
                for statement in step.statements(Dialect::Sqlite) {
                    tx.change(statement).await.expect("takes the step");
                }
                for row in step.rows {
                    tx.statement(row, &[]).await.expect("adds its rows");
                }
                let noted = "INSERT INTO vicar_schema (version, applied_at) VALUES (?, ?)";
                tx.statement(noted, args![step.version, DateTime(0)]).await.expect("notes it");
                if step.version >= 2 {
                    let from = "UPDATE vicar_schema SET serves_from = ? WHERE version = ?";
                    tx.statement(from, args![step.serves_from, step.version]).await.expect("notes it");
                }
            }
            tx.commit().await.expect("commits");
            assert!(sync(&store, 0).await.expect("brings it up"));
            let mut tx = store.change_schema().await.expect("begins");
            let now = state(&mut tx).await.expect("looks");
            assert!(now.is_current() && now.own == Some(VERSION) && now.serves_from == 2, "{now:?}");
            assert_eq!(shape(&mut tx).await, new_shape().await, "from {version}");
            let guards: Vec<i64> = tx.column("SELECT turn FROM vicar_guard", &[]).await.expect("reads");
            assert_eq!(guards, [0]);
        }
    }

    #[test]
    fn every_engine_gets_the_same_names() {
        let names = |dialect: Dialect| {
            let statements = STEPS.iter().flat_map(move |step| step.statements(dialect));
            let mut names: Vec<String> = statements
                .map(|s| s.replace("IF NOT EXISTS ", "").replace("IF EXISTS ", ""))
                .map(|s| s.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
                // Here they differ: see `OWN_INDEXES`.
                .filter(|name| {
                    !OWN_INDEXES.iter().any(|own| own.1.scope != Scope::All && name.ends_with(own.1.name))
                        // Step 4 put another in its place.
                        && !name.ends_with("ix_vicar_project_parent_id")
                })
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(Dialect::Sqlite), names(Dialect::Postgres));
        assert_eq!(names(Dialect::Sqlite), names(Dialect::Mysql));
    }
}
