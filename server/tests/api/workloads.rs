//! Trusts that are bound to a workload: only that uses them, whatever else its user can show.

use serde_json::{Value, json};
use vicar::args;
use vicar::clock::SECOND;

use crate::federation_oidc::Cloud;
use crate::support::{Answer, id};

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
        let c = Cloud::new();
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
    let elsewhere = made(json!({"issuer": "https://elsewhere", "subject": "pod"}), "2033-01-01T00:00:00Z");
    is_refused(cast.uses(json!({"sub": "pod"}), &elsewhere));
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
        json!({"issuer": "i", "subject": 1}),
        json!({"issuer": "i", "subject": "s", "audience": ["a"]}),
        json!({"issuer": "i", "subject": "s", "thumbprint": "t"}),
    ] {
        let answer = cast.make(json!({ "trustee_binding": wrong })).expect(400);
        assert!(answer.text.contains("trustee_binding"), "{}", answer.text);
    }
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
    // A token of a trust is exchanged for nothing.
    cast.uses(json!({"sub": "pod"}), &trust).expect(201);
    assert_eq!(count(workloads), 1);
    s.clock.advance(2 * 86_400 * SECOND);
    s.runtime.block_on(vicar::reaper::sweep(&s.app)).expect("sweeps");
    assert_eq!(count(workloads), 0);
}
