//! OAuth1: consumers, what users authorize, logins with it. The statuses were compared with a Keystone 30.0.0's.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vicar::args;
use vicar::auth::fernet::{Federated, PayloadScope};
use vicar::clock::SECOND;
use vicar_rules::signature::{OAuthRequest, Params};

use crate::stored::write_blob;
use crate::support::{Answer, Cast, Server, count, id, ids, names};

const REQUEST: &str = "/v3/OS-OAUTH1/request_token";
const ACCESS: &str = "/v3/OS-OAUTH1/access_token";
const TOKENS: &str = "/v3/auth/tokens";

/// An id and its secret.
#[derive(Debug, Clone)]
struct Key {
    id: String,
    secret: String,
}

impl Key {
    fn of_form(answer: &Answer) -> Self {
        assert_eq!(answer.header("content-type"), Some("application/x-www-form-urlencoded"));
        let form: BTreeMap<String, String> =
            form_urlencoded::parse(answer.text.as_bytes()).into_owned().collect();
        Self { id: form["oauth_token"].clone(), secret: form["oauth_token_secret"].clone() }
    }
}

/// What a consumer signs.
#[derive(Debug, Clone)]
struct Signs<'a> {
    url: String,
    consumer: &'a Key,
    token: Option<&'a Key>,
    /// Instead of, or besides, what clients send.
    params: BTreeMap<&'static str, String>,
    query: Params,
}

impl<'a> Signs<'a> {
    fn to(s: &Server, path: &str, consumer: &'a Key, token: Option<&'a Key>) -> Self {
        let mut params = BTreeMap::new();
        params.insert("oauth_consumer_key", consumer.id.clone());
        params.insert("oauth_signature_method", "HMAC-SHA1".to_owned());
        params.insert("oauth_timestamp", (s.clock.now() / SECOND).to_string());
        params.insert("oauth_nonce", vicar::ids::uuid());
        params.insert("oauth_version", "1.0".to_owned());
        if let Some(token) = token {
            params.insert("oauth_token", token.id.clone());
        }
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Self { url: format!("{}{path}", s.url), consumer, token, params, query }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.params.insert(name, value.to_owned());
        self
    }

    fn without(mut self, name: &'static str) -> Self {
        self.params.remove(name);
        self
    }

    /// The header; of what cannot be signed, with a signature that fits nothing.
    fn header(&self) -> String {
        let written = |signature: &str| {
            let with = self.params.iter().map(|(name, value)| (*name, value.as_str()));
            let all: Vec<String> = with
                .chain([("oauth_signature", signature)])
                .map(|(name, value)| {
                    let value: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
                    format!("{name}=\"{}\"", value.replace('+', "%20"))
                })
                .collect();
            format!("OAuth {}", all.join(", "))
        };
        let read =
            OAuthRequest::read("POST", vec![self.url.clone()], &written("x"), vec![self.query.clone()]);
        let secret = self.token.map(|t| t.secret.as_str());
        let signature = read.ok().and_then(|read| read.signature(&self.consumer.secret, secret).ok());
        written(signature.as_deref().unwrap_or("x"))
    }
}

/// The story's people, an administrator who authorizes, and a consumer.
struct Scene {
    c: Cast,
    admin: String,
    consumer: Key,
}

impl Scene {
    fn new() -> Self {
        Self::with("")
    }

    fn with(ini: &str) -> Self {
        let c = Cast::with(ini);
        c.s.grant(&c.alice, &c.p, "admin");
        let admin = c.s.admin();
        let consumer = consumer(&c.s, &admin);
        Self { c, admin, consumer }
    }

    fn alice(&self) -> String {
        self.c.s.on("alice", &self.c.p)
    }

    fn request(&self, signs: &Signs<'_>, path: &str) -> Answer {
        let headers = [("Authorization", &*signs.header()), ("Requested-Project-Id", &*self.c.p)];
        self.c.s.call("POST", path, &headers, None)
    }

    fn asks(&self) -> Signs<'_> {
        Signs::to(&self.c.s, REQUEST, &self.consumer, None).with("oauth_callback", "oob")
    }

    fn request_token(&self) -> Key {
        Key::of_form(&self.request(&self.asks(), REQUEST).expect(201))
    }

    fn authorize(&self, token: &str, asked: &Key, roles: Value) -> Answer {
        let path = format!("/v3/OS-OAUTH1/authorize/{}", asked.id);
        let body = json!({"roles": roles}).to_string();
        self.c.s.call("PUT", &path, &[("X-Auth-Token", token)], Some(body.as_bytes()))
    }

    fn exchange(&self, asked: &Key, verifier: &str) -> Answer {
        let signs = Signs::to(&self.c.s, ACCESS, &self.consumer, Some(asked));
        self.request(&signs.with("oauth_verifier", verifier), ACCESS)
    }

    /// An access token of alice's for some roles on P.
    fn access(&self, roles: &[&str]) -> Key {
        let asked = self.request_token();
        let roles: Vec<Value> = roles.iter().map(|name| json!({"name": name})).collect();
        let authorized = self.authorize(&self.alice(), &asked, roles.into()).expect(200);
        let verifier = authorized.body["token"]["oauth_verifier"].as_str().expect("a verifier");
        Key::of_form(&self.exchange(&asked, verifier).expect(201))
    }

    fn signs<'a>(&'a self, access: &'a Key) -> Signs<'a> {
        Signs::to(&self.c.s, TOKENS, &self.consumer, Some(access))
    }

    fn login(&self, access: &Key) -> Answer {
        login(&self.c.s, &self.signs(access), json!({}))
    }

    fn path(&self, access: &Key) -> String {
        format!("/v3/users/{}/OS-OAUTH1/access_tokens/{}", self.c.alice, access.id)
    }
}

