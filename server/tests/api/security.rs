//! Public advisories, as far as these APIs can show them. The id is in each test's comment; what the
//! rules' own tests show already is not repeated.

use serde_json::{Value, json};
use vicar::auth::fernet::PayloadScope;
use vicar::clock::SECOND;

use crate::support::{Answer, Cast, PASSWORD, Server};

/// Tokens of all kinds that stand on a chain alice → bob → carol → dave, with a keypair.
fn tokens_of_chain(c: &Cast) -> ([String; 3], Vec<String>) {
    let chain = c.chain_with(false);
    let mut tokens = Vec::new();
    for (user, id) in ["bob", "carol", "dave"].iter().zip(&chain) {
        tokens.push(c.s.consume(user, id).expect(201).token());
    }
    let keypair = c.keypair(&tokens[2], &c.dave, json!({})).expect(201).body["credential"].clone();
    tokens.push(c.exchange(c.signed(&keypair)).expect(200).token());
    (chain, tokens)
}

fn all_are(c: &Cast, tokens: &[String], status: u16) {
    let admin = c.s.admin();
    for token in tokens {
        let headers = [("X-Auth-Token", &*admin), ("X-Subject-Token", &**token)];
        c.s.call("GET", "/v3/auth/tokens", &headers, None).expect(status);
    }
}

/// OSSA-2014-006 / CVE-2014-2237, OSSA-2012-016, and "suspended is not dead, but its tokens are".
#[test]
fn disabling_any_agent_kills_the_tokens_of_the_chain_and_enabling_revives_the_trust_only() {
    for name in ["alice", "bob", "carol", "dave"] {
        let c = Cast::new();
        let (chain, tokens) = tokens_of_chain(&c);
        let id = match name {
            "alice" => &c.alice,
            "bob" => &c.bob,
            "carol" => &c.carol,
            _ => &c.dave,
        };
        let set = |on: bool| {
            c.s.patch(&c.s.admin(), &format!("/v3/users/{id}"), json!({"user": {"enabled": on}})).expect(200);
        };
        all_are(&c, &tokens, 200);
        set(false);
        // bob's own token does not hang on carol or dave; the last two hang on everybody.
        all_are(&c, &tokens[2..], 404);
        c.s.consume("dave", &chain[2]).expect(401);
        c.s.clock.advance(SECOND);
        set(true);
        all_are(&c, &tokens[2..], 404);
        c.s.clock.advance(SECOND);
        let again = c.s.consume("dave", &chain[2]).expect(201).token();
        all_are(&c, &[again], 200);
    }
}

/// Rule 47; OSSA-2014-006.
#[test]
fn a_password_change_ends_the_tokens_issued_before_and_leaves_the_trust() {
    for name in ["alice", "bob"] {
        let c = Cast::new();
        let id = c.trust(json!({}));
        let token = c.s.consume("bob", &id).expect(201).token();
        let login = c.s.unscoped(name);
        let user = if name == "alice" { &c.alice } else { &c.bob };
        let body =
            json!({"user": {"original_password": format!("{name}-pw"), "password": format!("{name}-pw2")}});
        c.s.post(&login, &format!("/v3/users/{user}/password"), body).expect(204);
        all_are(&c, &[token, login], 404);
        c.s.clock.advance(SECOND);
        let password = if name == "bob" { "bob-pw2" } else { "bob-pw" };
        c.s.login("bob", password, json!({"OS-TRUST:trust": {"id": id}})).expect(201);
    }
}

