//! Terms of trusts and keypairs: access rules, a beginning, the longest life of tokens.

use serde_json::{Value, json};
use vicar::args;
use vicar::clock::{SECOND, iso};

use crate::support::{Answer, Cast, START};

fn rule(method: &str, path: &str) -> Value {
    json!({"service": "compute", "method": method, "path": path})
}

fn identity(method: &str, path: &str) -> Value {
    json!({"service": "identity", "method": method, "path": path})
}

/// A catalog with an identity service, without which access rules allow nothing here.
fn with_catalog(c: &Cast) {
    let admin = c.s.admin();
    c.s.post(&admin, "/v3/services", json!({"service": {"type": "identity", "name": "keystone"}}))
        .expect(201);
}

/// A validation, by somebody who enforces access rules or does not.
fn validate(c: &Cast, token: &str, enforces: bool) -> Answer {
    let admin = c.s.admin();
    let mut headers = vec![("X-Auth-Token", admin.as_str()), ("X-Subject-Token", token)];
    if enforces {
        headers.push(("OpenStack-Identity-Access-Rules", "1.0"));
    }
    c.s.call("GET", "/v3/auth/tokens", &headers, None)
}

/// The access rules that services read from a token.
fn told(answer: &Answer) -> Value {
    answer.body["token"]["application_credential"]["access_rules"].clone()
}

fn show(c: &Cast, user: &str, id: &str) -> Value {
    c.s.get(&c.s.unscoped(user), &format!("/v3/OS-TRUST/trusts/{id}")).expect(200).body["trust"].clone()
}

/// `user` passes `parent` on to `trustee`, with these terms.
fn pass_on(c: &Cast, user: &str, parent: &str, trustee: &str, with: Value) -> Answer {
    let token = c.s.consume(user, parent).expect(201).token();
    let mut ask = json!({"trustee_user_id": trustee, "allow_redelegation": true});
    for (name, value) in with.as_object().expect("an object") {
        ask[name] = value.clone();
    }
    c.s.post(&token, "/v3/OS-TRUST/trusts", c.ask(ask))
}

#[test]
fn a_trust_shows_its_terms_and_others_have_none() {
    let c = Cast::new();
    let rules = json!([rule("GET", "/v2.1/servers"), rule("POST", "/v2.1/servers/*/action")]);
    let made = c.make(json!({
        "access_rules": rules, "not_before": iso(START - SECOND), "max_token_ttl": 60, "expires_at": iso(START + 900 * SECOND),
    }));
    let t = made.expect(201).body["trust"].clone();
    let id = t["id"].as_str().expect("an id");
    let list = c.s.get(&c.s.unscoped("alice"), &format!("/v3/OS-TRUST/trusts?trustor_user_id={}", c.alice));
    let lineage = c.s.get(&c.s.unscoped("alice"), &format!("/v3/OS-TRUST/trusts/{id}/lineage")).expect(200);
    let listed = list.expect(200).body["trusts"][0].clone();
    for shown in [&t, &show(&c, "bob", id), &listed, &lineage.body["lineage"]["trust"]] {
        assert_eq!(shown["access_rules"], rules);
        assert_eq!(shown["not_before"], iso(START - SECOND));
        assert_eq!(shown["max_token_ttl"], 60);
        assert!(shown["deleted_at"].is_null(), "{shown}");
    }
    let plain = c.make(json!({"access_rules": null, "not_before": null, "max_token_ttl": null})).expect(201);
    for name in ["access_rules", "not_before", "max_token_ttl"] {
        assert!(plain.body["trust"].get(name).is_none(), "{name}");
    }
}

#[test]
fn what_is_wrong_with_terms_is_named() {
    let c = Cast::new();
    let later = iso(START + 60 * SECOND);
    for (with, words) in [
        (json!({"access_rules": []}), "access_rules must name at least one rule"),
        (json!({"access_rules": "all"}), "access_rules"),
        (json!({"access_rules": [{}]}), "access_rules.0"),
        (json!({"access_rules": [{"service": "compute", "method": "GET"}]}), "access_rules.0"),
        (json!({"access_rules": [rule("get", "/a")]}), "access_rules.0.method"),
        (json!({"access_rules": [rule("GET", "a")]}), "access_rules.0.path"),
        (json!({"access_rules": [rule("GET", &format!("/{}", "a".repeat(128)))]}), "access_rules.0.path"),
        (json!({"access_rules": vec![rule("GET", "/a"); 33]}), "access_rules"),
        (json!({"not_before": "tomorrow"}), "not_before"),
        (json!({"not_before": later, "expires_at": later}), "not_before must be earlier"),
        (json!({"max_token_ttl": 0}), "max_token_ttl"),
        (json!({"max_token_ttl": 1.0}), "max_token_ttl"),
        (json!({"max_token_ttl": "60"}), "max_token_ttl"),
    ] {
        let refused = c.make(with.clone()).expect(400);
        assert!(refused.text.contains(words), "{with}: {}", refused.text);
    }
}

