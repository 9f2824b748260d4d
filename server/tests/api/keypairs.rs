//! EC2 keypairs and their exchange, rules 36 to 44, and validation, rules 45 to 47.

use serde_json::{Value, json};
use vicar::clock::{SECOND, iso};

use crate::support::scope;
use crate::support::{Cast, START, Server};

fn names(answer: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = answer["token"]["roles"]
        .as_array()
        .expect("roles")
        .iter()
        .filter_map(|r| r["name"].as_str())
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn rule_36_refuse_mode_is_keystones() {
    let c = Cast::with("[delegation]\nec2_keys = refuse\n");
    let id = c.trust(json!({}));
    let token = c.s.consume("bob", &id).expect(201).token();
    let path = format!("/v3/users/{}/credentials/OS-EC2", c.alice);
    c.keypair(&token, &c.alice, json!({})).expect(403);
    c.s.get(&token, &path).expect(403);
    let blob = json!({"access": "a", "secret": "s"}).to_string();
    let body = json!({"credential": {"type": "ec2", "user_id": c.alice, "project_id": c.p, "blob": blob}});
    c.s.post(&token, "/v3/credentials", body).expect(403);
    // A login keeps its own.
    c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201);
}

#[test]
fn rule_36_other_credentials_stay_closed_to_delegated_tokens() {
    let c = Cast::new();
    let alice = c.s.on("alice", &c.p);
    let totp = json!({"credential": {"type": "totp", "user_id": c.alice, "project_id": c.p, "blob": "SEED"}});
    let made = c.s.post(&alice, "/v3/credentials", totp.clone()).expect(201);
    let id = made.body["credential"]["id"].as_str().expect("an id").to_owned();
    let token = c.s.consume("bob", &c.trust(json!({}))).expect(201).token();
    c.s.post(&token, "/v3/credentials", totp).expect(403);
    let path = format!("/v3/credentials/{id}");
    c.s.get(&token, &path).expect(403);
    c.s.patch(&token, &path, json!({"credential": {"blob": "x"}})).expect(403);
    c.s.delete(&token, &path).expect(403);
    let list = c.s.get(&token, "/v3/credentials").expect(200);
    assert_eq!(list.body["credentials"], json!([]));
    assert_eq!(c.s.get(&alice, &path).expect(200).body["credential"]["blob"], "SEED");
    // Encrypted at rest.
    let stored = c.s.sql_text("SELECT encrypted_blob FROM credential", vicar::args![]).expect("a row");
    assert!(stored.starts_with("gAAAA") && !stored.contains("SEED"));
}

#[test]
fn rule_37_both_doors_make_the_same_keypair() {
    let c = Cast::new();
    let alice = c.s.on("alice", &c.p);
    let made = c.keypair(&alice, &c.alice, json!({})).expect(201);
    let k = &made.body["credential"];
    for name in ["access", "secret", "tenant_id", "user_id", "links"] {
        assert!(!k[name].is_null(), "{name}");
    }
    assert_eq!(k["trust_id"], json!(null));
    let blob = json!({"access": "MYACCESS", "secret": "MYSECRET"}).to_string();
    let body = json!({"credential": {"type": "EC2", "user_id": c.alice, "project_id": c.p, "blob": blob}});
    let made = c.s.post(&alice, "/v3/credentials", body.clone()).expect(201);
    let id = made.body["credential"]["id"].as_str().expect("an id");
    assert_eq!(id, "b325c8528a465b4b90a98a23a951fe8f76c8f85046e21a3245db08d3368e3721");
    assert_eq!(made.body["credential"]["type"], "ec2");
    assert!(made.body["credential"]["blob"].is_string());
    c.s.post(&alice, "/v3/credentials", body).expect(409);
    let other_door = format!("/v3/users/{}/credentials/OS-EC2/MYACCESS", c.alice);
    assert_eq!(c.s.get(&alice, &other_door).expect(200).body["credential"]["secret"], "MYSECRET");
    let k = json!({"access": "MYACCESS", "secret": "MYSECRET"});
    let t = c.exchange(c.signed(&k)).expect(200);
    assert_eq!(names(&t.body), ["heat_stack_owner", "member", "reader"]);
    let post = |body: Value| c.s.post(&alice, &format!("/v3/users/{}/credentials/OS-EC2", c.alice), body);
    post(json!({})).expect(400);
    post(json!({"tenant_id": 5})).expect(400);
    post(json!({"tenant_id": "0".repeat(32)})).expect(404);
    c.keypair(&c.s.unscoped("bob"), &c.alice, json!({})).expect(403);
    c.keypair(&c.s.admin(), &c.alice, json!({})).expect(201);
}

/// Heat's domain administrator does this for every stack user.
#[test]
fn the_administrator_of_a_domain_makes_keypairs_for_its_users() {
    let s = Server::start();
    let domain = s.domain("heat");
    let project = s.project_below("stack", &domain, None);
    let user = s.user_in("inside", &domain);
    s.grant(&user, &project, "reader");
    let admin = s.persona("admin", &domain, scope::on_domain(&domain));
    let blob = json!({"access": "stack-user", "secret": "s"}).to_string();
    let body = json!({"credential": {"type": "ec2", "user_id": user, "project_id": project, "blob": blob}});
    let made = s.post(&admin, "/v3/credentials", body.clone()).expect(201);
    let path = format!("/v3/credentials/{}", made.body["credential"]["id"].as_str().expect("an id"));
    let reader = s.persona("reader", &domain, scope::on_domain(&domain));
    s.delete(&reader, &path).expect(403);
    s.delete(&admin, &path).expect(204);
    s.post(&reader, "/v3/credentials", body).expect(403);
}

