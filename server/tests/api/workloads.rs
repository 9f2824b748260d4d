//! Trusts that are bound to a workload: only that uses them, whatever else its user can show.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use vicar::args;
use vicar::clock::SECOND;

use crate::federation_oidc::{Cloud, Key, Provider};
use crate::support::{Answer, Server, by_password, id};

const TRUSTS: &str = "/v3/OS-TRUST/trusts";

/// A cloud where every workload of the provider logs in as one user, `engine`, whose password is known too. Alice is a member of a
/// project.
struct Cast {
    c: Cloud,
    alice: String,
    engine: String,
    project: String,
}

impl Cast {
    fn new() -> Self {
        Self::with("")
    }

    fn with(ini: &str) -> Self {
        let c = Cloud::with(ini);
        let (alice, engine, project) = (c.s.user("alice"), c.s.user("engine"), c.s.project("p"));
        c.s.grant(&alice, &project, "member");
        let rules = json!([{
            "local": [{"user": {"name": "engine", "type": "local", "domain": {"id": "default"}}}],
            "remote": [{"type": "HTTP_OIDC_SUB"}],
        }]);
        let path = "/v3/OS-FEDERATION/mappings/m";
        c.s.patch(&c.s.admin(), path, json!({"mapping": {"rules": rules}})).expect(200);
        Self { c, alice, engine, project }
    }

    fn make(&self, with: Value) -> Answer {
        let mut trust = json!({
            "trustor_user_id": self.alice, "trustee_user_id": self.engine, "project_id": self.project,
            "impersonation": true, "roles": [{"name": "member"}],
        });
        trust.as_object_mut().expect("an object").extend(with.as_object().expect("an object").clone());
        self.c.s.post(&self.c.s.on("alice", &self.project), TRUSTS, json!({ "trust": trust }))
    }

    /// One for the workload `pod`.
    fn bound(&self, with: Value) -> String {
        let mut with = with;
        with["trustee_binding"] = json!({"issuer": self.c.p.url, "subject": "pod"});
        id(&self.make(with).expect(201), "trust")
    }

    /// A login of a workload, for the trust at once.
    fn uses(&self, claims: Value, trust: &str) -> Answer {
        let body = json!({"auth": {
            "identity": {"methods": ["openid"], "openid": {"identity_provider": "campus", "protocol": "openid"}},
            "scope": {"OS-TRUST:trust": {"id": trust}},
        }});
        let bearer = format!("Bearer {}", self.c.token(claims));
        let headers = [("Authorization", bearer.as_str())];
        self.c.s.call("POST", "/v3/auth/tokens", &headers, Some(body.to_string().as_bytes()))
    }

    /// An exchange of a token.
    fn exchanges(&self, token: &str, trust: &str) -> Answer {
        self.c.s.auth(json!({
            "identity": {"methods": ["token"], "token": {"id": token}},
            "scope": {"OS-TRUST:trust": {"id": trust}},
        }))
    }
}

#[track_caller]
fn is_refused(answer: Answer) {
    assert!(answer.expect(403).text.contains("trustee_binding"));
}

#[test]
fn a_bound_trust_is_used_by_its_workload_alone() {
    let cast = Cast::new();
    let trust = cast.bound(json!({}));
    let used = cast.uses(json!({"sub": "pod"}), &trust).expect(201);
    assert_eq!(used.body["token"]["user"]["id"], cast.alice.as_str());
    assert_eq!(used.body["token"]["OS-TRUST:trust"]["trustee_user"]["id"], cast.engine.as_str());
    cast.c.s.validate(&used.token()).expect(200);
    // The same user: another workload, and the password.
    is_refused(cast.uses(json!({"sub": "other"}), &trust));
    is_refused(cast.c.s.consume("engine", &trust));
    is_refused(cast.exchanges(&cast.c.s.unscoped("engine"), &trust));
    // A token without a scope is exchanged, as keystoneauth does it, and what it is exchanged for remembers the workload.
    let of = |sub: &str| cast.c.bear(&cast.c.token(json!({"sub": sub}))).expect(201).token();
    cast.exchanges(&of("pod"), &trust).expect(201);
    is_refused(cast.exchanges(&of("other"), &trust));
    let again = cast.c.s.auth(json!({
        "identity": {"methods": ["token"], "token": {"id": of("pod")}}, "scope": "unscoped",
    }));
    cast.exchanges(&again.expect(201).token(), &trust).expect(201);
    // One that is not bound is for all of them.
    let plain = id(&cast.make(json!({"expires_at": "2033-01-01T00:00:00Z"})).expect(201), "trust");
    cast.c.s.consume("engine", &plain).expect(201);
    cast.uses(json!({"sub": "other"}), &plain).expect(201);
}

