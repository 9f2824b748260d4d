//! Clients of OAuth 2.0 that a front server has seen the certificate of. With certificates of connections:
//! `cli/client_certificate.rs`.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use vicar::auth::fernet::PayloadScope;
use vicar::clock::SECOND;

use crate::support::{Answer, Cast, by_password, names, scope};

const TOKEN: &str = "/v3/OS-OAUTH2/token";
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const FRONT: &str = "[vicar]\nclient_certificate_header = X-SSL-Client-Cert\ntrusted_proxies = 127.0.0.1\n";
const UID: &[u64] = &[0, 9, 2342, 19_200_300, 100, 1, 1];
const EMAIL: &[u64] = &[1, 2, 840, 113_549, 1, 9, 1];

/// An authority, which makes certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    fn issue(&self, name: &[(DnType, &str)]) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in name {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let key = KeyPair::generate().expect("a key");
        params.signed_by(&key, &self.0).expect("a certificate").pem().replace('\r', "")
    }
}

struct Scene {
    c: Cast,
    authority: Authority,
    /// Of alice: her name, her id, an address, and the name of her domain.
    pem: String,
}

fn of_subject(name: &str) -> Value {
    json!({"type": format!("SSL_CLIENT_SUBJECT_DN_{name}")})
}

fn rules() -> Value {
    let by = json!({"type": "SSL_CLIENT_ISSUER_DN_CN", "any_one_of": ["root.example.org"]});
    json!([{
        "local": [{"user": {"name": "{0}", "id": "{1}", "email": "{2}", "domain": {"name": "{3}"}}}],
        "remote": [of_subject("CN"), of_subject("UID"), of_subject("EMAILADDRESS"), of_subject("O"), by],
    }])
}

impl Scene {
    fn new() -> Self {
        Self::with(FRONT)
    }

    fn with(ini: &str) -> Self {
        let c = Cast::with(ini);
        let authority = Authority::new("root.example.org");
        let pem = authority.issue(&dn(&["alice", &c.alice, "alice@example.org", "Default"]));
        let scene = Self { c, authority, pem };
        scene.change(json!({"default_project_id": scene.c.p, "email": "alice@example.org"}));
        scene.map("oauth2_mapping", rules());
        scene
    }

    fn change(&self, user: Value) {
        self.c
            .s
            .patch(&self.c.s.admin(), &format!("/v3/users/{}", self.c.alice), json!({"user": user}))
            .expect(200);
    }

    fn map(&self, id: &str, rules: Value) {
        let path = format!("/v3/OS-FEDERATION/mappings/{id}");
        let s = &self.c.s;
        let _ = s.delete(&s.admin(), &path);
        let body = json!({"mapping": {"rules": rules}}).to_string();
        s.call("PUT", &path, &[("X-Auth-Token", &s.admin())], Some(body.as_bytes())).expect(201);
    }

    fn send(&self, headers: &[(&str, &str)], form: &str) -> Answer {
        let form = format!("grant_type=client_credentials{form}");
        self.c.s.call("POST", TOKEN, &[&[FORM], headers].concat(), Some(form.as_bytes()))
    }

    fn ask(&self, id: &str, pem: &str) -> Answer {
        self.send(&[("X-SSL-Client-Cert", &one_line(pem))], &format!("&client_id={id}"))
    }

    fn own(&self) -> Answer {
        self.ask(&self.c.alice, &self.pem)
    }

    fn token(&self) -> String {
        text(&self.own().expect(200))
    }
}

fn text(answer: &Answer) -> String {
    answer.body["access_token"].as_str().expect("a token").to_owned()
}

/// As Apache writes it into a header.
fn one_line(pem: &str) -> String {
    pem.replace('\n', " ")
}

fn dn<'a>(values: &[&'a str; 4]) -> Vec<(DnType, &'a str)> {
    let kinds = [
        DnType::CommonName,
        DnType::CustomDnType(UID.to_vec()),
        DnType::CustomDnType(EMAIL.to_vec()),
        DnType::OrganizationName,
    ];
    kinds.into_iter().zip(*values).collect()
}

