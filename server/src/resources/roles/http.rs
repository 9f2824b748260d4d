//! `/v3/roles`, `/v3/roles/{prior}/implies` and `/v3/role_inferences`.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use vicar_rules::policy::{Fact, Facts, Op};

use super::{Role, sql};
use crate::error::{Error, Result};
use crate::facts;
use crate::http::request::{no_content, take_text};
use crate::http::{Permit, Req, bag};
use crate::ids;
use crate::resources::trusts::loss::{self, Affected};
use crate::schema;

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

/// What policy may know of a role.
fn facts(role: &Role) -> Facts {
    Facts::none().with(Fact::RoleName, &role.name).with_opt(Fact::RoleDomain, role.domain_id.as_deref())
}

/// Roles of a domain have their own operations.
fn op(role: &Role, global: Op, of_domain: Op) -> Op {
    if role.domain_id.is_some() { of_domain } else { global }
}

/// `GET /v3/roles`: the global roles, or with `domain_id` those of that domain.
pub async fn list(req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    QUERY.check("query", &json!({"name": req.query.get("name"), "domain_id": req.query.get("domain_id")}))?;
    let domain = req.query.get("domain_id");
    let op = if domain.is_some() { Op::ListDomainRoles } else { Op::ListRoles };
    caller.permit(&req.app, op, &Facts::none())?;
    let roles = sql::list(&mut req.read().await?, domain, req.query.get("name")).await?;
    req.list("roles", roles.iter().map(|r| r.body(&req)).collect(), &["name", "domain_id"])
}

/// What has a place of its own, or is the server's.
const OWN: [&str; 6] = ["id", "name", "domain_id", "description", "options", "links"];

/// Lays what a body tells over a role. What it does not name stays.
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
pub async fn create(req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    let mut body = req.member("role", &CREATE)?;
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
    let permit = caller.permit(&req.app, op(&role, Op::CreateRole, Op::CreateDomainRole), &facts(&role))?;
    let mut tx = req.write().await?;
    sql::insert(&mut tx, &role, &permit).await?;
    tx.commit().await?;
    Ok(req.created("role", role.body(&req)))
}

/// The role, and the proof that the caller may do this to it. One that is not there is 404 for anybody
/// with a token, as in Keystone.
async fn permitted(req: &Req, id: &str, global: Op, of_domain: Op) -> Result<(Role, Permit)> {
    let caller = req.caller().await?;
    let role = sql::require(&mut req.read().await?, id).await?;
    let permit = caller.permit(&req.app, op(&role, global, of_domain), &facts(&role))?;
    Ok((role, permit))
}

/// `GET /v3/roles/{role_id}`
pub async fn get(Path(id): Path<String>, req: Req) -> Result<Response> {
    let (role, _) = permitted(&req, &id, Op::GetRole, Op::GetDomainRole).await?;
    Ok(req.one("role", role.body(&req)))
}

fn immutable(role: &Role) -> Error {
    Error::Forbidden(format!(
        "Role {} is immutable: its option `immutable` must be switched off first, by a change of nothing else.",
        role.id
    ))
}

/// Does a change do nothing but switch `immutable` off?
fn unlocks(body: &Map<String, Value>) -> bool {
    let option = body.get("options").and_then(|o| o.get("immutable"));
    body.len() == 1 && option.is_some_and(|v| v.as_bool() != Some(true))
}

/// `PATCH /v3/roles/{role_id}`
pub async fn update(Path(id): Path<String>, req: Req) -> Result<Response> {
    let (_, permit) = permitted(&req, &id, Op::UpdateRole, Op::UpdateDomainRole).await?;
    let body = req.member("role", &UPDATE)?;
    bag::same_id(&body, &id)?;
    let mut tx = req.write().await?;
    // Again, so that nothing happens between looking and writing.
    let mut role = sql::require(&mut tx, &id).await?;
    if role.immutable == Some(true) && !unlocks(&body) {
        return Err(immutable(&role));
    }
    if body.get("domain_id").is_some_and(|d| d.as_str() != role.domain_id.as_deref()) {
        return Err(Error::field("role.domain_id", "cannot be changed"));
    }
    apply(&mut role, body);
    sql::update(&mut tx, &role, &permit).await?;
    tx.commit().await?;
    Ok(req.one("role", role.body(&req)))
}

/// `DELETE /v3/roles/{role_id}`
pub async fn delete(Path(id): Path<String>, req: Req) -> Result<Response> {
    let (_, permit) = permitted(&req, &id, Op::DeleteRole, Op::DeleteDomainRole).await?;
    let now = req.app.clock.now();
    let mut tx = req.write().await?;
    let role = sql::require(&mut tx, &id).await?;
    if role.immutable == Some(true) {
        return Err(immutable(&role));
    }
    let before = loss::before(&mut tx, Affected::Everybody, now).await?;
    sql::delete(&mut tx, &id, &permit).await?;
    before.after(&mut tx, now).await?;
    tx.commit().await?;
    Ok(no_content())
}