fn consumer(s: &Server, admin: &str) -> Key {
    let made = s.post(admin, "/v3/OS-OAUTH1/consumers", json!({"consumer": {}})).expect(201);
    let secret = made.body["consumer"]["secret"].as_str().expect("a secret").to_owned();
    Key { id: id(&made, "consumer"), secret }
}

/// A login that a consumer signed, with more in `auth`.
fn login(s: &Server, signs: &Signs<'_>, more: Value) -> Answer {
    let mut auth = json!({"identity": {"methods": ["oauth1"], "oauth1": {}}});
    for (name, value) in more.as_object().expect("an object") {
        auth[name] = value.clone();
    }
    let body = json!({"auth": auth}).to_string();
    s.call("POST", TOKENS, &[("Authorization", &signs.header())], Some(body.as_bytes()))
}

fn roles(login: &Answer) -> Vec<String> {
    names(&login.body["token"], "roles")
}

/// What a token carries by the groups that an identity provider told of, its user does not hold.
#[test]
fn nobody_authorizes_what_a_tokens_groups_hold() {
    let scene = Scene::new();
    let (s, c) = (&scene.c.s, &scene.c);
    let put = |path: &str, body: Value| {
        let (path, body) = (format!("/v3/OS-FEDERATION/{path}"), body.to_string());
        let headers = [("X-Auth-Token", &*scene.admin)];
        s.call("PUT", &path, &headers, Some(body.as_bytes())).expect(201);
    };
    put("identity_providers/idp", json!({"identity_provider": {"domain_id": "default", "enabled": true}}));
    let rules = json!([{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "UserName"}]}]);
    put("mappings/m", json!({"mapping": {"rules": rules}}));
    put("identity_providers/idp/protocols/saml2", json!({"protocol": {"mapping_id": "m"}}));
    let link = json!([{"idp_id": "idp", "protocols": [{"protocol_id": "saml2", "unique_id": "a"}]}]);
    s.patch(&scene.admin, &format!("/v3/users/{}", c.alice), json!({"user": {"federated": link}}))
        .expect(200);
    let group = s.group("g", "default", &[]);
    s.assign("GroupProject", &group, &c.p, "service", false);
    s.clock.advance(SECOND);
    let from = Federated { provider: "idp".into(), protocol: "saml2".into(), groups: vec![group] };
    let token = c.token_from(&c.alice, &["mapped"], PayloadScope::Project(c.p.clone()), Some(from));
    let carried = names(&s.validate(&token).expect(200).body["token"], "roles");
    assert!(carried.contains(&"service".to_owned()), "{carried:?}");
    let asked = scene.request_token();
    scene.authorize(&token, &asked, json!([{"name": "service"}])).expect(401);
    scene.authorize(&token, &asked, json!([{"name": "member"}])).expect(200);
}

#[test]
fn a_consumers_secret_is_shown_once() {
    let s = Server::start();
    let admin = s.admin();
    let all = "/v3/OS-OAUTH1/consumers";
    let body = json!({"consumer": {"description": "d", "a-b": 1, "secret": "mine", "id": "x"}});
    let made = s.post(&admin, all, body).expect(201);
    let consumer = id(&made, "consumer");
    let one = format!("{all}/{consumer}");
    let secret = made.body["consumer"]["secret"].as_str().expect("a secret").to_owned();
    let shown = |description: Value| json!({"id": consumer, "description": description, "a_b": 1, "links": {"self": format!("{}{one}", s.url)}});
    let mut with_secret = shown(json!("d"));
    with_secret["secret"] = secret.as_str().into();
    assert_eq!(made.body["consumer"], with_secret);
    assert!(secret.len() == 32 && secret != "mine" && consumer.len() == 32);

    assert_eq!(s.get(&admin, &one).expect(200).body["consumer"], shown(json!("d")));
    assert_eq!(s.get(&admin, all).expect(200).body["consumers"], json!([shown(json!("d"))]));
    s.head(&admin, &one).expect(200);
    let change = |body: Value| s.patch(&admin, &one, json!({"consumer": body}));
    assert_eq!(change(json!({"description": "e"})).expect(200).body["consumer"], shown(json!("e")));
    assert_eq!(change(json!({"description": null})).expect(200).body["consumer"], shown(json!(null)));
    for wrong in [json!({}), json!({"secret": "s"}), json!({"description": 7}), json!({"id": "y"})] {
        change(wrong).expect(400);
    }
    for wrong in [json!({"description": 7}), json!({"description": "x".repeat(65)})] {
        s.post(&admin, all, json!({"consumer": wrong})).expect(400);
    }
    assert_eq!(s.sql_text("SELECT secret FROM consumer", &[]), Some(secret));
    s.delete(&admin, &one).expect(204);
    for gone in [s.get(&admin, &one), s.delete(&admin, &one), change(json!({"description": "f"}))] {
        gone.expect(404);
    }
}

