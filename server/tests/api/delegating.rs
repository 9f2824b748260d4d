//! Application credentials that may delegate: the trusts that they make are their children.

use serde_json::{Value, json};
use vicar::args;
use vicar::clock::{SECOND, iso};

use crate::support::{Answer, Cast, START, id, ids};

/// Alice's credential on P, with these attributes besides.
fn make(c: &Cast, with: Value) -> Answer {
    let mut body = json!({"name": vicar::ids::uuid(), "secret": "pw"});
    for (name, value) in with.as_object().expect("an object") {
        body[name] = value.clone();
    }
    let path = format!("/v3/users/{}/application_credentials", c.alice);
    c.s.post(&c.s.on("alice", &c.p), &path, json!({"application_credential": body}))
}

/// One that may delegate `member` to Bob, once passed on.
fn delegating(c: &Cast) -> String {
    let may = json!({"trustees": [c.bob], "roles": [{"name": "member"}], "max_depth": 1});
    id(&make(c, json!({"may_delegate": may})).expect(201), "application_credential")
}

fn login(c: &Cast, credential: &str) -> Answer {
    c.s.auth(json!({"identity": {
        "methods": ["application_credential"], "application_credential": {"id": credential, "secret": "pw"},
    }}))
}

fn token(c: &Cast, credential: &str) -> String {
    login(c, credential).expect(201).token()
}

fn delegate(c: &Cast, token: &str, with: Value) -> Answer {
    c.s.post(token, "/v3/OS-TRUST/trusts", c.ask(with))
}

fn path(trust: &str) -> String {
    format!("/v3/OS-TRUST/trusts/{trust}")
}

#[test]
fn a_credential_that_may_delegate_makes_trusts_within_that() {
    let c = Cast::new();
    let may = json!({"trustees": [c.bob], "roles": [{"name": "member"}], "max_depth": 1});
    let ends = iso(START + 900 * SECOND);
    let made = make(&c, json!({"may_delegate": may, "expires_at": ends})).expect(201);
    let credential = id(&made, "application_credential");
    let shown = json!({"trustees": [c.bob], "roles": [{"id": c.s.role("member")}], "max_depth": 1});
    assert_eq!(made.body["application_credential"]["may_delegate"], shown);
    let own = format!("/v3/users/{}/application_credentials/{credential}", c.alice);
    let stored = c.s.get(&c.s.unscoped("alice"), &own).expect(200);
    assert_eq!(stored.body["application_credential"]["may_delegate"], shown);
    let token = token(&c, &credential);
    let trust = delegate(&c, &token, json!({"allow_redelegation": true})).expect(201).body["trust"].clone();
    assert_eq!(
        (&trust["application_credential_id"], &trust["expires_at"]),
        (&json!(credential), &json!(ends))
    );
    assert_eq!(trust["redelegation_count"], 1);
    let trust = trust["id"].as_str().expect("an id").to_owned();
    let login = c.s.consume("bob", &trust).expect(201);
    assert_eq!(login.body["token"]["delegation_chain"][0]["application_credential_id"], credential.as_str());
    assert_eq!(login.body["token"]["user"]["id"], c.alice.as_str());
    // Passed on as any other, no further than it may.
    let child = c.below("bob", &trust, &c.carol, true);
    let deeper = c.ask(json!({"trustee_user_id": c.dave}));
    let refused = c.s.post(&c.s.consume("carol", &child).expect(201).token(), "/v3/OS-TRUST/trusts", deeper);
    refused.expect(403);
    for (with, words) in [
        (json!({"trustee_user_id": c.carol}), "trustee_user_id is not among the trustees"),
        (
            json!({"roles": [{"name": "heat_stack_owner"}]}),
            "is not among those that the application credential",
        ),
        (json!({"expires_at": iso(START + 901 * SECOND)}), "expires_at is later"),
        (json!({"allow_redelegation": true, "redelegation_count": 2}), "redelegation_count 2 is above"),
        (json!({"project_id": c.q}), "project_id"),
        (json!({"trustor_user_id": c.bob}), "create_trust"),
    ] {
        let refused = delegate(&c, &token, with.clone()).expect(403);
        assert!(refused.text.contains(words), "{with}: {}", refused.text);
    }
}

