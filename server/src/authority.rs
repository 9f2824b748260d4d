//! The facts that authority is judged by, read in one transaction, and the judgement of a chain.
//!
//! Every door (token login, validation, keypair exchange, redelegation) comes through here, so that
//! a rule holds at all of them or at none.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use vicar_rules::Micros;
use vicar_rules::delegation::{self, Chain, ChainFacts, Evaluated, Presence, Trust, TrustStatus, Until};
use vicar_rules::revocation::Event;
use vicar_rules::roles::{Implications, RoleSet};

use crate::args;
use crate::clock;
use crate::store::{Date, DateTime, Result, Row, Select, Tx, Value, marks};

/// `role.domain_id` of a role that is no domain's.
pub const NO_DOMAIN: &str = "<<null>>";

/// A user, as far as authority cares.
#[derive(Debug, Clone)]
pub struct UserFacts {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its domain.
    pub domain_id: String,
    /// Its domain's name.
    pub domain_name: String,
    /// Is it there and switched on?
    pub presence: Presence,
    /// Its default project.
    pub default_project_id: Option<String>,
    /// When its password expires.
    pub password_expires_at: Option<Micros>,
}

/// A project (or a domain, which is one), as far as authority cares.
#[derive(Debug, Clone)]
pub struct ProjectFacts {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its domain; nothing for a domain.
    pub domain_id: Option<String>,
    /// Its domain's name.
    pub domain_name: Option<String>,
    /// Is it switched on, with its domain?
    pub presence: Presence,
    /// Does it act as a domain?
    pub is_domain: bool,
}

/// A role as tokens show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRef {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// `options.immutable`, if it was ever set.
    pub immutable: Option<bool>,
}

/// Where somebody holds roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// A project.
    Project(&'a str),
    /// A domain.
    Domain(&'a str),
    /// The system.
    System,
}

fn presence(enabled: Option<bool>, domain_enabled: Option<bool>) -> Presence {
    match (enabled, domain_enabled) {
        // Keystone reads a flag that is null as off.
        (None | Some(false), _) => Presence::Disabled,
        (_, Some(false)) => Presence::DomainDisabled,
        _ => Presence::Active,
    }
}

/// When a user was last seen, and whether he may stay away as long as he likes.
#[derive(Debug)]
pub struct Seen {
    last_active: Option<Date>,
    created: Option<DateTime>,
    exempt: bool,
}

/// Reads `last_active_at`, `created_at` and the value of option 1004 (`ignore_user_inactivity`).
pub fn read_seen(r: &mut Row) -> Result<Seen> {
    Ok(Seen {
        last_active: r.take()?,
        created: r.take()?,
        exempt: r.take::<Option<String>>()?.is_some_and(|v| v == "true"),
    })
}

/// Was he away for so long that he counts as disabled? Who never logged in counts from his creation.
pub fn is_idle(since: Option<&Date>, seen: &Seen) -> bool {
    let Some(since) = since.filter(|_| !seen.exempt) else {
        return false;
    };
    match (&seen.last_active, &seen.created) {
        (Some(day), _) => day <= since,
        (None, Some(at)) => clock::date(at.0) <= since.0,
        (None, None) => false,
    }
}

/// The users with these ids; who is missing is missing.
pub async fn users<'a>(
    tx: &mut Tx,
    ids: impl IntoIterator<Item = &'a str>,
) -> Result<BTreeMap<String, UserFacts>> {
    let ids: Vec<&str> = ids.into_iter().collect();
    let since = tx.idle_since().cloned();
    let mut out = BTreeMap::new();
    for part in ids.chunks(PART) {
        let mut q = Select::new(USER);
        q.is_in("u.id", part.iter().copied());
        let found = q.map(tx, |r| read_user(r, since.as_ref())).await?;
        out.extend(found.into_iter().map(|u| (u.id.clone(), u)));
    }
    Ok(out)
}