#[test]
fn a_binding_asks_for_the_issuer_and_the_audience_too() {
    let cast = Cast::new();
    let made = |binding: Value, end: &str| {
        id(&cast.make(json!({"trustee_binding": binding, "expires_at": end})).expect(201), "trust")
    };
    let binding = json!({"issuer": cast.c.p.url, "subject": "pod", "audience": "heat"});
    let for_heat = made(binding.clone(), "2033-01-02T00:00:00Z");
    is_refused(cast.uses(json!({"sub": "pod"}), &for_heat));
    cast.uses(json!({"sub": "pod", "aud": ["cloud", "heat"]}), &for_heat).expect(201);
    let shown = cast.c.s.get(&cast.c.s.unscoped("engine"), &format!("{TRUSTS}/{for_heat}")).expect(200);
    assert_eq!(shown.body["trust"]["trustee_binding"], binding);
    for wrong in [
        json!("pod"),
        json!({"issuer": "i"}),
        json!({"subject": "s"}),
        json!({"issuer": "", "subject": "s"}),
        // Nobody could use it.
        json!({"issuer": "https://elsewhere", "subject": "pod"}),
        json!({"issuer": "i", "subject": 1}),
        json!({"issuer": "i", "subject": "s", "audience": ["a"]}),
        json!({"issuer": "i", "subject": "s", "thumbprint": "t"}),
        json!({}),
        json!({"audience": "a"}),
        json!({"x5t#S256": null}),
        json!({"x5t#S256": ""}),
        // That of RFC 8705 has no padding, and is of other bytes.
        json!({"x5t#S256": "q-GGlV3fXSp7sW_9sofmTDiwFmN_TWwTKfd24qETsSg"}),
        json!({"x5t#S256": "q+GGlV3fXSp7sW/9sofmTDiwFmN/TWwTKfd24qETsSg="}),
        json!({"x5t#S256": "q-GGlV3fXSp7sW_9sofmTDiwFmN_TWwTKfd24qETsSg=", "audience": "a"}),
        json!({"x5t#S256": "q-GGlV3fXSp7sW_9sofmTDiwFmN_TWwTKfd24qETsSg=", "issuer": "i", "subject": "s"}),
    ] {
        let answer = cast.make(json!({ "trustee_binding": wrong })).expect(400);
        assert!(answer.text.contains("trustee_binding"), "{}", answer.text);
    }
}