#[test]
fn rule_37_a_reader_makes_none_in_either_door() {
    let c = Cast::new();
    c.s.grant(&c.bob, &c.p, "reader");
    let bob = c.s.on("bob", &c.p);
    c.keypair(&bob, &c.bob, json!({})).expect(403);
    for kind in ["ec2", "EC2", "Ec2"] {
        let blob = json!({"access": "a", "secret": "s"}).to_string();
        let body = json!({"credential": {"type": kind, "user_id": c.bob, "project_id": c.p, "blob": blob}});
        c.s.post(&bob, "/v3/credentials", body).expect(403);
    }
    // Where the owner holds nothing: made, and worth nothing while they hold none.
    let alice = c.s.on("alice", &c.p);
    let r = c.s.project("R");
    let k = c.keypair(&alice, &c.alice, json!({"tenant_id": r})).expect(201).body["credential"].clone();
    c.exchange(c.signed(&k)).expect(401);
    c.s.grant(&c.alice, &r, "member");
    c.exchange(c.signed(&k)).expect(200);
}

#[test]
fn rule_38_a_trusts_keypair_is_bound_to_it_for_life() {
    let c = Cast::new();
    let id = c.trust(json!({}));
    let token = c.s.consume("bob", &id).expect(201).token();
    c.keypair(&token, &c.alice, json!({"tenant_id": c.q})).expect(403);
    c.keypair(&token, &c.bob, json!({})).expect(403);
    let k = c.keypair(&token, &c.alice, json!({})).expect(201).body["credential"].clone();
    c.keypair(&token, &c.alice, json!({})).expect(201);
    assert_eq!(k["trust_id"], id.as_str());
    let t = c.exchange(c.signed(&k)).expect(200);
    assert_eq!(names(&t.body), ["member", "reader"]);
    assert_eq!(t.body["token"]["OS-TRUST:trust"]["id"], id.as_str());
    assert_eq!(t.body["token"]["methods"], json!(["ec2credential"]));
    assert_eq!(t.body["token"]["user"]["id"], c.alice.as_str());
    // What the trustor gains does not flow in (CVE-2013-6391).
    c.s.grant(&c.alice, &c.p, "admin");
    let t = c.exchange(c.signed(&k)).expect(200);
    assert_eq!(names(&t.body), ["member", "reader"]);
    // What the owner loses flows out.
    c.s.sql_run("DELETE FROM assignment WHERE actor_id = ?", vicar::args![&c.alice]);
    c.s.validate(&t.token()).expect(404);
    c.exchange(c.signed(&k)).expect(401);
}

#[test]
fn rule_38_a_keypair_may_be_narrower_than_its_trust() {
    let c = Cast::new();
    let end = START + 600 * SECOND;
    let id =
        c.trust(json!({"roles": [{"name": "member"}, {"name": "heat_stack_owner"}], "expires_at": iso(end)}));
    let token = c.s.consume("bob", &id).expect(201).token();
    let make = |with: Value| c.keypair(&token, &c.alice, with);
    make(json!({"roles": [{"name": "admin"}]})).expect(403);
    make(json!({"roles": []})).expect(400);
    make(json!({"expires_at": iso(end + SECOND)})).expect(403);
    make(json!({"expires_at": "2020-01-01T00:00:00Z"})).expect(400);
    let k = make(json!({"roles": [{"name": "heat_stack_owner"}], "expires_at": iso(end - 60 * SECOND)}))
        .expect(201);
    let k = &k.body["credential"];
    let t = c.exchange(c.signed(k)).expect(200);
    assert_eq!(names(&t.body), ["heat_stack_owner"]);
    assert_eq!(names(&c.s.validate(&t.token()).expect(200).body), ["heat_stack_owner"]);
    assert_eq!(t.body["token"]["expires_at"], iso(end - 60 * SECOND));
    let full = make(json!({})).expect(201).body["credential"].clone();
    assert_eq!(c.exchange(c.signed(&full)).expect(200).body["token"]["expires_at"], iso(end));
    c.s.clock.advance(540 * SECOND);
    c.exchange(c.signed(k)).expect(401);
    c.exchange(c.signed(&full)).expect(200);
    // One's own keypair cannot be narrowed.
    let alice = c.s.on("alice", &c.p);
    c.keypair(&alice, &c.alice, json!({"roles": [{"name": "reader"}]})).expect(400);
}

