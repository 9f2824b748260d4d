//! Payloads: events of CADF (DSP0262), as pycadf writes them, and the basic form.

use hex::encode;
use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};
use vicar_rules::Micros;

use super::notice::{Came, Initiator, Notice, ObjectKind, What};
use crate::clock;
use crate::ids;

const EVENT: &str = "http://schemas.dmtf.org/cloud/audit/1.0/event";
const USER: &str = "service/security/account/user";

/// The namespace of Keystone's ids for users whose own ids are no UUIDs.
const OF_USERS: [u8; 16] =
    [0x43, 0x32, 0xec, 0xab, 0x77, 0x0b, 0x42, 0x88, 0xa6, 0x80, 0xb9, 0xac, 0xa3, 0xb1, 0xb1, 0x53];

/// A new id, with hyphens.
pub fn new_id() -> String {
    let h = ids::uuid();
    format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

/// The initiator's id: the user's, or what follows from it where that is no UUID.
fn initiator_id(user: &str) -> String {
    let digits: String = user.chars().filter(|c| *c != '-').collect();
    if digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return user.to_owned();
    }
    let hash = Sha1::new().chain_update(OF_USERS).chain_update(user.as_bytes()).finalize();
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(hash) {
        *to = from;
    }
    id[6] = id[6] & 0x0f | 0x50;
    id[8] = id[8] & 0x3f | 0x80;
    encode(id)
}

/// `2027-01-15T08:00:00.000000+0000`
fn time(at: Micros) -> String {
    format!("{}+0000", clock::iso_bare(at))
}

fn put(to: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(map) = to.as_object_mut() {
        map.insert(name.to_owned(), value.into());
    }
}

fn set(map: &mut Map<String, Value>, name: &str, value: Option<&String>) {
    if let Some(value) = value {
        map.insert(name.to_owned(), value.as_str().into());
    }
}

fn initiator(of: &Initiator) -> Value {
    let mut map = Map::new();
    let id = match &of.user {
        Some(user) if !of.tried => initiator_id(user),
        _ => new_id(),
    };
    map.insert("typeURI".into(), USER.into());
    map.insert("id".into(), id.into());
    let mut host = json!({"agent": of.agent});
    if let Some(address) = &of.address {
        put(&mut host, "address", address.as_str());
    }
    map.insert("host".into(), host);
    set(&mut map, "user_id", of.user.as_ref());
    set(&mut map, "name", of.name.as_ref());
    set(&mut map, "username", of.name.as_ref());
    set(&mut map, "project_id", of.project.as_ref());
    set(&mut map, "domain_id", of.domain.as_ref());
    set(&mut map, "domain_name", of.domain_name.as_ref());
    map.insert("request_id".into(), of.request.as_str().into());
    set(&mut map, "global_request_id", of.global_request.as_ref());
    Value::Object(map)
}

/// An event of CADF. `observer` is the id of the catalog's identity service.
pub fn event(notice: &Notice, observer: Option<&str>) -> Value {
    let action = match &notice.what {
        What::Object { kind, action, .. } => format!("{}.{}", action.word(), kind.word()),
        What::Grant { action, .. } => format!("{}.role_assignment", action.word()),
        What::Lapse { .. } => format!("lapsing.{}", ObjectKind::Trust.word()),
        What::Authenticate | What::Arrival(_) => "authenticate".to_owned(),
    };
    let target = match &notice.what {
        What::Object { kind, id, .. } => json!({"typeURI": kind.uri(), "id": id}),
        What::Lapse { trust, .. } => json!({"typeURI": ObjectKind::Trust.uri(), "id": trust}),
        What::Grant { .. } | What::Authenticate | What::Arrival(_) => {
            json!({"typeURI": USER, "id": new_id()})
        }
    };
    let mut event = json!({
        "typeURI": EVENT,
        "eventType": "activity",
        "id": new_id(),
        "eventTime": time(notice.at),
        "action": action,
        "outcome": notice.outcome.word(),
        "observer": {"typeURI": "service/security", "id": observer.map_or_else(new_id, str::to_owned)},
        "target": target,
    });
    if let Some(of) = &notice.initiator {
        let mut by = initiator(of);
        if let What::Arrival(came) = &notice.what {
            put(&mut by, "credential", credential(came));
        }
        put(&mut event, "initiator", by);
    }
    if let Some(reason) = &notice.reason {
        put(&mut event, "reason", json!({"reasonType": reason.text, "reasonCode": reason.code.to_string()}));
    }
    let hash = notice
        .password_hash
        .as_ref()
        .map(|hash| json!({"typeURI": "mime:text/plain", "content": hash, "name": "partial_password_hash"}));
    // A Keystone tells the user alone, whom a trust may name.
    let delegation = notice
        .initiator
        .as_ref()
        .and_then(|of| of.delegation.as_ref())
        .map(|chain| json!({"typeURI": "mime:application/json", "content": chain, "name": "delegation"}));
    let attachments: Vec<Value> = hash.into_iter().chain(delegation).collect();
    if !attachments.is_empty() {
        put(&mut event, "attachments", attachments);
    }
    match &notice.what {
        What::Object { id, .. } => put(&mut event, "resource_info", id.as_str()),
        What::Grant { parts, inherited, .. } => {
            for (name, id) in parts {
                put(&mut event, name, id.as_str());
            }
            put(&mut event, "inherited_to_projects", *inherited);
        }
        What::Lapse { .. } => {
            for (name, value) in lapse(&notice.what) {
                put(&mut event, &name, value);
            }
        }
        What::Authenticate | What::Arrival(_) => {}
    }
    event
}

