//! Trusts as clients see them.

use serde_json::{Map, Value, json};
use vicar_rules::delegation::Trust;
use vicar_rules::roles::RoleSet;

use crate::clock;
use crate::error::Result;
use crate::facts::evidence::ATTRIBUTE;
use crate::facts::{origin, terms};
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
    out.extend(more(t));
    out.insert(ATTRIBUTE.into(), evidence);
    out
}

/// What only some trusts have: terms, an origin, that they are suspended or were adopted.
pub fn more(t: &Trust) -> Map<String, Value> {
    let mut out = terms::shown(t.terms.as_ref());
    if let Some(id) = &t.external_id {
        out.insert("external_id".into(), id.as_str().into());
    }
    if let Some(binding) = &t.binding {
        out.insert("trustee_binding".into(), terms::binding_to_json(binding));
    }
    out.extend(origin::to_json(&t.origin));
    if let Some(s) = &t.suspension {
        let shown = json!({"suspended_at": clock::iso(s.at), "user_id": s.by, "reason": s.reason});
        out.insert("suspension".into(), shown);
    }
    if let Some(id) = &t.credential {
        out.insert("application_credential_id".into(), id.as_str().into());
    }
    if let Some(a) = &t.adoption {
        out.insert("adopted_by".into(), json!({"user_id": a.by, "adopted_at": clock::iso(a.at)}));
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
