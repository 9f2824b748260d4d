//! `/v3/roles`, `/v3/roles/{prior}/implies` and `/v3/role_inferences`.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use vicar_rules::policy::Op;

use super::{Implication, Role, sql};
use crate::authz::{NoObject, Proposed, Reading, Writing};
use crate::error::{Error, Result};
use crate::facts;
use crate::http::request::{created, no_content, ok, one, take_text};
use crate::http::{Links, Request, bag};
use crate::ids;
use crate::resources::trusts::loss::{self, Affected};
use crate::schema;
use crate::store::Tx;

schema! {CREATE, {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"\S"},
        "description": {"type": ["string", "null"], "maxLength": 255},
        "domain_id": {"type": ["string", "null"], "maxLength": 64, "pattern": "^[a-zA-Z0-9-]+$"},
        "options": {
            "type": "object",
            "properties": {"immutable": {"type": ["boolean", "null"]}},
            "additionalProperties": false,
        },
    },
    "required": ["name"],
}}

schema! {UPDATE, {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"\S"},
        "description": {"type": ["string", "null"], "maxLength": 255},
        "domain_id": {"type": ["string", "null"]},
        "options": {
            "type": "object",
            "properties": {"immutable": {"type": ["boolean", "null"]}},
            "additionalProperties": false,
        },
    },
    "minProperties": 1,
}}

schema! {QUERY, {
    "type": "object",
    "properties": {
        "name": {"minLength": 1, "maxLength": 255, "pattern": r"\S"},
        "domain_id": {"maxLength": 64, "pattern": "^[a-zA-Z0-9-]+$"},
    },
}}

/// Roles of a domain have their own operations.
fn op(role: &Role, global: Op, of_domain: Op) -> Op {
    if role.domain_id.is_some() { of_domain } else { global }
}

/// `GET /v3/roles`: the global roles, or with `domain_id` those of that domain.
pub async fn list(s: &mut Reading<'_>) -> Result<Response> {
    let query = &s.request.query;
    let (domain, name) = (query.get("domain_id"), query.get("name"));
    QUERY.check("query", &json!({"name": name, "domain_id": domain}))?;
    let op = if domain.is_some() { Op::ListDomainRoles } else { Op::ListRoles };
    s.authorize(op, NoObject)?;
    let roles = sql::list(&mut s.tx, domain, name).await?;
    let items = roles.iter().map(|r| r.to_json(s.links())).collect();
    s.list_queried("roles", items, &["name", "domain_id"], &[])
}

/// Attributes that have a column of their own or are the server's: none of them is kept in `extra`.
const OWN: [&str; 6] = ["id", "name", "domain_id", "description", "options", "links"];

/// Applies a checked body to a role. Attributes that it does not name stay.
fn apply(role: &mut Role, mut body: Map<String, Value>) {
    if let Some(name) = take_text(&mut body, "name") {
        role.name = name;
    }
    if body.contains_key("description") {
        role.description = take_text(&mut body, "description");
    }
    if let Some(Value::Object(options)) = body.remove("options")
        && let Some(immutable) = options.get("immutable")
    {
        role.immutable = immutable.as_bool();
    }
    bag::keep(&mut role.extra, body, &OWN);
}

/// `POST /v3/roles`
pub async fn create(s: &mut Writing<'_>) -> Result<Response> {
    let mut body = s.member("role", &CREATE)?;
    let mut role = Role {
        id: ids::uuid(),
        name: String::new(),
        domain_id: take_text(&mut body, "domain_id"),
        description: None,
        immutable: None,
        extra: Map::new(),
    };
    let known: Map<String, Value> = OWN.iter().filter_map(|n| body.remove_entry(*n)).collect();
    apply(&mut role, known);
    role.extra = bag::rest(body, &OWN);
    let role = s.authorize(op(&role, Op::CreateRole, Op::CreateDomainRole), Proposed(role))?;
    sql::insert(&mut s.tx, &role).await?;
    Ok(created("role", role.to_json(s.links())))
}

/// `GET /v3/roles/{role_id}`. As in Keystone, a role that does not exist is 404 for anybody with a token, here
/// and below.
pub async fn get(s: &mut Reading<'_>) -> Result<Response> {
    let role = sql::require(&mut s.tx, s.request.param("role_id")?).await?;
    let role = s.authorize(op(&role, Op::GetRole, Op::GetDomainRole), role)?;
    Ok(one("role", role.to_json(s.links())))
}

fn immutable(role: &Role) -> Error {
    Error::Forbidden(format!(
        "Role {} is immutable: its option `immutable` must be switched off first, by a change of nothing else.",
        role.id
    ))
}

/// Whether a change only switches `immutable` off.
fn unlocks(body: &Map<String, Value>) -> bool {
    let option = body.get("options").and_then(|o| o.get("immutable"));
    body.len() == 1 && option.is_some_and(|v| v.as_bool() != Some(true))
}

/// `PATCH /v3/roles/{role_id}`
pub async fn update(s: &mut Writing<'_>) -> Result<Response> {
    let id = s.param("role_id")?;
    let stored = sql::require(&mut s.tx, id).await?;
    let stored = s.authorize(op(&stored, Op::UpdateRole, Op::UpdateDomainRole), stored)?;
    let body = s.member("role", &UPDATE)?;
    bag::same_id(&body, id)?;
    if stored.immutable == Some(true) && !unlocks(&body) {
        return Err(immutable(&stored));
    }
    if body.get("domain_id").is_some_and(|d| d.as_str() != stored.domain_id.as_deref()) {
        return Err(Error::field("role.domain_id", "cannot be changed"));
    }
    let mut role = Role::clone(&stored);
    apply(&mut role, body);
    sql::update(&mut s.tx, &stored, &role).await?;
    Ok(one("role", role.to_json(s.links())))
}