/// Rule 27: the bearer sets no password and ends no sessions, whatever roles they carry.
#[test]
fn a_delegated_administrator_still_sets_no_password() {
    let c = Cast::new();
    c.s.grant(&c.alice, &c.p, "admin");
    let id = c.trust(json!({"roles": [{"name": "admin"}]}));
    let token = c.s.consume("bob", &id).expect(201).token();
    c.s.get(&token, "/v3/users").expect(200);
    let body = json!({"user": {"password": "taken over"}});
    c.s.patch(&token, &format!("/v3/users/{}", c.alice), body.clone()).expect(403);
    c.s.patch(&token, &format!("/v3/users/{}", c.dave), body).expect(403);
    let body = json!({"user": {"original_password": "alice-pw", "password": "x"}});
    c.s.post(&token, &format!("/v3/users/{}/password", c.alice), body).expect(403);
    c.s.delete(&token, &format!("/v3/users/{}/tokens", c.dave)).expect(403);
    // Nor does it see or end any session, nor where else alice belongs.
    let session = c.s.unscoped("alice");
    for method in ["GET", "HEAD", "DELETE"] {
        let headers = [("X-Auth-Token", &*token), ("X-Subject-Token", &*session)];
        c.s.call(method, "/v3/auth/tokens", &headers, None).expect(403);
    }
    c.s.get(&token, &format!("/v3/users/{}/groups", c.alice)).expect(403);
    assert_eq!(c.s.get(&token, "/v3/auth/system").expect(200).body["system"], json!([]));
    // Nor does it see the trusts of others, or other trusts of alice.
    let other = c.trust(json!({"trustee_user_id": c.carol}));
    c.s.get(&token, &format!("/v3/OS-TRUST/trusts/{other}")).expect(403);
    let list = c.s.get(&token, "/v3/OS-TRUST/trusts").expect(200);
    assert_eq!(list.body["trusts"].as_array().map(Vec::len), Some(1));
}

