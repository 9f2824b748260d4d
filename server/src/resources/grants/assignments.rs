//! `GET /v3/role_assignments`: who holds what where, as stored, or (`effective`) as it works: groups
//! resolved into their members, inherited roles on each project below, implied roles added.

use std::collections::{BTreeMap, BTreeSet};

use axum::response::Response;
use serde_json::{Map, Value, json};
use vicar_rules::policy::{Fact, Facts, Op, Scope};
use vicar_rules::roles::Implications;

use super::{Actor, Target, kind};
use crate::args;
use crate::authz::Reading;
use crate::error::{Error, Result};
use crate::extra;
use crate::facts::{self, NO_DOMAIN, ProjectFacts};
use crate::http::Links;
use crate::http::page::Query;
use crate::schema;
use crate::store::migrate::ROOT_DOMAIN;
use crate::store::tree::PROJECTS;
use crate::store::{self, CHUNK, Id, Row, Select, Tx, placeholders};

schema! {QUERY, {
    "type": "object",
    "properties": {
        "user.id": {},
        "group.id": {"pattern": "^[a-zA-Z0-9-]{1,64}$"},
        "role.id": {"pattern": "^[a-zA-Z0-9-]{1,64}$"},
        "scope.domain.id": {"pattern": "^[a-zA-Z0-9-]{1,64}$"},
        "scope.project.id": {"pattern": "^[a-zA-Z0-9-]{1,64}$"},
        "scope.system": {},
        "scope.OS-INHERIT:inherited_to": {},
        "effective": {},
        "include_names": {},
        "include_subtree": {},
    },
}}

/// Where an assignment comes from that is not stored as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    /// The group whose member the user is.
    group: Option<String>,
    /// The project or domain above, from which it is inherited.
    above: Option<Target>,
    /// The role that implies it.
    role: Option<String>,
}

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Assignment {
    actor: Actor,
    target: Target,
    role: String,
    inherited: bool,
    source: Source,
}

/// What the query asks for.
#[derive(Debug, Default)]
struct AssignmentFilter {
    user: Option<String>,
    group: Option<String>,
    role: Option<String>,
    project: Option<String>,
    domain: Option<String>,
    system: bool,
    inherited: Option<bool>,
    effective: bool,
    names: bool,
    subtree: bool,
    /// The domain that the caller's token is for: nothing else is shown.
    within: Option<String>,
}

impl AssignmentFilter {
    fn of(q: &Query) -> Result<Self> {
        const IDS: [&str; 4] = ["group.id", "role.id", "scope.domain.id", "scope.project.id"];
        let asked: Map<String, Value> = IDS.iter().map(|n| ((*n).to_owned(), q.get(n).into())).collect();
        QUERY.check("query", &asked.into())?;
        let text = |name: &str| q.get(name).filter(|v| !v.is_empty()).map(str::to_owned);
        let filter = Self {
            user: text("user.id"),
            group: text("group.id"),
            role: text("role.id"),
            project: text("scope.project.id"),
            domain: text("scope.domain.id"),
            system: q.get("scope.system") == Some("all"),
            inherited: q.get("scope.OS-INHERIT:inherited_to").map(|v| v == "projects"),
            effective: q.flag("effective"),
            names: q.flag("include_names"),
            subtree: q.flag("include_subtree"),
            within: None,
        };
        filter.consistent(q.has("include_subtree"), text("scope.system").is_some())?;
        Ok(filter)
    }

    /// Whether it is about many: it names no holder, and no single scope.
    fn is_wide(&self) -> bool {
        let is_narrow = self.user.is_some() || self.group.is_some() || self.project.is_some() || self.system;
        !is_narrow || self.subtree
    }

