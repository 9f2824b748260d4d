//! How much may be delegated: the ceilings of domains, projects and users, and the registry of trustees with theirs.
//!
//! What a ceiling means is in `vicar_rules::ceiling`, how it is stored in `facts::ceilings`.

pub mod http;
pub mod services;
mod sql;

use serde_json::{Map, Value, json};
use vicar_rules::Micros;
use vicar_rules::ceiling::{Ceiling, Ceilings};

use crate::clock::SECOND;
use crate::error::{Error, Result};
use crate::extra;
use crate::facts::ceilings::{names, told};
use crate::http::schema::named_roles;
use crate::resources::roles::named;
use crate::store::Tx;

/// A list may have so many. All of it is read with every chain that it holds for.
const MOST: usize = 100;

/// The properties of a ceiling's schema.
fn limits() -> Value {
    let mut roles = named_roles();
    extra::set(&mut roles, "maxItems", MOST);
    json!({
        names::MAX_LIFETIME: {"type": ["integer", "null"], "minimum": 1, "maximum": 2_147_483_647, "description": "In seconds"},
        names::MAX_DEPTH: {"type": ["integer", "null"], "minimum": 0, "maximum": 2_147_483_647},
        names::NEVER_ROLES: roles,
        names::IMPERSONATION: {"type": "boolean"},
        names::EXPIRY_REQUIRED: {"type": "boolean"},
        names::KEYPAIRS: {"type": "boolean"},
        names::APPLIES_TO_EXISTING: {"type": "boolean"},
    })
}

/// Takes a ceiling out of a checked body. What it does not say limits nothing.
///
/// # Errors
/// 404 for an unknown role, 400 for an ambiguous one and for a number with a fraction.
async fn take(tx: &mut Tx, body: &mut Map<String, Value>) -> Result<Ceiling> {
    let plain = Ceiling::default();
    let mut number = |name: &str| match body.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_i64()
            .map(Some)
            .ok_or_else(|| Error::field(name, "must be an integer without a fraction")),
    };
    let max_life = number(names::MAX_LIFETIME)?.map(|seconds: Micros| seconds.saturating_mul(SECOND));
    let max_depth = number(names::MAX_DEPTH)?.and_then(|depth| u32::try_from(depth).ok());
    let roles = body.remove(names::NEVER_ROLES);
    let trustees = body.remove(names::ALLOWED_TRUSTEES);
    let trustees = trustees.as_ref().and_then(Value::as_array);
    let never_roles = named::resolve(tx, roles.as_ref()).await?;
    // One that is mistyped would forbid nothing.
    let known = named::names(tx, never_roles.iter().collect()).await?;
    if let Some(unknown) = never_roles.iter().find(|id| !known.contains_key(*id)) {
        return Err(Error::NotFound("role", unknown.clone()));
    }
    let mut flag = |name: &str, plain| body.remove(name).and_then(|flag| flag.as_bool()).unwrap_or(plain);
    Ok(Ceiling {
        max_life,
        max_depth,
        never_roles,
        trustees: trustees
            .map(|all| all.iter().filter_map(|user| user["id"].as_str()).map(str::to_owned).collect()),
        impersonation: flag(names::IMPERSONATION, plain.impersonation),
        end_required: flag(names::EXPIRY_REQUIRED, plain.end_required),
        keypairs: flag(names::KEYPAIRS, plain.keypairs),
        applies_to_existing: flag(names::APPLIES_TO_EXISTING, plain.applies_to_existing),
    })
}

/// Roles as clients see them, with the names of those that are there.
async fn role_refs(tx: &mut Tx, ceiling: &Ceiling) -> Result<Vec<Value>> {
    let known = named::names(tx, ceiling.never_roles.iter().collect()).await?;
    Ok(ceiling.never_roles.iter().map(|id| json!({"id": id, "name": known.get(id)})).collect())
}

fn user_refs(ceiling: &Ceiling) -> Value {
    ceiling.trustees.as_ref().map_or(Value::Null, |all| all.iter().map(|id| json!({"id": id})).collect())
}

fn seconds(life: Option<Micros>) -> Value {
    life.map_or(Value::Null, |life| (life / SECOND).into())
}

/// A ceiling as clients see it, besides its trustees.
async fn to_json(tx: &mut Tx, ceiling: &Ceiling) -> Result<Value> {
    Ok(json!({
        names::MAX_LIFETIME: seconds(ceiling.max_life),
        names::MAX_DEPTH: ceiling.max_depth,
        names::NEVER_ROLES: role_refs(tx, ceiling).await?,
        names::IMPERSONATION: ceiling.impersonation,
        names::EXPIRY_REQUIRED: ceiling.end_required,
        names::KEYPAIRS: ceiling.keypairs,
        names::APPLIES_TO_EXISTING: ceiling.applies_to_existing,
    }))
}

/// What holds by all levels together, and for each limit the levels that it comes from. One that cannot be read is told by
/// `unreadable`: while it is there nothing may be made.
async fn effective(tx: &mut Tx, all: &Ceilings) -> Result<Value> {
    let read = all.levels.iter().filter_map(|(_, ceiling)| ceiling.as_ref());
    let lowest = read.fold(Ceiling::default(), |lowest, ceiling| lowest.meet(ceiling));
    let plain = Ceiling::default();
    let from = |sets: &dyn Fn(&Ceiling) -> bool| -> Vec<Value> {
        let those = all.levels.iter().filter(|(_, ceiling)| ceiling.as_ref().is_some_and(sets));
        let shown = those.map(|(holder, _)| told(holder));
        shown.map(|(kind, id)| json!({"kind": kind, "id": id})).collect()
    };
    let unreadable =
        all.levels.iter().filter(|(_, ceiling)| ceiling.is_none()).map(|(holder, _)| told(holder));
    let limit = |value: Value, from: Vec<Value>| json!({"value": value, "from": from});
    let flag = |value: bool, of: fn(&Ceiling) -> bool| limit(value.into(), from(&|c| of(c) != of(&plain)));
    let roles = role_refs(tx, &lowest).await?;
    Ok(json!({
        names::MAX_LIFETIME: limit(
            seconds(lowest.max_life), from(&|c| c.max_life.is_some() && c.max_life == lowest.max_life),
        ),
        names::MAX_DEPTH: limit(
            json!(lowest.max_depth), from(&|c| c.max_depth.is_some() && c.max_depth == lowest.max_depth),
        ),
        names::NEVER_ROLES: limit(roles.into(), from(&|c| !c.never_roles.is_empty())),
        names::ALLOWED_TRUSTEES: limit(user_refs(&lowest), from(&|c| c.trustees.is_some())),
        names::IMPERSONATION: flag(lowest.impersonation, |c| c.impersonation),
        names::EXPIRY_REQUIRED: flag(lowest.end_required, |c| c.end_required),
        names::KEYPAIRS: flag(lowest.keypairs, |c| c.keypairs),
        "unreadable": unreadable.map(|(kind, id)| json!({"kind": kind, "id": id})).collect::<Vec<_>>(),
    }))
}
