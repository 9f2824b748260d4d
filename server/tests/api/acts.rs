//! What is said and done of trusts besides making, using and ending them: their origin, suspension, the end of their tokens, succession,
//! and what those see who manage a project.

use serde_json::{Value, json};
use vicar::args;
use vicar::clock::{SECOND, iso};

use crate::support::{Answer, Cast, count, id, ids, on_domain};

fn path(trust: &str, act: &str) -> String {
    format!("/v3/OS-TRUST/trusts/{trust}/{act}")
}

fn suspend(c: &Cast, token: &str, trust: &str) -> Answer {
    let why = json!({"suspension": {"reason": "a look at it"}});
    c.s.post(token, &path(trust, "suspend"), why)
}

fn resume(c: &Cast, token: &str, trust: &str) -> Answer {
    c.s.post(token, &path(trust, "resume"), json!({}))
}

#[track_caller]
fn is_refused(answer: &Answer, words: &str) {
    assert!(
        answer.status == 403 && answer.text.contains(words),
        "{words}: {} {}",
        answer.status,
        answer.text
    );
}

fn adopt(c: &Cast, token: &str, trust: &str) -> Answer {
    c.s.post(token, &path(trust, "adopt"), json!({}))
}

/// What a Keystone's queries find: whether the trust is not deleted.
fn is_in_keystone(c: &Cast, trust: &str) -> bool {
    let sql = "SELECT id FROM trust WHERE id = ? AND deleted_at IS NULL";
    c.s.sql_text(sql, args![trust]).is_some()
}

/// A user who holds `member` on P, by name.
fn member(c: &Cast, name: &str) -> String {
    let user = c.s.user(name);
    c.s.grant(&user, &c.p, "member");
    user
}

fn enable(c: &Cast, user: &str, enabled: bool) {
    let body = json!({"user": {"enabled": enabled}});
    c.s.patch(&c.s.admin(), &format!("/v3/users/{user}"), body).expect(200);
}

fn lineage(c: &Cast, user: &str, trust: &str) -> Value {
    c.s.get(&c.s.unscoped(user), &path(trust, "lineage")).expect(200).body["lineage"].clone()
}

// The chain in the token's own words.

#[test]
fn a_token_says_who_acts_and_by_which_chain() {
    let c = Cast::new();
    let [first, second, third] = c.chain();
    let token = &c.s.consume("dave", &third).expect(201).body["token"];
    assert_eq!(token["act"], json!({"sub": c.dave, "act": {"sub": c.carol, "act": {"sub": c.bob}}}));
    let chain = token["delegation_chain"].as_array().expect("a list");
    let told = |n: usize, name: &str| chain[n][name].clone();
    assert_eq!(
        [told(0, "trust_id"), told(1, "trust_id"), told(2, "trust_id")],
        [first.as_str(), &second, &third]
    );
    assert_eq!((told(0, "delegator"), told(0, "delegatee")), (json!(c.alice), json!(c.bob)));
    assert_eq!((told(2, "delegator"), told(2, "delegatee")), (json!(c.alice), json!(c.dave)));
    assert_eq!([told(0, "redelegation_count"), told(2, "redelegation_count")], [3, 1]);
    assert_eq!(told(1, "roles"), json!([c.s.role("member")]));
    // Also of a chain of one, with its terms but for the external id, which is for the service that presents it.
    let one = c.trust(json!({"max_token_ttl": 60, "external_id": "x"}));
    let scope = json!({"OS-TRUST:trust": {"id": one, "external_id": "x"}});
    let login = c.s.login("bob", "bob-pw", scope).expect(201);
    assert_eq!(login.body["token"]["act"], json!({"sub": c.bob}));
    let link = &login.body["token"]["delegation_chain"][0];
    assert_eq!((&link["max_token_ttl"], link.get("external_id")), (&json!(60), None));
    // Whoever validates it is told the same; a login has neither.
    assert_eq!(c.s.validate(&login.token()).expect(200).body["token"]["act"], json!({"sub": c.bob}));
    let plain = c.s.on("alice", &c.p);
    let plain = c.s.validate(&plain).expect(200);
    assert!(
        plain.body["token"].get("act").is_none() && plain.body["token"].get("delegation_chain").is_none()
    );
}

#[test]
fn what_is_said_of_the_origin_is_told_by_all_below() {
    let c = Cast::new();
    let labels = json!({"stack": "s1", "ticket": "7"});
    let said = json!({"source_identity": "alice@laptop", "labels": labels, "allow_redelegation": true});
    let first = c.trust(said);
    let second = c.below("bob", &first, &c.carol, true);
    let third = c.below("carol", &second, &c.dave, true);
    let has = |object: &Value| {
        assert_eq!(
            (&object["source_identity"], &object["labels"]),
            (&json!("alice@laptop"), &labels),
            "{object}"
        );
    };
    for id in [&first, &second, &third] {
        has(&c.s.get(&c.s.unscoped("alice"), &format!("/v3/OS-TRUST/trusts/{id}")).expect(200).body["trust"]);
    }
    let tree = lineage(&c, "alice", &third);
    has(&tree["trust"]);
    has(&tree["ancestors"][0]);
    let login = c.s.consume("dave", &third).expect(201);
    has(&login.body["token"]["OS-TRUST:trust"]);
    has(&c.s.validate(&login.token()).expect(200).body["token"]["OS-TRUST:trust"]);
    // And by a keypair's token.
    let keypair = c.keypair(&login.token(), &c.alice, json!({})).expect(201).body["credential"].clone();
    has(&c.exchange(c.signed(&keypair)).expect(200).body["token"]["OS-TRUST:trust"]);
    // Nobody below says otherwise; the same may be said again.
    let token = c.s.consume("bob", &first).expect(201).token();
    for (with, words) in [
        (json!({"source_identity": "bob"}), "source_identity: a trust above says something else"),
        (json!({"labels": {"stack": "s2"}}), "labels: a trust above says something else"),
        (
            json!({"labels": {"stack": "s1", "ticket": "7", "more": "m"}}),
            "labels: a trust above says something else",
        ),
    ] {
        let mut ask = c.ask(json!({"trustee_user_id": c.carol}));
        ask["trust"].as_object_mut().expect("an object").extend(with.as_object().expect("an object").clone());
        let refused = c.s.post(&token, "/v3/OS-TRUST/trusts", ask).expect(403);
        assert!(refused.text.contains(words), "{}", refused.text);
    }
    let same = c.ask(json!({"trustee_user_id": c.carol, "labels": labels}));
    has(&c.s.post(&token, "/v3/OS-TRUST/trusts", same).expect(201).body["trust"]);
    // A Keystone keeps it, and it takes nothing away from the trust there.
    assert!(is_in_keystone(&c, &first) && is_in_keystone(&c, &third));
}