    /// An assignment has one holder and one scope; what can only be empty is a mistake.
    fn consistent(&self, subtree_named: bool, system_named: bool) -> Result<()> {
        let refuse = |text: &str| Err(Error::BadRequest(text.to_owned()));
        if subtree_named && self.project.is_none() {
            return refuse("include_subtree needs scope.project.id");
        }
        if self.user.is_some() && self.group.is_some() {
            return refuse("user.id and group.id exclude each other");
        }
        let scopes = [self.project.is_some(), self.domain.is_some(), system_named];
        if scopes.iter().filter(|s| **s).count() > 1 {
            return refuse("scope.project.id, scope.domain.id and scope.system exclude each other");
        }
        if self.effective && self.group.is_some() {
            return refuse("effective shows users only, so it cannot be filtered by group.id");
        }
        if self.effective && self.domain.is_some() && self.inherited == Some(true) {
            return refuse(
                "effective shows inherited roles on projects, so it cannot go with scope.domain.id",
            );
        }
        Ok(())
    }
}

/// `GET /v3/role_assignments`
pub async fn list(s: &mut Reading<'_>) -> Result<Response> {
    let caller = s.caller()?;
    let mut filter = AssignmentFilter::of(&s.request.query)?;
    if let (Scope::Domain(domain), false) = (&caller.subject().scope, filter.subtree) {
        filter.within = Some(domain.clone());
    }
    let project = match &filter.project {
        Some(id) => facts::project(&mut s.tx, id).await?,
        None => None,
    };
    let (op, facts) = question(&caller.subject().scope, &filter, project.as_ref());
    s.authorize(op, facts)?;
    if project.is_none()
        && let Some(id) = filter.project.as_ref().filter(|_| filter.effective || filter.subtree)
    {
        return Err(Error::NotFound("project", id.clone()));
    }
    if filter.is_wide() {
        s.take_long().await?;
    }
    let tx = &mut s.tx;
    let mut found = match (filter.effective, filter.system) {
        (false, _) => stored(tx, &filter).await?,
        (true, true) => effective_on_system(tx, &filter).await?,
        (true, false) => effective(tx, &filter, project.as_ref()).await?,
    };
    if let Some(domain) = &filter.within {
        only_in_domain(tx, &mut found, domain).await?;
    }
    let names = if filter.names { Some(Names::of(tx, &found).await?) } else { None };
    let items = found.iter().map(|a| to_json(a, s.links(), names.as_ref())).collect();
    Ok(s.request.whole_list("role_assignments", items))
}

/// What the policy is asked: a list is about the domain of the caller's token, a tree about the domain of its
/// project.
fn question(scope: &Scope, filter: &AssignmentFilter, project: Option<&ProjectFacts>) -> (Op, Facts) {
    let facts = Facts::none();
    if filter.subtree {
        let domain = project.and_then(|p| p.domain_id.as_ref());
        let facts = facts
            .with_known(Fact::ProjectId, project.map(|p| &p.id))
            .with_known(Fact::ProjectName, project.map(|p| &p.name))
            .with_known(Fact::ProjectDomain, domain)
            .with_known(Fact::ListDomain, domain);
        (Op::ListRoleAssignmentsForTree, facts)
    } else {
        let facts = match scope {
            Scope::Domain(id) => facts.with(Fact::ListDomain, id),
            Scope::Unscoped | Scope::Project { .. } | Scope::System => facts,
        };
        (Op::ListRoleAssignments, facts)
    }
}

/// Keeps what is on the domain or on its projects.
async fn only_in_domain(tx: &mut Tx, found: &mut Vec<Assignment>, domain: &str) -> Result<()> {
    let projects: BTreeSet<&str> = found
        .iter()
        .filter_map(|a| match &a.target {
            Target::Project(id) => Some(id.as_str()),
            Target::Domain(_) | Target::System => None,
        })
        .collect();
    let projects = projects_in(tx, domain, projects).await?;
    found.retain(|a| match &a.target {
        Target::Domain(id) => id == domain,
        Target::Project(id) => projects.contains(id),
        Target::System => false,
    });
    Ok(())
}

// What is stored.

