//! Creating and adopting databases.
//!
//! `vicar_schema` records the steps that our own tables went through. Keystone's tables are created
//! when there are none, with its own version marks, and left alone when there are.

use super::schema::{ALEMBIC_HEADS, KEYSTONE, OWN, OWN_INDEXES, ddl, index_ddl};
use super::{DateTime, Error, Result, Store, Tx};
use crate::args;
use vicar_rules::Micros;

/// The version of our own tables. The next step goes here, and into [`sync`].
pub const VERSION: i64 = 1;

/// The row that every domain's `domain_id` refers to.
pub const ROOT_DOMAIN: &str = "<<keystone.domain.root>>";

/// What a database holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Keystone's marks; empty when its tables are not there.
    pub keystone: Vec<String>,
    /// Our version, if our tables are there.
    pub own: Option<i64>,
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

    /// Is there nothing to do?
    pub fn is_current(&self) -> bool {
        self.is_known() && self.own == Some(VERSION)
    }
}

/// Looks what the database holds, without changing it.
pub async fn state(tx: &mut Tx) -> Result<State> {
    let tables: Vec<String> = tx.column("SELECT name FROM sqlite_master WHERE type = 'table'", &[]).await?;
    let has = |name: &str| tables.iter().any(|t| t == name);
    let keystone = if has("alembic_version") {
        tx.column("SELECT version_num FROM alembic_version", &[]).await?
    } else {
        Vec::new()
    };
    let own = if has("vicar_schema") {
        tx.first("SELECT MAX(version) FROM vicar_schema", &[], |r| r.take::<Option<i64>>()).await?.flatten()
    } else {
        None
    };
    Ok(State { keystone, own })
}

/// Brings the database to the current version; says whether anything was done.
///
/// # Errors
/// A database whose Keystone marks are not those that we know is refused untouched.
pub async fn sync(store: &Store, now: Micros) -> Result<bool> {
    let mut tx = store.write().await?;
    let before = state(&mut tx).await?;
    if before.is_current() {
        return Ok(false);
    }
    if !before.keystone.is_empty() && !before.is_known() {
        return Err(Error::Broken(format!(
            "the database is at Keystone's version {}, known is {} (30.0.0): upgrade it with keystone-manage first",
            before.keystone.join(", "),
            ALEMBIC_HEADS.join(", ")
        )));
    }
    if let Some(v) = before.own.filter(|v| *v > VERSION) {
        return Err(Error::Broken(format!(
            "the database is of a newer version ({v}) than this program ({VERSION})"
        )));
    }
    if before.keystone.is_empty() {
        create_keystone(store, &mut tx).await?;
    }
    if before.own.is_none() {
        for table in OWN {
            for statement in ddl(table, store.dialect()) {
                tx.run(&statement, &[]).await?;
            }
        }
        for (table, index) in OWN_INDEXES {
            tx.run(&index_ddl(table, index, store.dialect()), &[]).await?;
        }
    }
    tx.run("INSERT INTO vicar_schema (version, applied_at) VALUES (?, ?)", args![VERSION, DateTime(now)])
        .await?;
    tx.commit().await?;
    Ok(true)
}

async fn create_keystone(store: &Store, tx: &mut Tx) -> Result<()> {
    for table in KEYSTONE {
        for statement in ddl(table, store.dialect()) {
            tx.run(&statement, &[]).await?;
        }
    }
    for head in ALEMBIC_HEADS {
        tx.run("INSERT INTO alembic_version (version_num) VALUES (?)", args![*head]).await?;
    }
    tx.run(
        "INSERT INTO project (id, name, extra, description, enabled, domain_id, parent_id, is_domain)
         VALUES (?, ?, '{}', '', ?, ?, NULL, ?)",
        args![ROOT_DOMAIN, ROOT_DOMAIN, false, ROOT_DOMAIN, true],
    )
    .await?;
    Ok(())
}
