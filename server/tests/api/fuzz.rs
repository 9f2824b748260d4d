//! Random input for what anybody can send: tokens and request bodies. The long form is in CONTRIBUTING.md.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rmpv::Value as Pack;
use serde_json::{Map, Value, json};
use vicar::auth::fernet::{Federated, Payload, PayloadScope};
use vicar::auth::receipt::Receipt;
use vicar::clock::SECOND;
use vicar::crypto::keys::{KeyRing, Keys, setup};
use vicar::dispatch::Route;
use vicar::http::schema::Schema;
use vicar::routes::ROUTES;
use vicar_rules::access_rule::{Access, AccessRule};
use vicar_rules::delegation::Narrower;
use vicar_rules::origin::Origin;

use crate::drive::{Cases, drive};
use crate::support::{Cast, SECRET};

// ---- tokens

/// Longest token that is looked at.
const LONGEST: usize = 8192;

fn keys() -> std::sync::Arc<Keys> {
    let dir = std::env::temp_dir().join(format!("vicar-fuzz-{}", vicar::ids::uuid()));
    setup(&dir).expect("made");
    let keys = KeyRing::new(dir.clone(), false).current().expect("keys");
    let _ = std::fs::remove_dir_all(dir);
    keys
}

fn methods() -> Vec<String> {
    ["external", "password", "token", "oauth1", "mapped"].map(str::to_owned).to_vec()
}

fn uuid() -> impl Strategy<Value = String> {
    "[0-9a-f]{32}"
}

fn id() -> impl Strategy<Value = String> {
    prop_oneof![4 => uuid(), 2 => "[a-z-]{1,12}", 1 => "[0-9A-Fa-f]{30,34}", 1 => ".{0,20}"]
}

fn narrower() -> impl Strategy<Value = Narrower> {
    let rule = ("[a-z]{1,6}", select(&["GET", "PUT"][..]), "/[a-z*{}/]{0,8}")
        .prop_map(|(service, method, path)| AccessRule { service, method: method.into(), path });
    let origin = (prop::option::of(".{1,9}"), btree_map(".{1,5}", ".{1,5}", 0..3))
        .prop_map(|(source_identity, labels)| Origin { source_identity, labels });
    (prop::option::of(btree_set(id(), 0..4)), prop::option::of(btree_set(rule, 0..4)), origin).prop_map(
        |(roles, rules, origin)| Narrower {
            roles,
            access: rules.map_or_else(Access::default, |rules| Access::only(&rules)),
            life: None,
            origin,
        },
    )
}

fn payload() -> impl Strategy<Value = Payload> {
    let scope = prop_oneof![
        Just(PayloadScope::Unscoped),
        id().prop_map(PayloadScope::Domain),
        id().prop_map(PayloadScope::Project),
        (id(), uuid()).prop_map(|(p, t)| PayloadScope::Trust(p, t)),
        (id(), uuid()).prop_map(|(p, t)| PayloadScope::Narrowed(p, t)),
        (id(), uuid(), narrower()).prop_map(|(p, t, less)| PayloadScope::Less(p, t, Box::new(less))),
        (id(), id()).prop_map(|(p, a)| PayloadScope::AccessToken(p, a)),
        id().prop_map(PayloadScope::System),
        (id(), id()).prop_map(|(p, a)| PayloadScope::ApplicationCredential(p, a)),
        (id(), id()).prop_map(|(p, c)| PayloadScope::Certificate(p, c)),
    ];
    let federated = (id(), "[a-z0-9]{1,8}", vec(id(), 0..3))
        .prop_map(|(provider, protocol, groups)| Federated { provider, protocol, groups });
    let audit_ids = vec(any::<[u8; 16]>().prop_map(|b| URL_SAFE_NO_PAD.encode(b)), 1..3);
    let times = (0..253_402_300_799_i64, 0..4_000_000_000_i64, 0..SECOND);
    let all = (id(), any::<[bool; 5]>(), scope, times, audit_ids, prop::option::weighted(0.3, federated));
    all.prop_map(|(user, is, scope, (expires, issued, micros), audit_ids, federated)| {
        let can_be =
            matches!(scope, PayloadScope::Unscoped | PayloadScope::Domain(_) | PayloadScope::Project(_));
        // The last bit first, as a token names them.
        let methods =
            methods().into_iter().zip(is).rev().filter(|(_, is)| *is).map(|(name, _)| name).collect();
        // A float of seconds keeps microseconds as long as Keystone's times are near.
        let expires = if expires < 4_000_000_000 { expires * SECOND + micros } else { expires * SECOND };
        Payload {
            user,
            methods,
            scope,
            expires,
            issued: issued * SECOND,
            audit_ids,
            federated: federated.filter(|_| can_be),
        }
    })
}