/// What is said of a trust that gives nothing soon.
fn lapse(what: &What) -> Map<String, Value> {
    let What::Lapse { trust, user, project, at } = what else { return Map::new() };
    let parts = [
        ("resource_info", trust.clone()),
        ("user_id", user.clone()),
        ("project_id", project.clone()),
        ("lapses_at", clock::iso(*at)),
    ];
    parts.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// What a login through an identity provider is proven by, as pycadf writes it: of whichever protocol, it is called SAML.
fn credential(came: &Came) -> Value {
    const UNKNOWN: &str = "unknown";
    json!({
        "type": "http://docs.oasis-open.org/security/saml/v2.0",
        "token": masked(came.token.as_deref().unwrap_or(UNKNOWN)),
        "identity_provider": came.provider,
        "user": came.user.as_deref().unwrap_or(UNKNOWN),
        "groups": came.groups,
    })
}

/// An eighth of a text at its beginning and its end, 32 characters at most; Python rounds a half to the even number.
fn masked(text: &str) -> String {
    let all: Vec<char> = text.chars().collect();
    let (whole, rest) = (all.len() / 8, all.len() % 8);
    let up = rest > 4 || (rest == 4 && whole % 2 == 1);
    let shown = (whole + usize::from(up)).min(32);
    // Nothing at the end is all of it to Python: `value[-0:]`.
    let end = if shown == 0 { 0 } else { all.len() - shown };
    let part = |chars: &[char]| chars.iter().collect::<String>();
    let (head, tail) = (all.get(..shown).unwrap_or_default(), all.get(end..).unwrap_or_default());
    format!("{} xxxxxxxx {}", part(head), part(tail))
}

/// The basic form of a notice about an object; nothing of others.
pub fn basic(notice: &Notice) -> Option<Value> {
    if let What::Lapse { .. } = &notice.what {
        return Some(lapse(&notice.what).into());
    }
    let What::Object { id, actor, .. } = &notice.what else { return None };
    let mut payload = json!({"resource_info": id});
    if let Some(actor) = actor {
        put(&mut payload, "actor_id", actor.user.as_str());
        put(&mut payload, "actor_type", "user");
        put(&mut payload, "actor_operation", if actor.came { "added" } else { "removed" });
    }
    if let Some(of) = &notice.initiator {
        put(&mut payload, "request_id", of.request.as_str());
        if let Some(id) = &of.global_request {
            put(&mut payload, "global_request_id", id.as_str());
        }
    }
    Some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_told_of_a_token() {
        // What pycadf says to utils.mask_value.
        let of = |length| masked(&"abcdefghijklmnopqrstuvwxyz".repeat(20)[..length]);
        assert_eq!((of(2), of(22)), (" xxxxxxxx ab".into(), "abc xxxxxxxx tuv".into()));
        assert_eq!((of(4), of(12)), (" xxxxxxxx abcd".into(), "ab xxxxxxxx kl".into()));
        assert_eq!(of(520).len(), 32 + 10 + 32);
        assert_eq!(masked("unknown"), "u xxxxxxxx n");
    }

    #[test]
    fn ids_of_initiators_are_uuids() {
        let plain = "0123456789abcdef0123456789abcdef";
        assert_eq!(initiator_id(plain), plain);
        // What Python says to uuid.uuid5(namespace, 'x' * 64).hex
        let long = "x".repeat(64);
        assert_eq!(initiator_id(&long), "394ed3c196b657388e446e4f84f4b06c");
    }
}