/// The same by the other ways into a login: identities at a provider, the options that decide how a user logs in, and
/// the secrets of passcodes.
#[test]
fn a_delegated_administrator_takes_over_no_login() {
    let c = Cast::new();
    let admin = c.s.admin();
    let federation = |path: &str, body: Value| {
        let path = format!("/v3/OS-FEDERATION/{path}");
        let body = body.to_string();
        c.s.call("PUT", &path, &[("X-Auth-Token", &*admin)], Some(body.as_bytes())).expect(201);
    };
    federation("identity_providers/idp", json!({"identity_provider": {"domain_id": "default"}}));
    let rules = json!([{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "UserName"}]}]);
    federation("mappings/m", json!({"mapping": {"rules": rules}}));
    federation("identity_providers/idp/protocols/saml2", json!({"protocol": {"mapping_id": "m"}}));

    c.s.grant(&c.alice, &c.p, "admin");
    let login = c.s.on("alice", &c.p);
    let trust = c.trust(json!({"roles": [{"name": "admin"}]}));
    let mut tokens = vec![c.s.consume("bob", &trust).expect(201).token()];
    for unrestricted in [false, true] {
        let body = json!({"application_credential": {
            "name": format!("{unrestricted}"), "secret": "s", "unrestricted": unrestricted,
        }});
        let made = c.s.post(&login, &format!("/v3/users/{}/application_credentials", c.alice), body);
        let id = &made.expect(201).body["application_credential"]["id"];
        let by = json!({"id": id, "secret": "s"});
        let auth = json!({"identity": {"methods": ["application_credential"], "application_credential": by}});
        tokens.push(c.s.auth(auth).expect(201).token());
    }
    for methods in [&["password", "oauth1"][..], &["brand_new"]] {
        tokens.push(c.foreign_token(&c.alice, methods, PayloadScope::Project(c.p.clone())));
    }

    let path = format!("/v3/users/{}", c.dave);
    let link =
        |name: &str| json!([{"idp_id": "idp", "protocols": [{"protocol_id": "saml2", "unique_id": name}]}]);
    let totp =
        |user: &str| json!({"credential": {"type": "totp", "user_id": user, "blob": "GEZDGNBVGY3TQOJQ"}});
    let stored = c.s.post(&login, "/v3/credentials", totp(&c.dave)).expect(201);
    let stored = format!("/v3/credentials/{}", crate::support::id(&stored, "credential"));
    let changes = [
        json!({"password": "taken over"}),
        json!({"password": null}),
        json!({"federated": link("mallory")}),
        json!({"options": {"multi_factor_auth_enabled": false}}),
        json!({"options": {"multi_factor_auth_rules": null}}),
        json!({"options": {"lock_password": true}}),
        json!({"options": {"ignore_password_expiry": true}}),
        json!({"options": {"ignore_lockout_failure_attempts": true}}),
        json!({"options": {"ignore_user_inactivity": true}}),
        json!({"options": {"ignore_change_password_upon_first_use": true}}),
        json!({"name": "mallory"}),
        json!({"email": "mallory@example.org"}),
    ];
    let domain = format!("/v3/domains/{}", c.s.domain("far"));
    let before = c.s.get(&login, &path).expect(200).body["user"].clone();
    for (n, token) in tokens.iter().enumerate() {
        for change in &changes {
            let refused = c.s.patch(token, &path, json!({"user": change})).expect(403);
            assert!(refused.text.contains("how a user logs in"), "{}", refused.text);
        }
        // Nor by what decides who logs in as whom.
        let provider = "/v3/OS-FEDERATION/identity_providers/idp";
        for (path, body) in [
            ("/v3/OS-FEDERATION/mappings/m".to_owned(), json!({"mapping": {"rules": rules}})),
            (provider.to_owned(), json!({"identity_provider": {"enabled": true}})),
            (format!("{provider}/protocols/saml2"), json!({"protocol": {"mapping_id": "m"}})),
            (domain.clone(), json!({"domain": {"name": "near"}})),
            (format!("{domain}/config"), json!({"config": {"ldap": {"url": "ldap://x"}}})),
        ] {
            c.s.patch(token, &path, body).expect(403);
        }
        for path in ["/v3/OS-FEDERATION/mappings/m", &format!("{provider}/protocols/saml2"), provider] {
            c.s.delete(token, path).expect(403);
        }
        c.s.patch(token, &domain, json!({"domain": {"name": "far", "description": format!("{n}")}}))
            .expect(200);
        c.s.post(token, "/v3/credentials", totp(&c.dave)).expect(403);
        c.s.patch(token, &stored, json!({"credential": {"blob": "MFRGGZDFMZTWQ2LK"}})).expect(403);
        c.s.delete(token, &stored).expect(403);
        // A new user may have a password, but not the identity of a person who has not logged in yet.
        let new = |more: Value| {
            let mut user = json!({"name": format!("new-{n}"), "password": "new-pw"});
            user.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            c.s.post(token, "/v3/users", json!({"user": user}))
        };
        new(json!({"federated": link("carol-who-has-not-come-yet")})).expect(403);
        new(json!({"options": {"lock_password": true}, "federated": []})).expect(201);
        // Everything else can be changed, and what changes nothing is no change.
        let rest = json!({"user": {"description": format!("{n}"), "options": {}, "federated": []}});
        c.s.patch(token, &path, rest).expect(200);
    }
    let mut after = c.s.get(&login, &path).expect(200).body["user"].clone();
    after.as_object_mut().expect("an object").remove("description");
    assert_eq!(after, before);
    for change in &changes[2..] {
        c.s.patch(&login, &path, json!({"user": change})).expect(200);
    }
}

/// Bug 1622310; OSSA-2013-011.
#[test]
fn deleting_an_agent_ends_the_trusts_with_all_below() {
    for name in ["alice", "bob", "carol"] {
        let c = Cast::new();
        let (chain, tokens) = tokens_of_chain(&c);
        let id = match name {
            "alice" => &c.alice,
            "bob" => &c.bob,
            _ => &c.carol,
        };
        c.s.delete(&c.s.admin(), &format!("/v3/users/{id}")).expect(204);
        let first = usize::from(name == "carol");
        all_are(&c, &tokens[first..], 404);
        for trust in &chain[first..] {
            c.s.get(&c.s.admin(), &format!("/v3/OS-TRUST/trusts/{trust}")).expect(404);
        }
        c.s.consume("dave", &chain[2]).expect(401);
        assert_eq!(c.s.sql_text("SELECT id FROM credential", vicar::args![]), None);
    }
}