#[test]
fn rule_39_who_sees_a_trusts_keypair_and_its_secret() {
    let c = Cast::new();
    let [_, _, third] = c.chain_with(false);
    let token = c.s.consume("dave", &third).expect(201).token();
    let k = c.keypair(&token, &c.dave, json!({})).expect(201).body["credential"].clone();
    let access = k["access"].as_str().expect("an access id");
    let path = format!("/v3/users/{}/credentials/OS-EC2/{access}", c.dave);
    let secret = |token: &str| c.s.get(token, &path).expect(200).body["credential"]["secret"].clone();
    assert_eq!(secret(&token), k["secret"]);
    assert_eq!(secret(&c.s.unscoped("dave")), k["secret"]);
    for user in ["alice", "bob", "carol"] {
        assert_eq!(secret(&c.s.unscoped(user)), json!(null), "{user}");
    }
    c.s.get(&c.s.admin(), &path).expect(200);
    c.s.get(&c.svc(), &path).expect(403);
    // Another token of the same trust sees it, but not its secret.
    let again = c.s.consume("dave", &third).expect(201).token();
    assert_eq!(secret(&again), json!(null));
    let by_id = format!("/v3/credentials/{}", vicar::resources::keypairs::credential_id(access));
    assert!(!c.s.get(&again, &by_id).expect(200).text.contains(k["secret"].as_str().expect("a secret")));
    // Nor does another token of the very same login.
    let login = c.s.unscoped("dave");
    let by_token = || {
        let scope = json!({"OS-TRUST:trust": {"id": third}});
        c.s.auth(json!({"identity": {"methods": ["token"], "token": {"id": login}}, "scope": scope}))
            .expect(201)
            .token()
    };
    let (maker, sibling) = (by_token(), by_token());
    let own = c.keypair(&maker, &c.dave, json!({})).expect(201).body["credential"]["access"].clone();
    let own = format!("/v3/users/{}/credentials/OS-EC2/{}", c.dave, own.as_str().expect("an access id"));
    assert!(c.s.get(&maker, &own).expect(200).body["credential"]["secret"].is_string());
    assert!(c.s.get(&sibling, &own).expect(200).body["credential"]["secret"].is_null());
    // A token of the trust above sees nothing of it.
    let above = c.s.consume("bob", &c.chain_with(false)[0]).expect(201).token();
    c.s.get(&above, &path).expect(403);
    c.s.delete(&above, &path).expect(403);
    // With impersonation the owner is the trustor; the trustee finds it under their own id.
    let id = c.trust(json!({}));
    let token = c.s.consume("bob", &id).expect(201).token();
    let k = c.keypair(&token, &c.alice, json!({})).expect(201).body["credential"].clone();
    let access = k["access"].as_str().expect("an access id");
    let under = |user: &str| format!("/v3/users/{user}/credentials/OS-EC2/{access}");
    let bob = c.s.unscoped("bob");
    c.s.get(&bob, &under(&c.bob)).expect(200);
    let list = c.s.get(&bob, &format!("/v3/users/{}/credentials/OS-EC2", c.bob)).expect(200);
    assert_eq!(list.body["credentials"][0]["access"], access);
    c.s.delete(&bob, &under(&c.bob)).expect(204);
    c.s.get(&c.s.on("alice", &c.p), &under(&c.alice)).expect(404);
}

#[test]
fn rule_40_provenance_is_the_servers() {
    let c = Cast::new();
    let alice = c.s.on("alice", &c.p);
    let path = format!("/v3/users/{}/credentials/OS-EC2", c.alice);
    for marker in ["trust_id", "app_cred_id", "access_token_id"] {
        c.s.post(&alice, &path, json!({"tenant_id": c.p, marker: "x"})).expect(400);
        let blob = json!({"access": "a", "secret": "s", marker: "x"}).to_string();
        let body =
            json!({"credential": {"type": "ec2", "user_id": c.alice, "project_id": c.p, "blob": blob}});
        c.s.post(&alice, "/v3/credentials", body).expect(400);
    }
    let blob = json!({"access": "a", "secret": "s"}).to_string();
    let body = json!({"credential": {"type": "ec2", "user_id": c.alice, "project_id": c.p, "blob": blob}});
    let made = c.s.post(&alice, "/v3/credentials", body).expect(201);
    let path = format!("/v3/credentials/{}", made.body["credential"]["id"].as_str().expect("an id"));
    let patch = |with: Value| c.s.patch(&alice, &path, json!({"credential": with}));
    for (name, value) in
        [("user_id", &c.bob), ("project_id", &c.q), ("type", &"totp".to_owned()), ("id", &c.q)]
    {
        patch(json!({name: value})).expect(400);
        patch(json!({name: value, "blob": blob})).expect(400);
    }
    for wrong in
        [json!({"access": "b", "secret": "s"}), json!({"access": "a", "secret": "s", "trust_id": "x"})]
    {
        patch(json!({"blob": wrong.to_string()})).expect(400);
    }
    patch(json!({"blob": json!({"access": "a", "secret": "new"}).to_string()})).expect(200);
    c.exchange(c.signed(&json!({"access": "a", "secret": "s"}))).expect(401);
    c.exchange(c.signed(&json!({"access": "a", "secret": "new"}))).expect(200);
}

#[test]
fn rule_41_a_keystone_on_the_same_database_refuses_a_trusts_keypair() {
    let c = Cast::new();
    let token = c.s.consume("bob", &c.trust(json!({}))).expect(201).token();
    c.keypair(&token, &c.alice, json!({})).expect(201);
    // Keystone exchanges rows of type `ec2` only; clients of ours see that type all the same.
    let kind = c.s.sql_text("SELECT type FROM credential", vicar::args![]);
    assert_eq!(kind.as_deref(), Some("ec2-trust"));
    let list = c.s.get(&c.s.on("alice", &c.p), "/v3/credentials?type=ec2").expect(200);
    assert_eq!(list.body["credentials"][0]["type"], "ec2");
}

