//! Evidence of use: when a trust, keypair or application credential was made and by which token, who used it, and who
//! validated a token of it last.

use serde_json::{Value, json};
use vicar::args;
use vicar::clock::{DAY, SECOND, iso};

use crate::support::{Answer, Cast, START, Server, count, id, ids};

/// What is shown of something of which nothing is known.
fn nothing() -> Value {
    json!({"created_at": null, "created_by": null, "last_used_at": null, "use_count": null,
        "last_validated_at": null, "last_validated_by": null})
}

/// The evidence of a trust, as its trustor sees it now.
fn of_trust(c: &Cast, trust: &str) -> Value {
    c.s.write_uses();
    let shown = c.s.get(&c.s.unscoped("alice"), &format!("/v3/OS-TRUST/trusts/{trust}")).expect(200);
    shown.body["trust"]["evidence"].clone()
}

/// That of a keypair of alice's.
fn of_keypair(c: &Cast, access: &str) -> Value {
    c.s.write_uses();
    let path = format!("/v3/users/{}/credentials/OS-EC2/{access}", c.alice);
    c.s.get(&c.s.unscoped("alice"), &path).expect(200).body["credential"]["evidence"].clone()
}

/// That of an application credential of alice's.
fn of_credential(c: &Cast, id: &str) -> Value {
    c.s.write_uses();
    let path = format!("/v3/users/{}/application_credentials/{id}", c.alice);
    c.s.get(&c.s.unscoped("alice"), &path).expect(200).body["application_credential"]["evidence"].clone()
}

/// An application credential of alice's on P.
fn credential(c: &Cast, with: Value) -> Value {
    let path = format!("/v3/users/{}/application_credentials", c.alice);
    let token = c.s.on("alice", &c.p);
    c.s.post(&token, &path, json!({"application_credential": with})).expect(201).body
        ["application_credential"]
        .take()
}

fn log_in(c: &Cast, credential: &Value) -> Answer {
    c.s.auth(json!({"identity": {"methods": ["application_credential"],
        "application_credential": {"id": credential["id"], "secret": credential["secret"]}}}))
}