#[track_caller]
fn refused(answer: &Answer, reason: &str) {
    assert_eq!((answer.status, &answer.body["error"]), (401, &json!("invalid_client")), "{}", answer.text);
    assert_eq!(answer.body.as_object().expect("an object").len(), 2);
    assert_eq!(answer.logged.request["reason"], reason);
}

#[test]
fn a_certificate_is_a_client() {
    let w = Scene::new();
    let s = &w.c.s;
    let given = w.own().expect(200);
    assert_eq!((&given.body["token_type"], &given.body["expires_in"]), (&json!("Bearer"), &json!(3600)));
    assert_eq!(given.header("cache-control"), Some("no-store"));
    let event = given.logged.event.as_ref().expect("an event");
    assert_eq!((&event["event"], &event["outcome"]), (&json!("login"), &json!("success")));
    assert!(event.to_string().contains(&w.c.alice), "{event}");
    let token = text(&given);
    let shown = s.validate(&token).expect(200).body["token"].clone();
    // As in Keystone: its method has no bit in a token, and so it names none.
    assert_eq!((&shown["methods"], &shown["user"]["id"]), (&json!([]), &json!(w.c.alice)));
    assert_eq!(shown["project"]["id"], json!(w.c.p));
    assert_eq!(names(&shown, "roles"), ["heat_stack_owner", "member", "reader"]);
    assert!(shown["catalog"].is_array());
    let thumbprint = URL_SAFE.encode(Sha256::digest(&w.pem));
    assert_eq!(shown["oauth2_credential"], json!({"x5t#S256": thumbprint}));
    // It can be used here.
    s.get(&token, "/v3/auth/projects").expect(200);
    let by_itself = [("X-Auth-Token", &*token), ("X-Subject-Token", &*token)];
    let seen = s.call("GET", "/v3/auth/tokens", &by_itself, None).expect(200);
    assert_eq!(seen.body["token"]["oauth2_credential"], shown["oauth2_credential"]);
    // The other ways of writing it.
    let der = STANDARD.encode(
        STANDARD
            .decode(w.pem.lines().filter(|line| !line.starts_with('-')).collect::<String>())
            .expect("base64"),
    );
    for written in [der.clone(), format!(":{der}:"), w.pem.replace('+', "%2B").replace('\n', "%0A")] {
        let given =
            w.send(&[("X-SSL-Client-Cert", &written)], &format!("&client_id={}", w.c.alice)).expect(200);
        let shown = s.validate(&text(&given)).expect(200);
        assert_eq!(shown.body["token"]["oauth2_credential"]["x5t#S256"], thumbprint);
    }
    s.clock.advance(3600 * SECOND);
    s.get(&token, "/v3/auth/projects").expect(401);
}

#[test]
fn the_mapping_says_who_it_is() {
    let w = Scene::new();
    let alice = w.c.alice.as_str();
    let good = ["alice", alice, "alice@example.org", "Default"];
    for (at, other) in [(0, "bob"), (1, &*w.c.bob), (2, "bob@example.org"), (3, "Other")] {
        let mut values = good;
        values[at] = other;
        refused(&w.ask(alice, &w.authority.issue(&dn(&values))), "wrong-certificate");
    }
    refused(&w.ask(&w.c.bob, &w.pem), "no-such-scope");
    w.c.s.sql_run("UPDATE \"user\" SET default_project_id = ? WHERE id = ?", vicar::args![&w.c.p, &w.c.bob]);
    refused(&w.ask(&w.c.bob, &w.pem), "wrong-certificate");
    refused(&w.ask("nobody", &w.pem), "no-such-user");
    refused(&w.ask("", &w.pem), "no-such-method");
    refused(&w.send(&[("X-SSL-Client-Cert", &one_line(&w.pem))], ""), "no-such-method");
    let other = Authority::new("another.example.org").issue(&dn(&good));
    refused(&w.ask(alice, &other), "wrong-certificate");
    for wrong in ["x", "-----BEGIN CERTIFICATE-----", "AAAA", &one_line(&w.pem).replace("MII", "AII")] {
        refused(&w.ask(alice, wrong), "wrong-certificate");
    }
    let many = "A".repeat(40_000);
    refused(&w.ask(alice, &many), "wrong-certificate");

    w.own().expect(200);
    // Rules that say nothing of who somebody is would let anybody in as anybody.
    let of = |local: Value| json!([{"local": [local], "remote": [of_subject("CN")]}]);
    for local in [
        json!({"group": {"id": "g"}}),
        json!({"user": {"domain": {"id": "default"}}}),
        json!({"user": {"name": ""}}),
        json!({"user": {"name": "{7}"}}),
    ] {
        w.map("oauth2_mapping", of(local));
        refused(&w.own(), "wrong-certificate");
    }
    w.map("oauth2_mapping", of(json!({"user": {"name": "{0}"}})));
    w.own().expect(200);
    w.c.s.delete(&w.c.s.admin(), "/v3/OS-FEDERATION/mappings/oauth2_mapping").expect(204);
    refused(&w.own(), "wrong-certificate");
    let w = Scene::with(&format!("{FRONT}[oauth2]\noauth2_cert_dn_mapping_id = mine\n"));
    refused(&w.own(), "wrong-certificate");
    w.map("mine", rules());
    w.own().expect(200);
}