#[test]
fn a_consumer_gets_a_request_token_by_its_signature() {
    let scene = Scene::new();
    let s = &scene.c.s;
    let answer = scene.request(&scene.asks(), REQUEST).expect(201);
    assert!(answer.text.ends_with("&oauth_expires_at=2027-01-15T16:00:00.000000Z"), "{}", answer.text);
    for method in ["HMAC-SHA256", "HMAC-SHA512", "PLAINTEXT"] {
        scene.request(&scene.asks().with("oauth_signature_method", method), REQUEST).expect(201);
    }
    scene.request(&scene.asks().without("oauth_version"), REQUEST).expect(201);
    // A query is signed, as it is sent.
    let path = format!("{REQUEST}?b=%20c&a=1&a=0");
    let asks = Signs::to(s, &path, &scene.consumer, None).with("oauth_callback", "oob");
    scene.request(&asks, &path).expect(201);
    scene.request(&asks, REQUEST).expect(401);

    let asks = || scene.asks();
    for (wrong, status) in [
        (asks().without("oauth_callback"), 400),
        (asks().without("oauth_nonce"), 400),
        (asks().without("oauth_timestamp"), 400),
        (asks().without("oauth_signature_method"), 400),
        (asks().without("oauth_consumer_key"), 400),
        (asks().with("realm", "x"), 400),
        (asks().with("oauth_version", "2.0"), 400),
        (asks().with("oauth_signature_method", "RSA-SHA1"), 400),
        (asks().with("oauth_nonce", "xyz"), 400),
        (asks().with("oauth_timestamp", "12"), 400),
        (asks().with("oauth_consumer_key", &"0".repeat(32)), 404),
        (asks().with("oauth_consumer_key", "%"), 404),
    ] {
        let answer = scene.request(&wrong, REQUEST);
        assert_eq!(answer.status, status, "{wrong:?}: {}", answer.text);
    }
    let other = Key { secret: "other".into(), ..scene.consumer.clone() };
    let unsigned = Signs { consumer: &other, ..asks() };
    scene.request(&unsigned, REQUEST).expect(401);
    for (at, status) in [(-601, 400), (-600, 201), (600, 201), (601, 400)] {
        let at = (s.clock.now() / SECOND + at).to_string();
        scene.request(&asks().with("oauth_timestamp", &at), REQUEST).expect(status);
    }
    let header = asks().header();
    let with = |headers: &[(&str, &str)]| s.call("POST", REQUEST, headers, None).status;
    let project = ("Requested-Project-Id", &*scene.c.p);
    assert_eq!(with(&[project]), 401);
    assert_eq!(with(&[project, ("Authorization", "Basic YTpi")]), 400);
    assert_eq!(with(&[project, ("Authorization", "OAuth nonsense")]), 400);
    assert_eq!(with(&[("Authorization", &header)]), 400);
    assert_eq!(with(&[("Requested-Project-Id", "unknown"), ("Authorization", &header)]), 404);
    // A token that comes along is not looked at, and the same is not signed twice.
    assert_eq!(with(&[project, ("Authorization", &header), ("X-Auth-Token", "gAAAA")]), 201);
    assert_eq!(with(&[project, ("Authorization", &header)]), 401);
    for path in [REQUEST, ACCESS] {
        s.get("", path).expect(405);
    }
}