/// A validation by whoever has `caller`.
fn validate(s: &Server, method: &str, caller: &str, token: &str) -> Answer {
    s.call(method, "/v3/auth/tokens", &[("X-Auth-Token", caller), ("X-Subject-Token", token)], None)
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

/// The user of a token, as evidence names them.
fn named(c: &Cast, token: &str) -> Value {
    let shown = c.s.validate(token).expect(200).body["token"]["user"].clone();
    json!({"id": shown["id"], "name": shown["name"]})
}

#[test]
fn what_is_made_tells_when_and_by_which_token() {
    let c = Cast::new();
    let first = c.s.on("alice", &c.p);
    // One that was exchanged tells the first of its session too.
    let again = json!({"identity": {"methods": ["token"], "token": {"id": first}},
        "scope": {"project": {"id": c.p}}});
    let token = c.s.auth(again).expect(201);
    let chain = token.body["token"]["audit_ids"].clone();
    assert_eq!(chain.as_array().map(Vec::len), Some(2));
    let token = token.token();
    c.s.clock.advance(SECOND);
    let fresh = json!({"created_at": iso(START + SECOND), "created_by": chain, "last_used_at": null, "use_count": 0,
        "last_validated_at": null, "last_validated_by": null});
    let made = c.s.post(&token, "/v3/OS-TRUST/trusts", c.ask(json!({}))).expect(201);
    let trust = id(&made, "trust");
    let keypair = c.keypair(&token, &c.alice, json!({})).expect(201);
    let access = text(&keypair.body["credential"]["access"]).to_owned();
    let path = format!("/v3/users/{}/application_credentials", c.alice);
    let credential = c.s.post(&token, &path, json!({"application_credential": {"name": "a"}})).expect(201);
    for (made, kind) in [(&made, "trust"), (&keypair, "credential"), (&credential, "application_credential")]
    {
        assert_eq!(made.body[kind]["evidence"], fresh, "{kind}");
    }
    assert_eq!(of_trust(&c, &trust), fresh);
    assert_eq!(of_keypair(&c, &access), fresh);
    assert_eq!(of_credential(&c, &id(&credential, "application_credential")), fresh);
    // A keypair of a trust by the token of that, and on the other route.
    let bob = c.s.consume("bob", &trust).expect(201);
    let bound = c.keypair(&bob.token(), &c.alice, json!({})).expect(201).body["credential"].clone();
    let by = bob.body["token"]["audit_ids"].clone();
    assert_eq!(of_keypair(&c, text(&bound["access"]))["created_by"], by);
    let body = json!({"credential": {"type": "ec2", "user_id": c.alice, "project_id": c.p,
        "blob": json!({"access": "mine", "secret": "s"}).to_string()}});
    let other = c.s.post(&token, "/v3/credentials", body).expect(201);
    assert_eq!(other.body["credential"]["evidence"], fresh);
    let path = format!("/v3/credentials/{}", id(&other, "credential"));
    assert_eq!(c.s.get(&token, &path).expect(200).body["credential"]["evidence"], fresh);
}

#[test]
fn each_success_is_a_use_of_the_trust_and_of_all_above_it() {
    let c = Cast::new();
    let [first, second, third] = c.chain();
    let uses = |trust: &str| {
        let seen = of_trust(&c, trust);
        (seen["use_count"].clone(), seen["last_used_at"].clone())
    };
    // Making the chain used the first two: bob the first, carol the second and so the first too.
    assert_eq!(uses(&first), (json!(2), json!(iso(START))));
    assert_eq!(uses(&second), (json!(1), json!(iso(START))));
    assert_eq!(uses(&third), (json!(0), json!(null)));
    c.s.clock.advance(SECOND);
    c.s.consume("dave", &third).expect(201);
    c.s.consume("dave", &third).expect(201);
    c.s.consume("bob", &third).expect(403);
    for (trust, times) in [(&first, 4), (&second, 3), (&third, 2)] {
        assert_eq!(uses(trust), (json!(times), json!(iso(START + SECOND))));
    }
    // A counted trust: what is refused is no use.
    let counted = c.trust(json!({"remaining_uses": 1}));
    c.s.consume("bob", &counted).expect(201);
    c.s.consume("bob", &counted).expect(401);
    c.s.write_uses();
    let list = c.s.get(&c.s.admin(), "/v3/OS-TRUST/trusts?state=exhausted").expect(200);
    assert_eq!(list.body["trusts"][0]["evidence"]["use_count"], 1);
}

#[test]
fn an_exchange_is_a_use_of_the_keypair_and_its_trust_and_its_caller_validates() {
    let c = Cast::new();
    let trust = c.trust(json!({}));
    let bob = c.s.consume("bob", &trust).expect(201).token();
    let keypair = c.keypair(&bob, &c.alice, json!({})).expect(201).body["credential"].clone();
    let plain = c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201).body["credential"].clone();
    c.s.clock.advance(SECOND);
    let svc = named(&c, &c.svc());
    let at = json!(iso(START + SECOND));
    for keypair in [&keypair, &plain] {
        c.exchange(c.signed(keypair)).expect(200);
        let seen = of_keypair(&c, text(&keypair["access"]));
        assert_eq!((&seen["use_count"], &seen["last_used_at"]), (&json!(1), &at));
        assert_eq!((&seen["last_validated_at"], &seen["last_validated_by"]), (&at, &svc));
    }
    let seen = of_trust(&c, &trust);
    assert_eq!((&seen["use_count"], &seen["last_used_at"]), (&json!(2), &at));
    assert_eq!(seen["last_validated_by"], svc);
    // A wrong signature is no use.
    let mut wrong = c.signed(&plain);
    wrong["credentials"]["signature"] = "AAAA".into();
    c.exchange(wrong).expect(401);
    assert_eq!(of_keypair(&c, text(&plain["access"]))["use_count"], 1);
}

#[test]
fn a_login_is_a_use_of_the_application_credential() {
    let c = Cast::new();
    let made = credential(&c, json!({"name": "a"}));
    c.s.clock.advance(SECOND);
    log_in(&c, &made).expect(201);
    let token = log_in(&c, &made).expect(201).token();
    log_in(&c, &json!({"id": made["id"], "secret": "wrong"})).expect(401);
    validate(&c.s, "GET", &c.svc(), &token).expect(200);
    let seen = of_credential(&c, text(&made["id"]));
    assert_eq!((&seen["use_count"], &seen["last_used_at"]), (&json!(2), &json!(iso(START + SECOND))));
    assert_eq!(seen["last_validated_by"], named(&c, &c.svc()));
}

