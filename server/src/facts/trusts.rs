//! Trusts and chains as stored, and their evaluation with the facts of one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vicar_rules::Micros;
use vicar_rules::application_credential::{CredentialFacts, delegable};
use vicar_rules::ceiling::Ceilings;
use vicar_rules::delegation::{
    self, Chain, ChainFacts, Evaluated, Passes, Presence, Trust, TrustStatus, Until,
};
use vicar_rules::loss::{self, LostPlace};
use vicar_rules::roles::{Implications, RoleSet};
use vicar_rules::terms::Terms;

use super::application_credentials::{self, StoredCredential};
use super::ceilings;
use super::holdings::Holdings;
use super::users::users;
use super::{Place, ProjectFacts, UserFacts, effective_roles, implications, origin, projects, terms};
use crate::args;
use crate::store::memory::AnswerKey;
use crate::store::tree::TRUSTS;
use crate::store::{CHUNK, DateTime, Id, Result, Row, Select, Tx};

const TRUST: &str = "t.id, t.trustor_user_id, t.trustee_user_id, t.project_id, t.impersonation,
     COALESCE(t.expires_at_int, 0), t.expires_at, t.remaining_uses, t.redelegation_count,
     t.redelegated_trust_id, t.deleted_at, t.extra";

fn read_trust(r: &mut Row) -> Result<Trust> {
    let (id, trustor, trustee) = (r.take()?, r.take()?, r.take()?);
    let (project, impersonation) = (r.take()?, r.take()?);
    let exact: i64 = r.take()?;
    // Rows from before the exact column hold the legacy one only.
    let legacy: Option<DateTime> = r.take()?;
    let until = Until::from_option(if exact != 0 { Some(exact) } else { legacy.map(|d| d.0) });
    Ok(Trust {
        id,
        trustor,
        trustee,
        project,
        impersonation,
        roles: RoleSet::new(),
        until,
        remaining_uses: r.take()?,
        hops: r.take::<Option<u32>>()?.unwrap_or(0),
        parent: r.take()?,
        deleted_at: r.take::<Option<DateTime>>()?.map(|d| d.0),
        terms: Some(Terms::default()),
        external_id: None,
        binding: None,
        origin: origin::of_column(r.take::<Option<String>>()?.as_deref()),
        suspension: None,
        adoption: None,
        credential: None,
    })
}

/// Adds the roles and the terms.
async fn whole(tx: &mut Tx, mut trusts: Vec<Trust>) -> Result<Vec<Trust>> {
    for part in trusts.chunks_mut(CHUNK) {
        let at: BTreeMap<String, usize> = part.iter().enumerate().map(|(i, t)| (t.id.clone(), i)).collect();
        read_terms(tx, part, &at).await?;
        let mut q = Select::new("SELECT trust_id, role_id FROM trust_role");
        q.id_in("trust_id", at.keys());
        for (trust, role) in q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?))).await? {
            if let Some(t) = at.get(&trust).and_then(|i| part.get_mut(*i)) {
                t.roles.insert(role);
            }
        }
    }
    Ok(trusts)
}

/// Adds the terms of those that have some: their rows look deleted to a Keystone, and are not.
async fn read_terms(tx: &mut Tx, trusts: &mut [Trust], at: &BTreeMap<String, usize>) -> Result<()> {
    let mut have = Vec::new();
    // Those that have ended give nothing anyway; and a Keystone's store that is looked at has no such table.
    for trust in trusts.iter_mut().filter(|t| t.deleted_at >= Some(terms::APART)) {
        (trust.deleted_at, trust.terms) = (None, None);
        have.push(trust.id.clone());
    }
    if have.is_empty() {
        return Ok(());
    }
    let mut q = Select::new("SELECT trust_id, terms FROM vicar_trust_terms");
    q.id_in("trust_id", &have);
    for (trust, text) in q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?))).await? {
        if let Some(trust) = at.get(&trust).and_then(|i| trusts.get_mut(*i)) {
            // Without terms it gives nothing; what was read before the part that is not understood does no harm.
            let _ = terms::read(&text, trust);
        }
    }
    Ok(())
}

