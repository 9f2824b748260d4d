//! Trusts as clients see them.

use serde_json::{Map, Value, json};
use vicar_rules::delegation::Trust;
use vicar_rules::roles::RoleSet;

use crate::clock;
use crate::error::Result;
use crate::facts::evidence::ATTRIBUTE;
use crate::facts::terms;
use crate::http::Links;
use crate::resource::Record;
use crate::resources::roles::Role;
use crate::store::Tx;

/// The roles of a trust, whole.
///
/// # Errors
/// When the database fails.
pub async fn roles(tx: &mut Tx, ids: &RoleSet) -> Result<Vec<Record<Role>>> {
    let all = Record::<Role>::find(tx, |q| {
        q.id_in("t.id", ids);
    });
    all.await
}

/// As the roles API shows them.
pub fn role_objects(links: &Links, roles: &[Record<Role>]) -> Vec<Value> {
    roles.iter().map(|role| role.to_json(links)).collect()
}

/// A trust as clients see it, without its roles.
pub fn to_json(links: &Links, t: &Trust, extra: Map<String, Value>, evidence: Value) -> Map<String, Value> {
    let mut out = extra;
    let own = json!({
        "id": t.id,
        "trustor_user_id": t.trustor,
        "trustee_user_id": t.trustee,
        "project_id": t.project,
        "impersonation": t.impersonation,
        "expires_at": t.until.to_option().map(clock::iso),
        "remaining_uses": t.remaining_uses,
        "deleted_at": t.deleted_at.map(clock::iso),
        "redelegated_trust_id": t.parent,
        "redelegation_count": t.hops,
        "allow_redelegation": t.hops > 0,
        "links": {"self": links.of(&["OS-TRUST", "trusts", &t.id])},
    });
    if let Value::Object(own) = own {
        out.extend(own);
    }
    out.extend(terms(t));
    out.insert(ATTRIBUTE.into(), evidence);
    out
}

/// The terms of a trust, those that it has.
pub fn terms(t: &Trust) -> Map<String, Value> {
    let mut out = Map::new();
    let Some(own) = &t.terms else { return out };
    if let Some(rules) = terms::rules_to_json(&own.access) {
        out.insert("access_rules".into(), rules);
    }
    if let Some(from) = own.not_before {
        out.insert("not_before".into(), clock::iso(from).into());
    }
    for (name, span) in [("max_token_ttl", own.max_token_ttl), ("max_login_age", own.max_login_age)] {
        if let Some(span) = span {
            out.insert(name.into(), (span / clock::SECOND).into());
        }
    }
    if !own.required_methods.is_empty() {
        out.insert("required_methods".into(), json!(own.required_methods));
    }
    if let Some(id) = &t.external_id {
        out.insert("external_id".into(), id.as_str().into());
    }
    out
}

/// The same with its whole roles and their link.
pub fn to_json_with_roles(
    links: &Links,
    t: &Trust,
    (extra, evidence): (Map<String, Value>, Value),
    roles: &[Record<Role>],
) -> Value {
    let mut out = to_json(links, t, extra, evidence);
    out.insert("roles".into(), role_objects(links, roles).into());
    let own = links.of(&["OS-TRUST", "trusts", &t.id, "roles"]);
    out.insert("roles_links".into(), json!({"self": own, "next": null, "previous": null}));
    Value::Object(out)
}