const USER: &str = "SELECT u.id, COALESCE(l.name, n.name, ''), u.domain_id, d.name, u.enabled, d.enabled,
        u.last_active_at, u.created_at,
        (SELECT o.option_value FROM user_option o WHERE o.user_id = u.id AND o.option_id = '1004'),
        u.default_project_id,
        (SELECT MAX(COALESCE(p.expires_at_int, 9223372036854775807)) FROM password p
          WHERE p.local_user_id = l.id AND p.created_at_int =
                (SELECT MAX(x.created_at_int) FROM password x WHERE x.local_user_id = l.id))
   FROM \"user\" u
   LEFT JOIN local_user l ON l.user_id = u.id
   LEFT JOIN nonlocal_user n ON n.user_id = u.id
   LEFT JOIN project d ON d.id = u.domain_id";

fn read_user(r: &mut Row, since: Option<&Date>) -> Result<UserFacts> {
    let (id, name, domain_id): (String, String, String) = (r.take()?, r.take()?, r.take()?);
    let domain_name: Option<String> = r.take()?;
    let presence = presence(r.take()?, r.take()?);
    let idle = is_idle(since, &read_seen(r)?);
    Ok(UserFacts {
        id,
        name,
        domain_name: domain_name.unwrap_or_else(|| domain_id.clone()),
        domain_id,
        presence: if idle { Presence::Disabled } else { presence },
        default_project_id: r.take()?,
        password_expires_at: r.take::<Option<i64>>()?.filter(|t| *t != i64::MAX),
    })
}

/// One user.
pub async fn user(tx: &mut Tx, id: &str) -> Result<Option<UserFacts>> {
    Ok(users(tx, [id]).await?.remove(id))
}

fn read_project(r: &mut Row) -> Result<ProjectFacts> {
    let (id, name): (String, String) = (r.take()?, r.take()?);
    let is_domain: bool = r.take()?;
    let domain_id: String = r.take()?;
    let domain_name: Option<String> = r.take()?;
    let (enabled, domain_enabled): (Option<bool>, Option<bool>) = (r.take()?, r.take()?);
    Ok(ProjectFacts {
        // A domain's own domain is the root row, which is always disabled and stands for "none".
        presence: presence(enabled, if is_domain { None } else { domain_enabled }),
        domain_name: if is_domain { None } else { domain_name },
        domain_id: (!is_domain).then_some(domain_id),
        id,
        name,
        is_domain,
    })
}

const PROJECT: &str = "SELECT p.id, p.name, p.is_domain, p.domain_id, d.name, p.enabled, d.enabled
                         FROM project p LEFT JOIN project d ON d.id = p.domain_id";

/// A project by id.
pub async fn project(tx: &mut Tx, id: &str) -> Result<Option<ProjectFacts>> {
    tx.first(&format!("{PROJECT} WHERE p.id = ?"), args![id], read_project).await
}

/// A domain by id.
pub async fn domain(tx: &mut Tx, id: &str) -> Result<Option<ProjectFacts>> {
    if id == crate::store::migrate::ROOT_DOMAIN {
        return Ok(None);
    }
    Ok(project(tx, id).await?.filter(|p| p.is_domain))
}

/// A domain by name.
pub async fn domain_named(tx: &mut Tx, name: &str) -> Result<Option<ProjectFacts>> {
    tx.first(
        &format!("{PROJECT} WHERE p.name = ? AND p.is_domain = ? AND p.domain_id = ?"),
        args![name, true, crate::store::migrate::ROOT_DOMAIN],
        read_project,
    )
    .await
}

/// A project by name and domain.
pub async fn project_named(tx: &mut Tx, name: &str, domain: &str) -> Result<Option<ProjectFacts>> {
    tx.first(
        &format!("{PROJECT} WHERE p.name = ? AND p.domain_id = ? AND p.is_domain = ?"),
        args![name, domain, false],
        read_project,
    )
    .await
}

/// The implied-role relation, whole: it is small.
pub async fn implications(tx: &mut Tx) -> Result<Implications> {
    let pairs = tx
        .map("SELECT prior_role_id, implied_role_id FROM implied_role", &[], |r| Ok((r.take()?, r.take()?)))
        .await?;
    Ok(Implications::new(pairs))
}

