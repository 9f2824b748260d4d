//! Token payloads, byte for byte as Keystone 30.0.0 packs them: msgpack in Fernet, one version per
//! kind of scope.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rmpv::Value as Pack;
use vicar_rules::Micros;
use vicar_rules::access_rule::{Access, AccessRule};
use vicar_rules::delegation::Narrower;
use vicar_rules::origin::Origin;
use vicar_rules::token::UNKNOWN_METHOD;

use crate::clock::SECOND;
use crate::crypto::keys::Keys;

/// What a token says of itself. Everything else is looked up.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload {
    /// The user that authenticated. For a trust with impersonation this is the trustee; whom the
    /// token speaks for follows from the trust.
    pub user: String,
    /// Login methods.
    pub methods: Vec<String>,
    /// The scope.
    pub scope: PayloadScope,
    /// When it ends.
    pub expires: Micros,
    /// When it was issued, in whole seconds: Fernet's own timestamp.
    pub issued: Micros,
    /// Its audit id and, if it descends from another token, that root's.
    pub audit_ids: Vec<String>,
    /// The login through an identity provider that it comes from.
    pub federated: Option<Federated>,
}

/// Where a user came from, in payloads of versions 4 to 6: without a scope, of a project, of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Federated {
    /// The identity provider.
    pub provider: String,
    /// The protocol.
    pub protocol: String,
    /// The groups that the mapping said, which count besides the memberships that are stored.
    pub groups: Vec<String>,
}

/// The scope with what its payload version carries besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadScope {
    /// Version 0.
    Unscoped,
    /// Version 1.
    Domain(String),
    /// Version 2.
    Project(String),
    /// Version 3: project, trust.
    Trust(String, String),
    /// Ours: as version 3, for tokens of a keypair that is narrower than its trust. Keystone does not
    /// know the version and refuses the token; it would give it all of the trust's roles.
    Narrowed(String, String),
    /// Ours: project, trust, and what the token asked for less of. For the same reason it has a version of its own.
    Less(String, String, Box<Narrower>),
    /// Version 7: project, OAuth1 access token.
    AccessToken(String, String),
    /// Version 8.
    System(String),
    /// Version 9: project, application credential.
    ApplicationCredential(String, String),
    /// Version 10: project, thumbprint of the certificate that the token is bound to.
    Certificate(String, String),
}

impl PayloadScope {
    /// The trust that it is of.
    pub fn trust(&self) -> Option<&str> {
        match self {
            Self::Trust(_, id) | Self::Narrowed(_, id) | Self::Less(_, id, _) => Some(id),
            Self::Unscoped
            | Self::Domain(_)
            | Self::Project(_)
            | Self::AccessToken(..)
            | Self::System(_)
            | Self::ApplicationCredential(..)
            | Self::Certificate(..) => None,
        }
    }
}

/// The version of [`PayloadScope::Narrowed`]; far from those that Keystone counts up.
const NARROWED: u64 = 103;

/// The version of [`PayloadScope::Less`].
const LESS: u64 = 104;

/// Longest token that is looked at. Keystone's stay below 300 characters, but for those of federated users: each
/// group of theirs is 25 more.
const LONGEST: usize = 8192;

/// The bits of `methods`, in the order of `[auth] methods`. A method that is not configured has no bit,
/// as in Keystone.
pub(super) fn to_bits(methods: &[String], configured: &[String]) -> u64 {
    configured.iter().take(63).enumerate().filter(|(_, m)| methods.contains(m)).map(|(i, _)| 1 << i).sum()
}

/// Those of some methods that a token can name, in the order in which it names them.
pub fn known_methods(methods: &[String], configured: &[String]) -> Vec<String> {
    from_bits(to_bits(methods, configured), configured)
}

