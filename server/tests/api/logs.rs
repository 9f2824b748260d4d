//! What the log has of requests: who, from where, why not, and the events of security. What must hold of every line is
//! checked with each request of each test, in support/logged.rs.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use vicar::app::Rules;
use vicar::auth::fernet::{Federated, PayloadScope};
use vicar::clock::SECOND;
use vicar::reason::Reason;

use crate::hardening::until;
use crate::mfa;
use crate::support::{Answer, Cast, PASSWORD, Server, by_password, id};

fn reason(answer: &Answer) -> &str {
    answer.logged.request["reason"].as_str().unwrap_or_else(|| panic!("no reason: {}", answer.text))
}

/// Everything that a request can be refused for is done once.
#[test]
fn each_refusal_has_its_reason_in_the_log_and_a_401_is_like_any_other() {
    let c = Cast::with(
        "[auth]\nmethods = password,token,application_credential,ec2credential,totp,external,mapped\n\
         [security_compliance]\nlockout_failure_attempts = 2\nlockout_duration = 60\n\
         [credential]\nrefuse_replay = true\n\
         [vicar]\nclient_certificate_header = X-Cert\nassertion_headers = OIDC-\ntrusted_proxies = 127.0.0.1\n\
         [oidc.idp]\nissuer = http://127.0.0.1:1\naudience = x\nprotocol = mapped\n",
    );
    let s = &c.s;
    let admin = s.admin();
    let mut seen = BTreeSet::new();
    let mut bodies = BTreeSet::new();
    let mut refused = |answer: Answer, status: u16, why: Reason, user: Option<&str>| {
        assert_eq!((answer.status, reason(&answer)), (status, why.word()), "{}", answer.text);
        assert_eq!(answer.logged.request["tried_user"].as_str(), user, "{why:?}");
        let event = answer.logged.event.clone().expect("an event");
        assert_eq!(event["tried_user"].as_str(), user, "{why:?}");
        seen.insert(why.word());
        if answer.text.contains("requires authentication") {
            bodies.insert(answer.text.clone());
        }
        answer
    };
    let none = || json!("unscoped");
    let alice = Some(c.alice.as_str());

    refused(s.login("noone", "alice-pw", none()), 401, Reason::NoSuchUser, None);
    refused(s.auth(by_password("0123", "alice-pw", none())), 401, Reason::NoSuchUser, None);
    let elsewhere = json!({"identity": {"methods": ["password"], "password": {"user": {
        "name": "alice", "domain": {"name": "nowhere"}, "password": "alice-pw"}}}});
    refused(s.auth(elsewhere), 401, Reason::NoSuchUser, None);
    let wrong = refused(s.login("alice", "wrong", none()), 401, Reason::WrongPassword, alice);
    assert_eq!(wrong.logged.request["tried_name"], "alice");
    assert_eq!(wrong.logged.request["tried_domain"], "default");
    let by_id =
        refused(s.auth(by_password(&c.bob, "wrong", none())), 401, Reason::WrongPassword, Some(&c.bob));
    assert!(by_id.logged.request.get("tried_name").is_none(), "it was not named");
    s.login("alice", "alice-pw", none()).expect(201);

    let dave = Some(c.dave.as_str());
    for _ in 0..2 {
        refused(s.login("dave", "wrong", none()), 401, Reason::WrongPassword, dave);
    }
    refused(s.login("dave", "dave-pw", none()), 401, Reason::Locked, dave);
    refused(s.login("dave", "wrong", none()), 401, Reason::Locked, dave);

    let off = s.user("off");
    let off_token = s.unscoped("off");
    s.patch(&admin, &format!("/v3/users/{off}"), json!({"user": {"enabled": false}})).expect(200);
    refused(s.login("off", "off-pw", none()), 401, Reason::Disabled, Some(&off));
    refused(s.get(&off_token, "/v3/auth/projects"), 401, Reason::TokenUser, Some(&off));

    let credential = |with: Value| {
        let path = format!("/v3/users/{}/application_credentials", c.alice);
        let body = json!({"application_credential": with});
        s.post(&s.on("alice", &c.p), &path, body).expect(201).body["application_credential"].take()
    };
    let by = |named: Value| {
        s.auth(json!({"identity": {"methods": ["application_credential"], "application_credential": named}}))
    };
    let rule = json!({"service": "identity", "method": "GET", "path": "/v3/users"});
    let own = credential(json!({"name": "own", "access_rules": [rule]}));
    let (of, secret) = (&own["id"], &own["secret"]);
    refused(by(json!({"id": "0123", "secret": secret})), 401, Reason::NoSuchCredential, None);
    let user = json!({"id": c.alice});
    let other = json!({"name": "other", "user": user, "secret": secret});
    refused(by(other), 401, Reason::NoSuchCredential, None);
    let wrong = refused(by(json!({"id": of, "secret": "x"})), 401, Reason::WrongPassword, alice);
    assert_eq!(wrong.logged.request["credential"], *of);
    let user = json!({"name": "alice", "domain": {"id": "default"}});
    let wrong =
        refused(by(json!({"name": "own", "user": user, "secret": "x"})), 401, Reason::WrongPassword, alice);
    assert_eq!(wrong.logged.request["tried_name"], "alice");
    let ruled = by(json!({"id": of, "secret": secret})).expect(201).token();
    refused(s.get(&ruled, "/v3/auth/projects"), 401, Reason::AccessRules, None);

    let old = s.user("old");
    s.sql_run("UPDATE password SET expires_at_int = 1", &[]);
    refused(s.login("old", "old-pw", none()), 401, Reason::PasswordExpired, Some(&old));
    s.sql_run("UPDATE password SET expires_at_int = NULL", &[]);

    let careful = s.user("careful");
    let rules = json!({"user": {"options": {
        "multi_factor_auth_enabled": true, "multi_factor_auth_rules": [["password", "totp"]]}}});
    mfa::keep(s, &careful, "careful-pw", mfa::SECRET);
    s.patch(&admin, &format!("/v3/users/{careful}"), rules).expect(200);
    refused(s.login("careful", "careful-pw", none()), 401, Reason::MissingFactor, Some(&careful));

    let passcode = |code: &str| mfa::identity(&[mfa::totp(&careful, code)]);
    let tried = Some(careful.as_str());
    refused(s.auth(passcode("000000")), 401, Reason::WrongPasscode, tried);
    let begun = refused(s.auth(passcode(&mfa::code(s))), 401, Reason::MissingFactor, tried);
    refused(s.auth(passcode(&mfa::code(s))), 401, Reason::PasscodeUsed, tried);
    let by_password = by_password(&careful, "careful-pw", none());
    refused(
        mfa::auth_with(s, &[("Openstack-Auth-Receipt", "none")], &by_password),
        401,
        Reason::NotAReceipt,
        tried,
    );
    s.clock.advance(300 * SECOND);
    let receipt = mfa::receipt(begun);
    refused(
        mfa::auth_with(s, &[("Openstack-Auth-Receipt", &receipt)], &by_password),
        401,
        Reason::ReceiptOver,
        tried,
    );
    refused(s.auth(mfa::identity(&[("external", json!({}))])), 401, Reason::NoRemoteUser, None);
    s.sql_run(
        "INSERT INTO identity_provider (id, enabled, domain_id) VALUES ('idp', ?, 'default')",
        &[true.into()],
    );
    let rules = json!([{"local": [{"user": {"name": "{0}"}, "group": {"id": "nowhere"}}], "remote": [
        {"type": "HTTP_OIDC_SUB"}, {"type": "HTTP_OIDC_SUB", "any_one_of": ["ann"]}]}])
    .to_string();
    let mapping = "INSERT INTO mapping (id, rules, schema_version) VALUES ('m', ?, '1.0')";
    s.sql_run(mapping, &[json!(rules).to_string().into()]);
    s.sql_run("INSERT INTO federation_protocol (id, idp_id, mapping_id) VALUES ('mapped', 'idp', 'm')", &[]);
    let mapped = json!({"identity_provider": "idp", "protocol": "mapped"});
    refused(s.auth(mfa::identity(&[("mapped", mapped)])), 401, Reason::NothingSaid, None);
    let path = "/v3/OS-FEDERATION/identity_providers/idp/protocols/mapped/auth";
    let answer = s.call("POST", path, &[("Authorization", "Bearer x.y.z")], None);
    refused(answer, 401, Reason::NotTheProviders, None);
    for (sub, why) in [("bob", Reason::NotMapped), ("ann", Reason::NoSuchGroup)] {
        refused(s.call("POST", path, &[("OIDC-sub", sub)], None), 401, why, None);
    }
    let path =
        "/v3/auth/OS-FEDERATION/identity_providers/idp/protocols/mapped/websso?origin=https://elsewhere/";
    refused(s.call("GET", path, &[], None), 401, Reason::UntrustedDashboard, None);
    let path = "/v3/auth/OS-FEDERATION/oidc/callback?code=c&state=s";
    refused(s.call("GET", path, &[], None), 401, Reason::NoLoginBegun, None);

    refused(s.auth(json!({"identity": {"methods": ["retina"]}})), 401, Reason::NoSuchMethod, None);
    refused(s.auth(json!({"identity": {"methods": []}})), 401, Reason::NoSuchMethod, None);
    let bob = s.unscoped("bob");
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let by_certificate = format!("grant_type=client_credentials&client_id={}", c.alice);
    let headers = [form, ("X-Cert", "AAAA")];
    let answer = s.call("POST", "/v3/OS-OAUTH2/token", &headers, Some(by_certificate.as_bytes()));
    refused(answer, 401, Reason::WrongCertificate, None);
    let both = json!({"identity": {"methods": ["password", "token"], "token": {"id": bob}, "password": {"user": {
        "id": c.alice, "password": "alice-pw"}}}});
    refused(s.auth(both), 401, Reason::OtherUser, Some(&c.bob));
    let lost = json!({"project": {"id": "nowhere"}});
    refused(s.login("alice", "alice-pw", lost), 401, Reason::NoSuchScope, alice);
    let lost = json!({"project": {"name": "nowhere", "domain": {"id": "default"}}});
    refused(s.login("alice", "alice-pw", lost), 401, Reason::NoSuchScope, alice);
    let p = json!({"project": {"id": c.p}});
    refused(s.login("carol", "carol-pw", p.clone()), 401, Reason::NoRoles, Some(&c.carol));

    refused(s.call("GET", "/v3/users", &[], None), 401, Reason::NoToken, None);
    refused(s.get("gAAAAAjunk", "/v3/users"), 401, Reason::NotAToken, None);
    let token = s.on("alice", &c.p);
    let both = [("X-Auth-Token", &*token), ("X-Subject-Token", &*token)];
    s.call("DELETE", "/v3/auth/tokens", &both, None).expect(204);
    let dead = refused(s.get(&token, "/v3/auth/projects"), 401, Reason::TokenRevoked, alice);
    assert!(dead.logged.request["tried_audit_ids"].is_string(), "the token was ours");
    refused(
        s.auth(json!({"identity": {"methods": ["token"], "token": {"id": token}}})),
        404,
        Reason::TokenRevoked,
        alice,
    );
    // Services learn of it as 404, the operator as why.
    refused(s.validate(&token), 404, Reason::TokenRevoked, alice);

    s.clock.advance(SECOND);
    let over = c.trust(json!({}));
    let alice_on_p = s.on("alice", &c.p);
    s.delete(&alice_on_p, &format!("/v3/OS-TRUST/trusts/{over}")).expect(204);
    refused(s.consume("bob", &over), 401, Reason::TrustOver, Some(&c.bob));
    refused(s.consume("bob", "unknown"), 401, Reason::TrustOver, Some(&c.bob));
    let suspended = c.trust(json!({}));
    let grant = format!("/v3/projects/{}/users/{}/roles/{}", c.p, c.alice, s.role("member"));
    s.delete(&admin, &grant).expect(204);
    refused(s.consume("bob", &suspended), 401, Reason::TrustSuspended, Some(&c.bob));
    s.put(&admin, &grant).expect(204);
    refused(s.consume("alice", &suspended), 403, Reason::Rule, alice);

    let scope = PayloadScope::ApplicationCredential(c.p.clone(), "gone".into());
    let foreign = c.foreign_token(&c.alice, &["application_credential"], scope);
    refused(s.get(&foreign, "/v3/auth/projects"), 401, Reason::CredentialOver, alice);

    s.clock.advance(SECOND);
    let keypair = c.keypair(&s.on("alice", &c.p), &c.alice, json!({})).expect(201).body["credential"].clone();
    let mut stranger = keypair.clone();
    stranger["access"] = json!("not-there");
    refused(c.exchange(c.signed(&stranger)), 401, Reason::NoSuchKeypair, None);
    refused(c.exchange(json!({"credentials": {"access": "a"}})), 401, Reason::NoSignature, None);
    let mut forged = c.signed(&keypair);
    forged["credentials"]["signature"] = json!("bm90IGEgc2lnbmF0dXJl");
    let forged = refused(c.exchange(forged), 401, Reason::WrongSignature, alice);
    assert!(forged.logged.request["credential"].is_string());
    let late = c.signed_at(&keypair, Some(s.clock.now() - 3600 * SECOND));
    refused(c.exchange(late), 401, Reason::SignatureTime, alice);
    let good = c.signed(&keypair);
    c.exchange(good.clone()).expect(200);
    refused(c.exchange(good), 401, Reason::SignatureUsed, alice);

    let nowhere = Federated { provider: "x".into(), protocol: "x".into(), groups: Vec::new() };
    let nowhere = c.token_from(&c.alice, &["mapped"], PayloadScope::Unscoped, Some(nowhere));
    refused(s.get(&nowhere, "/v3/users"), 401, Reason::ProviderGone, alice);

    let policy = refused(s.get(&s.on("alice", &c.p), "/v3/users"), 403, Reason::Policy, None);
    assert_eq!(policy.logged.request["operation"], "identity:list_users");
    assert_eq!(policy.logged.request["user"], c.alice);

    s.clock.advance(2 * 3600 * SECOND);
    refused(s.get(&admin, "/v3/users"), 401, Reason::TokenExpired, Some(&admin_id(s)));

    let all: BTreeSet<&str> = Reason::ALL.iter().map(|r| r.word()).collect();
    assert_eq!(seen, all, "each reason was seen");
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}