#[test]
fn rule_42_who_may_exchange() {
    let c = Cast::new();
    let k = c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201).body["credential"].clone();
    for path in ["/v3/ec2tokens", "/v3/s3tokens"] {
        c.s.call("POST", path, &[], Some(c.signed(&k).to_string().as_bytes())).expect(401);
        c.s.post(&c.s.on("alice", &c.p), path, c.signed(&k)).expect(403);
        c.s.get(&c.svc(), path).expect(405);
        c.s.call("POST", path, &[("X-Auth-Token", &c.svc())], Some(b"")).expect(400);
        c.s.post(&c.svc(), path, json!({})).expect(400);
        c.s.post(&c.svc(), path, json!({"credentials": {}})).expect(401);
    }
    let t = c.s.post(&c.s.admin(), "/v3/ec2tokens", c.signed(&k)).expect(200);
    assert_eq!(t.body["token"]["methods"], json!(["ec2credential"]));
    c.s.validate(&t.token()).expect(200);
    let without = Cast::with("[auth]\nmethods = password,token\n");
    without.exchange(json!({"credentials": {"access": "a"}})).expect(503);
}

#[test]
fn rule_42_each_exchange_takes_one_use_and_a_failed_one_none() {
    let c = Cast::new();
    let id = c.trust(json!({"remaining_uses": 3}));
    let uses = || c.s.sql_text("SELECT remaining_uses FROM trust", vicar::args![]);
    let token = c.s.consume("bob", &id).expect(201).token();
    assert_eq!(uses().as_deref(), Some("2"));
    let k = c.keypair(&token, &c.alice, json!({})).expect(201).body["credential"].clone();
    c.s.login("bob", "wrong", json!({"OS-TRUST:trust": {"id": id}})).expect(401);
    c.s.consume("dave", &id).expect(403);
    c.exchange(c.signed(&json!({"access": k["access"], "secret": "wrong"}))).expect(401);
    assert_eq!(uses().as_deref(), Some("2"));
    c.exchange(c.signed(&k)).expect(200);
    assert_eq!(uses().as_deref(), Some("1"));
    c.exchange(c.signed(&k)).expect(200);
    c.exchange(c.signed(&k)).expect(401);
    c.s.consume("bob", &id).expect(401);
    assert_eq!(uses().as_deref(), Some("0"));
}

#[test]
fn rule_43_signatures_and_their_times() {
    let c = Cast::new();
    let k = c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201).body["credential"].clone();
    let now = c.s.clock.now();
    for (at, status) in [
        (Some(now), 200),
        (Some(now - 14 * 60 * SECOND), 200),
        (Some(now - 16 * 60 * SECOND), 401),
        (Some(now + 4 * 60 * SECOND), 200),
        (Some(now + 6 * 60 * SECOND), 401),
        // Heat's stored URLs.
        (None, 200),
    ] {
        c.exchange(c.signed_at(&k, at)).expect(status);
    }
    for (name, value) in [("path", "/v2"), ("verb", "POST"), ("signature", "AAAA"), ("access", "unknown")] {
        let mut signed = c.signed(&k);
        signed["credentials"][name] = value.into();
        c.exchange(signed).expect(401);
    }
    let mut unsigned = c.signed(&k);
    unsigned["credentials"].as_object_mut().expect("an object").remove("signature");
    c.exchange(unsigned).expect(401);
    for odd in [json!({"credentials": 5}), json!({"credentials": {"access": 5, "signature": "x"}})] {
        c.exchange(odd).expect(400);
    }
    let strict = Cast::with("[credential]\nallow_untimed_signatures = false\nrefuse_replay = true\n");
    let alice = strict.s.on("alice", &strict.p);
    let k = strict.keypair(&alice, &strict.alice, json!({})).expect(201).body["credential"].clone();
    strict.exchange(strict.signed_at(&k, None)).expect(401);
    let signed = strict.signed(&k);
    strict.exchange(signed.clone()).expect(200);
    strict.exchange(signed).expect(401);
}

#[test]
fn rule_43_a_dead_owner_or_project_is_401() {
    let c = Cast::new();
    let k = c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201).body["credential"].clone();
    for (table, id) in [("\"user\"", c.alice.as_str()), ("project", &c.p), ("project", "default")] {
        let svc = c.svc();
        c.s.sql_run(&format!("UPDATE {table} SET enabled = ? WHERE id = ?"), vicar::args![false, id]);
        let status = if id == "default" {
            // The service's own domain is off with it.
            c.s.post(&svc, "/v3/ec2tokens", c.signed(&k)).status
        } else {
            c.s.post(&svc, "/v3/ec2tokens", c.signed(&k)).expect(401).status
        };
        assert_eq!(status, 401);
        c.s.sql_run(&format!("UPDATE {table} SET enabled = ? WHERE id = ?"), vicar::args![true, id]);
        c.exchange(c.signed(&k)).expect(200);
    }
}

