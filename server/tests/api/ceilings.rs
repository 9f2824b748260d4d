//! Ceilings: how much may be delegated, by domain, project, user and registered trustee; limits of counts.

use serde_json::{Value, json};
use vicar::args;
use vicar::clock::{SECOND, iso};

use crate::support::{Answer, Cast, START, Server, on_domain, on_project, persona};

fn set(s: &Server, token: &str, of: &str, ceiling: Value) -> Answer {
    let body = json!({"delegation_policy": ceiling}).to_string();
    let path = format!("/v3/{of}/delegation_policy");
    s.call("PUT", &path, &[("X-Auth-Token", token)], Some(body.as_bytes()))
}

fn lift(c: &Cast, of: &str) {
    c.s.delete(&c.s.admin(), &format!("/v3/{of}/delegation_policy")).expect(204);
}

/// Sets a ceiling as the administrator.
#[track_caller]
fn ceiling(c: &Cast, of: &str, ceiling: Value) -> Value {
    set(&c.s, &c.s.admin(), of, ceiling).expect(200).body["delegation_policy"].clone()
}

#[track_caller]
fn refused(answer: Answer, words: &str) {
    let answer = answer.expect(403);
    assert!(answer.text.contains(words), "{words}: {}", answer.text);
}

impl Cast {
    fn on_p(&self) -> String {
        format!("projects/{}", self.p)
    }

    /// `user` passes `parent` on, with these attributes.
    fn pass_on(&self, user: &str, parent: &str, with: Value) -> Answer {
        let token = self.s.consume(user, parent).expect(201).token();
        self.s.post(&token, "/v3/OS-TRUST/trusts", self.ask(with))
    }

    fn state(&self, trust: &str) -> (String, String) {
        let path = format!("/v3/OS-TRUST/trusts/{trust}/lineage");
        let shown = self.s.get(&self.s.admin(), &path).expect(200).body["lineage"]["trust"].clone();
        let text = |name: &str| shown[name].as_str().unwrap_or_default().to_owned();
        (text("state"), text("reason"))
    }
}

#[test]
fn a_ceiling_refuses_by_name_what_is_above_it() {
    let c = Cast::new();
    let day = 86_400;
    let until = |seconds: i64| iso(START + seconds * SECOND);
    let member = c.s.role("member");
    for (limit, above, words, within) in [
        (
            json!({"max_lifetime": day}),
            json!({}),
            "expires_at: max_lifetime of project",
            json!({"expires_at": until(day)}),
        ),
        (
            json!({"max_lifetime": day}),
            json!({"expires_at": until(day + 1)}),
            "is 86400 seconds",
            json!({"expires_at": until(day - 1)}),
        ),
        (
            json!({"expiry_required": true}),
            json!({}),
            "expires_at: expiry_required is set for project",
            json!({"expires_at": until(day * 900)}),
        ),
        (
            json!({"max_depth": 1}),
            json!({"allow_redelegation": true, "redelegation_count": 2}),
            "redelegation_count: max_depth of project",
            json!({"allow_redelegation": true, "redelegation_count": 1}),
        ),
        (
            json!({"never_roles": [{"name": "member"}]}),
            json!({}),
            "is among never_roles of project",
            json!({"roles": [{"name": "heat_stack_owner"}]}),
        ),
        // What a role implies is delegated with it.
        (
            json!({"never_roles": [{"name": "reader"}]}),
            json!({}),
            "is among never_roles of project",
            json!({"roles": [{"name": "heat_stack_owner"}]}),
        ),
        (
            json!({"allowed_trustees": [{"id": c.carol}]}),
            json!({}),
            "is not among allowed_trustees of project",
            json!({"trustee_user_id": c.carol}),
        ),
        (
            json!({"impersonation": false}),
            json!({}),
            "impersonation is not allowed by project",
            json!({"impersonation": false}),
        ),
    ] {
        ceiling(&c, &c.on_p(), limit.clone());
        refused(c.make(above), words);
        c.make(within).expect(201);
        // It is about this project alone.
        let elsewhere = json!({"project_id": c.q, "trustee_user_id": c.dave});
        let token = c.s.on("alice", &c.q);
        let made = c.s.post(&token, "/v3/OS-TRUST/trusts", c.ask(elsewhere)).expect(201);
        let id = made.body["trust"]["id"].as_str().expect("an id").to_owned();
        c.s.delete(&c.s.admin(), &format!("/v3/OS-TRUST/trusts/{id}")).expect(204);
    }
    // What is not stated is the most that there can be.
    ceiling(&c, &c.on_p(), json!({"max_depth": 1}));
    let made = c.make(json!({"allow_redelegation": true, "trustee_user_id": c.dave})).expect(201);
    assert_eq!(made.body["trust"]["redelegation_count"], 1);
    assert_eq!(
        c.s.get(&c.s.admin(), &format!("/v3/{}/delegation_policy", c.on_p())).expect(200).body["delegation_policy"]
            ["never_roles"],
        json!([]),
        "it was replaced as a whole: {member}"
    );
}