fn admin_id(s: &Server) -> String {
    let login = s.login("admin", PASSWORD, json!("unscoped")).expect(201);
    login.body["token"]["user"]["id"].as_str().expect("an id").to_owned()
}

/// People type their password into the field of the name, and try to write lines into logs.
#[test]
fn of_a_name_that_is_tried_the_log_has_what_exists_and_nothing_else() {
    let s = Server::start();
    for name in
        ["my password is hunter22", "x\n{\"event\": \"login\", \"outcome\": \"success\"}", "\u{202e}\u{0}"]
    {
        let answer = s.login(name, "whatever", json!(null));
        let logged = format!("{:?}", answer.logged);
        assert!(!logged.contains("hunter22") && !logged.contains("success"), "{logged}");
        assert!(answer.logged.request.get("tried_name").is_none());
    }
    let domain = json!({"identity": {"methods": ["password"], "password": {"user": {
        "name": "admin", "domain": {"name": "hunter22 is my domain"}, "password": "whatever"}}}});
    assert!(!format!("{:?}", s.auth(domain).logged).contains("hunter22"));
    // Names that exist are shown, whatever is in them, in one line and no longer than a name may be.
    let odd = "line\nbreak \"quote\" {brace}";
    s.user_with(odd, "default", "odd-password");
    assert_eq!(s.login(odd, "whatever", json!(null)).expect(401).logged.request["tried_name"], odd);
    // A path is cut.
    let long = "x".repeat(5000);
    let path = s.get(&s.admin(), &format!("/v3/users/{long}")).expect(404).logged.request["path"].clone();
    assert!(path.as_str().expect("a path").len() < 1100, "{path}");
    let refused = s.call("GET", &format!("/v3/users/{long}"), &[], None).expect(401);
    let event = refused.logged.event.expect("an event");
    assert!(event["on_user"].as_str().expect("a user").len() < 300, "{event}");
}