/// OSSA-2012-014 / CVE-2012-4413, OSSA-2012-018, bug 1347909: roles that go and come back.
#[test]
fn a_role_that_is_taken_away_and_given_back_revives_the_trust_but_no_token() {
    let c = Cast::new();
    let admin = || c.s.admin();
    let member = c.s.role("member");
    let grant = format!("/v3/projects/{}/users/{}/roles/{member}", c.p, c.alice);
    let (chain, tokens) = tokens_of_chain(&c);
    c.s.delete(&admin(), &grant).expect(204);
    all_are(&c, &tokens, 404);
    c.s.consume("dave", &chain[2]).expect(401);
    // It can be looked at meanwhile, and tells why it gives nothing.
    let path = format!("/v3/OS-TRUST/trusts/{}/lineage", chain[0]);
    let tree = c.s.get(&c.s.unscoped("alice"), &path).expect(200);
    assert_eq!(tree.body["lineage"]["trust"]["state"], "suspended");
    // The role itself, or what it implied.
    let reason = tree.body["lineage"]["trust"]["reason"].as_str().expect("a reason").to_owned();
    assert!([&member, &c.s.role("reader")].iter().any(|r| reason.contains(r.as_str())), "{reason}");
    c.s.clock.advance(SECOND);
    c.s.put(&admin(), &grant).expect(204);
    all_are(&c, &tokens, 404);
    c.s.clock.advance(SECOND);
    let again = c.s.consume("dave", &chain[2]).expect(201).token();
    all_are(&c, &[again], 200);
}

/// The same through a group, an inherited grant and an implication.
#[test]
fn losses_through_groups_inheritance_and_implications_are_losses() {
    let c = Cast::new();
    let admin = || c.s.admin();
    let special = c.s.role("special");
    let parent_role = c.s.role("special_parent");
    let put = |path: &str, status| c.s.put(&admin(), path).expect(status);
    let group = c.s.post(&admin(), "/v3/groups", json!({"group": {"name": "g"}})).expect(201);
    let group = group.body["group"]["id"].as_str().expect("an id").to_owned();
    let by_group = [
        format!("/v3/groups/{group}/users/{}", c.alice),
        format!("/v3/projects/{}/groups/{group}/roles/{special}", c.p),
    ];
    let inherited =
        [format!("/v3/OS-INHERIT/domains/default/users/{}/roles/{special}/inherited_to_projects", c.alice)];
    let implied = [
        format!("/v3/projects/{}/users/{}/roles/{parent_role}", c.p, c.alice),
        format!("/v3/roles/{parent_role}/implies/{special}"),
    ];
    for ways in [&by_group[..], &inherited, &implied] {
        for taken in ways {
            for path in ways {
                put(path, if path.contains("/implies/") { 201 } else { 204 });
            }
            c.s.clock.advance(SECOND);
            let id = c.trust(json!({"roles": [{"name": "special"}]}));
            let token = c.s.consume("bob", &id).expect(201).token();
            all_are(&c, std::slice::from_ref(&token), 200);
            c.s.delete(&admin(), taken).expect(204);
            all_are(&c, std::slice::from_ref(&token), 404);
            c.s.consume("bob", &id).expect(401);
            c.s.clock.advance(SECOND);
            put(taken, if taken.contains("/implies/") { 201 } else { 204 });
            all_are(&c, std::slice::from_ref(&token), 404);
            c.s.clock.advance(SECOND);
            let again = c.s.consume("bob", &id).expect(201).token();
            all_are(&c, &[again], 200);
            for path in ways {
                c.s.delete(&admin(), path).expect(204);
            }
            c.s.clock.advance(SECOND);
        }
    }
}

/// OSSA-2012-010, CVE-2012-3426, CVE-2026-44394: exchanging never moves an expiry.
#[test]
fn a_token_exchanged_five_times_ends_when_the_first_does() {
    let c = Cast::new();
    let first = c.s.login("alice", "alice-pw", json!("unscoped")).expect(201);
    let end = first.body["token"]["expires_at"].clone();
    let mut token = first.token();
    for i in 0..5 {
        c.s.clock.advance(60 * SECOND);
        let project = if i % 2 == 0 { &c.p } else { &c.q };
        let auth = json!({"identity": {"methods": ["token"], "token": {"id": token}},
                          "scope": {"project": {"id": project}}});
        let next = c.s.auth(auth).expect(201);
        assert_eq!(next.body["token"]["expires_at"], end);
        token = next.token();
    }
}