#[test]
fn the_tightest_along_domain_project_and_user_holds() {
    let c = Cast::new();
    let inner = c.s.project_below("inner", "default", Some(&c.p));
    c.s.grant(&c.alice, &inner, "member");
    let of_alice = format!("users/{}", c.alice);
    let ends = |seconds: i64| json!({"expires_at": iso(START + seconds * SECOND)});
    ceiling(&c, "domains/default", json!({"max_lifetime": 300, "impersonation": false}));
    ceiling(&c, &c.on_p(), json!({"max_lifetime": 200}));
    ceiling(&c, &of_alice, json!({"max_lifetime": 400, "expiry_required": true}));
    let own_name = |mut with: Value, project: &str| {
        with["impersonation"] = json!(false);
        with["project_id"] = json!(project);
        c.s.post(&c.s.on("alice", &c.p), "/v3/OS-TRUST/trusts", c.ask(with))
    };
    // The project and those below it, another project, the user everywhere.
    refused(own_name(ends(201), &c.p), "max_lifetime of project");
    refused(own_name(ends(201), &inner), "max_lifetime of project");
    refused(own_name(ends(301), &c.q), "max_lifetime of domain default");
    own_name(ends(200), &c.p).expect(201);
    own_name(ends(200), &inner).expect(201);
    own_name(ends(300), &c.q).expect(201);
    refused(c.make(ends(100)), "impersonation is not allowed by domain default");
    lift(&c, "domains/default");
    refused(own_name(ends(401), &c.q), "max_lifetime of user");
    refused(own_name(json!({}), &c.q), "expiry_required is set for user");
    // Another user, on a project of a domain of its own, is asked by none of these.
    let other = c.s.domain("other");
    let there = c.s.project_below("there", &other, None);
    let erin = c.s.user_in("erin", &other);
    c.s.grant(&erin, &there, "member");
    let token = c.s.login_id(&erin, "erin-pw", json!({"project": {"id": there}})).expect(201).token();
    let ask = c.ask(json!({"trustor_user_id": erin, "project_id": there}));
    c.s.post(&token, "/v3/OS-TRUST/trusts", ask.clone()).expect(201);
    // The domain of the trustor counts as well as that of the project.
    ceiling(&c, &format!("domains/{other}"), json!({"impersonation": false}));
    c.s.grant(&erin, &c.q, "member");
    let token = c.s.login_id(&erin, "erin-pw", json!({"project": {"id": c.q}})).expect(201).token();
    let ask = c.ask(json!({"trustor_user_id": erin, "project_id": c.q}));
    refused(c.s.post(&token, "/v3/OS-TRUST/trusts", ask), &format!("by domain {other}"));
}

#[test]
fn a_policy_shows_its_own_limits_and_where_the_effective_ones_come_from() {
    let c = Cast::new();
    let inner = c.s.project_below("inner", "default", Some(&c.p));
    let (member, reader) = (c.s.role("member"), c.s.role("reader"));
    let get = |of: &str| {
        let path = format!("/v3/{of}/delegation_policy");
        c.s.get(&c.s.admin(), &path).expect(200).body["delegation_policy"].clone()
    };
    let plain = get("domains/default");
    for name in ["max_lifetime", "max_depth", "allowed_trustees"] {
        assert!(plain[name].is_null(), "{name}");
        assert_eq!(plain["effective"][name], json!({"value": null, "from": []}));
    }
    assert_eq!((&plain["impersonation"], &plain["keypairs"]), (&json!(true), &json!(true)));
    ceiling(&c, "domains/default", json!({"max_lifetime": 300, "never_roles": [{"id": reader}]}));
    ceiling(
        &c,
        &c.on_p(),
        json!({"max_lifetime": 300, "max_depth": 2, "allowed_trustees": [{"id": c.bob}, {"id": c.carol}]}),
    );
    let own = json!({
        "max_depth": 3, "never_roles": [{"name": "member"}], "keypairs": false, "allowed_trustees": [{"id": c.bob}],
        "applies_to_existing": true,
    });
    let set = ceiling(&c, &format!("projects/{inner}"), own);
    assert_eq!(set, get(&format!("projects/{inner}")));
    assert_eq!(
        (&set["max_depth"], &set["keypairs"], &set["applies_to_existing"]),
        (&json!(3), &json!(false), &json!(true))
    );
    assert_eq!(set["never_roles"], json!([{"id": member, "name": "member"}]));
    let (domain, p) = (json!({"kind": "domain", "id": "default"}), json!({"kind": "project", "id": c.p}));
    let here = json!({"kind": "project", "id": inner});
    let e = &set["effective"];
    assert_eq!(e["max_lifetime"], json!({"value": 300, "from": [domain, p]}));
    assert_eq!(e["max_depth"], json!({"value": 2, "from": [p]}));
    assert_eq!(e["never_roles"]["value"].as_array().map(Vec::len), Some(2));
    assert_eq!(e["never_roles"]["from"], json!([domain, here]));
    assert_eq!(e["allowed_trustees"], json!({"value": [{"id": c.bob}], "from": [p, here]}));
    assert_eq!(e["keypairs"], json!({"value": false, "from": [here]}));
    assert_eq!(e["impersonation"], json!({"value": true, "from": []}));
    let of_alice = get(&format!("users/{}", c.alice));
    assert_eq!(of_alice["effective"]["max_lifetime"], json!({"value": 300, "from": [domain]}));
    lift(&c, &c.on_p());
    c.s.delete(&c.s.admin(), &format!("/v3/{}/delegation_policy", c.on_p())).expect(404);
    assert!(get(&c.on_p())["max_depth"].is_null());
}