#[test]
fn the_default_project_is_where_it_is_good_for() {
    let w = Scene::new();
    let (s, admin) = (&w.c.s, w.c.s.admin());
    w.change(json!({"default_project_id": null}));
    refused(&w.own(), "no-such-scope");
    let empty = s.project("empty");
    s.sql_run("UPDATE \"user\" SET default_project_id = ? WHERE id = ?", vicar::args![&empty, &w.c.alice]);
    refused(&w.own(), "no-roles");
    s.sql_run("UPDATE \"user\" SET default_project_id = ? WHERE id = ?", vicar::args!["gone", &w.c.alice]);
    refused(&w.own(), "no-such-scope");
    w.change(json!({"default_project_id": w.c.q}));
    let shown = s.validate(&w.token()).expect(200);
    assert_eq!(shown.body["token"]["project"]["id"], json!(w.c.q));
    s.patch(&admin, &format!("/v3/projects/{}", w.c.q), json!({"project": {"enabled": false}})).expect(200);
    refused(&w.own(), "no-such-scope");
    s.patch(&admin, &format!("/v3/projects/{}", w.c.q), json!({"project": {"enabled": true}})).expect(200);
    w.change(json!({"enabled": false}));
    refused(&w.own(), "token-user");
}

#[test]
fn who_shows_a_certificate_has_chosen() {
    let secret = |w: &Scene| {
        let path = format!("/v3/users/{}/application_credentials", w.c.alice);
        let body = json!({"application_credential": {"name": "one"}});
        let made = w.c.s.post(&w.c.s.on("alice", &w.c.p), &path, body).expect(201);
        let part = |name: &str| made.body["application_credential"][name].as_str().expect(name).to_owned();
        (part("id"), part("secret"))
    };
    for (methods, by_certificate, by_secret) in [
        ("tls_client_auth,client_secret_basic", true, true),
        ("client_secret_basic,tls_client_auth", true, true),
        ("tls_client_auth", true, false),
        ("client_secret_basic", false, true),
    ] {
        let w = Scene::with(&format!("{FRONT}[oauth2]\noauth2_authn_methods = {methods}\n"));
        let (id, secret) = secret(&w);
        let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
        let alone = w.send(&[("Authorization", &basic)], "");
        assert_eq!(alone.status, if by_secret { 200 } else { 401 }, "{methods}");
        let (pem, own) = (one_line(&w.pem), format!("&client_id={}", w.c.alice));
        // What else comes along says nothing then, not even who it is.
        let shown = ("X-SSL-Client-Cert", &*pem);
        for (headers, form) in [
            (vec![shown], own.clone()),
            (vec![shown, ("Authorization", &basic)], own.clone()),
            (vec![shown], format!("{own}&client_secret={secret}")),
        ] {
            let answer = w.send(&headers, &form);
            assert_eq!(answer.status, if by_certificate { 200 } else { 401 }, "{methods} {form}");
            if by_certificate {
                let shown = w.c.s.validate(&text(&answer)).expect(200);
                assert!(shown.body["token"]["oauth2_credential"].is_object());
            }
        }
        refused(&w.send(&[shown, ("Authorization", &basic)], ""), "no-such-method");
        let by_form = w.send(&[shown], &format!("&client_id={id}&client_secret={secret}"));
        assert_eq!(by_form.status, 401);
        // Where a front server has seen none.
        for none in ["", "(null)", " "] {
            let answer = w.send(&[("X-SSL-Client-Cert", none), ("Authorization", &basic)], "");
            assert_eq!(answer.status, if by_secret { 200 } else { 401 }, "{methods} {none:?}");
            refused(&w.send(&[("X-SSL-Client-Cert", none)], &own), "no-such-method");
        }
    }
}

