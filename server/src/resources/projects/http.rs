//! `/v3/projects`, and `/v3/users/{id}/projects`.

use axum::extract::Path;
use axum::response::Response;
use serde_json::{Map, Value};
use vicar_rules::policy::{Fact, Facts, Op, Scope};
use vicar_rules::token::Kind;

use super::{Filter, Project, Wanted, held, schemas, sql};
use crate::error::{Error, Result};
use crate::facts;
use crate::http::request::{no_content, take_text};
use crate::http::{Caller, Req, bag};
use crate::ids;
use crate::schema;
use crate::store::Tx;

schema!(CREATE, {
    "type": "object",
    "properties": {
        "name": schemas::name(),
        "description": {"type": ["string", "null"]},
        "enabled": {"type": "boolean"},
        "domain_id": schemas::id(),
        "parent_id": schemas::id(),
        "is_domain": {"type": "boolean"},
        "tags": schemas::tags(),
        "options": schemas::options(),
    },
    "required": ["name"],
});

schema!(UPDATE, {
    "type": "object",
    "properties": {
        "name": schemas::name(),
        "description": {"type": ["string", "null"]},
        "enabled": {"type": "boolean"},
        "tags": schemas::tags(),
        "options": schemas::options(),
    },
});

schema!(QUERY, {
    "type": "object",
    "properties": {
        "domain_id": {"minLength": 1, "maxLength": 64, "pattern": "^[a-zA-Z0-9-]+$"},
        "parent_id": {"minLength": 1, "maxLength": 64, "pattern": "^[a-zA-Z0-9-]+$"},
        "name": schemas::name(),
        "enabled": schemas::flag(),
        "is_domain": schemas::flag(),
    },
});

/// The facts about a stored project; nothing is known of one that is not there.
pub(super) fn facts(project: Option<&Project>) -> Facts {
    let none = Facts::none();
    match project {
        None => none,
        Some(p) => none.with(Fact::ProjectId, &p.id).with_opt(Fact::ProjectDomain, p.domain_id.as_deref()),
    }
}

/// Who may not is told so before he learns whether it is there.
pub(super) fn found(id: String, project: Option<Project>) -> Result<Project> {
    project.ok_or(Error::NotFound("project", id))
}

/// `POST /v3/projects`
pub async fn create(req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    let mut body = req.member("project", &CREATE)?;
    let is_domain = body.remove("is_domain") == Some(Value::Bool(true));
    let (domain, parent) = (take_text(&mut body, "domain_id"), take_text(&mut body, "parent_id"));
    let facts = Facts::none().with_opt(Fact::ProjectDomain, domain.as_deref());
    let permit = caller.permit(&req.app, Op::CreateProject, &facts)?;
    let place = match (is_domain, domain, parent) {
        (true, None, None) => None,
        (true, ..) => {
            return Err(Error::field("is_domain", "a domain is in no other domain and below no project"));
        }
        (false, domain, parent) => {
            let domain = domain.map_or_else(|| default_domain(&req, caller), Ok)?;
            Some((domain.clone(), parent.unwrap_or(domain)))
        }
    };
    let new = Wanted::of(body).into_new(ids::uuid(), place);
    let mut tx = req.write().await?;
    let made = super::create(&mut tx, &req.app, new, &permit).await?;
    tx.commit().await?;
    Ok(req.created("project", made.as_project(&req)))
}

/// The domain of a project that names none: the token's, or the configured one.
fn default_domain(req: &Req, caller: &Caller) -> Result<String> {
    match &caller.subject().scope {
        Scope::Domain(id) => Ok(id.clone()),
        _ if caller.token().is_none() => {
            Err(Error::field("domain_id", "is required with the admin token, which is in no domain"))
        }
        Scope::Unscoped | Scope::Project { .. } | Scope::System => {
            Ok(req.app.config.default_domain_id.clone())
        }
    }
}

/// `GET /v3/projects`
pub async fn list(req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    let own = match &caller.subject().scope {
        Scope::Domain(id) => Some(id.as_str()),
        Scope::Unscoped | Scope::Project { .. } | Scope::System => None,
    };
    caller.permit(&req.app, Op::ListProjects, &Facts::none().with_opt(Fact::ListDomain, own))?;
    req.query.check(&QUERY)?;
    let filter = Filter {
        domain_id: req.query.get("domain_id"),
        parent_id: req.query.get("parent_id"),
        name: req.query.get("name"),
        is_domain: Some(req.query.flag("is_domain")),
    };
    let mut tx = req.read().await?;
    let items = sql::list(&mut tx, &filter)
        .await?
        .iter()
        // Whoever administers a domain sees that domain's.
        .filter(|p| own.is_none() || p.domain_id.as_deref() == own)
        .filter(|p| has_wanted_tags(&req, p))
        .map(|p| p.as_project(&req))
        .collect();
    req.list("projects", items, &["domain_id", "enabled", "name", "parent_id", "is_domain"])
}

/// The four tag filters; each must hold.
fn has_wanted_tags(req: &Req, p: &Project) -> bool {
    let asked = |name| req.query.get(name).map(|tags: &str| tags.split(','));
    let has = |tag: &str| p.tags.iter().any(|t| t == tag);
    asked("tags").is_none_or(|mut tags| tags.all(has))
        && asked("tags-any").is_none_or(|mut tags| tags.any(has))
        && asked("not-tags").is_none_or(|mut tags| !tags.all(has))
        && asked("not-tags-any").is_none_or(|mut tags| !tags.any(has))
}