#[test]
fn whoever_uses_a_trust_first_may_say_where_it_began() {
    let c = Cast::new();
    let first = c.trust(json!({"allow_redelegation": true, "labels": {"team": "blue"}}));
    let scope = |with: Value| {
        let mut scope = json!({"OS-TRUST:trust": {"id": first}});
        scope["OS-TRUST:trust"]
            .as_object_mut()
            .expect("an object")
            .extend(with.as_object().expect("one").clone());
        scope
    };
    let login = |with: Value| c.s.login("bob", "bob-pw", scope(with));
    let said = login(json!({"source_identity": "job 17"})).expect(201);
    assert_eq!(said.body["token"]["OS-TRUST:trust"]["source_identity"], "job 17");
    assert_eq!(said.body["token"]["OS-TRUST:trust"]["labels"], json!({"team": "blue"}));
    // It gives all that the trust gives, and what is made with it says the same.
    let token = said.token();
    assert_eq!(names(&c.s.validate(&token).expect(200)), names(&c.s.consume("bob", &first).expect(201)));
    let child = c.ask(json!({"trustee_user_id": c.carol}));
    let child = c.s.post(&token, "/v3/OS-TRUST/trusts", child).expect(201);
    assert_eq!(child.body["trust"]["source_identity"], "job 17");
    let keypair = c.keypair(&token, &c.alice, json!({})).expect(201).body["credential"].clone();
    assert!(keypair.get("roles").is_none(), "it is no narrower: {keypair}");
    let exchanged = c.exchange(c.signed(&keypair)).expect(200);
    assert_eq!(exchanged.body["token"]["OS-TRUST:trust"]["source_identity"], "job 17");
    // For that token alone; and not against the trust.
    let other = c.s.consume("bob", &first).expect(201);
    assert!(other.body["token"]["OS-TRUST:trust"].get("source_identity").is_none());
    login(json!({"labels": {"team": "red"}})).expect(403);
    login(json!({"labels": {"team": "blue"}})).expect(201);
    for (with, words) in [
        (json!({"source_identity": ""}), "source_identity"),
        (json!({"source_identity": "x".repeat(65)}), "source_identity"),
        (json!({"source_identity": "a\nb"}), "source_identity"),
        (json!({"source_identity": "a\u{85}b"}), "source_identity"),
        (json!({"source_identity": "\u{3000} \u{2003}"}), "source_identity"),
        (json!({"labels": {"a": "\u{9f}"}}), "labels"),
        (json!({"labels": ["a"]}), "labels"),
        (json!({"labels": {"a": 1}}), "labels"),
        (
            json!({"labels": (0..9).map(|n| (n.to_string(), "v".into())).collect::<serde_json::Map<_, _>>()}),
            "labels",
        ),
    ] {
        let refused = login(with.clone()).expect(400);
        assert!(refused.text.contains(words), "{with}: {}", refused.text);
        let mut ask = c.ask(json!({}));
        ask["trust"].as_object_mut().expect("an object").extend(with.as_object().expect("one").clone());
        let refused = c.s.post(&c.s.on("alice", &c.p), "/v3/OS-TRUST/trusts", ask).expect(400);
        assert!(refused.text.contains(words), "{with}: {}", refused.text);
    }
}

fn names(token: &Answer) -> Vec<String> {
    let roles = token.body["token"]["roles"].as_array().expect("a list");
    let mut names: Vec<String> =
        roles.iter().map(|r| r["name"].as_str().expect("a name").to_owned()).collect();
    names.sort();
    names
}

// Suspension.