#[test]
fn rule_43_version_4_in_header_and_query_and_s3() {
    use base64::Engine;
    use vicar_rules::signature::{SignedRequest, amz_date, presign_v4, sign_s3, sign_v4};
    let c = Cast::new();
    let k = c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201).body["credential"].clone();
    let (access, secret) = (k["access"].as_str().expect("access"), k["secret"].as_str().expect("secret"));
    let fresh = || SignedRequest {
        access: access.into(),
        host: "heat.example".into(),
        verb: "GET".into(),
        path: "/v1".into(),
        ..SignedRequest::default()
    };
    let body = |r: &SignedRequest| {
        json!({"credentials": {
            "access": r.access, "signature": r.signature, "host": r.host, "verb": r.verb, "path": r.path,
            "params": r.params, "headers": r.headers, "body_hash": r.body_hash,
        }})
    };
    let now = c.s.clock.now();
    let mut r = fresh();
    sign_v4(secret, &mut r, &amz_date(now), "RegionOne", "cloudformation").expect("signs");
    c.exchange(body(&r)).expect(200);
    let mut r = fresh();
    sign_v4(secret, &mut r, &amz_date(now - 20 * 60 * SECOND), "RegionOne", "cloudformation").expect("signs");
    c.exchange(body(&r)).expect(401);
    let mut r = fresh();
    presign_v4(secret, &mut r, &amz_date(now), "RegionOne", "cloudformation", 60).expect("signs");
    c.exchange(body(&r)).expect(200);
    c.s.clock.advance(61 * SECOND);
    c.exchange(body(&r)).expect(401);
    let date = amz_date(now);
    let day = &date[..8];
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{day}/RegionOne/s3/aws4_request\n{}", "0".repeat(64));
    let token = base64::engine::general_purpose::URL_SAFE.encode(&to_sign);
    let signature = sign_s3(secret, to_sign.as_bytes()).expect("signs");
    let s3 = |signature: &str| {
        let body = json!({"credentials": {"access": access, "token": token, "signature": signature}});
        c.s.post(&c.svc(), "/v3/s3tokens", body)
    };
    let answer = s3(&signature).expect(200);
    assert_eq!(answer.header("x-subject-token"), None);
    assert_eq!(answer.body["token"]["user"]["id"], c.alice.as_str());
    s3("0000").expect(401);
}

#[test]
fn rule_44_a_leaf_is_a_leaf() {
    let c = Cast::new();
    let id = c.trust(json!({"allow_redelegation": true}));
    let token = c.s.consume("bob", &id).expect(201).token();
    let bound = c.keypair(&token, &c.alice, json!({})).expect(201).body["credential"].clone();
    let plain = c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201).body["credential"].clone();
    for k in [&bound, &plain] {
        let t = c.exchange(c.signed(k)).expect(200).token();
        c.s.validate(&t).expect(200);
        c.s.get(&t, "/v3/auth/catalog").expect(403);
        c.s.get(&t, &format!("/v3/OS-TRUST/trusts/{id}")).expect(403);
        c.s.post(&t, "/v3/OS-TRUST/trusts", c.ask(json!({}))).expect(403);
        c.keypair(&t, &c.alice, json!({})).expect(403);
        c.s.call("GET", "/v3/auth/tokens", &[("X-Auth-Token", &t), ("X-Subject-Token", &t)], None)
            .expect(403);
        for scope in
            [json!("unscoped"), json!({"project": {"id": c.p}}), json!({"OS-TRUST:trust": {"id": id}})]
        {
            let auth = json!({"identity": {"methods": ["token"], "token": {"id": t}}, "scope": scope});
            c.s.auth(auth).expect(403);
        }
        // Deleting the keypair kills its tokens and leaves its trust alone.
        let other = c.exchange(c.signed(k)).expect(200).token();
        let access = k["access"].as_str().expect("an access id");
        let path = format!("/v3/users/{}/credentials/OS-EC2/{access}", c.alice);
        c.s.delete(&c.s.on("alice", &c.p), &path).expect(204);
        c.s.validate(&other).expect(404);
        c.exchange(c.signed(k)).expect(401);
        c.s.validate(&token).expect(200);
    }
}

#[test]
fn rules_45_46_validation_of_the_dead() {
    let c = Cast::new();
    let end = START + 60 * SECOND;
    let id = c.trust(json!({"expires_at": iso(end)}));
    let token = c.s.consume("bob", &id).expect(201).token();
    let k = c.keypair(&token, &c.alice, json!({})).expect(201).body["credential"].clone();
    let exchanged = c.exchange(c.signed(&k)).expect(200).token();
    let login = c.s.on("alice", &c.p);
    c.s.clock.advance(2 * 3600 * SECOND);
    let late = |t: &str| {
        let headers = [("X-Auth-Token", &*c.svc()), ("X-Subject-Token", t)];
        c.s.call("GET", "/v3/auth/tokens?allow_expired=1", &headers, None).status
    };
    assert_eq!(late(&login), 200);
    // Their own end has passed.
    assert_eq!(late(&token), 404);
    assert_eq!(late(&exchanged), 404);
    c.s.validate(&login).expect(404);
}