fn pack() -> impl Strategy<Value = Pack> {
    let leaf = prop_oneof![
        Just(Pack::Nil),
        any::<bool>().prop_map(Pack::from),
        any::<i64>().prop_map(Pack::from),
        (0..12_u64).prop_map(Pack::from),
        any::<f64>().prop_map(Pack::from),
        ".{0,8}".prop_map(Pack::from),
        vec(any::<u8>(), 0..18).prop_map(Pack::Binary),
        any::<[u8; 16]>().prop_map(|b| Pack::Binary(b.to_vec())),
        (any::<bool>(), any::<[u8; 16]>())
            .prop_map(|(is, b)| Pack::Array(vec![Pack::Boolean(is), Pack::Binary(b.to_vec())])),
        any::<i8>().prop_map(|kind| Pack::Ext(kind, vec![1, 2])),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Pack::Array),
            vec((inner.clone(), inner), 0..3).prop_map(Pack::Map),
        ]
    })
}

/// How a payload is changed under its key.
#[derive(Debug, Clone)]
enum Change {
    /// Another version.
    Version(u64),
    /// Another value in one of its places.
    Part(Index, Pack),
    Without(Index),
    More(Pack),
    /// Another byte.
    Byte(Index, u8),
    Cut(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = || any::<Index>();
    prop_oneof![
        prop_oneof![0..12_u64, 100..107_u64, any::<u64>()].prop_map(Change::Version),
        (at(), pack()).prop_map(|(at, part)| Change::Part(at, part)),
        at().prop_map(Change::Without),
        pack().prop_map(Change::More),
        (at(), any::<u8>()).prop_map(|(at, to)| Change::Byte(at, to)),
        at().prop_map(Change::Cut),
    ]
}

impl Change {
    fn apply(&self, plain: &mut Vec<u8>) {
        match self {
            Self::Byte(at, to) if !plain.is_empty() => {
                let at = at.index(plain.len());
                plain[at] = *to;
            }
            Self::Cut(at) if !plain.is_empty() => plain.truncate(at.index(plain.len())),
            of_parts => {
                let Ok(Pack::Array(mut parts)) = rmpv::decode::read_value(&mut plain.as_slice()) else {
                    return;
                };
                match of_parts {
                    Self::Version(to) if !parts.is_empty() => parts[0] = Pack::from(*to),
                    Self::Part(at, to) if !parts.is_empty() => {
                        let at = at.index(parts.len());
                        parts[at] = to.clone();
                    }
                    Self::Without(at) if !parts.is_empty() => {
                        parts.remove(at.index(parts.len()));
                    }
                    Self::More(to) => parts.push(to.clone()),
                    _ => {}
                }
                plain.clear();
                rmpv::encode::write_value(plain, &Pack::Array(parts)).expect("packs");
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Token {
    /// Text that anybody can send.
    Text(String),
    /// One of ours, with some of its characters replaced, cut or repeated.
    Spoilt(Payload, Vec<(Index, char)>, Option<Index>),
    /// One whose payload somebody changed who has the key: an older program, or a newer one, or a Keystone.
    Changed(Payload, Vec<Change>),
    /// Any bytes under the key.
    Bytes(Vec<u8>),
    Packed(Pack),
}

fn token_case() -> impl Strategy<Value = Token> {
    let text = prop_oneof![
        2 => ".{0,200}",
        3 => "gAAAAA[A-Za-z0-9_=-]{0,300}",
        1 => (1..3_usize, "[A-Za-z0-9_-]{1,40}").prop_map(|(n, part)| format!("gAAAAA{}", part.repeat(n * 300))),
    ];
    let swaps = vec((any::<Index>(), prop_oneof![4 => "[A-Za-z0-9_=-]", 1 => "[ -~é]"]), 0..3)
        .prop_map(|all| all.into_iter().map(|(at, text)| (at, text.chars().next().unwrap_or('x'))).collect());
    prop_oneof![
        2 => text.prop_map(Token::Text),
        4 => (payload(), swaps, prop::option::weighted(0.3, any::<Index>()))
            .prop_map(|(payload, swaps, cut)| Token::Spoilt(payload, swaps, cut)),
        6 => (payload(), vec(change(), 1..4)).prop_map(|(payload, changes)| Token::Changed(payload, changes)),
        1 => vec(any::<u8>(), 0..80).prop_map(Token::Bytes),
        2 => pack().prop_map(Token::Packed),
    ]
}

/// What was read is what is written again: a token has one meaning.
fn says_one_thing(keys: &Keys, token: &str) -> Result<bool, TestCaseError> {
    let known = methods();
    if let Some(receipt) = Receipt::decode(token, keys, &known) {
        prop_assert!(Payload::decode(token, keys, &known).is_none(), "a receipt is a token: {:?}", receipt);
    }
    let Some(read) = Payload::decode(token, keys, &known) else { return Ok(false) };
    prop_assert!(token.len() <= LONGEST);
    prop_assert!((1..=2).contains(&read.audit_ids.len()));
    // Bits without a method cannot be written again, and ids of trusts have one form there. Of far times a float keeps no microseconds.
    if read.expires < 4_000_000_000 * SECOND
        && read.methods.iter().all(|m| known.contains(m))
        && let Some(again) = read.encode(keys, &known)
        && again.len() <= LONGEST
    {
        prop_assert_eq!(Payload::decode(&again, keys, &known), Some(read));
    }
    Ok(true)
}

fn token(keys: &Keys, case: Token) -> Result<bool, TestCaseError> {
    let known = methods();
    match case {
        Token::Text(text) => {
            prop_assert_eq!(Payload::decode(&text, keys, &known), None);
            prop_assert_eq!(Receipt::decode(&text, keys, &known), None);
            Ok(false)
        }
        Token::Spoilt(payload, swaps, cut) => {
            let Some(good) = payload.encode(keys, &known) else { return Ok(false) };
            prop_assume!(good.len() <= LONGEST);
            prop_assert_eq!(Payload::decode(&good, keys, &known), Some(payload.clone()));
            let mut bad: Vec<char> = good.chars().collect();
            for (at, to) in swaps {
                let at = at.index(bad.len());
                bad[at] = to;
            }
            bad.truncate(cut.map_or(bad.len(), |cut| cut.index(bad.len())));
            let bad: String = bad.into_iter().collect();
            // Bits behind the last byte may differ; no other token comes of it.
            let read = Payload::decode(&bad, keys, &known);
            prop_assert!(read.is_none_or(|read| read == payload));
            Ok(true)
        }
        Token::Changed(payload, changes) => {
            let Some(good) = payload.encode(keys, &known) else { return Ok(false) };
            let padded = format!("{good}{}", "=".repeat((4 - good.len() % 4) % 4));
            let mut plain = keys.decrypt(&padded).expect("decrypts");
            changes.iter().for_each(|change| change.apply(&mut plain));
            says_one_thing(keys, &keys.encrypt(&plain, 1_800_000_000).expect("encrypts"))
        }
        Token::Bytes(plain) => says_one_thing(keys, &keys.encrypt(&plain, 5).expect("encrypts")),
        Token::Packed(pack) => {
            let mut plain = Vec::new();
            rmpv::encode::write_value(&mut plain, &pack).expect("packs");
            says_one_thing(keys, &keys.encrypt(&plain, 5).expect("encrypts"))
        }
    }
}

#[test]
fn tokens() {
    let good = Cell::new(0);
    let done = drive("tokens", Cases { short: 1_500, batch: 2_000 }, &token_case(), keys, |keys, case| {
        good.set(good.get() + u64::from(token(keys, case)?));
        Ok(())
    });
    assert!(good.get() > done / 5, "{} of {done} are read", good.get());
}

// ---- request bodies

/// What a body is made from: numbers, of which each makes one choice. Without any left, the first choice is made.
struct Choices<'a>(std::slice::Iter<'a, u16>);

impl Choices<'_> {
    fn of(&mut self, n: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or_default()) % n.max(1)
    }

    fn from<'v, T: ?Sized>(&mut self, all: &[&'v T]) -> &'v T {
        all[self.of(all.len())]
    }
}

