//! `/v3/groups`

use axum::extract::Path;
use axum::response::Response;
use serde_json::{Map, Value, json};
use vicar_rules::policy::{Fact, Facts, Op};

use super::sql::{self, Group};
use crate::error::{Error, Result};
use crate::facts;
use crate::http::request::{no_content, take_text};
use crate::http::{Permit, Req, bag, schema};
use crate::ids;
use crate::resources::users;
use crate::schema;
use crate::store::Tx;

fn properties() -> Value {
    json!({
        "name": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": schema::NAME},
        "domain_id": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": schema::ID},
        "description": {"type": ["string", "null"], "pattern": schema::TEXT},
    })
}

schema!(CREATE, {"type": "object", "required": ["name"], "properties": properties()});
schema!(UPDATE, {"type": "object", "minProperties": 1, "properties": properties()});

/// Attributes that have a place of their own or are the server's: none of them is kept in `extra`.
const OWN: [&str; 6] = ["id", "name", "domain_id", "description", "links", "extra"];

fn facts(group: Option<&Group>) -> Facts {
    Facts::none().with_opt(Fact::GroupDomain, group.map(|g| g.domain_id.as_str()))
}

/// The group of a path, after the policy was asked.
async fn permitted(req: &Req, op: Op, id: &str) -> Result<(Group, Permit)> {
    let caller = req.caller().await?;
    let mut tx = req.read().await?;
    let group = sql::get(&mut tx, id).await?;
    let permit = caller.permit(&req.app, op, &facts(group.as_ref()))?;
    Ok((group.ok_or_else(|| no_group(id))?, permit))
}

fn no_group(id: &str) -> Error {
    Error::NotFound("group", id.to_owned())
}

/// `POST /v3/groups`
pub async fn create(req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    let mut body = req.member("group", &CREATE)?;
    let named = take_text(&mut body, "domain_id");
    let facts = Facts::none().with_opt(Fact::GroupDomain, named.as_deref());
    let permit = caller.permit(&req.app, Op::CreateGroup, &facts)?;
    let domain_id = match named {
        Some(id) => id,
        None => caller.home_domain(&req.app)?,
    };
    let mut group = Group {
        id: ids::uuid(),
        name: users::http::trimmed(&take_text(&mut body, "name").unwrap_or_default())?,
        domain_id,
        description: description(&mut body, Some(String::new())),
        extra: Map::new(),
    };
    bag::keep(&mut group.extra, body, &OWN);
    let mut tx = req.write().await?;
    if facts::domain(&mut tx, &group.domain_id).await?.is_none() {
        return Err(Error::NotFound("domain", group.domain_id));
    }
    sql::insert(&mut tx, &group, &permit).await?;
    tx.commit().await?;
    Ok(req.created("group", group.body(&req)))
}

/// The description of a checked body; null is one, too.
fn description(body: &mut Map<String, Value>, unnamed: Option<String>) -> Option<String> {
    if body.contains_key("description") { take_text(body, "description") } else { unnamed }
}

/// `GET /v3/groups/{id}`
pub async fn get(Path(id): Path<String>, req: Req) -> Result<Response> {
    let (group, _) = permitted(&req, Op::GetGroup, &id).await?;
    Ok(req.one("group", group.body(&req)))
}

/// `GET /v3/groups`
pub async fn list(req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    let scope = caller.domain_scope();
    caller.permit(&req.app, Op::ListGroups, &Facts::none().with_opt(Fact::GroupDomain, scope))?;
    let mut tx = req.read().await?;
    let groups = sql::list(&mut tx, |q| {
        q.eq("g.domain_id", scope)
            .eq("g.domain_id", req.query.get("domain_id"))
            .eq("g.name", req.query.get("name"));
    })
    .await?;
    req.list("groups", groups.iter().map(|g| g.body(&req)).collect(), &["domain_id", "name"])
}

