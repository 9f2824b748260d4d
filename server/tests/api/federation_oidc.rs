//! Tokens of a provider of OpenID Connect, which the server verifies itself. The provider is one of the test's, which can be away,
//! slow, or lie.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use vicar::clock::SECOND;

use crate::support::{Answer, Server, domain};

const PROVIDERS: &str = "/v3/OS-FEDERATION/identity_providers";
const AUTH: &str = "/v3/OS-FEDERATION/identity_providers/campus/protocols/openid/auth";

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key of a provider, by its name.
pub struct Key(&'static str, EcdsaKeyPair);

impl Key {
    pub fn new(name: &'static str) -> Self {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random);
        Self(name, pair.expect("reads"))
    }

    pub fn public(&self) -> Value {
        let point = self.1.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-256", "kid": self.0, "x": b64(&point[1..33]), "y": b64(&point[33..])})
    }

    pub fn sign(&self, claims: &Value) -> String {
        let head = json!({"alg": "ES256", "kid": self.0, "typ": "at+jwt"});
        let signed = format!("{}.{}", b64(head.to_string()), b64(claims.to_string()));
        let made = self.1.sign(&SystemRandom::new(), signed.as_bytes()).expect("signs");
        format!("{signed}.{}", b64(made))
    }
}

/// How a provider is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    Away,
    Silent,
    Endless,
    NoJson,
}

/// A provider that says what the test wants.
pub struct Provider {
    pub url: String,
    says: Arc<Mutex<(State, String, Value)>>,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    pub fn new(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let says = Arc::new(Mutex::new((State::Up, url.clone(), Value::Null)));
        let asked = Arc::new(AtomicUsize::new(0));
        let (told, counter, own) = (Arc::clone(&says), Arc::clone(&asked), url.clone());
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (told, own) = (Arc::clone(&told), own.clone());
                counter.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || answer(stream, &told, &own));
            }
        });
        let provider = Self { url, says, asked };
        provider.has(keys);
        provider
    }

    pub fn has(&self, keys: &[&Key]) {
        let all: Vec<Value> = keys.iter().map(|key| key.public()).collect();
        self.says.lock().expect("a lock").2 = json!({"keys": all});
    }

    fn is(&self, state: State) {
        self.says.lock().expect("a lock").0 = state;
    }

    fn calls_itself(&self, issuer: &str) {
        issuer.clone_into(&mut self.says.lock().expect("a lock").1);
    }

    pub fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }
}

fn answer(mut stream: TcpStream, says: &Mutex<(State, String, Value)>, own: &str) {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => request.push(byte[0]),
            _ => return,
        }
    }
    let (state, issuer, keys) = says.lock().expect("a lock").clone();
    let is_metadata = request.starts_with(b"GET /.well-known/openid-configuration ");
    let body = match state {
        State::NoJson => "<html>".to_owned(),
        _ if is_metadata => json!({"issuer": issuer, "jwks_uri": format!("{own}/keys")}).to_string(),
        _ => keys.to_string(),
    };
    let status = if state == State::Away { "500 Internal Server Error" } else { "200 OK" };
    match state {
        // Until the other side gives up.
        State::Silent => drop(stream.read(&mut byte)),
        State::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b' '; 4096]).is_ok() {}
        }
        State::Up | State::Away | State::NoJson => {
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes());
        }
    }
}

/// The provider `campus`, whose users live in the domain `D` and come by `openid`.
pub fn campus(s: &Server, issuer: &str, rules: Value) {
    domain(s, "D");
    let admin = s.admin();
    let put = |path: &str, body: Value| {
        let token = ("X-Auth-Token", admin.as_str());
        s.call("PUT", path, &[token], Some(body.to_string().as_bytes())).expect(201);
    };
    let remote = json!({"enabled": true, "domain_id": "D", "remote_ids": [issuer]});
    put(&format!("{PROVIDERS}/campus"), json!({"identity_provider": remote}));
    put("/v3/OS-FEDERATION/mappings/m", json!({"mapping": {"rules": rules}}));
    let protocol = json!({"mapping_id": "m", "remote_id_attribute": "HTTP_OIDC_ISS"});
    put(&format!("{PROVIDERS}/campus/protocols/openid"), json!({"protocol": protocol}));
}

