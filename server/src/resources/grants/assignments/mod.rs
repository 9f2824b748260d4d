//! `GET /v3/role_assignments`: who holds what where, as stored, or (`effective`) as it works: groups
//! resolved into their members, inherited roles on each project below, implied roles added.

mod effective;
mod shown;
mod stored;

use std::collections::BTreeSet;

use axum::response::Response;
use serde_json::{Map, Value};
use vicar_rules::policy::{Fact, Facts, Op, Scope};

use self::effective::{effective, effective_on_system};
use self::shown::{Names, to_json};
use self::stored::{projects_in, stored};
use super::{Actor, Target};
use crate::authz::Reading;
use crate::error::{Error, Result};
use crate::facts::{self, ProjectFacts};
use crate::http::page::Query;
use crate::schema;
use crate::store::Tx;

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