#[test]
fn a_user_authorizes_what_they_hold() {
    let scene = Scene::new();
    let (s, c) = (&scene.c.s, &scene.c);
    let alice = scene.alice();
    let asked = scene.request_token();
    let authorize = |roles: Value| scene.authorize(&alice, &asked, roles).status;
    let member = s.role("member");
    for wrong in [
        json!([]),
        json!("member"),
        json!([{"x": 1}]),
        json!([{"id": member, "name": "member"}]),
        json!(["member"]),
    ] {
        assert_eq!(authorize(wrong.clone()), 400, "{wrong}");
    }
    s.put(&alice, &format!("/v3/OS-OAUTH1/authorize/{}", asked.id)).expect(400);
    assert_eq!(authorize(json!([{"name": "nosuch"}])), 404);
    // 401, as in Keystone.
    for not_held in [json!({"name": "service"}), json!({"id": "0123"})] {
        assert_eq!(authorize(json!([{"name": "member"}, not_held])), 401);
    }
    let unknown = Key { id: "unknown".into(), secret: String::new() };
    scene.authorize(&alice, &unknown, json!([{"name": "member"}])).expect(404);
    let made = scene.authorize(&alice, &asked, json!([{"id": member}])).expect(200);
    assert_eq!(made.body["token"]["oauth_verifier"].as_str().map(str::len), Some(8));
    let other = scene.authorize(&alice, &asked, json!([{"name": "reader"}])).expect(200);
    assert_ne!(made.body, other.body);

    // Nobody but a project's administrator, who holds the role there, and by a login.
    s.grant(&c.bob, &c.p, "member");
    s.assign("UserSystem", &c.bob, "system", "admin", false);
    let bob = s.on("bob", &c.p);
    let system = s.login("bob", "bob-pw", json!({"system": {"all": true}})).expect(201).token();
    for token in [bob, system] {
        scene.authorize(&token, &asked, json!([{"name": "member"}])).expect(403);
    }
    s.grant(&c.bob, &c.q, "admin");
    scene.authorize(&s.on("bob", &c.q), &asked, json!([{"name": "admin"}])).expect(401);
    scene.authorize(&s.on("bob", &c.q), &asked, json!([{"name": "member"}])).expect(200);
    let trust = c.trust(json!({"roles": [{"name": "admin"}]}));
    let trust = s.consume("bob", &trust).expect(201).token();
    let access = scene.access(&["admin"]);
    let project = || PayloadScope::Project(c.p.clone());
    for token in [
        trust,
        scene.login(&access).expect(201).token(),
        c.foreign_token(&c.alice, &["application_credential"], project()),
        c.foreign_token(&c.alice, &["ec2credential"], project()),
        c.foreign_token(&c.alice, &[], project()),
    ] {
        scene.authorize(&token, &asked, json!([{"name": "member"}])).expect(403);
    }
    s.clock.advance(28_800 * SECOND);
    scene.authorize(&scene.alice(), &asked, json!([{"name": "member"}])).expect(401);
}

#[test]
fn a_consumer_exchanges_what_was_authorized_once() {
    let scene = Scene::new();
    let s = &scene.c.s;
    let asked = scene.request_token();
    let signs = |key: &'static str, value: &str| {
        let signs = Signs::to(s, ACCESS, &scene.consumer, Some(&asked)).with("oauth_verifier", "abcdefgh");
        scene.request(&signs.with(key, value), ACCESS).status
    };
    assert_eq!(signs("oauth_verifier", "abcdefgh"), 401, "nobody has authorized it");
    let authorized = scene.authorize(&scene.alice(), &asked, json!([{"name": "member"}])).expect(200);
    let verifier = authorized.body["token"]["oauth_verifier"].as_str().expect("a verifier").to_owned();
    assert_eq!(signs("oauth_verifier", "abcdefgh"), 401);
    assert_eq!(signs("oauth_verifier", "il"), 400);
    assert_eq!(signs("oauth_verifier", ""), 400);
    assert_eq!(signs("oauth_token", ""), 400);
    assert_eq!(signs("oauth_token", "zz"), 404);
    assert_eq!(signs("oauth_token", &"0".repeat(32)), 404);
    assert_eq!(signs("oauth_consumer_key", &"0".repeat(32)), 401);
    assert_eq!(signs("oauth_consumer_key", ""), 400);
    s.call("POST", ACCESS, &[], None).expect(401);
    let other = consumer(s, &scene.admin);
    for (consumer, token) in [
        (&other, &asked),
        (&Key { secret: "x".into(), ..scene.consumer.clone() }, &asked),
        (&scene.consumer, &Key { secret: "x".into(), ..asked.clone() }),
    ] {
        let signs = Signs::to(s, ACCESS, consumer, Some(token)).with("oauth_verifier", &verifier);
        scene.request(&signs, ACCESS).expect(401);
    }
    let made = scene.exchange(&asked, &verifier).expect(201);
    assert!(made.text.ends_with("&oauth_expires_at=2027-01-16T08:00:00.000000Z"), "{}", made.text);
    assert_eq!(made.logged.event.as_ref().map(|e| e["event"].clone()), Some(json!("access-token.create")));
    scene.exchange(&asked, &verifier).expect(404);
    assert_eq!(count(s, "SELECT id FROM request_token", &[]), 0);
}

