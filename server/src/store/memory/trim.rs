//! Removing old rows of the journal.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::super::{Proof, Result, Store, WriteTx};
use super::question::{self, Position};
use crate::args;

/// So many of the newest rows stay, so that who asks seldom need not forget everything.
const KEPT: i64 = 20_000;

/// The same of each slot of MariaDB.
const KEPT_IN_SLOT: i64 = 1_000;

/// What was removed until now.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Trimmed {
    /// PostgreSQL: all transactions below were over when it was looked last.
    xmin: i64,
    /// MariaDB: up to which number each slot was emptied.
    slots: BTreeMap<i64, i64>,
}

impl Store {
    /// Removes rows of the journal that are old. A reader that did not see one notices.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn trim_journal(&self, proof: &impl Proof) -> Result<()> {
        let mut trimmed = self.trimmed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut tx = self.write().await?;
        trimmed.trim(&mut tx, proof).await?;
        tx.commit().await?;
        *self.trimmed.lock().unwrap_or_else(PoisonError::into_inner) = trimmed;
        Ok(())
    }
}

impl Trimmed {
    async fn trim(&mut self, tx: &mut WriteTx, _proof: &impl Proof) -> Result<()> {
        // In this transaction, so that it is true of what the others see.
        match question::begin(tx.dialect, &mut tx.tx.inner).await? {
            Position::Sqlite(last, _) => {
                tx.statement("DELETE FROM vicar_change WHERE id <= ?", args![last.saturating_sub(KEPT)])
                    .await?;
            }
            Position::Postgres(now) => {
                let below = std::mem::replace(&mut self.xmin, now.xmin());
                // Of another cluster, from which the database was restored: no transaction of this one has such a number.
                let other = "DELETE FROM vicar_change WHERE slot = 0 AND n >= ?";
                if tx
                    .statement(
                        "UPDATE vicar_tick SET n = ? WHERE slot = 0 AND n >= ?",
                        args![now.xmin(), now.xmax()],
                    )
                    .await?
                    > 0
                {
                    tx.statement(other, args![now.xmax()]).await?;
                }
                let noted = "UPDATE vicar_tick SET n = ? WHERE slot = 0 AND n < ?";
                if below > 0 && tx.statement(noted, args![below, below]).await? > 0 {
                    tx.statement("DELETE FROM vicar_change WHERE slot = 0 AND n < ?", args![below]).await?;
                }
            }
            Position::Mysql(slots) => {
                for (slot, n) in slots {
                    let emptied = self.slots.entry(slot).or_default();
                    if n - *emptied > 2 * KEPT_IN_SLOT {
                        *emptied = n - KEPT_IN_SLOT;
                        tx.statement(
                            "DELETE FROM vicar_change WHERE slot = ? AND n <= ?",
                            args![slot, *emptied],
                        )
                        .await?;
                    }
                }
            }
        }
        Ok(())
    }
}
