//! The scope of a login, as its body has it: where to, and of a trust how much.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use vicar_rules::delegation::Narrower;
use vicar_rules::roles::RoleSet;

use crate::auth::issue::ScopeRequest;
use crate::auth::login;
use crate::clock;
use crate::error::{Error, Result};
use crate::facts;
use crate::facts::terms::length;
use crate::http::schema::{self, Schema, named_role};
use crate::reason::Reason;
use crate::resources::{access_rules, roles};
use crate::store::Tx;

/// How messages name the scope of a trust.
const TRUST_SCOPE: &str = "auth.scope.OS-TRUST:trust";

/// The schema of something by id or by name.
pub fn reference(and: &Value) -> Value {
    let mut properties = json!({"id": {"type": "string"}, "name": {"type": "string"}});
    if let (Some(all), Value::Object(more)) = (properties.as_object_mut(), and) {
        all.extend(more.clone());
    }
    json!({"type": "object", "properties": properties})
}

/// The schema of the domain that a name is one of.
pub fn domain() -> Value {
    json!({"domain": reference(&json!({}))})
}

/// The schema of a scope.
pub fn schema() -> Value {
    json!({
        "type": ["object", "string", "null"],
        "properties": {
            "project": reference(&domain()),
            "domain": reference(&json!({})),
            "system": {
                "type": "object",
                "required": ["all"],
                "properties": {"all": {"enum": [true]}},
            },
            "OS-TRUST:trust": trust_schema(),
            "unscoped": {"type": "object"},
        },
    })
}

fn trust_schema() -> Value {
    json!({
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": {"type": "string"},
            "roles": {"type": ["array", "null"], "maxItems": 32, "items": named_role()},
            "access_rules": schema::access_rules(),
            "external_id": {"type": ["string", "null"]},
            "source_identity": schema::source_identity(),
            "labels": schema::labels(),
            "expires_in": {
                "type": ["integer", "null"], "minimum": 1, "maximum": 2_147_483_647, "description": "In seconds",
            },
        },
    })
}

/// A trust's scope that asks for less than the trust gives.
static TRUST: LazyLock<Schema> = LazyLock::new(|| Schema::new(&trust_schema()));

/// What the body of a login asks for, with names resolved.
///
/// # Errors
/// 400 that names the field, 401 for what is not there.
pub async fn read(tx: &mut Tx, scope: Option<&Value>) -> Result<ScopeRequest> {
    let map = match scope {
        None | Some(Value::Null) => return Ok(ScopeRequest::Default),
        Some(Value::String(s)) if s == "unscoped" => return Ok(ScopeRequest::Unscoped),
        Some(Value::Object(map)) => map,
        Some(_) => return Err(Error::field("auth.scope", "must be an object")),
    };
    let kinds = ["project", "domain", "OS-TRUST:trust", "system", "unscoped"];
    let mut named = kinds.iter().filter(|k| map.contains_key(**k));
    let (Some(kind), None) = (named.next(), named.next()) else {
        return Err(Error::field(
            "auth.scope",
            "must name exactly one of project, domain, OS-TRUST:trust, system, unscoped",
        ));
    };
    let inner = match &map[*kind] {
        Value::Object(o) => o,
        _ => {
            return Err(Error::BadRequest(format!("auth.scope.{kind}: must be an object")));
        }
    };
    match *kind {
        "unscoped" => Ok(ScopeRequest::Unscoped),
        "system" => match inner.get("all") {
            Some(Value::Bool(true)) => Ok(ScopeRequest::System),
            _ => Err(Error::field("auth.scope.system.all", "must be true")),
        },
        "OS-TRUST:trust" => match inner.get("id") {
            Some(Value::String(id)) => {
                let less = narrower(tx, inner).await?;
                let external_id = inner.get("external_id").and_then(Value::as_str).map(str::to_owned);
                Ok(ScopeRequest::Trust(id.clone(), less, external_id))
            }
            _ => Err(Error::field("auth.scope.OS-TRUST:trust.id", "is required and must be a string")),
        },
        "domain" => Ok(ScopeRequest::Domain(login::domain_id(tx, inner, "auth.scope.domain").await?)),
        _ => match (text(inner, "id", "auth.scope.project")?, text(inner, "name", "auth.scope.project")?) {
            (Some(id), _) => Ok(ScopeRequest::Project(id)),
            (None, Some(name)) => {
                let domain = match inner.get("domain") {
                    Some(Value::Object(d)) => login::domain_id(tx, d, "auth.scope.project.domain").await?,
                    _ => {
                        return Err(Error::field("auth.scope.project.domain", "is required with a name"));
                    }
                };
                let found = facts::project_named(tx, &name, &domain).await?;
                Ok(ScopeRequest::Project(found.ok_or(Error::Unauthorized(Reason::NoSuchScope))?.id))
            }
            (None, None) => Err(Error::field("auth.scope.project", "needs an id or a name")),
        },
    }
}

/// So many bytes of access rules are carried by a token, which has to fit into a header.
const LONGEST_RULES: usize = 1_500;

/// What a login asks for less of than its trust gives.
async fn narrower(tx: &mut Tx, asked: &Map<String, Value>) -> Result<Narrower> {
    // Most ask for nothing.
    if asked.len() == 1 {
        return Ok(Narrower::default());
    }
    TRUST.check(TRUST_SCOPE, &Value::Object(asked.clone()))?;
    let roles = match asked.get("roles") {
        None | Some(Value::Null) => None,
        Some(named) => Some(named_roles(tx, named).await?),
    };
    let access = access_rules::from_body(asked.get("access_rules"))?;
    if access.rules().is_some_and(|rules| length(&rules) > LONGEST_RULES) {
        return Err(Error::BadRequest(format!(
            "{TRUST_SCOPE}.access_rules: more than the {LONGEST_RULES} bytes that a token has room for"
        )));
    }
    let life = match asked.get("expires_in") {
        None | Some(Value::Null) => None,
        // JSON Schema takes `1.0` for an integer.
        Some(life) => Some(life.as_i64().ok_or_else(|| {
            Error::BadRequest(format!("{TRUST_SCOPE}.expires_in: must be an integer without a fraction"))
        })?),
    };
    let life = life.map(|seconds| seconds.saturating_mul(clock::SECOND));
    Ok(Narrower { roles, access, life, origin: facts::origin::read(asked) })
}

/// Ids of roles by id or by name. One that there is not is named as it was, and so it is none of the trust's: what
/// becomes of the login is for the trust to say, which may be dead.
async fn named_roles(tx: &mut Tx, named: &Value) -> Result<RoleSet> {
    match roles::named::resolve(tx, Some(named)).await {
        Err(Error::NotFound(_, name)) => Ok(RoleSet::from([name])),
        resolved => resolved,
    }
}

/// An optional string of an object; another type is the client's fault.
fn text(map: &Map<String, Value>, name: &str, at: &str) -> Result<Option<String>> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(s)) => Ok(Some(s.clone())),
        Some(_) => Err(Error::BadRequest(format!("{at}.{name}: must be a string"))),
    }
}