#[test]
fn a_token_with_access_rules_is_shown_to_who_enforces_them_alone() {
    let c = Cast::new();
    with_catalog(&c);
    let rules = json!([rule("GET", "/v2.1/servers"), identity("GET", "/v3/auth/projects")]);
    let id = c.trust(json!({"access_rules": rules}));
    let issued = c.s.consume("bob", &id).expect(201);
    assert_eq!(told(&issued), rules);
    let block = &issued.body["token"]["application_credential"];
    assert_eq!((&block["id"], &block["restricted"]), (&json!(id), &json!(true)));
    assert_eq!(issued.body["token"]["OS-TRUST:trust"]["id"], id.as_str());
    let token = issued.token();
    validate(&c, &token, false).expect(404);
    assert_eq!(told(&validate(&c, &token, true).expect(200)), rules);
    // Not even to the bearer, who may ask about it.
    let own = [("X-Auth-Token", token.as_str()), ("X-Subject-Token", token.as_str())];
    c.s.call("GET", "/v3/auth/tokens", &own, None).expect(404);
    // They hold on this API too.
    c.s.get(&token, "/v3/auth/projects").expect(200);
    c.s.get(&token, "/v3/auth/catalog").expect(401);
    c.s.get(&token, &format!("/v3/OS-TRUST/trusts/{id}")).expect(401);
    c.s.delete(&token, &format!("/v3/OS-TRUST/trusts/{id}")).expect(401);
    c.s.post(&token, "/v3/OS-TRUST/trusts", c.ask(json!({}))).expect(401);
}

#[test]
fn a_child_is_good_for_no_more_requests_than_its_parent() {
    let c = Cast::new();
    with_catalog(&c);
    let pass = identity("POST", "/v3/OS-TRUST/trusts");
    let first = c.trust(json!({
        "allow_redelegation": true,
        "access_rules": [rule("GET", "/v2.1/**"), rule("POST", "/v2.1/servers"), pass],
    }));
    for (outside, named) in [
        (rule("GET", "/v3/servers"), "GET /v3/servers of compute"),
        (rule("GET", "/v2.1/*"), "GET /v2.1/* of compute"),
        (rule("PUT", "/v2.1/servers"), "PUT /v2.1/servers of compute"),
        (json!({"service": "image", "method": "GET", "path": "/v2.1/x"}), "GET /v2.1/x of image"),
    ] {
        let refused = pass_on(&c, "bob", &first, &c.carol, json!({"access_rules": [pass, outside]}));
        let refused = refused.expect(403);
        assert!(refused.text.contains(named), "{}", refused.text);
    }
    let narrower = json!([rule("GET", "/v2.1/servers/1"), pass]);
    let made = pass_on(&c, "bob", &first, &c.carol, json!({"access_rules": narrower})).expect(201);
    let second = made.body["trust"]["id"].as_str().expect("an id");
    assert_eq!(told(&c.s.consume("carol", second).expect(201)), narrower);
    // Without rules of its own it has its parent's.
    let made = pass_on(&c, "carol", second, &c.dave, json!({})).expect(201);
    assert_eq!(made.body["trust"]["access_rules"], narrower);
    let third = made.body["trust"]["id"].as_str().expect("an id");
    assert_eq!(told(&c.s.consume("dave", third).expect(201)), narrower);
    // What is narrower above holds below, whatever the rows say.
    let wide = json!({"access_rules": [rule("GET", "/v2.1/**"), pass]}).to_string();
    c.s.sql_run("UPDATE vicar_trust_terms SET terms = ? WHERE trust_id = ?", args![&wide, third]);
    assert_eq!(told(&c.s.consume("dave", third).expect(201)), narrower);
    c.s.delete(&c.s.unscoped("alice"), &format!("/v3/OS-TRUST/trusts/{first}")).expect(204);
    c.s.consume("dave", third).expect(401);
}