/// A server with things that a path and a body can name.
struct Stage {
    c: Cast,
    admin: String,
    alice: String,
    /// Ids by what they are of: `user`, `region`.
    known: RefCell<BTreeMap<String, Vec<String>>>,
}

impl Stage {
    fn new() -> Self {
        let c = Cast::new();
        let (admin, alice) = (c.s.admin(), c.s.on("alice", &c.p));
        let domain = c.s.domain("fuzzed");
        let trust = c.trust(json!({"allow_redelegation": true}));
        let of = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let known = [
            ("user", of(&[&c.alice, &c.bob, &c.carol])),
            ("project", of(&[&c.p, &c.q])),
            ("domain", of(&[&domain])),
            ("role", of(&[&c.s.role("fuzzed")])),
            ("group", of(&[&c.s.group("fuzzed", &domain, &[&c.bob])])),
            ("trust", of(&[&trust])),
        ];
        let known = known.map(|(kind, ids)| (kind.to_owned(), ids));
        Self { admin, alice, known: RefCell::new(known.into()), c }
    }

    /// An id of a kind, or one that nothing has.
    fn id(&self, kind: &str, choose: &mut Choices<'_>) -> String {
        let known = self.known.borrow();
        let ids = known.get(kind).map_or(&[][..], Vec::as_slice);
        ids.get(choose.of(ids.len() + 1)).cloned().unwrap_or_else(|| "unknown".into())
    }

