//! Ended, expired and used up trusts: finding them, ending what nobody ended, and removing what ended long enough ago.
//! The reaper, `vicar trust flush` and `vicar doctor` share these.
//!
//! Queries look for candidates only. What is ended is ended because the rules say that it is over, and what is
//! removed is looked at by itself before: a query that a database answers wrongly must cost nobody a trust.

use std::collections::BTreeSet;

use vicar_rules::Micros;
use vicar_rules::delegation::{Ended, TrustStatus};

use super::end::{self, EndReason};
use crate::args;
use crate::error::Result;
use crate::facts::{self, evidence::Kind};
use crate::resources::keypairs;
use crate::store::{CHUNK, DateTime, Delete, Id, Select, Tx, Value, WriteTx, cascade};
use crate::system::System;
use crate::{deleted, living};

/// So many trusts are ended or removed in one transaction, so that logins are not kept waiting.
pub const BATCH: usize = 100;

/// The time of `t` has come. Rows from before Keystone's exact column hold the legacy one only.
const EXPIRED: &str = "((COALESCE(t.expires_at_int, 0) <> 0 AND t.expires_at_int <= ?)
    OR (COALESCE(t.expires_at_int, 0) = 0 AND t.expires_at <= ?))";

/// `t` hangs on a trust that is deleted or gone or gives less than `t`; or its project is gone, or a user who takes
/// part in it. The same as the rules call broken, for one link.
///
/// Each row is looked for by its key: of `NOT EXISTS` or a join, PostgreSQL would make a table of all users or trusts
/// in memory for each part that is read. Only a trust that is apart (`facts/terms.rs`) was adopted, or made by a credential.
const BROKEN: &str = concat!(
    "(
    (t.redelegated_trust_id IS NOT NULL AND (SELECT 1 FROM trust p
        WHERE p.id = t.redelegated_trust_id AND ",
    living!("p"),
    "
          AND COALESCE(t.project_id, '') = COALESCE(p.project_id, '')
          AND COALESCE(t.redelegation_count, 0) < COALESCE(p.redelegation_count, 0)
          AND NOT (t.impersonation <> p.impersonation AND t.impersonation = ?)
          AND t.trustor_user_id = CASE WHEN p.impersonation = ? THEN p.trustor_user_id ELSE p.trustee_user_id END
    ) IS NULL)
    OR (SELECT 1 FROM project x WHERE x.id = t.project_id) IS NULL
    OR (SELECT 1 FROM \"user\" x WHERE x.id = CASE WHEN t.deleted_at IS NULL THEN t.trustor_user_id ELSE COALESCE(
        (SELECT a.user_id FROM vicar_adoption a WHERE a.trust_id = t.id), t.trustor_user_id) END) IS NULL
    OR (t.deleted_at IS NOT NULL AND EXISTS (SELECT 1 FROM vicar_trust_credential b WHERE b.trust_id = t.id AND NOT EXISTS (
        SELECT 1 FROM application_credential c WHERE c.id = b.application_credential_id)))
    OR (SELECT 1 FROM \"user\" x WHERE x.id = t.trustee_user_id) IS NULL)"
);

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
        "live" | "suspended" => q.and(living!("t"), &[]),
        "deleted" => q.and(deleted!("t"), &[]),
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
        keypairs: Search::Keypairs.count(tx).await? + Search::Credentials.count(tx).await?,
        deleted: how_many(tx, deleted!("t"), &[]).await?,
        expired: how_many(tx, &format!("{} AND {EXPIRED}", living!("t")), time).await?,
        exhausted: how_many(tx, &format!("{} AND {EXHAUSTED}", living!("t")), &[]).await?,
        broken: how_many(tx, &format!("{} AND {BROKEN}", living!("t")), args![true, true]).await?,
    })
}

async fn how_many(tx: &mut Tx, condition: &str, args: &[Value]) -> Result<usize> {
    let query = format!("SELECT COUNT(*) FROM trust t WHERE {condition}");
    let found: Vec<i64> = tx.column(&query, args).await?;
    Ok(found.first().map_or(0, |n| usize::try_from(*n).unwrap_or(0)))
}

/// What is looked for, in a table that is read by its key.
#[derive(Debug, Clone)]
pub enum Search {
    /// Trusts that seem to be over at this instant, and that nobody has ended.
    Over(Which, Micros),
    /// Deleted trusts that ended at or before this instant.
    Ended(Which, Micros),
    /// Trusts that are not stored, by the roles that they had.
    Roles,
    /// Trusts that are not stored, by what was recorded of them.
    States,
    /// Trusts that are not stored, by the terms that they had.
    Terms,
    /// Trusts that are not stored, by who had adopted them.
    Adoptions,
    /// Trusts that are not stored, by the application credentials that had made them.
    Credentialed,
    /// Trusts that are not stored, by the end of a membership that was told of them.
    Lapses,
    /// Keypairs of trusts that are deleted or not stored, and those whose credential is not.
    Keypairs,
    /// Credentials of keypairs of which nothing says whose trust's they are.
    Credentials,
    /// Trusts, keypairs and application credentials that are not stored, by the evidence of their use.
    Uses,
}