#[test]
fn an_access_token_logs_in_on_its_project_with_its_roles() {
    let scene = Scene::new();
    let (s, c) = (&scene.c.s, &scene.c);
    let access = scene.access(&["member"]);
    let answer = scene.login(&access).expect(201);
    let token = &answer.body["token"];
    assert_eq!(token["methods"], json!(["oauth1"]));
    assert_eq!(token["user"]["id"], c.alice.as_str());
    assert_eq!(token["project"]["id"], c.p.as_str());
    assert_eq!(token["is_domain"], false);
    assert_eq!(token["OS-OAUTH1"], json!({"access_token_id": access.id, "consumer_id": scene.consumer.id}));
    assert_eq!(roles(&answer), ["member", "reader"]);
    assert!(token["catalog"].is_array());
    let chain = format!("{}>{}({})", c.alice, scene.consumer.id, access.id);
    assert_eq!(answer.logged.request["chain"], chain.as_str());
    let shown = s.validate(&answer.token()).expect(200);
    assert_eq!(shown.body["token"], *token);

    // Whatever scope is asked for.
    for scope in [json!("unscoped"), json!({"system": {"all": true}}), json!({"project": {"id": c.q}})] {
        let other = login(s, &scene.signs(&access), json!({"scope": scope})).expect(201);
        assert_eq!(other.body["token"]["project"]["id"], c.p.as_str());
        assert_eq!(roles(&other), ["member", "reader"]);
    }
    login(s, &scene.signs(&access), json!({"scope": {"x": 1}})).expect(400);
    // keystoneauth signs the URL without the query that it adds.
    let body = json!({"auth": {"identity": {"methods": ["oauth1"], "oauth1": {}}}}).to_string();
    let path = format!("{TOKENS}?nocatalog");
    for signs in [scene.signs(&access), Signs::to(s, &path, &scene.consumer, Some(&access))] {
        s.call("POST", &path, &[("Authorization", &signs.header())], Some(body.as_bytes())).expect(201);
    }
    // With another method, of the same user.
    let both = |user: &str, password: &str| {
        let identity = json!({"methods": ["password", "oauth1"], "oauth1": {},
            "password": {"user": {"id": user, "password": password}}});
        login(s, &scene.signs(&access), json!({"identity": identity}))
    };
    let with_password = both(&c.alice, "alice-pw").expect(201);
    assert_eq!(with_password.body["token"]["methods"], json!(["oauth1", "password"]));
    s.get(&with_password.token(), "/v3/OS-TRUST/trusts").expect(403);
    both(&c.bob, "bob-pw").expect(401);
    both(&c.alice, "wrong").expect(401);
    let identity = json!({"methods": ["token", "oauth1"], "oauth1": {}, "token": {"id": scene.alice()}});
    let with_token = login(s, &scene.signs(&access), json!({"identity": identity})).expect(201);
    assert!(with_token.body["token"]["OS-OAUTH1"].is_object());
    let identity = json!({"methods": ["token", "oauth1"], "oauth1": {}, "token": {"id": answer.token()}});
    login(s, &scene.signs(&access), json!({"identity": identity})).expect(403);
    // Not with another delegation, though it is the same user's on the same project.
    let path = format!("/v3/users/{}/application_credentials", c.alice);
    let made = s.post(&scene.alice(), &path, json!({"application_credential": {"name": "a"}})).expect(201);
    let made = made.body["application_credential"].clone();
    let proof = json!({"id": made["id"], "secret": made["secret"]});
    for methods in [["oauth1", "application_credential"], ["application_credential", "oauth1"]] {
        let identity = json!({"methods": methods, "oauth1": {}, "application_credential": proof});
        login(s, &scene.signs(&access), json!({"identity": identity})).expect(401);
    }
    s.auth(json!({"identity": {"methods": ["application_credential"], "application_credential": proof}}))
        .expect(201);
    // It ends with the access token.
    s.clock.advance((86_400 - 60) * SECOND);
    let last = scene.login(&access).expect(201);
    assert_eq!(last.body["token"]["expires_at"], "2027-01-16T08:00:00.000000Z");
    s.clock.advance(60 * SECOND);
    scene.login(&access).expect(401);
    s.validate(&last.token()).expect(404);
}

#[test]
fn a_login_that_nobody_signed_is_401() {
    let scene = Scene::new();
    let s = &scene.c.s;
    let access = scene.access(&["member"]);
    let other = consumer(s, &scene.admin);
    let signs = || scene.signs(&access);
    for (wrong, status) in [
        (signs().without("oauth_token"), 400),
        (signs().with("oauth_token", &"0".repeat(32)), 401),
        (signs().without("oauth_consumer_key"), 401),
        (signs().without("oauth_nonce"), 401),
        (signs().with("oauth_version", "2.0"), 401),
        (signs().with("oauth_timestamp", "1234567890"), 401),
        (signs().with("oauth_signature_method", "RSA-SHA1"), 401),
        // A Keystone takes those of any consumer.
        (Signs::to(s, TOKENS, &other, Some(&access)), 401),
        (Signs { url: format!("{}/v3/other", s.url), ..signs() }, 401),
        (Signs { token: None, ..signs() }, 401),
        (Signs { consumer: &other, ..signs() }, 401),
        (signs().with("realm", "any"), 201),
        (signs(), 201),
    ] {
        let answer = login(s, &wrong, json!({}));
        assert_eq!(answer.status, status, "{wrong:?}: {}", answer.text);
    }
    let once = signs();
    login(s, &once, json!({})).expect(201);
    let again = login(s, &once, json!({})).expect(401);
    assert_eq!(again.logged.request["reason"], "signature-used");
    // Nor where the nonce is another's.
    login(s, &signs().with("oauth_nonce", &once.params["oauth_nonce"]), json!({})).expect(401);
    s.clock.advance(SECOND);
    login(s, &signs().with("oauth_nonce", &once.params["oauth_nonce"]), json!({})).expect(201);
    s.auth(json!({"identity": {"methods": ["oauth1"], "oauth1": {}}})).expect(401);
    s.auth(json!({"identity": {"methods": ["oauth1"]}})).expect(400);
    let without = Scene::with("[auth]\nmethods = password,token\n");
    let access = without.access(&["member"]);
    login(&without.c.s, &without.signs(&access), json!({})).expect(401);
}