/// Roles that are assigned to the user or one of his groups at the place, inherited ones included.
async fn assigned(tx: &mut Tx, user: &str, place: Place<'_>) -> Result<RoleSet> {
    let roles: Vec<String> = match place {
        Place::Project(id) => on_project(tx, user, id).await?,
        Place::Domain(id) => {
            tx.column(
                "SELECT a.role_id FROM assignment a
                  WHERE a.target_id = ? AND a.inherited = ?
                    AND ((a.type = 'UserDomain' AND a.actor_id = ?)
                      OR (a.type = 'GroupDomain' AND a.actor_id IN
                            (SELECT group_id FROM user_group_membership WHERE user_id = ?)))",
                args![id, false, user, user],
            )
            .await?
        }
        Place::System => {
            tx.column(
                "SELECT a.role_id FROM system_assignment a
                  WHERE a.target_id = 'system' AND a.inherited = ?
                    AND ((a.type = 'UserSystem' AND a.actor_id = ?)
                      OR (a.type = 'GroupSystem' AND a.actor_id IN
                            (SELECT group_id FROM user_group_membership WHERE user_id = ?)))",
                args![false, user, user],
            )
            .await?
        }
    };
    Ok(roles.into_iter().collect())
}

/// Roles on a project: its own, and those that are inherited from what it is below.
async fn on_project(tx: &mut Tx, user: &str, id: &str) -> Result<Vec<String>> {
    // Step by step: there are one or two, which costs less than setting up a recursive query.
    let mut above: Vec<String> = Vec::new();
    let mut next = Some(id.to_owned());
    while let Some(step) = next.take().filter(|s| !above.contains(s)) {
        next = tx
            .first("SELECT parent_id FROM project WHERE id = ?", args![&step], |r| r.take::<Option<String>>())
            .await?
            .flatten();
        above.push(step);
    }
    let mut above = above.split_off(1);
    if above.is_empty() {
        // Nothing is inherited from nowhere; an empty list is no SQL on every engine.
        above.push(String::new());
    }
    let held = format!(
        "((a.target_id = ? AND a.inherited = ? AND a.type IN ('UserProject', 'GroupProject'))
          OR (a.target_id IN ({}) AND a.inherited = ?))",
        marks(above.len())
    );
    let sql = format!(
        "SELECT a.role_id FROM assignment a
          WHERE a.type IN ('UserProject', 'UserDomain') AND a.actor_id = ? AND {held}
         UNION ALL
         SELECT a.role_id FROM assignment a JOIN user_group_membership m ON m.group_id = a.actor_id
          WHERE a.type IN ('GroupProject', 'GroupDomain') AND m.user_id = ? AND {held}"
    );
    let mut args: Vec<Value> = Vec::new();
    for _ in ["user", "groups"] {
        args.extend([user.into(), id.into(), false.into()]);
        args.extend(above.iter().map(Value::from));
        args.push(true.into());
    }
    tx.column(&sql, &args).await
}

/// Effective roles: assigned ones and all that they imply, domain-specific ones included.
pub async fn effective_roles(
    tx: &mut Tx,
    user: &str,
    place: Place<'_>,
    implications: &Implications,
) -> Result<RoleSet> {
    Ok(implications.closure(&assigned(tx, user, place).await?))
}

/// Roles as tokens show them: each once, domain-specific ones left out.
pub async fn token_roles(tx: &mut Tx, ids: &RoleSet) -> Result<Vec<RoleRef>> {
    let mut q = Select::new(
        "SELECT r.id, r.name, r.description,
                (SELECT o.option_value FROM role_option o WHERE o.role_id = r.id AND o.option_id = 'IMMU')
           FROM role r",
    );
    q.is_in("r.id", ids).and("r.domain_id = ?", args![NO_DOMAIN]).end("ORDER BY r.name");
    q.map(tx, |r| {
        let (id, name, description) = (r.take()?, r.take()?, r.take()?);
        let immutable = r.take::<Option<String>>()?.map(|v| v == "true");
        Ok(RoleRef { id, name, description, immutable })
    })
    .await
}