/// The fields of an event that say who and on what.
fn event(answer: &Answer) -> Value {
    answer.logged.event.clone().unwrap_or_else(|| panic!("no event: {:?}", answer.logged.request))
}

#[test]
fn an_event_names_who_did_what_to_whom() {
    let c = Cast::new();
    let s = &c.s;
    let admin = s.admin();
    let scope = json!({"project": {"id": c.p}});
    let login = s.login("alice", "alice-pw", scope).expect(201);
    let said = event(&login);
    assert_eq!((&said["event"], &said["outcome"]), (&json!("login"), &json!("success")));
    assert_eq!((&said["actor"], &said["address"]), (&json!(c.alice), &json!("127.0.0.1")));
    assert_eq!(said["subject"], login.body["token"]["audit_ids"][0]);
    assert_eq!(said["request_id"].as_str(), login.header("x-openstack-request-id"));
    assert!(said["timestamp"].as_str().expect("a time").ends_with('Z'));

    let role = s.role("member");
    let grant = s.put(&admin, &format!("/v3/projects/{}/users/{}/roles/{role}", c.q, c.bob)).expect(204);
    let said = event(&grant);
    assert_eq!(said["event"], "grant.create");
    assert_eq!(
        [&said["on_project"], &said["on_user"], &said["on_role"]],
        [&json!(c.q), &json!(c.bob), &json!(role)]
    );
    assert_eq!(said["user"], admin_id(s));
    assert!(said["audit_ids"].is_string());

    let made = s
        .post(&admin, "/v3/users", json!({"user": {"name": "new", "password": "first-password"}}))
        .expect(201);
    let user = id(&made, "user");
    assert_eq!([&event(&made)["event"], &event(&made)["on_user"]], [&json!("user.create"), &json!(user)]);
    let path = format!("/v3/users/{user}");
    let renamed = s.patch(&admin, &path, json!({"user": {"name": "newer"}})).expect(200);
    assert_eq!(event(&renamed)["event"], "user.update");
    let reset = s.patch(&admin, &path, json!({"user": {"password": "second-password"}})).expect(200);
    assert_eq!(
        [&event(&reset)["event"], &event(&reset)["on_user"]],
        [&json!("password.reset"), &json!(user)]
    );
    let new = json!({"user": {"original_password": "second-password", "password": "third-password"}});
    let changed =
        s.call("POST", &format!("{path}/password"), &[], Some(new.to_string().as_bytes())).expect(204);
    assert_eq!(
        [&event(&changed)["event"], &event(&changed)["on_user"]],
        [&json!("password.change"), &json!(user)]
    );

    // Who acts for whom is there, and all that ends with a trust.
    let chain = c.chain();
    s.clock.advance(SECOND);
    let dave = s.consume("dave", &chain[2]).expect(201);
    let said = event(&dave);
    assert_eq!(said["actor"], c.dave);
    assert_eq!(said["chain"].as_str().expect("a chain").split(' ').count(), 3, "{said}");
    let alice = s.on("alice", &c.p);
    let path = format!("/v3/OS-TRUST/trusts/{}", chain[0]);
    let rehearsed = s.delete(&alice, &format!("{path}?dry_run=true")).expect(200);
    assert!(rehearsed.logged.event.is_none(), "nothing ended");
    let ended = event(&s.delete(&alice, &path).expect(204));
    assert_eq!([&ended["event"], &ended["on_trust"]], [&json!("trust.end"), &json!(chain[0])]);
    let all: BTreeSet<&str> = ended["ended"].as_str().expect("trusts").split(' ').collect();
    assert_eq!(all, chain.iter().map(String::as_str).collect());

    // A keypair is named by its credential's id, when it is made and when it is exchanged.
    let keypair = c.keypair(&s.on("alice", &c.p), &c.alice, json!({})).expect(201);
    let said = event(&keypair);
    assert_eq!(said["event"], "keypair.create");
    let credential = said["on_credential"].as_str().expect("an id").to_owned();
    let stored = s.get(&admin, &format!("/v3/credentials/{credential}")).expect(200);
    assert_eq!(stored.body["credential"]["type"], "ec2");
    let exchanged = event(&c.exchange(c.signed(&keypair.body["credential"])).expect(200));
    assert_eq!(
        [&exchanged["event"], &exchanged["on_credential"]],
        [&json!("keypair.exchange"), &json!(credential)]
    );
}