#[test]
fn a_workload_is_none_any_more_when_its_provider_is_disabled_or_gone() {
    let cast = Cast::new();
    let trust = cast.bound(json!({}));
    let (s, path) = (&cast.c.s, "/v3/OS-FEDERATION/identity_providers/campus");
    let pod = cast.c.bear(&cast.c.token(json!({"sub": "pod"}))).expect(201).token();
    let put = |path: &str, body: Value| {
        let (admin, body) = (s.admin(), body.to_string());
        let headers = [("X-Auth-Token", admin.as_str()), ("Content-Type", "application/json")];
        s.call("PUT", path, &headers, Some(body.as_bytes())).expect(201);
    };
    let enable = |enabled: bool| {
        s.patch(&s.admin(), path, json!({"identity_provider": {"enabled": enabled}})).expect(200);
    };
    let passing = cast.bound(json!({"allow_redelegation": true, "expires_at": "2034-01-01T00:00:00Z"}));
    let passes_on = cast.uses(json!({"sub": "pod"}), &passing).expect(201).token();
    let child = json!({"trust": {
        "trustor_user_id": cast.alice, "trustee_user_id": s.user("bob"), "project_id": cast.project,
        "impersonation": true, "roles": [{"name": "member"}],
    }});
    enable(false);
    is_refused(cast.exchanges(&pod, &trust));
    is_refused(s.post(&passes_on, TRUSTS, child.clone()));
    enable(true);
    s.post(&passes_on, TRUSTS, child).expect(201);
    let of_trust = cast.exchanges(&pod, &trust).expect(201).token();
    let at_once = cast.uses(json!({"sub": "pod"}), &trust).expect(201).token();
    // Another protocol of the provider is not the way of its workloads.
    put(&format!("{path}/protocols/saml2"), json!({"protocol": {"mapping_id": "m"}}));
    s.delete(&s.admin(), &format!("{path}/protocols/saml2")).expect(204);
    s.validate(&at_once).expect(200);
    // Without a protocol nobody comes from it; what is left of who came ends, and another provider of its id revives nothing.
    s.delete(&s.admin(), &format!("{path}/protocols/openid")).expect(204);
    for token in [&pod, &of_trust, &at_once] {
        s.validate(token).expect(404);
    }
    put(&format!("{path}/protocols/openid"), json!({"protocol": {"mapping_id": "m"}}));
    cast.exchanges(&pod, &trust).expect(404);
    let pod = cast.c.bear(&cast.c.token(json!({"sub": "pod"}))).expect(201).token();
    cast.exchanges(&pod, &trust).expect(201);
    s.delete(&s.admin(), path).expect(204);
    cast.exchanges(&pod, &trust).expect(404);
    put(path, json!({"identity_provider": {"enabled": true, "domain_id": "default"}}));
    cast.exchanges(&pod, &trust).expect(404);
}

#[test]
fn a_bound_trust_has_no_keypairs_and_is_passed_on_as_any_other() {
    let cast = Cast::new();
    let trust = cast.bound(json!({"allow_redelegation": true}));
    let token = cast.uses(json!({"sub": "pod"}), &trust).expect(201).token();
    let keypairs = format!("/v3/users/{}/credentials/OS-EC2", cast.alice);
    let answer = cast.c.s.post(&token, &keypairs, json!({"tenant_id": cast.project})).expect(403);
    assert!(answer.text.contains("no keypairs"), "{}", answer.text);
    let carol = cast.c.s.user("carol");
    let below = cast.c.s.post(
        &token,
        TRUSTS,
        json!({"trust": {
            "trustor_user_id": cast.alice, "trustee_user_id": carol, "project_id": cast.project,
            "impersonation": true, "roles": [{"name": "member"}],
        }}),
    );
    let below = id(&below.expect(201), "trust");
    cast.c.s.consume("carol", &below).expect(201);
    let question = json!({"explain": {"subject": {"trust_id": trust}}});
    let why = cast.c.s.post(&cast.c.s.unscoped("alice"), "/v3/auth/explain", question).expect(200);
    assert!(why.text.contains("the workload pod of"), "{}", why.text);
}

#[test]
fn to_a_keystone_a_bound_trust_is_deleted_and_a_workload_is_forgotten_with_its_tokens() {
    let cast = Cast::new();
    let trust = cast.bound(json!({}));
    let s = &cast.c.s;
    let count = |sql: &str| {
        s.runtime.block_on(async {
            let mut tx = s.another_store().read().await.expect("begins");
            tx.all(sql, args![]).await.expect("reads").len()
        })
    };
    assert_eq!(count(&format!("SELECT id FROM trust WHERE id = '{trust}' AND deleted_at IS NULL")), 0);
    cast.c.bear(&cast.c.token(json!({"sub": "pod"}))).expect(201);
    let workloads = "SELECT audit_chain_id FROM vicar_workload";
    assert_eq!(count(workloads), 1);
    cast.uses(json!({"sub": "pod"}), &trust).expect(201);
    assert_eq!(count(workloads), 2);
    s.clock.advance(2 * 86_400 * SECOND);
    s.runtime.block_on(vicar::reaper::sweep(&s.app)).expect("sweeps");
    assert_eq!(count(workloads), 0);
}