const TRUST: &str = "t.id, t.trustor_user_id, t.trustee_user_id, t.project_id, t.impersonation,
     COALESCE(t.expires_at_int, 0), t.expires_at, t.remaining_uses, t.redelegation_count,
     t.redelegated_trust_id, t.deleted_at";

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
    })
}

/// How many ids are asked for at once: engines take so many arguments and no more.
pub const PART: usize = 500;

async fn with_roles(tx: &mut Tx, mut trusts: Vec<Trust>) -> Result<Vec<Trust>> {
    for part in trusts.chunks_mut(PART) {
        let at: BTreeMap<String, usize> = part.iter().enumerate().map(|(i, t)| (t.id.clone(), i)).collect();
        let mut q = Select::new("SELECT trust_id, role_id FROM trust_role");
        q.is_in("trust_id", at.keys());
        for (trust, role) in q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?))).await? {
            if let Some(t) = at.get(&trust).and_then(|i| part.get_mut(*i)) {
                t.roles.insert(role);
            }
        }
    }
    Ok(trusts)
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
        for part in wanted.into_iter().collect::<Vec<_>>().chunks(PART) {
            let found = trusts_where(tx, |q| {
                q.is_in("t.id", part);
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

/// A trust and everything below it, in no order. Deleted rows are included.
pub async fn subtree(tx: &mut Tx, trust: &str) -> Result<Vec<Trust>> {
    let rows = tx
        .map(
            &format!(
                "WITH RECURSIVE down(id) AS (
                     SELECT id FROM trust WHERE id = ?
                     UNION
                     SELECT t.id FROM trust t JOIN down ON t.redelegated_trust_id = down.id)
                 SELECT {TRUST} FROM trust t JOIN down ON t.id = down.id"
            ),
            args![trust],
            read_trust,
        )
        .await?;
    with_roles(tx, rows).await
}

/// Trusts that fit a condition on `t`, with their roles.
pub async fn trusts_where(tx: &mut Tx, build: impl FnOnce(&mut Select)) -> Result<Vec<Trust>> {
    let mut q = Select::new(&format!("SELECT {TRUST} FROM trust t"));
    build(&mut q);
    let rows = q.map(tx, read_trust).await?;
    with_roles(tx, rows).await
}

/// A chain with its worth at an instant, and the facts that tokens need of it.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The chain and what it is worth.
    pub evaluated: Evaluated,
    /// Its users.
    pub users: BTreeMap<String, UserFacts>,
    /// Its project.
    pub project: Option<ProjectFacts>,
}

impl Judged {
    /// The chain.
    pub fn chain(&self) -> &Chain {
        self.evaluated.chain()
    }

    /// What it is worth.
    pub fn status(&self) -> &TrustStatus {
        self.evaluated.status()
    }
}

/// Judges a chain at an instant.
pub async fn judge(tx: &mut Tx, chain: Chain, now: Micros) -> Result<Option<Judged>> {
    let implications = implications(tx).await?;
    Ok(judge_all(tx, vec![chain], now, &implications).await?.pop())
}

/// Judges chains at one instant; what they share is read once.
pub async fn judge_all(
    tx: &mut Tx,
    chains: Vec<Chain>,
    now: Micros,
    implications: &Implications,
) -> Result<Vec<Judged>> {
    let ids: BTreeSet<&str> = chains.iter().flat_map(Chain::agents).collect();
    let users = users(tx, ids).await?;
    let agents: BTreeMap<String, Presence> = users.iter().map(|(id, u)| (id.clone(), u.presence)).collect();
    let mut projects: BTreeMap<String, Option<ProjectFacts>> = BTreeMap::new();
    let mut held: BTreeMap<(String, String), RoleSet> = BTreeMap::new();
    for chain in &chains {
        let Some(id) = &chain.leaf().project else { continue };
        if !projects.contains_key(id) {
            projects.insert(id.clone(), project(tx, id).await?);
        }
        let key = (chain.root().trustor.clone(), id.clone());
        if let Entry::Vacant(slot) = held.entry(key) {
            let trustor = &chain.root().trustor;
            slot.insert(effective_roles(tx, trustor, Place::Project(id), implications).await?);
        }
    }
    let nothing = RoleSet::new();
    Ok(chains
        .into_iter()
        .map(|chain| {
            let project = chain.leaf().project.as_ref().and_then(|id| projects.get(id).cloned().flatten());
            let key = (chain.root().trustor.clone(), chain.leaf().project.clone().unwrap_or_default());
            let facts = ChainFacts {
                now,
                implications,
                root_roles: held.get(&key).unwrap_or(&nothing),
                agents: &agents,
                project: project.as_ref().map_or(Presence::Missing, |p| p.presence),
            };
            let evaluated = delegation::evaluate(chain, &facts);
            let chain = evaluated.chain();
            let users = chain.agents().into_iter().filter_map(|id| users.get_key_value(id));
            let users = users.map(|(id, u)| (id.clone(), u.clone())).collect();
            Judged { evaluated, users, project }
        })
        .collect())
}

/// Records a revocation. A Keystone on the same database looks at the last link of a chain alone; so that it
/// honours what concerns somebody further up, the trusts below him get the event as one of their own.
pub async fn revoke(tx: &mut Tx, event: &Event, now: Micros) -> Result<()> {
    let mut events = vec![event.clone()];
    for trust in below_the_concerned(tx, event).await? {
        events.push(Event { user: None, domain: None, trust: Some(trust), ..event.clone() });
    }
    for some in events.chunks(AT_ONCE) {
        write_events(tx, some, now).await?;
    }
    Ok(())
}

/// Trusts below those in which somebody takes part whom an event concerns, but not as the last of the chain.
async fn below_the_concerned(tx: &mut Tx, event: &Event) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let (condition, args) = match (&event.user, &event.domain) {
        _ if event.trust.is_some() || event.audit.is_some() || event.audit_chain.is_some() => {
            return Ok(found);
        }
        (Some(user), _) => ("(t.trustor_user_id = ? OR t.trustee_user_id = ?)", args![user, user].to_vec()),
        // With an end it is about tokens scoped to the domain.
        (None, Some(domain)) if event.expires.is_none() => (
            "(t.trustor_user_id IN (SELECT id FROM \"user\" WHERE domain_id = ?)
              OR t.trustee_user_id IN (SELECT id FROM \"user\" WHERE domain_id = ?))",
            args![domain, domain].to_vec(),
        ),
        _ => return Ok(found),
    };
    let children = |condition: &str, args: &[Value]| {
        let mut q = Select::new(
            "SELECT c.id, c.trustor_user_id, c.trustee_user_id
               FROM trust t JOIN trust c ON c.redelegated_trust_id = t.id",
        );
        q.and("c.deleted_at IS NULL", &[]).and(condition, args);
        q.eq("c.project_id", event.project.as_deref());
        q
    };
    let mut level = vec![children(condition, &args)];
    while !level.is_empty() {
        let mut next = BTreeSet::new();
        for q in level {
            for (id, trustor, trustee) in
                q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?, r.take::<String>()?))).await?
            {
                let is_seen = event.user.as_ref().is_some_and(|u| *u == trustor || *u == trustee);
                if !is_seen && found.insert(id.clone()) {
                    next.insert(id);
                }
            }
        }
        let next: Vec<Value> = next.into_iter().map(Value::from).collect();
        level =
            next.chunks(PART).map(|ids| children(&format!("t.id IN ({})", marks(ids.len())), ids)).collect();
    }
    Ok(found)
}

