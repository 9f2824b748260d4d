//! Grants: `/v3/{projects|domains}/{id}/{users|groups}/{id}/roles`, the same below `/v3/OS-INHERIT`,
//! and `/v3/system/{users|groups}/{id}/roles`.
//!
//! Every handler serves all of these routes; the path's parts say which grant is meant. `INHERITED`
//! is true below `/v3/OS-INHERIT`.

use axum::extract::Path;
use axum::response::Response;
use serde::Deserialize;
use vicar_rules::policy::{Fact, Facts, Op};
use vicar_rules::revocation::Event;

use super::{Actor, Holding, Target, sql};
use crate::error::{Error, Result};
use crate::facts::{self, ProjectFacts};
use crate::http::request::no_content;
use crate::http::{Permit, Req};
use crate::resources::roles::{self, Role};
use crate::resources::trusts::loss::{self, Affected};
use crate::store::Tx;
use crate::store::migrate::ROOT_DOMAIN;

/// From so many members on, a group counts as everybody.
const MANY: usize = 500;

/// The variable parts of a grant's path; each route has its own.
#[derive(Debug, Deserialize)]
pub struct Parts {
    project_id: Option<String>,
    domain_id: Option<String>,
    user_id: Option<String>,
    group_id: Option<String>,
    role_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    List,
    Check,
    Create,
    Revoke,
}

fn op(act: Act, of: &Holding) -> Op {
    match (&of.target, &of.actor, act) {
        (Target::Project(_) | Target::Domain(_), _, Act::List) => Op::ListGrants,
        (Target::Project(_) | Target::Domain(_), _, Act::Check) => Op::CheckGrant,
        (Target::Project(_) | Target::Domain(_), _, Act::Create) => Op::CreateGrant,
        (Target::Project(_) | Target::Domain(_), _, Act::Revoke) => Op::RevokeGrant,
        (Target::System, Actor::User(_), Act::List) => Op::ListSystemGrantsForUser,
        (Target::System, Actor::User(_), Act::Check) => Op::CheckSystemGrantForUser,
        (Target::System, Actor::User(_), Act::Create) => Op::CreateSystemGrantForUser,
        (Target::System, Actor::User(_), Act::Revoke) => Op::RevokeSystemGrantForUser,
        (Target::System, Actor::Group(_), Act::List) => Op::ListSystemGrantsForGroup,
        (Target::System, Actor::Group(_), Act::Check) => Op::CheckSystemGrantForGroup,
        (Target::System, Actor::Group(_), Act::Create) => Op::CreateSystemGrantForGroup,
        (Target::System, Actor::Group(_), Act::Revoke) => Op::RevokeSystemGrantForGroup,
    }
}

impl Parts {
    fn holding(self, inherited: bool) -> Result<(Holding, Option<String>)> {
        let actor = match (self.user_id, self.group_id) {
            (Some(user), _) => Actor::User(user),
            (None, Some(group)) => Actor::Group(group),
            (None, None) => return Err(Error::Internal("a grant's route without an actor".into())),
        };
        let target = match (self.project_id, self.domain_id) {
            (Some(project), _) => Target::Project(project),
            (None, Some(domain)) => Target::Domain(domain),
            (None, None) => Target::System,
        };
        Ok((Holding { actor, target, inherited }, self.role_id))
    }
}

/// What a grant is about, as far as it is there.
#[derive(Default)]
struct Found {
    facts: Facts,
    role: Option<Role>,
    project: Option<ProjectFacts>,
    /// The first part that is not there.
    missing: Option<Error>,
}

impl Found {
    fn lacks(&mut self, kind: &'static str, id: &str) {
        self.missing.get_or_insert_with(|| Error::NotFound(kind, id.to_owned()));
    }

    fn add(&mut self, add: impl FnOnce(Facts) -> Facts) {
        self.facts = add(std::mem::take(&mut self.facts));
    }
}

/// Looks up everything that the grant names.
async fn look(tx: &mut Tx, act: Act, of: &Holding, role: Option<&str>) -> Result<Found> {
    let mut found = Found::default();
    if let Some(id) = role {
        found.role = roles::sql::get(tx, id).await?;
        match found.role.clone() {
            Some(role) => {
                found.add(|f| f.with(Fact::RoleName, role.name).with_opt(Fact::RoleDomain, role.domain_id))
            }
            None => {
                // Not the absent domain of a global role.
                found.add(|f| f.with(Fact::RoleDomain, ""));
                found.lacks("role", id);
            }
        }
    }
    look_actor(tx, act, of, &mut found).await?;
    look_target(tx, of, &mut found).await?;
    Ok(found)
}

async fn look_actor(tx: &mut Tx, act: Act, of: &Holding, found: &mut Found) -> Result<()> {
    let domain = sql::domain_of(tx, &of.actor).await?;
    // A grant may outlive its holder; taking it back must stay possible.
    let needed = act != Act::Revoke;
    match (&of.actor, domain) {
        (Actor::User(id), Some(domain)) => {
            found.add(|f| f.with(Fact::PathUser, id).with(Fact::UserId, id).with(Fact::UserDomain, domain));
        }
        (Actor::Group(_), Some(domain)) => found.add(|f| f.with(Fact::GroupDomain, domain)),
        (Actor::User(id), None) if needed => found.lacks("user", id),
        (Actor::Group(id), None) if needed => found.lacks("group", id),
        (_, None) => {}
    }
    Ok(())
}