pub(super) fn from_bits(bits: u64, configured: &[String]) -> Vec<String> {
    // Highest bit first: the order that Keystone shows.
    (0..u64::BITS)
        .rev()
        .filter(|bit| bits >> bit & 1 == 1)
        .map(|bit| {
            let known = configured.iter().take(63).nth(bit as usize);
            known.map_or_else(|| UNKNOWN_METHOD.to_owned(), Clone::clone)
        })
        .collect()
}

/// 32 hex digits in lower case become 16 bytes; anything else stays text. Python's parser takes more
/// spellings, but would give other text back: ids must survive the way through a token unchanged.
fn id_bytes(id: &str) -> Option<Vec<u8>> {
    let canonical = id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    canonical.then(|| hex::decode(id).ok()).flatten()
}

/// `(true, bytes)` or `(false, text)`
pub(super) fn pack_id(id: &str) -> Pack {
    match id_bytes(id) {
        Some(b) => Pack::Array(vec![Pack::Boolean(true), Pack::Binary(b)]),
        None => Pack::Array(vec![Pack::Boolean(false), Pack::from(id)]),
    }
}

pub(super) fn unpack_id(v: &Pack) -> Option<String> {
    let pair = v.as_array()?;
    match (pair.first()?.as_bool()?, pair.get(1)?) {
        (true, Pack::Binary(b)) if b.len() == 16 => Some(hex::encode(b)),
        (false, other) => unpack_text(other),
        _ => None,
    }
}

fn unpack_text(v: &Pack) -> Option<String> {
    match v {
        Pack::String(s) => s.as_str().map(str::to_owned),
        Pack::Binary(b) => String::from_utf8(b.clone()).ok(),
        _ => None,
    }
}

fn pack_audit(ids: &[String]) -> Option<Pack> {
    ids.iter()
        .map(|a| URL_SAFE_NO_PAD.decode(a).ok().map(Pack::Binary))
        .collect::<Option<Vec<_>>>()
        .map(Pack::Array)
}

fn unpack_audit(v: &Pack) -> Option<Vec<String>> {
    let ids: Vec<String> = v
        .as_array()?
        .iter()
        .map(|a| a.as_slice().map(|b| URL_SAFE_NO_PAD.encode(b)))
        .collect::<Option<_>>()?;
    (1..=2).contains(&ids.len()).then_some(ids)
}

fn pack_rule(rule: &AccessRule) -> Pack {
    Pack::Array([&rule.service, &rule.method, &rule.path].map(|text| Pack::from(text.as_str())).to_vec())
}

fn unpack_rule(v: &Pack) -> Option<AccessRule> {
    let [service, method, path] = v.as_array()?.as_slice() else { return None };
    let (service, method, path) = (unpack_text(service)?, unpack_text(method)?, unpack_text(path)?);
    Some(AccessRule { service, method, path })
}

/// A list, or nothing in its place; nothing at all when it is no list of these.
fn list<T: Ord>(v: &Pack, read: impl Fn(&Pack) -> Option<T>) -> Option<Option<BTreeSet<T>>> {
    match v {
        Pack::Nil => Some(None),
        Pack::Array(all) => Some(Some(all.iter().map(read).collect::<Option<_>>()?)),
        _ => None,
    }
}

impl Payload {
    /// Its audit id.
    pub fn audit_id(&self) -> &str {
        self.audit_ids.first().map_or("", String::as_str)
    }