    fn path(&self, pattern: &str, choose: &mut Choices<'_>) -> String {
        let one = |part: &str| match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
            None => part.to_owned(),
            Some(name) => {
                let kind = name.strip_suffix("_id").unwrap_or(name);
                let id = self.id(if kind == "idp" { "identity_provider" } else { kind }, choose);
                utf8_percent_encode(&id, NON_ALPHANUMERIC).to_string()
            }
        };
        pattern.split('/').map(one).collect::<Vec<_>>().join("/")
    }

    /// A string that fits, by the name of its field as far as that says what it is.
    fn string(&self, name: &str, schema: &Value, choose: &mut Choices<'_>) -> Value {
        let kind = name.trim_end_matches("_id").rsplit('_').next().unwrap_or_default();
        let kind = match name {
            "trustee_user_id" | "trustor_user_id" => "user",
            "tenant_id" | "default_project_id" | "parent_id" => "project",
            _ => kind,
        };
        let id = self.id(kind, choose);
        let unique = format!("n{}", choose.of(1 << 16));
        let all: [&str; 14] = [
            &unique,
            &id,
            "default",
            "member",
            "password",
            "2027-12-31T00:00:00Z",
            "/v3/a/*",
            "http://h.example/v3",
            "GET",
            "0123456789abcdef0123456789abcdef",
            "public",
            "ec2",
            "{\"a\": 1}",
            "é ü",
        ];
        if SECRET.contains(&name) {
            // Words that no line of the log has.
            let all = ["pw".to_owned(), format!("hidden-{unique}"), "{\"a\": 1}".to_owned()];
            return all[choose.of(all.len())].as_str().into();
        }
        let pattern = schema["pattern"].as_str().and_then(|p| fancy_regex::Regex::new(p).ok());
        let fits = |text: &&&str| {
            let n = text.chars().count() as u64;
            n >= schema["minLength"].as_u64().unwrap_or_default()
                && n <= schema["maxLength"].as_u64().unwrap_or(u64::MAX)
                && pattern.as_ref().is_none_or(|p| p.is_match(text).unwrap_or_default())
        };
        let fit: Vec<&str> = all.iter().filter(fits).copied().collect();
        let by_name = name == "id" || name.ends_with("_id");
        if by_name && fit.contains(&&*id) && choose.of(8) != 1 {
            id.into()
        } else {
            choose.from(if fit.is_empty() { &all } else { &fit }).into()
        }
    }

    /// A value that fits a schema, or nearly does.
    fn value(&self, name: &str, schema: &Value, choose: &mut Choices<'_>, depth: usize) -> Value {
        if let Some(all) = schema["enum"].as_array() {
            return all[choose.of(all.len())].clone();
        }
        if let Some(only) = schema.get("const") {
            return only.clone();
        }
        if let Some(all) = schema["anyOf"].as_array() {
            return self.value(name, &all[choose.of(all.len())], choose, depth);
        }
        let kind = match &schema["type"] {
            Value::Array(all) => all[choose.of(all.len())].as_str(),
            one => one.as_str(),
        };
        match kind {
            Some("object") => self.object(schema, choose, depth),
            Some("array") => {
                let least = schema["minItems"].as_u64().unwrap_or_default() as usize;
                let n = least + choose.of(3);
                (0..n).map(|_| self.value(name, &schema["items"], choose, depth + 1)).collect()
            }
            Some("string") => self.string(name, schema, choose),
            Some("boolean") => (choose.of(2) == 0).into(),
            Some("integer" | "number") => {
                let least = schema["minimum"].as_i64().unwrap_or_default();
                let most = schema["maximum"].as_i64().unwrap_or(i64::MAX);
                let all = [least, least.saturating_add(1), 60, 3_600, most, i64::from(u32::MAX)];
                all[choose.of(all.len())].clamp(least, most).into()
            }
            Some("null") => Value::Null,
            _ => ODD[choose.of(4)].parse().unwrap_or_default(),
        }
    }

    fn object(&self, schema: &Value, choose: &mut Choices<'_>, depth: usize) -> Value {
        let none = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&none);
        let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
        let mut out = Map::new();
        for (name, of) in properties {
            if required.contains(&json!(name)) || (depth < 6 && choose.of(3) == 1) {
                out.insert(name.clone(), self.value(name, of, choose, depth + 1));
            }
        }
        let least = schema["minProperties"].as_u64().unwrap_or_default() as usize;
        let missing: Vec<&String> = properties.keys().filter(|name| !out.contains_key(*name)).collect();
        for name in missing.into_iter().take(least.saturating_sub(out.len())) {
            out.insert(name.clone(), self.value(name, &properties[name], choose, depth + 1));
        }
        let more = &schema["additionalProperties"];
        if *more != json!(false) && choose.of(4) == 1 {
            out.insert(format!("x{}", choose.of(3)), self.value("x", more, choose, depth + 1));
        }
        out.into()
    }
}

