//! This server as a client of a provider of OpenID Connect: browsers that it sends there, and tokens that it asks about. The
//! provider is one of the test's, which answers what the test wants.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use vicar::clock::SECOND;

use crate::federation_oidc::{Key, b64, campus};
use crate::support::{Answer, Server};
use crate::websso::attribute;

const PROVIDERS: &str = "/v3/OS-FEDERATION/identity_providers";
const AUTH: &str = "/v3/OS-FEDERATION/identity_providers/campus/protocols/openid/auth";
const BEGIN: &str =
    "/v3/auth/OS-FEDERATION/identity_providers/campus/protocols/openid/websso?origin=https://dash/";
const CALLBACK: &str = "/v3/auth/OS-FEDERATION/oidc/callback";

/// A request to the provider.
#[derive(Clone)]
struct Asked {
    path: String,
    authorization: Option<String>,
    form: Vec<(String, String)>,
}

impl Asked {
    fn of(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// What it answers to forms.
#[derive(Clone)]
enum Says {
    This(u16, String),
    Nothing,
    NoEnd,
}

struct Provider {
    url: String,
    says: Arc<Mutex<Says>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Provider {
    fn new(key: &Key) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let metadata = json!({
            "issuer": url, "jwks_uri": format!("{url}/keys"), "token_endpoint": format!("{url}/token"),
            "authorization_endpoint": format!("{url}/auth?tenant=a%20b"),
            "introspection_endpoint": format!("{url}/introspect"),
        });
        let keys = json!({"keys": [key.public()]});
        let p = Self { url, says: Arc::new(Mutex::new(Says::Nothing)), asked: Arc::default() };
        let (says, asked) = (Arc::clone(&p.says), Arc::clone(&p.asked));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (says, asked, metadata, keys) =
                    (Arc::clone(&says), Arc::clone(&asked), metadata.clone(), keys.clone());
                std::thread::spawn(move || {
                    let mut stream = stream;
                    let Some(request) = read(&mut stream) else { return };
                    let said = match request.path.as_str() {
                        "/keys" => Says::This(200, keys.to_string()),
                        "/.well-known/openid-configuration" => Says::This(200, metadata.to_string()),
                        _ => {
                            asked.lock().expect("a lock").push(request);
                            says.lock().expect("a lock").clone()
                        }
                    };
                    answer(stream, said);
                });
            }
        });
        p
    }

    fn says(&self, status: u16, body: &Value) {
        *self.says.lock().expect("a lock") = Says::This(status, body.to_string());
    }

    fn is(&self, says: Says) {
        *self.says.lock().expect("a lock") = says;
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().expect("a lock"))
    }
}

fn read(stream: &mut TcpStream) -> Option<Asked> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim().to_owned()).next()
    };
    let mut body = vec![0; header("content-length").map_or(0, |n| n.parse().expect("a number"))];
    stream.read_exact(&mut body).ok()?;
    Some(Asked {
        path: head.split(' ').nth(1)?.to_owned(),
        authorization: header("authorization"),
        form: form_urlencoded::parse(&body).into_owned().collect(),
    })
}

fn answer(mut stream: TcpStream, says: Says) {
    match says {
        Says::This(status, body) => {
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes());
        }
        // Until the other side gives up.
        Says::Nothing => drop(stream.read(&mut [0])),
        Says::NoEnd => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b' '; 4096]).is_ok() {}
        }
    }
}

struct Cloud {
    s: Server,
    p: Provider,
    key: Key,
}

/// A browser that was sent to the provider.
struct Sent {
    url: url::Url,
    cookie: String,
    set: String,
}

impl Sent {
    fn of(&self, name: &str) -> String {
        let found: Vec<_> = self.url.query_pairs().filter(|(n, _)| n == name).collect();
        let [(_, value)] = found.as_slice() else { panic!("{name}: {}", self.url) };
        value.clone().into_owned()
    }
}

