//! Making and removing the triggers, and looking whether they are there.

use super::super::schema::Dialect;
use super::super::{Backoff, Error, Result, Store, WriteTx};
use super::journal::{self, JOURNALED, POSTGRES_ALL, PREFIX};
use super::question::Asks;
use crate::args;

/// What became of the triggers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Journal {
    /// They were there.
    There,
    /// They were made.
    Made,
    /// They could not be made, for this reason: nothing will be remembered.
    Impossible(String),
}

/// Slots of MariaDB's triggers.
const SLOTS: usize = 120;

/// Makes them. What somebody knew of them before is not so any more.
const SLOTS_AT_ZERO: &str = include_str!("../migrate/0007/slots.sql");

/// How many of ours are there.
fn counted(dialect: Dialect) -> String {
    match dialect {
        Dialect::Sqlite => {
            format!("SELECT COUNT(*) FROM sqlite_master WHERE type = 'trigger' AND name LIKE '{PREFIX}%'")
        }
        Dialect::Postgres => format!(
            "SELECT COUNT(*) FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
                    JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = current_schema() AND g.tgname LIKE '{PREFIX}%' AND g.tgenabled IN ('O', 'A')"
        ),
        Dialect::Mysql => format!(
            "SELECT COUNT(*) FROM information_schema.TRIGGERS
              WHERE TRIGGER_SCHEMA = DATABASE() AND TRIGGER_NAME LIKE '{PREFIX}%'"
        ),
    }
}

async fn count(dialect: Dialect, on: &mut impl Asks) -> Result<usize> {
    let found: i64 = match on.rows(&counted(dialect), &[]).await?.into_iter().next() {
        Some(mut row) => row.take()?,
        None => 0,
    };
    Ok(usize::try_from(found).unwrap_or(0))
}

/// Whether all of them are there, and what they write to.
pub(super) async fn are_there(dialect: Dialect, on: &mut impl Asks) -> Result<bool> {
    if count(dialect, on).await? == journal::count(dialect) {
        return Ok(on.rows("SELECT slot FROM vicar_tick", &[]).await?.len() == SLOTS);
    }
    Ok(false)
}

/// Whether the journal is written.
///
/// # Errors
/// When the database is away.
pub async fn is_written(store: &Store) -> Result<bool> {
    let mut tx = store.read().await?;
    let are_there = are_there(store.dialect(), &mut tx.inner).await?;
    tx.end().await;
    Ok(are_there)
}

/// Makes the triggers, unless they are there.
///
/// # Errors
/// When the database is away. That it does not let triggers be made is no error.
pub async fn install(store: &Store) -> Result<Journal> {
    if is_written(store).await? {
        return Ok(Journal::There);
    }
    let mut backoff = Backoff::default();
    loop {
        match make(store).await {
            Ok(()) => return Ok(Journal::Made),
            // Others write, or make them too.
            Err(Error::Retry(_) | Error::Duplicate) if backoff.again().await => {}
            Err(e) => return Ok(Journal::Impossible(e.to_string())),
        }
    }
}

async fn make(store: &Store) -> Result<()> {
    let mut tx = store.change_schema().await?;
    // Two may do so at once; who comes second finds them.
    let dialect = store.dialect();
    if are_there(dialect, &mut tx.tx.inner).await? {
        return Ok(());
    }
    let found = count(dialect, &mut tx.tx.inner).await?;
    if dialect == Dialect::Postgres {
        tx.change(POSTGRES_ALL).await?;
    }
    for table in JOURNALED {
        // Some may be there, on an engine that cannot undo a change of the schema.
        for statement in table.removal(dialect).iter().filter(|_| found > 0 && dialect != Dialect::Postgres) {
            tx.change(statement).await?;
        }
        for statement in table.triggers(dialect) {
            tx.change(&statement).await?;
        }
    }
    begin_anew(&mut tx).await?;
    tx.commit().await
}

/// What was changed while the triggers were not there is in no journal: whoever has read it until some place finds that
/// rows are missing, or that everything has changed.
async fn begin_anew(tx: &mut WriteTx) -> Result<()> {
    tx.statement("DELETE FROM vicar_tick", &[]).await?;
    tx.statement(SLOTS_AT_ZERO, &[]).await?;
    match tx.dialect {
        // A look at the file shows that its schema is another.
        Dialect::Sqlite => {}
        Dialect::Postgres => {
            let below =
                "UPDATE vicar_tick SET n = txid_snapshot_xmin(txid_current_snapshot()) WHERE slot = 0";
            tx.statement(below, &[]).await?;
            let all = "INSERT INTO vicar_change (slot, n, tab, k) VALUES (0, txid_current(), '*', '')";
            tx.statement(all, &[]).await?;
        }
        // Above every number that there was.
        Dialect::Mysql => {
            tx.statement("UPDATE vicar_tick SET n = ?", args![tx.store.clock.now()]).await?;
        }
    }
    Ok(())
}

/// Removes the triggers. Nothing is remembered by any server on the database after some seconds, and what they
/// wrote down stays.
///
/// # Errors
/// When the database is away, or does not let them be removed.
pub async fn remove(store: &Store) -> Result<()> {
    let dialect = store.dialect();
    let mut tx = store.change_schema().await?;
    // First: without these, whoever asks finds no journal.
    tx.statement("DELETE FROM vicar_tick", &[]).await?;
    for table in JOURNALED {
        for statement in table.removal(dialect) {
            tx.change(&statement).await?;
        }
    }
    if dialect == Dialect::Postgres {
        tx.change(&format!("DROP FUNCTION IF EXISTS {PREFIX}all()")).await?;
    }
    tx.commit().await
}