#[test]
fn the_public_url_is_signed_or_the_one_that_was_asked() {
    let scene = Scene::with("[DEFAULT]\npublic_endpoint = https://Id.example:443/identity\n");
    let s = &scene.c.s;
    let access = scene.access(&["member"]);
    for (base, status) in [
        (s.url.as_str(), 201),
        ("https://id.example/identity", 201),
        ("http://id.example/identity", 401),
        (&format!("{}/identity", s.url), 201),
        ("https://id.example", 401),
    ] {
        let signs = Signs { url: format!("{base}{TOKENS}"), ..scene.signs(&access) };
        let answer = login(s, &signs, json!({}));
        assert_eq!(answer.status, status, "{base}");
    }
}

#[test]
fn the_authorizing_users_administrator_sees_and_ends_access_tokens() {
    let scene = Scene::new();
    let (s, c) = (&scene.c.s, &scene.c);
    let admin = &scene.admin;
    let (first, second) = (scene.access(&["member", "admin"]), scene.access(&["reader"]));
    let all = format!("/v3/users/{}/OS-OAUTH1/access_tokens", c.alice);
    let listed = s.get(admin, &all).expect(200);
    let mut found = ids(&listed, "access_tokens");
    let mut wanted = vec![first.id.clone(), second.id.clone()];
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
    let one = scene.path(&first);
    let shown = s.get(admin, &one).expect(200);
    assert_eq!(
        shown.body["access_token"],
        json!({
            "id": first.id, "authorizing_user_id": c.alice, "project_id": c.p, "consumer_id": scene.consumer.id,
            "expires_at": "2027-01-16T08:00:00.000000Z",
            "links": {"self": format!("{}{one}", s.url), "roles": format!("{}{one}/roles", s.url)},
        })
    );
    s.head(admin, &one).expect(200);
    assert_eq!(names(&s.get(admin, &format!("{one}/roles")).expect(200).body, "roles"), ["admin", "member"]);
    let member = s.role("member");
    let role = s.get(admin, &format!("{one}/roles/{member}")).expect(200);
    assert_eq!(role.body["role"]["name"], "member");
    s.head(admin, &format!("{one}/roles/{member}")).expect(200);
    s.get(admin, &format!("{one}/roles/{}", s.role("reader"))).expect(404);
    let page = s.get(admin, &format!("{all}?limit=1")).expect(200);
    assert_eq!(page.body["access_tokens"].as_array().map(Vec::len), Some(1));
    let others = format!("/v3/users/{}/OS-OAUTH1/access_tokens", c.bob);
    assert_eq!(s.get(admin, &others).expect(200).body["access_tokens"], json!([]));
    let of_other = format!("{others}/{}", first.id);
    s.get(admin, &of_other).expect(404);
    s.get(admin, &format!("{of_other}/roles")).expect(404);
    // 401, as in Keystone.
    s.get(admin, &format!("{of_other}/roles/{member}")).expect(401);
    s.delete(admin, &of_other).expect(401);
    for path in [format!("{all}/x"), format!("{all}/x/roles"), format!("{all}/x/roles/{member}")] {
        s.get(admin, &path).expect(404);
    }
    s.delete(admin, &format!("{all}/x")).expect(404);

    let chain = scene.login(&first).expect(201);
    let dies = chain.token();
    let lives = scene.login(&second).expect(201).token();
    // A delegated token sees none of it, whatever its roles.
    for path in [&all, &one, &format!("{one}/roles"), &format!("{one}/roles/{member}")] {
        s.get(&dies, path).expect(403);
    }
    s.delete(&dies, &one).expect(403);
    s.delete(admin, &one).expect(204);
    s.validate(&dies).expect(404);
    s.get(&dies, "/v3/auth/catalog").expect(401);
    scene.login(&first).expect(401);
    s.validate(&lives).expect(200);
    // A Keystone would take an event that names an access token alone for one that ends all tokens.
    let events = s.get(admin, "/v3/OS-REVOKE/events").expect(200);
    let events = events.body["events"].as_array().expect("events").clone();
    assert!(events.iter().all(|e| e.get("OS-OAUTH1:access_token_id").is_none()), "{events:?}");
    let chain = &chain.body["token"]["audit_ids"][1];
    assert!(events.iter().any(|e| e["audit_chain_id"] == *chain), "{events:?}");
}

/// The table of `rules/src/token.rs`.
#[test]
fn its_token_is_used_and_makes_nothing() {
    let scene = Scene::new();
    let (s, c) = (&scene.c.s, &scene.c);
    let token = scene.login(&scene.access(&["admin", "member"])).expect(201).token();
    s.get(&token, "/v3/users").expect(200);
    s.get(&token, "/v3/OS-OAUTH1/consumers").expect(200);
    s.post(&token, "/v3/OS-TRUST/trusts", c.ask(json!({}))).expect(403);
    s.get(&token, "/v3/OS-TRUST/trusts").expect(403);
    s.get(&token, &format!("/v3/users/{}/delegations", c.alice)).expect(403);
    c.keypair(&token, &c.alice, json!({})).expect(403);
    c.keypair(&scene.alice(), &c.alice, json!({})).expect(201);
    assert_eq!(s.get(&token, "/v3/credentials").expect(200).body["credentials"], json!([]));
    s.delete(&token, &format!("/v3/users/{}/tokens", c.alice)).expect(403);
    for scope in [json!("unscoped"), json!({"project": {"id": c.p}}), json!({"project": {"id": c.q}})] {
        s.auth(json!({"identity": {"methods": ["token"], "token": {"id": token}}, "scope": scope}))
            .expect(403);
    }
    let headers = [("X-Auth-Token", &*token), ("X-Subject-Token", &*token)];
    s.call("GET", TOKENS, &headers, None).expect(200);
    s.call("DELETE", TOKENS, &headers, None).expect(204);
    s.get(&token, "/v3/users").expect(401);
}