const FRONT: &str = "[vicar]\nclient_certificate_header = X-SSL-Client-Cert\ntrusted_proxies = 127.0.0.1\n";

/// A certificate as a front server hands it on, and its thumbprint as tokens name it.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["pod".to_owned()]).expect("a certificate");
    let pem = made.cert.pem().replace('\r', "");
    (pem.replace('\n', " "), URL_SAFE.encode(Sha256::digest(&pem)))
}

/// A login on a connection with a certificate, if there is one.
fn on(cast: &Cast, shown: Option<&str>, bearer: Option<&str>, auth: Value) -> Answer {
    let bearer = bearer.map(|token| format!("Bearer {token}"));
    let mut headers: Vec<(&str, &str)> = shown.map(|pem| ("X-SSL-Client-Cert", pem)).into_iter().collect();
    headers.extend(bearer.as_deref().map(|text| ("Authorization", text)));
    let body = json!({ "auth": auth }).to_string();
    cast.c.s.call("POST", "/v3/auth/tokens", &headers, Some(body.as_bytes()))
}

fn of_trust(trust: &str) -> Value {
    json!({"OS-TRUST:trust": {"id": trust}})
}

#[test]
fn a_trust_that_is_bound_to_a_certificate_is_used_on_connections_with_it_alone() {
    let cast = Cast::with(FRONT);
    let s = &cast.c.s;
    let ((own, thumbprint), (other, _)) = (certificate(), certificate());
    let binding = json!({ "x5t#S256": thumbprint });
    let trust = id(&cast.make(json!({"trustee_binding": binding, "remaining_uses": 5})).expect(201), "trust");
    let by_password =
        |shown| on(&cast, shown, None, by_password(&cast.engine, "engine-pw", of_trust(&trust)));
    let exchanged = |shown, token: &str| {
        let identity = json!({"methods": ["token"], "token": {"id": token}});
        on(&cast, shown, None, json!({"identity": identity, "scope": of_trust(&trust)}))
    };
    let by_provider = |shown, trust: &str| {
        let openid = json!({"identity_provider": "campus", "protocol": "openid"});
        let identity = json!({"methods": ["openid"], "openid": openid});
        let token = cast.c.token(json!({"sub": "pod"}));
        on(&cast, shown, Some(&token), json!({"identity": identity, "scope": of_trust(trust)}))
    };
    let unscoped = s.unscoped("engine");
    // One that was gotten on such a connection is exchanged on one.
    let scope = json!({"identity": {"methods": ["token"], "token": {"id": unscoped}}, "scope": "unscoped"});
    let again = on(&cast, Some(&own), None, scope).expect(201).token();
    for shown in [None, Some(&*other), Some("(null)"), Some(""), Some("AAAA"), Some("x")] {
        is_refused(by_password(shown));
        is_refused(exchanged(shown, &again));
        is_refused(by_provider(shown, &trust));
    }
    is_refused(cast.c.s.consume("engine", &trust));
    let twice = [("X-SSL-Client-Cert", own.as_str()), ("X-SSL-Client-Cert", &other)];
    let body = json!({"auth": by_password_body(&cast, &trust)}).to_string();
    s.call("POST", "/v3/auth/tokens", &twice, Some(body.as_bytes())).expect(400);
    for answer in [
        by_password(Some(&own)),
        exchanged(Some(&own), &unscoped),
        exchanged(Some(&own), &again),
        by_provider(Some(&own), &trust),
    ] {
        let answer = answer.expect(201);
        let seen = s.validate(&answer.token()).expect(200);
        for token in [&answer.body["token"], &seen.body["token"]] {
            assert_eq!((&token["user"]["id"], &token["oauth2_credential"]), (&json!(cast.alice), &binding));
        }
    }
    // What was refused took no use.
    by_password(Some(&own)).expect(201);
    by_password(Some(&own)).expect(401);
    // It takes a certificate and no identity at a provider; the other way round as well.
    let of_pod = cast.bound(json!({"expires_at": "2033-01-01T00:00:00Z"}));
    let answer = by_provider(Some(&own), &of_pod).expect(201);
    assert!(answer.body["token"].get("oauth2_credential").is_none());
    is_refused(on(&cast, Some(&own), None, by_password_body(&cast, &of_pod)));
}