#[test]
fn who_validates_is_told_and_the_bearer_is_not() {
    let c = Cast::new();
    let [first, second, _] = c.chain();
    let other = c.trust(json!({"expires_at": iso(START + 900 * SECOND)}));
    let token = c.s.consume("carol", &second).expect(201).token();
    let keypair = c.keypair(&token, &c.alice, json!({})).expect(201).body["credential"].clone();
    validate(&c.s, "HEAD", &token, &token).expect(200);
    assert_eq!(of_trust(&c, &second)["last_validated_by"], json!(null));
    let last = |trust: &str| {
        let seen = of_trust(&c, trust);
        (seen["last_validated_at"].clone(), seen["last_validated_by"].clone())
    };
    let (svc, admin) = (c.svc(), c.s.admin());
    // The second answer of each is remembered.
    for (n, (method, caller, name)) in
        [("GET", &svc, "svc"), ("GET", &svc, "svc"), ("HEAD", &admin, "admin"), ("GET", &svc, "svc")]
            .into_iter()
            .enumerate()
    {
        c.s.clock.advance(SECOND);
        let at = json!(iso(START + i64::try_from(n + 1).expect("few") * SECOND));
        validate(&c.s, method, caller, &token).expect(200);
        for trust in [&first, &second] {
            let (seen_at, by) = last(trust);
            assert_eq!((&seen_at, &by["name"]), (&at, &json!(name)), "{n}");
        }
    }
    assert_eq!(last(&other), (json!(null), json!(null)));
    // Who may not ask validates nothing.
    validate(&c.s, "GET", &c.s.unscoped("dave"), &token).expect(403);
    assert_eq!(last(&second).1["name"], "svc");
    // Of a keypair's token, of which the audit chain alone tells the keypair.
    let of_keypair_token = c.exchange(c.signed(&keypair)).expect(200).token();
    c.s.write_uses();
    c.s.clock.advance(SECOND);
    validate(&c.s, "GET", &admin, &of_keypair_token).expect(200);
    let seen = of_keypair(&c, text(&keypair["access"]));
    assert_eq!(seen["last_validated_by"]["name"], "admin");
    assert_eq!(seen["last_validated_at"], iso(START + 5 * SECOND));
    // The name is that of now; of who is gone the id remains.
    let path = format!("/v3/users/{}", text(&named(&c, &svc)["id"]));
    validate(&c.s, "GET", &svc, &token).expect(200);
    c.s.patch(&admin, &path, json!({"user": {"name": "nova"}})).expect(200);
    assert_eq!(last(&second).1["name"], "nova");
    let by = last(&second).1["id"].clone();
    c.s.delete(&admin, &path).expect(204);
    assert_eq!(last(&second).1, json!({"id": by, "name": null}));
}