/// Whose assignments to read.
#[derive(Debug, Clone, Copy)]
enum HeldBy<'a> {
    Anybody,
    User(&'a str),
    Group(&'a str),
    /// The groups of a user.
    Memberships(&'a str),
}

/// On what.
#[derive(Debug, Clone, Copy)]
enum HeldOn<'a> {
    Anything,
    /// A domain and all that is in it.
    Within(&'a str),
    Projects(&'a [String]),
    Domain(&'a str),
}

fn read(r: &mut Row) -> store::Result<Option<Assignment>> {
    let (kind, actor, target): (String, String, String) = (r.take()?, r.take()?, r.take()?);
    let (role, inherited) = (r.take()?, r.take()?);
    let (actor, target) = match kind.as_str() {
        "UserProject" => (Actor::User(actor), Target::Project(target)),
        "UserDomain" => (Actor::User(actor), Target::Domain(target)),
        "UserSystem" => (Actor::User(actor), Target::System),
        "GroupProject" => (Actor::Group(actor), Target::Project(target)),
        "GroupDomain" => (Actor::Group(actor), Target::Domain(target)),
        "GroupSystem" => (Actor::Group(actor), Target::System),
        _ => return Ok(None),
    };
    Ok(Some(Assignment { actor, target, role, inherited, source: Source::default() }))
}

/// The part of a `type` that says who holds it, with a condition on the holder's id.
fn of_condition(
    tx: &Tx,
    of: HeldBy<'_>,
    words: &mut Vec<&'static str>,
) -> Option<(String, Vec<store::Value>)> {
    match of {
        HeldBy::Anybody => None,
        HeldBy::User(id) => {
            words.retain(|w| w.starts_with("User"));
            Some(("actor_id = ?".to_owned(), vec![Id(id).into()]))
        }
        HeldBy::Group(id) => {
            words.retain(|w| w.starts_with("Group"));
            Some(("actor_id = ?".to_owned(), vec![Id(id).into()]))
        }
        HeldBy::Memberships(id) => {
            words.retain(|w| w.starts_with("Group"));
            let (unexpired, now) = tx.unexpired();
            let condition = format!(
                "(actor_id IN (SELECT group_id FROM user_group_membership WHERE user_id = ?)
                  OR actor_id IN (SELECT e.group_id FROM expiring_user_group_membership e
                                    JOIN identity_provider i ON i.id = e.idp_id
                                   WHERE e.user_id = ? AND {unexpired}))"
            );
            Some((condition, vec![Id(id).into(), Id(id).into(), now]))
        }
    }
}

/// Assignments on projects and domains as they are stored.
async fn rows(
    tx: &mut Tx,
    of: HeldBy<'_>,
    on: HeldOn<'_>,
    inherited: Option<bool>,
    role: Option<&str>,
) -> Result<Vec<Assignment>> {
    let mut words = vec!["UserProject", "UserDomain", "GroupProject", "GroupDomain"];
    let holder = of_condition(tx, of, &mut words);
    let mut batches: Vec<Option<&[String]>> = vec![None];
    match on {
        HeldOn::Anything | HeldOn::Within(_) => {}
        HeldOn::Domain(_) => words.retain(|w| w.ends_with("Domain")),
        HeldOn::Projects(ids) => {
            words.retain(|w| w.ends_with("Project"));
            batches = ids.chunks(CHUNK).map(Some).collect();
        }
    }
    let mut out = Vec::new();
    for batch in batches {
        let mut q = Select::new("SELECT type, actor_id, target_id, role_id, inherited FROM assignment");
        q.eq("inherited", inherited).id("role_id", role);
        if let Some((condition, args)) = &holder {
            q.and(condition, args);
        }
        if let HeldOn::Domain(id) = on {
            q.and("target_id = ?", args![Id(id)]);
        }
        if let HeldOn::Within(id) = on {
            q.and(
                "target_id IN (SELECT p.id FROM project p WHERE p.id = ? OR p.domain_id = ?)",
                args![Id(id), Id(id)],
            );
        }
        if let Some(ids) = batch {
            q.id_in("target_id", ids);
        }
        q.end("ORDER BY type, target_id, actor_id, role_id, inherited");
        // The types follow from whom and what was asked for. With a condition on them SQLite would read all rows
        // of a type, by the primary key, and not those of the target.
        let found = q.map(tx, read).await?.into_iter().flatten();
        out.extend(found.filter(|a| words.contains(&kind(&a.actor, &a.target))));
    }
    Ok(out)
}

/// Assignments on the system as they are stored.
async fn system_rows(tx: &mut Tx, of: HeldBy<'_>, role: Option<&str>) -> Result<Vec<Assignment>> {
    let mut words = vec!["UserSystem", "GroupSystem"];
    let holder = of_condition(tx, of, &mut words);
    let mut q = Select::new("SELECT type, actor_id, target_id, role_id, inherited FROM system_assignment");
    q.and("target_id = 'system'", &[]).id_in("type", words.iter().copied()).id("role_id", role);
    if let Some((condition, args)) = &holder {
        q.and(condition, args);
    }
    q.end("ORDER BY type, actor_id, role_id");
    Ok(q.map(tx, read).await?.into_iter().flatten().collect())
}

/// All targets, as far as a limit to a domain is of use: what somebody holds is little.
fn anything<'a>(of: HeldBy<'_>, filter: &'a AssignmentFilter) -> HeldOn<'a> {
    match (of, &filter.within) {
        (HeldBy::Anybody, Some(domain)) => HeldOn::Within(domain),
        _ => HeldOn::Anything,
    }
}

/// The list without `effective`.
async fn stored(tx: &mut Tx, filter: &AssignmentFilter) -> Result<Vec<Assignment>> {
    let of = match (&filter.user, &filter.group) {
        (Some(user), _) => HeldBy::User(user),
        (None, Some(group)) => HeldBy::Group(group),
        (None, None) => HeldBy::Anybody,
    };
    let role = filter.role.as_deref();
    let mut found = Vec::new();
    if !filter.system {
        let projects = own_projects(tx, filter).await?;
        let on = match (&filter.project, &filter.domain) {
            (Some(_), _) => HeldOn::Projects(&projects),
            (None, Some(domain)) => HeldOn::Domain(domain),
            (None, None) => anything(of, filter),
        };
        found = rows(tx, of, on, filter.inherited, role).await?;
    }
    if filter.system || (filter.project.is_none() && filter.domain.is_none()) {
        found.extend(system_rows(tx, of, role).await?);
    }
    Ok(found)
}

// Trees.

/// The project of the filter, and with `include_subtree` everything below it.
async fn own_projects(tx: &mut Tx, filter: &AssignmentFilter) -> Result<Vec<String>> {
    let Some(project) = &filter.project else {
        return Ok(Vec::new());
    };
    let mut own = vec![project.clone()];
    if filter.subtree {
        own.extend(below(tx, project).await?);
    }
    Ok(own)
}

/// The projects below one, at any depth.
async fn below(tx: &mut Tx, project: &str) -> Result<Vec<String>> {
    let mut found = PROJECTS.ids_below(tx, project).await?;
    found.retain(|id| id != project);
    Ok(found)
}

/// The projects above one, and its domain.
async fn above(tx: &mut Tx, project: &str) -> Result<Vec<String>> {
    let mut found = PROJECTS.ids_above(tx, project).await?;
    found.retain(|id| id != project);
    Ok(found)
}

/// Those of some projects that are in a domain.
async fn projects_in(tx: &mut Tx, domain: &str, of: BTreeSet<&str>) -> Result<BTreeSet<String>> {
    let of: Vec<&str> = of.into_iter().collect();
    let mut found = BTreeSet::new();
    for part in of.chunks(CHUNK) {
        let mut q = Select::new("SELECT id FROM project");
        q.id("domain_id", Some(domain)).eq("is_domain", Some(false)).id_in("id", part.iter().copied());
        found.extend(q.map(tx, |r| r.take::<String>()).await?);
    }
    Ok(found)
}

// What works.

/// The list with `effective`, on projects and domains.
async fn effective(
    tx: &mut Tx,
    filter: &AssignmentFilter,
    project: Option<&ProjectFacts>,
) -> Result<Vec<Assignment>> {
    let own = own_projects(tx, filter).await?;
    let mut found = Vec::new();
    for of in holders(tx, filter).await? {
        found.extend(sources(tx, of, filter, project, &own).await?);
    }
    let found = Expansion::over(tx, filter, &own, &found).await?.expand(found);
    finish(tx, found, filter).await
}

/// The list with `effective`, on the system.
async fn effective_on_system(tx: &mut Tx, filter: &AssignmentFilter) -> Result<Vec<Assignment>> {
    let mut found = Vec::new();
    for of in holders(tx, filter).await? {
        found.extend(system_rows(tx, of, None).await?);
    }
    let found = Expansion::over(tx, filter, &[], &found).await?.expand(found);
    finish(tx, found, filter).await
}

/// Anybody, or the wanted user and their groups.
async fn holders<'a>(tx: &mut Tx, filter: &'a AssignmentFilter) -> Result<Vec<HeldBy<'a>>> {
    let Some(user) = &filter.user else {
        return Ok(vec![HeldBy::Anybody]);
    };
    if facts::user(tx, user).await?.is_none() {
        return Err(Error::NotFound("user", user.clone()));
    }
    Ok(vec![HeldBy::User(user), HeldBy::Memberships(user)])
}

/// Stored assignments that have an effect on what the filter asks for. Its role is applied later: it may
/// follow from another.
async fn sources(
    tx: &mut Tx,
    of: HeldBy<'_>,
    filter: &AssignmentFilter,
    project: Option<&ProjectFacts>,
    own: &[String],
) -> Result<Vec<Assignment>> {
    // Domains inherit nothing.
    let inherited = if filter.domain.is_some() { Some(false) } else { filter.inherited };
    let mut found = Vec::new();
    if inherited != Some(true) {
        let on = match (&filter.domain, project) {
            (Some(domain), _) => HeldOn::Domain(domain),
            (None, Some(_)) => HeldOn::Projects(own),
            (None, None) => anything(of, filter),
        };
        found.extend(rows(tx, of, on, Some(false), None).await?);
    }
    if inherited != Some(false) {
        match project {
            None => found.extend(rows(tx, of, anything(of, filter), Some(true), None).await?),
            Some(project) => {
                if let Some(domain) = &project.domain_id {
                    found.extend(rows(tx, of, HeldOn::Domain(domain), Some(true), None).await?);
                }
                let mut from = above(tx, &project.id).await?;
                if own.len() > 1 {
                    from.extend_from_slice(own);
                }
                found.extend(rows(tx, of, HeldOn::Projects(&from), Some(true), None).await?);
            }
        }
    }
    Ok(found)
}

/// Turns stored assignments into what they mean for users on projects.
struct Expansion<'a> {
    filter: &'a AssignmentFilter,
    own: &'a [String],
    /// The same, to look them up.
    inside: BTreeSet<&'a str>,
    members: BTreeMap<String, Vec<String>>,
    trees: BTreeMap<Target, Vec<String>>,
}