/// The path of a keypair's credential.
fn credential(keypair: &Value) -> String {
    let access = keypair["access"].as_str().expect("an access id");
    format!("/v3/credentials/{}", vicar::resources::keypairs::credential_id(access))
}

fn with_blob(blob: &Value) -> Value {
    json!({"credential": {"blob": blob.to_string()}})
}

#[test]
fn a_keypair_keeps_an_access_id_whoever_changes_it() {
    let c = Cast::new();
    let k = c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201).body["credential"].clone();
    for token in [c.s.admin(), c.s.on("alice", &c.p)] {
        for blob in [
            json!({"secret": "new"}),
            json!({"access": null, "secret": "new"}),
            json!({"access": "", "secret": "new"}),
            json!({"access": 5, "secret": "new"}),
            json!({"access": "x".repeat(256), "secret": "new"}),
        ] {
            c.s.patch(&token, &credential(&k), with_blob(&blob)).expect(400);
        }
    }
    c.exchange(c.signed(&k)).expect(200);
    // Another one remains possible for an administrator, as in Keystone; the first still finds it.
    let other = with_blob(&json!({"access": "another", "secret": k["secret"]}));
    c.s.patch(&c.s.on("alice", &c.p), &credential(&k), other.clone()).expect(400);
    c.s.patch(&c.s.admin(), &credential(&k), other).expect(200);
    c.exchange(c.signed(&k)).expect(200);
}

#[test]
fn a_user_has_no_more_credentials_than_the_limit() {
    let c = Cast::with("[credential]\nuser_limit = 2\n");
    let alice = c.s.on("alice", &c.p);
    let totp = |user: &str| json!({"credential": {"type": "totp", "user_id": user, "blob": "SEED"}});
    let blob = json!({"access": "a", "secret": "s"}).to_string();
    let ec2 = json!({"credential": {"type": "ec2", "user_id": c.alice, "project_id": c.p, "blob": blob}});
    let k = c.keypair(&alice, &c.alice, json!({})).expect(201).body["credential"].clone();
    c.s.post(&alice, "/v3/credentials", totp(&c.alice)).expect(201);
    // All types count, on both routes, whoever asks; a trust's keypair counts for whom it speaks for.
    let text = "Unable to create additional credentials, maximum of 2 already exceeded for user.";
    let bearer = c.s.consume("bob", &c.trust(json!({}))).expect(201).token();
    for refused in [
        c.keypair(&alice, &c.alice, json!({})),
        c.keypair(&bearer, &c.alice, json!({})),
        c.keypair(&c.s.admin(), &c.alice, json!({})),
        c.s.post(&alice, "/v3/credentials", totp(&c.alice)),
        c.s.post(&alice, "/v3/credentials", ec2.clone()),
    ] {
        assert_eq!(refused.expect(403).body["error"]["message"], text);
    }
    c.s.post(&c.s.admin(), "/v3/credentials", totp(&c.bob)).expect(201);
    c.s.delete(&alice, &credential(&k)).expect(204);
    c.s.post(&alice, "/v3/credentials", ec2).expect(201);
    c.keypair(&alice, &c.alice, json!({})).expect(403);
}

#[test]
fn a_limit_of_no_credentials_refuses_all_and_a_negative_one_none() {
    let c = Cast::with("[credential]\nuser_limit = 0\n");
    c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(403);
    let c = Cast::with("[credential]\nuser_limit = -1\n");
    c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201);
}

#[test]
fn null_is_no_marker() {
    let c = Cast::new();
    let k = json!({"access": "plain", "secret": "s"});
    let mut blob = k.clone();
    let mut body = json!({"type": "ec2", "user_id": c.alice, "project_id": c.p});
    for marker in ["trust_id", "app_cred_id", "access_token_id"] {
        blob[marker] = json!(null);
        body[marker] = json!(null);
    }
    body["blob"] = blob.to_string().into();
    let alice = c.s.on("alice", &c.p);
    let made = c.s.post(&alice, "/v3/credentials", json!({"credential": body})).expect(201);
    assert_eq!(made.body["credential"].get("trust_id"), None);
    let t = c.exchange(c.signed(&k)).expect(200);
    assert_eq!(t.body["token"].get("OS-TRUST:trust"), None);
    c.s.patch(&alice, &credential(&k), with_blob(&blob)).expect(200);
    c.keypair(&alice, &c.alice, json!({"trust_id": null})).expect(201);
    // The server's own marker takes the place of a null.
    let id = c.trust(json!({}));
    let bearer = c.s.consume("bob", &id).expect(201).token();
    blob["access"] = "bound".into();
    body["blob"] = blob.to_string().into();
    let made = c.s.post(&bearer, "/v3/credentials", json!({"credential": body})).expect(201);
    let shown = made.body["credential"]["blob"].as_str().expect("a string");
    let shown: Value = serde_json::from_str(shown).expect("JSON");
    assert_eq!(shown["trust_id"], id.as_str());
    let t = c.exchange(c.signed(&json!({"access": "bound", "secret": "s"}))).expect(200);
    assert_eq!(t.body["token"]["OS-TRUST:trust"]["id"], id.as_str());
}