#[test]
fn the_admin_token_is_an_actor() {
    let s = Server::with("[DEFAULT]\nadmin_token = bootstrap-token\n");
    let body = json!({"domain": {"name": "made"}});
    let made = event(&s.post("bootstrap-token", "/v3/domains", body).expect(201));
    assert_eq!([&made["event"], &made["actor"]], ["domain.create", "admin_token"]);
    assert!(made["on_domain"].is_string() && made.get("user").is_none(), "{made}");
}

/// The policy that a request began with is its policy to the end, and the next one's is the new one.
#[test]
fn a_policy_that_is_exchanged_under_way_is_the_next_requests() {
    let s = Server::start();
    let admin = s.admin();
    let writer = s.hold_writer();
    let body = json!({"user": {"name": "under-way"}});
    let file = std::env::temp_dir().join(format!("vicar-rules-{}.yaml", vicar::ids::uuid()));
    std::fs::write(&file, "identity:create_user: '!'\n").expect("written");
    let mut config = s.app.config.clone();
    config.policy.file = Some(file.display().to_string());
    let exchanged = Rules::read(&config).expect("rules");
    std::fs::remove_file(file).expect("removed");
    let rules = s.app.rules();
    std::thread::scope(|scope| {
        let request = scope.spawn(|| s.post(&admin, "/v3/users", body.clone()));
        // The server has it, and so do we.
        until("the request has begun", || Arc::strong_count(&rules) > 2);
        s.app.set_rules(exchanged);
        assert!(!request.is_finished(), "it waits for the writer");
        writer.release();
        request.join().expect("an answer").expect(201);
    });
    let refused = s.post(&admin, "/v3/users", json!({"user": {"name": "next"}})).expect(403);
    assert_eq!(reason(&refused), "policy");
}