#[test]
fn lists_lineages_and_delegations_show_it_too() {
    let c = Cast::new();
    let trust = c.trust(json!({}));
    let bob = c.s.consume("bob", &trust).expect(201).token();
    let bound = c.keypair(&bob, &c.alice, json!({})).expect(201).body["credential"].clone();
    let plain = c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201).body["credential"].clone();
    let made = credential(&c, json!({"name": "a"}));
    log_in(&c, &made).expect(201);
    for keypair in [&bound, &plain] {
        c.exchange(c.signed(keypair)).expect(200);
    }
    let (of_trust, of_credential) = (of_trust(&c, &trust), of_credential(&c, text(&made["id"])));
    assert_eq!((&of_trust["use_count"], &of_credential["use_count"]), (&json!(2), &json!(1)));
    let alice = c.s.unscoped("alice");
    let see = |path: &str| c.s.get(&alice, path).expect(200).body;
    let user = format!("/v3/users/{}", c.alice);
    let trusts = see(&format!("/v3/OS-TRUST/trusts?trustor_user_id={}", c.alice));
    assert_eq!(trusts["trusts"][0]["evidence"], of_trust);
    let lineage = see(&format!("/v3/OS-TRUST/trusts/{trust}/lineage"));
    assert_eq!(lineage["lineage"]["trust"]["evidence"], of_trust);
    let of_bound = of_keypair(&c, text(&bound["access"]));
    let of_plain = of_keypair(&c, text(&plain["access"]));
    assert_eq!((&of_bound["use_count"], &of_plain["use_count"]), (&json!(1), &json!(1)));
    assert_eq!(lineage["lineage"]["trust"]["keypairs"][0]["evidence"], of_bound);
    for path in ["/v3/credentials?type=ec2", &format!("{user}/credentials/OS-EC2")] {
        let list = see(path)["credentials"].clone();
        let mut all: Vec<String> =
            list.as_array().expect("a list").iter().map(|k| k["evidence"].to_string()).collect();
        all.sort();
        let mut both = [of_bound.to_string(), of_plain.to_string()];
        both.sort();
        assert_eq!(all, both, "{path}");
    }
    let credentials = see(&format!("{user}/application_credentials"));
    assert_eq!(credentials["application_credentials"][0]["evidence"], of_credential);
    let delegations = see(&format!("{user}/delegations"))["delegations"].clone();
    assert_eq!(delegations["acting_for_user"][0]["evidence"], of_trust);
    assert_eq!(delegations["acting_for_user"][0]["keypairs"][0]["evidence"], of_bound);
    assert_eq!(delegations["keypairs"][0]["evidence"], of_plain);
    assert_eq!(delegations["application_credentials"][0]["evidence"], of_credential);
}

/// The number of statements does not grow with what a page has.
#[test]
#[cfg(debug_assertions)]
fn a_page_asks_once_for_the_evidence_of_all_that_is_on_it() {
    let c = Cast::with("[cache]\nenabled = false");
    let svc = c.svc();
    for n in 1..=5 {
        let trust = c.trust(json!({"expires_at": iso(START + n * 600 * SECOND)}));
        let token = c.s.consume("bob", &trust).expect(201).token();
        validate(&c.s, "GET", &svc, &token).expect(200);
    }
    c.s.write_uses();
    let alice = c.s.unscoped("alice");
    let path = format!("/v3/OS-TRUST/trusts?trustor_user_id={}", c.alice);
    let (answer, said) = c.s.app.store.watched(|| c.s.get(&alice, &path));
    assert_eq!(ids(&answer.expect(200), "trusts").len(), 5);
    let asked = said.iter().filter(|sql| sql.contains("vicar_use"));
    assert_eq!(asked.count(), 1, "{said:#?}");
}

#[test]
fn nothing_is_told_of_what_a_keystone_made_but_what_was_seen_here() {
    let c = Cast::new();
    let trust = c.trust(json!({}));
    c.application_credential("theirs");
    // As a Keystone, or a version before this one, leaves it.
    c.s.sql_run("DELETE FROM vicar_use", args![]);
    assert_eq!(of_trust(&c, &trust), nothing());
    assert_eq!(of_credential(&c, "theirs"), nothing());
    c.s.consume("bob", &trust).expect(201);
    let mut seen = nothing();
    seen["use_count"] = json!(1);
    seen["last_used_at"] = json!(iso(START));
    assert_eq!(of_trust(&c, &trust), seen);
    // A keypair too, from its first exchange on; then its tokens tell it.
    let alice = c.s.on("alice", &c.p);
    let plain = c.keypair(&alice, &c.alice, json!({})).expect(201).body["credential"].clone();
    c.s.sql_run("DELETE FROM vicar_use", args![]);
    let token = c.exchange(c.signed(&plain)).expect(200).token();
    c.s.write_uses();
    validate(&c.s, "GET", &c.s.admin(), &token).expect(200);
    let seen = of_keypair(&c, text(&plain["access"]));
    assert_eq!((&seen["use_count"], &seen["created_at"]), (&json!(1), &json!(null)));
    assert_eq!(seen["last_validated_by"]["name"], "admin");
}