fn by_password_body(cast: &Cast, trust: &str) -> Value {
    by_password(&cast.engine, "engine-pw", of_trust(trust))
}

#[test]
fn a_certificate_is_shown_with_its_trust_which_has_no_keypairs() {
    let cast = Cast::with(FRONT);
    let s = &cast.c.s;
    let (own, thumbprint) = certificate();
    let binding = json!({ "x5t#S256": thumbprint });
    let with = json!({"trustee_binding": binding, "allow_redelegation": true});
    let trust = id(&cast.make(with).expect(201), "trust");
    let shown = s.get(&s.unscoped("engine"), &format!("{TRUSTS}/{trust}")).expect(200);
    assert_eq!(shown.body["trust"]["trustee_binding"], binding);
    let question = json!({"explain": {"subject": {"trust_id": trust}}});
    let why = s.post(&s.unscoped("alice"), "/v3/auth/explain", question).expect(200);
    assert!(why.text.contains(&format!("the certificate {thumbprint} (trustee_binding)")), "{}", why.text);
    let token = on(&cast, Some(&own), None, by_password_body(&cast, &trust)).expect(201).token();
    let (other, _) = certificate();
    let keypairs = format!("/v3/users/{}/credentials/OS-EC2", cast.alice);
    let answer = s.post(&token, &keypairs, json!({"tenant_id": cast.project})).expect(403);
    assert!(answer.text.contains("no keypairs"), "{}", answer.text);
    // What is passed on of it is bound if that says so.
    let carol = s.user("carol");
    let pass_on = |shown: Option<&str>, end: &str, binding: Value| {
        let trust = json!({"trust": {
            "trustor_user_id": cast.alice, "trustee_user_id": carol, "project_id": cast.project,
            "impersonation": true, "roles": [{"name": "member"}], "expires_at": end, "trustee_binding": binding,
        }});
        let mut headers = vec![("X-Auth-Token", token.as_str()), ("Content-Type", "application/json")];
        headers.extend(shown.map(|pem| ("X-SSL-Client-Cert", pem)));
        s.call("POST", TRUSTS, &headers, Some(trust.to_string().as_bytes()))
    };
    let below = |end: &str, binding: Value| id(&pass_on(Some(&own), end, binding).expect(201), "trust");
    // Which is a use of it.
    for shown in [None, Some(other.as_str())] {
        is_refused(pass_on(shown, "2033-01-01T00:00:00Z", Value::Null));
    }
    let used = s.consume("carol", &below("2033-01-01T00:00:00Z", Value::Null)).expect(201);
    assert!(used.body["token"].get("oauth2_credential").is_none());
    is_refused(s.consume("carol", &below("2033-01-02T00:00:00Z", binding)));
}

#[test]
fn whoever_is_no_front_server_has_no_certificate_for_a_trust() {
    for ini in ["", "[vicar]\nclient_certificate_header = X-SSL-Client-Cert\ntrusted_proxies = 192.0.2.1\n"] {
        let cast = Cast::with(ini);
        let (own, thumbprint) = certificate();
        let trust = id(&cast.make(json!({"trustee_binding": {"x5t#S256": thumbprint}})).expect(201), "trust");
        is_refused(on(&cast, Some(&own), None, by_password_body(&cast, &trust)));
    }
}

/// A cloud with one provider, `pods`, whose workloads log in as `engine`.
struct Pods(Server);