/// A trust with everything above it; nothing when it is not stored. Deleted rows are included.
pub async fn chain(tx: &mut Tx, trust: &str) -> Result<Option<Chain>> {
    Ok(chains(tx, &[trust]).await?.pop())
}

/// Trusts with everything above each; those that are not stored are left out.
pub async fn chains(tx: &mut Tx, leaves: &[&str]) -> Result<Vec<Chain>> {
    let mut rows: BTreeMap<String, Trust> = BTreeMap::new();
    let mut wanted: BTreeSet<String> = leaves.iter().map(|l| (*l).to_owned()).collect();
    // One step up at a time; chains are short, and a circle runs out of rows that are new.
    while !wanted.is_empty() {
        let mut parents = BTreeSet::new();
        for part in wanted.into_iter().collect::<Vec<_>>().chunks(CHUNK) {
            let found = trusts_where(tx, |q| {
                q.id_in("t.id", part);
            })
            .await?;
            parents.extend(found.iter().filter_map(|t| t.parent.clone()));
            rows.extend(found.into_iter().map(|t| (t.id.clone(), t)));
        }
        wanted = parents.into_iter().filter(|p| !rows.contains_key(p)).collect();
    }
    Ok(leaves.iter().filter_map(|leaf| Chain::assemble(leaf, ancestry(&rows, leaf))).collect())
}

/// The rows on the way up from one leaf, so that a chain is not put together from a whole list.
fn ancestry(rows: &BTreeMap<String, Trust>, leaf: &str) -> Vec<Trust> {
    let mut out: Vec<Trust> = Vec::new();
    let mut next = rows.get(leaf);
    while let Some(t) = next.filter(|t| out.iter().all(|o| o.id != t.id)) {
        out.push(t.clone());
        next = t.parent.as_ref().and_then(|p| rows.get(p));
    }
    out
}

/// The ids of trusts that fit a condition on `t`.
///
/// # Errors
/// When the database fails.
pub async fn trust_ids(tx: &mut Tx, build: impl FnOnce(&mut Select)) -> Result<Vec<String>> {
    let mut q = Select::new("SELECT t.id FROM trust t");
    build(&mut q);
    q.map(tx, |r| r.take()).await
}

/// A trust and everything below it, parents before their children. Deleted rows are included.
///
/// # Errors
/// When the database fails.
pub async fn subtree(tx: &mut Tx, trust: &str) -> Result<Vec<Trust>> {
    let rows = tx
        .map(
            &(TRUSTS.below("id = ?") + &format!("SELECT {TRUST} FROM trust t JOIN below ON t.id = below.id")),
            args![Id(trust)],
            read_trust,
        )
        .await?;
    let rows = whole(tx, rows).await?;
    Ok(delegation::subtree(trust, &rows).into_iter().cloned().collect())
}

/// Trusts that fit a condition on `t`, with their roles.
pub async fn trusts_where(tx: &mut Tx, build: impl FnOnce(&mut Select)) -> Result<Vec<Trust>> {
    let mut q = Select::new(&format!("SELECT {TRUST} FROM trust t"));
    build(&mut q);
    let rows = q.map(tx, read_trust).await?;
    whole(tx, rows).await
}

/// A stored trust in its chain, evaluated, and the facts that tokens need of it.
#[derive(Debug, Clone)]
pub struct EvaluatedTrust {
    /// The chain and what it is worth.
    pub evaluated: Evaluated,
    /// Its users.
    pub users: BTreeMap<String, UserFacts>,
    /// Its project.
    pub project: Option<ProjectFacts>,
}

impl EvaluatedTrust {
    /// The chain.
    pub fn chain(&self) -> &Chain {
        self.evaluated.chain()
    }

    /// What it is worth.
    pub fn status(&self) -> &TrustStatus {
        self.evaluated.status()
    }
}

/// Evaluates a chain at an instant.
pub async fn evaluate(tx: &mut Tx, chain: Chain, now: Micros) -> Result<Option<EvaluatedTrust>> {
    let implications = implications(tx).await?;
    Ok(evaluate_all(tx, vec![chain], now, &implications).await?.pop())
}

