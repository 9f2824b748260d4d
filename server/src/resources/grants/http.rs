//! Grants: `/v3/{projects|domains}/{id}/{users|groups}/{id}/roles`, the same below `/v3/OS-INHERIT`,
//! and `/v3/system/{users|groups}/{id}/roles`.
//!
//! Every handler serves all of these routes; the path's parts say which grant is meant. `INHERITED`
//! is true below `/v3/OS-INHERIT`.

use axum::response::Response;
use vicar_rules::policy::{Fact, Facts, Op};

use super::{Actor, Grant, GrantPath, Target, sql};
use crate::authz::{Authorized, Reading, Session, Writing};
use crate::error::{Error, Result};
use crate::facts::{self, RoleLossGuard};
use crate::http::Request;
use crate::http::request::no_content;
use crate::resource::Record;
use crate::resources::groups::Group;
use crate::store::Tx;
use crate::store::migrate::ROOT_DOMAIN;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    List,
    Check,
    Create,
    Revoke,
}

fn op(action: Action, of: &GrantPath) -> Op {
    match (&of.target, &of.actor, action) {
        (Target::Project(_) | Target::Domain(_), _, Action::List) => Op::ListGrants,
        (Target::Project(_) | Target::Domain(_), _, Action::Check) => Op::CheckGrant,
        (Target::Project(_) | Target::Domain(_), _, Action::Create) => Op::CreateGrant,
        (Target::Project(_) | Target::Domain(_), _, Action::Revoke) => Op::RevokeGrant,
        (Target::System, Actor::User(_), Action::List) => Op::ListSystemGrantsForUser,
        (Target::System, Actor::User(_), Action::Check) => Op::CheckSystemGrantForUser,
        (Target::System, Actor::User(_), Action::Create) => Op::CreateSystemGrantForUser,
        (Target::System, Actor::User(_), Action::Revoke) => Op::RevokeSystemGrantForUser,
        (Target::System, Actor::Group(_), Action::List) => Op::ListSystemGrantsForGroup,
        (Target::System, Actor::Group(_), Action::Check) => Op::CheckSystemGrantForGroup,
        (Target::System, Actor::Group(_), Action::Create) => Op::CreateSystemGrantForGroup,
        (Target::System, Actor::Group(_), Action::Revoke) => Op::RevokeSystemGrantForGroup,
    }
}

/// What the path says; each route has its own variable parts.
fn path_of(request: &Request, inherited: bool) -> Result<GrantPath> {
    let part = |name| request.param_opt(name).map(str::to_owned);
    let actor = match (part("user_id"), part("group_id")) {
        (Some(user), _) => Actor::User(user),
        (None, Some(group)) => Actor::Group(group),
        (None, None) => return Err(Error::Internal("a grant's route without an actor".into())),
    };
    let target = match (part("project_id"), part("domain_id")) {
        (Some(project), _) => Target::Project(project),
        (None, Some(domain)) => Target::Domain(domain),
        (None, None) => Target::System,
    };
    Ok(GrantPath { actor, target, inherited })
}

/// A grant with the first part of it that is not there.
struct Found {
    grant: Grant,
    missing: Option<Error>,
    /// The domain of a group that is not here, and that its directory may have.
    unread: Option<String>,
}

impl Found {
    fn lacks(&mut self, kind: &'static str, id: &str) {
        self.missing.get_or_insert_with(|| Error::NotFound(kind, id.to_owned()));
    }

    fn add(&mut self, add: impl FnOnce(Facts) -> Facts) {
        self.grant.facts = add(std::mem::take(&mut self.grant.facts));
    }
}

/// Reads everything that the grant of a path names.
async fn load(tx: &mut Tx, request: &Request, action: Action, inherited: bool) -> Result<Found> {
    let path = path_of(request, inherited)?;
    let role_id = request.param_opt("role_id").map(str::to_owned);
    let grant = Grant { path: path.clone(), role_id, role: None, project: None, facts: Facts::none() };
    let mut found = Found { grant, missing: None, unread: None };
    if let Some(id) = request.param_opt("role_id") {
        found.grant.role = Record::load(tx, id).await?;
        match found.grant.role.clone() {
            Some(role) => found.add(|f| {
                f.with(Fact::RoleId, id)
                    .with(Fact::RoleName, role.name())
                    .with_opt(Fact::RoleDomain, role.domain_id())
            }),
            None => {
                // Not the absent domain of a global role.
                found.add(|f| f.with(Fact::RoleDomain, ""));
                found.lacks("role", id);
            }
        }
    }
    load_actor(tx, action, &path.actor, &mut found).await?;
    load_target(tx, &path.target, &mut found).await?;
    Ok(found)
}

async fn load_actor(tx: &mut Tx, action: Action, actor: &Actor, found: &mut Found) -> Result<()> {
    // A grant may outlive its holder; taking it back must stay possible.
    let is_needed = action != Action::Revoke;
    match actor {
        Actor::User(id) => match facts::user(tx, id).await? {
            Some(user) => found.add(|f| f.and(user.policy_facts())),
            None if is_needed => found.lacks("user", id),
            None => {}
        },
        Actor::Group(id) => match Record::<Group>::load(tx, id).await? {
            Some(group) => found.add(|f| f.and(group.policy_facts())),
            None if is_needed => {
                found.unread = facts::directories::domain_of_group(tx, id).await?;
                match found.unread.clone() {
                    Some(domain) => {
                        found.add(|f| f.with(Fact::GroupId, id).with(Fact::GroupDomain, domain));
                    }
                    None => found.lacks("group", id),
                }
            }
            None => {}
        },
    }
    Ok(())
}