/// What was found in a part of a table.
#[derive(Debug, Default)]
pub struct Part {
    /// The keys of what was looked for.
    pub found: Vec<String>,
    /// How many deleted trusts there are besides, where trusts that ended are looked for.
    pub kept: usize,
    /// The last key of the part; none when nothing follows it.
    pub upto: Option<String>,
}

/// So many rows are looked through in one transaction.
const ROWS: usize = 1000;

impl Search {
    /// What hangs on no trust any more.
    pub const REST: [Self; 9] = [
        Self::Roles,
        Self::States,
        Self::Terms,
        Self::Adoptions,
        Self::Credentialed,
        Self::Lapses,
        Self::Keypairs,
        Self::Credentials,
        Self::Uses,
    ];

    /// The table that is looked through, and its key.
    fn table(&self) -> (&'static str, &'static str) {
        match self {
            Self::Over(..) | Self::Ended(..) => ("trust t", "t.id"),
            Self::Roles => ("trust_role r", "r.trust_id"),
            Self::States => ("vicar_trust_state r", "r.trust_id"),
            Self::Terms => ("vicar_trust_terms r", "r.trust_id"),
            Self::Adoptions => ("vicar_adoption r", "r.trust_id"),
            Self::Credentialed => ("vicar_trust_credential r", "r.trust_id"),
            Self::Lapses => ("vicar_lapse r", "r.trust_id"),
            Self::Keypairs => ("vicar_keypair k", "k.credential_id"),
            Self::Credentials => ("credential c", "c.id"),
            Self::Uses => ("vicar_use r", "r.id"),
        }
    }

    /// Which trusts are meant.
    fn narrow(&self, q: &mut Select) {
        if let Self::Over(which, _) | Self::Ended(which, _) = self {
            which.narrow(q);
        }
    }

    /// The query for the keys of what is looked for, each with 1, and of what is kept, with 0.
    fn query(&self) -> Select {
        let (table, key) = self.table();
        let mut q = match self {
            Self::Ended(_, cutoff) => Select::with(
                &format!("SELECT {key}, CASE WHEN {ENDED} THEN 1 ELSE 0 END FROM {table}"),
                &ended_at(*cutoff),
            ),
            _ => Select::new(&format!("SELECT {key}, 1 FROM {table}")),
        };
        match self {
            Self::Over(_, now) => {
                let over = format!("({EXPIRED} OR {EXHAUSTED} OR {BROKEN})");
                q.and(living!("t"), &[]).and(&over, args![*now, DateTime(*now), true, true]);
            }
            Self::Ended(..) => drop(q.and(deleted!("t"), &[])),
            Self::Roles
            | Self::States
            | Self::Terms
            | Self::Adoptions
            | Self::Credentialed
            | Self::Lapses => {
                q.and("(SELECT 1 FROM trust t WHERE t.id = r.trust_id) IS NULL", &[]);
            }
            Self::Keypairs => {
                q.and(
                    concat!(
                        "((SELECT 1 FROM trust t WHERE t.id = k.trust_id AND ",
                        living!("t"),
                        ") IS NULL
                      OR (SELECT 1 FROM credential c WHERE c.id = k.credential_id) IS NULL)"
                    ),
                    &[],
                );
            }
            Self::Credentials => {
                q.id("c.type", Some(keypairs::sql::BOUND));
                q.and("(SELECT 1 FROM vicar_keypair k WHERE k.credential_id = c.id) IS NULL", &[]);
            }
            Self::Uses => {
                for kind in Kind::ALL {
                    let is_there = format!(
                        "(SELECT 1 FROM {} x WHERE x.id = r.id AND r.type = '{}') IS NULL",
                        kind.table(),
                        kind.word()
                    );
                    q.and(&is_there, &[]);
                }
            }
        }
        self.narrow(&mut q);
        q
    }

    /// The query for the last key of the part that follows a key; it finds none in the last part.
    pub fn end_of_part(&self, after: Option<&str>) -> Select {
        let (table, key) = self.table();
        let mut q = Select::new(&format!("SELECT {key} FROM {table}"));
        self.narrow(&mut q);
        if let Some(after) = after {
            q.and(&format!("{key} > ?"), args![Id(after)]);
        }
        q.end(&format!("ORDER BY {key} LIMIT 1 OFFSET {}", ROWS - 1));
        q
    }

    /// The query for what is looked for between two keys. Nothing is read beyond, however little is found.
    pub fn part(&self, after: Option<&str>, upto: Option<&str>) -> Select {
        let (_, key) = self.table();
        let mut q = self.query();
        for (how, bound) in [(">", after), ("<=", upto)] {
            if let Some(bound) = bound {
                q.and(&format!("{key} {how} ?"), args![Id(bound)]);
            }
        }
        q.end(&format!("ORDER BY {key}"));
        q
    }

    /// Looks through the part of the table that follows a key, or through the first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn look(&self, tx: &mut Tx, after: Option<&str>) -> Result<Part> {
        let upto: Option<String> = self.end_of_part(after).map(tx, |r| r.take()).await?.pop();
        let rows: Vec<(String, i64)> =
            self.part(after, upto.as_deref()).map(tx, |r| Ok((r.take()?, r.take()?))).await?;
        let mut part = Part { upto, ..Part::default() };
        for (id, is_wanted) in rows {
            if is_wanted == 1 {
                part.found.push(id);
            } else {
                part.kept += 1;
            }
        }
        // A trust had several roles.
        part.found.dedup();
        Ok(part)
    }

    /// How many there are of what is looked for.
    async fn count(&self, tx: &mut Tx) -> Result<usize> {
        let (mut count, mut after) = (0, None);
        loop {
            let part = self.look(tx, after.as_deref()).await?;
            count += part.found.len();
            after = part.upto;
            if after.is_none() {
                return Ok(count);
            }
        }
    }

    /// Does with some of what was found what is to be done with it: ends trusts or removes rows. Each is judged once
    /// more before. Returns how many trusts ended, or how many trusts or keypairs were removed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle(&self, tx: &mut WriteTx, by: &System, found: &[String]) -> Result<usize> {
        match self {
            Self::Over(_, now) => {
                let found: Vec<&str> = found.iter().map(String::as_str).collect();
                end_those(tx, by, &found, *now).await
            }
            Self::Ended(which, cutoff) => purge_those(tx, by, which, found, *cutoff).await,
            Self::Roles => remove_rows(tx, by, "trust_role", found).await,
            Self::States => remove_rows(tx, by, "vicar_trust_state", found).await,
            Self::Terms => remove_rows(tx, by, "vicar_trust_terms", found).await,
            Self::Adoptions => remove_rows(tx, by, "vicar_adoption", found).await,
            Self::Credentialed => remove_rows(tx, by, "vicar_trust_credential", found).await,
            Self::Lapses => remove_rows(tx, by, "vicar_lapse", found).await,
            Self::Keypairs | Self::Credentials => remove_orphaned_keypairs(tx, by, found).await,
            Self::Uses => remove_uses(tx, by, found).await,
        }
    }
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