#[test]
fn what_is_wrong_with_a_policy_is_named() {
    let c = Cast::new();
    let admin = c.s.admin();
    for (policy, words) in [
        (json!({"max_life": 60}), "max_life"),
        (json!({"max_lifetime": 0}), "max_lifetime"),
        (json!({"max_lifetime": 1.0}), "max_lifetime"),
        (json!({"max_lifetime": 3_000_000_000_u64}), "max_lifetime"),
        (json!({"max_depth": -1}), "max_depth"),
        (json!({"max_depth": "2"}), "max_depth"),
        (json!({"never_roles": ["admin"]}), "never_roles"),
        (json!({"never_roles": vec![json!({"id": "x"}); 101]}), "never_roles"),
        (json!({"allowed_trustees": ["x"]}), "allowed_trustees"),
        (json!({"allowed_trustees": vec![json!({"id": "x"}); 101]}), "allowed_trustees"),
        (json!({"impersonation": null}), "impersonation"),
        (json!({"keypairs": "no"}), "keypairs"),
    ] {
        let answer = set(&c.s, &admin, &c.on_p(), policy.clone()).expect(400);
        assert!(answer.text.contains(words), "{policy}: {}", answer.text);
    }
    for role in [json!({"name": "no such role"}), json!({"id": "nosuchrole"})] {
        set(&c.s, &admin, &c.on_p(), json!({"never_roles": [role]})).expect(404);
    }
    for of in ["domains/nowhere", "projects/nowhere", "users/nobody", "projects/default"] {
        set(&c.s, &admin, of, json!({})).expect(404);
        c.s.get(&admin, &format!("/v3/{of}/delegation_policy")).expect(404);
        c.s.delete(&admin, &format!("/v3/{of}/delegation_policy")).expect(404);
    }
    c.s.call("PUT", &format!("/v3/{}/delegation_policy", c.on_p()), &[], Some(b"{}")).expect(401);
}