impl<'a> Expansion<'a> {
    async fn over(
        tx: &mut Tx,
        filter: &'a AssignmentFilter,
        own: &'a [String],
        found: &[Assignment],
    ) -> Result<Self> {
        let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
        if filter.user.is_none() {
            let groups: BTreeSet<&str> = found
                .iter()
                .filter_map(|a| match &a.actor {
                    Actor::Group(id) => Some(id.as_str()),
                    Actor::User(_) => None,
                })
                .collect();
            let groups: Vec<&str> = groups.into_iter().collect();
            for part in groups.chunks(CHUNK) {
                let mut q = Select::new("SELECT group_id, user_id FROM user_group_membership");
                q.id_in("group_id", part.iter().copied()).end("ORDER BY group_id, user_id");
                for (group, user) in q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?))).await? {
                    members.entry(group).or_default().push(user);
                }
            }
        }
        let inside = own.iter().filter(|_| own.len() > 1).map(String::as_str).collect();
        let mut this = Self { filter, own, inside, members, trees: BTreeMap::new() };
        let roots: BTreeSet<&Target> =
            found.iter().filter(|a| a.inherited && !this.is_on_own(a)).map(|a| &a.target).collect();
        this.trees = trees(tx, roots).await?;
        Ok(this)
    }

    fn expand(self, found: Vec<Assignment>) -> Vec<Assignment> {
        let mut out = Vec::new();
        for one in found {
            let targets = self.targets(&one).to_vec();
            for holder in self.users(one) {
                if !holder.inherited {
                    out.push(holder);
                    continue;
                }
                out.extend(targets.iter().map(|project| {
                    let mut on = holder.clone();
                    on.inherited = false;
                    on.source.above =
                        Some(std::mem::replace(&mut on.target, Target::Project(project.clone())));
                    on
                }));
            }
        }
        out
    }

    /// One assignment for each user whom it concerns.
    fn users(&self, one: Assignment) -> Vec<Assignment> {
        let Actor::Group(group) = &one.actor else {
            return vec![one];
        };
        let members: Vec<&String> = match &self.filter.user {
            // Only groups of this user were read.
            Some(user) => vec![user],
            None => self.members.get(group).into_iter().flatten().collect(),
        };
        let source = Source { group: Some(group.clone()), ..Source::default() };
        members
            .into_iter()
            .map(|user| Assignment {
                actor: Actor::User(user.clone()),
                source: source.clone(),
                ..one.clone()
            })
            .collect()
    }

    /// Whether an inherited assignment comes from above all that the filter asks for, and so works on all of it.
    fn is_on_own(&self, one: &Assignment) -> bool {
        let inside = matches!(&one.target, Target::Project(id) if self.inside.contains(id.as_str()));
        !self.own.is_empty() && !inside
    }

    /// The projects on which an inherited assignment works, as far as the filter asks for them.
    fn targets(&self, one: &Assignment) -> &[String] {
        if !one.inherited {
            &[]
        } else if self.is_on_own(one) {
            self.own
        } else {
            self.trees.get(&one.target).map_or(&[], Vec::as_slice)
        }
    }
}

