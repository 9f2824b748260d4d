//! Assignments as they work: for users, on each project, with what roles imply.

use std::collections::{BTreeMap, BTreeSet};

use vicar_rules::roles::Implications;

use super::super::{Actor, Target};
use super::stored::{HeldBy, HeldOn, above, anything, own_projects, rows, system_rows};
use super::{Assignment, AssignmentFilter, Source};
use crate::args;
use crate::error::{Error, Result};
use crate::facts::{self, NO_DOMAIN, ProjectFacts};
use crate::store::{CHUNK, Id, Row, Select, Tx, placeholders};

/// The list with `effective`, on projects and domains.
pub(super) async fn effective(
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
pub(super) async fn effective_on_system(tx: &mut Tx, filter: &AssignmentFilter) -> Result<Vec<Assignment>> {
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
