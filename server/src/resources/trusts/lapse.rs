//! Trusts that give nothing soon: a role of theirs rests on a membership that came with a login through an identity provider, and
//! that ends unless its user logs in again. It is told once for each such end. Which was told is stored, so that of several servers
//! one tells it.

use std::collections::BTreeMap;

use vicar_rules::Micros;
use vicar_rules::basis::{self, Term};
use vicar_rules::delegation::{Chain, Trust, Until};
use vicar_rules::roles::RoleSet;

use crate::args;
use crate::error::Result;
use crate::facts;
use crate::facts::roles::EXPIRING;
use crate::living;
use crate::store::{Delete, Id, Insert, Select, Tx, WriteTx};
use crate::system::System;

/// So many users are looked for at once.
const USERS: usize = 50;

/// So many trusts are looked at, or told of, in one transaction.
pub const BATCH: usize = 100;

/// What is told of one trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lapse {
    /// Its id.
    pub trust: String,
    /// On whom it rests: they can log in again.
    pub user: String,
    /// Its project.
    pub project: String,
    /// From when on it gives nothing.
    pub at: Micros,
}

/// When it is now, and how long before its end a membership's is told.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Now.
    pub now: Micros,
    /// `[delegation] lapse_notice`
    pub notice: Micros,
}

/// Trusts that rest on some of those whose memberships end soon, by id: of the users who follow one. And the last of these users,
/// unless nobody follows them.
///
/// # Errors
/// When the database fails.
pub async fn candidates(
    tx: &mut Tx,
    clock: Clock,
    after: Option<&str>,
) -> Result<(Vec<String>, Option<String>)> {
    let (lapses, ends) = tx.lapses_by(clock.now.saturating_add(clock.notice));
    let mut q = Select::new(&format!("SELECT DISTINCT e.user_id FROM {EXPIRING}"));
    q.and(&lapses, &ends);
    if let Some(after) = after {
        q.and("e.user_id > ?", args![Id(after)]);
    }
    q.end(&format!("ORDER BY e.user_id LIMIT {USERS}"));
    let users: Vec<String> = q.map(tx, |r| r.take()).await?;
    if users.is_empty() {
        return Ok((Vec::new(), None));
    }
    let first = concat!("t.redelegated_trust_id IS NULL AND ", living!("t"));
    let mut q = Select::new("SELECT t.id FROM trust t");
    q.and(first, &[]).id_in("t.trustor_user_id", &users);
    let mut trusts: Vec<String> = q.map(tx, |r| r.take()).await?;
    let mut q = Select::new("SELECT t.id FROM vicar_adoption a JOIN trust t ON t.id = a.trust_id");
    q.and(first, &[]).id_in("a.user_id", &users);
    trusts.extend(q.map(tx, |r| r.take::<String>()).await?);
    trusts.sort_unstable();
    trusts.dedup();
    let last = (users.len() == USERS).then(|| users.last().cloned()).flatten();
    Ok((trusts, last))
}

/// Those of some first trusts of chains that are to be told of: they give something, lapse soon, and nobody has told it.
///
/// # Errors
/// When the database fails.
pub async fn due(tx: &mut Tx, clock: Clock, trusts: &[String]) -> Result<Vec<Lapse>> {
    let ids: Vec<&str> = trusts.iter().map(String::as_str).collect();
    let mut q = Select::new("SELECT trust_id, lapses_at FROM vicar_lapse");
    q.id_in("trust_id", trusts);
    let told: Vec<(String, Micros)> = q.map(tx, |r| Ok((r.take()?, r.take()?))).await?;
    let told: BTreeMap<String, Micros> = told.into_iter().collect();
    let chains = facts::chains(tx, &ids).await?;
    let terms = terms(tx, &chains).await?;
    let is_due = |chain: &Chain| {
        let term = terms.get(&chain.leaf().id);
        term.is_some_and(|term| {
            term.notice_at(clock.notice) <= clock.now && told.get(&chain.leaf().id) != Some(&term.until)
        })
    };
    let chains: Vec<Chain> = chains.into_iter().filter(is_due).collect();
    living(tx, clock, chains, |chain| terms.get(&chain.leaf().id).map(|term| term.until)).await
}

/// The memberships with which some trusts lapse, by trust.
async fn terms(tx: &mut Tx, chains: &[Chain]) -> Result<BTreeMap<String, Term>> {
    let mut places: BTreeMap<(&str, &str), Vec<&Trust>> = BTreeMap::new();
    for chain in chains {
        if let Some(project) = &chain.leaf().project {
            places.entry((chain.holder(), project)).or_default().push(chain.leaf());
        }
    }
    let mut out = BTreeMap::new();
    for ((user, project), trusts) in places {
        let roles: RoleSet = trusts.iter().flat_map(|trust| trust.roles.iter().cloned()).collect();
        let bases = facts::bases::on_project(tx, user, project, &roles).await?;
        for trust in trusts {
            if let Some(term) = basis::lapse(&bases, &trust.roles) {
                out.insert(trust.id.clone(), term);
            }
        }
    }
    Ok(out)
}

/// Those of some chains that give something, and nothing from the instant on when they lapse. What ends before that does not lapse.
async fn living(
    tx: &mut Tx,
    clock: Clock,
    chains: Vec<Chain>,
    lapses: impl Fn(&Chain) -> Option<Micros>,
) -> Result<Vec<Lapse>> {
    let implications = facts::implications(tx).await?;
    let all = facts::evaluate_all(tx, chains, clock.now, &implications).await?;
    let living = all.iter().filter_map(|trust| {
        let (chain, authority) = (trust.chain(), trust.status().live()?);
        let at = lapses(chain).filter(|at| authority.until > Until::At(*at))?;
        let (trust, user) = (chain.leaf().id.clone(), chain.holder().to_owned());
        Some(Lapse { trust, user, project: authority.project.clone(), at })
    });
    Ok(living.collect())
}

/// Notes that some first trusts of chains are told of, once more judged, and says of which it is to be told: of each, and of what is
/// below and gives something, since it lapses with it.
///
/// # Errors
/// When the database fails.
pub async fn settle(tx: &mut WriteTx, by: &System, clock: Clock, trusts: &[String]) -> Result<Vec<Lapse>> {
    let due = due(tx, clock, trusts).await?;
    if due.is_empty() {
        return Ok(due);
    }
    let old = Delete::from("vicar_lapse").key_in("trust_id", due.iter().map(|lapse| lapse.trust.clone()));
    tx.execute(by, &old).await?;
    let rows = due.iter().fold(Insert::into("vicar_lapse"), |rows, lapse| {
        rows.row().set("trust_id", &lapse.trust).set("lapses_at", lapse.at)
    });
    tx.execute(by, &rows).await?;
    let mut told = Vec::new();
    for first in due {
        let below = facts::subtree(tx, &first.trust).await?;
        let below: Vec<&str> = below.iter().map(|t| t.id.as_str()).filter(|id| *id != first.trust).collect();
        let at = first.at;
        told.push(first);
        for part in below.chunks(BATCH) {
            let chains = facts::chains(tx, part).await?;
            told.extend(living(tx, clock, chains, |_| Some(at)).await?);
        }
    }
    Ok(told)
}