/// `GET /v3/projects/{id}`, with its hierarchy when the query asks for it.
pub async fn get(Path(id): Path<String>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    let mut tx = req.read().await?;
    let project = sql::get(&mut tx, &id).await?;
    caller.permit(&req.app, Op::GetProject, &facts(project.as_ref()))?;
    let project = found(id, project)?;
    let mut shown = project.as_project(&req);
    expand(&mut tx, &req, caller, &project, &mut shown).await?;
    Ok(req.one("project", shown))
}

async fn expand(tx: &mut Tx, req: &Req, caller: &Caller, project: &Project, shown: &mut Value) -> Result<()> {
    // Only 0 is no, as in Keystone.
    let asked = |name: &str| req.query.get(name).is_some_and(|v| v != "0");
    let either = |list: &'static str, ids: &'static str| match (asked(list), asked(ids)) {
        (true, true) => {
            Err(Error::BadRequest(format!("Cannot use {list} and {ids} query params at the same time.")))
        }
        other => Ok(other),
    };
    let parents = either("parents_as_list", "parents_as_ids")?;
    let subtree = either("subtree_as_list", "subtree_as_ids")?;
    if parents.0 {
        let above = sql::parents(tx, &project.id).await?;
        shown["parents"] = visible(tx, req, caller, above).await?;
    } else if parents.1 {
        let above = sql::parents(tx, &project.id).await?;
        shown["parents"] = above.iter().rev().fold(Value::Null, |inner, p| nested(&p.id, inner));
    }
    if subtree.0 {
        let below = sql::subtree(tx, &project.id).await?;
        shown["subtree"] = visible(tx, req, caller, below).await?;
    } else if subtree.1 {
        shown["subtree"] = tree(&sql::subtree(tx, &project.id).await?, &project.id, 0);
    }
    Ok(())
}

fn nested(id: &str, inner: Value) -> Value {
    Value::Object(Map::from_iter([(id.to_owned(), inner)]))
}

/// Only those on which the caller holds a role.
async fn visible(tx: &mut Tx, req: &Req, caller: &Caller, all: Vec<Project>) -> Result<Value> {
    let held = held::ids_of_caller(tx, caller).await?;
    let seen = all.iter().filter(|p| held.contains(&p.id));
    Ok(seen.map(|p| nested("project", p.as_project(req))).collect())
}

fn tree(below: &[Project], parent: &str, depth: u8) -> Value {
    let children: Map<String, Value> = below
        .iter()
        .filter(|p| p.parent_id.as_deref() == Some(parent) && depth < 64)
        .map(|p| (p.id.clone(), tree(below, &p.id, depth + 1)))
        .collect();
    if children.is_empty() { Value::Null } else { Value::Object(children) }
}

/// `PATCH /v3/projects/{id}`
pub async fn update(Path(id): Path<String>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    let mut tx = req.write().await?;
    let project = sql::get(&mut tx, &id).await?;
    let permit = caller.permit(&req.app, Op::UpdateProject, &facts(project.as_ref()))?;
    let body = req.member("project", &UPDATE)?;
    bag::same_id(&body, &id)?;
    let old = found(id, project)?;
    keeps_its_place(&old, &body)?;
    let new = super::update(&mut tx, &old, Wanted::of(body), req.app.clock.now(), &permit).await?;
    tx.commit().await?;
    let mut shown = new.as_project(&req);
    // Keystone tells them once more here, and nowhere else.
    shown["extra"] = Value::Object(new.extra);
    Ok(req.one("project", shown))
}

/// Where a project is, and what it is, never changes.
fn keeps_its_place(old: &Project, body: &Map<String, Value>) -> Result<()> {
    let differs = |name: &str, old: Value| body.get(name).is_some_and(|new| *new != old);
    if differs("domain_id", old.domain_id.clone().into()) {
        return Err(Error::field("domain_id", "cannot be changed"));
    }
    if differs("parent_id", old.parent_id.clone().into()) {
        return Err(Error::Forbidden("Update of `parent_id` is not allowed.".into()));
    }
    if differs("is_domain", old.is_domain.into()) {
        return Err(Error::field("is_domain", "cannot be changed"));
    }
    Ok(())
}

/// `DELETE /v3/projects/{id}`
pub async fn delete(Path(id): Path<String>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    let mut tx = req.write().await?;
    let project = sql::get(&mut tx, &id).await?;
    let permit = caller.permit(&req.app, Op::DeleteProject, &facts(project.as_ref()))?;
    let project = found(id, project)?;
    super::remove(&mut tx, &project, req.app.clock.now(), &permit).await?;
    tx.commit().await?;
    Ok(no_content())
}

/// `GET /v3/users/{id}/projects`
pub async fn of_user(Path(user): Path<String>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    let mut tx = req.read().await?;
    let known = facts::user(&mut tx, &user).await?;
    let facts = match &known {
        None => Facts::none(),
        Some(u) => Facts::none().with(Fact::UserId, &u.id).with(Fact::UserDomain, &u.domain_id),
    };
    caller.permit(&req.app, Op::ListUserProjects, &facts)?;
    if known.is_none() {
        return Err(Error::NotFound("user", user));
    }
    let mut projects = held::projects_of(&mut tx, &user).await?;
    // Somebody's delegate does not learn where else that somebody is at home.
    if caller.kind() != Kind::Login && caller.user_id() == user {
        let own = held::ids_of_caller(&mut tx, caller).await?;
        projects.retain(|p| own.contains(&p.id));
    }
    let items = projects.iter().map(|p| p.as_project(&req)).collect();
    req.list("projects", items, &["domain_id", "enabled", "name"])
}