/// The projects below each of some projects and domains. The number of statements grows with hundreds of these.
async fn trees(tx: &mut Tx, roots: BTreeSet<&Target>) -> Result<BTreeMap<Target, Vec<String>>> {
    let (mut projects, mut domains) = (Vec::new(), Vec::new());
    for root in roots {
        match root {
            Target::Project(id) => projects.push(id.as_str()),
            Target::Domain(id) => domains.push(id.as_str()),
            Target::System => {}
        }
    }
    let mut out: BTreeMap<Target, Vec<String>> = BTreeMap::new();
    let pair = |r: &mut Row| Ok((r.take::<String>()?, r.take::<String>()?));
    for part in projects.chunks(CHUNK) {
        let below = format!(
            "WITH RECURSIVE down(root, id) AS (
                 SELECT parent_id, id FROM project WHERE parent_id IN ({})
                 UNION
                 SELECT down.root, p.id FROM project p JOIN down ON p.parent_id = down.id)
             SELECT root, id FROM down WHERE id <> root ORDER BY root, id",
            placeholders(part.len())
        );
        let args: Vec<_> = part.iter().map(|id| Id(*id).into()).collect();
        for (root, id) in tx.map(&below, &args, pair).await? {
            out.entry(Target::Project(root)).or_default().push(id);
        }
    }
    for part in domains.chunks(CHUNK) {
        let mut q = Select::new("SELECT domain_id, id FROM project");
        q.id_in("domain_id", part.iter().copied())
            .and("is_domain = ?", args![false])
            .end("ORDER BY domain_id, id");
        for (root, id) in q.map(tx, pair).await? {
            out.entry(Target::Domain(root)).or_default().push(id);
        }
    }
    Ok(out)
}