/// Values that are seldom expected, as JSON.
const ODD: [&str; 26] = [
    "\"a\"",
    "1",
    "true",
    "{}",
    "null",
    "[]",
    "\"\"",
    "0",
    "-1",
    "1.5",
    "1e300",
    "-0.0",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "2147483648",
    "\"\\u0000\"",
    "\"a\\u0000b\"",
    "\" \"",
    "\"\\ud83d\\ude00\"",
    "[[[[[[]]]]]]",
    "{\"\": {\"\": null}}",
    "\"9999-12-31T23:59:59.999999Z\"",
    "\"0000-00-00T00:00:00Z\"",
    "\"..\"",
];

/// Puts something else into a random place of a value.
fn spoil(value: &mut Value, choose: &mut Choices<'_>) {
    match value {
        Value::Object(map) if !map.is_empty() && choose.of(6) != 1 => {
            let names: Vec<String> = map.keys().cloned().collect();
            let name = &names[choose.of(names.len())];
            match choose.of(8) {
                1 => drop(map.remove(name)),
                2 => drop(map.insert(format!("{name}x"), json!("more"))),
                _ => spoil(&mut map[name], choose),
            }
        }
        Value::Array(all) if !all.is_empty() && choose.of(6) != 1 => {
            let at = choose.of(all.len());
            match choose.of(8) {
                1 => drop(all.remove(at)),
                2 => {
                    let one = all[at].clone();
                    all.extend(vec![one; choose.from(&[&1, &2, &40, &2_000]).to_owned()]);
                }
                _ => spoil(&mut all[at], choose),
            }
        }
        other => {
            *other = match choose.of(8) {
                1 => json!("x".repeat(*choose.from(&[&65, &256, &3_000, &70_000]))),
                2 => (0..40).fold(json!(1), |inner, _| json!([inner])),
                _ => serde_json::from_str(ODD[choose.of(ODD.len())]).unwrap_or_default(),
            }
        }
    }
}

/// A body that is no JSON any more, or unusual JSON.
fn spoil_text(text: String, choose: &mut Choices<'_>) -> Vec<u8> {
    let mut bytes = text.into_bytes();
    let at = choose.of(bytes.len());
    match choose.of(7) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, 0xff),
        2 => bytes.insert(at, b'\\'),
        3 => bytes = "[".repeat(50_000).into_bytes(),
        4 => bytes = "{\"a\":".repeat(500).into_bytes(),
        5 => {
            // A member twice.
            let text = String::from_utf8_lossy(&bytes).into_owned();
            bytes = text.replacen('{', "{\"trust\": {}, \"auth\": null,", 1).into_bytes();
        }
        _ => bytes[at] = bytes[at].wrapping_add(1),
    }
    bytes
}

fn bodied() -> Vec<&'static Route> {
    ROUTES.iter().filter(|route| route.declared.body.is_some()).collect()
}