/// A server, the provider `campus`, and its key.
pub struct Cloud {
    pub s: Server,
    pub p: Provider,
    pub key: Key,
}

impl Cloud {
    pub fn new() -> Self {
        Self::with("")
    }

    /// With what else is configured.
    pub fn with(ini: &str) -> Self {
        let key = Key::new("one");
        let p = Provider::new(&[&key]);
        let s = Server::with(&format!(
            "[auth]\nmethods = password,token,openid,application_credential\n[oidc]\ntimeout = 1\n[oidc.campus]\nissuer = {}\naudience = cloud\n{ini}",
            p.url
        ));
        let rules = json!([{
            "local": [{"user": {"name": "{0}"}}, {"groups": "{1}", "domain": {"id": "D"}}],
            "remote": [{"type": "HTTP_OIDC_SUB"}, {"type": "OIDC-groups"}],
        }]);
        campus(&s, &p.url, rules);
        Self { s, p, key }
    }

    fn now(&self) -> i64 {
        self.s.clock.now() / SECOND
    }

    pub fn claims(&self, more: Value) -> Value {
        let mut all = json!({
            "iss": self.p.url, "aud": "cloud", "sub": "ann", "groups": ["staff"],
            "iat": self.now(), "exp": self.now() + 300,
        });
        all.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        all
    }

    pub fn token(&self, more: Value) -> String {
        self.key.sign(&self.claims(more))
    }

    pub fn bear(&self, token: &str) -> Answer {
        self.s.call("POST", AUTH, &[("Authorization", &format!("Bearer {token}"))], None)
    }

    fn comes(&self) -> u16 {
        self.bear(&self.token(json!({}))).status
    }
}

#[test]
fn a_token_of_the_provider_logs_its_user_in() {
    let c = Cloud::new();
    let group = c.s.group("staff", "D", &[]);
    let answer = c.bear(&c.token(json!({}))).expect(201);
    let user = &answer.body["token"]["user"];
    assert_eq!((&user["name"], &user["OS-FEDERATION"]["groups"]), (&json!("ann"), &json!([{"id": group}])));
    assert_eq!(answer.body["token"]["methods"], json!(["openid"]));
    c.s.validate(&answer.token()).expect(200);
    // The provider is asked once: for its metadata, and for its keys.
    assert_eq!(c.comes(), 201);
    assert_eq!(c.p.asked(), 2);
    let answer = c.bear("x.y.z").expect(401);
    assert_eq!(answer.logged.request["reason"], "not-the-providers");
    assert!(!answer.logged.request.to_string().contains("x.y.z"));
    // Without a token nobody is believed, and another way in has no such provider.
    c.s.call("POST", AUTH, &[], None).expect(401);
    c.s.call("POST", AUTH, &[("Authorization", "Basic YTpi")], None).expect(401);
    c.s.call("POST", &AUTH.replace("campus", "nope"), &[("Authorization", "Bearer x.y.z")], None).expect(404);
    assert_eq!(c.p.asked(), 0);
}