#[test]
fn a_keypair_is_good_for_no_more_requests_than_its_trust() {
    let c = Cast::new();
    with_catalog(&c);
    let door = identity("POST", "/v3/users/*/credentials/OS-EC2");
    let rules = json!([rule("GET", "/v2.1/**"), door]);
    let id = c.trust(json!({"access_rules": rules}));
    let token = c.s.consume("bob", &id).expect(201).token();
    let make = |with: Value| c.keypair(&token, &c.alice, with);
    // Without rules of its own it has the trust's.
    let plain = make(json!({})).expect(201).body["credential"].clone();
    assert_eq!(told(&c.exchange(c.signed(&plain)).expect(200)), rules);
    let narrow = make(json!({"access_rules": [rule("GET", "/v2.1/servers")]})).expect(201);
    let narrow = narrow.body["credential"].clone();
    assert_eq!(narrow["access_rules"], json!([rule("GET", "/v2.1/servers")]));
    let exchanged = c.exchange(c.signed(&narrow)).expect(200);
    assert_eq!(told(&exchanged), json!([rule("GET", "/v2.1/servers")]));
    let of_keypair = exchanged.token();
    validate(&c, &of_keypair, false).expect(404);
    assert_eq!(told(&validate(&c, &of_keypair, true).expect(200)), json!([rule("GET", "/v2.1/servers")]));
    let refused = make(json!({"access_rules": [rule("GET", "/v3/servers")]})).expect(403);
    assert!(refused.text.contains("GET /v3/servers of compute"), "{}", refused.text);
    make(json!({"access_rules": []})).expect(400);
    // One of a login has no trust that it could be narrower than.
    c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({"access_rules": [rule("GET", "/a")]})).expect(400);
    // The owner and the trustee see them.
    for (user, id) in [("alice", &c.alice), ("bob", &c.bob)] {
        let list = c.s.get(&c.s.unscoped(user), &format!("/v3/users/{id}/credentials/OS-EC2")).expect(200);
        let shown: Vec<&Value> = list.body["credentials"].as_array().expect("a list").iter().collect();
        assert!(shown.iter().any(|k| k["access_rules"] == json!([rule("GET", "/v2.1/servers")])), "{user}");
    }
    // A gateway that asks for S3 enforces nothing: it learns nothing from a keypair with rules.
    let s3 = |keypair: &Value| {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD;
        let text = b"GET\n\n\nThu, 21 Nov 2026 19:00:00 +0000\n/bucket/key";
        let secret = keypair["secret"].as_str().expect("a secret");
        let signature = vicar_rules::signature::sign_s3(secret, text).expect("signs");
        let body = json!({"credentials": {
            "access": keypair["access"], "signature": signature, "token": STANDARD.encode(text),
        }});
        c.s.post(&c.svc(), "/v3/s3tokens", body)
    };
    let others = c.s.consume("bob", &c.trust(json!({}))).expect(201).token();
    let unlimited = c.keypair(&others, &c.alice, json!({})).expect(201).body["credential"].clone();
    s3(&unlimited).expect(200);
    s3(&narrow).expect(401);
    s3(&plain).expect(401);
}

#[test]
fn a_trust_gives_nothing_before_it_begins() {
    let c = Cast::new();
    let from = START + 60 * SECOND;
    let id = c.trust(json!({"not_before": iso(from), "allow_redelegation": true}));
    c.s.consume("bob", &id).expect(401);
    // It is there, and says why it gives nothing.
    assert_eq!(show(&c, "bob", &id)["not_before"], iso(from));
    let lineage = c.s.get(&c.s.unscoped("alice"), &format!("/v3/OS-TRUST/trusts/{id}/lineage")).expect(200);
    assert_eq!(lineage.body["lineage"]["trust"]["state"], "suspended");
    let listed = c.s.get(&c.s.unscoped("bob"), &format!("/v3/OS-TRUST/trusts?trustee_user_id={}", c.bob));
    assert_eq!(listed.expect(200).body["trusts"][0]["id"], id.as_str());
    c.s.clock.advance(60 * SECOND - 1);
    c.s.consume("bob", &id).expect(401);
    c.s.clock.advance(1);
    let token = c.s.consume("bob", &id).expect(201).token();
    c.s.validate(&token).expect(200);
    let early = pass_on(&c, "bob", &id, &c.carol, json!({"not_before": iso(from - SECOND)})).expect(403);
    assert!(early.text.contains("not_before"), "{}", early.text);
    let later = pass_on(&c, "bob", &id, &c.carol, json!({"not_before": iso(from + 60 * SECOND)})).expect(201);
    let child = later.body["trust"]["id"].as_str().expect("an id");
    c.s.consume("carol", child).expect(401);
    c.s.clock.advance(60 * SECOND);
    c.s.consume("carol", child).expect(201);
}