impl Cloud {
    fn new(client: &str) -> Self {
        let key = Key::new("one");
        let p = Provider::new(&key);
        let s = Server::with(&format!(
            "[DEFAULT]\npublic_endpoint = https://id.example/\n[auth]\nmethods = password,token,openid\n\
             [vicar]\nassertion_headers = OIDC-\ntrusted_proxies = 127.0.0.1\n\
             [federation]\ntrusted_dashboard = https://dash/\n\
             [oidc]\ntimeout = 1\n[oidc.campus]\nissuer = {}\naudience = cloud\nclient_id = vi car\n{client}",
            p.url
        ));
        let rules = json!([{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "HTTP_OIDC_SUB"}]}]);
        campus(&s, &p.url, rules);
        Self { s, p, key }
    }

    fn begin(&self) -> Sent {
        let answer = self.s.call("GET", BEGIN, &[], None).expect(302);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let set = answer.header("set-cookie").expect("a cookie").to_owned();
        let cookie = set.split(';').next().expect("a pair").to_owned();
        Sent { url: answer.header("location").expect("where to").parse().expect("a URL"), cookie, set }
    }

    fn id_token(&self, sent: &Sent, more: Value) -> Value {
        let now = self.s.clock.now() / SECOND;
        let mut claims = json!({
            "iss": self.p.url, "aud": "vi car", "sub": "ann", "nonce": sent.of("nonce"), "iat": now, "exp": now + 60,
        });
        claims.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({"access_token": "x", "token_type": "Bearer", "id_token": self.key.sign(&claims)})
    }

    fn back(&self, state: &str, cookie: &str, more: &str) -> Answer {
        self.s.call("GET", &format!("{CALLBACK}?code=c%2B1&state={state}{more}"), &[("Cookie", cookie)], None)
    }

    fn comes(&self, sent: &Sent) -> Answer {
        self.back(&sent.of("state"), &sent.cookie, "")
    }
}

const SECRET: &str = "client_secret = s:é\n";

#[test]
fn a_browser_is_sent_to_the_provider_and_comes_back_with_a_token() {
    let c = Cloud::new(SECRET);
    let sent = c.begin();
    assert!(sent.url.as_str().starts_with(&format!("{}/auth?tenant=a", c.p.url)), "{}", sent.url);
    for (name, value) in [
        ("tenant", "a b"),
        ("response_type", "code"),
        ("client_id", "vi car"),
        ("redirect_uri", "https://id.example/v3/auth/OS-FEDERATION/oidc/callback"),
        ("scope", "openid profile email"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(sent.of(name), value);
    }
    assert!(
        sent.of("state").len() >= 43 && sent.of("nonce").len() >= 43 && sent.of("nonce") != sent.of("state")
    );
    let rest = sent.set.split_once(';').expect("more").1;
    assert_eq!(
        rest,
        " Path=/v3/auth/OS-FEDERATION/oidc/callback; Max-Age=600; HttpOnly; SameSite=Lax; Secure"
    );
    c.p.says(200, &c.id_token(&sent, json!({})));
    let answer = c
        .back(&sent.of("state"), &format!("other=1; {}", sent.cookie), &format!("&iss={}", c.p.url))
        .expect(200);
    assert_eq!(attribute(&answer.text, "action=\""), "https://dash/");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let cleared = answer.header("set-cookie").expect("a cookie").to_owned();
    assert!(cleared.starts_with("vicar-oidc=; Path=/v3/") && cleared.contains("Max-Age=0"), "{cleared}");
    let token = attribute(&answer.text, "id=\"token\" value=\"");
    let shown = c.s.validate(&token).expect(200).body["token"].clone();
    assert_eq!((&shown["user"]["name"], &shown["methods"]), (&json!("ann"), &json!(["openid"])));
    assert_eq!(shown["user"]["OS-FEDERATION"]["identity_provider"]["id"], "campus");
    // The provider was asked once, with what proves that it is the same login and this client.
    let asked = c.p.asked();
    let [asked] = asked.as_slice() else { panic!("asked {} times", asked.len()) };
    assert_eq!(asked.path, "/token");
    let both = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "vi+car:s%3A%C3%A9");
    assert_eq!(asked.authorization, Some(format!("Basic {both}")));
    for (name, value) in [
        ("grant_type", "authorization_code"),
        ("code", "c+1"),
        ("redirect_uri", "https://id.example/v3/auth/OS-FEDERATION/oidc/callback"),
    ] {
        assert_eq!(asked.of(name), Some(value));
    }
    let verifier = asked.of("code_verifier").expect("a verifier");
    assert!((43..=128).contains(&verifier.len()));
    assert_eq!(b64(Sha256::digest(verifier)), sent.of("code_challenge"));
    // Neither secrets nor tokens are logged.
    let logged = answer.logged.request.to_string();
    for secret in [verifier, &token, &sent.of("nonce"), "c+1", "c%2B1"] {
        assert!(!logged.contains(secret), "{logged}");
    }
    // Each login has its own.
    assert_ne!(c.begin().of("state"), sent.of("state"));
}