#[test]
fn what_a_client_says_of_it_is_ignored() {
    let c = Cast::new();
    let claimed = json!({"use_count": 77, "created_by": ["me"]});
    let trust = c.trust(json!({"evidence": claimed}));
    assert_eq!(of_trust(&c, &trust)["use_count"], 0);
    // What a Keystone kept of it beside what it knows is not shown either.
    let kept = json!({"evidence": claimed, "color": "red"}).to_string();
    c.s.sql_run("UPDATE trust SET extra = ? WHERE id = ?", args![&kept, &trust]);
    assert_eq!(of_trust(&c, &trust)["use_count"], 0);
    let alice = c.s.on("alice", &c.p);
    let made = c.keypair(&alice, &c.alice, json!({"evidence": claimed})).expect(201);
    assert_eq!(made.body["credential"]["evidence"]["use_count"], 0);
    let body = |kind: &str, blob: Value| {
        json!({"credential": {"type": kind, "user_id": c.alice, "project_id": c.p, "blob": blob.to_string(),
            "evidence": claimed}})
    };
    let made = c.s.post(&alice, "/v3/credentials", body("ec2", json!({"access": "a", "secret": "s"})));
    let made = made.expect(201);
    let path = format!("/v3/credentials/{}", id(&made, "credential"));
    for shown in [made, c.s.get(&alice, &path).expect(200)] {
        assert_eq!(shown.body["credential"]["evidence"]["use_count"], 0);
    }
    // As in Keystone, unknown attributes of an application credential are refused.
    let path = format!("/v3/users/{}/application_credentials", c.alice);
    let refused = json!({"application_credential": {"name": "a", "evidence": claimed}});
    assert!(c.s.post(&alice, &path, refused).expect(400).text.contains("evidence"));
}

#[test]
fn it_is_shown_to_who_may_see_the_object_and_to_nobody_else() {
    let c = Cast::new();
    let trust = c.trust(json!({}));
    c.s.consume("bob", &trust).expect(201);
    let made = credential(&c, json!({"name": "a"}));
    let keypair =
        c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201).body["credential"].clone();
    c.s.write_uses();
    let path = format!("/v3/OS-TRUST/trusts/{trust}");
    for user in ["alice", "bob"] {
        let shown = c.s.get(&c.s.unscoped(user), &path).expect(200);
        assert_eq!(shown.body["trust"]["evidence"]["use_count"], 1, "{user}");
    }
    let dave = c.s.unscoped("dave");
    let since = format!("unused_since={}", iso(START + DAY));
    for (path, status) in [
        (path, 403),
        (format!("/v3/OS-TRUST/trusts?{since}"), 403),
        (format!("/v3/OS-TRUST/trusts?trustor_user_id={}&{since}", c.alice), 403),
        (format!("/v3/users/{}/application_credentials/{}", c.alice, text(&made["id"])), 403),
        (format!("/v3/users/{}/application_credentials?{since}", c.alice), 403),
        (format!("/v3/users/{}/credentials/OS-EC2/{}", c.alice, text(&keypair["access"])), 403),
        (format!("/v3/users/{}/credentials/OS-EC2?{since}", c.alice), 403),
        (format!("/v3/users/{}/delegations", c.alice), 403),
    ] {
        let refused = c.s.get(&dave, &path).expect(status);
        assert!(!refused.text.contains("use_count"), "{path}: {}", refused.text);
    }
    let own = c.s.get(&dave, &format!("/v3/credentials?{since}")).expect(200);
    assert_eq!(own.body["credentials"], json!([]));
}

#[test]
fn servers_on_one_database_add_up_what_each_saw() {
    let c = Cast::new();
    let trust = c.trust(json!({}));
    let other = c.s.replica();
    let token = c.s.consume("bob", &trust).expect(201).token();
    for _ in 0..3 {
        other.consume("bob", &trust).expect(201);
    }
    validate(&other, "GET", &c.svc(), &token).expect(200);
    c.s.clock.advance(SECOND);
    validate(&c.s, "GET", &c.s.admin(), &token).expect(200);
    // The later one counts, whoever writes last.
    c.s.write_uses();
    other.write_uses();
    let seen = of_trust(&c, &trust);
    assert_eq!((&seen["use_count"], &seen["last_validated_by"]["name"]), (&json!(4), &json!("admin")));
    // At once, too: each writes after the other.
    for server in [&c.s, &other] {
        server.consume("bob", &trust).expect(201);
    }
    std::thread::scope(|threads| {
        for server in [&c.s, &other] {
            threads.spawn(|| server.write_uses());
        }
    });
    assert_eq!(of_trust(&c, &trust)["use_count"], 6);
    // What was written is not written again.
    assert_eq!(of_trust(&c, &trust)["use_count"], 6);
}

