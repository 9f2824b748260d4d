//! Trusts that are over: finding them, ending what nobody ended, and removing what ended long enough ago.
//! The reaper, `vicar trust flush` and `vicar doctor` share these.
//!
//! Queries look for candidates only. What is ended is ended because the rules say that it is over, and what is
//! removed is looked at by itself before: a query that a database answers wrongly must cost nobody a trust.

use vicar_rules::Micros;
use vicar_rules::delegation::{Ended, TrustStatus};

use super::end::{self, EndReason};
use crate::args;
use crate::error::Result;
use crate::facts;
use crate::resources::keypairs;
use crate::store::{CHUNK, DateTime, Delete, Id, Select, Tx, WriteTx, cascade};
use crate::system::System;

/// So many trusts are ended or removed in one transaction, so that logins are not kept waiting.
pub const BATCH: usize = 100;

/// The time of `t` has come. Rows from before Keystone's exact column hold the legacy one only.
const EXPIRED: &str = "((COALESCE(t.expires_at_int, 0) <> 0 AND t.expires_at_int <= ?)
    OR (COALESCE(t.expires_at_int, 0) = 0 AND t.expires_at <= ?))";

/// `t` hangs on a trust, `p`, that is deleted or gone or gives less than `t`; or its project is gone, or a user
/// who takes part in it. The same as the rules call broken, for one link.
const BROKEN: &str = "(
    (t.redelegated_trust_id IS NOT NULL AND (p.id IS NULL OR p.deleted_at IS NOT NULL
        OR COALESCE(t.project_id, '') <> COALESCE(p.project_id, '')
        OR COALESCE(t.redelegation_count, 0) >= COALESCE(p.redelegation_count, 0)
        OR (t.impersonation <> p.impersonation AND t.impersonation = ?)
        OR t.trustor_user_id <> CASE WHEN p.impersonation = ? THEN p.trustor_user_id ELSE p.trustee_user_id END))
    OR t.project_id IS NULL
    OR NOT EXISTS (SELECT 1 FROM project x WHERE x.id = t.project_id)
    OR NOT EXISTS (SELECT 1 FROM \"user\" x WHERE x.id = t.trustor_user_id)
    OR NOT EXISTS (SELECT 1 FROM \"user\" x WHERE x.id = t.trustee_user_id))";

/// `t` counts uses, and none is left.
const EXHAUSTED: &str = "t.remaining_uses <= 0";

/// Leaves out trusts that the rules will not find in this state, as far as their own rows and what is recorded
/// of them tell: so that those few that are over are found among many that are not.
pub fn in_state(q: &mut Select, state: &str, now: Micros) {
    let own = |condition: &str| {
        format!(
            "({condition} OR EXISTS (SELECT 1 FROM vicar_trust_state s WHERE s.trust_id = t.id AND s.reason = ?))"
        )
    };
    match state {
        "live" | "suspended" => q.and("t.deleted_at IS NULL", &[]),
        "deleted" => q.and("t.deleted_at IS NOT NULL", &[]),
        "expired" => q.and(&own(EXPIRED), args![now, DateTime(now), Id(state)]),
        "exhausted" => q.and(&own(EXHAUSTED), args![Id(state)]),
        _ => q,
    };
}

/// Which trusts are meant; nothing means all.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// Those on this project.
    pub project: Option<String>,
    /// Those of this trustor.
    pub trustor: Option<String>,
    /// Those for this trustee.
    pub trustee: Option<String>,
}

impl Which {
    fn narrow(&self, q: &mut Select) {
        q.id("t.project_id", self.project.as_deref());
        q.id("t.trustor_user_id", self.trustor.as_deref());
        q.id("t.trustee_user_id", self.trustee.as_deref());
    }
}

/// How many trusts are stored that yield nothing any more and never will.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dead {
    /// Deleted: kept for those who ask how they ended.
    pub deleted: usize,
    /// Not deleted, but their time is over.
    pub expired: usize,
    /// Not deleted, but their uses are consumed.
    pub exhausted: usize,
    /// Not deleted, but what they hang on is.
    pub broken: usize,
    /// Keypairs whose trust is deleted or gone.
    pub keypairs: usize,
}

impl Dead {
    /// All trusts together; one that is dead for two reasons counts twice.
    pub fn trusts(&self) -> usize {
        self.deleted + self.expired + self.exhausted + self.broken
    }
}