#[test]
fn who_may_not_see_a_keypair_does_not_learn_that_it_is_gone() {
    let c = Cast::new();
    let bearer = c.s.consume("bob", &c.trust(json!({}))).expect(201).token();
    let end = json!({"expires_at": iso(START + 60 * SECOND)});
    let k = c.keypair(&bearer, &c.alice, end).expect(201).body["credential"].clone();
    let under = |access: &str| format!("/v3/users/{}/credentials/OS-EC2/{access}", c.alice);
    let path = under(k["access"].as_str().expect("an access id"));
    let (alice, carol) = (c.s.on("alice", &c.p), c.s.unscoped("carol"));
    c.s.get(&carol, &path).expect(403);
    c.s.get(&alice, &path).expect(200);
    c.s.clock.advance(61 * SECOND);
    // Below a user it is 404, which tempest wants of one that was never made; as a credential 403. A dead one is
    // like one that was never made.
    for (path, status) in [
        (path, 404),
        (under("never-made"), 404),
        (credential(&k), 403),
        ("/v3/credentials/never-made".into(), 403),
    ] {
        c.s.get(&carol, &path).expect(status);
        c.s.delete(&carol, &path).expect(status);
        c.s.get(&c.s.admin(), &path).expect(404);
        c.s.delete(&c.s.admin(), &path).expect(404);
    }
    // Its owner may know.
    c.s.get(&alice, &under("never-made")).expect(404);
    c.s.get(&alice, &under(k["access"].as_str().expect("an access id"))).expect(404);
}

/// A Keystone on the same database deletes credentials without what this server keeps beside them.
#[test]
fn a_keypair_is_not_bound_to_what_one_of_the_same_access_id_was() {
    let c = Cast::new();
    let bearer = c.s.consume("bob", &c.trust(json!({}))).expect(201).token();
    let k = json!({"access": "same", "secret": "s"});
    let body = json!({"credential": {
        "type": "ec2", "user_id": c.alice, "project_id": c.p, "blob": k.to_string(),
    }});
    c.s.post(&bearer, "/v3/credentials", body.clone()).expect(201);
    c.s.sql_run("DELETE FROM credential WHERE user_id = ?", vicar::args![&c.alice]);
    c.s.post(&c.s.on("alice", &c.p), "/v3/credentials", body).expect(201);
    let t = c.exchange(c.signed(&k)).expect(200);
    assert_eq!(t.body["token"].get("OS-TRUST:trust"), None);
    assert_eq!(names(&t.body), ["heat_stack_owner", "member", "reader"]);
}

#[test]
fn a_list_shows_keypairs_of_several_trusts_each_with_its_own() {
    let c = Cast::new();
    let alice = c.s.on("alice", &c.p);
    c.keypair(&alice, &c.alice, json!({})).expect(201);
    let mut trusts: Vec<String> = (0..3)
        .map(|_| {
            let id = c.trust(json!({}));
            let bearer = c.s.consume("bob", &id).expect(201).token();
            c.keypair(&bearer, &c.alice, json!({})).expect(201);
            id
        })
        .collect();
    let ended = trusts.pop().expect("three");
    c.s.sql_run("DELETE FROM trust_role WHERE trust_id = ?", vicar::args![&ended]);
    c.s.sql_run("DELETE FROM trust WHERE id = ?", vicar::args![&ended]);
    let of = |token: &str, user: &str| {
        let list = c.s.get(token, &format!("/v3/users/{user}/credentials/OS-EC2")).expect(200);
        let list = list.body["credentials"].as_array().expect("a list").clone();
        let mut found: Vec<String> =
            list.iter().filter_map(|k| k["trust_id"].as_str()).map(str::to_owned).collect();
        found.sort_unstable();
        (list.len(), found)
    };
    trusts.sort_unstable();
    assert_eq!(of(&alice, &c.alice), (3, trusts.clone()));
    assert_eq!(of(&c.s.unscoped("bob"), &c.bob), (2, trusts));
    let list = c.s.get(&alice, "/v3/credentials").expect(200);
    assert_eq!(list.body["credentials"].as_array().map(Vec::len), Some(3));
}

#[test]
fn rule_46_an_expired_token_is_shown_while_all_that_it_stands_on_lives() {
    let c = Cast::new();
    let end = START + 6 * 3600 * SECOND;
    let id = c.trust(json!({"expires_at": iso(end)}));
    let token = c.s.consume("bob", &id).expect(201).token();
    let k = c.keypair(&token, &c.alice, json!({})).expect(201).body["credential"].clone();
    let until = START + 4 * 3600 * SECOND;
    let short = c.keypair(&token, &c.alice, json!({"expires_at": iso(until)})).expect(201);
    let exchanged = c.exchange(c.signed(&k)).expect(200).token();
    let ended = c.exchange(c.signed(&short.body["credential"])).expect(200).token();
    let revoked = c.s.consume("bob", &id).expect(201).token();
    let itself = [("X-Auth-Token", &*revoked), ("X-Subject-Token", &*revoked)];
    c.s.call("DELETE", "/v3/auth/tokens", &itself, None).expect(204);
    let late = |t: &str| {
        let headers = [("X-Auth-Token", &*c.svc()), ("X-Subject-Token", t)];
        c.s.call("GET", "/v3/auth/tokens?allow_expired=1", &headers, None)
    };
    // Its own end is an hour after it was issued.
    c.s.clock.advance(2 * 3600 * SECOND);
    let shown = late(&token).expect(200);
    assert_eq!(shown.body["token"]["OS-TRUST:trust"]["id"], *id);
    late(&exchanged).expect(200);
    late(&ended).expect(200);
    late(&revoked).expect(404);
    for t in [&token, &exchanged, &ended] {
        c.s.validate(t).expect(404);
        // Showing it to a service is all: it does nothing.
        c.s.get(t, "/v3/OS-TRUST/trusts").expect(401);
    }
    // The end of one keypair ends its token, and no other.
    c.s.clock.advance(2 * 3600 * SECOND);
    late(&ended).expect(404);
    late(&exchanged).expect(200);
    let access = k["access"].as_str().expect("an access id");
    let path = format!("/v3/users/{}/credentials/OS-EC2/{access}", c.alice);
    c.s.delete(&c.s.on("alice", &c.p), &path).expect(204);
    late(&exchanged).expect(404);
    late(&token).expect(200);
    // The end of the trust, long before the window is over.
    c.s.clock.advance(2 * 3600 * SECOND);
    late(&token).expect(404);
}