#[test]
fn a_suspended_trust_gives_nothing_at_any_door_until_it_is_resumed() {
    let c = Cast::new();
    let [first, second, third] = c.chain();
    let bob = c.s.consume("bob", &first).expect(201).token();
    let dave = c.s.consume("dave", &third).expect(201).token();
    let keypair = c.keypair(&dave, &c.alice, json!({})).expect(201).body["credential"].clone();
    let exchanged = c.exchange(c.signed(&keypair)).expect(200).token();
    let alice = c.s.unscoped("alice");
    let shown = suspend(&c, &alice, &second).expect(200).body["trust"].clone();
    let suspension =
        json!({"suspended_at": iso(c.s.clock.now()), "user_id": c.alice, "reason": "a look at it"});
    assert_eq!((&shown["suspension"], &shown["id"]), (&suspension, &json!(second)));
    // It and all below; what is above goes on.
    c.s.consume("carol", &second).expect(401);
    c.s.consume("dave", &third).expect(401);
    c.s.validate(&dave).expect(404);
    c.s.validate(&exchanged).expect(404);
    c.exchange(c.signed(&keypair)).expect(401);
    c.s.get(&dave, "/v3/auth/catalog").expect(401);
    c.s.validate(&bob).expect(200);
    let tree = lineage(&c, "alice", &second);
    assert_eq!(tree["trust"]["state"], "suspended");
    assert_eq!(tree["trust"]["suspension"], suspension);
    let below = &tree["subtree"][0];
    assert_eq!(
        (&below["state"], &below["reason"]),
        (&json!("suspended"), &json!(format!("trust {second} was suspended")))
    );
    // A Keystone would go on with both.
    assert_eq!([&first, &second, &third].map(|id| is_in_keystone(&c, id)), [true, false, false]);
    c.s.get(&c.s.unscoped("dave"), &format!("/v3/OS-TRUST/trusts/{third}")).expect(200);
    // Then all is as before, but for the tokens.
    c.s.clock.advance(2 * SECOND);
    let shown = resume(&c, &alice, &second).expect(200).body["trust"].clone();
    assert!(shown.get("suspension").is_none());
    assert_eq!([&first, &second, &third].map(|id| is_in_keystone(&c, id)), [true, true, true]);
    assert_eq!(count(&c.s, "SELECT trust_id FROM vicar_trust_terms", &[]), 0);
    c.s.validate(&dave).expect(404);
    c.s.validate(&exchanged).expect(404);
    c.s.validate(&bob).expect(200);
    let again = c.s.consume("dave", &third).expect(201).token();
    c.s.validate(&again).expect(200);
    c.exchange(c.signed(&keypair)).expect(200);
}

#[test]
fn who_suspends_a_trust_and_who_resumes_it() {
    let c = Cast::new();
    let [first, second, third] = c.chain();
    let (alice, admin) = (c.s.unscoped("alice"), c.s.admin());
    let manager = c.s.persona("manager", "default", json!({"project": {"id": c.p}}));
    let of_domain = c.s.persona("manager", "default", json!({"domain": {"id": "default"}}));
    let elsewhere = c.s.persona("manager", "default", json!({"project": {"id": c.q}}));
    let reader = c.s.persona("reader", "default", json!({"project": {"id": c.p}}));
    let bearer = |user: &str, trust: &str| c.s.consume(user, trust).expect(201).token();
    // The trustee has no part in it with a login of theirs, nor has anybody else.
    for token in [&c.s.unscoped("bob"), &c.s.unscoped("dave"), &elsewhere, &reader] {
        suspend(&c, token, &second).expect(403);
        resume(&c, token, &second).expect(403);
    }
    // A bearer of its own trust and what is below, not of what is above.
    suspend(&c, &bearer("carol", &second), &first).expect(403);
    // From the lowest to the highest: each is resumed by whoever did it and those above.
    type By<'a> = (&'a str, Box<dyn Fn() -> String + 'a>);
    let parts: [By<'_>; 5] = [
        ("the bearer of the link above", Box::new(|| bearer("carol", &second))),
        ("the bearer of the first link", Box::new(|| bearer("bob", &first))),
        ("the trustor", Box::new(|| alice.clone())),
        ("a manager", Box::new(|| manager.clone())),
        ("an administrator", Box::new(|| admin.clone())),
    ];
    for (n, (by, token)) in parts.iter().enumerate() {
        for (m, (other, others)) in parts.iter().enumerate() {
            suspend(&c, &token(), &third).expect(200);
            let status = if m >= n { 200 } else { 403 };
            let answer = resume(&c, &others(), &third);
            assert_eq!(answer.status, status, "suspended by {by}, resumed by {other}: {}", answer.text);
            resume(&c, &admin, &third).expect(200);
            c.s.clock.advance(SECOND);
        }
    }
    // Who acts is named, and not in whose name.
    let shown = suspend(&c, &bearer("bob", &first), &third).expect(200).body["trust"].clone();
    assert_eq!(shown["suspension"]["user_id"], c.bob.as_str());
    resume(&c, &admin, &third).expect(200);
    c.s.clock.advance(SECOND);
    // One manager is as good as another, but for a trustee, who does not decide about what binds them.
    suspend(&c, &manager, &third).expect(200);
    c.s.grant(&c.bob, &c.p, "manager");
    is_refused(&resume(&c, &c.s.on("bob", &c.p), &third), "neither yours nor below");
    is_refused(&suspend(&c, &c.s.on("bob", &c.p), &first), "neither yours nor below");
    resume(&c, &of_domain, &third).expect(200);
    c.s.clock.advance(SECOND);
    // Who is further up takes it over; the other way nothing changes.
    suspend(&c, &alice, &third).expect(200);
    assert_ne!(
        suspend(&c, &manager, &third).expect(200).body["trust"]["suspension"]["user_id"],
        c.alice.as_str()
    );
    let shown = suspend(&c, &alice, &third).expect(200).body["trust"].clone();
    assert_ne!(shown["suspension"]["user_id"], c.alice.as_str());
    is_refused(&resume(&c, &alice, &third), "somebody further up has suspended");
    // It may be ended all the same, and then is neither suspended nor resumed.
    c.s.delete(&alice, &format!("/v3/OS-TRUST/trusts/{third}")).expect(204);
    suspend(&c, &admin, &third).expect(404);
    resume(&c, &admin, &third).expect(404);
}