async fn look_target(tx: &mut Tx, of: &Holding, found: &mut Found) -> Result<()> {
    match &of.target {
        Target::Project(id) => match facts::project(tx, id).await?.filter(|p| p.id != ROOT_DOMAIN) {
            Some(project) => {
                let domain = project.domain_id.clone();
                found.add(|f| f.with(Fact::ProjectId, id).with_opt(Fact::ProjectDomain, domain));
                found.project = Some(project);
            }
            None => found.lacks("project", id),
        },
        Target::Domain(id) => match facts::domain(tx, id).await? {
            Some(_) => found.add(|f| f.with(Fact::DomainId, id)),
            None => found.lacks("domain", id),
        },
        Target::System => {}
    }
    Ok(())
}

/// Looks, asks policy, and answers 404 for what is not there. As in Keystone, the inherited routes ask
/// first and so tell nobody without rights what is there.
async fn permitted(req: &Req, act: Act, of: &Holding, role: Option<&str>) -> Result<(Found, Permit)> {
    let caller = req.caller().await?;
    let mut found = look(&mut req.read().await?, act, of, role).await?;
    if !of.inherited
        && let Some(missing) = found.missing.take()
    {
        return Err(missing);
    }
    let permit = caller.permit(&req.app, op(act, of), &found.facts)?;
    match found.missing.take() {
        Some(missing) => Err(missing),
        None => Ok((found, permit)),
    }
}

fn absent(of: &Holding, role: &str) -> Error {
    Error::NotFoundBecause(format!(
        "Could not find an assignment of role {role} to {} on {}.",
        of.actor.id(),
        of.target.id()
    ))
}

/// Roles of a domain stay on its projects and never reach the system.
fn fits(of: &Holding, found: &Found) -> Result<()> {
    let Some((role, domain)) = found.role.as_ref().and_then(|r| Some((r, r.domain_id.as_ref()?))) else {
        return Ok(());
    };
    match &of.target {
        Target::System => Err(Error::BadRequest(format!(
            "Role {} belongs to a domain and cannot be granted on the system.",
            role.id
        ))),
        Target::Project(id) if found.project.as_ref().and_then(|p| p.domain_id.as_ref()) != Some(domain) => {
            Err(Error::Forbidden(format!("Role {} belongs to another domain than project {id}.", role.id)))
        }
        Target::Project(_) | Target::Domain(_) => Ok(()),
    }
}

/// The role's id, which all routes but the lists have.
fn role_of(role: Option<String>) -> Result<String> {
    role.ok_or_else(|| Error::Internal("a grant's route without a role".into()))
}

/// `GET …/roles`
pub async fn list<const INHERITED: bool>(Path(parts): Path<Parts>, req: Req) -> Result<Response> {
    let (of, _) = parts.holding(INHERITED)?;
    permitted(&req, Act::List, &of, None).await?;
    let roles = sql::roles(&mut req.read().await?, &of).await?;
    req.list("roles", roles.iter().map(|r| r.body(&req)).collect(), &[])
}

/// `HEAD` and `GET …/roles/{role_id}`
pub async fn check<const INHERITED: bool>(Path(parts): Path<Parts>, req: Req) -> Result<Response> {
    let (of, role) = parts.holding(INHERITED)?;
    let role = role_of(role)?;
    permitted(&req, Act::Check, &of, Some(&role)).await?;
    if !sql::exists(&mut req.read().await?, &of, &role).await? {
        return Err(absent(&of, &role));
    }
    Ok(no_content())
}

/// `PUT …/roles/{role_id}`
pub async fn create<const INHERITED: bool>(Path(parts): Path<Parts>, req: Req) -> Result<Response> {
    let (of, role) = parts.holding(INHERITED)?;
    let role = role_of(role)?;
    let (found, permit) = permitted(&req, Act::Create, &of, Some(&role)).await?;
    fits(&of, &found)?;
    let mut tx = req.write().await?;
    // Again, so that nothing is granted on what was deleted in between.
    if let Some(missing) = look(&mut tx, Act::Create, &of, Some(&role)).await?.missing {
        return Err(missing);
    }
    sql::grant(&mut tx, &of, &role, &permit).await?;
    tx.commit().await?;
    Ok(no_content())
}

/// `DELETE …/roles/{role_id}`
pub async fn revoke<const INHERITED: bool>(Path(parts): Path<Parts>, req: Req) -> Result<Response> {
    let (of, role) = parts.holding(INHERITED)?;
    let role = role_of(role)?;
    let (_, permit) = permitted(&req, Act::Revoke, &of, Some(&role)).await?;
    let now = req.app.clock.now();
    let mut tx = req.write().await?;
    let users = sql::users_of(&mut tx, &of.actor).await?;
    let affected = if users.len() > MANY { Affected::Everybody } else { Affected::Users(&users) };
    let before = loss::before(&mut tx, affected, now).await?;
    if !sql::revoke(&mut tx, &of, &role, &permit).await? {
        return Err(absent(&of, &role));
    }
    before.after(&mut tx, now).await?;
    // What was taken by name is recorded: given back, it revives no token that carried it before.
    let project = match (&of.target, of.inherited) {
        (Target::Project(p), false) => Some(p.clone()),
        (Target::Project(_) | Target::Domain(_) | Target::System, _) => None,
    };
    let implications = facts::implications(&mut tx).await?;
    for user in users {
        // Who holds nothing there any more: whatever he is given next, it is for new tokens.
        let nothing = match &project {
            Some(p) => {
                let place = facts::Place::Project(p);
                facts::effective_roles(&mut tx, &user, place, &implications).await?.is_empty()
            }
            None => false,
        };
        let event = Event {
            user: Some(user),
            project: project.clone(),
            role: (!nothing).then(|| role.clone()),
            issued_before: now,
            ..Event::default()
        };
        facts::revoke(&mut tx, &event, now).await?;
    }
    tx.commit().await?;
    Ok(no_content())
}