#[derive(Debug, Clone)]
struct Sent {
    route: usize,
    choices: Vec<u16>,
    spoilt: u8,
    is_text: bool,
}

fn sent() -> impl Strategy<Value = Sent> {
    let spoilt = prop_oneof![4 => Just(0_u8), 4 => Just(1), 2 => 2..4_u8];
    (0..bodied().len(), vec(any::<u16>(), 0..80), spoilt, prop::bool::weighted(0.08))
        .prop_map(|(route, choices, spoilt, is_text)| Sent { route, choices, spoilt, is_text })
}

/// How requests were answered.
#[derive(Default)]
struct Answered {
    taken: Cell<u64>,
    wrong: Cell<u64>,
    other: Cell<u64>,
}

fn add(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

/// The name of the field that a schema finds wrong.
fn wrong_at(schema: &Schema, given: &Value) -> Option<String> {
    let found = schema.check("", given).err()?.to_string();
    let path = found.strip_prefix("Invalid input for ").unwrap_or(&found);
    let path = path.split(':').next().unwrap_or_default();
    // A place in a list has no name.
    path.split('.').rfind(|part| part.parse::<usize>().is_err()).map(str::to_owned)
}

fn body(on: &Stage, sent: &Sent, answered: &Answered) -> Result<(), TestCaseError> {
    let route = bodied()[sent.route];
    let Some(declared) = &route.declared.body else { return Ok(()) };
    let schema = (declared.schema)();
    let mut choose = Choices(sent.choices.iter());
    let path = on.path(route.path, &mut choose);
    let of_alice = route.path.contains("OS-TRUST/trusts") || route.path.contains("application_credentials");
    let bearer = if of_alice && choose.of(8) != 1 { &on.alice } else { &on.admin };
    let member = on.value("", schema.json(), &mut choose, 0);
    let mut body = declared.member.map_or_else(|| member.clone(), |name| json!({ name: member }));
    (0..sent.spoilt).for_each(|_| spoil(&mut body, &mut choose));
    let mut text = body.to_string().into_bytes();
    if sent.is_text {
        text = spoil_text(body.to_string(), &mut choose);
    }
    // Of a larger one the server does not read the rest, while it is still being sent.
    if text.len() > 114_688 {
        return Ok(());
    }
    let method = route.method.as_str();
    let answer = on.c.s.call(method, &path, &[("X-Auth-Token", bearer)], Some(&text));
    let (status, told) = (answer.status, answer.body["error"]["message"].as_str().unwrap_or_default());
    prop_assert!(
        status < 500,
        "{} {}: {} {}\n{}",
        method,
        path,
        status,
        answer.text,
        String::from_utf8_lossy(&text)
    );
    if status == 400 {
        add(&answered.wrong);
        prop_assert!(!told.is_empty(), "{} {}: {}", method, path, answer.text);
        // What the schema refuses is named, or what is wrong by more than it, as a method without its object.
        let read: Option<Value> = serde_json::from_slice(&text).ok();
        let given = read.as_ref().map(|read| declared.member.map_or(read, |name| &read[name]));
        if let Some(wrong) = given.filter(|given| given.is_object()).and_then(|given| wrong_at(schema, given))
        {
            let field = told.split(": ").next().unwrap_or_default();
            let is_another = field.starts_with("auth.identity.") && !field.contains(' ');
            prop_assert!(
                told.contains(&wrong) || is_another,
                "{} {}: `{}` is wrong, told is: {}\n{}",
                method,
                path,
                wrong,
                told,
                body
            );
        }
    } else if status < 300 {
        add(&answered.taken);
        for (kind, made) in answer.body.as_object().into_iter().flatten() {
            if let Some(id) = made["id"].as_str().filter(|_| status == 201) {
                on.known.borrow_mut().entry(kind.clone()).or_default().push(id.to_owned());
            }
        }
    } else {
        add(&answered.other);
    }
    Ok(())
}

#[test]
fn bodies() {
    let answered = Answered::default();
    let cases = Cases { short: 300, batch: 500 };
    let done = drive("bodies", cases, &sent(), Stage::new, |on, case| body(on, &case, &answered));
    let (taken, wrong) = (answered.taken.get(), answered.wrong.get());
    println!("fuzz bodies: {taken} taken, {wrong} wrong, {} else", answered.other.get());
    assert!(taken > done / 20 && wrong > done / 5, "{taken} taken, {wrong} wrong of {done}");
}