/// OSSA-2016-008 / CVE-2016-4911: the chain of audit ids.
#[test]
fn revoking_the_root_of_a_chain_of_tokens_ends_what_was_exchanged_for_it() {
    let c = Cast::new();
    let id = c.trust(json!({}));
    let root = c.s.unscoped("bob");
    let by_token = |scope: Value| {
        let auth = json!({"identity": {"methods": ["token"], "token": {"id": root}}, "scope": scope});
        c.s.auth(auth).expect(201)
    };
    let trust = by_token(json!({"OS-TRUST:trust": {"id": id}}));
    let ids = trust.body["token"]["audit_ids"].as_array().expect("audit ids").clone();
    assert_eq!(ids.len(), 2);
    let revoke = |query: &str, t: &str| {
        let headers = [("X-Auth-Token", &*root), ("X-Subject-Token", t)];
        c.s.call("DELETE", &format!("/v3/auth/tokens{query}"), &headers, None)
    };
    let single = by_token(json!("unscoped")).token();
    revoke("?cascade=false", &single).expect(204);
    all_are(&c, &[single], 404);
    all_are(&c, &[trust.token()], 200);
    revoke("", &root).expect(204);
    all_are(&c, &[trust.token(), root.clone()], 404);
}

/// OSSA-2013-003, CVE-2014-2828: repetition costs nothing.
#[test]
fn ten_thousand_times_the_same_method_is_one_evaluation() {
    let c = Cast::new();
    let methods = vec!["password"; 10_000];
    let auth = json!({"identity": {"methods": methods, "password": {"user": {
        "name": "alice", "domain": {"id": "default"}, "password": "alice-pw"}}}});
    let token = c.s.auth(auth).expect(201);
    assert_eq!(token.body["token"]["methods"], json!(["password"]));
}

/// OSSA-2019-006 / CVE-2019-19687 and bug 968696.
#[test]
fn a_member_lists_only_his_own_credentials() {
    let c = Cast::new();
    c.s.grant(&c.bob, &c.p, "member");
    let make = |user: &str, id: &str| {
        let body = json!({"credential": {"type": "totp", "user_id": id, "project_id": c.p, "blob": "SEED"}});
        c.s.post(&c.s.on(user, &c.p), "/v3/credentials", body).expect(201).body["credential"]["id"].clone()
    };
    let (alices, _bobs) = (make("alice", &c.alice), make("bob", &c.bob));
    let bob = c.s.on("bob", &c.p);
    let count = |query: &str| {
        let list = c.s.get(&bob, &format!("/v3/credentials{query}")).expect(200);
        list.body["credentials"].as_array().map(Vec::len)
    };
    assert_eq!(count(""), Some(1));
    assert_eq!(count("?type=totp"), Some(1));
    assert_eq!(count(&format!("?user_id={}", c.alice)), Some(0));
    c.s.get(&bob, &format!("/v3/credentials/{}", alices.as_str().expect("an id"))).expect(403);
}

/// OSSA-2014-022 / CVE-2014-3520: the project of a trust's token is the trust's.
#[test]
fn a_trust_token_reaches_no_other_project() {
    let c = Cast::new();
    let id = c.trust(json!({}));
    let token = c.s.consume("bob", &id).expect(201);
    assert_eq!(token.body["token"]["project"]["id"], c.p.as_str());
    let auth = json!({"identity": {"methods": ["token"], "token": {"id": token.token()}},
                      "scope": {"project": {"id": c.q}}});
    c.s.auth(auth).expect(403);
    let projects = c.s.get(&token.token(), "/v3/auth/projects").expect(200);
    let ids: Vec<&str> = projects.body["projects"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|p| p["id"].as_str())
        .collect();
    assert!(!ids.contains(&c.q.as_str()));
}