/// A stored trust, evaluated in its chain; nothing when it is not stored. Deleted ones are included.
///
/// # Errors
/// When the database fails.
pub async fn evaluated_trust(
    tx: &mut Tx,
    trust: &str,
    now: Micros,
    known: &Arc<Implications>,
) -> Result<Option<Arc<EvaluatedTrust>>> {
    let key = AnswerKey::of_id("trust", trust);
    if let Some(key) = &key
        && let Some(known) = tx.known(key, now).await?
    {
        return Ok(Some(known));
    }
    let mark = tx.begin_answer();
    // What is remembered rests on what is read here, not on what somebody has at hand.
    let implications = if mark.is_some() { implications(tx).await? } else { Arc::clone(known) };
    let chains = chains(tx, &[trust]).await?;
    let found = evaluate_all(tx, chains, now, &implications).await?.pop().map(Arc::new);
    if let (Some(key), Some(trust)) = (key, &found)
        && let Some(authority) = trust.status().live()
    {
        tx.holds_until(authority.until.to_option().unwrap_or(Micros::MAX));
        let links = trust.chain().links();
        let rules = links.iter().flat_map(|link| &link.terms).map(|own| terms::size(&own.access));
        let said = links.iter().map(|link| origin::size(&link.origin));
        let size = 1_000 * links.len()
            + said.sum::<usize>()
            + 300 * authority.roles.len()
            + rules.sum::<usize>()
            + terms::size(&authority.terms.access);
        tx.remember(mark, key, (trust, size));
    }
    Ok(found)
}

/// Whether ceilings are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Under {
    Ceilings,
    /// A Keystone's store that is looked at has none.
    Nothing,
}

/// Evaluates chains at one instant; what they share is read once.
pub async fn evaluate_all(
    tx: &mut Tx,
    chains: Vec<Chain>,
    now: Micros,
    implications: &Implications,
) -> Result<Vec<EvaluatedTrust>> {
    evaluate_under(tx, Under::Ceilings, chains, now, implications, |_, _| {}).await
}

/// A stored trust, evaluated as [`evaluated_trust`] does it, and what each link of its chain does to the roles.
///
/// # Errors
/// When the database fails.
pub async fn explained_trust(
    tx: &mut Tx,
    trust: &str,
    now: Micros,
    implications: &Implications,
) -> Result<Option<(EvaluatedTrust, Vec<Passes>)>> {
    let chains = chains(tx, &[trust]).await?;
    let mut passes = Vec::new();
    let see = |chain: &Chain, facts: &ChainFacts<'_>| passes = delegation::passes(chain, facts);
    let found = evaluate_under(tx, Under::Ceilings, chains, now, implications, see).await?.pop();
    Ok(found.map(|trust| (trust, passes)))
}

/// The same in a Keystone's store, where none of our tables is.
///
/// # Errors
/// When the database fails.
pub async fn evaluate_keystones(
    tx: &mut Tx,
    chains: Vec<Chain>,
    now: Micros,
    implications: &Implications,
) -> Result<Vec<EvaluatedTrust>> {
    evaluate_under(tx, Under::Nothing, chains, now, implications, |_, _| {}).await
}