#[test]
fn the_ways_to_begin() {
    let c = Cloud::new("");
    let by_protocol = "/v3/auth/OS-FEDERATION/websso/openid?origin=https://dash/";
    for (method, path) in [("GET", BEGIN), ("POST", BEGIN), ("GET", by_protocol), ("POST", by_protocol)] {
        let stranger = [("Host", "evil.example"), ("X-Forwarded-Host", "evil.example")];
        let answer = c.s.call(method, path, &stranger, None).expect(302);
        let to = answer.header("location").expect("where to").to_owned();
        assert!(to.contains("redirect_uri=https%3A%2F%2Fid.example%2Fv3") && !to.contains("evil"), "{to}");
    }
    // A public client names itself in the form.
    let sent = c.begin();
    c.p.says(200, &c.id_token(&sent, json!({})));
    c.comes(&sent).expect(200);
    let asked = c.p.asked();
    assert_eq!((asked[0].authorization.as_deref(), asked[0].of("client_id")), (None, Some("vi car")));
    // Where a token may go, and whether there is such a provider, is looked at before.
    for path in [BEGIN, by_protocol] {
        c.s.call("GET", &path.replace("dash", "elsewhere"), &[], None).expect(401);
        c.s.call("GET", path.split('?').next().expect("a path"), &[], None).expect(400);
    }
    c.s.call("GET", &by_protocol.replace("openid", "mapped"), &[], None).expect(401);
    let admin = c.s.admin();
    let body = json!({"identity_provider": {"enabled": false}});
    c.s.patch(&admin, &format!("{PROVIDERS}/campus"), body).expect(200);
    c.s.call("GET", BEGIN, &[], None).expect(403);
    // Whom a front server has logged in is not sent away.
    let body = json!({"identity_provider": {"enabled": true}});
    c.s.patch(&admin, &format!("{PROVIDERS}/campus"), body).expect(200);
    let said = [("OIDC-iss", c.p.url.as_str()), ("OIDC-sub", "bob")];
    for path in [BEGIN, by_protocol] {
        c.s.call("GET", path, &said, None).expect(200);
    }
    c.s.call("GET", BEGIN, &said[1..], None).expect(401);
}