#[test]
fn a_wide_rule_of_the_operator_puts_nobody_of_the_chain_above_others() {
    let wide = "rule:admin_required or rule:trustor or rule:trust_manager or role:member or @";
    let file = std::env::temp_dir().join(format!("vicar-policy-{}.json", vicar::ids::uuid()));
    std::fs::write(&file, json!({"vicar:resume_trust": wide, "vicar:suspend_trust": wide}).to_string())
        .expect("writes");
    let c = Cast::with(&format!("[oslo_policy]\npolicy_file = {}\n", file.display()));
    let _ = std::fs::remove_file(&file);
    let [first, second, third] = c.chain();
    let manager = c.s.persona("manager", "default", json!({"project": {"id": c.p}}));
    c.s.grant(&c.bob, &c.q, "member");
    let bob = c.s.on("bob", &c.q);
    for trust in [&first, &second, &third] {
        suspend(&c, &c.s.admin(), trust).expect(200);
        for token in [&bob, &c.s.unscoped("bob"), &c.s.unscoped("alice"), &manager, &c.s.unscoped("svc")] {
            assert_eq!(resume(&c, token, trust).status, 403, "{trust}");
        }
        resume(&c, &c.s.admin(), trust).expect(200);
        c.s.clock.advance(SECOND);
    }
    // Whoever is not of the chain is as good as a manager.
    let stranger = member(&c, "erin");
    let shown = suspend(&c, &c.s.unscoped("erin"), &first).expect(200).body["trust"].clone();
    assert_eq!(shown["suspension"]["user_id"], stranger.as_str());
    is_refused(&resume(&c, &c.s.unscoped("alice"), &first), "somebody further up");
    is_refused(&resume(&c, &bob, &first), "neither yours nor below");
    resume(&c, &manager, &first).expect(200);
}

#[test]
fn a_suspension_needs_a_reason_and_no_delegated_login_asks_for_one() {
    let c = Cast::new();
    let id = c.trust(json!({}));
    let alice = c.s.unscoped("alice");
    for body in [
        json!({}),
        json!({"suspension": {}}),
        json!({"suspension": {"reason": ""}}),
        json!({"suspension": {"reason": "x".repeat(256)}}),
        json!({"suspension": {"reason": 1}}),
        json!({"suspension": {"reason": "a\nb"}}),
        json!({"suspension": {"reason": "a", "until": "tomorrow"}}),
    ] {
        c.s.post(&alice, &path(&id, "suspend"), body).expect(400);
    }
    suspend(&c, &alice, "nowhere").expect(404);
    // A keypair's token does nothing here.
    let keypair =
        c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201).body["credential"].clone();
    let leaf = c.exchange(c.signed(&keypair)).expect(200).token();
    for act in ["suspend", "resume", "adopt"] {
        let body = json!({"suspension": {"reason": "x"}});
        c.s.post(&leaf, &path(&id, act), body).expect(403);
    }
    c.s.delete(&leaf, &path(&id, "tokens")).expect(403);
    c.s.consume("bob", &id).expect(201);
}

#[test]
fn a_suspension_leaves_terms_as_they_are_and_so_do_those_of_others() {
    let c = Cast::new();
    let first = c.trust(json!({"allow_redelegation": true}));
    let token = c.s.consume("bob", &first).expect(201).token();
    let ask = c.ask(json!({"trustee_user_id": c.carol, "allow_redelegation": true, "max_token_ttl": 60}));
    let second = id(&c.s.post(&token, "/v3/OS-TRUST/trusts", ask).expect(201), "trust");
    let third = c.below("carol", &second, &c.dave, true);
    let (alice, all) = (c.s.unscoped("alice"), [&first, &second, &third]);
    assert_eq!(all.map(|id| is_in_keystone(&c, id)), [true, false, false]);
    suspend(&c, &alice, &first).expect(200);
    suspend(&c, &alice, &third).expect(200);
    assert_eq!(all.map(|id| is_in_keystone(&c, id)), [false, false, false]);
    c.s.clock.advance(SECOND);
    resume(&c, &alice, &first).expect(200);
    assert_eq!(all.map(|id| is_in_keystone(&c, id)), [true, false, false]);
    c.s.consume("carol", &second).expect(201);
    c.s.consume("dave", &third).expect(401);
    resume(&c, &alice, &third).expect(200);
    assert_eq!(all.map(|id| is_in_keystone(&c, id)), [true, false, false]);
    let shown = c.s.get(&alice, &format!("/v3/OS-TRUST/trusts/{second}")).expect(200);
    assert_eq!(shown.body["trust"]["max_token_ttl"], 60);
    // What a newer version recorded is not written over.
    c.s.sql_run("UPDATE vicar_trust_terms SET terms = '{\"moon\": 1}' WHERE trust_id = ?", args![&second]);
    suspend(&c, &alice, &second).expect(409);
    // Below it nothing is lost.
    suspend(&c, &alice, &first).expect(200);
    let kept = c.s.sql_text("SELECT terms FROM vicar_trust_terms WHERE trust_id = ?", args![&second]);
    assert_eq!(kept.as_deref(), Some("{\"moon\": 1}"));
}

// The end of tokens.