impl Pods {
    fn new(options: &str, issuer: &str) -> Self {
        let s = Server::with(&format!("[auth]\nmethods = password,token,openid\n[oidc.pods]\n{options}\n"));
        let admin = s.admin();
        let put = |path: &str, body: Value| {
            let path = format!("/v3/OS-FEDERATION/{path}");
            s.call("PUT", &path, &[("X-Auth-Token", &admin)], Some(body.to_string().as_bytes())).expect(201);
        };
        s.user("engine");
        let rules = json!([{
            "local": [{"user": {"name": "engine", "type": "local", "domain": {"id": "default"}}}],
            "remote": [{"type": "HTTP_OIDC_SUB"}],
        }]);
        let remote = json!({"enabled": true, "domain_id": "default", "remote_ids": [issuer]});
        put("identity_providers/pods", json!({"identity_provider": remote}));
        put("mappings/m", json!({"mapping": {"rules": rules}}));
        let protocol = json!({"mapping_id": "m", "remote_id_attribute": "HTTP_OIDC_ISS"});
        put("identity_providers/pods/protocols/openid", json!({"protocol": protocol}));
        Self(s)
    }

    fn comes(&self, key: &Key, more: Value) -> Answer {
        let now = self.0.clock.now() / SECOND;
        let mut claims = json!({"aud": ["cloud"], "iat": now, "nbf": now, "exp": now + 3600});
        claims.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let path = "/v3/OS-FEDERATION/identity_providers/pods/protocols/openid/auth";
        let bearer = format!("Bearer {}", key.sign(&claims));
        self.0.call("POST", path, &[("Authorization", &bearer)], None)
    }
}

const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";

#[test]
fn of_a_provider_whose_keys_are_in_a_file_nobody_is_asked() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let file = std::env::temp_dir().join(format!("vicar-keys-{}.json", vicar::ids::uuid()));
    let has = |keys: &[&Key]| {
        let all: Vec<Value> = keys.iter().map(|key| key.public()).collect();
        std::fs::write(&file, json!({ "keys": all }).to_string()).expect("written");
    };
    has(&[&old]);
    let pods =
        Pods::new(&format!("issuer = {CLUSTER}\naudience = cloud\njwks = {}", file.display()), CLUSTER);
    let pod = json!({"iss": CLUSTER, "sub": "system:serviceaccount:a:b"});
    let comes = |key: &Key| pods.comes(key, pod.clone()).status;
    assert_eq!((comes(&old), comes(&new)), (201, 401));
    pods.0.clock.advance(2 * 86_400 * SECOND);
    assert_eq!((comes(&old), comes(&new)), (201, 401));
    pods.comes(&old, json!({"iss": "https://elsewhere", "sub": "x"})).expect(401);
    pods.comes(&old, json!({"sub": "x"})).expect(401);
    has(&[&old, &new]);
    assert_eq!(comes(&new), 401);
    pods.0.app.providers.reload().expect("reads");
    assert_eq!((comes(&old), comes(&new)), (201, 201));
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(pods.0.app.providers.reload().expect_err("gone").len(), 1);
    assert_eq!((comes(&old), comes(&new)), (201, 201));
}

#[test]
fn of_a_provider_whose_keys_have_a_pinned_url_only_that_is_asked() {
    let key = Key::new("one");
    let p = Provider::new(&[&key]);
    let pods = Pods::new(&format!("issuer = {CLUSTER}\naudience = cloud\njwks = {}/keys", p.url), CLUSTER);
    let pod = json!({"iss": CLUSTER, "sub": "system:serviceaccount:a:b"});
    pods.comes(&key, pod.clone()).expect(201);
    pods.comes(&key, pod.clone()).expect(201);
    assert_eq!(p.asked(), 1);
    pods.comes(&key, json!({"iss": p.url, "sub": "x"})).expect(401);
    let new = Key::new("two");
    p.has(&[&new]);
    pods.0.clock.advance(10 * SECOND);
    pods.comes(&new, pod.clone()).expect(201);
    pods.comes(&key, pod).expect(401);
}