#[test]
fn tokens_live_no_longer_than_the_trust_lets_them() {
    let c = Cast::new();
    let end = |answer: &Answer| answer.body["token"]["expires_at"].as_str().expect("an end").to_owned();
    let id = c.trust(json!({"max_token_ttl": 60, "allow_redelegation": true}));
    let issued = c.s.consume("bob", &id).expect(201);
    assert_eq!(end(&issued), iso(START + 60 * SECOND));
    let keypair = c.keypair(&issued.token(), &c.alice, json!({})).expect(201).body["credential"].clone();
    assert_eq!(end(&c.exchange(c.signed(&keypair)).expect(200)), iso(START + 60 * SECOND));
    let longer = pass_on(&c, "bob", &id, &c.carol, json!({"max_token_ttl": 61})).expect(403);
    assert!(longer.text.contains("max_token_ttl"), "{}", longer.text);
    let child = pass_on(&c, "bob", &id, &c.carol, json!({})).expect(201).body["trust"].clone();
    assert_eq!(child["max_token_ttl"], 60);
    c.s.clock.advance(30 * SECOND);
    let again = c.s.consume("carol", child["id"].as_str().expect("an id")).expect(201);
    assert_eq!(end(&again), iso(START + 90 * SECOND));
    c.s.clock.advance(30 * SECOND);
    c.s.validate(&issued.token()).expect(404);
    c.s.validate(&again.token()).expect(200);
}

#[test]
fn to_a_keystone_a_trust_with_terms_is_deleted() {
    let c = Cast::new();
    let id = c.trust(json!({"max_token_ttl": 60}));
    let plain = c.trust(json!({}));
    // What its queries ask for.
    let seen = |id: &str| c.s.sql_text("SELECT id FROM trust WHERE id = ? AND deleted_at IS NULL", args![id]);
    assert_eq!(seen(&id), None);
    assert_eq!(seen(&plain), Some(plain));
    // Here it lives, and ends as any other.
    c.s.consume("bob", &id).expect(201);
    c.s.delete(&c.s.unscoped("alice"), &format!("/v3/OS-TRUST/trusts/{id}")).expect(204);
    c.s.consume("bob", &id).expect(401);
    c.s.delete(&c.s.unscoped("alice"), &format!("/v3/OS-TRUST/trusts/{id}")).expect(404);
    let all = format!("/v3/OS-TRUST/trusts?trustor_user_id={}&state=deleted", c.alice);
    let listed = c.s.get(&c.s.unscoped("alice"), &all).expect(200);
    let ended = &listed.body["trusts"][0];
    assert_eq!(ended["id"], id.as_str());
    assert_eq!(ended["deleted_at"], iso(START));
}

#[test]
fn terms_that_are_lost_or_of_a_newer_version_suspend_and_do_not_end() {
    let c = Cast::new();
    let id = c.trust(json!({"max_token_ttl": 60}));
    let token = c.s.consume("bob", &id).expect(201).token();
    let own = json!({"max_token_ttl": 60 * SECOND}).to_string();
    let newer = json!({"max_token_ttl": 60 * SECOND, "only_on_mondays": true}).to_string();
    let write = |terms: &str| {
        c.s.sql_run("UPDATE vicar_trust_terms SET terms = ? WHERE trust_id = ?", args![terms, &id]);
    };
    write(&newer);
    c.s.consume("bob", &id).expect(401);
    c.s.validate(&token).expect(404);
    write(&own);
    c.s.validate(&token).expect(200);
    c.s.sql_run("DELETE FROM vicar_trust_terms WHERE trust_id = ?", args![&id]);
    c.s.validate(&token).expect(404);
    c.s.delete(&c.s.unscoped("alice"), &format!("/v3/OS-TRUST/trusts/{id}")).expect(204);
}

