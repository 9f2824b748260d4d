//! `/v3/groups`

use axum::response::Response;
use serde_json::{Map, Value, json};
use vicar_rules::policy::{Fact, Facts, Op};

use super::sql::{self, Group, Membership};
use crate::authz::{Proposed, Reading, Writing};
use crate::error::{Error, Result};
use crate::facts;
use crate::http::request::{created, no_content, one, take_text};
use crate::http::{bag, schema};
use crate::ids;
use crate::resources::users;
use crate::schema;

fn properties() -> Value {
    json!({
        "name": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": schema::NAME},
        "domain_id": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": schema::ID},
        "description": {"type": ["string", "null"], "pattern": schema::TEXT},
    })
}

schema!(CREATE, {"type": "object", "required": ["name"], "properties": properties()});
schema!(UPDATE, {"type": "object", "minProperties": 1, "properties": properties()});

/// Attributes that have a column of their own or are the server's: none of them is kept in `extra`.
const OWN: [&str; 6] = ["id", "name", "domain_id", "description", "links", "extra"];

fn no_group(id: &str) -> Error {
    Error::NotFound("group", id.to_owned())
}

/// `POST /v3/groups`
pub async fn create(s: &mut Writing<'_>) -> Result<Response> {
    let caller = s.caller()?;
    let mut body = s.member("group", &CREATE)?;
    let named = take_text(&mut body, "domain_id");
    s.authorize(Op::CreateGroup, Facts::none().with_opt(Fact::GroupDomain, named.as_deref()))?;
    let domain_id = match named {
        Some(id) => id,
        None => caller.home_domain(s.app)?,
    };
    let mut group = Group {
        id: ids::uuid(),
        name: users::http::trimmed(&take_text(&mut body, "name").unwrap_or_default())?,
        domain_id,
        description: description(&mut body, Some(String::new())),
        extra: Map::new(),
    };
    bag::keep(&mut group.extra, body, &OWN);
    let group = s.authorize(Op::CreateGroup, Proposed(group))?;
    if facts::domain(&mut s.tx, &group.domain_id).await?.is_none() {
        return Err(Error::NotFound("domain", group.domain_id.clone()));
    }
    sql::insert(&mut s.tx, &group).await?;
    Ok(created("group", group.to_json(s.links())))
}

/// The description of a checked body, which may be null; `absent` when the body has none.
fn description(body: &mut Map<String, Value>, absent: Option<String>) -> Option<String> {
    if body.contains_key("description") { take_text(body, "description") } else { absent }
}

/// `GET /v3/groups/{group_id}`
pub async fn get(s: &mut Reading<'_>) -> Result<Response> {
    let id = s.param("group_id")?;
    let group = sql::get(&mut s.tx, id).await?;
    let group = s.authorize_found(Op::GetGroup, group, || no_group(id))?;
    Ok(one("group", group.to_json(s.links())))
}

/// `GET /v3/groups`
pub async fn list(s: &mut Reading<'_>) -> Result<Response> {
    let scope = s.caller()?.domain_scope();
    s.authorize(Op::ListGroups, Facts::none().with_opt(Fact::GroupDomain, scope))?;
    let query = &s.request.query;
    let groups = sql::list(&mut s.tx, |q| {
        q.eq("g.domain_id", scope).eq("g.domain_id", query.get("domain_id")).eq("g.name", query.get("name"));
    })
    .await?;
    let items = groups.iter().map(|g| g.to_json(s.links())).collect();
    s.list_queried("groups", items, &["domain_id", "name"], &[])
}

/// `PATCH /v3/groups/{group_id}`
pub async fn update(s: &mut Writing<'_>) -> Result<Response> {
    let id = s.param("group_id")?;
    let stored = sql::get(&mut s.tx, id).await?;
    let stored = s.authorize_found(Op::UpdateGroup, stored, || no_group(id))?;
    let mut body = s.member("group", &UPDATE)?;
    if body.get("id").is_some_and(|other| !other.is_null() && *other != id) {
        return Err(Error::BadRequest("id: Cannot change ID".into()));
    }
    if body.get("domain_id").is_some_and(|other| *other != stored.domain_id) {
        return Err(Error::BadRequest("domain_id: Cannot change Domain ID".into()));
    }
    let mut group = Group::clone(&stored);
    if let Some(name) = take_text(&mut body, "name") {
        group.name = users::http::trimmed(&name)?;
    }
    group.description = description(&mut body, group.description);
    bag::keep(&mut group.extra, body, &OWN);
    sql::update(&mut s.tx, &stored, &group).await?;
    Ok(one("group", group.to_json(s.links())))
}

/// `DELETE /v3/groups/{group_id}`
pub async fn delete(s: &mut Writing<'_>) -> Result<Response> {
    let id = s.param("group_id")?;
    // Keystone looks before it asks here: a group that does not exist is 404 for anybody with a token.
    let group = sql::get(&mut s.tx, id).await?.ok_or_else(|| no_group(id))?;
    let group = s.authorize(Op::DeleteGroup, group)?;
    sql::delete(&mut s.tx, &group, &group.id, s.now).await?;
    Ok(no_content())
}

/// `GET /v3/groups/{group_id}/users`
pub async fn users(s: &mut Reading<'_>) -> Result<Response> {
    let id = s.param("group_id")?;
    let group = sql::get(&mut s.tx, id).await?;
    let group = s.authorize_found(Op::ListUsersInGroup, group, || no_group(id))?;
    users::http::of_group(s, &group.id).await
}

fn not_in(of: &Membership<'_>) -> Error {
    Error::NotFoundBecause(format!("User '{}' not found in group '{}'", of.user_id, of.group_id))
}

/// `GET /v3/groups/{group_id}/users/{user_id}`, and `HEAD`
pub async fn check(s: &mut Reading<'_>) -> Result<Response> {
    let of = Membership::load(&mut s.tx, s.request.param("group_id")?, s.request.param("user_id")?).await?;
    let of = s.authorize(Op::CheckUserInGroup, of)?;
    of.check_ends()?;
    if sql::has_member(&mut s.tx, of.group_id, of.user_id).await? {
        Ok(no_content())
    } else {
        Err(not_in(&of))
    }
}

/// `PUT /v3/groups/{group_id}/users/{user_id}`
pub async fn add(s: &mut Writing<'_>) -> Result<Response> {
    let of = Membership::load(&mut s.tx, s.request.param("group_id")?, s.request.param("user_id")?).await?;
    let of = s.authorize(Op::AddUserToGroup, of)?;
    of.check_ends()?;
    if !sql::has_member(&mut s.tx, of.group_id, of.user_id).await? {
        sql::add_member(&mut s.tx, &of).await?;
    }
    Ok(no_content())
}

/// `DELETE /v3/groups/{group_id}/users/{user_id}`
pub async fn remove(s: &mut Writing<'_>) -> Result<Response> {
    let of = Membership::load(&mut s.tx, s.request.param("group_id")?, s.request.param("user_id")?).await?;
    let of = s.authorize(Op::RemoveUserFromGroup, of)?;
    // A row that was left behind by a deleted user or group can be removed too.
    if !sql::has_member(&mut s.tx, of.group_id, of.user_id).await? {
        of.check_ends()?;
        return Err(not_in(&of));
    }
    sql::remove_member(&mut s.tx, &of, s.now).await?;
    Ok(no_content())
}