#[test]
fn a_trust_domain_of_spiffe_is_an_issuer_of_its_own_names() {
    const DOMAIN: &str = "spiffe://example.org";
    let (key, of_certificates) = (Key::new("jwt"), Key::new("x509"));
    let file = std::env::temp_dir().join(format!("vicar-bundle-{}.json", vicar::ids::uuid()));
    let marked = |key: &Key, r#use: &str| {
        let mut key = key.public();
        key["use"] = r#use.into();
        key
    };
    let bundle = json!({"keys": [marked(&of_certificates, "x509-svid"), marked(&key, "jwt-svid")],
        "spiffe_sequence": 1, "spiffe_refresh_hint": 600});
    std::fs::write(&file, bundle.to_string()).expect("written");
    let options = format!("issuer = {DOMAIN}\naudience = cloud\njwks = {}", file.display());
    let pods = Pods::new(&options, DOMAIN);
    std::fs::remove_file(&file).expect("removed");
    let name = "spiffe://example.org/ns/web/sa/front";
    pods.comes(&key, json!({"sub": name})).expect(201);
    pods.comes(&key, json!({"sub": name, "iss": "https://spire.example.org"})).expect(201);
    pods.comes(&of_certificates, json!({"sub": name})).expect(401);
    for sub in ["spiffe://example.org", "spiffe://other.org/ns/web/sa/front", "front"] {
        pods.comes(&key, json!({ "sub": sub })).expect(401);
    }
    // A trust is bound to the name, and the trust domain is the issuer.
    let s = &pods.0;
    let (alice, engine, project) = (
        s.user("alice"),
        s.sql_text("SELECT user_id FROM local_user WHERE name = ?", args!["engine"]),
        s.project("p"),
    );
    s.grant(&alice, &project, "member");
    let trust = json!({"trust": {
        "trustor_user_id": alice, "trustee_user_id": engine.expect("a user"), "project_id": project,
        "impersonation": true, "roles": [{"name": "member"}],
        "trustee_binding": {"issuer": DOMAIN, "subject": name, "audience": "cloud"},
    }});
    let trust = id(&s.post(&s.on("alice", &project), TRUSTS, trust).expect(201), "trust");
    let uses = |sub: &str| {
        let token = pods.comes(&key, json!({ "sub": sub })).expect(201).token();
        s.auth(json!({"identity": {"methods": ["token"], "token": {"id": token}}, "scope": of_trust(&trust)}))
    };
    uses(name).expect(201);
    is_refused(uses("spiffe://example.org/ns/web/sa/back"));
}

/// All tokens of a credential have one chain, which is no workload's.
#[test]
fn a_credential_beside_a_workload_makes_no_workload_of_its_tokens() {
    let cast = Cast::with("");
    let s = &cast.c.s;
    s.grant(&cast.engine, &cast.project, "member");
    let path = format!("/v3/users/{}/application_credentials", cast.engine);
    let ask = json!({"application_credential": {"name": "c"}});
    let made = s.post(&s.on("engine", &cast.project), &path, ask).expect(201);
    let made = &made.body["application_credential"];
    let credential = json!({"id": made["id"], "secret": made["secret"]});
    let openid = json!({"identity_provider": "campus", "protocol": "openid"});
    for _ in 0..2 {
        let identity = json!({"methods": ["openid", "application_credential"], "openid": openid,
            "application_credential": credential});
        let bearer = cast.c.token(json!({"sub": "pod"}));
        on(&cast, None, Some(&bearer), json!({ "identity": identity })).expect(201);
    }
    let rows = s.sql_text("SELECT issuer FROM vicar_workload", args![]);
    assert_eq!(rows, None);
}

/// A sequence that is the same for a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }
}

/// What a token of the trustee's comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Began {
    Password,
    Workload(&'static str),
}