/// Adds implied roles, each with the role that implies it; every assignment appears once.
fn with_implied(found: Vec<Assignment>, implications: &Implications) -> Vec<Assignment> {
    let mut seen: BTreeSet<Assignment> = BTreeSet::new();
    let mut out = Vec::new();
    let mut todo: Vec<Assignment> = found.into_iter().rev().collect();
    while let Some(one) = todo.pop() {
        if !seen.insert(one.clone()) {
            continue;
        }
        for implied in implications.of(&one.role).iter().rev() {
            let mut next = one.clone();
            next.source.role = Some(std::mem::replace(&mut next.role, implied.clone()));
            todo.push(next);
        }
        out.push(one);
    }
    out
}

/// Implied roles in, roles of domains (which no token shows) out, then the filter by role.
async fn finish(tx: &mut Tx, found: Vec<Assignment>, filter: &AssignmentFilter) -> Result<Vec<Assignment>> {
    let implications = facts::implications(tx).await?;
    let mut out = with_implied(found, &implications);
    let roles: BTreeSet<&String> = out.iter().map(|a| &a.role).collect();
    let domains = facts::domains_of_roles(tx, roles).await?;
    let is_global = |role: &String| domains.get(role).is_some_and(|d| d == NO_DOMAIN);
    out.retain(|a| is_global(&a.role) && filter.role.as_ref().is_none_or(|r| *r == a.role));
    Ok(out)
}