#[test]
fn what_a_credential_made_ends_with_it() {
    let c = Cast::new();
    let credential = delegating(&c);
    let trust =
        id(&delegate(&c, &token(&c, &credential), json!({"allow_redelegation": true})).expect(201), "trust");
    let child = c.below("bob", &trust, &c.carol, true);
    let bearer = c.s.consume("carol", &child).expect(201).token();
    let keypair = c.keypair(&bearer, &c.alice, json!({})).expect(201).body["credential"].clone();
    let other = c.trust(json!({}));
    let own = format!("/v3/users/{}/application_credentials/{credential}", c.alice);
    c.s.delete(&c.s.unscoped("alice"), &own).expect(204);
    c.s.validate(&bearer).expect(404);
    c.s.consume("bob", &trust).expect(401);
    c.s.consume("carol", &child).expect(401);
    c.exchange(c.signed(&keypair)).expect(401);
    let ended = "SELECT reason FROM vicar_trust_state WHERE trust_id = ?";
    assert_eq!(c.s.sql_text(ended, args![&trust]).as_deref(), Some("credential deleted"));
    c.s.consume("bob", &other).expect(201);
}

#[test]
fn what_a_credential_made_sleeps_and_dies_with_what_the_credential_rests_on() {
    let c = Cast::new();
    let credential = delegating(&c);
    let trust = id(&delegate(&c, &token(&c, &credential), json!({})).expect(201), "trust");
    let old = c.s.consume("bob", &trust).expect(201).token();
    let grant = format!("/v3/projects/{}/users/{}/roles/{}", c.p, c.alice, c.s.role("member"));
    c.s.delete(&c.s.admin(), &grant).expect(204);
    c.s.consume("bob", &trust).expect(401);
    c.s.put(&c.s.admin(), &grant).expect(204);
    c.s.clock.advance(2 * SECOND);
    c.s.validate(&old).expect(404);
    c.s.consume("bob", &trust).expect(201);
    // A Keystone beside us deletes the credential without a word; to it the trust was never there.
    let seen = "SELECT id FROM trust WHERE id = ? AND deleted_at IS NULL";
    assert_eq!(c.s.sql_text(seen, args![&trust]), None);
    let young = c.s.consume("bob", &trust).expect(201).token();
    c.s.sql_run("DELETE FROM application_credential_role WHERE 1 = 1", &[]);
    c.s.sql_run("DELETE FROM application_credential WHERE id = ?", args![&credential]);
    c.s.validate(&young).expect(404);
    c.s.consume("bob", &trust).expect(401);
    c.s.get(&c.s.unscoped("alice"), &path(&trust)).expect(404);
    let tree = c.s.get(&c.s.unscoped("alice"), &format!("{}/lineage", path(&trust))).expect(200);
    let told = &tree.body["lineage"]["trust"];
    // The server notices, and ends it for good.
    c.s.runtime.block_on(vicar::reaper::sweep(&c.s.app)).expect("sweeps");
    let reason = "SELECT reason FROM vicar_trust_state WHERE trust_id = ?";
    assert_eq!(c.s.sql_text(reason, args![&trust]).as_deref(), Some("broken"));
    let words = format!("application credential {credential} is gone");
    assert_eq!((&told["state"], &told["reason"]), (&json!("broken"), &json!(words)));
}

#[test]
fn a_delegating_credential_sees_and_ends_what_it_made_and_nothing_else() {
    let c = Cast::new();
    let (one, two) = (delegating(&c), delegating(&c));
    let (own, others) = (token(&c, &one), token(&c, &two));
    let made = id(&delegate(&c, &own, json!({})).expect(201), "trust");
    let foreign = id(&delegate(&c, &others, json!({})).expect(201), "trust");
    let alices = c.trust(json!({}));
    c.s.get(&own, &path(&made)).expect(200);
    c.s.get(&own, &format!("{}/lineage", path(&made))).expect(200);
    for other in [&foreign, &alices] {
        c.s.get(&own, &path(other)).expect(403);
        c.s.delete(&own, &path(other)).expect(403);
        c.s.get(&own, &format!("{}/lineage", path(other))).expect(403);
        c.s.delete(&own, &format!("{}/tokens", path(other))).expect(403);
    }
    let list = c.s.get(&own, &format!("/v3/OS-TRUST/trusts?trustor_user_id={}", c.alice)).expect(200);
    assert_eq!(ids(&list, "trusts"), std::slice::from_ref(&made));
    for closed in [format!("/v3/users/{}/delegations", c.alice), format!("/v3/projects/{}/delegations", c.p)]
    {
        c.s.get(&own, &closed).expect(403);
    }
    let why = json!({"suspension": {"reason": "x"}});
    c.s.post(&own, &format!("{}/suspend", path(&made)), why).expect(403);
    c.s.post(&own, &format!("{}/resume", path(&made)), json!({})).expect(403);
    c.s.post(&own, &format!("{}/adopt", path(&made)), json!({})).expect(403);
    c.s.delete(&own, &path(&made)).expect(204);
    c.s.consume("bob", &made).expect(401);
    // Nobody else takes over what is the credential's.
    let erin = c.s.user("erin");
    c.s.grant(&erin, &c.p, "member");
    let refused =
        c.s.post(&c.s.on("erin", &c.p), &format!("{}/adopt", path(&foreign)), json!({})).expect(403);
    assert!(refused.text.contains("ends with it"), "{}", refused.text);
}

