//! Removing old rows of the journal.

use std::sync::atomic::Ordering;

use super::super::{Proof, Result, Store, Tx};
use super::question::{self, Position};
use crate::args;

/// So many of the newest rows stay, so that who asks seldom need not forget everything.
const KEPT: i64 = 20_000;

/// The same of each slot of MariaDB.
const KEPT_IN_SLOT: i64 = 1_000;

/// What is to be removed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Old {
    /// SQLite: up to this id.
    ids: Option<i64>,
    /// PostgreSQL: transactions below.
    below: Option<i64>,
    /// Those of another cluster, from which the database was restored: their numbers were not reached by this one.
    beyond: bool,
    /// MariaDB: slots, and up to which number.
    slots: Vec<(i64, i64)>,
}

impl Store {
    /// Removes rows of the journal that are old. A reader that did not see one notices.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn trim_journal(&self, _proof: &impl Proof) -> Result<()> {
        let plain = self.without_memory();
        let old = self.old_rows(&mut plain.read().await?).await?;
        if old == Old::default() {
            return Ok(());
        }
        let mut tx = plain.write().await?;
        if let Some(last) = old.ids {
            tx.statement("DELETE FROM vicar_change WHERE id <= ?", args![last]).await?;
        }
        for (slot, last) in old.slots {
            tx.statement("DELETE FROM vicar_change WHERE slot = ? AND n <= ?", args![slot, last]).await?;
        }
        if old.beyond {
            // Of this snapshot, in which no row of this cluster has such a number.
            let beyond = "slot = 0 AND n >= txid_snapshot_xmax(txid_current_snapshot())";
            tx.statement(&format!("UPDATE vicar_tick SET n = 0 WHERE {beyond}"), &[]).await?;
            tx.statement(&format!("DELETE FROM vicar_change WHERE {beyond}"), &[]).await?;
        }
        if let Some(below) = old.below {
            tx.statement("UPDATE vicar_tick SET n = ? WHERE slot = 0 AND n < ?", args![below, below]).await?;
            tx.statement("DELETE FROM vicar_change WHERE slot = 0 AND n < ?", args![below]).await?;
        }
        tx.commit().await
    }

    async fn old_rows(&self, tx: &mut Tx) -> Result<Old> {
        let mut old = Old::default();
        match question::begin(tx.dialect, &mut tx.inner).await? {
            Position::Sqlite(last, _) => {
                let first: Option<i64> = tx.column("SELECT MIN(id) FROM vicar_change", &[]).await?.pop();
                old.ids = first.filter(|first| last - first > 2 * KEPT).map(|_| last - KEPT);
            }
            Position::Postgres(now) => {
                let before = self.xmin.swap(now.xmin(), Ordering::Relaxed);
                let many =
                    format!("SELECT 1 FROM vicar_change WHERE slot = 0 AND n < ? LIMIT 1 OFFSET {KEPT}");
                if before > 0 && tx.exists(&many, args![before]).await? {
                    old.below = Some(before);
                }
                let beyond = "SELECT 1 FROM vicar_change WHERE slot = 0 AND n >= ? LIMIT 1";
                old.beyond = tx.exists(beyond, args![now.xmax()]).await?;
            }
            Position::Mysql(slots) => {
                let sql = "SELECT slot, MIN(n) FROM vicar_change GROUP BY slot";
                let firsts = tx.map(sql, &[], |r| Ok((r.take::<i64>()?, r.take::<i64>()?))).await?;
                for (slot, n) in slots.ticks() {
                    let is_old = |(of, first): &&(i64, i64)| of == slot && n - first > 2 * KEPT_IN_SLOT;
                    old.slots.extend(firsts.iter().find(is_old).map(|_| (*slot, n - KEPT_IN_SLOT)));
                }
            }
        }
        Ok(old)
    }
}