/// Removes the evidence of what is not stored. No keypair is removed by that.
async fn remove_uses(tx: &mut WriteTx, by: &System, ids: &[String]) -> Result<usize> {
    for kind in Kind::ALL {
        let mut q = Select::new(&format!("SELECT x.id FROM {} x", kind.table()));
        let there: BTreeSet<String> = q.id_in("x.id", ids).map(tx, |r| r.take()).await?.into_iter().collect();
        let gone = ids.iter().filter(|id| !there.contains(*id));
        tx.execute(by, &Delete::from("vicar_use").key("type", kind.word()).key_in("id", gone)).await?;
    }
    Ok(0)
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
        let mut q = Select::new("SELECT t.id FROM trust t");
        q.id_in("t.id", part.iter().map(String::as_str));
        if how == Stored::Alive {
            q.and(living!("t"), &[]);
        }
        out.extend(q.map(tx, |r| r.take::<String>()).await?);
    }
    Ok(out)
}

/// `t`, which is deleted, ended at or before an instant: when it was deleted, or when its time was over if that was
/// earlier.
const ENDED: &str = "(t.deleted_at <= ? OR (COALESCE(t.expires_at_int, 0) <> 0 AND t.expires_at_int <= ?)
    OR (COALESCE(t.expires_at_int, 0) = 0 AND t.expires_at <= ?))";

/// The arguments of [`ENDED`].
fn ended_at(cutoff: Micros) -> [Value; 3] {
    [DateTime(cutoff).into(), cutoff.into(), DateTime(cutoff).into()]
}

/// Removes those of some trusts that are deleted and ended at or before `cutoff`; returns how many.
async fn purge_those(
    tx: &mut WriteTx,
    by: &System,
    which: &Which,
    ids: &[String],
    cutoff: Micros,
) -> Result<usize> {
    let mut q = Select::new("SELECT t.id FROM trust t");
    q.and(deleted!("t"), &[]).and(ENDED, &ended_at(cutoff));
    which.narrow(&mut q);
    let found: Vec<String> = q.id_in("t.id", ids.iter().map(String::as_str)).map(tx, |r| r.take()).await?;
    for id in &found {
        remove(tx, by, id).await?;
    }
    Ok(found.len())
}

async fn remove(tx: &mut WriteTx, by: &System, id: &str) -> Result<()> {
    let bound = keypairs::sql::ids_of_trusts(tx, &[id.to_owned()]).await?;
    keypairs::sql::delete_bound(tx, by, &bound).await?;
    Ok(cascade::delete(tx, by, "trust", id).await?)
}

/// Removes the rows of those of some trusts that are not stored: what a Keystone's `trust_flush` leaves behind. No
/// trust is removed by that, and no keypair.
async fn remove_rows(tx: &mut WriteTx, by: &System, table: &'static str, trusts: &[String]) -> Result<usize> {
    let there = stored(tx, trusts, Stored::AtAll).await?;
    for id in trusts.iter().filter(|id| !there.contains(id)) {
        tx.execute(by, &Delete::from(table).key("trust_id", id)).await?;
    }
    Ok(0)
}
