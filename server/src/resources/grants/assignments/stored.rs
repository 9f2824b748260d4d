//! Assignments as they are stored.

use std::collections::BTreeSet;

use super::super::{Actor, Target, kind};
use super::{Assignment, AssignmentFilter, Source};
use crate::args;
use crate::error::Result;
use crate::store::tree::PROJECTS;
use crate::store::{self, CHUNK, Id, Row, Select, Tx};

/// Whose assignments to read.
#[derive(Debug, Clone, Copy)]
pub(super) enum HeldBy<'a> {
    Anybody,
    User(&'a str),
    Group(&'a str),
    /// The groups of a user.
    Memberships(&'a str),
}

/// On what.
#[derive(Debug, Clone, Copy)]
pub(super) enum HeldOn<'a> {
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
pub(super) async fn rows(
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
pub(super) async fn system_rows(tx: &mut Tx, of: HeldBy<'_>, role: Option<&str>) -> Result<Vec<Assignment>> {
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
pub(super) fn anything<'a>(of: HeldBy<'_>, filter: &'a AssignmentFilter) -> HeldOn<'a> {
    match (of, &filter.within) {
        (HeldBy::Anybody, Some(domain)) => HeldOn::Within(domain),
        _ => HeldOn::Anything,
    }
}

/// The list without `effective`.
pub(super) async fn stored(tx: &mut Tx, filter: &AssignmentFilter) -> Result<Vec<Assignment>> {
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
pub(super) async fn own_projects(tx: &mut Tx, filter: &AssignmentFilter) -> Result<Vec<String>> {
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
pub(super) async fn below(tx: &mut Tx, project: &str) -> Result<Vec<String>> {
    let mut found = PROJECTS.ids_below(tx, project).await?;
    found.retain(|id| id != project);
    Ok(found)
}

/// The projects above one, and its domain.
pub(super) async fn above(tx: &mut Tx, project: &str) -> Result<Vec<String>> {
    let mut found = PROJECTS.ids_above(tx, project).await?;
    found.retain(|id| id != project);
    Ok(found)
}

/// Those of some projects that are in a domain.
pub(super) async fn projects_in(tx: &mut Tx, domain: &str, of: BTreeSet<&str>) -> Result<BTreeSet<String>> {
    let of: Vec<&str> = of.into_iter().collect();
    let mut found = BTreeSet::new();
    for part in of.chunks(CHUNK) {
        let mut q = Select::new("SELECT id FROM project");
        q.id("domain_id", Some(domain)).eq("is_domain", Some(false)).id_in("id", part.iter().copied());
        found.extend(q.map(tx, |r| r.take::<String>()).await?);
    }
    Ok(found)
}