#[test]
fn rule_46_an_expired_token_of_an_ended_or_suspended_trust_is_not_shown() {
    let c = Cast::new();
    let ended = c.trust(json!({}));
    let suspended = c.trust(json!({"impersonation": false}));
    let tokens = [&ended, &suspended].map(|id| c.s.consume("bob", id).expect(201).token());
    c.s.clock.advance(2 * 3600 * SECOND);
    let late = |t: &str| {
        let headers = [("X-Auth-Token", &*c.svc()), ("X-Subject-Token", t)];
        c.s.call("GET", "/v3/auth/tokens?allow_expired=1", &headers, None).status
    };
    assert_eq!([late(&tokens[0]), late(&tokens[1])], [200, 200]);
    c.s.delete(&c.s.on("alice", &c.p), &format!("/v3/OS-TRUST/trusts/{ended}")).expect(204);
    assert_eq!([late(&tokens[0]), late(&tokens[1])], [404, 200]);
    let bob = format!("/v3/users/{}", c.bob);
    c.s.patch(&c.s.admin(), &bob, json!({"user": {"enabled": false}})).expect(200);
    assert_eq!(late(&tokens[1]), 404);
}

#[test]
fn no_end_of_a_keypair_has_more_than_four_digits_for_its_year() {
    let c = Cast::new();
    let token = c.s.consume("bob", &c.trust(json!({}))).expect(201).token();
    for bad in ["+10000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "+2030-01-01T00:00:00Z"] {
        let refused = c.keypair(&token, &c.alice, json!({"expires_at": bad})).expect(400);
        assert!(refused.text.contains("expires_at"), "{}", refused.text);
        c.s.get(&c.s.admin(), &format!("/v3/OS-REVOKE/events?since={}", bad.replace('+', "%2B"))).expect(400);
        c.s.get(&c.s.admin(), &format!("/v3/users?password_expires_at={}", bad.replace('+', "%2B")))
            .expect(400);
    }
    let until = json!({"expires_at": "9999-12-31T23:59:59Z"});
    c.keypair(&token, &c.alice, until).expect(201);
}

#[test]
fn s3_signatures_of_version_2_can_be_refused() {
    use base64::Engine;
    use vicar_rules::signature::{amz_date, sign_s3};
    for (ini, allowed) in [("", 200), ("[credential]\nallow_s3_version_2 = false\n", 401)] {
        let c = Cast::with(ini);
        let k = c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201).body["credential"].clone();
        let (access, secret) = (k["access"].as_str().expect("access"), k["secret"].as_str().expect("secret"));
        let ask = |to_sign: &str| {
            let token = base64::engine::general_purpose::URL_SAFE.encode(to_sign);
            let signature = sign_s3(secret, to_sign.as_bytes()).expect("signs");
            let body = json!({"credentials": {"access": access, "token": token, "signature": signature}});
            c.s.post(&c.svc(), "/v3/s3tokens", body)
        };
        ask("GET\n\n\nThu, 14 Jan 2027 22:00:00 GMT\n/bucket/object").expect(allowed);
        let date = amz_date(c.s.clock.now());
        let scope = format!("{}/RegionOne/s3/aws4_request", &date[..8]);
        ask(&format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", "0".repeat(64))).expect(200);
    }
}

/// As with Keystone: nothing is wrong with the request, and it is of no use to try again.
#[test]
fn without_their_method_keypairs_are_not_exchanged_and_the_option_is_named() {
    let c = Cast::with("[auth]\nmethods = password,token\n");
    let k = c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201).body["credential"].clone();
    let s3 = json!({"credentials": {"access": k["access"], "signature": "x", "token": "eA=="}});
    for answer in [c.exchange(c.signed(&k)), c.s.post(&c.svc(), "/v3/s3tokens", s3)] {
        let answer = answer.expect(503);
        let message = answer.body["error"]["message"].as_str().expect("a message");
        assert!(message.contains("ec2credential") && message.contains("[auth] methods"), "{message}");
        assert_eq!(answer.header("retry-after"), None);
    }
}