    /// Packs and encrypts. Nothing when there is no key or an id cannot be packed.
    pub fn encode(&self, keys: &Keys, methods: &[String]) -> Option<String> {
        let expires = pack_time(self.expires);
        let user = pack_id(&self.user);
        let bits = Pack::from(to_bits(&self.methods, methods));
        let audit = pack_audit(&self.audit_ids)?;
        let parts = match &self.scope {
            scope if self.federated.is_some() => {
                self.federated.as_ref()?.parts(scope, [user, bits, expires, audit])?
            }
            PayloadScope::Unscoped => vec![Pack::from(0), user, bits, expires, audit],
            PayloadScope::Domain(d) => {
                let d = id_bytes(d).map_or_else(|| Pack::from(d.as_str()), Pack::Binary);
                vec![Pack::from(1), user, bits, d, expires, audit]
            }
            PayloadScope::Project(p) => vec![Pack::from(2), user, bits, pack_id(p), expires, audit],
            PayloadScope::Trust(p, t) => {
                // Trust ids are always UUIDs; this version has no room for another form.
                let t = Pack::Binary(id_bytes(t)?);
                vec![Pack::from(3), user, bits, pack_id(p), expires, audit, t]
            }
            PayloadScope::AccessToken(p, a) => {
                vec![Pack::from(7), user, bits, pack_id(p), pack_id(a), expires, audit]
            }
            PayloadScope::System(s) => {
                vec![Pack::from(8), user, bits, Pack::from(s.as_str()), expires, audit]
            }
            PayloadScope::ApplicationCredential(p, a) => {
                vec![Pack::from(9), user, bits, pack_id(p), expires, audit, pack_id(a)]
            }
            PayloadScope::Certificate(p, thumbprint) => {
                // There is room for a domain, which no Keystone puts there.
                let domain = Pack::Array(vec![Pack::Boolean(false), Pack::Nil]);
                let thumbprint = Pack::Array(vec![Pack::Boolean(false), Pack::from(thumbprint.as_str())]);
                vec![Pack::from(10), user, bits, pack_id(p), domain, expires, audit, thumbprint]
            }
            PayloadScope::Narrowed(p, t) => {
                let t = Pack::Binary(id_bytes(t)?);
                vec![Pack::from(NARROWED), user, bits, pack_id(p), expires, audit, t]
            }
            PayloadScope::Less(p, t, own) => {
                let t = Pack::Binary(id_bytes(t)?);
                let roles = own.roles.as_ref().map(|ids| ids.iter().map(|id| pack_id(id)).collect());
                let rules = own.access.rules().map(|rules| rules.iter().map(pack_rule).collect());
                let [roles, rules] = [roles, rules].map(|list| list.map_or(Pack::Nil, Pack::Array));
                let origin = pack_origin(&own.origin);
                vec![Pack::from(LESS), user, bits, pack_id(p), expires, audit, t, roles, rules, origin]
            }
        };
        encrypted(parts, keys, self.issued)
    }