/// Whatever logs in, is exchanged, passed on or made of it, in whichever order: who uses a bound trust has come as its workload.
#[test]
fn nobody_but_its_workload_ever_uses_a_bound_trust() {
    const STEPS: usize = 250;
    let cast = Cast::new();
    let s = &cast.c.s;
    let carol = s.user("carol");
    let trust = cast.bound(json!({"allow_redelegation": true, "redelegation_count": 2}));
    let of = |token: &str, scope: Value| {
        let identity = json!({"methods": ["token"], "token": {"id": token}});
        json!({"identity": identity, "scope": scope})
    };
    let mut dice = Dice(13);
    // Tokens without a scope, and what they come from; those of the trust; and what was made below it, with its trustee.
    let mut logins = vec![(s.unscoped("engine"), Began::Password)];
    let mut tokens = Vec::new();
    let mut below: Vec<(String, &str)> = Vec::new();
    let (mut used, mut refused) = (0, 0);
    for step in 0..STEPS {
        let (text, from) = logins[dice.roll(logins.len())].clone();
        let mut judge = |from: Began, answer: Answer| match from == Began::Workload("pod") {
            true => {
                used += 1;
                let answer = answer.expect(201);
                assert_eq!(answer.body["token"]["OS-TRUST:trust"]["id"], trust, "step {step}");
                tokens.push(answer.token());
            }
            false => {
                refused += 1;
                is_refused(answer);
            }
        };
        match dice.roll(12) {
            0 => logins.push((s.unscoped("engine"), Began::Password)),
            1 | 2 => {
                let sub = ["pod", "pod2", "engine"][dice.roll(3)];
                let token = cast.c.bear(&cast.c.token(json!({ "sub": sub }))).expect(201).token();
                logins.push((token, Began::Workload(sub)));
            }
            3 => logins.push((s.auth(of(&text, json!("unscoped"))).expect(201).token(), from)),
            // With the password beside it, a token stays what it is.
            4 => {
                let mut auth = by_password(&cast.engine, "engine-pw", json!("unscoped"));
                auth["identity"]["methods"] = json!(["password", "token"]);
                auth["identity"]["token"] = json!({ "id": text });
                logins.push((s.auth(auth).expect(201).token(), from));
            }
            5 | 6 => judge(from, s.auth(of(&text, of_trust(&trust)))),
            7 => judge(Began::Password, s.consume("engine", &trust)),
            8 => {
                let sub = ["pod", "pod2"][dice.roll(2)];
                judge(Began::Workload(sub), cast.uses(json!({ "sub": sub }), &trust));
            }
            9 if !tokens.is_empty() => {
                let token = &tokens[dice.roll(tokens.len())];
                let (id_of, name) = [(&carol, "carol"), (&cast.engine, "engine")][dice.roll(2)];
                let end = format!("2034-01-01T00:{:02}:{:02}Z", step / 60, step % 60);
                let ask = json!({"trust": {
                    "trustor_user_id": cast.alice, "trustee_user_id": id_of, "project_id": cast.project,
                    "impersonation": true, "roles": [{"name": "member"}], "expires_at": end,
                }});
                let made = s.post(token, TRUSTS, ask).expect(201);
                assert_eq!(made.body["trust"]["redelegated_trust_id"], trust);
                below.push((id(&made, "trust"), name));
            }
            // What lives longer than a token, and by itself.
            10 if !tokens.is_empty() => {
                let token = &tokens[dice.roll(tokens.len())];
                for user in [&cast.alice, &cast.engine] {
                    let keypairs = format!("/v3/users/{user}/credentials/OS-EC2");
                    s.post(token, &keypairs, json!({"tenant_id": cast.project})).expect(403);
                    let credentials = format!("/v3/users/{user}/application_credentials");
                    let ask = json!({"application_credential": {"name": format!("c{step}")}});
                    s.post(token, &credentials, ask).expect(403);
                }
                s.auth(of(token, of_trust(&trust))).expect(403);
                s.auth(of(token, json!("unscoped"))).expect(403);
            }
            // What was passed on is used as itself, never as what it was passed on from.
            11 if !below.is_empty() => {
                let (id, name) = &below[dice.roll(below.len())];
                let answer = s.consume(name, id).expect(201);
                assert_eq!(answer.body["token"]["OS-TRUST:trust"]["id"], id.as_str());
                s.auth(of(&answer.token(), of_trust(&trust))).expect(403);
            }
            _ => {}
        }
    }
    assert!(used > 10 && refused > 10 && below.len() > 3, "{used} {refused} {}", below.len());
}