/// So many events are written by one statement.
const AT_ONCE: usize = 20;

/// Writes events as Keystone stores them: whole seconds, and every event is dropped once no token can be as
/// old.
async fn write_events(tx: &mut Tx, events: &[Event], now: Micros) -> Result<()> {
    let second = |at: Micros| DateTime(at / clock::SECOND * clock::SECOND);
    let rows = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"; events.len()].join(", ");
    let mut args: Vec<Value> = Vec::with_capacity(events.len() * 12);
    for event in events {
        args.extend_from_slice(args![
            &event.domain,
            &event.project,
            &event.user,
            &event.role,
            &event.trust,
            &event.consumer,
            &event.access_token,
            second(event.issued_before),
            event.expires.map(DateTime),
            second(now),
            &event.audit,
            &event.audit_chain,
        ]);
    }
    tx.run(
        &format!(
            "INSERT INTO revocation_event (domain_id, project_id, user_id, role_id, trust_id, consumer_id,
                 access_token_id, issued_before, expires_at, revoked_at, audit_id, audit_chain_id)
             VALUES {rows}"
        ),
        &args,
    )
    .await?;
    Ok(())
}

/// Columns of an event, in the order of [`read_event`].
const EVENT: &str = "domain_id, project_id, user_id, role_id, trust_id, consumer_id, access_token_id,
                     audit_id, audit_chain_id, expires_at, issued_before";