    /// Decrypts and unpacks. Whatever is not a token of these keys is nothing; no more is said.
    pub fn decode(token: &str, keys: &Keys, methods: &[String]) -> Option<Self> {
        if token.len() > LONGEST || !token.is_ascii() {
            return None;
        }
        let plain = keys.decrypt(&padded(token))?;
        let issued = issued(token)?;
        let mut rest = plain.as_slice();
        let value = rmpv::decode::read_value_with_max_depth(&mut rest, 16).ok()?;
        let parts = value.as_array()?;
        let version = parts.first()?.as_u64()?;
        // Where expiry and audit ids stand differs by version.
        let mut federated = None;
        let (scope, tail) = match version {
            4..=6 => {
                let at = if version == 4 { 3 } else { 4 };
                federated = Some(Federated::unpack(parts.get(at..)?)?);
                let scope = match version {
                    4 => PayloadScope::Unscoped,
                    5 => PayloadScope::Project(unpack_id(parts.get(3)?)?),
                    _ => PayloadScope::Domain(unpack_id(parts.get(3)?)?),
                };
                (scope, at + 3)
            }
            0 => (PayloadScope::Unscoped, 3),
            1 => {
                let d = match parts.get(3)? {
                    Pack::Binary(b) if b.len() == 16 => hex::encode(b),
                    other => unpack_text(other)?,
                };
                (PayloadScope::Domain(d), 4)
            }
            2 => (PayloadScope::Project(unpack_id(parts.get(3)?)?), 4),
            3 | NARROWED | LESS => {
                let t = match parts.get(6)? {
                    Pack::Binary(b) if b.len() == 16 => hex::encode(b),
                    other => unpack_text(other)?,
                };
                let project = unpack_id(parts.get(3)?)?;
                let scope = match version {
                    NARROWED => PayloadScope::Narrowed(project, t),
                    LESS => {
                        let roles = list(parts.get(7)?, unpack_id)?;
                        let rules = list(parts.get(8)?, unpack_rule)?;
                        let access = rules.map_or_else(Access::default, Access::stored);
                        // An earlier version of this had none.
                        let origin = parts.get(9).map_or(Some(Origin::default()), unpack_origin)?;
                        PayloadScope::Less(
                            project,
                            t,
                            Box::new(Narrower { roles, access, life: None, origin }),
                        )
                    }
                    _ => PayloadScope::Trust(project, t),
                };
                (scope, 4)
            }
            7 => (PayloadScope::AccessToken(unpack_id(parts.get(3)?)?, unpack_id(parts.get(4)?)?), 5),
            8 => (PayloadScope::System(unpack_text(parts.get(3)?)?), 4),
            9 => {
                (PayloadScope::ApplicationCredential(unpack_id(parts.get(3)?)?, unpack_id(parts.get(6)?)?), 4)
            }
            10 if matches!(parts.get(4)?.as_array()?.get(1), Some(Pack::Nil)) => {
                (PayloadScope::Certificate(unpack_id(parts.get(3)?)?, unpack_id(parts.get(7)?)?), 5)
            }
            _ => return None,
        };
        let expires = unpack_time(parts.get(tail)?)?;
        Some(Self {
            user: unpack_id(parts.get(1)?)?,
            methods: from_bits(parts.get(2)?.as_u64()?, methods),
            scope,
            expires,
            issued,
            audit_ids: unpack_audit(parts.get(tail + 1)?)?,
            federated,
        })
    }
}

fn pack_origin(origin: &Origin) -> Pack {
    let who = origin.source_identity.as_deref().map_or(Pack::Nil, Pack::from);
    let label = |(name, value): (&String, &String)| (Pack::from(name.as_str()), Pack::from(value.as_str()));
    Pack::Array(vec![who, Pack::Map(origin.labels.iter().map(label).collect())])
}

fn unpack_origin(v: &Pack) -> Option<Origin> {
    let [who, labels] = v.as_array()?.as_slice() else { return None };
    let source_identity = if who.is_nil() { None } else { Some(unpack_text(who)?) };
    let label = |(name, value): &(Pack, Pack)| Some((unpack_text(name)?, unpack_text(value)?));
    Some(Origin { source_identity, labels: labels.as_map()?.iter().map(label).collect::<Option<_>>()? })
}

impl Federated {
    /// The parts of a payload; nothing for a scope that no version is for.
    fn parts(&self, scope: &PayloadScope, [user, bits, expires, audit]: [Pack; 4]) -> Option<Vec<Pack>> {
        let mut parts = match scope {
            PayloadScope::Unscoped => vec![Pack::from(4), user, bits],
            PayloadScope::Project(id) => vec![Pack::from(5), user, bits, pack_id(id)],
            PayloadScope::Domain(id) => vec![Pack::from(6), user, bits, pack_id(id)],
            _ => return None,
        };
        parts.push(Pack::Array(self.groups.iter().map(|id| pack_id(id)).collect()));
        parts.extend([pack_id(&self.provider), Pack::from(self.protocol.as_str()), expires, audit]);
        Some(parts)
    }

    /// Reads groups, provider and protocol.
    fn unpack(parts: &[Pack]) -> Option<Self> {
        Some(Self {
            groups: parts.first()?.as_array()?.iter().map(unpack_id).collect::<Option<_>>()?,
            provider: unpack_id(parts.get(1)?)?,
            protocol: unpack_text(parts.get(2)?)?,
        })
    }
}