#[test]
fn it_is_worth_what_the_user_holds_now() {
    let scene = Scene::new();
    let (s, c) = (&scene.c.s, &scene.c);
    let access = scene.access(&["member", "heat_stack_owner"]);
    let narrow = scene.access(&["heat_stack_owner"]);
    let delegations = || {
        let shown = s.get(&s.admin(), &format!("/v3/users/{}/delegations", c.alice)).expect(200);
        let mut shown: Vec<Value> =
            shown.body["delegations"]["access_tokens"].as_array().expect("a list").clone();
        shown.retain(|shown| shown["id"] == access.id.as_str());
        shown.pop()
    };
    let shown = delegations().expect("it acts for alice");
    assert_eq!((&shown["state"], &shown["consumer_id"]), (&json!("live"), &json!(scene.consumer.id)));
    assert_eq!(names(&shown, "roles"), ["heat_stack_owner", "member"]);
    let (token, other) = (scene.login(&access).expect(201), scene.login(&narrow).expect(201));
    assert_eq!(roles(&token), ["heat_stack_owner", "member", "reader"]);
    let grant = |role: &str| format!("/v3/projects/{}/users/{}/roles/{}", c.p, c.alice, s.role(role));
    // Also what `admin` implies.
    for role in ["admin", "member"] {
        s.delete(&scene.admin, &grant(role)).expect(204);
    }
    s.validate(&token.token()).expect(404);
    s.validate(&other.token()).expect(200);
    s.clock.advance(2 * SECOND);
    let less = scene.login(&access).expect(201);
    assert_eq!(roles(&less), ["heat_stack_owner"]);
    s.put(&scene.admin, &grant("member")).expect(204);
    s.validate(&token.token()).expect(404);
    assert_eq!(roles(&scene.login(&access).expect(201)), ["heat_stack_owner", "member", "reader"]);
    for role in ["heat_stack_owner", "member"] {
        s.delete(&scene.admin, &grant(role)).expect(204);
    }
    scene.login(&access).expect(401);
    s.validate(&other.token()).expect(404);
    assert_eq!(delegations().expect("it may again")["state"], "suspended");
    s.put(&scene.admin, &grant("member")).expect(204);
    s.clock.advance(2 * SECOND);

    let set = |path: String, kind: &str, enabled: bool| {
        s.patch(&scene.admin, &path, json!({kind: {"enabled": enabled}})).expect(200);
        s.clock.advance(2 * SECOND);
    };
    for (path, kind) in
        [(format!("/v3/users/{}", c.alice), "user"), (format!("/v3/projects/{}", c.p), "project")]
    {
        let token = scene.login(&access).expect(201).token();
        set(path.clone(), kind, false);
        s.validate(&token).expect(404);
        scene.login(&access).expect(401);
        set(path, kind, true);
        s.validate(&token).expect(404);
        scene.login(&access).expect(201);
    }
    s.clock.advance(86_400 * SECOND);
    assert_eq!(delegations(), None, "it is over");
}

/// What is deleted leaves nothing behind that grants anything.
#[test]
fn it_ends_with_what_it_refers_to() {
    let rows = |s: &Server| {
        ["request_token", "access_token"].map(|table| count(s, &format!("SELECT id FROM {table}"), &[]))
    };
    for what in ["consumer", "user", "project", "role"] {
        let scene = Scene::new();
        let (s, c) = (&scene.c.s, &scene.c);
        let access = scene.access(&["heat_stack_owner"]);
        scene.authorize(&scene.alice(), &scene.request_token(), json!([{"name": "member"}])).expect(200);
        let token = scene.login(&access).expect(201).token();
        assert_eq!(rows(s), [1, 1]);
        let path = match what {
            "consumer" => format!("/v3/OS-OAUTH1/consumers/{}", scene.consumer.id),
            "user" => format!("/v3/users/{}", c.alice),
            "project" => format!("/v3/projects/{}", c.p),
            _ => format!("/v3/roles/{}", s.role("heat_stack_owner")),
        };
        let other = s.on("alice", &c.q);
        s.delete(&scene.admin, &path).expect(204);
        s.validate(&token).expect(404);
        s.get(&token, "/v3/auth/catalog").expect(401);
        scene.login(&access).expect(401);
        if what == "role" {
            // The name of another role says nothing.
            s.grant(&c.alice, &c.p, "heat_stack_owner");
            s.clock.advance(2 * SECOND);
            scene.login(&access).expect(401);
        } else {
            assert_eq!(rows(s), [0, 0], "{what}");
        }
        if what == "consumer" {
            s.validate(&other).expect(200);
            let events = s.get(&scene.admin, "/v3/OS-REVOKE/events").expect(200);
            assert_eq!(events.body["events"][0]["OS-OAUTH1:consumer_id"], scene.consumer.id.as_str());
        }
    }
}