#[test]
fn the_tokens_of_a_trust_end_and_the_trust_stays() {
    let c = Cast::new();
    let [first, second, third] = c.chain();
    let old = c.s.consume("dave", &third).expect(201).token();
    c.s.clock.advance(10 * SECOND);
    let between = c.s.clock.now() - SECOND;
    let (young, above) =
        (c.s.consume("dave", &third).expect(201).token(), c.s.consume("bob", &first).expect(201).token());
    let alice = c.s.unscoped("alice");
    let until = format!("{}?before={}", path(&second, "tokens"), iso(between));
    for stranger in [c.s.unscoped("dave"), c.s.unscoped("bob")] {
        c.s.delete(&stranger, &until).expect(403);
    }
    c.s.delete(&alice, &until).expect(204);
    c.s.validate(&old).expect(404);
    c.s.validate(&young).expect(200);
    c.s.delete(&alice, &path(&second, "tokens")).expect(204);
    c.s.validate(&young).expect(404);
    c.s.validate(&above).expect(200);
    c.s.clock.advance(SECOND);
    c.s.validate(&c.s.consume("dave", &third).expect(201).token()).expect(200);
    // What no token can be as old as leaves nothing behind.
    let events = || count(&c.s, "SELECT id FROM revocation_event", &[]);
    let all = events();
    c.s.delete(&alice, &format!("{}?before=2001-01-01T00:00:00Z", path(&second, "tokens"))).expect(204);
    assert_eq!(events(), all);
    for wrong in ["?befor=2001-01-01T00:00:00Z", "?before=2001-01-01T00:00:00Z&before=2001-01-01T00:00:00Z"] {
        c.s.delete(&alice, &format!("{}{wrong}", path(&second, "tokens"))).expect(400);
    }
    assert_eq!(events(), all);
    for wrong in ["tomorrow", &iso(c.s.clock.now() + 10 * SECOND)] {
        let refused = c.s.delete(&alice, &format!("{}?before={wrong}", path(&second, "tokens"))).expect(400);
        assert!(refused.text.contains("before"), "{}", refused.text);
    }
}

// Succession.

#[test]
fn a_colleague_adopts_a_trust_and_it_outlives_its_trustor() {
    let c = Cast::new();
    let erin = member(&c, "erin");
    let [first, second, third] = c.chain();
    let before = c.s.consume("dave", &third).expect(201).token();
    let keypair = c.keypair(&before, &c.alice, json!({})).expect(201).body["credential"].clone();
    enable(&c, &c.alice, false);
    let shown = adopt(&c, &c.s.on("erin", &c.p), &first).expect(200).body["trust"].clone();
    assert_eq!((&shown["id"], &shown["trustor_user_id"]), (&json!(first), &json!(c.alice)));
    assert_eq!(shown["adopted_by"], json!({"user_id": erin, "adopted_at": iso(c.s.clock.now())}));
    c.s.validate(&before).expect(404);
    assert_eq!([&first, &second, &third].map(|id| is_in_keystone(&c, id)), [false, false, false]);
    c.s.clock.advance(SECOND);
    let while_there = c.s.consume("dave", &third).expect(201).token();
    c.s.delete(&c.s.admin(), &format!("/v3/users/{}", c.alice)).expect(204);
    // Alice is gone; her name stays, as services look at it. Nothing of it is over.
    let sweep = || c.s.runtime.block_on(vicar::reaper::sweep(&c.s.app)).expect("sweeps");
    sweep();
    assert_eq!(c.s.app.metrics.dead_trusts.get(), 0);
    c.s.validate(&while_there).expect(200);
    let login = c.s.consume("dave", &third).expect(201);
    let token = &login.body["token"];
    let user = &token["user"];
    assert_eq!(
        (&user["id"], &user["name"], &user["domain"]["id"]),
        (&json!(c.alice), &json!("alice"), &json!("default"))
    );
    assert_eq!(token["OS-TRUST:trust"]["trustor_user"]["id"], c.alice.as_str());
    assert_eq!(token["delegation_chain"][0]["adopted_by"], erin.as_str());
    assert_eq!(names(&login), ["member", "reader"]);
    c.s.validate(&login.token()).expect(200);
    // All goes on: passing on, and keypairs, but for those whose secrets may have been Alice's to read.
    let fourth = c.below("dave", &third, &c.bob, true);
    c.s.consume("bob", &fourth).expect(201);
    c.exchange(c.signed(&keypair)).expect(401);
    let fresh = c.keypair(&login.token(), &c.alice, json!({})).expect(201).body["credential"].clone();
    assert_eq!(fresh["user_id"], erin.as_str());
    c.exchange(c.signed(&fresh)).expect(200);
    let own =
        format!("/v3/users/{}/credentials/OS-EC2/{}", c.alice, fresh["access"].as_str().expect("an id"));
    c.s.get(&login.token(), &own).expect(200);
    let all = c.s.get(&login.token(), &format!("/v3/users/{}/credentials/OS-EC2", c.alice)).expect(200);
    assert_eq!(all.body["credentials"][0]["access"], fresh["access"]);
    // It is Erin's to see and to end.
    let erins = c.s.unscoped("erin");
    let acting = c.s.get(&erins, &format!("/v3/users/{erin}/delegations")).expect(200);
    let mut acting: Vec<&str> = acting.body["delegations"]["acting_for_user"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|t| t["id"].as_str().expect("an id"))
        .collect();
    acting.sort_unstable();
    let mut all = [first.as_str(), &second, &third, &fourth];
    all.sort_unstable();
    assert_eq!(acting, all);
    // What she loses, it loses.
    c.s.delete(&c.s.admin(), &format!("/v3/projects/{}/users/{erin}/roles/{}", c.p, c.s.role("member")))
        .expect(204);
    c.s.validate(&login.token()).expect(404);
    c.s.consume("dave", &third).expect(401);
    c.s.grant(&erin, &c.p, "member");
    c.s.clock.advance(SECOND);
    c.s.consume("dave", &third).expect(201);
    // And with her it ends.
    c.s.delete(&c.s.admin(), &format!("/v3/users/{erin}")).expect(204);
    c.s.consume("dave", &third).expect(401);
    c.exchange(c.signed(&fresh)).expect(401);
    assert_eq!(count(&c.s, "SELECT id FROM trust WHERE deleted_at < '9999-01-01 00:00:00'", &[]), 4);
}