#[test]
fn what_could_not_be_written_is_written_later() {
    let c = Cast::new();
    let trust = c.trust(json!({}));
    c.s.consume("bob", &trust).expect(201);
    c.s.change("ALTER TABLE vicar_use RENAME TO vicar_away");
    let token = c.s.consume("bob", &trust).expect(201).token();
    let failed = c.s.runtime.block_on(c.s.app.uses.write(&c.s.app.store));
    assert!(failed.is_err());
    // No request fails for it.
    validate(&c.s, "GET", &c.svc(), &token).expect(200);
    c.s.change("ALTER TABLE vicar_away RENAME TO vicar_use");
    let seen = of_trust(&c, &trust);
    assert_eq!((&seen["use_count"], &seen["last_validated_by"]["name"]), (&json!(2), &json!("svc")));
}

#[test]
fn nothing_is_noted_where_the_operator_says_so() {
    let c = Cast::with("[delegation]\nevidence_interval = 0\n");
    let trust = c.trust(json!({}));
    let token = c.s.consume("bob", &trust).expect(201).token();
    validate(&c.s, "GET", &c.svc(), &token).expect(200);
    let seen = of_trust(&c, &trust);
    assert_eq!((&seen["use_count"], &seen["last_validated_at"]), (&json!(0), &json!(null)));
    assert_eq!(seen["created_at"], iso(START));
}

/// Writing evidence makes nobody forget what is remembered.
#[test]
#[cfg(debug_assertions)]
fn what_is_remembered_stays_in_memory_when_evidence_is_written() {
    let c = Cast::new();
    let trust = c.trust(json!({}));
    let (svc, token) = (c.svc(), c.s.consume("bob", &trust).expect(201).token());
    let ask = || c.s.app.store.watched(|| validate(&c.s, "GET", &svc, &token).expect(200)).1;
    ask();
    assert_eq!(ask(), Vec::<String>::new());
    c.s.write_uses();
    // The database is asked what has changed, and it is nothing that is read for this.
    let said = ask();
    assert!(!said.iter().any(|sql| sql.contains("trust") || sql.contains("user")), "{said:#?}");
    assert_eq!(of_trust(&c, &trust)["last_validated_by"]["name"], "svc");
}

#[test]
fn it_goes_with_what_it_is_about() {
    let c = Cast::new();
    let left = || count(&c.s, "SELECT 1 FROM vicar_use", args![]);
    let before = left();
    let alice = c.s.on("alice", &c.p);
    let trust = c.trust(json!({}));
    let bob = c.s.consume("bob", &trust).expect(201).token();
    c.keypair(&bob, &c.alice, json!({})).expect(201);
    let plain = c.keypair(&alice, &c.alice, json!({})).expect(201).body["credential"].clone();
    let made = credential(&c, json!({"name": "a"}));
    c.s.write_uses();
    assert_eq!(left(), before + 4);
    c.s.delete(&alice, &format!("/v3/users/{}/application_credentials/{}", c.alice, text(&made["id"])))
        .expect(204);
    let path = format!("/v3/users/{}/credentials/OS-EC2/{}", c.alice, text(&plain["access"]));
    c.s.delete(&alice, &path).expect(204);
    assert_eq!(left(), before + 2);
    // A keypair ends with its trust; of that the list of the dead tells until it is removed.
    c.s.delete(&alice, &format!("/v3/OS-TRUST/trusts/{trust}")).expect(204);
    assert_eq!(left(), before + 1);
    let dead = c.s.get(&alice, &format!("/v3/OS-TRUST/trusts?state=deleted&trustor_user_id={}", c.alice));
    assert_eq!(dead.expect(200).body["trusts"][0]["evidence"]["use_count"], 1);
    c.s.clock.advance(31 * DAY);
    let sweep = || c.s.runtime.block_on(vicar::reaper::sweep(&c.s.app)).expect("sweeps");
    sweep();
    assert_eq!(left(), before);
    // What a Keystone deletes leaves its evidence, which the reaper finds; and what is gone is not written again.
    c.s.clock.advance(-31 * DAY);
    let trust = c.trust(json!({}));
    let made = credential(&c, json!({"name": "b"}));
    let plain = c.keypair(&alice, &c.alice, json!({})).expect(201).body["credential"].clone();
    c.s.consume("bob", &trust).expect(201);
    c.exchange(c.signed(&plain)).expect(200);
    log_in(&c, &made).expect(201);
    for table in
        ["trust_role", "trust", "credential", "application_credential_role", "application_credential"]
    {
        c.s.sql_run(&format!("DELETE FROM {table}"), args![]);
    }
    assert_eq!(left(), before + 3);
    sweep();
    assert_eq!(left(), 0);
    c.s.write_uses();
    assert_eq!(left(), 0);
    // A user takes all of theirs along.
    let trust = c.trust(json!({}));
    credential(&c, json!({"name": "c"}));
    c.keypair(&alice, &c.alice, json!({})).expect(201);
    assert_eq!(left(), 3);
    c.s.delete(&c.s.admin(), &format!("/v3/users/{}", c.alice)).expect(204);
    assert_eq!(left(), 1, "the trust {trust} has ended and is kept for those who ask");
}

