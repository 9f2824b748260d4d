//! OS-TRUST, rules 1 to 35. The number of the rule is in each test's name.

use serde_json::{Value, json};
use vicar::clock::{SECOND, iso};

use crate::support::{Cast, START, count};

fn roles_of(answer: &Value) -> Vec<String> {
    let mut names: Vec<String> = answer["token"]["roles"]
        .as_array()
        .expect("roles")
        .iter()
        .map(|r| r["name"].as_str().expect("a name").to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn rule_01_create_shows_the_whole_trust() {
    let c = Cast::new();
    let made = c.make(json!({"allow_redelegation": true, "redelegation_count": 2})).expect(201);
    let t = &made.body["trust"];
    let id = t["id"].as_str().expect("an id");
    assert_eq!(t["trustor_user_id"], c.alice.as_str());
    assert_eq!(t["trustee_user_id"], c.bob.as_str());
    assert_eq!(t["project_id"], c.p.as_str());
    for (name, value) in [
        ("impersonation", json!(true)),
        ("expires_at", json!(null)),
        ("remaining_uses", json!(null)),
        ("deleted_at", json!(null)),
        ("redelegated_trust_id", json!(null)),
        ("redelegation_count", json!(2)),
        ("allow_redelegation", json!(true)),
    ] {
        assert_eq!(t[name], value, "{name}");
    }
    assert_eq!(t["roles"][0]["name"], "member");
    assert!(t["roles"][0]["links"]["self"].as_str().expect("a link").contains("/v3/roles/"));
    let link =
        |v: &Value| v["self"].as_str().expect("a link").strip_prefix(&c.s.url).expect("ours").to_owned();
    assert_eq!(link(&t["links"]), format!("/v3/OS-TRUST/trusts/{id}"));
    // The link of the roles works.
    let alice = c.s.on("alice", &c.p);
    let listed = c.s.get(&alice, &link(&t["roles_links"])).expect(200);
    assert_eq!(listed.body["roles"][0]["name"], "member");
}

#[test]
fn rule_02_required_fields_and_strict_booleans() {
    let c = Cast::new();
    let token = c.s.on("alice", &c.p);
    for field in ["trustor_user_id", "trustee_user_id", "impersonation"] {
        let mut ask = c.ask(json!({}));
        ask["trust"].as_object_mut().expect("an object").remove(field);
        let refused = c.s.post(&token, "/v3/OS-TRUST/trusts", ask).expect(400);
        assert!(refused.text.contains(field), "{}", refused.text);
    }
    c.make(json!({"impersonation": "true"})).expect(400);
    c.make(json!({"impersonation": null})).expect(400);
    // Without a token it is 401, whatever the body is.
    c.s.call("POST", "/v3/OS-TRUST/trusts", &[], Some(b"{]")).expect(401);
    c.s.call("POST", "/v3/OS-TRUST/trusts", &[("X-Auth-Token", &token)], Some(b"{]")).expect(400);
}

#[test]
fn rules_03_04_only_the_trustor_delegates_and_not_from_the_system() {
    let c = Cast::new();
    let admin = c.s.admin();
    c.s.post(&admin, "/v3/OS-TRUST/trusts", c.ask(json!({}))).expect(403);
    c.s.post(&c.s.unscoped("bob"), "/v3/OS-TRUST/trusts", c.ask(json!({}))).expect(403);
    // An own login need not be on the trust's project.
    c.s.post(&c.s.unscoped("alice"), "/v3/OS-TRUST/trusts", c.ask(json!({}))).expect(201);
    c.s.post(&c.s.on("alice", &c.q), "/v3/OS-TRUST/trusts", c.ask(json!({}))).expect(201);
    let system = c.s.login("admin", "secret", json!({"system": {"all": true}})).expect(201);
    let admin_id = system.body["token"]["user"]["id"].clone();
    let ask = c.ask(json!({"trustor_user_id": admin_id}));
    c.s.post(&system.token(), "/v3/OS-TRUST/trusts", ask).expect(403);
}

#[test]
fn rules_06_07_08_parties_project_and_roles() {
    let c = Cast::new();
    c.make(json!({"trustee_user_id": "0".repeat(32)})).expect(404);
    c.make(json!({"trustee_user_id": c.alice})).expect(201);
    c.s.sql_run("UPDATE \"user\" SET enabled = ? WHERE id = ?", vicar::args![false, &c.carol]);
    c.make(json!({"trustee_user_id": c.carol})).expect(201);
    c.make(json!({"roles": []})).expect(403);
    c.make(json!({"project_id": null})).expect(404);
    c.make(json!({"project_id": null, "roles": []})).expect(400);
    c.make(json!({"project_id": "0".repeat(32)})).expect(404);
    c.make(json!({"roles": [{"name": "admin"}]})).expect(404);
    c.make(json!({"roles": [{"name": "no such role"}]})).expect(404);
    c.make(json!({"roles": [{"id": "0".repeat(32)}]})).expect(404);
    // Implied roles are held.
    c.make(json!({"roles": [{"name": "reader"}]})).expect(201);
    let id = c.s.role("member");
    c.make(json!({"roles": [{"id": id, "name": "member"}]})).expect(400);
    c.make(json!({"roles": [{"id": id, "domain_id": "x"}]})).expect(400);
    c.make(json!({"roles": [{}]})).expect(400);
    c.make(json!({"roles": "member"})).expect(400);
    c.s.sql_run(
        "INSERT INTO role (id, name, extra, domain_id) VALUES ('twin', 'member', '{}', 'default')",
        vicar::args![],
    );
    c.make(json!({"roles": [{"name": "member"}]})).expect(400);
    c.make(json!({"trustee_user_id": "x".repeat(65), "roles": [{"id": id}]})).expect(400);
}

#[test]
fn rules_09_10_uses_and_expiry() {
    let c = Cast::new();
    for bad in [
        json!(0),
        json!(-1),
        json!("1"),
        json!(1.5),
        json!(1.0),
        json!(2.0),
        json!(true),
        json!(9_000_000_000_000_000_000_u64),
    ] {
        c.make(json!({"remaining_uses": bad})).expect(400);
    }
    c.make(json!({"remaining_uses": 1, "allow_redelegation": true})).expect(400);
    c.make(json!({"remaining_uses": 1})).expect(201);
    for bad in ["2027-01-15T09:00:00+01:00", "soon", "2020-01-01T00:00:00Z", ""] {
        c.make(json!({"expires_at": bad})).expect(400);
    }
    let made = c.make(json!({"expires_at": "2027-01-15T09:00:00Z"})).expect(201);
    assert_eq!(made.body["trust"]["expires_at"], "2027-01-15T09:00:00.000000Z");
    let made = c.make(json!({"expires_at": "2027-01-15T10:00:00.123456Z"})).expect(201);
    assert_eq!(made.body["trust"]["expires_at"], "2027-01-15T10:00:00.123456Z");
}

#[test]
fn rule_11_how_often_it_may_be_redelegated() {
    let c = Cast::new();
    let count = |with| c.make(with).expect(201).body["trust"]["redelegation_count"].clone();
    assert_eq!(count(json!({})), 0);
    assert_eq!(count(json!({"allow_redelegation": false, "redelegation_count": 2})), 0);
    assert_eq!(count(json!({"allow_redelegation": true})), 3);
    assert_eq!(count(json!({"allow_redelegation": true, "redelegation_count": null})), 3);
    assert_eq!(count(json!({"allow_redelegation": true, "redelegation_count": 0})), 0);
    c.make(json!({"allow_redelegation": true, "redelegation_count": 4})).expect(403);
    for float in [0.0, 1.0, 9.0] {
        c.make(json!({"allow_redelegation": true, "redelegation_count": float})).expect(400);
    }
    let off = Cast::with("[trust]\nallow_redelegation = false\n");
    off.make(json!({"allow_redelegation": true})).expect(403);
    off.make(json!({})).expect(201);
    let five = Cast::with("[trust]\nmax_redelegation_count = 5\n");
    let made = five.make(json!({"allow_redelegation": true})).expect(201);
    assert_eq!(made.body["trust"]["redelegation_count"], 5);
}

#[test]
fn rules_12_13_14_unknown_attributes_twins_and_methods() {
    let c = Cast::new();
    let made = c
        .make(json!({"delegation_depth": 0, "id": "mine", "redelegated_trust_id": "mine", "deleted_at": "x"}))
        .expect(201);
    let t = &made.body["trust"];
    assert_eq!(t["delegation_depth"], 0);
    assert_ne!(t["id"], "mine");
    assert_eq!(t["redelegated_trust_id"], json!(null));
    assert_eq!(t["deleted_at"], json!(null));
    let id = t["id"].as_str().expect("an id");
    let alice = c.s.on("alice", &c.p);
    let shown = c.s.get(&alice, &format!("/v3/OS-TRUST/trusts/{id}")).expect(200);
    assert_eq!(shown.body["trust"]["delegation_depth"], 0);
    // Without an end there may be twins, with one there may not, unless the first is dead.
    c.make(json!({})).expect(201);
    let end = json!({"expires_at": "2027-01-15T09:00:00Z"});
    let first = c.trust(end.clone());
    c.make(end.clone()).expect(409);
    c.s.delete(&alice, &format!("/v3/OS-TRUST/trusts/{first}")).expect(204);
    c.make(end.clone()).expect(201);
    c.make(end).expect(409);
    // Some engines keep whole seconds of an end in the unique key, and do not tell two of one second apart.
    for micros in ["2", "9", "2", "0"] {
        let near = c.trust(json!({"expires_at": format!("2027-01-15T10:00:00.{micros}00000Z")}));
        c.s.delete(&alice, &format!("/v3/OS-TRUST/trusts/{near}")).expect(204);
        let state = format!("/v3/OS-TRUST/trusts?trustor_user_id={}&state=deleted", c.alice);
        let dead = c.s.get(&alice, &state).expect(200).body["trusts"].clone();
        let dead = dead.as_array().expect("a list").iter().find(|t| t["id"] == *near).expect("is there");
        assert_eq!(dead["expires_at"], format!("2027-01-15T10:00:00.{micros}00000Z"));
    }
    c.s.patch(&alice, &format!("/v3/OS-TRUST/trusts/{id}"), json!({"trust": {}})).expect(405);
    c.s.put(&alice, &format!("/v3/OS-TRUST/trusts/{id}")).expect(405);
}

#[test]
fn rule_15_who_reads_a_trust_and_its_roles() {
    let c = Cast::new();
    let [_, _, third] = c.chain_with(false);
    let member = c.s.role("member");
    c.s.grant(&c.carol, &c.q, "member");
    let system = c.s.login("admin", "secret", json!({"system": {"all": true}})).expect(201).token();
    // The leaf is carol → dave; bob and alice are trustors above.
    let readers = ["alice", "bob", "carol", "dave"].map(|u| c.s.unscoped(u));
    for path in ["", "/roles", &format!("/roles/{member}")] {
        let path = format!("/v3/OS-TRUST/trusts/{third}{path}");
        for token in readers.iter().chain([&c.s.admin(), &system]) {
            c.s.get(token, &path).expect(200);
            c.s.head(token, &path).expect(200);
        }
        c.s.get(&c.svc(), &path).expect(403);
    }
    c.s.get(&c.svc(), "/v3/OS-TRUST/trusts/unknown").expect(404);
    let alice = c.s.on("alice", &c.p);
    c.s.get(&alice, &format!("/v3/OS-TRUST/trusts/{third}/roles/nosuch")).expect(404);
}

#[test]
fn rule_16_lists_are_of_ones_own_and_both_filters_hold() {
    let c = Cast::new();
    let first = c.trust(json!({}));
    c.trust(json!({"trustee_user_id": c.carol}));
    let ids = |token: &str, query: &str, status| {
        let a = c.s.get(token, &format!("/v3/OS-TRUST/trusts{query}")).expect(status);
        a.body["trusts"].as_array().map(|l| {
            l.iter()
                .inspect(|t| assert!(t.get("roles").is_none()))
                .map(|t| t["id"].clone())
                .collect::<Vec<_>>()
        })
    };
    let (alice, bob) = (c.s.on("alice", &c.p), c.s.unscoped("bob"));
    let (a, b) = (&c.alice, &c.bob);
    ids(&alice, "", 403);
    assert_eq!(ids(&c.s.admin(), "", 200).map(|l| l.len()), Some(2));
    assert_eq!(ids(&alice, &format!("?trustor_user_id={a}"), 200).map(|l| l.len()), Some(2));
    assert_eq!(ids(&bob, &format!("?trustee_user_id={b}"), 200), Some(vec![json!(first)]));
    assert_eq!(
        ids(&bob, &format!("?trustor_user_id={a}&trustee_user_id={b}"), 200),
        Some(vec![json!(first)])
    );
    ids(&bob, &format!("?trustor_user_id={a}"), 403);
    ids(&bob, &format!("?trustee_user_id={}", c.carol), 403);
    let page = c.s.get(&alice, &format!("/v3/OS-TRUST/trusts?trustor_user_id={a}&limit=1")).expect(200);
    assert_eq!(page.body["trusts"].as_array().map(Vec::len), Some(1));
    let next =
        page.body["links"]["next"].as_str().expect("a next page").strip_prefix(&c.s.url).expect("ours");
    assert_eq!(c.s.get(&alice, next).expect(200).body["trusts"].as_array().map(Vec::len), Some(1));
    c.s.get(&alice, &format!("/v3/OS-TRUST/trusts?trustor_user_id={a}&limit=x")).expect(400);
}

#[test]
fn rule_17_the_dead_are_404_and_listed_by_state() {
    let c = Cast::new();
    let alice = || c.s.on("alice", &c.p);
    let expiring = c.trust(json!({"expires_at": iso(START + 5 * SECOND)}));
    let counted = c.trust(json!({"remaining_uses": 1}));
    let deleted = c.trust(json!({}));
    let living = c.trust(json!({"trustee_user_id": c.carol}));
    c.s.consume("bob", &counted).expect(201);
    c.s.delete(&alice(), &format!("/v3/OS-TRUST/trusts/{deleted}")).expect(204);
    c.s.clock.advance(5 * SECOND);
    for id in [&expiring, &counted, &deleted] {
        c.s.get(&alice(), &format!("/v3/OS-TRUST/trusts/{id}")).expect(404);
        c.s.get(&c.s.unscoped("dave"), &format!("/v3/OS-TRUST/trusts/{id}")).expect(404);
        // Dead for everybody alike, the trustee or not.
        for user in ["bob", "alice", "carol"] {
            c.s.consume(user, id).expect(401);
        }
    }
    for (state, ids) in [
        ("live", vec![&living]),
        ("expired", vec![&expiring]),
        ("exhausted", vec![&counted]),
        ("deleted", vec![&deleted]),
        ("broken", vec![]),
    ] {
        let a =
            c.s.get(&alice(), &format!("/v3/OS-TRUST/trusts?trustor_user_id={}&state={state}", c.alice))
                .expect(200);
        let found: Vec<&str> =
            a.body["trusts"].as_array().expect("a list").iter().filter_map(|t| t["id"].as_str()).collect();
        assert_eq!(found, ids, "{state}");
    }
    c.s.get(&alice(), &format!("/v3/OS-TRUST/trusts?trustor_user_id={}&state=odd", c.alice)).expect(400);
    // The dead but present can be cleaned up once.
    c.s.delete(&alice(), &format!("/v3/OS-TRUST/trusts/{expiring}")).expect(204);
    c.s.delete(&alice(), &format!("/v3/OS-TRUST/trusts/{expiring}")).expect(404);
}

#[test]
fn rule_18_who_ends_a_trust() {
    let c = Cast::new();
    let path = |id: &str| format!("/v3/OS-TRUST/trusts/{id}");
    let id = c.trust(json!({}));
    c.s.delete(&c.svc(), &path(&id)).expect(403);
    c.s.delete(&c.s.unscoped("bob"), &path(&id)).expect(403);
    c.s.delete(&c.s.unscoped("dave"), &format!("{}?renounce=true", path(&id))).expect(403);
    c.s.delete(&c.s.unscoped("bob"), &format!("{}?renounce=true", path(&id))).expect(204);
    c.s.delete(&c.s.admin(), &path(&c.trust(json!({})))).expect(204);
    // Any trustor above ends what is below.
    let [_, second, third] = c.chain_with(false);
    c.s.delete(&c.s.unscoped("alice"), &path(&third)).expect(204);
    c.s.get(&c.s.unscoped("alice"), &path(&second)).expect(200);
    c.s.delete(&c.s.unscoped("alice"), &path("unknown")).expect(404);
}

#[test]
fn rule_19_dry_run_lineage_and_delegations() {
    let c = Cast::new();
    let [first, second, third] = c.chain_with(false);
    let dave = c.s.consume("dave", &third).expect(201).token();
    let key = c.keypair(&dave, &c.dave, json!({})).expect(201).body["credential"]["access"].clone();
    let alice = c.s.unscoped("alice");
    let dry = c.s.delete(&alice, &format!("/v3/OS-TRUST/trusts/{second}?dry_run=true")).expect(200);
    let falls = dry.body["would_end"]["trusts"].as_array().expect("a list");
    assert_eq!(falls.len(), 2);
    assert_eq!(dry.body["would_end"]["keypairs"][0]["access"], key);
    c.s.get(&alice, &format!("/v3/OS-TRUST/trusts/{second}")).expect(200);
    let tree = c.s.get(&alice, &format!("/v3/OS-TRUST/trusts/{second}/lineage")).expect(200);
    let l = &tree.body["lineage"];
    assert_eq!(l["ancestors"][0]["id"], first.as_str());
    assert_eq!(l["ancestors"][0]["depth"], 0);
    assert_eq!(l["trust"]["depth"], 1);
    assert_eq!(l["subtree"][0]["id"], third.as_str());
    assert_eq!(l["subtree"][0]["depth"], 2);
    assert_eq!(l["subtree"][0]["state"], "live");
    assert_eq!(l["subtree"][0]["keypairs"][0]["access"], key);
    assert!(!tree.text.contains("secret"));
    c.s.get(&c.svc(), &format!("/v3/OS-TRUST/trusts/{second}/lineage")).expect(403);
    let sees = |user: &str, id: &str| {
        let a = c.s.get(&c.s.unscoped(user), &format!("/v3/users/{id}/delegations")).expect(200);
        let count = |name: &str| a.body["delegations"][name].as_array().map(Vec::len).unwrap_or_default();
        (count("acting_for_user"), count("user_acts_for"))
    };
    assert_eq!(sees("alice", &c.alice), (3, 0));
    assert_eq!(sees("carol", &c.carol), (1, 1));
    c.s.get(&c.s.unscoped("bob"), &format!("/v3/users/{}/delegations", c.alice)).expect(403);
    // A dead chain can still be looked at.
    c.s.delete(&alice, &format!("/v3/OS-TRUST/trusts/{first}")).expect(204);
    let tree = c.s.get(&c.s.unscoped("alice"), &format!("/v3/OS-TRUST/trusts/{third}/lineage")).expect(200);
    assert_eq!(tree.body["lineage"]["trust"]["state"], "deleted");
    assert_eq!(sees("alice", &c.alice), (0, 0));
}

#[test]
fn rules_20_21_only_the_trustee_consumes_and_only_with_a_login() {
    let c = Cast::new();
    let id = c.trust(json!({}));
    c.s.consume("alice", &id).expect(403);
    c.s.consume("dave", &id).expect(403);
    c.s.login("admin", "secret", json!({"OS-TRUST:trust": {"id": id}})).expect(403);
    c.s.consume("bob", "unknown").expect(401);
    let login = |scope| c.s.login("bob", "bob-pw", scope);
    login(json!({"OS-TRUST:trust": {"id": id}, "project": {"id": c.p}})).expect(400);
    login(json!({"OS-TRUST:trust": id})).expect(400);
    login(json!({"OS-TRUST:trust": {"id": 5}})).expect(400);
    let by_token = |token: &str, scope: Value| {
        c.s.auth(json!({"identity": {"methods": ["token"], "token": {"id": token}}, "scope": scope}))
    };
    let trust = json!({"OS-TRUST:trust": {"id": id}});
    let t = by_token(&c.s.unscoped("bob"), trust.clone()).expect(201);
    let mut methods: Vec<&str> =
        t.body["token"]["methods"].as_array().expect("methods").iter().filter_map(Value::as_str).collect();
    methods.sort_unstable();
    assert_eq!(methods, ["password", "token"]);
    assert_eq!(t.body["token"]["audit_ids"].as_array().map(Vec::len), Some(2));
    // A trust's token is exchanged for nothing.
    for scope in [
        trust,
        json!({"project": {"id": c.p}}),
        json!({"project": {"id": c.q}}),
        json!("unscoped"),
        json!({"system": {"all": true}}),
        json!({"domain": {"id": "default"}}),
        json!({"odd": {}}),
        json!(null),
    ] {
        by_token(&t.token(), scope).expect(403);
    }
}

#[test]
fn rules_22_25_what_a_trust_token_says() {
    let c = Cast::new();
    let single = c.trust(json!({}));
    let t = c.s.consume("bob", &single).expect(201).body;
    assert_eq!(t["token"]["project"]["id"], c.p.as_str());
    assert_eq!(roles_of(&t), ["member", "reader"]);
    assert_eq!(t["token"]["user"]["id"], c.alice.as_str());
    assert_eq!(
        t["token"]["OS-TRUST:trust"],
        json!({"id": single, "impersonation": true,
               "trustor_user": {"id": c.alice}, "trustee_user": {"id": c.bob}})
    );
    // The middlemen of a chain without impersonation hold no role of their own.
    let [first, second, third] = c.chain_with(false);
    let t = c.s.consume("dave", &third).expect(201);
    let body = c.s.validate(&t.token()).expect(200).body;
    assert_eq!(body, t.body);
    assert_eq!(body["token"]["user"]["id"], c.dave.as_str());
    let trust = &body["token"]["OS-TRUST:trust"];
    assert_eq!(trust["redelegated_trust_id"], second.as_str());
    assert_eq!(trust["redelegation_count"], 1);
    let chain: Vec<&str> =
        trust["chain"].as_array().expect("a chain").iter().filter_map(|l| l["trust_id"].as_str()).collect();
    assert_eq!(chain, [first.as_str(), &second, &third]);
}

#[test]
fn rule_23_what_suspends_a_chain_and_that_old_tokens_stay_dead() {
    let c = Cast::new();
    let [_, _, third] = c.chain_with(false);
    let token = c.s.consume("dave", &third).expect(201).token();
    c.s.validate(&token).expect(200);
    let switch = |table: &str, id: &str, on: bool| {
        c.s.sql_run(&format!("UPDATE {table} SET enabled = ? WHERE id = ?"), vicar::args![on, id]);
    };
    for (table, id) in
        [("\"user\"", &c.alice), ("\"user\"", &c.bob), ("\"user\"", &c.carol), ("project", &c.p)]
    {
        switch(table, id, false);
        c.s.validate(&token).expect(404);
        c.s.get(&token, "/v3/auth/catalog").expect(401);
        c.s.consume("dave", &third).expect(401);
        switch(table, id, true);
        c.s.validate(&token).expect(200);
    }
    c.s.sql_run("DELETE FROM assignment WHERE actor_id = ?", vicar::args![&c.alice]);
    c.s.validate(&token).expect(404);
    c.s.consume("dave", &third).expect(401);
}

#[test]
fn rule_24_no_token_outlives_what_it_came_from() {
    let c = Cast::new();
    let end = START + 60 * SECOND;
    let first = c.trust(json!({"allow_redelegation": true, "expires_at": iso(end)}));
    let second = c.below("bob", &first, &c.carol, true);
    let t = c.s.consume("carol", &second).expect(201);
    assert_eq!(t.body["token"]["expires_at"], iso(end));
    // By token: not later than the source either.
    let long = c.trust(json!({}));
    let source = c.s.login("bob", "bob-pw", json!("unscoped")).expect(201);
    c.s.clock.advance(600 * SECOND);
    let t = c.s.auth(json!({
        "identity": {"methods": ["token"], "token": {"id": source.token()}},
        "scope": {"OS-TRUST:trust": {"id": long}},
    }));
    assert_eq!(t.expect(201).body["token"]["expires_at"], source.body["token"]["expires_at"]);
}

#[test]
fn rules_26_29_what_a_trust_token_may_do_here() {
    let c = Cast::new();
    let id = c.trust(json!({}));
    let other = c.trust(json!({"trustee_user_id": c.carol}));
    let token = c.s.consume("bob", &id).expect(201).token();
    let on_self = |method: &str, auth: &str, subject: &str| {
        c.s.call(method, "/v3/auth/tokens", &[("X-Auth-Token", auth), ("X-Subject-Token", subject)], None)
    };
    on_self("GET", &token, &token).expect(200);
    on_self("HEAD", &token, &token).expect(200);
    on_self("GET", &c.s.unscoped("bob"), &token).expect(200);
    on_self("GET", &c.s.unscoped("alice"), &token).expect(200);
    on_self("GET", &c.s.unscoped("dave"), &token).expect(403);
    // The bearer sees no session of the one whom they speak for.
    let alices = c.s.on("alice", &c.p);
    on_self("GET", &token, &alices).expect(403);
    on_self("DELETE", &token, &alices).expect(403);
    c.s.delete(&token, &format!("/v3/users/{}/tokens", c.alice)).expect(403);
    // Their own link and what is below, nothing beside it.
    c.s.get(&token, &format!("/v3/OS-TRUST/trusts/{id}")).expect(200);
    c.s.get(&token, &format!("/v3/OS-TRUST/trusts/{other}")).expect(403);
    c.s.delete(&token, &format!("/v3/OS-TRUST/trusts/{other}")).expect(403);
    c.s.get(&token, &format!("/v3/users/{}/delegations", c.alice)).expect(403);
    let list = c.s.get(&token, &format!("/v3/OS-TRUST/trusts?trustor_user_id={}", c.alice)).expect(200);
    assert_eq!(list.body["trusts"].as_array().map(Vec::len), Some(1));
    on_self("DELETE", &token, &token).expect(204);
    c.s.get(&token, "/v3/auth/catalog").expect(401);
    // Ending one's own link works, with impersonation (as Magnum does) or without.
    for impersonation in [true, false] {
        let id = c.trust(json!({"impersonation": impersonation}));
        c.s.clock.advance(SECOND);
        let token = c.s.consume("bob", &id).expect(201).token();
        c.s.delete(&token, &format!("/v3/OS-TRUST/trusts/{id}")).expect(204);
        c.s.get(&token, &format!("/v3/OS-TRUST/trusts/{id}")).expect(401);
    }
}

#[test]
fn rules_30_31_redelegation_depth_and_trustor() {
    let c = Cast::new();
    let first = c.trust(json!({"allow_redelegation": true}));
    let token = c.s.consume("bob", &first).expect(201).token();
    let make = |token: &str, with: Value| c.s.post(token, "/v3/OS-TRUST/trusts", c.ask(with));
    make(&token, json!({"trustor_user_id": c.bob})).expect(403);
    make(&token, json!({"allow_redelegation": true, "redelegation_count": 1})).expect(403);
    make(&token, json!({"allow_redelegation": true, "redelegation_count": 3})).expect(403);
    let second = make(&token, json!({"trustee_user_id": c.carol, "allow_redelegation": true})).expect(201);
    let second = &second.body["trust"];
    assert_eq!(second["redelegation_count"], 2);
    assert_eq!(second["redelegated_trust_id"], first.as_str());
    let mut user = "carol";
    let mut id = second["id"].as_str().expect("an id").to_owned();
    for (left, next, name) in [(1, &c.dave, "dave"), (0, &c.bob, "bob")] {
        let token = c.s.consume(user, &id).expect(201).token();
        let made = make(&token, json!({"trustee_user_id": next, "allow_redelegation": true})).expect(201);
        assert_eq!(made.body["trust"]["redelegation_count"], left);
        id = made.body["trust"]["id"].as_str().expect("an id").to_owned();
        user = name;
    }
    let token = c.s.consume(user, &id).expect(201).token();
    make(&token, json!({"trustee_user_id": c.carol})).expect(403);
    // A trust that does not allow it has no children.
    let leaf = c.trust(json!({}));
    let token = c.s.consume("bob", &leaf).expect(201).token();
    make(&token, json!({"trustee_user_id": c.carol})).expect(403);
}

#[test]
fn rules_32_33_34_35_a_child_is_narrower() {
    let c = Cast::new();
    let end = START + 3600 * SECOND;
    let first = c.trust(json!({"allow_redelegation": true, "expires_at": iso(end)}));
    let token = c.s.consume("bob", &first).expect(201).token();
    let make = |with: Value| c.s.post(&token, "/v3/OS-TRUST/trusts", c.ask(with));
    make(json!({"remaining_uses": 2, "allow_redelegation": true})).expect(400);
    make(json!({"remaining_uses": 2, "trustee_user_id": c.dave})).expect(201);
    let inherits = make(json!({"trustee_user_id": c.carol})).expect(201);
    assert_eq!(inherits.body["trust"]["expires_at"], iso(end));
    make(json!({"expires_at": iso(end + SECOND)})).expect(403);
    make(json!({"expires_at": iso(end - SECOND)})).expect(201);
    make(json!({"roles": [{"name": "heat_stack_owner"}]})).expect(403);
    make(json!({"roles": [{"name": "admin"}]})).expect(404);
    make(json!({"roles": [{"name": "reader"}], "trustee_user_id": c.dave, "impersonation": false}))
        .expect(201);
    make(json!({"project_id": c.q})).expect(403);
    make(json!({"project_id": null})).expect(403);
    // To oneself, and back to the first.
    make(json!({"trustee_user_id": c.bob, "impersonation": false, "roles": [{"name": "reader"}]}))
        .expect(201);
    make(json!({"trustee_user_id": c.alice, "impersonation": false})).expect(201);
    let quiet = c.trust(json!({"allow_redelegation": true, "impersonation": false}));
    let token = c.s.consume("bob", &quiet).expect(201).token();
    let ask = |imp: bool, end: Value| {
        c.ask(json!({"trustor_user_id": c.bob, "trustee_user_id": c.carol, "impersonation": imp, "expires_at": end}))
    };
    c.s.post(&token, "/v3/OS-TRUST/trusts", ask(true, json!(null))).expect(403);
    // An end where the parent has none.
    c.s.post(&token, "/v3/OS-TRUST/trusts", ask(false, json!(iso(end)))).expect(201);
}

#[test]
fn death_is_a_subtree_whoever_the_trustor_of_each_link_is() {
    for impersonation in [true, false] {
        let c = Cast::new();
        let [first, second, third] = c.chain_with(impersonation);
        let last = c.s.consume("dave", &third).expect(201);
        let owner = last.body["token"]["user"]["id"].as_str().expect("an id").to_owned();
        let keypair = c.keypair(&last.token(), &owner, json!({})).expect(201).body["credential"].clone();
        let exchanged = c.exchange(c.signed(&keypair)).expect(200).token();
        c.s.validate(&exchanged).expect(200);
        let middle = c.s.consume("carol", &second).expect(201).token();
        c.s.delete(&c.s.unscoped("alice"), &format!("/v3/OS-TRUST/trusts/{first}")).expect(204);
        for token in [&last.token(), &middle, &exchanged] {
            c.s.validate(token).expect(404);
        }
        for (user, id) in [("bob", &first), ("carol", &second), ("dave", &third)] {
            c.s.consume(user, id).expect(401);
            c.s.get(&c.s.admin(), &format!("/v3/OS-TRUST/trusts/{id}")).expect(404);
        }
        c.exchange(c.signed(&keypair)).expect(401);
        let list = c.s.get(&c.s.unscoped("dave"), &format!("/v3/users/{}/credentials/OS-EC2", c.dave));
        assert_ne!(list.status, 500);
        assert_eq!(c.s.sql_text("SELECT id FROM credential", vicar::args![]), None);
    }
}

/// What a query finds for the reaper is a candidate. A database once named every redelegated trust.
#[test]
fn the_reaper_ends_what_the_rules_judge_to_be_over_and_nothing_else() {
    use vicar::resources::trusts::flush::end_those;
    use vicar::system::System;

    let c = Cast::new();
    let [first, second, third] = c.chain();
    let expiring = c.trust(json!({"expires_at": iso(START + 5 * SECOND)}));
    let suspended = c.trust(json!({"trustee_user_id": c.dave}));
    let admin = c.s.admin();
    c.s.patch(&admin, &format!("/v3/users/{}", c.dave), json!({"user": {"enabled": false}})).expect(200);
    let named = [first.as_str(), &second, &third, &expiring, &suspended, "not-there"];
    let end = || {
        c.s.runtime.block_on(async {
            let mut tx = c.s.app.store.write().await.expect("begins");
            let ended = end_those(&mut tx, &System::Reaper, &named, c.s.app.clock.now()).await.expect("ends");
            tx.commit().await.expect("commits");
            ended
        })
    };
    assert_eq!(end(), 0);
    c.s.clock.advance(5 * SECOND);
    assert_eq!(end(), 1);
    // Its parent was deleted by somebody who knows no subtrees.
    c.s.sql_run(
        "UPDATE trust SET deleted_at = ? WHERE id = ?",
        vicar::args![vicar::store::DateTime(START), &second],
    );
    assert_eq!(end(), 1);
    for (id, deleted) in [(&first, false), (&third, true), (&expiring, true), (&suspended, false)] {
        let gone = "SELECT id FROM trust WHERE id = ? AND deleted_at IS NOT NULL";
        assert_eq!(c.s.sql_text(gone, vicar::args![id]).is_some(), deleted);
    }
}

/// Rows that somebody left who knows no rules: the reaper finds what the rules call broken, and counts it.
#[test]
fn the_reaper_finds_whatever_is_broken() {
    type Break = (&'static str, fn(&Cast, &[String; 3]) -> (String, Vec<vicar::store::Value>));
    const BREAKS: [Break; 7] = [
        ("trustee", |_, t| {
            ("UPDATE trust SET trustee_user_id = 'gone' WHERE id = ?".into(), vicar::args![&t[2]].to_vec())
        }),
        ("project", |c, _| {
            ("UPDATE trust SET project_id = 'gone' WHERE project_id = ?".into(), vicar::args![&c.p].to_vec())
        }),
        ("no project", |_, t| {
            ("UPDATE trust SET project_id = NULL WHERE id = ?".into(), vicar::args![&t[2]].to_vec())
        }),
        ("another project", |c, t| {
            ("UPDATE trust SET project_id = ? WHERE id = ?".into(), vicar::args![&c.q, &t[2]].to_vec())
        }),
        ("depth", |_, t| {
            ("UPDATE trust SET redelegation_count = 9 WHERE id = ?".into(), vicar::args![&t[2]].to_vec())
        }),
        ("impersonation", |_, t| {
            ("UPDATE trust SET impersonation = ? WHERE id = ?".into(), vicar::args![false, &t[1]].to_vec())
        }),
        ("trustor", |c, t| {
            (
                "UPDATE trust SET trustor_user_id = ? WHERE id = ?".into(),
                vicar::args![&c.carol, &t[2]].to_vec(),
            )
        }),
    ];
    for (what, row) in BREAKS {
        let c = Cast::new();
        let chain = c.chain();
        let (sql, args) = row(&c, &chain);
        c.s.sql_run(&sql, &args);
        let done = c.s.runtime.block_on(vicar::reaper::sweep(&c.s.app)).expect("sweeps");
        assert!(done.ended > 0, "{what}");
        let again = c.s.runtime.block_on(vicar::reaper::sweep(&c.s.app)).expect("sweeps");
        assert_eq!(again.ended, 0, "{what}");
    }
}

/// The reaper looks through all trusts, each part of them in a transaction of its own.
#[test]
fn the_reaper_looks_through_many_trusts_a_part_at_a_time() {
    use vicar::store::DateTime;

    const MANY: usize = 2500;
    let c = Cast::new();
    let (role, over) = (c.s.role("member"), START - SECOND);
    let id = |n: usize| format!("{n:032x}");
    // Each hundredth has expired.
    for part in (0..MANY).collect::<Vec<_>>().chunks(250) {
        let places = vec!["(?, ?, ?, ?, ?, '{}', 0, ?)"; part.len()].join(", ");
        let row = |n: &usize| {
            let end = Some(over).filter(|_| n % 100 == 99);
            vicar::args![id(*n), &c.alice, &c.bob, &c.p, true, end].to_vec()
        };
        c.s.sql_run(
            &format!(
                "INSERT INTO trust (id, trustor_user_id, trustee_user_id, project_id, impersonation, extra,
                     redelegation_count, expires_at_int) VALUES {places}"
            ),
            &part.iter().flat_map(row).collect::<Vec<_>>(),
        );
        let places = vec!["(?, ?)"; part.len()].join(", ");
        let args: Vec<_> = part.iter().flat_map(|n| vicar::args![id(*n), &role].to_vec()).collect();
        c.s.sql_run(&format!("INSERT INTO trust_role (trust_id, role_id) VALUES {places}"), &args);
    }
    // What somebody left who removes trusts and no more; what was deleted long ago, and lately.
    c.s.sql_run("DELETE FROM trust WHERE id IN (?, ?)", vicar::args![id(500), id(1700)]);
    let long_ago = START - c.s.app.config.retention - SECOND;
    for (n, at) in [(3, long_ago), (1500, long_ago), (2400, long_ago), (2401, START)] {
        c.s.sql_run("UPDATE trust SET deleted_at = ? WHERE id = ?", vicar::args![DateTime(at), id(n)]);
    }
    let sweep = || c.s.runtime.block_on(vicar::reaper::sweep(&c.s.app)).expect("sweeps");
    let done = sweep();
    assert_eq!((done.ended, done.purged), (25, 3));
    // Those that ended, and the one that was deleted lately.
    assert_eq!(c.s.app.metrics.dead_trusts.get(), 26);
    assert_eq!(c.s.app.metrics.reaper_swept.get(), START / SECOND);
    assert_eq!(count(&c.s, "SELECT 1 FROM trust", vicar::args![]), MANY - 5);
    let roles = "SELECT DISTINCT trust_id FROM trust_role";
    assert_eq!(count(&c.s, roles, vicar::args![]), MANY - 5);
    // Nothing more to do: no writer is taken, and no transaction reads more than a part.
    let writer = c.s.hold_writer();
    let (again, said) = c.s.app.store.watched(sweep);
    assert_eq!(again, vicar::reaper::Sweep::default());
    writer.release();
    let reads: Vec<&[String]> = said.split(|text| text == "BEGIN").filter(|part| !part.is_empty()).collect();
    assert!(reads.len() > 10, "{said:#?}");
    // What is over by itself is asked for in four tables, one row of each.
    assert!(reads.iter().all(|part| part.len() <= 4), "{said:#?}");
}

/// The reaper looks for what is over before it takes the writer, and where there is nothing it never does.
#[test]
fn the_reaper_takes_the_writer_only_for_what_it_found() {
    use vicar::reaper::{end_all, purge_all, remove_rest};
    use vicar::resources::trusts::flush::Which;
    use vicar::system::System;

    let c = Cast::new();
    let trust = c.trust(json!({"expires_at": iso(START + 5 * SECOND)}));
    let (app, all, by) = (&c.s.app, Which::default(), System::Reaper);
    let reap = || {
        c.s.runtime.block_on(async {
            let now = app.clock.now();
            let ended = end_all(app, &all, now, by).await.expect("ends");
            let purged = purge_all(app, &all, now, by).await.expect("purges");
            (ended, purged, remove_rest(app, by).await.expect("removes"))
        })
    };
    let writer = c.s.hold_writer();
    assert_eq!(reap(), (0, 0, 0));
    writer.release();
    c.s.clock.advance(5 * SECOND);
    assert_eq!(reap(), (1, 1, 0));
    c.s.get(&c.s.admin(), &format!("/v3/OS-TRUST/trusts/{trust}")).expect(404);
}

/// A Keystone on the same database looks at a token's own trust, its trustor and its trustee, and at nobody
/// further up: what concerns those is recorded for each trust below, too.
#[test]
fn what_ends_tokens_of_the_middle_is_recorded_for_what_is_below() {
    let c = Cast::new();
    let [_, second, third] = c.chain();
    let admin = c.s.admin();
    let mut known = 0;
    let mut new_events = || {
        let all = c.s.get(&admin, "/v3/OS-REVOKE/events").expect(200).body["events"].clone();
        let all = all.as_array().expect("a list").clone();
        let new: Vec<Value> = all.iter().skip(known).cloned().collect();
        known = all.len();
        new
    };
    new_events();
    let trusts = |events: &[Value]| {
        let mut ids: Vec<String> =
            events.iter().filter_map(|e| e["OS-TRUST:trust_id"].as_str().map(str::to_owned)).collect();
        ids.sort();
        ids
    };
    let dave = c.s.consume("dave", &third).expect(201).token();
    // Bob is the trustee of the first: neither trustor nor trustee of what is below.
    c.s.patch(&admin, &format!("/v3/users/{}", c.bob), json!({"user": {"password": "new"}})).expect(200);
    let mut below = vec![second.clone(), third.clone()];
    below.sort();
    let events = new_events();
    assert_eq!(trusts(&events), below, "{events:?}");
    assert!(events.iter().all(|e| e["user_id"].is_null() != e["OS-TRUST:trust_id"].is_null()));
    c.s.validate(&dave).expect(404);
    // Carol is the second's trustee, which Keystone sees; the third's are alice and dave.
    c.s.delete(&admin, &format!("/v3/users/{}/tokens", c.carol)).expect(204);
    assert_eq!(trusts(&new_events()), [third.as_str()]);
    // Alice is the trustor of each.
    c.s.delete(&admin, &format!("/v3/users/{}/tokens", c.alice)).expect(204);
    assert!(trusts(&new_events()).is_empty());
    // Whole domains.
    c.s.clock.advance(2 * SECOND);
    let domain = c.s.post(&admin, "/v3/domains", json!({"domain": {"name": "d"}})).expect(201);
    let domain = domain.body["domain"]["id"].as_str().expect("an id").to_owned();
    let user = json!({"user": {"name": "erin", "password": "erin-pw", "domain_id": domain}});
    let erin = c.s.post(&admin, "/v3/users", user).expect(201).body["user"]["id"].clone();
    let erin = erin.as_str().expect("an id");
    let first = c.trust(json!({"trustee_user_id": erin, "allow_redelegation": true}));
    let auth = json!({"identity": {"methods": ["password"], "password": {"user": {
        "id": erin, "password": "erin-pw"}}}, "scope": {"OS-TRUST:trust": {"id": first}}});
    let login = c.s.auth(auth).expect(201);
    let ask = c.ask(json!({"trustee_user_id": c.dave}));
    let made = c.s.post(&login.token(), "/v3/OS-TRUST/trusts", ask).expect(201).body["trust"]["id"].clone();
    new_events();
    c.s.patch(&admin, &format!("/v3/domains/{domain}"), json!({"domain": {"enabled": false}})).expect(200);
    assert_eq!(trusts(&new_events()), [made.as_str().expect("an id")]);
}

/// Also CVE-2026-43000, LP#2153453, LP#2158538, and LP#2150089's switch.
#[test]
fn rule_05_delegated_methods_have_no_part_in_trusts() {
    use vicar::auth::fernet::PayloadScope;
    let insecure = "[security_compliance]\nallow_insecure_application_credential_trust_escalation = true\n";
    for (ini, application_credential_may) in [("", false), (insecure, true)] {
        let c = Cast::with(ini);
        let id = c.trust(json!({}));
        c.application_credential("appcred");
        let project = || PayloadScope::Project(c.p.clone());
        let by_credential = PayloadScope::ApplicationCredential(c.p.clone(), "appcred".into());
        let tokens = [
            (
                c.foreign_token(&c.alice, &["application_credential"], by_credential),
                application_credential_may,
            ),
            (c.foreign_token(&c.alice, &["oauth1"], project()), false),
            (c.foreign_token(&c.alice, &["password", "oauth1"], project()), false),
            (c.foreign_token(&c.alice, &["ec2credential"], project()), false),
            (c.foreign_token(&c.alice, &[], project()), false),
            (
                c.foreign_token(&c.alice, &["ec2credential"], PayloadScope::Trust(c.p.clone(), id.clone())),
                false,
            ),
        ];
        let role = c.s.role("member");
        let path = format!("/v3/OS-TRUST/trusts/{id}");
        let list = format!("/v3/OS-TRUST/trusts?trustor_user_id={}", c.alice);
        let reads = [
            path.clone(),
            list,
            format!("{path}/roles"),
            format!("{path}/roles/{role}"),
            format!("{path}/lineage"),
        ];
        for (token, may) in tokens {
            let refused = |status: u16| matches!(status, 401 | 403);
            for read in &reads {
                assert_eq!(refused(c.s.get(&token, read).status), !may, "{read}");
            }
            let made = c.s.post(&token, "/v3/OS-TRUST/trusts", c.ask(json!({"trustee_user_id": c.carol})));
            assert_eq!(refused(made.status), !may, "{}", made.text);
            if !may {
                assert!(refused(c.s.delete(&token, &path).status));
            }
            // None is exchanged for anything (rule 21), nor makes keypairs or secrets (rule 36).
            for scope in [
                json!("unscoped"),
                json!({"project": {"id": c.p}}),
                json!({"OS-TRUST:trust": {"id": id}}),
                json!({"odd": 1}),
            ] {
                let auth =
                    json!({"identity": {"methods": ["token"], "token": {"id": token}}, "scope": scope});
                // One that is dead is not there, as in Keystone.
                let status = c.s.auth(auth).status;
                assert!(refused(status) || status == 404, "{status}");
            }
            assert!(refused(c.keypair(&token, &c.alice, json!({})).status));
        }
    }
}

#[test]
fn no_end_that_a_keystone_cannot_read_back() {
    let c = Cast::new();
    for bad in [
        "+10000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "+2030-01-01T00:00:00Z",
        " 2030-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:60Z",
    ] {
        let refused = c.make(json!({"expires_at": bad})).expect(400);
        assert!(refused.text.contains("expires_at"), "{}", refused.text);
    }
    let last = "9999-12-31T23:59:59.000000Z";
    assert_eq!(c.make(json!({"expires_at": last})).expect(201).body["trust"]["expires_at"], last);
}