/// Packs and encrypts, without the padding, which Keystone leaves out.
pub(super) fn encrypted(parts: Vec<Pack>, keys: &Keys, issued: Micros) -> Option<String> {
    let mut packed = Vec::with_capacity(160);
    rmpv::encode::write_value(&mut packed, &Pack::Array(parts)).ok()?;
    let at = u64::try_from(issued / SECOND).ok()?;
    let mut token = keys.encrypt(&packed, at)?;
    token.truncate(token.trim_end_matches('=').len());
    Some(token)
}

/// With the padding that was left out.
pub(super) fn padded(token: &str) -> String {
    format!("{token}{}", "=".repeat((4 - token.len() % 4) % 4))
}

#[expect(clippy::cast_precision_loss, reason = "Keystone stores times as floats of seconds")]
pub(super) fn pack_time(at: Micros) -> Pack {
    Pack::F64(at as f64 / SECOND as f64)
}

pub(super) fn unpack_time(v: &Pack) -> Option<Micros> {
    let seconds = match v {
        Pack::F64(f) => *f,
        other => other.as_f64()?,
    };
    if !seconds.is_finite() || !(0.0..=253_402_300_799.0).contains(&seconds) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
    let at = (seconds * SECOND as f64).round() as Micros;
    Some(at)
}

/// Fernet's timestamp: bytes 1 to 9.
pub(super) fn issued(token: &str) -> Option<Micros> {
    let head = URL_SAFE_NO_PAD.decode(token.get(..12)?).ok()?;
    let seconds = u64::from_be_bytes(head.get(1..9)?.try_into().ok()?);
    i64::try_from(seconds).ok()?.checked_mul(SECOND)
}

#[cfg(test)]
mod tests {
    use vicar_rules::token::{Kind, TokenTraits, kind};

    use super::*;
    use crate::crypto::keys::{KeyRing, setup};

    const AT: Micros = 1_772_600_767 * SECOND;

    fn keys() -> std::sync::Arc<Keys> {
        let dir = std::env::temp_dir().join(format!("vicar-fernet-{}", crate::ids::uuid()));
        setup(&dir).expect("made");
        let keys = KeyRing::new(dir.clone(), false).current().expect("keys");
        let _ = std::fs::remove_dir_all(dir);
        keys
    }

    fn uuid(digit: char) -> String {
        digit.to_string().repeat(32)
    }

    fn payload(scope: PayloadScope) -> Payload {
        let audit = |byte| URL_SAFE_NO_PAD.encode([byte; 16]);
        Payload {
            user: uuid('a'),
            methods: names(&["token", "password"]),
            scope,
            expires: AT + 3_600 * SECOND,
            issued: AT,
            audit_ids: vec![audit(1), audit(2)],
            federated: None,
        }
    }

    fn less() -> Narrower {
        let rule = AccessRule { service: "compute".into(), method: "GET".into(), path: "/v2.1/*".into() };
        Narrower {
            roles: Some([uuid('d'), "named".to_owned()].into()),
            access: Access::only(&[rule].into()),
            life: None,
            origin: Origin {
                source_identity: Some("alice".into()),
                labels: [("stack".to_owned(), "s1".to_owned())].into(),
            },
        }
    }

    #[test]
    fn where_a_user_came_from_survives_too() {
        let (keys, methods) = (keys(), names(&["password", "token"]));
        let from = |groups: &[&str]| Federated {
            provider: "idp".into(),
            protocol: "saml2".into(),
            groups: names(groups),
        };
        let of = |scope, federated| Payload { federated: Some(federated), ..payload(scope) };
        for scope in [
            PayloadScope::Unscoped,
            PayloadScope::Project(uuid('b')),
            PayloadScope::Project("named".into()),
            PayloadScope::Domain(uuid('c')),
            PayloadScope::Domain("default".into()),
        ] {
            for groups in [&[][..], &["g"], &[&*uuid('d'), "named"]] {
                let payload = of(scope.clone(), from(groups));
                let token = payload.encode(&keys, &methods).expect("encodes");
                assert_eq!(Payload::decode(&token, &keys, &methods), Some(payload));
            }
        }
        assert_eq!(of(PayloadScope::System("all".into()), from(&[])).encode(&keys, &methods), None);
        assert_eq!(of(PayloadScope::Trust(uuid('b'), uuid('c')), from(&[])).encode(&keys, &methods), None);
    }