/// Counts what is dead.
pub async fn count(tx: &mut Tx, now: Micros) -> Result<Dead> {
    let time = args![now, DateTime(now)];
    Ok(Dead {
        keypairs: orphaned_keypairs(tx).await?.len(),
        deleted: how_many(tx, "t.deleted_at IS NOT NULL", &[]).await?,
        expired: how_many(tx, &format!("t.deleted_at IS NULL AND {EXPIRED}"), time).await?,
        exhausted: how_many(tx, &format!("t.deleted_at IS NULL AND {EXHAUSTED}"), &[]).await?,
        broken: how_many(tx, &format!("t.deleted_at IS NULL AND {BROKEN}"), args![true, true]).await?,
    })
}

async fn how_many(tx: &mut Tx, condition: &str, args: &[crate::store::Value]) -> Result<usize> {
    let query = format!(
        "SELECT COUNT(*) FROM trust t LEFT JOIN trust p ON p.id = t.redelegated_trust_id WHERE {condition}"
    );
    let found: Vec<i64> = tx.column(&query, args).await?;
    Ok(found.first().map_or(0, |n| usize::try_from(*n).unwrap_or(0)))
}

/// Trusts that seem to be over and that nobody has ended, with the reason: at most `limit` for each reason.
async fn over(tx: &mut Tx, which: &Which, now: Micros, limit: usize) -> Result<Vec<(String, EndReason)>> {
    let time = args![now, DateTime(now)];
    let reasons: [(&str, &[crate::store::Value], EndReason); 3] = [
        (EXPIRED, time, EndReason::Expired),
        (EXHAUSTED, &[], EndReason::Exhausted),
        (BROKEN, args![true, true], EndReason::Broken),
    ];
    let mut out: Vec<(String, EndReason)> = Vec::new();
    for (condition, args, why) in reasons {
        let mut q =
            Select::new("SELECT t.id FROM trust t LEFT JOIN trust p ON p.id = t.redelegated_trust_id");
        q.and("t.deleted_at IS NULL", &[]).and(condition, args);
        which.narrow(&mut q);
        q.end(&format!("ORDER BY t.id LIMIT {}", i64::try_from(limit).unwrap_or(i64::MAX)));
        let ids: Vec<String> = q.map(tx, |r| r.take()).await?;
        out.extend(ids.into_iter().map(|id| (id, why)));
    }
    Ok(out)
}

/// Some trusts that seem to be over and that nobody has ended.
pub async fn over_some(tx: &mut Tx, which: &Which, now: Micros) -> Result<Vec<String>> {
    Ok(over(tx, which, now, BATCH).await?.into_iter().map(|(id, _)| id).collect())
}

/// Ends those of some trusts that are over by the rules, each with all below it; returns how many ended.
pub async fn end_those(tx: &mut WriteTx, by: &System, ids: &[&str], now: Micros) -> Result<usize> {
    let chains = facts::chains(tx, ids).await?;
    let implications = facts::implications(tx).await?;
    let mut ended = 0;
    for evaluated in facts::evaluate_all(tx, chains, now, &implications).await? {
        let why = match evaluated.status() {
            TrustStatus::Ended(Ended::Expired) => EndReason::Expired,
            TrustStatus::Ended(Ended::Exhausted) => EndReason::Exhausted,
            TrustStatus::Ended(Ended::Broken(_)) => EndReason::Broken,
            TrustStatus::Ended(Ended::Deleted) | TrustStatus::Suspended(_) | TrustStatus::Live(_) => continue,
        };
        // One that ended with another of this list is left as it is.
        ended += end::subtree(tx, by, &evaluated.chain().leaf().id, why, now).await?.len();
    }
    Ok(ended)
}

/// Keypairs of trusts, whose trust was deleted or removed by somebody who knows no keypairs: a Keystone.
async fn orphaned_keypairs(tx: &mut Tx) -> Result<Vec<String>> {
    Ok(tx
        .column(
            "SELECT k.credential_id FROM vicar_keypair k LEFT JOIN trust t ON t.id = k.trust_id
              WHERE t.id IS NULL OR t.deleted_at IS NOT NULL
             UNION
             SELECT c.id FROM credential c LEFT JOIN vicar_keypair k ON k.credential_id = c.id
              WHERE c.type = ? AND k.credential_id IS NULL
             UNION
             SELECT k.credential_id FROM vicar_keypair k LEFT JOIN credential c ON c.id = k.credential_id
              WHERE c.id IS NULL",
            args![Id(keypairs::sql::BOUND)],
        )
        .await?)
}