#[test]
fn a_trust_with_terms_counts_its_uses_and_falls_with_its_users_and_project() {
    let c = Cast::new();
    let twice = c.trust(json!({"max_token_ttl": 60, "remaining_uses": 2}));
    c.s.consume("bob", &twice).expect(201);
    assert_eq!(show(&c, "alice", &twice)["remaining_uses"], 1);
    c.s.consume("bob", &twice).expect(201);
    c.s.consume("bob", &twice).expect(401);
    // The same between the same two until the same end is a conflict, as without terms.
    let end = iso(START + 600 * SECOND);
    c.trust(json!({"max_token_ttl": 60, "expires_at": end}));
    c.make(json!({"max_token_ttl": 30, "expires_at": end})).expect(409);
    let of_user = c.trust(json!({"max_token_ttl": 60, "trustee_user_id": c.carol}));
    let of_project = c.trust(json!({"max_token_ttl": 60, "trustee_user_id": c.dave}));
    let admin = c.s.admin();
    c.s.delete(&admin, &format!("/v3/users/{}", c.carol)).expect(204);
    let lineage = |id: &str| {
        let shown = c.s.get(&admin, &format!("/v3/OS-TRUST/trusts/{id}/lineage")).expect(200);
        shown.body["lineage"]["trust"]["reason"].clone()
    };
    assert_eq!(lineage(&of_user), "user deleted");
    c.s.delete(&admin, &format!("/v3/projects/{}", c.p)).expect(204);
    assert_eq!(lineage(&of_project), "project deleted");
    assert_eq!(c.s.sql_text("SELECT id FROM trust WHERE deleted_at >= '9999-01-01'", args![]), None);
}

/// `user` uses `trust` and asks for less than it gives.
fn use_less(c: &Cast, user: &str, trust: &str, with: Value) -> Answer {
    let mut scope = json!({"id": trust});
    for (name, value) in with.as_object().expect("an object") {
        scope[name] = value.clone();
    }
    c.s.login(user, &format!("{user}-pw"), json!({"OS-TRUST:trust": scope}))
}

