//! `/v3/projects`, and `/v3/users/{id}/projects`.

use std::collections::BTreeMap;

use axum::response::Response;
use serde_json::{Map, Value};
use vicar_rules::policy::{Fact, Facts, Op};
use vicar_rules::token::Kind;

use super::sql::TagCount;
use super::{Filter, Project, ProjectPatch, held, schemas, sql};
use crate::authz::{Caller, Object, Proposed, Reading, Writing};
use crate::error::{Error, Result};
use crate::extra;
use crate::facts;
use crate::facts::users::UserFacts;
use crate::http::Links;
use crate::http::page::Query;
use crate::http::request::{created, no_content, one, take_text};
use crate::ids;
use crate::notifications::{Action, ObjectKind};
use crate::resources::limits;
use crate::schema;
use crate::store::{Select, Tx};

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
        "tags": {"type": "string"},
        "tags-any": {"type": "string"},
        "not-tags": {"type": "string"},
        "not-tags-any": {"type": "string"},
    },
});

schema!(GET_QUERY, {
    "type": "object",
    "properties": {
        "parents_as_list": {"type": "string"},
        "parents_as_ids": {"type": "string"},
        "subtree_as_list": {"type": "string"},
        "subtree_as_ids": {"type": "string"},
        "include_limits": {"type": "string", "description": "Shows the limits of each project of the lists"},
    },
});

schema!(HELD_QUERY, {
    "type": "object",
    "properties": {
        "domain_id": {"type": "string"},
        "enabled": {"type": "string"},
        "name": {"type": "string"},
    },
});

pub(super) fn no_project(id: &str) -> Error {
    Error::NotFound("project", id.to_owned())
}

/// `POST /v3/projects`
pub async fn create(s: &mut Writing<'_>) -> Result<Response> {
    let caller = s.caller()?;
    let mut body = s.body()?;
    let is_domain = body.remove("is_domain") == Some(Value::Bool(true));
    let (domain, parent) = (take_text(&mut body, "domain_id"), take_text(&mut body, "parent_id"));
    s.authorize(Op::CreateProject, Facts::none().with_opt(Fact::ProjectDomain, domain.as_deref()))?;
    let place = match (is_domain, domain, parent) {
        (true, None, None) => None,
        (true, ..) => {
            return Err(Error::field("is_domain", "a domain is in no other domain and below no project"));
        }
        (false, domain, parent) => {
            let domain = domain.map_or_else(|| caller.home_domain(s.app), Ok)?;
            Some((domain.clone(), parent.unwrap_or(domain)))
        }
    };
    let project = ProjectPatch::of(body).into_new(ids::uuid(), place);
    let project = s.authorize(Op::CreateProject, Proposed(project))?;
    super::create(&mut s.tx, s.app, &project).await?;
    s.tell(if is_domain { ObjectKind::Domain } else { ObjectKind::Project }, Action::Created, &project.id);
    Ok(created("project", project.to_project_json(s.links())))
}

/// `GET /v3/projects`
pub async fn list(s: &mut Reading<'_>) -> Result<Response> {
    let own = s.caller()?.domain_scope();
    s.authorize(Op::ListProjects, Facts::none().with_known(Fact::ListDomain, own))?;
    let query = s.query()?;
    let filter = Filter {
        domain_id: query.get("domain_id"),
        parent_id: query.get("parent_id"),
        name: query.get("name"),
        is_domain: Some(query.flag("is_domain")),
        enabled: query.has("enabled").then(|| query.flag("enabled")),
    };
    let mut paging = s.paging(&["domain_id", "name", "parent_id", "is_domain"], &["enabled"])?;
    while let Some(batch) = s.next_batch(&mut paging).await? {
        let projects = sql::list_batch(&mut s.tx, &filter, &batch, |q| {
            // The administrator of a domain sees the projects of that domain.
            q.id("p.domain_id", own);
            narrow(q, query);
            for name in ["domain_id", "parent_id"] {
                query.narrow(name, &format!("p.{name}"), q);
            }
            tagged(q, query);
        })
        .await?;
        paging.read(&batch, projects.len(), projects.last().map(|p| p.id.as_str()));
        projects.iter().for_each(|p| paging.push(p.to_project_json(s.links())));
    }
    Ok(s.page("projects", paging))
}