#[test]
fn whoever_is_no_front_server_has_no_certificate() {
    let front = |ini: &str| FRONT.replace("trusted_proxies = 127.0.0.1\n", ini);
    let guessing = "[oslo_middleware]\nenable_proxy_headers_parsing = true\n";
    for ini in [
        String::new(),
        guessing.to_owned(),
        "[vicar]\ntrusted_proxies = 127.0.0.1\n".to_owned(),
        front("trusted_proxies = 192.0.2.1\n"),
        format!("{}{guessing}", front("trusted_proxies = 192.0.2.0/24, ::1\n")),
    ] {
        let w = Scene::with(&ini);
        let (pem, own) = (one_line(&w.pem), format!("&client_id={}", w.c.alice));
        let more = [
            ("SSL_CLIENT_CERT", &*pem),
            ("SSL-Client-Cert", &pem),
            ("Client-Cert", &pem),
            ("X-Forwarded-Tls-Client-Cert", &pem),
            ("X-Forwarded-For", "192.0.2.1"),
            ("Forwarded", "for=192.0.2.1"),
        ];
        let headers = [&[("X-SSL-Client-Cert", &*pem)], &more[..]].concat();
        refused(&w.send(&headers, &own), "no-such-method");
        refused(&w.send(&headers, &format!("{own}&client_secret=x")), "no-such-credential");
    }
    // One of two may be the client's.
    let w = Scene::new();
    let shown = ("X-SSL-Client-Cert", &*one_line(&w.pem));
    let twice = w.send(&[shown, shown], &format!("&client_id={}", w.c.alice)).expect(400);
    assert_eq!(twice.body["error"], "invalid_request");
}

#[test]
fn it_is_a_delegated_token_and_stays_bound() {
    let w = Scene::new();
    let (s, token) = (&w.c.s, w.token());
    let rescoped = |scope: Value| {
        s.auth(json!({"identity": {"methods": ["token"], "token": {"id": token}}, "scope": scope}))
    };
    for wanted in [Value::Null, scope::on_project(&w.c.p), scope::on_project(&w.c.q), json!("unscoped")] {
        rescoped(wanted).expect(403);
    }
    // Nor together with another method.
    let mut both = by_password(&w.c.alice, "alice-pw", scope::on_project(&w.c.q));
    both["identity"]["methods"] = json!(["password", "token"]);
    both["identity"]["token"] = json!({"id": token});
    s.auth(both).expect(403);
    s.post(&token, "/v3/OS-TRUST/trusts", w.c.ask(json!({}))).expect(403);
    let users = format!("/v3/users/{}", w.c.alice);
    let credential = json!({"application_credential": {"name": "one"}});
    s.post(&token, &format!("{users}/application_credentials"), credential).expect(403);
    s.get(&token, &format!("{users}/application_credentials")).expect(403);
    s.post(&token, &format!("{users}/credentials/OS-EC2"), json!({"tenant_id": w.c.p})).expect(403);
    let blob = json!({"credential": {"type": "totp", "user_id": w.c.alice, "blob": "ABCDEFGHIJKLMNOP"}});
    s.post(&token, "/v3/credentials", blob).expect(403);
    let password = json!({"user": {"original_password": "alice-pw", "password": "x"}});
    // The old password proves the user, whatever token comes along.
    assert_ne!(s.post(&token, &format!("{users}/password"), password).status, 500);
    // A method of that name is none at a login.
    for auth in [
        json!({"identity": {"methods": ["oauth2_credential"], "oauth2_credential": {}}}),
        json!({"identity": {"methods": ["oauth2_credential"]}}),
    ] {
        s.auth(auth).expect(401);
    }
}