    #[test]
    fn every_scope_survives_the_way_through_a_token() {
        let (keys, methods) = (keys(), names(&["password", "token"]));
        let (p, t, text) = (|| uuid('b'), || uuid('c'), || "default".to_owned());
        for scope in [
            PayloadScope::Unscoped,
            PayloadScope::Domain(text()),
            PayloadScope::Domain(p()),
            PayloadScope::Project(p()),
            PayloadScope::Project(text()),
            PayloadScope::Trust(p(), t()),
            PayloadScope::Narrowed(p(), t()),
            PayloadScope::Less(p(), t(), Box::default()),
            PayloadScope::Less(p(), t(), Box::new(less())),
            PayloadScope::Less(p(), t(), Box::new(Narrower { roles: None, ..less() })),
            PayloadScope::Less(p(), t(), Box::new(Narrower { origin: Origin::default(), ..less() })),
            PayloadScope::AccessToken(p(), t()),
            PayloadScope::AccessToken(text(), text()),
            PayloadScope::System("all".into()),
            PayloadScope::ApplicationCredential(p(), t()),
            PayloadScope::Certificate(p(), "LXEWQrcmsEQBYnyp-6wy9chTD7GQPMTbAiWHF5IaSIE=".into()),
        ] {
            let whole = payload(scope.clone());
            let rooted = Payload { audit_ids: vec![whole.audit_ids[0].clone()], ..payload(scope.clone()) };
            // Texts, which look like bytes or not.
            let users = ["Ann".to_owned(), "abcd".to_owned(), "A".repeat(32)];
            let named = users.map(|user| Payload { user, ..payload(scope.clone()) });
            for payload in [whole, rooted].into_iter().chain(named) {
                let token = payload.encode(&keys, &methods).expect("encodes");
                assert_eq!(Payload::decode(&token, &keys, &methods), Some(payload));
            }
        }
        assert_eq!(payload(PayloadScope::Trust(p(), text())).encode(&keys, &methods), None);
        assert_eq!(payload(PayloadScope::Narrowed(p(), text())).encode(&keys, &methods), None);
        assert_eq!(payload(PayloadScope::Less(p(), text(), Box::default())).encode(&keys, &methods), None);
    }

    /// Packed by Keystone 30.0.0's `OauthScopedPayload`.
    #[test]
    fn a_token_of_oauth1_is_packed_as_in_keystone() {
        let methods = names(&["external", "password", "token", "oauth1", "mapped", "application_credential"]);
        let tail =
            "cb41da69f2f3c0000092c41001010101010101010101010101010101c41002020202020202020202020202020202";
        let (a, b, c) = ("aa".repeat(16), "bb".repeat(16), "cc".repeat(16));
        let keys = keys();
        for (user, project, access_token, packed) in [
            (uuid('a'), uuid('b'), uuid('c'), format!("970792c3c410{a}0892c3c410{b}92c3c410{c}{tail}")),
            (
                "ann".into(),
                "default".into(),
                "other".into(),
                format!("970792c2a3616e6e0892c2a764656661756c7492c2a56f74686572{tail}"),
            ),
        ] {
            let scope = PayloadScope::AccessToken(project, access_token);
            let ours = Payload { user, methods: names(&["oauth1"]), ..payload(scope) };
            let token = ours.encode(&keys, &methods).expect("encodes");
            let padded = format!("{token}{}", "=".repeat((4 - token.len() % 4) % 4));
            assert_eq!(hex::encode(keys.decrypt(&padded).expect("decrypts")), packed);
            let plain = hex::decode(packed).expect("hex");
            let theirs = keys.encrypt(&plain, 1_772_600_767).expect("encrypts");
            assert_eq!(Payload::decode(&theirs, &keys, &methods), Some(ours));
        }
    }