async fn evaluate_under(
    tx: &mut Tx,
    under: Under,
    chains: Vec<Chain>,
    now: Micros,
    implications: &Implications,
    mut see: impl FnMut(&Chain, &ChainFacts<'_>),
) -> Result<Vec<EvaluatedTrust>> {
    let ids: BTreeSet<&str> = chains.iter().flat_map(Chain::agents).collect();
    let users = users(tx, ids).await?;
    let agents: BTreeMap<String, Presence> = users.iter().map(|(id, u)| (id.clone(), u.presence)).collect();
    let on: BTreeSet<&str> = chains.iter().filter_map(|c| c.leaf().project.as_deref()).collect();
    let projects = projects(tx, on).await?;
    let held = root_roles(tx, &chains, implications).await?;
    let known = match under {
        Under::Ceilings => ceilings::Known::load(tx, projects.values(), users.values()).await?,
        Under::Nothing => ceilings::Known::default(),
    };
    let nothing = RoleSet::new();
    let credentials = credentials(tx, &chains).await?;
    let may_delegate = |chain: &Chain, held: &RoleSet, project| {
        let stored = credentials.get(chain.root().credential.as_deref()?)?;
        let user = agents.get(&stored.credential.user).copied().unwrap_or(Presence::Missing);
        Some(delegable(&stored.credential, implications, &CredentialFacts { now, held, user, project }))
    };
    Ok(chains
        .into_iter()
        .map(|chain| {
            let project = chain.leaf().project.as_ref().and_then(|id| projects.get(id).cloned());
            let key = (chain.holder().to_owned(), chain.leaf().project.clone().unwrap_or_default());
            let root_roles = held.get(&key).unwrap_or(&nothing);
            let presence = project.as_ref().map_or(Presence::Missing, |p| p.presence);
            let credential = may_delegate(&chain, root_roles, presence);
            let ceilings: Ceilings = known.holding(project.as_ref(), users.get(chain.holder()));
            let facts = ChainFacts {
                now,
                implications,
                root_roles,
                agents: &agents,
                project: presence,
                credential: credential.as_ref(),
                ceilings: &ceilings,
            };
            see(&chain, &facts);
            let evaluated = delegation::evaluate(chain, &facts);
            let agents = evaluated.chain().agents().into_iter().filter_map(|id| users.get_key_value(id));
            let mut users: BTreeMap<_, _> = agents.map(|(id, u)| (id.clone(), u.clone())).collect();
            users.extend(named(evaluated.chain()).map(|user| (user.id.clone(), user)));
            EvaluatedTrust { evaluated, users, project }
        })
        .collect())
}

/// The application credentials that made the first trusts of some chains, by id.
async fn credentials(tx: &mut Tx, chains: &[Chain]) -> Result<BTreeMap<String, StoredCredential>> {
    let ids: BTreeSet<&str> = chains.iter().filter_map(|c| c.root().credential.as_deref()).collect();
    let mut out = BTreeMap::new();
    for part in ids.into_iter().collect::<Vec<_>>().chunks(CHUNK) {
        let found = application_credentials::find(tx, |q| {
            q.id_in("c.id", part.iter().copied());
        })
        .await?;
        out.extend(found.into_iter().map(|stored| (stored.credential.id.clone(), stored)));
    }
    Ok(out)
}

/// The user whom an adopted chain names, as they were shown when it was adopted: they may be deleted.
fn named(chain: &Chain) -> Option<UserFacts> {
    let id = chain.named()?;
    let name = &chain.root().adoption.as_ref()?.trustor;
    Some(UserFacts {
        id: id.to_owned(),
        name: name.name.clone(),
        domain_id: name.domain_id.clone(),
        domain_name: name.domain_name.clone(),
        presence: Presence::Active,
        default_project_id: None,
        password_expires_at: None,
        is_unknown: false,
    })
}

/// So many pairs of a user and a project are looked up one by one; more, all together.
const FEW: usize = 2;

/// What the holders of some chains hold on the projects, by user and project.
async fn root_roles(
    tx: &mut Tx,
    chains: &[Chain],
    implications: &Implications,
) -> Result<BTreeMap<(String, String), RoleSet>> {
    let pairs: BTreeSet<(String, String)> =
        chains.iter().filter_map(|c| Some((c.holder().to_owned(), c.leaf().project.clone()?))).collect();
    held_on(tx, pairs, implications).await
}

/// What users hold on projects, by user and project.
pub(super) async fn held_on(
    tx: &mut Tx,
    pairs: BTreeSet<(String, String)>,
    implications: &Implications,
) -> Result<BTreeMap<(String, String), RoleSet>> {
    let mut out = BTreeMap::new();
    if pairs.len() > FEW {
        let users = pairs.iter().map(|(user, _)| user.as_str()).collect();
        let projects = pairs.iter().map(|(_, project)| project.clone()).collect();
        let held = Holdings::load_on(tx, &users, projects, implications).await?;
        for (user, project) in pairs {
            let roles = held.effective(&user, &LostPlace::At(loss::Place::Project(project.clone())));
            out.insert((user, project), roles);
        }
        return Ok(out);
    }
    for (user, project) in pairs {
        let roles = effective_roles(tx, &user, Place::Project(&project), implications).await?;
        out.insert((user, project), roles);
    }
    Ok(out)
}