#[test]
fn a_method_of_that_name_in_the_configuration_changes_nothing() {
    let w = Scene::with(&format!(
        "[auth]\nmethods = password,token,oauth2_credential\nadditional_primary_auth_methods = oauth2_credential\n{FRONT}"
    ));
    let token = w.token();
    let shown = w.c.s.validate(&token).expect(200);
    assert_eq!(shown.body["token"]["methods"], json!(["oauth2_credential"]));
    let again = json!({"identity": {"methods": ["token"], "token": {"id": token}}});
    w.c.s.auth(again).expect(403);
    w.c.s.post(&token, "/v3/OS-TRUST/trusts", w.c.ask(json!({}))).expect(403);
}

#[test]
fn it_ends_with_what_it_rests_on() {
    let dies = |act: &dyn Fn(&Scene, &str, &str)| {
        let w = Scene::new();
        let (s, admin, token) = (&w.c.s, w.c.s.admin(), w.token());
        s.validate(&token).expect(200);
        s.clock.advance(SECOND);
        act(&w, &admin, &token);
        s.validate(&token).expect(404);
        s.get(&token, "/v3/auth/projects").expect(401);
    };
    dies(&|w, admin, _| {
        for role in ["member", "heat_stack_owner"] {
            let path = format!("/v3/projects/{}/users/{}/roles/{}", w.c.p, w.c.alice, w.c.s.role(role));
            w.c.s.delete(admin, &path).expect(204);
        }
    });
    // Roles that were lost do not come back into it.
    dies(&|w, admin, _| {
        let path = format!("/v3/projects/{}/users/{}/roles/{}", w.c.p, w.c.alice, w.c.s.role("member"));
        w.c.s.delete(admin, &path).expect(204);
        w.c.s.put(admin, &path).expect(204);
    });
    dies(&|w, admin, _| {
        w.c.s.delete(admin, &format!("/v3/projects/{}", w.c.p)).expect(204);
    });
    dies(&|w, admin, _| {
        let off = json!({"project": {"enabled": false}});
        w.c.s.patch(admin, &format!("/v3/projects/{}", w.c.p), off).expect(200);
    });
    dies(&|w, admin, _| {
        w.c.s.delete(admin, &format!("/v3/users/{}", w.c.alice)).expect(204);
    });
    dies(&|w, _, _| w.change(json!({"enabled": false})));
    dies(&|w, _, _| w.change(json!({"password": "another"})));
    dies(&|w, _, token| {
        let own = [("X-Auth-Token", token), ("X-Subject-Token", token)];
        w.c.s.call("DELETE", "/v3/auth/tokens", &own, None).expect(204);
    });
    // It is of the project that was the default one.
    let w = Scene::new();
    let token = w.token();
    w.c.s.clock.advance(SECOND);
    w.change(json!({"default_project_id": w.c.q}));
    w.c.s.delete(&w.c.s.admin(), "/v3/OS-FEDERATION/mappings/oauth2_mapping").expect(204);
    w.c.s.validate(&token).expect(200);
}

#[test]
fn one_that_a_keystone_made_is_the_same() {
    let w = Scene::new();
    let scope =
        PayloadScope::Certificate(w.c.p.clone(), "LXEWQrcmsEQBYnyp-6wy9chTD7GQPMTbAiWHF5IaSIE=".into());
    let token = w.c.foreign_token(&w.c.alice, &[], scope);
    let shown = w.c.s.validate(&token).expect(200);
    let bound = json!({"x5t#S256": "LXEWQrcmsEQBYnyp-6wy9chTD7GQPMTbAiWHF5IaSIE="});
    assert_eq!(shown.body["token"]["oauth2_credential"], bound);
    let again = json!({"identity": {"methods": ["token"], "token": {"id": token}}});
    w.c.s.auth(again).expect(403);
    // Nobody shows it longer than it lives.
    w.c.s.clock.advance(3600 * SECOND);
    let path = "/v3/auth/tokens?allow_expired=true";
    let headers = [("X-Auth-Token", &*w.c.s.admin()), ("X-Subject-Token", &token)];
    w.c.s.call("GET", path, &headers, None).expect(404);
}