/// What lists of projects and of domains say of names besides the first that they name.
pub(crate) fn narrow(q: &mut Select, query: &Query) {
    for name in query.all("name").skip(1) {
        q.eq("p.name", Some(name));
    }
    query.narrow("name", "p.name", q);
}

/// The four tag filters.
fn tagged(q: &mut Select, query: &Query) {
    for (name, how) in [
        ("tags", TagCount::All),
        ("tags-any", TagCount::Any),
        ("not-tags", TagCount::NotAll),
        ("not-tags-any", TagCount::NotAny),
    ] {
        if let Some(tags) = query.get(name) {
            sql::tagged(q, &tags.split(',').collect(), how);
        }
    }
}

/// `GET /v3/projects/{project_id}`, with its hierarchy when the query asks for it.
pub async fn get(s: &mut Reading<'_>) -> Result<Response> {
    let id = s.param("project_id")?;
    let project = sql::get(&mut s.tx, id).await?;
    let project = s.authorize_found(Op::GetProject, project, || no_project(id))?;
    let mut json = project.to_project_json(s.links());
    let view = View { query: s.query()?, links: s.links(), caller: s.caller()? };
    view.expand(&mut s.tx, &project, &mut json).await?;
    Ok(one("project", json))
}

/// What the answer about a project depends on besides the project.
struct View<'r> {
    query: &'r Query,
    links: &'r Links,
    caller: &'r Caller,
}

impl View<'_> {
    /// Whether the query asks for it. Only 0 is no, as in Keystone.
    fn asks_for(&self, name: &str) -> bool {
        self.query.get(name).is_some_and(|v| v != "0")
    }

    /// Whether the query asks for a list, and whether for ids; not for both.
    fn form(&self, list: &str, ids: &str) -> Result<(bool, bool)> {
        match (self.asks_for(list), self.asks_for(ids)) {
            (true, true) => {
                Err(Error::BadRequest(format!("Cannot use {list} and {ids} query params at the same time.")))
            }
            form => Ok(form),
        }
    }

    async fn expand(&self, tx: &mut Tx, project: &Project, json: &mut Value) -> Result<()> {
        let parents = self.form("parents_as_list", "parents_as_ids")?;
        let subtree = self.form("subtree_as_list", "subtree_as_ids")?;
        if parents.0 {
            let above = sql::parents(tx, &project.id).await?;
            json["parents"] = self.visible(tx, above).await?;
        } else if parents.1 {
            let above = sql::parents(tx, &project.id).await?;
            json["parents"] = above.iter().rev().fold(Value::Null, |inner, p| nested(&p.id, inner));
        }
        if subtree.0 {
            let below = sql::subtree(tx, &project.id).await?;
            json["subtree"] = self.visible(tx, below).await?;
        } else if subtree.1 {
            json["subtree"] = tree(&sql::subtree(tx, &project.id).await?, &project.id);
        }
        Ok(())
    }

    /// Only those on which the caller holds a role; with their limits when the query asks for them.
    async fn visible(&self, tx: &mut Tx, all: Vec<Project>) -> Result<Value> {
        let held = held::ids_of_caller(tx, self.caller).await?;
        let seen: Vec<&Project> = all.iter().filter(|p| held.contains(&p.id)).collect();
        let mut shown: Vec<Value> = seen.iter().map(|p| p.to_project_json(self.links)).collect();
        if self.asks_for("include_limits") {
            let ids: Vec<&str> = seen.iter().map(|p| p.id.as_str()).collect();
            let mut limits = limits::of_projects(tx, &ids).await?;
            for (project, id) in shown.iter_mut().zip(ids) {
                extra::set(project, "limits", limits.remove(id).unwrap_or_default());
            }
        }
        Ok(shown.into_iter().map(|project| nested("project", project)).collect())
    }
}