#[test]
fn only_a_login_lets_a_credential_delegate() {
    let c = Cast::new();
    // Without it, as in Keystone 30.
    let plain = id(&make(&c, json!({})).expect(201), "application_credential");
    delegate(&c, &token(&c, &plain), json!({})).expect(403);
    let path = format!("/v3/users/{}/application_credentials", c.alice);
    let free = id(&make(&c, json!({"unrestricted": true})).expect(201), "application_credential");
    let may = json!({"trustees": [c.bob], "roles": [{"name": "member"}]});
    let ask = json!({"application_credential": {"name": "below", "may_delegate": may}});
    let refused = c.s.post(&token(&c, &free), &path, ask).expect(403);
    assert!(refused.text.contains("may_delegate: only a login"), "{}", refused.text);
    for (may, status, words) in [
        (json!({}), 400, "trustees"),
        (json!({"trustees": []}), 400, "may_delegate.trustees"),
        (json!({"trustees": [c.bob], "roles": []}), 400, "may_delegate.roles"),
        (json!({"trustees": ["nobody"]}), 404, "nobody"),
        (json!({"trustees": [c.bob], "roles": [{"name": "admin"}]}), 403, "may delegate"),
        (json!({"trustees": [c.bob], "max_depth": -1}), 400, "max_depth"),
        (json!({"trustees": [c.bob], "max_depth": 1.0}), 400, "max_depth"),
        (json!({"trustees": [c.bob], "moon": 1}), 400, "may_delegate"),
    ] {
        let refused = make(&c, json!({"may_delegate": may})).expect(status);
        assert!(refused.text.contains(words), "{may}: {}", refused.text);
    }
    // Nothing said of roles is all of the credential's; of depth, none.
    let made =
        make(&c, json!({"roles": [{"name": "reader"}], "may_delegate": {"trustees": [c.bob]}})).expect(201);
    let shown = &made.body["application_credential"]["may_delegate"];
    assert_eq!((&shown["roles"], &shown["max_depth"]), (&json!([{"id": c.s.role("reader")}]), &json!(0)));
    let token = token(&c, &id(&made, "application_credential"));
    delegate(&c, &token, json!({"roles": [{"name": "member"}]})).expect(403);
    let trust =
        delegate(&c, &token, json!({"roles": [{"name": "reader"}], "allow_redelegation": true})).expect(201);
    assert_eq!(trust.body["trust"]["redelegation_count"], 0);
}

#[test]
fn access_rules_of_a_credential_hold_for_what_it_delegates() {
    let c = Cast::new();
    c.s.post(&c.s.admin(), "/v3/services", json!({"service": {"type": "identity", "name": "keystone"}}))
        .expect(201);
    let rules = json!([
        {"service": "identity", "method": "POST", "path": "/v3/OS-TRUST/trusts"},
        {"service": "compute", "method": "GET", "path": "/v2.1/servers"},
    ]);
    let may = json!({"trustees": [c.bob], "roles": [{"name": "member"}]});
    let credential = id(
        &make(&c, json!({"may_delegate": may, "access_rules": rules})).expect(201),
        "application_credential",
    );
    let made = delegate(&c, &token(&c, &credential), json!({})).expect(201);
    let told = made.body["trust"]["access_rules"].as_array().expect("a list").len();
    assert_eq!(told, 2, "{}", made.text);
    let wider = json!({"access_rules": [{"service": "image", "method": "GET", "path": "/v2/images"}]});
    delegate(&c, &token(&c, &credential), wider).expect(403);
}