// What is shown.

/// A name, with the domain's id and name.
#[derive(Debug, Clone, Default)]
struct Name {
    name: String,
    domain: Option<(String, String)>,
}

/// Names of everything in a list.
#[derive(Debug, Default)]
struct Names {
    users: BTreeMap<String, Name>,
    groups: BTreeMap<String, Name>,
    projects: BTreeMap<String, Name>,
    roles: BTreeMap<String, Name>,
}

async fn names(tx: &mut Tx, sql: &str, ids: &BTreeSet<&str>) -> Result<BTreeMap<String, Name>> {
    let ids: Vec<&str> = ids.iter().copied().collect();
    let mut out = BTreeMap::new();
    for batch in ids.chunks(CHUNK) {
        let mut q = Select::new(sql);
        q.id_in("x.id", batch.iter().copied());
        let found = q
            .map(tx, |r| {
                let (id, name): (String, Option<String>) = (r.take()?, r.take()?);
                let (domain, domain_name): (Option<String>, Option<String>) = (r.take()?, r.take()?);
                let domain = domain.filter(|d| d != NO_DOMAIN && d != ROOT_DOMAIN);
                let domain = domain.map(|d| (d, domain_name.unwrap_or_default()));
                Ok((id, Name { name: name.unwrap_or_default(), domain }))
            })
            .await?;
        out.extend(found);
    }
    Ok(out)
}

impl Names {
    async fn of(tx: &mut Tx, found: &[Assignment]) -> Result<Self> {
        let (mut users, mut groups, mut projects, mut roles) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for a in found {
            roles.insert(a.role.as_str());
            match &a.actor {
                Actor::User(id) => users.insert(id.as_str()),
                Actor::Group(id) => groups.insert(id.as_str()),
            };
            if let Target::Project(id) | Target::Domain(id) = &a.target {
                projects.insert(id.as_str());
            }
        }
        let of = |table: &str| {
            format!(
                "SELECT x.id, x.name, x.domain_id, d.name FROM \"{table}\" x
                   LEFT JOIN project d ON d.id = x.domain_id"
            )
        };
        Ok(Self {
            users: names(
                tx,
                "SELECT x.id, COALESCE(l.name, n.name), x.domain_id, d.name FROM \"user\" x
                   LEFT JOIN local_user l ON l.user_id = x.id LEFT JOIN nonlocal_user n ON n.user_id = x.id
                   LEFT JOIN project d ON d.id = x.domain_id",
                &users,
            )
            .await?,
            groups: names(tx, &of("group"), &groups).await?,
            projects: names(tx, &of("project"), &projects).await?,
            roles: names(tx, &of("role"), &roles).await?,
        })
    }
}