/// `PATCH /v3/groups/{id}`
pub async fn update(Path(id): Path<String>, req: Req) -> Result<Response> {
    let (seen, permit) = permitted(&req, Op::UpdateGroup, &id).await?;
    let mut body = req.member("group", &UPDATE)?;
    if body.get("id").is_some_and(|other| !other.is_null() && *other != id) {
        return Err(Error::BadRequest("id: Cannot change ID".into()));
    }
    if body.get("domain_id").is_some_and(|other| *other != seen.domain_id) {
        return Err(Error::BadRequest("domain_id: Cannot change Domain ID".into()));
    }
    let mut tx = req.write().await?;
    let mut group = sql::get(&mut tx, &id).await?.ok_or_else(|| no_group(&id))?;
    if let Some(name) = take_text(&mut body, "name") {
        group.name = users::http::trimmed(&name)?;
    }
    group.description = description(&mut body, group.description);
    bag::keep(&mut group.extra, body, &OWN);
    sql::update(&mut tx, &group, &permit).await?;
    tx.commit().await?;
    Ok(req.one("group", group.body(&req)))
}

/// `DELETE /v3/groups/{id}`
pub async fn delete(Path(id): Path<String>, req: Req) -> Result<Response> {
    req.caller().await?;
    // Keystone looks before it asks here: what is not there is 404 for anybody with a token.
    if sql::get(&mut req.read().await?, &id).await?.is_none() {
        return Err(no_group(&id));
    }
    let (_, permit) = permitted(&req, Op::DeleteGroup, &id).await?;
    let now = req.app.clock.now();
    let mut tx = req.write().await?;
    if sql::get(&mut tx, &id).await?.is_none() {
        return Err(no_group(&id));
    }
    sql::delete(&mut tx, &id, now, &permit).await?;
    tx.commit().await?;
    Ok(no_content())
}

/// `GET /v3/groups/{id}/users`
pub async fn users(Path(id): Path<String>, req: Req) -> Result<Response> {
    permitted(&req, Op::ListUsersInGroup, &id).await?;
    users::http::of_group(&req, &id).await
}

/// The caller's right to a membership, and whether both ends of it are there.
async fn membership(req: &Req, tx: &mut Tx, op: Op, group: &str, user: &str) -> Result<(Permit, Result<()>)> {
    let found = sql::get(tx, group).await?;
    let member = users::sql::get(tx, user).await?;
    let facts =
        facts(found.as_ref()).with_opt(Fact::UserDomain, member.as_ref().map(|u| u.domain_id.as_str()));
    let permit = req.caller().await?.permit(&req.app, op, &facts)?;
    let there = match (found, member) {
        (None, _) => Err(no_group(group)),
        (Some(_), None) => Err(Error::NotFound("user", user.to_owned())),
        (Some(_), Some(_)) => Ok(()),
    };
    Ok((permit, there))
}

fn not_in(group: &str, user: &str) -> Error {
    Error::NotFoundBecause(format!("User '{user}' not found in group '{group}'"))
}

/// `GET /v3/groups/{id}/users/{user_id}`, and `HEAD`
pub async fn check(Path((group, user)): Path<(String, String)>, req: Req) -> Result<Response> {
    req.caller().await?;
    let mut tx = req.read().await?;
    let (_, there) = membership(&req, &mut tx, Op::CheckUserInGroup, &group, &user).await?;
    there?;
    if sql::has_member(&mut tx, &group, &user).await? { Ok(no_content()) } else { Err(not_in(&group, &user)) }
}

/// `PUT /v3/groups/{id}/users/{user_id}`
pub async fn add(Path((group, user)): Path<(String, String)>, req: Req) -> Result<Response> {
    req.caller().await?;
    let mut tx = req.write().await?;
    let (permit, there) = membership(&req, &mut tx, Op::AddUserToGroup, &group, &user).await?;
    there?;
    sql::add_member(&mut tx, &group, &user, &permit).await?;
    tx.commit().await?;
    Ok(no_content())
}

/// `DELETE /v3/groups/{id}/users/{user_id}`
pub async fn remove(Path((group, user)): Path<(String, String)>, req: Req) -> Result<Response> {
    req.caller().await?;
    let now = req.app.clock.now();
    let mut tx = req.write().await?;
    let (permit, there) = membership(&req, &mut tx, Op::RemoveUserFromGroup, &group, &user).await?;
    // A leftover of somebody who is gone can be taken away too.
    if !sql::remove_member(&mut tx, &group, &user, now, &permit).await? {
        there?;
        return Err(not_in(&group, &user));
    }
    tx.commit().await?;
    Ok(no_content())
}