#[test]
fn who_may_adopt_a_trust() {
    let c = Cast::new();
    let erin = member(&c, "erin");
    let [first, second, third] = c.chain();
    let refused = |token: &str, id: &str, words: &str| is_refused(&adopt(&c, token, id), words);
    // Not by who is not there, or holds less, or uses it, at any depth; not a part of a chain; not with what is delegated.
    c.s.grant(&erin, &c.q, "member");
    refused(&c.s.on("erin", &c.q), &first, "vicar:adopt_trust");
    refused(&c.s.unscoped("erin"), &first, "adopt_trust");
    let reader = c.s.persona("reader", "default", json!({"project": {"id": c.p}}));
    refused(&reader, &first, "is not held on its project");
    c.s.grant(&c.bob, &c.p, "member");
    refused(&c.s.on("erin", &c.p), &second, &format!("below trust {first}"));
    refused(&c.s.consume("bob", &first).expect(201).token(), &first, "adopt trusts");
    adopt(&c, &c.s.on("erin", &c.p), "nowhere").expect(404);
    // Not while Alice is there and holds the roles.
    refused(&c.s.on("erin", &c.p), &first, "is there and holds its roles");
    let takes = |user: &str, role: &str| {
        let grant = format!("/v3/projects/{}/users/{user}/roles/{}", c.p, c.s.role(role));
        c.s.delete(&c.s.admin(), &grant).expect(204);
    };
    takes(&c.alice, "member");
    c.s.consume("bob", &first).expect(401);
    c.s.grant(&c.dave, &c.p, "member");
    for trustee in ["bob", "dave"] {
        refused(&c.s.on(trustee, &c.p), &first, "a trustee cannot adopt");
    }
    // What Alice suspended before she left is for a manager to decide.
    suspend(&c, &c.s.unscoped("alice"), &first).expect(200);
    refused(&c.s.on("erin", &c.p), &first, "somebody further up has suspended");
    resume(&c, &c.s.unscoped("alice"), &first).expect(200);
    adopt(&c, &c.s.on("erin", &c.p), &first).expect(200);
    c.s.clock.advance(SECOND);
    // It is not passed on to Erin in the name of Alice.
    let own = c.ask(json!({"trustee_user_id": erin}));
    let passed_on = c.s.post(&c.s.consume("dave", &third).expect(201).token(), "/v3/OS-TRUST/trusts", own);
    is_refused(&passed_on, "a trustee cannot adopt");
    let token = c.s.consume("bob", &first).expect(201).token();
    // What becomes of Alice is nothing to it any more: neither her roles nor her password nor her account.
    let alice = json!({"user": {"password": "another-pw-1"}});
    c.s.patch(&c.s.admin(), &format!("/v3/users/{}", c.alice), alice).expect(200);
    enable(&c, &c.alice, false);
    c.s.validate(&token).expect(200);
    // A second one takes it over from the first, who is there: a manager decides that, be it suspended or not.
    let frank = member(&c, "frank");
    refused(&c.s.on("frank", &c.p), &first, "is there and holds its roles");
    c.s.grant(&frank, &c.p, "manager");
    suspend(&c, &c.s.unscoped("erin"), &first).expect(200);
    adopt(&c, &c.s.on("frank", &c.p), &first).expect(200);
    resume(&c, &c.s.unscoped("frank"), &first).expect(200);
    c.s.clock.advance(SECOND);
    c.s.delete(&c.s.admin(), &format!("/v3/users/{erin}")).expect(204);
    let login = c.s.consume("bob", &first).expect(201);
    assert_eq!(login.body["token"]["user"]["name"], "alice");
    assert_eq!(login.body["token"]["delegation_chain"][0]["adopted_by"], frank.as_str());
    c.s.delete(&c.s.unscoped("frank"), &format!("/v3/OS-TRUST/trusts/{first}")).expect(204);
    adopt(&c, &c.s.on("frank", &c.p), &first).expect(404);
}

#[test]
fn who_is_no_more_than_a_name_stops_what_is_done_in_it_and_decides_nothing_more() {
    let c = Cast::new();
    let [first, second, _] = c.chain();
    member(&c, "erin");
    enable(&c, &c.alice, false);
    adopt(&c, &c.s.on("erin", &c.p), &first).expect(200);
    enable(&c, &c.alice, true);
    c.s.clock.advance(SECOND);
    let (alice, erin) = (c.s.unscoped("alice"), c.s.unscoped("erin"));
    suspend(&c, &erin, &second).expect(200);
    is_refused(&resume(&c, &alice, &second), "somebody further up has suspended");
    resume(&c, &erin, &second).expect(200);
    c.s.clock.advance(SECOND);
    suspend(&c, &alice, &second).expect(200);
    resume(&c, &c.s.consume("bob", &first).expect(201).token(), &second).expect(200);
    // Alice makes the same again, until the same time, and it rests on Alice.
    let ends = json!({"expires_at": iso(c.s.clock.now() + 60 * SECOND)});
    let other = c.trust(ends.clone());
    enable(&c, &c.alice, false);
    adopt(&c, &c.s.on("erin", &c.p), &other).expect(200);
    enable(&c, &c.alice, true);
    c.s.clock.advance(SECOND);
    let again = c.trust(ends.clone());
    c.make(ends).expect(409);
    for trust in [&other, &again] {
        c.s.consume("bob", trust).expect(201);
    }
    c.s.delete(&c.s.unscoped("alice"), &format!("/v3/OS-TRUST/trusts/{other}")).expect(204);
    c.s.consume("bob", &again).expect(201);
}

#[test]
fn a_former_trustor_resumes_nothing_as_a_trustee_of_their_own_name_either() {
    let c = Cast::new();
    member(&c, "erin");
    let first = c.trust(json!({"allow_redelegation": true}));
    let back = c.below("bob", &first, &c.alice, true);
    enable(&c, &c.alice, false);
    adopt(&c, &c.s.on("erin", &c.p), &first).expect(200);
    enable(&c, &c.alice, true);
    c.s.clock.advance(SECOND);
    suspend(&c, &c.s.unscoped("erin"), &back).expect(200);
    is_refused(&resume(&c, &c.s.unscoped("alice"), &back), "somebody further up has suspended");
    c.s.consume("alice", &back).expect(401);
}