fn read_event(r: &mut Row) -> Result<Event> {
    Ok(Event {
        domain: r.take()?,
        project: r.take()?,
        user: r.take()?,
        role: r.take()?,
        trust: r.take()?,
        consumer: r.take()?,
        access_token: r.take()?,
        audit: r.take()?,
        audit_chain: r.take()?,
        expires: r.take::<Option<DateTime>>()?.map(|d| d.0),
        issued_before: r.take::<DateTime>()?.0,
    })
}

/// All events recorded after an instant, with the time of their recording, oldest first.
pub async fn events_since(tx: &mut Tx, since: Option<Micros>) -> Result<Vec<(Event, Micros)>> {
    let mut q = Select::new(&format!("SELECT {EVENT}, revoked_at FROM revocation_event"));
    if let Some(since) = since {
        q.and("revoked_at > ?", args![DateTime(since)]);
    }
    q.end("ORDER BY revoked_at, id");
    q.map(tx, |r| Ok((read_event(r)?, r.take::<DateTime>()?.0))).await
}

/// The names that an event must carry to concern a token; used to find events by index.
#[derive(Debug, Default)]
pub struct Concerned<'a> {
    /// Users that take part in the token.
    pub users: Vec<&'a str>,
    /// Its trusts.
    pub trusts: Vec<&'a str>,
    /// Its project.
    pub project: Option<&'a str>,
    /// Its audit ids.
    pub audit_ids: Vec<&'a str>,
    /// Events of this time or later.
    pub issued: Micros,
}

/// Events that may concern a token. Each branch is one seek in an index, so that the number of
/// events of others does not matter.
pub async fn events(tx: &mut Tx, of: &Concerned<'_>) -> Result<Vec<Event>> {
    let mut sql = String::new();
    let mut args = Vec::new();
    let mut branch = |condition: String, values: &[&str]| {
        if !sql.is_empty() {
            sql.push_str(" UNION ALL ");
        }
        sql.push_str(&format!(
            "SELECT {EVENT} FROM revocation_event WHERE {condition} AND issued_before >= ?"
        ));
        args.extend(values.iter().map(|v| (*v).into()));
        args.push(DateTime(of.issued).into());
    };
    branch(
        format!("user_id IN ({})", marks(of.users.len().max(1))),
        if of.users.is_empty() { &[""] } else { &of.users },
    );
    if let Some(project) = of.project {
        branch("project_id = ? AND user_id IS NULL".into(), &[project]);
    }
    branch(format!("audit_id IN ({})", marks(of.audit_ids.len())), &of.audit_ids);
    branch(format!("audit_chain_id IN ({})", marks(of.audit_ids.len())), &of.audit_ids);
    if !of.trusts.is_empty() {
        branch(format!("trust_id IN ({})", marks(of.trusts.len())), &of.trusts);
    }
    branch(
        "user_id IS NULL AND project_id IS NULL AND audit_id IS NULL AND trust_id IS NULL AND audit_chain_id IS NULL"
            .into(),
        &[],
    );
    tx.map(&sql, &args, read_event).await
}