/// Two roles of an implication, and the proof that the caller may do this.
async fn pair(req: &Req, prior: &str, implied: &str, ops: &[Op]) -> Result<(Role, Role, Permit)> {
    let caller = req.caller().await?;
    let mut tx = req.read().await?;
    let prior = sql::require(&mut tx, prior).await?;
    let implied = sql::require(&mut tx, implied).await?;
    let mut permit = None;
    for op in ops {
        permit = Some(caller.permit(&req.app, *op, &facts(&prior))?);
    }
    let permit = permit.ok_or_else(|| Error::Internal("an implication without an operation".into()))?;
    Ok((prior, implied, permit))
}

fn not_implied(prior: &str, implied: &str) -> Error {
    Error::NotFoundBecause(format!("Role {prior} does not imply role {implied}."))
}

fn inference(req: &Req, prior: &Role, implies: Value, path: &str) -> Value {
    json!({
        "role_inference": {"prior_role": prior.brief(req), "implies": implies},
        "links": {"self": req.link(path)},
    })
}

fn one_inference(req: &Req, prior: &Role, implied: &Role) -> Value {
    let path = format!("/roles/{}/implies/{}", prior.id, implied.id);
    inference(req, prior, implied.brief(req), &path)
}

/// `GET /v3/roles/{prior}/implies`
pub async fn list_implied(Path(prior): Path<String>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    let mut tx = req.read().await?;
    let prior = sql::require(&mut tx, &prior).await?;
    caller.permit(&req.app, Op::ListImpliedRoles, &facts(&prior))?;
    let implied: Vec<Value> =
        sql::implied_by(&mut tx, &prior.id).await?.iter().map(|r| r.brief(&req)).collect();
    let path = format!("/roles/{}/implies", prior.id);
    Ok(axum::Json(inference(&req, &prior, implied.into(), &path)).into_response())
}

/// `GET /v3/roles/{prior}/implies/{implied}`
pub async fn get_implied(Path((prior, implied)): Path<(String, String)>, req: Req) -> Result<Response> {
    let (prior, implied, _) = pair(&req, &prior, &implied, &[Op::GetImpliedRole]).await?;
    if !sql::implies(&mut req.read().await?, &prior.id, &implied.id).await? {
        return Err(not_implied(&prior.id, &implied.id));
    }
    Ok(axum::Json(one_inference(&req, &prior, &implied)).into_response())
}

/// `HEAD /v3/roles/{prior}/implies/{implied}`: 204, unlike other `HEAD`s.
pub async fn check_implied(Path((prior, implied)): Path<(String, String)>, req: Req) -> Result<Response> {
    let ops = [Op::CheckImpliedRole, Op::GetImpliedRole];
    let (prior, implied, _) = pair(&req, &prior, &implied, &ops).await?;
    if !sql::implies(&mut req.read().await?, &prior.id, &implied.id).await? {
        return Err(not_implied(&prior.id, &implied.id));
    }
    Ok(no_content())
}

/// `PUT /v3/roles/{prior}/implies/{implied}`. Circles are allowed, as in Keystone; every walk is safe
/// on them.
pub async fn imply(Path((prior, implied)): Path<(String, String)>, req: Req) -> Result<Response> {
    let (prior, implied, permit) = pair(&req, &prior, &implied, &[Op::CreateImpliedRole]).await?;
    if req.app.config.prohibited_implied_roles.contains(&implied.name) {
        return Err(Error::Forbidden(format!("Role {} may not be implied by any other.", implied.id)));
    }
    if prior.domain_id.is_none() && implied.domain_id.is_some() {
        return Err(Error::Forbidden(format!(
            "Role {} belongs to a domain and may not be implied by a global role.",
            implied.id
        )));
    }
    let mut tx = req.write().await?;
    sql::require(&mut tx, &prior.id).await?;
    sql::require(&mut tx, &implied.id).await?;
    sql::imply(&mut tx, &prior.id, &implied.id, &permit).await?;
    tx.commit().await?;
    let body = one_inference(&req, &prior, &implied);
    Ok((axum::http::StatusCode::CREATED, axum::Json(body)).into_response())
}

/// `DELETE /v3/roles/{prior}/implies/{implied}`
pub async fn imply_no_more(Path((prior, implied)): Path<(String, String)>, req: Req) -> Result<Response> {
    let (prior, implied, permit) = pair(&req, &prior, &implied, &[Op::DeleteImpliedRole]).await?;
    let now = req.app.clock.now();
    let mut tx = req.write().await?;
    let before = loss::before(&mut tx, Affected::Everybody, now).await?;
    if !sql::imply_no_more(&mut tx, &prior.id, &implied.id, &permit).await? {
        return Err(not_implied(&prior.id, &implied.id));
    }
    before.after(&mut tx, now).await?;
    tx.commit().await?;
    Ok(no_content())
}

/// `GET /v3/role_inferences`
pub async fn inferences(req: Req) -> Result<Response> {
    req.permit(Op::ListRoleInferenceRules, &Facts::none()).await?;
    let mut tx = req.read().await?;
    let relation = facts::implications(&mut tx).await?;
    let roles = sql::find(&mut tx, |_| {}).await?;
    let mut out = Vec::new();
    for prior in &roles {
        let implied = relation.of(&prior.id);
        let shown: Vec<Value> =
            roles.iter().filter(|r| implied.contains(&r.id)).map(|r| r.brief(&req)).collect();
        if !shown.is_empty() {
            out.push(json!({"prior_role": prior.brief(&req), "implies": shown}));
        }
    }
    Ok(axum::Json(json!({"role_inferences": out})).into_response())
}