/// `DELETE /v3/roles/{role_id}`
pub async fn delete(s: &mut Writing<'_>) -> Result<Response> {
    let role = sql::require(&mut s.tx, s.request.param("role_id")?).await?;
    let role = s.authorize(op(&role, Op::DeleteRole, Op::DeleteDomainRole), role)?;
    if role.immutable == Some(true) {
        return Err(immutable(&role));
    }
    let before = loss::before(&mut s.tx, Affected::Everybody, s.now).await?;
    sql::delete(&mut s.tx, &role, &role.id).await?;
    before.after(&mut s.tx, &role).await?;
    Ok(no_content())
}

/// The two roles that the path names.
async fn pair(tx: &mut Tx, request: &Request) -> Result<Implication> {
    let prior = sql::require(tx, request.param("prior_role_id")?).await?;
    let implied = sql::require(tx, request.param("implied_role_id")?).await?;
    Ok(Implication { prior, implied })
}

/// Checks that one role implies the other directly.
async fn check_implies(tx: &mut Tx, of: &Implication) -> Result<()> {
    if sql::implies(tx, &of.prior.id, &of.implied.id).await? {
        return Ok(());
    }
    Err(Error::NotFoundBecause(format!("Role {} does not imply role {}.", of.prior.id, of.implied.id)))
}

fn inference(links: &Links, prior: &Role, implies: Value, path: &str) -> Value {
    json!({
        "role_inference": {"prior_role": prior.to_reference_json(links), "implies": implies},
        "links": {"self": links.to(path)},
    })
}

impl Implication {
    fn to_json(&self, links: &Links) -> Value {
        let path = format!("/roles/{}/implies/{}", self.prior.id, self.implied.id);
        inference(links, &self.prior, self.implied.to_reference_json(links), &path)
    }
}

/// `GET /v3/roles/{prior_role_id}/implies`
pub async fn list_implied(s: &mut Reading<'_>) -> Result<Response> {
    let prior = sql::require(&mut s.tx, s.request.param("prior_role_id")?).await?;
    let prior = s.authorize(Op::ListImpliedRoles, prior)?;
    let implied = sql::implied_by(&mut s.tx, &prior.id).await?;
    let implied: Value = implied.iter().map(|r| r.to_reference_json(s.links())).collect();
    let path = format!("/roles/{}/implies", prior.id);
    Ok(ok(inference(s.links(), &prior, implied, &path)))
}

/// `GET /v3/roles/{prior_role_id}/implies/{implied_role_id}`
pub async fn get_implied(s: &mut Reading<'_>) -> Result<Response> {
    let of = pair(&mut s.tx, s.request).await?;
    let of = s.authorize(Op::GetImpliedRole, of)?;
    check_implies(&mut s.tx, &of).await?;
    Ok(ok(of.to_json(s.links())))
}

/// `HEAD /v3/roles/{prior_role_id}/implies/{implied_role_id}`: 204, unlike other `HEAD`s.
pub async fn check_implied(s: &mut Reading<'_>) -> Result<Response> {
    let of = pair(&mut s.tx, s.request).await?;
    let of = s.authorize(Op::CheckImpliedRole, of)?.into_inner();
    let of = s.authorize(Op::GetImpliedRole, of)?;
    check_implies(&mut s.tx, &of).await?;
    Ok(no_content())
}

/// `PUT /v3/roles/{prior_role_id}/implies/{implied_role_id}`. Circles are allowed, as in Keystone; whatever
/// follows implications ends on them.
pub async fn imply(s: &mut Writing<'_>) -> Result<Response> {
    let of = pair(&mut s.tx, s.request).await?;
    let of = s.authorize(Op::CreateImpliedRole, of)?;
    let (prior, implied) = (&of.prior, &of.implied);
    if s.app.config.prohibited_implied_roles.contains(&implied.name) {
        return Err(Error::Forbidden(format!("Role {} may not be implied by any other.", implied.id)));
    }
    if prior.domain_id.is_none() && implied.domain_id.is_some() {
        return Err(Error::Forbidden(format!(
            "Role {} belongs to a domain and may not be implied by a global role.",
            implied.id
        )));
    }
    sql::imply(&mut s.tx, &of).await?;
    Ok((StatusCode::CREATED, ok(of.to_json(s.links()))).into_response())
}

/// `DELETE /v3/roles/{prior_role_id}/implies/{implied_role_id}`
pub async fn delete_implication(s: &mut Writing<'_>) -> Result<Response> {
    let of = pair(&mut s.tx, s.request).await?;
    let of = s.authorize(Op::DeleteImpliedRole, of)?;
    check_implies(&mut s.tx, &of).await?;
    let before = loss::before(&mut s.tx, Affected::Everybody, s.now).await?;
    sql::delete_implication(&mut s.tx, &of).await?;
    before.after(&mut s.tx, &of).await?;
    Ok(no_content())
}

/// `GET /v3/role_inferences`
pub async fn inferences(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::ListRoleInferenceRules, NoObject)?;
    let relation = facts::implications(&mut s.tx).await?;
    let roles = sql::find(&mut s.tx, |_| {}).await?;
    let links = s.links();
    let mut out = Vec::new();
    for prior in &roles {
        let implied = relation.of(&prior.id);
        let implies: Vec<Value> =
            roles.iter().filter(|r| implied.contains(&r.id)).map(|r| r.to_reference_json(links)).collect();
        if !implies.is_empty() {
            out.push(json!({"prior_role": prior.to_reference_json(links), "implies": implies}));
        }
    }
    Ok(ok(json!({"role_inferences": out})))
}