/// Something by its id; with names also by name and domain. What is gone has empty names.
fn named(id: &str, names: Option<&BTreeMap<String, Name>>) -> Value {
    let Some(names) = names else {
        return json!({"id": id});
    };
    let found = names.get(id).cloned().unwrap_or_default();
    let (domain, domain_name) = found.domain.unwrap_or_default();
    json!({"id": id, "name": found.name, "domain": {"id": domain, "name": domain_name}})
}

/// The same for what has no domain of its own to show.
fn plain(id: &str, names: Option<&BTreeMap<String, Name>>) -> Value {
    match names {
        None => json!({"id": id}),
        Some(names) => json!({"id": id, "name": names.get(id).map_or("", |n| n.name.as_str())}),
    }
}

fn role_json(id: &str, names: Option<&BTreeMap<String, Name>>) -> Value {
    match names.and_then(|n| n.get(id)) {
        Some(Name { domain: Some(_), .. }) => named(id, names),
        Some(Name { domain: None, .. }) | None => plain(id, names),
    }
}

/// An assignment as Keystone shows it; its link is the grant that it comes from.
fn to_json(a: &Assignment, links: &Links, names: Option<&Names>) -> Value {
    let mut scope = match &a.target {
        Target::Project(id) => json!({"project": named(id, names.map(|n| &n.projects))}),
        Target::Domain(id) => json!({"domain": plain(id, names.map(|n| &n.projects))}),
        Target::System => json!({"system": {"all": true}}),
    };
    let inherited = a.inherited || a.source.above.is_some();
    if inherited {
        extra::set(&mut scope, "OS-INHERIT:inherited_to", "projects");
    }
    let mut own_links = json!({"assignment": links.to(&grant_path(a, inherited))});
    let (kind, actor) = match &a.actor {
        Actor::User(id) => ("user", named(id, names.map(|n| &n.users))),
        Actor::Group(id) => ("group", named(id, names.map(|n| &n.groups))),
    };
    if let Some(group) = &a.source.group {
        let membership = links.of(&["groups", group, "users", a.actor.id()]);
        extra::set(&mut own_links, "membership", membership);
    }
    if let Some(prior) = &a.source.role {
        // Keystone's own words, the order of the two included.
        let prior = links.of(&["prior_role", &a.role, "implies", prior]);
        extra::set(&mut own_links, "prior_role", prior);
    }
    json!({
        "scope": scope,
        kind: actor,
        "role": role_json(&a.role, names.map(|n| &n.roles)),
        "links": own_links,
    })
}

fn grant_path(a: &Assignment, inherited: bool) -> String {
    let target = match a.source.above.as_ref().unwrap_or(&a.target) {
        Target::Project(id) => format!("/projects/{id}"),
        Target::Domain(id) => format!("/domains/{id}"),
        Target::System => "/system".to_owned(),
    };
    let actor = match (&a.source.group, &a.actor) {
        (Some(group), _) => format!("/groups/{group}"),
        (None, Actor::User(id)) => format!("/users/{id}"),
        (None, Actor::Group(id)) => format!("/groups/{id}"),
    };
    let role = a.source.role.as_ref().unwrap_or(&a.role);
    if inherited {
        format!("/OS-INHERIT{target}{actor}/roles/{role}/inherited_to_projects")
    } else {
        format!("{target}{actor}/roles/{role}")
    }
}