/// A keypair that is narrowed to an implied role stands on the implication.
#[test]
fn a_narrowed_keypairs_tokens_stay_dead_when_the_implied_role_comes_back() {
    let c = Cast::new();
    let (top, low) = (c.s.role("top"), c.s.role("low"));
    let implies = format!("/v3/roles/{top}/implies/{low}");
    c.s.put(&c.s.admin(), &implies).expect(201);
    c.s.grant(&c.alice, &c.p, "top");
    let id = c.trust(json!({"roles": [{"name": "top"}]}));
    let token = c.s.consume("bob", &id).expect(201).token();
    let k = c.keypair(&token, &c.alice, json!({"roles": [{"name": "low"}]})).expect(201).body["credential"]
        .clone();
    let exchanged = c.exchange(c.signed(&k)).expect(200).token();
    all_are(&c, std::slice::from_ref(&exchanged), 200);
    c.s.delete(&c.s.admin(), &implies).expect(204);
    all_are(&c, std::slice::from_ref(&exchanged), 404);
    c.s.clock.advance(SECOND);
    c.s.put(&c.s.admin(), &implies).expect(201);
    all_are(&c, &[exchanged], 404);
    c.s.clock.advance(SECOND);
    c.exchange(c.signed(&k)).expect(200);
}

/// Lets `begin` wait out the second of a revocation, changes something meanwhile, and lets that second end.
/// Returns the answer.
fn changed_while_it_waits(
    s: &Server,
    begin: impl FnOnce() -> Answer + Send,
    change: impl FnOnce() -> Answer,
) -> Answer {
    std::thread::scope(|scope| {
        let waiting = scope.spawn(begin);
        // What begins has to come to its wait first. Should it be later than all these, the change is there
        // before it, which must end the same way.
        for _ in 0..20 {
            s.login("nobody", "wrong", json!("unscoped")).expect(401);
        }
        change().expect(200);
        s.clock.advance(SECOND);
        waiting.join().expect("an answer")
    })
}

/// A login that waits out the second of a revocation proves itself anew: what changed meanwhile counts.
#[test]
fn a_password_that_is_changed_while_a_login_waits_opens_nothing() {
    let s = Server::start();
    let (admin, user) = (s.admin(), s.user("ann"));
    let other = s.login("admin", PASSWORD, json!("unscoped")).expect(201).token();
    s.delete(&admin, &format!("/v3/users/{user}/tokens")).expect(204);
    let answer = changed_while_it_waits(
        &s,
        || s.login("ann", "ann-pw", json!("unscoped")),
        || s.patch(&admin, &format!("/v3/users/{user}"), json!({"user": {"password": "changed"}})),
    );
    // 503 when the second did not end in time.
    assert!([401, 503].contains(&answer.status), "{}", answer.text);
    s.clock.advance(SECOND);
    s.login("ann", "changed", json!("unscoped")).expect(201);
    s.get(&other, "/v3/auth/projects").expect(200);
}

/// The same for a signed request: what is signed with a secret that went meanwhile gives no token.
#[test]
fn a_keypair_whose_secret_is_changed_while_an_exchange_waits_gives_nothing() {
    let c = Cast::new();
    let (admin, svc, alice) = (c.s.admin(), c.svc(), c.s.on("alice", &c.p));
    let blob = |secret: &str| json!({"access": "access", "secret": secret}).to_string();
    let body = json!({"type": "ec2", "user_id": c.alice, "project_id": c.p, "blob": blob("old")});
    // The event below ends alice's tokens too: the administrator does the rest.
    let made = c.s.post(&admin, "/v3/credentials", json!({"credential": body})).expect(201);
    let path = format!("/v3/credentials/{}", made.body["credential"]["id"].as_str().expect("an id"));
    let signed = c.signed(&json!({"access": "access", "secret": "old"}));
    c.s.delete(&admin, &format!("/v3/users/{}/tokens", c.alice)).expect(204);
    let answer = changed_while_it_waits(
        &c.s,
        || c.s.post(&svc, "/v3/ec2tokens", signed),
        || c.s.patch(&admin, &path, json!({"credential": {"blob": blob("new")}})),
    );
    assert!([401, 503].contains(&answer.status), "{}", answer.text);
    c.s.clock.advance(SECOND);
    c.exchange(c.signed(&json!({"access": "access", "secret": "new"}))).expect(200);
    c.s.get(&alice, "/v3/auth/catalog").expect(401);
}