#[test]
fn whoever_may_not_see_the_secret_of_a_trusts_keypair_does_not_write_another_one() {
    let c = Cast::new();
    member(&c, "erin");
    let first = c.trust(json!({}));
    let keypair = |token: &str| c.keypair(token, &c.alice, json!({})).expect(201).body["credential"].clone();
    let write = |token: &str, keypair: &Value| {
        let bound = c.s.sql_text("SELECT credential_id FROM vicar_keypair WHERE trust_id = ?", args![&first]);
        let path = format!("/v3/credentials/{}", bound.expect("it is bound"));
        let blob = json!({"access": keypair["access"], "trust_id": first, "secret": "another"}).to_string();
        c.s.patch(token, &path, json!({"credential": {"blob": blob}}))
    };
    // Alice owns it, and it acts in the name of Alice.
    let own = keypair(&c.s.consume("bob", &first).expect(201).token());
    write(&c.s.on("alice", &c.p), &own).expect(200);
    enable(&c, &c.alice, false);
    adopt(&c, &c.s.on("erin", &c.p), &first).expect(200);
    enable(&c, &c.alice, true);
    c.s.clock.advance(SECOND);
    // Erin owns it, and it acts in the name of Alice.
    let fresh = keypair(&c.s.consume("bob", &first).expect(201).token());
    for token in [c.s.on("erin", &c.p), c.s.on("alice", &c.p), c.s.admin()] {
        write(&token, &fresh).expect(403);
    }
    c.exchange(c.signed(&fresh)).expect(200);
}

#[test]
fn what_is_adopted_is_within_the_ceilings_at_any_depth() {
    let c = Cast::new();
    let erin = member(&c, "erin");
    let [first, ..] = c.chain();
    enable(&c, &c.alice, false);
    let of_erin = format!("/v3/users/{erin}/delegation_policy");
    let set = |ceiling: Value| {
        let body = json!({"delegation_policy": ceiling}).to_string();
        let admin = c.s.admin();
        c.s.call("PUT", &of_erin, &[("X-Auth-Token", &admin)], Some(body.as_bytes())).expect(200);
    };
    let adopts = || adopt(&c, &c.s.on("erin", &c.p), &first);
    let some = |all: &[&String]| all.iter().map(|id| json!({"id": id})).collect::<Value>();
    set(json!({"allowed_trustees": some(&[&c.bob, &c.dave])}));
    is_refused(&adopts(), &format!("{} is not among allowed_trustees of user {erin}", c.carol));
    set(json!({"max_depth": 2}));
    is_refused(&adopts(), "max_depth");
    set(json!({"allowed_trustees": some(&[&c.bob, &c.carol, &c.dave]), "max_depth": 3}));
    adopts().expect(200);
}

#[test]
fn whoever_is_below_an_adopted_trust_without_impersonation_has_a_part_of_their_own() {
    let c = Cast::new();
    member(&c, "erin");
    let [first, second, third] = c.chain_with(false);
    let before = c.s.consume("dave", &third).expect(201).token();
    let keypair = c.keypair(&before, &c.dave, json!({})).expect(201).body["credential"].clone();
    enable(&c, &c.alice, false);
    adopt(&c, &c.s.on("erin", &c.p), &first).expect(200);
    c.s.clock.advance(SECOND);
    // Keypairs are made anew, within the ceilings that hold now.
    c.exchange(c.signed(&keypair)).expect(401);
    c.s.delete(&c.s.admin(), &format!("/v3/users/{}", c.alice)).expect(204);
    let login = c.s.consume("dave", &third).expect(201);
    assert_eq!(login.body["token"]["user"]["id"], c.dave.as_str());
    // Bob passed it on under the name of Bob: it ends with that user.
    c.s.delete(&c.s.admin(), &format!("/v3/users/{}", c.bob)).expect(204);
    c.s.consume("carol", &second).expect(401);
    c.s.validate(&login.token()).expect(404);
}

#[test]
fn a_user_is_deleted_and_what_they_delegated_is_handed_over() {
    let c = Cast::new();
    let erin = member(&c, "erin");
    let (kept, gone) = (c.trust(json!({})), {
        let token = c.s.on("alice", &c.q);
        let ask = c.ask(json!({"project_id": c.q}));
        id(&c.s.post(&token, "/v3/OS-TRUST/trusts", ask).expect(201), "trust")
    });
    let delete = |heir: &str| c.s.delete(&c.s.admin(), &format!("/v3/users/{}?hand_over_to={heir}", c.alice));
    // All or nothing: Erin has no role on Q.
    let refused = delete(&erin).expect(403);
    assert!(refused.text.contains(&format!("trust {gone} cannot be handed over")), "{}", refused.text);
    c.s.consume("bob", &kept).expect(201);
    for nobody in ["nobody", c.alice.as_str()] {
        assert!(delete(nobody).expect(400).text.contains("hand_over_to"));
    }
    c.s.grant(&erin, &c.q, "member");
    // Whoever does it must be able to do it to both.
    let other = c.s.domain("other");
    let manager = c.s.persona("manager", "default", json!({"domain": {"id": "default"}}));
    let stranger = c.s.user_in("stranger", &other);
    c.s.delete(&manager, &format!("/v3/users/{}?hand_over_to={stranger}", c.alice)).expect(403);
    c.s.delete(&manager, &format!("/v3/users/{}?hand_over_to={erin}", c.alice)).expect(204);
    c.s.clock.advance(SECOND);
    for trust in [&kept, &gone] {
        let login = c.s.consume("bob", trust).expect(201);
        assert_eq!(login.body["token"]["user"]["name"], "alice");
    }
    // From one to the next.
    let frank = member(&c, "frank");
    c.s.grant(&frank, &c.q, "member");
    c.s.delete(&c.s.admin(), &format!("/v3/users/{erin}?hand_over_to={frank}")).expect(204);
    c.s.clock.advance(SECOND);
    c.s.consume("bob", &kept).expect(201);
}