fn nested(id: &str, inner: Value) -> Value {
    Value::Object(Map::from_iter([(id.to_owned(), inner)]))
}

/// The tree below a project, by ids.
fn tree(below: &[Project], parent: &str) -> Value {
    let mut children: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for project in below {
        children.entry(project.parent_id.as_deref().unwrap_or_default()).or_default().push(&project.id);
    }
    branch(&children, parent, 0)
}

fn branch(children: &BTreeMap<&str, Vec<&str>>, parent: &str, depth: i64) -> Value {
    let below = children.get(parent).into_iter().flatten().filter(|_| depth < sql::DEEPEST);
    let below: Map<String, Value> =
        below.map(|id| ((*id).to_owned(), branch(children, id, depth + 1))).collect();
    if below.is_empty() { Value::Null } else { Value::Object(below) }
}

/// `PATCH /v3/projects/{project_id}`
pub async fn update(s: &mut Writing<'_>) -> Result<Response> {
    let id = s.param("project_id")?;
    let stored = sql::get(&mut s.tx, id).await?;
    // 403, then 400, then 404.
    let stored = match stored {
        Some(project) => s.authorize(Op::UpdateProject, project)?,
        None => {
            s.authorize(Op::UpdateProject, Facts::none())?;
            extra::same_id(&s.body()?, id)?;
            return Err(no_project(id));
        }
    };
    let body = s.body()?;
    extra::same_id(&body, id)?;
    check_place_unchanged(&stored, &body)?;
    let new = super::update(&mut s.tx, &stored, ProjectPatch::of(body)).await?;
    super::tell(s, &new, Action::Updated);
    let mut json = new.to_project_json(s.links());
    // Keystone shows the extra attributes once more under their own name here, and nowhere else.
    extra::set(&mut json, "extra", new.extra);
    Ok(one("project", json))
}

/// Checks that a change does not move a project, and does not make it a domain or none.
fn check_place_unchanged(old: &Project, body: &Map<String, Value>) -> Result<()> {
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

/// `DELETE /v3/projects/{project_id}`
pub async fn delete(s: &mut Writing<'_>) -> Result<Response> {
    let id = s.param("project_id")?;
    let project = sql::get(&mut s.tx, id).await?;
    let project = s.authorize_found(Op::DeleteProject, project, || no_project(id))?;
    let with_it = super::delete(&mut s.tx, &project, s.now).await?;
    s.tell_gone(with_it);
    super::tell(s, &project, Action::Deleted);
    Ok(no_content())
}

/// A user, whose projects are asked for.
struct Holder(UserFacts);

impl Object for Holder {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(self.0.policy_facts())
    }
}

/// `GET /v3/users/{user_id}/projects`
pub async fn of_user(s: &mut Reading<'_>) -> Result<Response> {
    let id = s.param("user_id")?;
    let user = facts::user(&mut s.tx, id).await?.map(Holder);
    s.authorize_found(Op::ListUserProjects, user, || Error::NotFound("user", id.to_owned()))?;
    let mut ids = held::ids_of(&mut s.tx, id).await?;
    // A delegate does not learn on which other projects the user holds roles.
    let caller = s.caller()?;
    if caller.kind() != Kind::Login && caller.user_id() == id {
        let own = held::ids_of_caller(&mut s.tx, caller).await?;
        ids.retain(|id| own.contains(id));
    }
    let mut paging = s.paging(&[], &["domain_id", "enabled", "name"])?;
    while let Some(batch) = s.next_batch(&mut paging).await? {
        let some = batch.of(&ids);
        paging.read(&batch, some.len(), some.last().map(|id| id.as_str()));
        for project in sql::by_ids(&mut s.tx, &some).await? {
            paging.push(project.to_project_json(s.links()));
        }
    }
    Ok(s.page("projects", paging))
}