async fn load_target(tx: &mut Tx, target: &Target, found: &mut Found) -> Result<()> {
    match target {
        Target::Project(id) => match facts::project(tx, id).await?.filter(|p| p.id != ROOT_DOMAIN) {
            Some(project) => {
                found.add(|f| {
                    f.with(Fact::ProjectId, id)
                        .with(Fact::ProjectName, &project.name)
                        .with_opt(Fact::ProjectDomain, project.domain_id.as_deref())
                        .with_flag(Fact::ProjectIsDomain, project.is_domain)
                });
                found.grant.project = Some(project);
            }
            None => found.lacks("project", id),
        },
        Target::Domain(id) => match facts::domain(tx, id).await? {
            Some(domain) => found.add(|f| f.with(Fact::DomainId, id).with(Fact::DomainName, &domain.name)),
            None => found.lacks("domain", id),
        },
        Target::System => {}
    }
    Ok(())
}

/// Proves that the caller may do it to the grant that the path names.
///
/// # Errors
/// 403 or 404; 503 when a directory is away.
async fn authorized<T: AsMut<Tx>>(
    s: &mut Session<'_, T>,
    action: Action,
    inherited: bool,
) -> Result<Authorized<Grant>> {
    let found = load(s.tx.as_mut(), s.request, action, inherited).await?;
    let Some(domain) = found.unread.clone().filter(|_| found.missing.is_none()) else {
        return authorize(s, action, found);
    };
    // All of a directory is read for it: for whoever may do this alone.
    authorize(s, action, found)?;
    facts::directories::require_whole(s.tx.as_mut(), &domain).await?;
    let mut found = load(s.tx.as_mut(), s.request, action, inherited).await?;
    if let (Some(_), Actor::Group(id)) = (&found.unread, found.grant.path.actor.clone()) {
        found.lacks("group", &id);
    }
    authorize(s, action, found)
}

/// Asks the policy, and answers 404 for what is not there. As in Keystone, the inherited routes ask first,
/// so that they tell nobody without rights what is there; the others do not.
fn authorize<T>(s: &Session<'_, T>, action: Action, found: Found) -> Result<Authorized<Grant>> {
    match found.missing {
        Some(missing) if !found.grant.path.inherited => Err(missing),
        Some(missing) => {
            s.authorize(op(action, &found.grant.path), found.grant)?;
            Err(missing)
        }
        None => {
            let grant = s.authorize(op(action, &found.grant.path), found.grant)?;
            s.request.line.allowed();
            Ok(grant)
        }
    }
}

/// 404 unless the role is granted.
async fn require(tx: &mut Tx, grant: &Grant) -> Result<()> {
    let (of, role) = (&grant.path, grant.role_id()?);
    if sql::exists(tx, of, role).await? {
        return Ok(());
    }
    Err(Error::NotFoundBecause(format!(
        "Could not find an assignment of role {role} to {} on {}.",
        of.actor.id(),
        of.target.id()
    )))
}

/// Roles of a domain stay on its projects and never reach the system.
fn check_domain(grant: &Grant) -> Result<()> {
    let Some((role, domain)) = grant.role.as_ref().and_then(|r| Some((r, r.domain_id()?))) else {
        return Ok(());
    };
    match &grant.path.target {
        Target::System => Err(Error::BadRequest(format!(
            "Role {} belongs to a domain and cannot be granted on the system.",
            role.id
        ))),
        Target::Project(id)
            if grant.project.as_ref().and_then(|p| p.domain_id.as_deref()) != Some(domain) =>
        {
            Err(Error::Forbidden(format!("Role {} belongs to another domain than project {id}.", role.id)))
        }
        Target::Project(_) | Target::Domain(_) => Ok(()),
    }
}

/// `GET …/roles`
pub async fn list<const INHERITED: bool>(s: &mut Reading<'_>) -> Result<Response> {
    let grant = authorized(s, Action::List, INHERITED).await?;
    let roles = sql::roles(&mut s.tx, &grant.path).await?;
    s.list("roles", roles.iter().map(|r| r.to_json(s.links())).collect(), &[])
}

/// `HEAD` and `GET …/roles/{role_id}`
pub async fn check<const INHERITED: bool>(s: &mut Reading<'_>) -> Result<Response> {
    let grant = authorized(s, Action::Check, INHERITED).await?;
    require(&mut s.tx, &grant).await?;
    Ok(no_content())
}

/// `PUT …/roles/{role_id}`
pub async fn create<const INHERITED: bool>(s: &mut Writing<'_>) -> Result<Response> {
    let grant = authorized(s, Action::Create, INHERITED).await?;
    check_domain(&grant)?;
    sql::grant(&mut s.tx, &grant).await?;
    Ok(no_content())
}

/// `DELETE …/roles/{role_id}`
pub async fn revoke<const INHERITED: bool>(s: &mut Writing<'_>) -> Result<Response> {
    let grant = authorized(s, Action::Revoke, INHERITED).await?;
    require(&mut s.tx, &grant).await?;
    let holders = sql::holders_of(&mut s.tx, &grant.path.actor).await?;
    let guard = RoleLossGuard::begin_for(&mut s.tx, holders).await?;
    sql::revoke(&mut s.tx, &grant).await?;
    guard.finish(&mut s.tx, &grant).await?;
    Ok(no_content())
}