/// Removes those of some keypairs that belong to no trust; returns how many.
async fn remove_orphaned_keypairs(tx: &mut WriteTx, by: &System, ids: &[String]) -> Result<usize> {
    let mut removed = 0;
    for id in ids {
        let trust: Vec<String> =
            tx.column("SELECT trust_id FROM vicar_keypair WHERE credential_id = ?", args![Id(id)]).await?;
        let is_bound = !stored(tx, &trust, Stored::Alive).await?.is_empty()
            && tx.exists("SELECT id FROM credential WHERE id = ?", args![Id(id)]).await?;
        if !is_bound {
            keypairs::sql::delete(tx, by, id).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Which rows of trusts are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    /// Those that nobody deleted.
    Alive,
    /// Every one.
    AtAll,
}

/// Those of some trusts that are stored.
async fn stored(tx: &mut Tx, ids: &[String], how: Stored) -> Result<Vec<String>> {
    let mut out = Vec::new();
    for part in ids.chunks(CHUNK) {
        let mut q = Select::new("SELECT id FROM trust");
        q.id_in("id", part.iter().map(String::as_str));
        if how == Stored::Alive {
            q.and("deleted_at IS NULL", &[]);
        }
        out.extend(q.map(tx, |r| r.take::<String>()).await?);
    }
    Ok(out)
}

/// The deleted trusts that ended at or before `cutoff`. A trust ended when it was deleted, or when its time was
/// over if that was earlier.
fn ended_before(which: &Which, cutoff: Micros) -> Select {
    let mut q = Select::new("SELECT t.id FROM trust t");
    q.and("t.deleted_at IS NOT NULL", &[]);
    q.and(&format!("(t.deleted_at <= ? OR {EXPIRED})"), args![DateTime(cutoff), cutoff, DateTime(cutoff)]);
    which.narrow(&mut q);
    q
}

/// Some of the deleted trusts that ended at or before `cutoff`.
pub async fn ended_some(tx: &mut Tx, which: &Which, cutoff: Micros) -> Result<Vec<String>> {
    let mut q = ended_before(which, cutoff);
    Ok(q.end(&format!("ORDER BY t.id LIMIT {BATCH}")).map(tx, |r| r.take()).await?)
}

/// Removes those of some trusts that are deleted and ended at or before `cutoff`; returns how many.
pub async fn purge_those(
    tx: &mut WriteTx,
    by: &System,
    which: &Which,
    ids: &[String],
    cutoff: Micros,
) -> Result<usize> {
    let mut q = ended_before(which, cutoff);
    let found: Vec<String> = q.id_in("t.id", ids.iter().map(String::as_str)).map(tx, |r| r.take()).await?;
    for id in &found {
        remove(tx, by, id).await?;
    }
    Ok(found.len())
}

async fn remove(tx: &mut WriteTx, by: &System, id: &str) -> Result<()> {
    keypairs::sql::delete_of_trust(tx, by, id).await?;
    Ok(cascade::delete(tx, by, "trust", id).await?)
}

/// What hangs on no trust any more.
#[derive(Debug, Default)]
pub struct Rest {
    /// Tables, and the trusts that their rows speak of and that are not stored.
    rows: Vec<(&'static str, Vec<String>)>,
    keypairs: Vec<String>,
}

impl Rest {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.keypairs.is_empty() && self.rows.iter().all(|(_, trusts)| trusts.is_empty())
    }
}

/// Finds what hangs on no trust any more.
pub async fn rest(tx: &mut Tx) -> Result<Rest> {
    let mut rows = Vec::new();
    for table in ["trust_role", "vicar_trust_state"] {
        let sql = format!(
            "SELECT DISTINCT r.trust_id FROM {table} r LEFT JOIN trust t ON t.id = r.trust_id WHERE t.id IS NULL"
        );
        rows.push((table, tx.column(&sql, &[]).await?));
    }
    Ok(Rest { rows, keypairs: orphaned_keypairs(tx).await? })
}

/// Removes what was found and still hangs on no trust; returns how many keypairs that were. Rows without a trust
/// are what a Keystone's `trust_flush` leaves behind.
pub async fn remove_rest(tx: &mut WriteTx, by: &System, rest: &Rest) -> Result<usize> {
    for (table, trusts) in &rest.rows {
        let there = stored(tx, trusts, Stored::AtAll).await?;
        for id in trusts.iter().filter(|id| !there.contains(id)) {
            tx.execute(by, &Delete::from(table).key("trust_id", id)).await?;
        }
    }
    remove_orphaned_keypairs(tx, by, &rest.keypairs).await
}