    /// Packed by Keystone 30.0.0's `Oauth2CredentialsScopedPayload`.
    #[test]
    fn a_token_of_a_certificate_is_packed_as_in_keystone() {
        let methods = names(&["external", "password", "token", "oauth1", "mapped", "application_credential"]);
        let thumbprint = "LXEWQrcmsEQBYnyp-6wy9chTD7GQPMTbAiWHF5IaSIE=";
        let tail = format!(
            "92c2c0cb41da69f2f3c0000092c41001010101010101010101010101010101c4100202020202020202020202020202020292c2d92c{}",
            hex::encode(thumbprint)
        );
        let (a, b) = ("aa".repeat(16), "bb".repeat(16));
        let keys = keys();
        for (user, project, packed) in [
            (uuid('a'), uuid('b'), format!("980a92c3c410{a}0092c3c410{b}{tail}")),
            ("ann".into(), "default".into(), format!("980a92c2a3616e6e0092c2a764656661756c74{tail}")),
        ] {
            let scope = PayloadScope::Certificate(project, thumbprint.into());
            let ours = Payload { user, methods: names(&["oauth2_credential"]), ..payload(scope) };
            let token = ours.encode(&keys, &methods).expect("encodes");
            let padded = format!("{token}{}", "=".repeat((4 - token.len() % 4) % 4));
            assert_eq!(hex::encode(keys.decrypt(&padded).expect("decrypts")), packed);
            let plain = hex::decode(packed).expect("hex");
            let theirs = keys.encrypt(&plain, 1_772_600_767).expect("encrypts");
            let read = Payload { methods: Vec::new(), ..ours };
            assert_eq!(Payload::decode(&theirs, &keys, &methods), Some(read));
        }
        // No Keystone makes one of a domain, so nobody has said what it would be worth.
        let domain = format!("980a92c3c410{a}0092c3c410{b}92c2a3646f6d{}", &tail[6..]);
        let theirs = keys.encrypt(&hex::decode(domain).expect("hex"), 1_772_600_767).expect("encrypts");
        assert_eq!(Payload::decode(&theirs, &keys, &methods), None);
    }