#[test]
fn who_may_set_and_who_may_read_a_policy() {
    let c = Cast::new();
    let other = c.s.domain("other");
    let (ours, theirs) =
        (on_domain(&c.s, "m1", "manager", "default"), on_domain(&c.s, "m2", "manager", &other));
    let reader = persona(&c.s, "r", "reader", "system").1;
    let of_project = on_project(&c.s, "r1", "reader", &c.p);
    let manager_of_project = on_project(&c.s, "m3", "manager", &c.p);
    let alice = c.s.on("alice", &c.p);
    let (of_alice, of_bob) = (format!("users/{}", c.alice), format!("users/{}", c.bob));
    for (of, may) in [
        ("domains/default", [false, false, false, false, false, false]),
        (c.on_p().as_str(), [true, false, false, false, false, false]),
        (of_alice.as_str(), [true, false, false, false, false, false]),
    ] {
        let all = [&ours, &theirs, &reader, &of_project, &manager_of_project, &alice];
        for (who, may) in all.into_iter().zip(may) {
            set(&c.s, who, of, json!({})).expect(if may { 200 } else { 403 });
        }
        ceiling(&c, of, json!({"max_depth": 1}));
        for (who, may) in [&theirs, &reader, &of_project, &manager_of_project, &alice]
            .into_iter()
            .zip(may.into_iter().skip(1))
        {
            c.s.delete(who, &format!("/v3/{of}/delegation_policy")).expect(if may { 204 } else { 403 });
        }
    }
    let read = |who: &str, of: &str| c.s.get(who, &format!("/v3/{of}/delegation_policy")).status;
    for (of, statuses) in [
        ("domains/default", [200, 403, 200, 403, 403]),
        (c.on_p().as_str(), [200, 403, 200, 200, 200]),
        (of_alice.as_str(), [200, 403, 200, 403, 200]),
        (of_bob.as_str(), [200, 403, 200, 403, 403]),
    ] {
        let all = [&ours, &theirs, &reader, &of_project, &alice];
        assert_eq!(all.map(|who| read(who, of)), statuses, "{of}");
    }
    // Whatever roles it has: a delegated token sets none.
    let admin = c.s.sql_text("SELECT id FROM role WHERE name = ?", args!["admin"]).expect("a role");
    c.s.grant(&c.alice, &c.p, "admin");
    let id = c.trust(json!({"roles": [{"id": admin}]}));
    let delegated = c.s.consume("bob", &id).expect(201).token();
    let made = c.s.post(
        &c.s.on("alice", &c.p),
        &format!("/v3/users/{}/application_credentials", c.alice),
        json!({"application_credential": {"name": "a", "secret": "s", "unrestricted": true}}),
    );
    let made = made.expect(201).body["application_credential"].clone();
    let credential = c.s.auth(json!({"identity": {
        "methods": ["application_credential"],
        "application_credential": {"id": made["id"], "secret": "s"},
    }}));
    for token in [&delegated, &credential.expect(201).token()] {
        for of in ["domains/default", &c.on_p(), &of_alice] {
            refused(set(&c.s, token, of, json!({})), "a delegated token may not say how much");
            refused(c.s.delete(token, &format!("/v3/{of}/delegation_policy")), "a delegated token");
        }
    }
    assert_eq!(ceiling(&c, "domains/default", json!({"max_depth": 1}))["max_depth"], 1);
}

#[test]
fn a_link_at_any_depth_is_within_the_ceilings() {
    let c = Cast::new();
    let [first, second, third] = c.chain();
    let fourth = |with: Value| {
        let mut ask = json!({"trustee_user_id": c.bob});
        for (name, value) in with.as_object().expect("an object") {
            ask[name] = value.clone();
        }
        c.pass_on("dave", &third, ask)
    };
    let later = json!({"expires_at": iso(START + 100 * SECOND)});
    let of_alice = format!("users/{}", c.alice);
    for (of, limit, words, within) in [
        (c.on_p(), json!({"max_lifetime": 100}), "max_lifetime of project", later),
        (
            c.on_p(),
            json!({"impersonation": false}),
            "impersonation is not",
            json!({"impersonation": false, "trustor_user_id": c.alice}),
        ),
        (
            of_alice.clone(),
            json!({"allowed_trustees": [{"id": c.carol}]}),
            "allowed_trustees of user",
            json!({"trustee_user_id": c.carol}),
        ),
        (
            "domains/default".into(),
            json!({"expiry_required": true}),
            "expiry_required",
            json!({"expires_at": iso(START + 200 * SECOND)}),
        ),
    ] {
        ceiling(&c, &of, limit);
        refused(fourth(json!({})), words);
        fourth(within).expect(201);
        lift(&c, &of);
    }
    ceiling(&c, &c.on_p(), json!({"never_roles": [{"name": "reader"}]}));
    refused(fourth(json!({})), "never_roles of project");
    ceiling(&c, &c.on_p(), json!({"max_depth": 2}));
    refused(fourth(json!({})), "max_depth of project");
    // A shorter way is still open, and counts what is left of the depth.
    let made = c.pass_on("bob", &first, json!({"trustee_user_id": c.dave, "allow_redelegation": true}));
    assert_eq!(made.expect(201).body["trust"]["redelegation_count"], 1);
    let made = c.pass_on("carol", &second, json!({"trustee_user_id": c.bob, "allow_redelegation": true}));
    assert_eq!(made.expect(201).body["trust"]["redelegation_count"], 0);
    // The ceiling of who passes it on does not matter: the authority is the root trustor's.
    ceiling(&c, &c.on_p(), json!({}));
    ceiling(&c, &format!("users/{}", c.dave), json!({"impersonation": false}));
    fourth(json!({})).expect(201);
    // None of this ended or suspended anything.
    for (user, id) in [("bob", &first), ("carol", &second), ("dave", &third)] {
        c.s.consume(user, id).expect(201);
    }
}