#[test]
fn a_row_that_claims_more_gives_no_more() {
    let scene = Scene::new();
    let (s, c) = (&scene.c.s, &scene.c);
    let access = scene.access(&["member"]);
    let token = scene.login(&access).expect(201).token();
    let set = |column: &str, value: &str| {
        s.sql_run(&format!("UPDATE access_token SET {column} = ?"), args![value]);
    };
    let service = s.role("service");
    set("role_ids", &json!([s.role("member"), service]).to_string());
    assert_eq!(roles(&scene.login(&access).expect(201)), ["member", "reader"]);
    set("role_ids", "damaged");
    scene.login(&access).expect(401);
    s.validate(&token).expect(404);
    set("role_ids", &json!([s.role("member")]).to_string());
    set("project_id", &c.q);
    s.validate(&token).expect(404);
    set("project_id", &c.p);
    s.validate(&token).expect(200);
    set("authorizing_user_id", &c.bob);
    s.validate(&token).expect(404);
    set("authorizing_user_id", &c.alice);
    set("expires_at", "damaged");
    s.validate(&token).expect(404);
    scene.login(&access).expect(401);
}

#[test]
fn there_is_a_limit_to_what_can_be_asked_for_and_the_old_goes() {
    let ini = "[delegation]\nmax_oauth1_tokens = 2\nretention = 60\n[oauth1]\nrequest_token_duration = 60\naccess_token_duration = 0\n";
    let scene = Scene::with(ini);
    let s = &scene.c.s;
    let access = scene.access(&["member"]);
    scene.request_token();
    scene.request_token();
    scene.request(&scene.asks(), REQUEST).expect(403);
    let other = consumer(s, &scene.admin);
    let asks = Signs { consumer: &other, ..scene.asks() }.with("oauth_consumer_key", &other.id);
    scene.request(&asks, REQUEST).expect(201);
    let sweep = || {
        let app = s.app.clone();
        s.runtime.block_on(async move { vicar::reaper::sweep(&app).await.expect("sweeps") });
    };
    sweep();
    assert_eq!(count(s, "SELECT id FROM request_token", &[]), 3);
    s.clock.advance(200_000 * SECOND);
    sweep();
    assert_eq!(count(s, "SELECT id FROM request_token", &[]), 0);
    // Without an end.
    let listed = s.get(&s.admin(), &scene.path(&access)).expect(200);
    assert_eq!(listed.body["access_token"]["expires_at"], Value::Null);
    let answer = scene.login(&access).expect(201);
    assert_eq!(answer.body["token"]["expires_at"], vicar::clock::iso(s.clock.now() + 3_600 * SECOND));
    scene.access(&["member"]);
    let asked = scene.request_token();
    let authorized = scene.authorize(&scene.alice(), &asked, json!([{"name": "member"}])).expect(200);
    let verifier = authorized.body["token"]["oauth_verifier"].as_str().expect("a verifier").to_owned();
    scene.exchange(&asked, &verifier).expect(403);
}

#[test]
fn an_access_token_that_is_over_is_removed_in_the_end() {
    let scene = Scene::with("[delegation]\nretention = 60\n");
    let s = &scene.c.s;
    scene.access(&["member"]);
    for (wait, left) in [(86_400, 1), (61, 0)] {
        s.clock.advance(wait * SECOND);
        let app = s.app.clone();
        s.runtime.block_on(async move { vicar::reaper::sweep(&app).await.expect("sweeps") });
        assert_eq!(count(s, "SELECT id FROM access_token", &[]), left);
    }
}

/// A Keystone before 30.0.0 let tokens of OAuth1 make them.
#[test]
fn a_keypair_that_was_made_with_one_is_worth_what_it_is() {
    let scene = Scene::new();
    let (s, c) = (&scene.c.s, &scene.c);
    let access = scene.access(&["member"]);
    let keypair = c.keypair(&scene.alice(), &c.alice, json!({})).expect(201).body["credential"].clone();
    let named = keypair["access"].as_str().expect("an access id");
    write_blob(
        s,
        named,
        &json!({"access": named, "secret": keypair["secret"], "access_token_id": access.id}),
    );
    s.clock.advance((86_400 - 60) * SECOND);
    let answer = c.exchange(c.signed(&keypair)).expect(200);
    assert_eq!(roles(&answer), ["member", "reader"]);
    assert_eq!(answer.body["token"]["OS-OAUTH1"]["access_token_id"], access.id.as_str());
    assert_eq!(answer.body["token"]["expires_at"], "2027-01-16T08:00:00.000000Z");
    s.get(&answer.token(), "/v3/users").expect(403);
    s.delete(&s.admin(), &scene.path(&access)).expect(204);
    c.exchange(c.signed(&keypair)).expect(401);
    s.validate(&answer.token()).expect(404);
}