    /// What Keystone's own packing, another version of it, or a damaged one may hold.
    #[test]
    fn a_payload_is_read_in_one_way_or_not_at_all() {
        let (keys, methods) = (keys(), names(&["password", "token"]));
        let decode = |parts: Vec<Pack>| {
            let mut packed = Vec::new();
            rmpv::encode::write_value(&mut packed, &Pack::Array(parts)).expect("packs");
            Payload::decode(&keys.encrypt(&packed, 5).expect("encrypts"), &keys, &methods)
        };
        let audit = || Pack::Array(vec![Pack::Binary(vec![1; 16])]);
        let with = |user: Pack, expires: Pack, audit: Pack| {
            decode(vec![Pack::from(0), user, Pack::from(1), expires, audit])
        };
        let user = || Pack::Array(vec![Pack::Boolean(false), Pack::from("ann")]);
        let seconds = |s: f64| with(user(), Pack::F64(s), audit()).map(|p| p.expires);

        assert_eq!(seconds(7.5), Some(7_500_000));
        assert_eq!(seconds(0.0), Some(0));
        assert_eq!(seconds(253_402_300_799.0), Some(253_402_300_799 * SECOND));
        for wrong in [-1.0, 253_402_300_800.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
        assert_eq!(
            with(user(), Pack::from(7), audit()).map(|p| (p.expires, p.issued)),
            Some((7 * SECOND, 5 * SECOND))
        );

        let id = |is_bytes, id: Pack| {
            let user = Pack::Array(vec![Pack::Boolean(is_bytes), id]);
            with(user, Pack::from(7), audit()).map(|p| p.user)
        };
        let bytes = |n: usize| Pack::Binary(vec![b'z'; n]);
        assert_eq!(id(true, bytes(16)), Some("7a".repeat(16)));
        assert_eq!(id(true, bytes(15)), None);
        assert_eq!(id(true, Pack::from("z")), None);
        assert_eq!(id(false, bytes(3)).as_deref(), Some("zzz"));
        assert_eq!(id(false, Pack::from(3)), None);

        let of = |n: usize| {
            with(user(), Pack::from(7), Pack::Array(vec![bytes(16); n])).map(|p| p.audit_ids.len())
        };
        assert_eq!([of(0), of(1), of(2), of(3)], [None, Some(1), Some(2), None]);

        let place = |version: u64, place: Pack, more: Pack| {
            decode(vec![Pack::from(version), user(), Pack::from(1), place, Pack::from(7), audit(), more])
                .map(|p| p.scope)
        };
        let (nil, p) = (|| Pack::Nil, || pack_id("p"));
        assert_eq!(place(1, bytes(16), nil()), Some(PayloadScope::Domain("7a".repeat(16))));
        assert_eq!(place(1, bytes(3), nil()), Some(PayloadScope::Domain("zzz".into())));
        assert_eq!(place(3, p(), bytes(16)), Some(PayloadScope::Trust("p".into(), "7a".repeat(16))));
        assert_eq!(place(3, p(), bytes(3)), Some(PayloadScope::Trust("p".into(), "zzz".into())));
        assert_eq!(place(NARROWED, p(), bytes(3)), Some(PayloadScope::Narrowed("p".into(), "zzz".into())));
        assert_eq!(place(4, p(), bytes(16)), None);
        assert_eq!(place(7, p(), bytes(16)), None);
    }

    #[test]
    fn what_is_longer_than_any_token_is_not_looked_at() {
        let (keys, methods) = (keys(), names(&["password", "token"]));
        let of = |n: usize| {
            let named = Payload { user: "u".repeat(n), ..payload(PayloadScope::Unscoped) };
            let token = named.encode(&keys, &methods).expect("encodes");
            (token.len() <= LONGEST, Payload::decode(&token, &keys, &methods).is_some())
        };
        assert_eq!(of(5900), (true, true));
        assert_eq!(of(6100), (false, false));
    }

    fn names(of: &[&str]) -> Vec<String> {
        of.iter().map(|m| (*m).to_owned()).collect()
    }

    #[test]
    fn methods_survive_the_way_through_a_token() {
        let configured = names(&["password", "token", "totp"]);
        for of in [&["password"][..], &["token", "password"], &["totp", "token"], &[]] {
            assert_eq!(from_bits(to_bits(&names(of), &configured), &configured), names(of));
        }
    }

    #[test]
    fn a_bit_that_stands_for_no_method_makes_a_token_unreviewed() {
        let configured = names(&["password", "token"]);
        let kind_of = |bits: u64| {
            let methods = from_bits(bits, &configured);
            let marks = TokenTraits {
                methods: &methods,
                trust: false,
                application_credential: false,
                access_token: false,
                certificate: false,
                additional_primary: &[],
            };
            (kind(marks), methods)
        };
        assert_eq!(kind_of(0b11), (Kind::Login, names(&["token", "password"])));
        assert_eq!(kind_of(1 | 128), (Kind::Unreviewed, names(&[UNKNOWN_METHOD, "password"])));
        assert_eq!(kind_of(1 << 63 | 1), (Kind::Unreviewed, names(&[UNKNOWN_METHOD, "password"])));
        assert_eq!(kind_of(u64::MAX).0, Kind::Unreviewed);
        assert_eq!(kind_of(u64::MAX).1.len(), 64);
        assert_eq!(kind_of(0), (Kind::Unreviewed, Vec::new()));
    }
}