#[test]
fn a_ceiling_for_what_exists_suspends_it_and_gives_it_back() {
    let c = Cast::new();
    let [first, second, third] = c.chain();
    let token = c.s.consume("dave", &third).expect(201).token();
    let above = c.s.consume("bob", &first).expect(201).token();
    c.s.validate(&token).expect(200);
    for (limit, suspended, words) in [
        (json!({"max_depth": 1}), [false, false, true], "max_depth of project"),
        (
            json!({"allowed_trustees": [{"id": c.bob}, {"id": c.dave}]}),
            [false, true, true],
            "allowed_trustees",
        ),
        (json!({"impersonation": false}), [true; 3], "impersonation is not allowed by project"),
        (json!({"expiry_required": true}), [true; 3], "expiry_required"),
        (json!({"max_lifetime": 60}), [true; 3], "max_lifetime"),
        (json!({"never_roles": [{"name": "reader"}]}), [true; 3], "never_roles"),
    ] {
        let mut limit = limit;
        // For what is new alone nothing changes for what is there.
        ceiling(&c, &c.on_p(), limit.clone());
        c.s.validate(&token).expect(200);
        limit["applies_to_existing"] = json!(true);
        ceiling(&c, &c.on_p(), limit.clone());
        for ((user, id), is_off) in
            [("bob", &first), ("carol", &second), ("dave", &third)].into_iter().zip(suspended)
        {
            c.s.consume(user, id).expect(if is_off { 401 } else { 201 });
            let (state, reason) = c.state(id);
            assert_eq!(state, if is_off { "suspended" } else { "live" }, "{limit}");
            assert!(!is_off || reason.contains(words), "{reason}");
        }
        c.s.validate(&token).expect(404);
        c.s.get(&token, "/v3/auth/projects").expect(401);
        c.s.validate(&above).expect(if suspended[0] { 404 } else { 200 });
        // Nothing was taken from anybody by name, so what it gave before is good again.
        lift(&c, &c.on_p());
        c.s.validate(&token).expect(200);
        c.s.validate(&above).expect(200);
        c.s.consume("dave", &third).expect(201);
    }
    // It is found among the suspended, and can be ended meanwhile.
    ceiling(&c, &format!("users/{}", c.alice), json!({"max_depth": 0, "applies_to_existing": true}));
    let list = format!("/v3/OS-TRUST/trusts?trustor_user_id={}&state=suspended", c.alice);
    let found = c.s.get(&c.s.unscoped("alice"), &list).expect(200);
    assert_eq!(found.body["trusts"].as_array().map(Vec::len), Some(2));
    c.s.delete(&c.s.unscoped("alice"), &format!("/v3/OS-TRUST/trusts/{second}")).expect(204);
    lift(&c, &format!("users/{}", c.alice));
    c.s.validate(&token).expect(404);
    c.s.validate(&above).expect(200);
}

#[test]
fn a_life_is_counted_from_now_on_for_what_exists() {
    let c = Cast::new();
    let id = c.trust(json!({"expires_at": iso(START + 100 * SECOND)}));
    ceiling(&c, &c.on_p(), json!({"max_lifetime": 60, "applies_to_existing": true}));
    c.s.clock.advance(40 * SECOND - 1);
    c.s.consume("bob", &id).expect(401);
    c.s.clock.advance(1);
    let token = c.s.consume("bob", &id).expect(201).token();
    c.s.validate(&token).expect(200);
    c.s.clock.advance(60 * SECOND);
    c.s.validate(&token).expect(404);
}

#[test]
fn keypairs_of_trusts_are_within_the_ceilings_too() {
    let c = Cast::new();
    let [_, _, third] = c.chain();
    let token = c.s.consume("dave", &third).expect(201).token();
    let keypair = c.keypair(&token, &c.alice, json!({})).expect(201).body["credential"].clone();
    let of_keypair = c.exchange(c.signed(&keypair)).expect(200).token();
    ceiling(&c, &c.on_p(), json!({"keypairs": false}));
    refused(c.keypair(&token, &c.alice, json!({})), "keypairs of trusts are not allowed by project");
    c.s.validate(&of_keypair).expect(200);
    // The other door, which makes the same.
    let blob = json!({"access": "a1", "secret": "s"}).to_string();
    let body = json!({"credential": {"type": "ec2", "user_id": c.alice, "project_id": c.p, "blob": blob}});
    refused(c.s.post(&token, "/v3/credentials", body), "keypairs of trusts");
    // One of a login is its owner's own.
    c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201);
    ceiling(&c, &c.on_p(), json!({"keypairs": false, "applies_to_existing": true}));
    c.exchange(c.signed(&keypair)).expect(401);
    c.s.validate(&of_keypair).expect(404);
    // The trust gives all else, and the keypair is there.
    c.s.validate(&token).expect(200);
    let access = keypair["access"].as_str().expect("an access id");
    let path = format!("/v3/users/{}/credentials/OS-EC2/{access}", c.alice);
    c.s.get(&c.s.unscoped("alice"), &path).expect(200);
    lift(&c, &c.on_p());
    c.s.validate(&of_keypair).expect(200);
    c.s.clock.advance(SECOND);
    c.exchange(c.signed(&keypair)).expect(200);
    // Roles and ends, of trusts from before.
    ceiling(&c, &c.on_p(), json!({"never_roles": [{"name": "member"}], "max_lifetime": 60}));
    refused(c.keypair(&token, &c.alice, json!({"roles": [{"name": "reader"}]})), "max_lifetime");
    let end = iso(START + 61 * SECOND);
    refused(c.keypair(&token, &c.alice, json!({"expires_at": end})), "never_roles");
    c.keypair(&token, &c.alice, json!({"roles": [{"name": "reader"}], "expires_at": end})).expect(201);
}

