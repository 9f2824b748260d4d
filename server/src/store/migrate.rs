//! Creating and adopting databases.
//!
//! Keystone's tables are created when there are none, with its own version placeholders, and left alone when there
//! are. `vicar_schema` records the steps that our own tables went through.
//!
//! # How the next version adds a step
//!
//! During a rolling upgrade programs of version N and N+1 serve one database, so a step only ever expands:
//! new tables, new columns that may be null or have a default, new indexes. What N does must stay right
//! afterwards. The next version
//! 1. adds a [`Step`] at the end of [`STEPS`], with statements that every engine understands, each of which
//!    may be found done already (MariaDB cannot undo a change of the schema, so a step that was interrupted
//!    is done again);
//! 2. brings `OWN` in `schema.rs` to the same form: a new database is made from it;
//! 3. leaves `serves_from` as it was: N finds a schema that is newer than its own and goes on.
//!
//! What nobody uses any more is removed by a later step (contract) with `serves_from` set to the first
//! version that never used it. A program that is older refuses the database from then on, and `vicar db
//! sync` of the newer one is done after the last old program has ended.

use super::schema::{ALEMBIC_HEADS, Dialect, KEYSTONE, OWN, OWN_INDEXES, ddl, index_ddl};
use super::{DateTime, Error, Result, Store, Tx, WriteTx};
use crate::args;
use vicar_rules::Micros;

/// A step of our own tables.
#[derive(Debug)]
struct Step {
    version: i64,
    /// The oldest program that can work with the database from here on.
    serves_from: i64,
    /// What is done, on a database that is at the version before.
    statements: fn(Dialect) -> Vec<String>,
}

/// All steps. The first made the tables; it is [`OWN`] itself.
const STEPS: &[Step] = &[
    Step { version: 1, serves_from: 1, statements: |_| Vec::new() },
    // The guard of the writers, and the place for `serves_from`; programs of version 1 knew no newer ones.
    Step {
        version: 2,
        serves_from: 2,
        statements: |dialect| {
            let guard = OWN.iter().filter(|t| t.name == "vicar_guard").flat_map(|t| ddl(t, dialect));
            let column = "ALTER TABLE vicar_schema ADD COLUMN serves_from INTEGER".to_owned();
            guard.chain([column]).collect()
        },
    },
];

/// The version of our own tables that this program was made for.
pub const VERSION: i64 = STEPS[STEPS.len() - 1].version;

/// Recorded while the tables are being made, where that cannot be undone.
const UNFINISHED: i64 = 0;

/// The row that every domain's `domain_id` refers to.
pub const ROOT_DOMAIN: &str = "<<keystone.domain.root>>";

/// What a database holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Keystone's placeholders; empty when its tables are not there.
    pub keystone: Vec<String>,
    /// Our version, if our tables are there.
    pub own: Option<i64>,
    /// The oldest of our programs that can work with it.
    pub serves_from: i64,
    /// The first table that is there and has the name of one of ours or Keystone's.
    taken: Option<String>,
}

impl State {
    /// Is it a Keystone schema that we know?
    pub fn is_known(&self) -> bool {
        let mut found: Vec<&str> = self.keystone.iter().map(String::as_str).collect();
        let mut known = ALEMBIC_HEADS.to_vec();
        found.sort_unstable();
        known.sort_unstable();
        found == known
    }

    /// Can this program work with it as it is? A newer one may have expanded it.
    pub fn is_current(&self) -> bool {
        self.is_known() && self.own.is_some_and(|v| v >= VERSION) && !self.is_too_new()
    }

    /// Has a newer program removed what this one needs?
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
    Ok(State { keystone, own, serves_from, taken })
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
/// A database whose Keystone placeholders are not those that we know is refused untouched.
pub async fn sync(store: &Store, now: Micros) -> Result<bool> {
    let mut done = try_sync(store, now).await;
    for _ in 1..TRIES {
        // Somebody else is doing the same; in the end it is done.
        if !matches!(done, Err(Error::Duplicate | Error::Again(_))) {
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

fn refuse(before: &State) -> Result<()> {
    if !before.keystone.is_empty() && !before.is_known() {
        return Err(Error::Broken(format!(
            "the database is at Keystone's version {}, known is {} (30.0.0): upgrade it with keystone-manage first",
            before.keystone.join(", "),
            ALEMBIC_HEADS.join(", ")
        )));
    }
    if before.is_too_new() {
        return Err(Error::Broken(format!(
            "the database serves programs from version {} on, this one is of version {VERSION}",
            before.serves_from
        )));
    }
    match &before.taken {
        Some(table) if before.keystone.is_empty() && before.own != Some(UNFINISHED) => Err(Error::Broken(
            format!("the database has a table {table} already, which neither Keystone nor this program made"),
        )),
        _ => Ok(()),
    }
}

async fn take(tx: &mut WriteTx, step: &Step, now: Micros) -> Result<()> {
    for statement in (step.statements)(tx.dialect) {
        tx.change(&statement).await?;
    }
    if step.version == 2 {
        guard(tx).await?;
    }
    record(tx, step, now).await
}

async fn record(tx: &mut WriteTx, step: &Step, now: Micros) -> Result<()> {
    tx.statement(
        "INSERT INTO vicar_schema (version, applied_at, serves_from) VALUES (?, ?, ?)",
        args![step.version, DateTime(now), step.serves_from],
    )
    .await?;
    Ok(())
}

/// The row that a writer changes first where locking it is locking all.
async fn guard(tx: &mut WriteTx) -> Result<()> {
    tx.statement("INSERT INTO vicar_guard (id, turn) VALUES (?, ?)", args![1_i64, 0_i64]).await?;
    Ok(())
}

/// Makes our tables, and Keystone's unless they are there.
async fn create(tx: &mut WriteTx, before: &State, now: Micros) -> Result<()> {
    let dialect = tx.dialect;
    let (first, others): (Vec<_>, Vec<_>) = OWN.iter().partition(|t| t.name == "vicar_schema");
    if before.own.is_none() {
        for statement in first.into_iter().flat_map(|t| ddl(t, dialect)) {
            tx.change(&statement).await?;
        }
        tx.statement(
            "INSERT INTO vicar_schema (version, applied_at) VALUES (?, ?)",
            args![UNFINISHED, DateTime(now)],
        )
        .await?;
    }
    let keystone = KEYSTONE.iter().filter(|_| before.keystone.is_empty());
    for statement in keystone.chain(others).flat_map(|t| ddl(t, dialect)) {
        tx.change(&statement).await?;
    }
    for (table, index) in OWN_INDEXES.iter().filter(|own| own.1.scope.covers(dialect)) {
        tx.change(&index_ddl(table, index, dialect)).await?;
    }
    // All rows in one transaction, on every engine: with them the database is whole.
    if before.keystone.is_empty() {
        fill_keystone(tx).await?;
    }
    guard(tx).await?;
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