#[test]
fn what_belongs_to_no_login_of_this_browser_is_refused_without_a_question() {
    let c = Cloud::new(SECRET);
    let (mine, other) = (c.begin(), c.begin());
    c.p.says(200, &c.id_token(&mine, json!({})));
    let state = mine.of("state");
    let token = c.s.admin();
    let sealed = mine.cookie.split_once('=').expect("a value").1.to_owned();
    for (state, cookie) in [
        (state.as_str(), ""),
        (&state, "vicar-oidc="),
        (&state, "vicar-oidc=gAAAAA"),
        (&state, &other.cookie),
        (&other.of("state"), &mine.cookie),
        ("", &mine.cookie),
        // A token is no such cookie, though the same keys have made it.
        (&state, &format!("vicar-oidc={token}")),
    ] {
        let answer = c.back(state, cookie, "").expect(401);
        assert_eq!(answer.logged.request["reason"], "no-login-begun", "{state} {cookie}");
    }
    c.s.call("GET", &format!("{CALLBACK}?code=c"), &[("Cookie", &mine.cookie)], None).expect(401);
    // Nor is the cookie a token.
    c.s.get(&sealed, "/v3/auth/projects").expect(401);
    c.s.get(&token, "/v3/auth/projects").expect(200);
    // Another provider's answer.
    c.back(&state, &mine.cookie, "&iss=https://elsewhere").expect(401);
    let answer = c.s.call(
        "GET",
        &format!("{CALLBACK}?error=access_denied&state={state}"),
        &[("Cookie", &mine.cookie)],
        None,
    );
    assert_eq!(answer.expect(401).logged.request["reason"], "not-the-providers");
    let without = format!("{CALLBACK}?state={state}");
    let answer = c.s.call("GET", &without, &[("Cookie", &mine.cookie)], None).expect(400);
    assert!(answer.text.contains("code"), "{}", answer.text);
    assert!(c.p.asked().is_empty());
    // Nobody takes more than ten minutes.
    c.s.clock.advance(599 * SECOND);
    c.p.says(200, &c.id_token(&mine, json!({})));
    c.comes(&mine).expect(200);
    c.s.clock.advance(SECOND);
    c.comes(&mine).expect(401);
}

#[test]
fn an_id_token_is_for_this_client_and_this_login() {
    let c = Cloud::new(SECRET);
    let sent = c.begin();
    let now = c.s.clock.now() / SECOND;
    for wrong in [
        json!({"nonce": "another"}),
        json!({"nonce": null}),
        json!({"aud": "another"}),
        // Access tokens are for this one.
        json!({"aud": "cloud"}),
        json!({"aud": ["vi car", "another"]}),
        json!({"aud": ["vi car", "another"], "azp": "another"}),
        json!({"azp": "another"}),
        json!({"azp": null}),
        json!({"iss": "https://elsewhere"}),
        json!({"exp": now - 60}),
        json!({"sub": null}),
    ] {
        c.p.says(200, &c.id_token(&sent, wrong.clone()));
        let answer = c.comes(&sent).expect(401);
        assert_eq!(answer.logged.request["reason"], "not-the-providers", "{wrong}");
    }
    let mut stranger = c.id_token(&sent, json!({}));
    stranger["id_token"] = Key::new("one").sign(&json!({"nonce": sent.of("nonce")})).into();
    for wrong in [
        stranger,
        json!({"access_token": "x"}),
        json!({"id_token": 1}),
        json!([]),
        json!({"id_token": "a.b"}),
    ] {
        c.p.says(200, &wrong);
        c.comes(&sent).expect(401);
    }
    // A code that is used, or was never one.
    c.p.says(400, &json!({"error": "invalid_grant"}));
    c.comes(&sent).expect(401);
    for good in [json!({"aud": ["vi car"]}), json!({"aud": ["vi car", "another"], "azp": "vi car"})] {
        c.p.says(200, &c.id_token(&sent, good));
        c.comes(&sent).expect(200);
    }
    // An ID token is no access token.
    let token = c.id_token(&sent, json!({}))["id_token"].as_str().expect("a token").to_owned();
    c.s.call("POST", AUTH, &[("Authorization", &format!("Bearer {token}"))], None).expect(401);
}