#[test]
fn lists_find_what_nobody_has_used_since() {
    let c = Cast::new();
    let (day, admin) = (|n: i64| START + n * DAY, |c: &Cast| c.s.admin());
    // Made on the first day: one that is used on the third, one that never is, and one of which nothing is known.
    let used = c.trust(json!({"expires_at": iso(day(90))}));
    let never = c.trust(json!({"expires_at": iso(day(91))}));
    let unknown = c.trust(json!({"expires_at": iso(day(92))}));
    let over = c.trust(json!({"expires_at": iso(day(1))}));
    c.s.sql_run("DELETE FROM vicar_use WHERE id = ?", args![&unknown]);
    let alice = c.s.on("alice", &c.p);
    let keypair = |c: &Cast| c.keypair(&alice, &c.alice, json!({})).expect(201).body["credential"].clone();
    let (used_keypair, never_keypair) = (keypair(&c), keypair(&c));
    let used_credential = credential(&c, json!({"name": "used"}));
    let never_credential = credential(&c, json!({"name": "never"}));
    credential(&c, json!({"name": "over", "expires_at": iso(day(1))}));
    c.s.clock.advance(2 * DAY);
    c.s.consume("bob", &used).expect(201);
    c.exchange(c.signed(&used_keypair)).expect(200);
    log_in(&c, &used_credential).expect(201);
    c.s.clock.advance(2 * DAY);
    // Made after all that is asked for.
    let young = c.trust(json!({"expires_at": iso(day(93))}));
    c.s.write_uses();
    let sorted = |all: &[&str]| {
        let mut all: Vec<String> = all.iter().map(|id| (*id).to_owned()).collect();
        all.sort();
        all
    };
    let trusts = |since: i64, more: &str| {
        let path = format!("/v3/OS-TRUST/trusts?unused_since={}{more}", iso(since));
        sorted(
            &ids(&c.s.get(&admin(&c), &path).expect(200), "trusts")
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(trusts(day(0), ""), sorted(&[&unknown]), "they were made at that instant");
    assert_eq!(trusts(day(0) + 1, ""), sorted(&[&never, &unknown]));
    assert_eq!(trusts(day(2), ""), sorted(&[&never, &unknown]));
    assert_eq!(trusts(day(2) + 1, ""), sorted(&[&never, &unknown, &used]));
    assert_eq!(trusts(day(4) + 1, ""), sorted(&[&never, &unknown, &used, &young]));
    assert_eq!(trusts(day(2), "&state=all"), sorted(&[&never, &unknown, &over]));
    assert_eq!(trusts(day(2), &format!("&trustee_user_id={}", c.carol)), Vec::<String>::new());
    // Keypairs on both routes.
    let own = c.s.unscoped("alice");
    let path = format!("/v3/users/{}/credentials/OS-EC2?unused_since={}", c.alice, iso(day(1)));
    let shown = c.s.get(&own, &path).expect(200).body["credentials"].clone();
    assert_eq!(shown.as_array().map(Vec::len), Some(1));
    assert_eq!(shown[0]["access"], never_keypair["access"]);
    // Of other credentials nobody knows when they were used.
    let other = json!({"credential": {"type": "cert", "user_id": c.alice, "blob": "{}"}});
    c.s.post(&own, "/v3/credentials", other).expect(201);
    for more in ["", "&type=ec2"] {
        let path = format!("/v3/credentials?unused_since={}{more}", iso(day(1)));
        let shown = c.s.get(&own, &path).expect(200).body["credentials"].clone();
        assert_eq!(shown.as_array().map(Vec::len), Some(1), "{shown}");
        assert!(text(&shown[0]["blob"]).contains(text(&never_keypair["access"])));
    }
    let path = format!("/v3/users/{}/application_credentials?unused_since={}", c.alice, iso(day(1)));
    let shown = c.s.get(&own, &path).expect(200);
    assert_eq!(ids(&shown, "application_credentials"), [text(&never_credential["id"])]);
}

#[test]
fn pages_of_what_is_unused_are_whole() {
    let c = Cast::new();
    let mut all: Vec<String> =
        (1..=9).map(|n| c.trust(json!({"expires_at": iso(START + (n + 9) * DAY)}))).collect();
    all.sort();
    c.s.clock.advance(DAY);
    // Every other one is used.
    for trust in all.iter().step_by(2) {
        c.s.consume("bob", trust).expect(201);
    }
    c.s.write_uses();
    let expected: Vec<String> = all.iter().skip(1).step_by(2).cloned().collect();
    let admin = c.s.admin();
    let first = format!("/v3/OS-TRUST/trusts?limit=1&unused_since={}", iso(START + DAY));
    let mut found = Vec::new();
    let mut next = Some(first);
    while let Some(path) = next {
        let page = c.s.get(&admin, &path).expect(200);
        found.extend(ids(&page, "trusts"));
        // The next page is found although the last item of this one is used meanwhile.
        c.s.consume("bob", found.last().expect("an item")).expect(201);
        c.s.write_uses();
        let link = page.body["links"]["next"].as_str().map(str::to_owned);
        next = link.map(|link| link.strip_prefix(&c.s.url).expect("here").to_owned());
    }
    assert_eq!(found, expected);
}

#[test]
fn a_time_that_is_none_is_named() {
    let c = Cast::new();
    let token = c.s.admin();
    let (alice, own) = (&c.alice, c.s.unscoped("alice"));
    for (token, path) in [
        (&token, "/v3/OS-TRUST/trusts".to_owned()),
        (&own, "/v3/credentials".to_owned()),
        (&own, format!("/v3/users/{alice}/credentials/OS-EC2")),
        (&own, format!("/v3/users/{alice}/application_credentials")),
    ] {
        for wrong in ["", "yesterday", "90d", "2027-01-15T08:00:00%2B01:00", "0"] {
            let refused = c.s.get(token, &format!("{path}?unused_since={wrong}")).expect(400);
            assert!(refused.text.contains("unused_since"), "{path} {wrong}: {}", refused.text);
        }
    }
}

/// A keypair that is made again under the access id of one that a Keystone deleted is a new one.
#[test]
fn a_keypair_of_the_same_access_id_begins_anew() {
    let c = Cast::new();
    let alice = c.s.on("alice", &c.p);
    let make = || {
        let blob = json!({"access": "same", "secret": "s"}).to_string();
        let body =
            json!({"credential": {"type": "ec2", "user_id": c.alice, "project_id": c.p, "blob": blob}});
        c.s.post(&alice, "/v3/credentials", body).expect(201)
    };
    make();
    c.exchange(c.signed(&json!({"access": "same", "secret": "s"}))).expect(200);
    assert_eq!(of_keypair(&c, "same")["use_count"], 1);
    c.s.sql_run("DELETE FROM credential", args![]);
    make();
    assert_eq!(of_keypair(&c, "same")["use_count"], 0);
}