fn roles(answer: &Answer) -> Vec<&str> {
    let roles = answer.body["token"]["roles"].as_array().expect("roles");
    let mut names: Vec<&str> = roles.iter().filter_map(|role| role["name"].as_str()).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_token_may_ask_for_less_than_its_trust_gives() {
    let c = Cast::new();
    with_catalog(&c);
    let id = c.trust(json!({"allow_redelegation": true}));
    assert_eq!(roles(&c.s.consume("bob", &id).expect(201)), ["member", "reader"]);
    let less = json!({
        "roles": [{"name": "reader"}], "expires_in": 30,
        "access_rules": [rule("GET", "/v2.1/servers"), identity("POST", "/v3/OS-TRUST/trusts")],
    });
    let issued = use_less(&c, "bob", &id, less.clone()).expect(201);
    assert_eq!(roles(&issued), ["reader"]);
    assert_eq!(told(&issued), less["access_rules"]);
    assert_eq!(issued.body["token"]["expires_at"], iso(START + 30 * SECOND));
    let token = issued.token();
    validate(&c, &token, false).expect(404);
    let shown = validate(&c, &token, true).expect(200);
    assert_eq!((roles(&shown), told(&shown)), (vec!["reader"], less["access_rules"].clone()));
    c.s.get(&token, "/v3/auth/projects").expect(401);
    // With fewer roles alone it is shown to everybody; what it is for ends with the trust as ever.
    let reading = use_less(&c, "bob", &id, json!({"roles": [{"name": "reader"}]})).expect(201).token();
    assert_eq!(roles(&c.s.validate(&reading).expect(200)), ["reader"]);
    c.s.clock.advance(30 * SECOND);
    validate(&c, &token, true).expect(404);
    c.s.validate(&reading).expect(200);
    c.s.delete(&c.s.unscoped("alice"), &format!("/v3/OS-TRUST/trusts/{id}")).expect(204);
    c.s.validate(&reading).expect(404);
}

#[test]
fn what_is_made_with_a_token_that_asked_for_less_is_no_more() {
    let c = Cast::new();
    let id = c.trust(json!({
        "allow_redelegation": true, "roles": [{"name": "member"}, {"name": "heat_stack_owner"}],
    }));
    let token =
        use_less(&c, "bob", &id, json!({"roles": [{"name": "heat_stack_owner"}]})).expect(201).token();
    let pass = |with: Value| {
        let mut ask = json!({"trustee_user_id": c.carol});
        for (name, value) in with.as_object().expect("an object") {
            ask[name] = value.clone();
        }
        c.s.post(&token, "/v3/OS-TRUST/trusts", c.ask(ask))
    };
    pass(json!({})).expect(403);
    let made = pass(json!({"roles": [{"name": "heat_stack_owner"}]})).expect(201);
    let child = made.body["trust"]["id"].as_str().expect("an id");
    assert_eq!(roles(&c.s.consume("carol", child).expect(201)), ["heat_stack_owner"]);
    let keypair = c.keypair(&token, &c.alice, json!({})).expect(201).body["credential"].clone();
    assert_eq!(roles(&c.exchange(c.signed(&keypair)).expect(200)), ["heat_stack_owner"]);
    c.keypair(&token, &c.alice, json!({"roles": [{"name": "member"}]})).expect(403);
    // It is no way to another token.
    let again = json!({"auth": {
        "identity": {"methods": ["token"], "token": {"id": token}}, "scope": {"OS-TRUST:trust": {"id": id}},
    }});
    c.s.call("POST", "/v3/auth/tokens", &[], Some(again.to_string().as_bytes())).expect(403);
    // The role that it carries is lost, and given back: it stays dead, and the wider one too.
    let wide = c.s.consume("bob", &id).expect(201).token();
    let admin = c.s.admin();
    let lost = c.s.role("heat_stack_owner");
    let grant = format!("/v3/projects/{}/users/{}/roles/{lost}", c.p, c.alice);
    c.s.delete(&admin, &grant).expect(204);
    c.s.put(&admin, &grant).expect(204);
    c.s.clock.advance(SECOND);
    c.s.validate(&token).expect(404);
    c.s.validate(&wide).expect(404);
}

#[test]
fn a_token_that_asks_for_more_than_its_trust_gives_is_refused_by_name() {
    let c = Cast::new();
    let id = c.trust(json!({"max_token_ttl": 60, "access_rules": [rule("GET", "/v2.1/**")]}));
    let member = c.s.role("member");
    let owner = c.s.role("heat_stack_owner");
    for (with, status, words) in [
        (json!({"roles": [{"name": "heat_stack_owner"}]}), 403, owner.as_str()),
        (json!({"roles": [{"name": "no such role"}]}), 403, "no such role"),
        (json!({"roles": [{"id": member}, {"id": "0".repeat(32)}]}), 403, "000"),
        (json!({"roles": []}), 403, "roles"),
        (json!({"access_rules": [rule("PUT", "/v2.1/x")]}), 403, "PUT /v2.1/x of compute"),
        (json!({"access_rules": []}), 400, "access_rules"),
        (json!({"access_rules": [{}]}), 400, "access_rules.0"),
        (json!({"expires_in": 61}), 403, "max_token_ttl"),
        (json!({"expires_in": 0}), 400, "expires_in"),
        (json!({"expires_in": 1.0}), 400, "expires_in"),
        (json!({"expires_in": "60"}), 400, "expires_in"),
        (json!({"roles": "all"}), 400, "roles"),
        (json!({"roles": [{"id": 1}]}), 400, "roles.0"),
    ] {
        let refused = use_less(&c, "bob", &id, with.clone());
        assert_eq!(refused.status, status, "{with}: {}", refused.text);
        assert!(refused.text.contains(words), "{with}: {}", refused.text);
    }
    let long: Vec<Value> = (0..12).map(|n| rule("GET", &format!("/v2.1/{n}{}", "a".repeat(110)))).collect();
    let refused = use_less(&c, "bob", &id, json!({"access_rules": long})).expect(400);
    assert!(refused.text.contains("room"), "{}", refused.text);
    use_less(&c, "bob", &id, json!({"access_rules": long[..11]})).expect(201);
    // The dead say nothing of what they would have refused.
    c.s.delete(&c.s.unscoped("alice"), &format!("/v3/OS-TRUST/trusts/{id}")).expect(204);
    use_less(&c, "bob", &id, json!({"roles": [{"name": "no such role"}]})).expect(401);
    // What is not known is ignored, as in Keystone.
    let plain = c.trust(json!({}));
    assert_eq!(roles(&use_less(&c, "bob", &plain, json!({"note": 1})).expect(201)), ["member", "reader"]);
}

/// A login of bob's by one of their tokens.
fn by_token(c: &Cast, token: &str, scope: Value) -> Answer {
    c.s.auth(json!({"identity": {"methods": ["token"], "token": {"id": token}}, "scope": scope}))
}

#[test]
fn who_uses_a_trust_has_logged_in_lately() {
    let c = Cast::new();
    let id = c.trust(json!({"max_login_age": 60, "allow_redelegation": true}));
    let scope = json!({"OS-TRUST:trust": {"id": id}});
    assert_eq!(show(&c, "alice", &id)["max_login_age"], 60);
    let old = c.s.unscoped("bob");
    by_token(&c, &old, scope.clone()).expect(201);
    c.s.clock.advance(30 * SECOND);
    // An exchange makes no login younger.
    let exchanged = by_token(&c, &old, json!("unscoped")).expect(201).token();
    by_token(&c, &exchanged, scope.clone()).expect(201);
    c.s.clock.advance(31 * SECOND);
    for token in [&old, &exchanged] {
        let refused = by_token(&c, token, scope.clone()).expect(403);
        assert!(refused.text.contains("max_login_age"), "{}", refused.text);
    }
    let used = c.s.consume("bob", &id).expect(201).token();
    // What a child lets be older is refused; what it does not say it has from its parent.
    let pass = |age: Value| {
        let ask = json!({"trustee_user_id": c.carol, "max_login_age": age});
        c.s.post(&used, "/v3/OS-TRUST/trusts", c.ask(ask))
    };
    let refused = pass(json!(61)).expect(403);
    assert!(refused.text.contains("max_login_age"), "{}", refused.text);
    assert_eq!(pass(json!(59)).expect(201).body["trust"]["max_login_age"], 59);
    assert_eq!(pass(json!(null)).expect(201).body["trust"]["max_login_age"], 60);
}

#[test]
fn who_uses_a_trust_has_logged_in_as_it_asks() {
    let c = Cast::with("[auth]\nmethods = password,token,totp\n");
    let wrong = c.make(json!({"required_methods": ["retina"]})).expect(400);
    assert!(wrong.text.contains("required_methods"), "{}", wrong.text);
    let easy = c.trust(json!({"required_methods": ["password"], "allow_redelegation": true}));
    let token = c.s.consume("bob", &easy).expect(201).token();
    let id = c.trust(json!({"required_methods": ["password", "totp"]}));
    assert_eq!(show(&c, "bob", &id)["required_methods"], json!(["password", "totp"]));
    let refused = c.s.consume("bob", &id).expect(403);
    assert!(refused.text.contains("totp"), "{}", refused.text);
    // A child asks for what its parent asks for, and for more where it says so.
    let ask = json!({"trustee_user_id": c.carol, "required_methods": ["totp"]});
    let child = c.s.post(&token, "/v3/OS-TRUST/trusts", c.ask(ask)).expect(201);
    assert_eq!(child.body["trust"]["required_methods"], json!(["password", "totp"]));
}

#[test]
fn a_service_is_not_led_to_anothers_trust() {
    let c = Cast::new();
    let id = c.trust(json!({"external_id": "customer 7", "allow_redelegation": true}));
    assert_eq!(show(&c, "bob", &id)["external_id"], "customer 7");
    let present = |external_id: Value| use_less(&c, "bob", &id, json!({"external_id": external_id}));
    for wrong in [json!(null), json!("customer 8"), json!("")] {
        let refused = present(wrong).expect(403);
        assert!(refused.text.contains("external_id"), "{}", refused.text);
    }
    c.s.consume("bob", &id).expect(403);
    present(json!(7)).expect(400);
    let token = present(json!("customer 7")).expect(201).token();
    // It is between these two: who uses a child of it presents what that asks for.
    let child = c.s.post(&token, "/v3/OS-TRUST/trusts", c.ask(json!({"trustee_user_id": c.carol})));
    let child = child.expect(201).body["trust"].clone();
    assert!(child.get("external_id").is_none());
    c.s.consume("carol", child["id"].as_str().expect("an id")).expect(201);
    // One that asks for none takes any.
    let plain = c.trust(json!({}));
    use_less(&c, "bob", &plain, json!({"external_id": "customer 7"})).expect(201);
    // To others it is as if nothing had been presented; a dead one is 401 whatever is.
    use_less(&c, "carol", &id, json!({"external_id": "customer 7"})).expect(403);
    c.s.delete(&c.s.unscoped("alice"), &format!("/v3/OS-TRUST/trusts/{id}")).expect(204);
    present(json!("customer 8")).expect(401);
}

#[test]
fn an_old_token_makes_no_trust_where_the_operator_says_so() {
    let c = Cast::with("[delegation]\ntrust_max_login_age = 300\ntrust_required_methods = password\n");
    let old = c.s.on("alice", &c.p);
    let make = |token: &str| c.s.post(token, "/v3/OS-TRUST/trusts", c.ask(json!({})));
    make(&old).expect(201);
    c.s.clock.advance(200 * SECOND);
    let exchanged = by_token(&c, &old, json!({"project": {"id": c.p}})).expect(201).token();
    make(&exchanged).expect(201);
    c.s.clock.advance(101 * SECOND);
    for token in [&old, &exchanged] {
        let refused = make(token).expect(403);
        assert!(refused.text.contains("max_login_age"), "{}", refused.text);
    }
    make(&c.s.on("alice", &c.p)).expect(201);
    let strict = Cast::with(
        "[auth]\nmethods = password,token,totp\n[delegation]\ntrust_required_methods = password, totp\n",
    );
    let refused = strict.make(json!({})).expect(403);
    assert!(refused.text.contains("totp"), "{}", refused.text);
}

#[test]
fn a_token_with_access_rules_can_be_ended_by_whoever_may() {
    let c = Cast::new();
    with_catalog(&c);
    let id = c.trust(json!({"access_rules": [rule("GET", "/v2.1/servers")]}));
    let revoke = |by: &str, token: &str| {
        c.s.call("DELETE", "/v3/auth/tokens", &[("X-Auth-Token", by), ("X-Subject-Token", token)], None)
    };
    for who in ["alice", "bob", "itself", "admin"] {
        let token = c.s.consume("bob", &id).expect(201).token();
        let by = match who {
            "itself" => token.clone(),
            "admin" => c.s.admin(),
            user => c.s.unscoped(user),
        };
        revoke(&by, &token).expect(204);
        validate(&c, &token, true).expect(404);
        c.s.clock.advance(2 * SECOND);
    }
    // It ends no other, and strangers end none.
    let (token, other) = (c.s.consume("bob", &id).expect(201).token(), c.s.unscoped("bob"));
    revoke(&token, &other).expect(401);
    revoke(&c.s.unscoped("carol"), &token).expect(403);
    validate(&c, &token, true).expect(200);
}

#[test]
fn what_is_below_a_trust_with_terms_is_apart_too() {
    let c = Cast::new();
    let apart = |id: &str| {
        let sql = "SELECT id FROM trust WHERE id = ? AND deleted_at >= '9999-12-31'";
        c.s.sql_text(sql, args![id]).is_some()
    };
    let id = c.trust(json!({"external_id": "customer 7", "allow_redelegation": true}));
    let token = use_less(&c, "bob", &id, json!({"external_id": "customer 7"})).expect(201).token();
    let child = c.s.post(&token, "/v3/OS-TRUST/trusts", c.ask(json!({"trustee_user_id": c.carol})));
    let child = child.expect(201).body["trust"]["id"].as_str().expect("an id").to_owned();
    assert!(apart(&id) && apart(&child));
    c.s.consume("carol", &child).expect(201);
    assert!(!apart(&c.trust(json!({}))));
}

#[test]
fn access_rules_are_not_longer_than_they_may_be() {
    let c = Cast::new();
    let rules = |n: usize| -> Vec<Value> {
        (0..n).map(|n| rule("GET", &format!("/{n:02}{}", "a".repeat(122)))).collect()
    };
    c.make(json!({"access_rules": rules(15)})).expect(201);
    let refused = c.make(json!({"access_rules": rules(16)})).expect(400);
    assert!(refused.text.contains("access_rules"), "{}", refused.text);
}