#[test]
fn a_provider_that_cannot_say_is_a_503() {
    let c = Cloud::new(&format!("{SECRET}introspection = true\n"));
    let sent = c.begin();
    let bear = || c.s.call("POST", AUTH, &[("Authorization", "Bearer opaque")], None);
    let away = |answer: Answer| {
        let seconds: u32 = answer.expect(503).header("retry-after").expect("when").parse().expect("seconds");
        assert!((1..=10).contains(&seconds), "{seconds}");
    };
    for says in [
        Says::This(500, "{}".into()),
        Says::This(401, json!({"error": "invalid_client"}).to_string()),
        Says::This(302, String::new()),
        Says::This(200, "<html>".into()),
        Says::Nothing,
        Says::NoEnd,
    ] {
        c.p.is(says);
        away(c.comes(&sent));
        away(bear());
    }
    // The page can be loaded again.
    c.p.says(200, &c.id_token(&sent, json!({})));
    c.comes(&sent).expect(200);
}

#[test]
fn the_provider_is_asked_about_tokens_that_only_it_can_read() {
    let c = Cloud::new(&format!("{SECRET}introspection = true\n"));
    let now = c.s.clock.now() / SECOND;
    let bear = |token: &str| c.s.call("POST", AUTH, &[("Authorization", &format!("Bearer {token}"))], None);
    for good in [
        json!({"aud": "cloud"}),
        json!({"aud": ["x", "cloud"], "client_id": "tool", "exp": now + 60, "iss": c.p.url}),
        json!({"client_id": "cloud"}),
    ] {
        let mut says = json!({"active": true, "sub": "ann"});
        says.as_object_mut().expect("an object").extend(good.as_object().expect("an object").clone());
        c.p.says(200, &says);
        let answer = bear("opaque+1").expect(201);
        assert_eq!(answer.body["token"]["user"]["name"], "ann");
        let asked = c.p.asked();
        let [asked] = asked.as_slice() else { panic!("asked {} times", asked.len()) };
        assert_eq!((asked.path.as_str(), asked.of("token")), ("/introspect", Some("opaque+1")));
        assert!(asked.authorization.as_deref().is_some_and(|basic| basic.starts_with("Basic ")));
        assert!(!answer.logged.request.to_string().contains("opaque+1"));
    }
    for wrong in [
        json!({"active": false}),
        json!({"active": "true"}),
        json!({"aud": "another", "client_id": "cloud"}),
        json!({"client_id": "tool"}),
        json!({"aud": null}),
        json!({"aud": "cloud", "iss": "https://elsewhere"}),
        json!({"aud": "cloud", "exp": now - 60}),
        json!({"aud": "cloud", "nbf": now + 61}),
        json!({"aud": "cloud", "cnf": {"jkt": "x"}}),
        json!({"aud": "cloud", "sub": null}),
    ] {
        let mut says = json!({"active": true, "sub": "ann"});
        says.as_object_mut().expect("an object").extend(wrong.as_object().expect("an object").clone());
        c.p.says(200, &says);
        assert_eq!(bear("opaque").expect(401).logged.request["reason"], "not-the-providers", "{wrong}");
    }
    // What it said is remembered nowhere, and about what can be verified here nobody is asked.
    c.p.says(200, &json!({"active": true, "sub": "ann", "aud": "cloud"}));
    c.p.asked();
    bear("opaque").expect(201);
    c.p.says(200, &json!({"active": false}));
    bear("opaque").expect(401);
    assert_eq!(c.p.asked().len(), 2);
    let claims = json!({"iss": c.p.url, "aud": "cloud", "sub": "ann", "exp": now + 60});
    bear(&c.key.sign(&claims)).expect(201);
    bear("a.b.c").expect(401);
    assert!(c.p.asked().is_empty());
    // Without the option a token is a JWT or nothing.
    let none = Cloud::new(SECRET);
    none.s.call("POST", AUTH, &[("Authorization", "Bearer opaque")], None).expect(401);
    assert!(none.p.asked().is_empty());
}