#[test]
fn what_is_not_a_good_token_of_the_provider_for_this_service_is_401() {
    let c = Cloud::new();
    assert_eq!(c.comes(), 201);
    let now = c.now();
    for wrong in [
        json!({"aud": "another"}),
        json!({"iss": "https://elsewhere"}),
        json!({"exp": now - 60}),
        json!({"nbf": now + 61}),
        json!({"sub": null}),
        json!({"cnf": {"jkt": "x"}}),
    ] {
        c.bear(&c.token(wrong.clone())).expect(401);
    }
    c.bear(&c.token(json!({"exp": now - 59}))).expect(201);
    let good = c.token(json!({}));
    let (_, rest) = good.split_once('.').expect("parts");
    for head in [json!({"alg": "none"}), json!({"alg": "HS256", "kid": "one"})] {
        c.bear(&format!("{}.{rest}", b64(head.to_string()))).expect(401);
    }
    let (signed, _) = good.rsplit_once('.').expect("parts");
    c.bear(&format!("{signed}.")).expect(401);
    c.bear(&format!("{signed}.{}", b64([1; 64]))).expect(401);
    // Another key of the same name.
    c.bear(&Key::new("one").sign(&c.claims(json!({})))).expect(401);
    c.bear(&c.token(json!({"more": "x".repeat(9_000)}))).expect(201);
    let huge = c.bear(&c.token(json!({"more": "x".repeat(13_000)})));
    assert!([401, 431].contains(&huge.status), "{}", huge.status);
}

#[test]
fn keys_are_rotated_and_those_that_went_are_none() {
    let c = Cloud::new();
    assert_eq!(c.comes(), 201);
    c.p.asked();
    let new = Key::new("two");
    let by_new = || c.bear(&new.sign(&c.claims(json!({})))).status;
    c.p.has(&[&c.key, &new]);
    // Whoever makes names of keys up does not have the provider asked each time.
    assert_eq!((by_new(), c.p.asked()), (401, 0));
    c.s.clock.advance(10 * SECOND);
    assert_eq!((by_new(), c.p.asked()), (201, 2));
    assert_eq!((c.comes(), c.p.asked()), (201, 0));
    // What is taken from the set is gone when the provider is asked again: after half of the time, on its own.
    c.p.has(&[&new]);
    c.s.clock.advance(1799 * SECOND);
    assert_eq!((c.comes(), c.p.asked()), (201, 0));
    c.s.clock.advance(SECOND);
    assert_eq!((c.comes(), c.p.asked()), (401, 2));
    assert_eq!(by_new(), 201);
    // All keys of others.
    c.p.has(&[]);
    c.s.clock.advance(1800 * SECOND);
    assert_eq!(by_new(), 401);
}

#[test]
fn a_provider_that_is_away_or_lies_is_a_503_and_nothing_old_is_honoured_beyond_its_time() {
    for state in [State::Away, State::Silent, State::Endless, State::NoJson] {
        let c = Cloud::new();
        c.p.is(state);
        let answer = c.bear(&c.token(json!({}))).expect(503);
        let seconds: u32 = answer.header("retry-after").expect("when").parse().expect("seconds");
        assert!((1..=10).contains(&seconds), "{seconds}");
        // Not asked again before the pause is over.
        c.p.asked();
        assert_eq!((c.comes(), c.p.asked()), (503, 0));
        c.p.is(State::Up);
        assert_eq!(c.comes(), 503);
        c.s.clock.advance(10 * SECOND);
        assert_eq!(c.comes(), 201);
        c.p.is(state);
        // From half of the time on it is asked, and what it said before goes on to count until the end.
        c.s.clock.advance(1800 * SECOND);
        assert_eq!(c.comes(), 201);
        // A key that is not known cannot be judged.
        c.bear(&Key::new("two").sign(&c.claims(json!({})))).expect(503);
        c.s.clock.advance(1799 * SECOND);
        assert_eq!(c.comes(), 201);
        c.s.clock.advance(SECOND);
        assert_eq!(c.comes(), 503);
    }
    // Who calls itself another is not who it was, whatever its keys.
    let c = Cloud::new();
    assert_eq!(c.comes(), 201);
    c.p.calls_itself("https://elsewhere");
    c.s.clock.advance(3600 * SECOND);
    assert_eq!(c.comes(), 503);
    c.bear(&c.token(json!({"iss": "https://elsewhere"}))).expect(503);
}