#[test]
fn a_ceiling_that_is_set_at_one_server_holds_at_once_at_the_other() {
    let c = Cast::new();
    let [first, _, third] = c.chain();
    let other = c.s.replica();
    let token = c.s.consume("dave", &third).expect(201).token();
    for _ in 0..2 {
        other.validate(&token).expect(200);
        c.s.validate(&token).expect(200);
    }
    ceiling(&c, &c.on_p(), json!({"max_depth": 1, "applies_to_existing": true}));
    other.validate(&token).expect(404);
    other.consume("dave", &third).expect(401);
    let parent = other.consume("bob", &first).expect(201).token();
    refused(
        other.post(
            &parent,
            "/v3/OS-TRUST/trusts",
            c.ask(json!({"redelegation_count": 1, "allow_redelegation": true})),
        ),
        "redelegation_count",
    );
    set(&other, &c.s.admin(), &c.on_p(), json!({"max_depth": 2, "applies_to_existing": true})).expect(200);
    c.s.validate(&token).expect(200);
    other.validate(&token).expect(200);
    // And what somebody does to the rows.
    c.s.sql_run(
        "UPDATE vicar_delegation_policy SET policy = ? WHERE holder_id = ?",
        args![r#"{"max_depth": 0, "applies_to_existing": true}"#, &c.p],
    );
    for s in [&c.s, &other] {
        s.validate(&token).expect(404);
    }
    // Moved to another holder it is theirs.
    c.s.sql_run("UPDATE vicar_delegation_policy SET holder_id = ? WHERE holder_id = ?", args![&c.q, &c.p]);
    for s in [&c.s, &other] {
        s.validate(&token).expect(200);
    }
}

#[test]
fn a_policy_that_cannot_be_read_lets_nothing_be_made_and_suspends() {
    let c = Cast::new();
    let id = c.trust(json!({}));
    let token = c.s.consume("bob", &id).expect(201).token();
    let newer = r#"{"max_depth": 3, "only_on_mondays": true}"#;
    c.s.sql_run(
        "INSERT INTO vicar_delegation_policy (holder_id, kind, policy) VALUES (?, 'project', ?)",
        args![&c.p, newer],
    );
    refused(c.make(json!({})), "the delegation policy of project");
    c.s.validate(&token).expect(404);
    assert_eq!(c.state(&id).0, "suspended");
    let shown = c.s.get(&c.s.admin(), &format!("/v3/{}/delegation_policy", c.on_p())).expect(200);
    let unreadable = &shown.body["delegation_policy"]["effective"]["unreadable"];
    assert_eq!(unreadable, &json!([{"kind": "project", "id": c.p}]));
    // One that this program knows takes its place.
    ceiling(&c, &c.on_p(), json!({"max_depth": 3}));
    c.s.validate(&token).expect(200);
}

#[test]
fn ceilings_go_with_what_they_are_of() {
    let c = Cast::new();
    let admin = c.s.admin();
    let (domain, project, user) = (c.s.domain("d"), c.s.project("gone"), c.s.user("gone"));
    for of in [format!("domains/{domain}"), format!("projects/{project}"), format!("users/{user}")] {
        ceiling(&c, &of, json!({"max_depth": 1}));
    }
    let body = json!({"service": {"name": "Gone"}}).to_string();
    let path = format!("/v3/OS-TRUST/services/{user}");
    c.s.call("PUT", &path, &[("X-Auth-Token", &admin)], Some(body.as_bytes())).expect(200);
    let left = || crate::support::count(&c.s, "SELECT kind FROM vicar_delegation_policy", &[]);
    assert_eq!(left(), 4);
    c.s.delete(&admin, &format!("/v3/users/{user}")).expect(204);
    assert_eq!(left(), 2);
    c.s.delete(&admin, &format!("/v3/projects/{project}")).expect(204);
    c.s.patch(&admin, &format!("/v3/domains/{domain}"), json!({"domain": {"enabled": false}})).expect(200);
    c.s.delete(&admin, &format!("/v3/domains/{domain}")).expect(204);
    assert_eq!(left(), 0);
}

fn register(c: &Cast, user: &str, service: Value) -> Answer {
    let body = json!({"service": service}).to_string();
    let path = format!("/v3/OS-TRUST/services/{user}");
    c.s.call("PUT", &path, &[("X-Auth-Token", &c.s.admin())], Some(body.as_bytes()))
}

#[test]
fn registered_trustees_are_listed_with_what_they_are_for_and_their_ceilings() {
    let c = Cast::new();
    let member = c.s.role("member");
    let list = |token: &str| c.s.get(token, "/v3/OS-TRUST/services").expect(200).body["services"].clone();
    assert_eq!(list(&c.s.unscoped("dave")), json!([]));
    let made = register(
        &c,
        &c.bob,
        json!({
            "name": "Heat", "description": "stacks", "max_depth": 0, "max_lifetime": 600, "never_roles": [{"name": "member"}],
        }),
    );
    let shown = made.expect(200).body["service"].clone();
    assert_eq!(
        (&shown["id"], &shown["name"], &shown["description"]),
        (&json!(c.bob), &json!("Heat"), &json!("stacks"))
    );
    assert_eq!(shown["never_roles"], json!([{"id": member, "name": "member"}]));
    let delegated = c.s.consume("carol", &c.trust(json!({"trustee_user_id": c.carol}))).expect(201).token();
    for token in [c.s.unscoped("dave"), c.s.on("alice", &c.p), delegated] {
        assert_eq!(list(&token), json!([shown]));
    }
    // It holds for trusts to them, and for nobody else's.
    let end = iso(START + 600 * SECOND);
    refused(c.make(json!({})), &format!("max_lifetime of trustee {}", c.bob));
    refused(c.make(json!({"expires_at": end})), "never_roles of trustee");
    let heat =
        json!({"expires_at": end, "roles": [{"name": "heat_stack_owner"}], "allow_redelegation": true});
    let id = c.make(heat).expect(201).body["trust"].clone();
    assert_eq!(id["redelegation_count"], 0);
    c.trust(json!({"trustee_user_id": c.dave}));
    // For what exists too, where it says so; and no more when they are not registered.
    register(&c, &c.bob, json!({"name": "Heat", "impersonation": false, "applies_to_existing": true}))
        .expect(200);
    let id = id["id"].as_str().expect("an id");
    c.s.consume("bob", id).expect(401);
    c.s.delete(&c.s.admin(), &format!("/v3/OS-TRUST/services/{}", c.bob)).expect(204);
    c.s.delete(&c.s.admin(), &format!("/v3/OS-TRUST/services/{}", c.bob)).expect(404);
    c.s.consume("bob", id).expect(201);
    // Only the operator registers.
    for who in [c.s.on("alice", &c.p), on_domain(&c.s, "m", "manager", "default")] {
        let body = json!({"service": {"name": "Mine"}}).to_string();
        let path = format!("/v3/OS-TRUST/services/{}", c.alice);
        c.s.call("PUT", &path, &[("X-Auth-Token", &who)], Some(body.as_bytes())).expect(403);
    }
    register(&c, "nobody", json!({"name": "x"})).expect(404);
    for (wrong, words) in [
        (json!({}), "name"),
        (json!({"name": " "}), "name"),
        (json!({"name": "x", "allowed_trustees": []}), "allowed_trustees"),
        (json!({"name": "x", "max_depth": "1"}), "max_depth"),
    ] {
        let answer = register(&c, &c.bob, wrong).expect(400);
        assert!(answer.text.contains(words), "{}", answer.text);
    }
}

#[test]
fn where_the_operator_says_so_trusts_go_to_registered_trustees_only() {
    let c = Cast::with("[delegation]\ntrustees = registered\n");
    refused(c.make(json!({})), "is not among the registered trustees");
    register(&c, &c.bob, json!({"name": "Heat"})).expect(200);
    let id = c.trust(json!({"allow_redelegation": true}));
    refused(c.pass_on("bob", &id, json!({"trustee_user_id": c.carol})), "registered trustees");
    register(&c, &c.carol, json!({"name": "Aodh"})).expect(200);
    c.pass_on("bob", &id, json!({"trustee_user_id": c.carol})).expect(201);
    // What exists goes on.
    c.s.delete(&c.s.admin(), &format!("/v3/OS-TRUST/services/{}", c.bob)).expect(204);
    c.s.consume("bob", &id).expect(201);
    refused(c.make(json!({})), "registered trustees");
}

/// An identity service in the catalog, with a registered limit; the ids of both.
fn limited(c: &Cast, resource: &str, limit: i64) -> [String; 2] {
    let admin = c.s.admin();
    let service = json!({"service": {"type": "identity", "name": "keystone"}});
    let service = crate::support::id(&c.s.post(&admin, "/v3/services", service).expect(201), "service");
    let body = json!({"registered_limits": [
        {"service_id": service, "resource_name": resource, "default_limit": limit},
    ]});
    let made = c.s.post(&admin, "/v3/registered_limits", body).expect(201);
    [service, made.body["registered_limits"][0]["id"].as_str().expect("an id").to_owned()]
}

#[test]
fn a_project_has_no_more_living_trusts_than_its_limit() {
    let c = Cast::new();
    let admin = c.s.admin();
    let [service, registered] = limited(&c, "trust", 2);
    let id = c.trust(json!({"allow_redelegation": true}));
    let end = iso(START + 60 * SECOND);
    c.trust(json!({"trustee_user_id": c.carol, "expires_at": end}));
    let words = "The project may have 2 living trusts, and has as many";
    refused(c.make(json!({"trustee_user_id": c.dave})), words);
    // Whoever gives it, at whatever depth.
    refused(c.pass_on("bob", &id, json!({"trustee_user_id": c.carol})), words);
    // Another project has its own.
    let elsewhere = c.ask(json!({"project_id": c.q}));
    c.s.post(&c.s.on("alice", &c.q), "/v3/OS-TRUST/trusts", elsewhere).expect(201);
    // The dead do not count.
    c.s.clock.advance(60 * SECOND);
    let third = c.trust(json!({"trustee_user_id": c.dave}));
    refused(c.make(json!({"trustee_user_id": c.carol})), words);
    c.s.delete(&c.s.unscoped("alice"), &format!("/v3/OS-TRUST/trusts/{third}")).expect(204);
    c.trust(json!({"trustee_user_id": c.dave, "max_token_ttl": 60}));
    refused(c.make(json!({"trustee_user_id": c.carol})), words);
    // The project's own limit takes the place of the registered one.
    let own = json!({"limits": [
        {"project_id": c.p, "service_id": service, "resource_name": "trust", "resource_limit": 3},
    ]});
    let own = c.s.post(&admin, "/v3/limits", own).expect(201).body["limits"][0]["id"].clone();
    let own = format!("/v3/limits/{}", own.as_str().expect("an id"));
    c.trust(json!({"trustee_user_id": c.carol}));
    refused(c.make(json!({"trustee_user_id": c.alice})), "may have 3 living trusts");
    for (limit, status) in [(0, 403), (-1, 201)] {
        c.s.patch(&admin, &own, json!({"limit": {"resource_limit": limit}})).expect(200);
        c.make(json!({"trustee_user_id": c.alice})).expect(status);
    }
    c.s.delete(&admin, &own).expect(204);
    refused(c.make(json!({"trustee_user_id": c.carol})), words);
    c.s.delete(&admin, &format!("/v3/registered_limits/{registered}")).expect(204);
    c.make(json!({"trustee_user_id": c.carol})).expect(201);
}

#[test]
fn a_project_has_no_more_keypairs_than_its_limit() {
    let c = Cast::new();
    limited(&c, "keypair", 2);
    let token = c.s.consume("bob", &c.trust(json!({}))).expect(201).token();
    let end = iso(START + 60 * SECOND);
    c.keypair(&token, &c.alice, json!({"expires_at": end})).expect(201);
    c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201);
    let words = "The project may have 2 living keypairs, and has as many";
    refused(c.keypair(&token, &c.alice, json!({})), words);
    refused(c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})), words);
    // Credentials of other types are no keypairs.
    let body = json!({"credential": {"type": "totp", "user_id": c.alice, "project_id": c.p, "blob": "x"}});
    c.s.post(&c.s.admin(), "/v3/credentials", body).expect(201);
    c.s.clock.advance(60 * SECOND);
    c.keypair(&token, &c.alice, json!({})).expect(201);
    refused(c.keypair(&token, &c.alice, json!({})), words);
}

#[test]
fn a_project_has_no_more_application_credentials_than_its_limit() {
    let c = Cast::new();
    limited(&c, "application_credential", 1);
    let make = |name: &str, project: &str, end: Option<String>| {
        c.s.post(
            &c.s.on("alice", project),
            &format!("/v3/users/{}/application_credentials", c.alice),
            json!({"application_credential": {"name": name, "secret": "s", "expires_at": end}}),
        )
    };
    make("a", &c.p, Some(iso(START + 60 * SECOND))).expect(201);
    refused(make("b", &c.p, None), "The project may have 1 living application credentials");
    make("b", &c.q, None).expect(201);
    c.s.clock.advance(60 * SECOND);
    make("c", &c.p, None).expect(201);
    refused(make("d", &c.p, None), "application_credential");
}