// Those who manage a place.

#[test]
fn managers_and_readers_see_what_acts_on_their_project() {
    let c = Cast::new();
    let [first, second, third] = c.chain();
    let elsewhere = {
        let ask = c.ask(json!({"project_id": c.q}));
        id(&c.s.post(&c.s.on("alice", &c.q), "/v3/OS-TRUST/trusts", ask).expect(201), "trust")
    };
    let keypair =
        c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201).body["credential"].clone();
    c.application_credential("cred-1");
    let bound = c.keypair(&c.s.consume("dave", &third).expect(201).token(), &c.alice, json!({})).expect(201);
    let of_p = format!("/v3/projects/{}/delegations", c.p);
    let reader = c.s.persona("reader", "default", json!({"project": {"id": c.p}}));
    let list = c.s.get(&reader, &of_p).expect(200);
    let all = list.body["delegations"].as_array().expect("a list");
    let by_type = |what: &str| -> Vec<&Value> { all.iter().filter(|d| d["type"] == what).collect() };
    let mut trusts: Vec<&str> = by_type("trust").iter().map(|d| d["id"].as_str().expect("an id")).collect();
    trusts.sort_unstable();
    let mut chain = [first.as_str(), &second, &third];
    chain.sort_unstable();
    assert_eq!(trusts, chain);
    let of_third = by_type("trust").into_iter().find(|d| d["id"] == third.as_str()).expect("there");
    assert_eq!(of_third["keypairs"][0]["access"], bound.body["credential"]["access"]);
    assert_eq!(by_type("application_credential")[0]["user_id"], c.alice.as_str());
    assert_eq!(by_type("keypair")[0]["user_id"], c.alice.as_str());
    assert!(!list.text.contains(keypair["secret"].as_str().expect("a secret")));
    // In pages too, each once.
    let mut paged = ids(&c.s.get(&reader, &format!("{of_p}?limit=2")).expect(200), "delegations");
    while paged.len() < all.len() {
        let next = format!("{of_p}?limit=2&marker={}", paged.last().expect("one"));
        paged.extend(ids(&c.s.get(&reader, &next).expect(200), "delegations"));
    }
    assert_eq!(paged, ids(&list, "delegations"));
    // A domain's are those on all its projects.
    let of_domain = "/v3/domains/default/delegations";
    let manager = c.s.persona("manager", "default", json!({"domain": {"id": "default"}}));
    assert!(ids(&c.s.get(&manager, of_domain).expect(200), "delegations").contains(&elsewhere));
    c.s.get(&manager, &of_p).expect(200);
    c.s.get(&c.s.admin(), of_domain).expect(200);
    // One on the domain itself, which acts as a project, too.
    c.s.grant(&c.alice, "default", "member");
    let ask = c.ask(json!({"project_id": "default"}));
    let on_it = id(&c.s.post(&c.s.on("alice", "default"), "/v3/OS-TRUST/trusts", ask).expect(201), "trust");
    assert!(ids(&c.s.get(&manager, of_domain).expect(200), "delegations").contains(&on_it));
    suspend(&c, &manager, &on_it).expect(200);
    c.s.delete(&manager, &format!("/v3/OS-TRUST/trusts/{on_it}")).expect(204);
    // Nobody else.
    let other = c.s.domain("other");
    let foreign = c.s.persona("manager", &other, json!({"domain": {"id": other}}));
    let beside = c.s.persona("manager", "default", json!({"project": {"id": c.q}}));
    let bearer = c.s.consume("bob", &first).expect(201).token();
    for token in [&foreign, &beside, &bearer, &c.s.unscoped("alice")] {
        c.s.get(token, &of_p).expect(403);
        c.s.get(token, of_domain).expect(403);
    }
    c.s.get(&reader, of_domain).expect(403);
    c.s.get(&c.s.admin(), "/v3/projects/nowhere/delegations").expect(404);
    c.s.get(&c.s.admin(), "/v3/domains/nowhere/delegations").expect(404);
    // They look at each, too.
    c.s.get(&reader, &path(&third, "lineage")).expect(200);
    c.s.get(&beside, &path(&third, "lineage")).expect(403);
}

#[test]
fn managers_end_what_acts_on_their_project() {
    let c = Cast::new();
    let [first, second, third] = c.chain();
    let manager = c.s.persona("manager", "default", json!({"project": {"id": c.p}}));
    let beside = c.s.persona("manager", "default", json!({"project": {"id": c.q}}));
    let reader = c.s.persona("reader", "default", json!({"project": {"id": c.p}}));
    let of = |id: &str| format!("/v3/OS-TRUST/trusts/{id}");
    for token in [&beside, &reader, &c.s.unscoped("dave")] {
        c.s.delete(token, &of(&third)).expect(403);
        c.s.delete(token, &path(&third, "tokens")).expect(403);
    }
    let token = c.s.consume("dave", &third).expect(201).token();
    c.s.delete(&manager, &path(&third, "tokens")).expect(204);
    c.s.validate(&token).expect(404);
    c.s.delete(&manager, &of(&second)).expect(204);
    c.s.consume("dave", &third).expect(401);
    let of_domain = on_domain(&c.s, "head", "manager", "default");
    c.s.delete(&of_domain, &of(&first)).expect(204);
    c.s.consume("bob", &first).expect(401);
}
