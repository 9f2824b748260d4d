//! What a client may leave in stored objects, and how odd rows are read.

use serde_json::{Value, json};
use vicar::args;
use vicar::auth::fernet::PayloadScope;
use vicar::clock::SECOND;
use vicar::store::DateTime;

use crate::support::scope::on_domain;
use crate::support::{Cast, START, Server, count};

/// A computed key comes from the server alone (B8, R13).
#[test]
fn a_clients_state_and_reason_are_not_shown_as_ours() {
    let c = Cast::new();
    let claims = json!({"state": "deleted", "reason": "because", "note": "kept"});
    let made = c.make(claims).expect(201).body["trust"].clone();
    let id = made["id"].as_str().expect("an id").to_owned();
    let alice = c.s.on("alice", &c.p);
    let shown = c.s.get(&alice, &format!("/v3/OS-TRUST/trusts/{id}")).expect(200).body["trust"].clone();
    let list = |query: &str| {
        let path = format!("/v3/OS-TRUST/trusts?trustor_user_id={}{query}", c.alice);
        c.s.get(&alice, &path).expect(200).body["trusts"].clone()
    };
    for trust in [&made, &shown, &list("")[0]] {
        assert!(trust["state"] != "deleted" && trust["reason"] != "because", "{trust}");
        assert_eq!(trust["note"], "kept");
    }
    assert_eq!(list("&state=deleted"), json!([]));
    assert_eq!(list("&state=all").as_array().map(Vec::len), Some(1));
    let lineage = c.s.get(&alice, &format!("/v3/OS-TRUST/trusts/{id}/lineage")).expect(200);
    assert_eq!(lineage.body["lineage"]["trust"]["state"], "live");
    // And when it is over, the state is the true one.
    c.s.delete(&alice, &format!("/v3/OS-TRUST/trusts/{id}")).expect(204);
    let dead = list("&state=all");
    assert_eq!(dead[0]["state"], "deleted");
    assert_ne!(dead[0]["reason"], "because");
}

/// Rule 40: null is no marker (B8).
#[test]
fn a_null_marker_in_a_blob_is_no_marker() {
    let c = Cast::new();
    let alice = c.s.on("alice", &c.p);
    let make = |access: &str, marker: &str, value: Value| {
        let blob = json!({"access": access, "secret": "s", marker: value}).to_string();
        let body = json!({"type": "ec2", "user_id": c.alice, "project_id": c.p, "blob": blob});
        c.s.post(&alice, "/v3/credentials", json!({"credential": body}))
    };
    for (i, marker) in ["trust_id", "app_cred_id", "access_token_id"].iter().enumerate() {
        let access = format!("access-{i}");
        make(&access, marker, json!("x")).expect(400);
        make(&access, marker, json!("")).expect(400);
        make(&access, marker, Value::Null).expect(201);
        let answer = c.exchange(c.signed(&json!({"access": access, "secret": "s"}))).expect(200);
        assert_eq!(answer.body["token"]["user"]["id"], c.alice.as_str());
        let body = json!({"credential": {"blob": json!({"access": access, "secret": "t", *marker: null}).to_string()}});
        let path = format!("/v3/credentials/{}", make_id(&access));
        c.s.patch(&alice, &path, body).expect(200);
    }
}

/// The id of a keypair's credential.
fn make_id(access: &str) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(access))
}

/// An exemption from "cannot be changed" is none from the shape (B5).
#[test]
fn no_change_leaves_a_keypair_without_an_access_id() {
    let c = Cast::new();
    let (alice, admin) = (c.s.on("alice", &c.p), c.s.admin());
    let keypair = c.keypair(&alice, &c.alice, json!({})).expect(201).body["credential"].clone();
    let access = keypair["access"].as_str().expect("an access id");
    let path = format!("/v3/credentials/{}", make_id(access));
    for blob in [
        json!({"secret": "s"}),
        json!({"secret": "s", "access": null}),
        json!({"secret": "s", "access": ""}),
        json!({"secret": "s", "access": 7}),
        json!({"secret": "s", "access": "a".repeat(256)}),
        json!({"access": access}),
        json!({"access": access, "secret": ""}),
        json!([]),
    ] {
        for token in [&admin, &alice] {
            c.s.patch(token, &path, json!({"credential": {"blob": blob.to_string()}})).expect(400);
        }
    }
    c.exchange(c.signed(&keypair)).expect(200);
    let blob = json!({"access": access, "secret": "new"}).to_string();
    c.s.patch(&admin, &path, json!({"credential": {"blob": blob}})).expect(200);
    c.exchange(c.signed(&json!({"access": access, "secret": "new"}))).expect(200);
}

/// A Keystone's older rows hold the end of a password in one column only (R12).
#[test]
fn every_reader_of_a_passwords_end_says_the_same() {
    let s = Server::start();
    let (ann, admin) = (s.user("ann"), s.admin());
    let set = |at: i64| {
        s.sql_run(
            "UPDATE password SET expires_at = ?, expires_at_int = NULL
              WHERE local_user_id = (SELECT id FROM local_user WHERE user_id = ?)",
            args![DateTime(at), &ann],
        );
    };
    let shown = || s.get(&admin, &format!("/v3/users/{ann}")).expect(200).body["user"].clone();
    assert_eq!(shown()["password_expires_at"], Value::Null);
    let later = START + 86_400_000_000;
    set(later);
    let text = vicar::clock::iso_bare(later);
    assert_eq!(shown()["password_expires_at"], text);
    let login = s.login("ann", "ann-pw", Value::Null).expect(201);
    assert_eq!(login.body["token"]["user"]["password_expires_at"], text);
    let listed = s.get(&admin, "/v3/users?name=ann").expect(200);
    assert_eq!(listed.body["users"][0]["password_expires_at"], text);
    let found = |query: &str| {
        let list = s.get(&admin, &format!("/v3/users?password_expires_at={query}")).expect(200);
        list.body["users"].as_array().expect("a list").len()
    };
    assert_eq!(found("gt:2027-01-01T00:00:00Z"), 1);
    assert_eq!(found("lt:2027-01-01T00:00:00Z"), 0);
    set(START);
    s.login("ann", "ann-pw", Value::Null).expect(401);
    assert_eq!(shown()["password_expires_at"], vicar::clock::iso_bare(START));
}

/// Records that no token can be as old as are forgotten, and no earlier: revocations, and roles that were lost.
#[test]
fn the_reaper_forgets_what_can_concern_no_token_any_more() {
    let ini = "[token]\nexpiration = 3600\nallow_expired_window = 600\n[revoke]\nexpiration_buffer = 60\n";
    let c = Cast::with(ini);
    let alice = c.s.on("alice", &c.p);
    let path = format!("/v3/projects/{}/users/{}/roles/{}", c.p, c.alice, c.s.role("member"));
    c.s.delete(&c.s.admin(), &path).expect(204);
    let replay = "INSERT INTO vicar_replay (fingerprint, seen_until) VALUES (?, ?)";
    c.s.sql_run(replay, args!["over", START]);
    c.s.sql_run(replay, args!["of use", START + 86_400 * SECOND]);
    let left = || {
        let all = |table: &str| count(&c.s, &format!("SELECT 1 FROM {table}"), args![]);
        (all("vicar_role_loss"), all("revocation_event"), all("vicar_replay"))
    };
    let sweep = || c.s.runtime.block_on(vicar::reaper::sweep(&c.s.app)).expect("sweeps").revocations;
    let (losses, events, _) = left();
    assert!(losses > 0 && events > 0);
    // As long as one may ask for the token, though it has expired.
    c.s.clock.advance((3600 + 600 + 60) * SECOND);
    assert_eq!(sweep(), 0);
    // Where there is nothing to forget, nobody takes the writer for it.
    let writer = c.s.hold_writer();
    assert_eq!(sweep(), 0);
    writer.release();
    assert_eq!(left(), (losses, events, 1));
    let window = "/v3/auth/tokens?allow_expired=true";
    c.s.clock.advance(-120 * SECOND);
    let headers = [("X-Auth-Token", &*c.s.admin()), ("X-Subject-Token", &alice)];
    c.s.call("GET", window, &headers, None).expect(404);
    c.s.clock.advance(121 * SECOND);
    assert_eq!(sweep(), u64::try_from(losses + events).expect("few"));
    assert_eq!(left(), (0, 0, 1));
}

/// Writes the blob of a keypair as a Keystone on the same database and keys does.
pub fn write_blob(s: &Server, access: &str, blob: &Value) {
    let keys = s.app.credential_keys.current().expect("keys");
    let encrypted = keys.encrypt(blob.to_string().as_bytes(), 5).expect("encrypts");
    let id = make_id(access);
    s.sql_run("UPDATE credential SET encrypted_blob = ? WHERE id = ?", args![encrypted, &id]);
}

/// It wrote the trust into the blob.
#[test]
fn a_keypair_that_an_older_keystone_made_of_a_trust_is_bound_at_its_first_exchange() {
    let c = Cast::new();
    let (alice, trust) = (c.s.on("alice", &c.p), c.trust(json!({})));
    let keypair = c.keypair(&alice, &c.alice, json!({})).expect(201).body["credential"].clone();
    let access = keypair["access"].as_str().expect("an access id");
    let blob = |more: &str| json!({"access": access, "secret": keypair["secret"], more: &trust});
    write_blob(&c.s, access, &blob("trust_id"));
    let bound = || count(&c.s, "SELECT trust_id FROM vicar_keypair WHERE trust_id = ?", args![&trust]);
    assert_eq!(bound(), 0);
    for _ in 0..2 {
        let answer = c.exchange(c.signed(&keypair)).expect(200);
        assert_eq!(answer.body["token"]["OS-TRUST:trust"]["id"], trust.as_str());
        c.s.validate(&answer.token()).expect(200);
        assert_eq!(bound(), 1);
    }
    c.s.delete(&alice, &format!("/v3/OS-TRUST/trusts/{trust}")).expect(204);
    c.exchange(c.signed(&keypair)).expect(401);
    // A delegation of another kind is not ours to judge.
    let keypair = c.keypair(&alice, &c.alice, json!({})).expect(201).body["credential"].clone();
    c.exchange(c.signed(&keypair)).expect(200);
    let access = keypair["access"].as_str().expect("an access id");
    write_blob(&c.s, access, &json!({"access": access, "secret": keypair["secret"], "access_token_id": "x"}));
    c.exchange(c.signed(&keypair)).expect(401);
}

#[test]
fn a_trusts_keypair_is_good_for_what_its_rows_agree_on() {
    let c = Cast::new();
    let token = c.s.consume("bob", &c.trust(json!({}))).expect(201).token();
    let keypair = c.keypair(&token, &c.alice, json!({})).expect(201).body["credential"].clone();
    let id = make_id(keypair["access"].as_str().expect("an access id"));
    let set = |column: &str, value: &str| {
        c.s.sql_run(&format!("UPDATE credential SET {column} = ? WHERE id = ?"), args![value, &id]);
    };
    for (column, other, own) in [("project_id", &c.q, &c.p), ("user_id", &c.carol, &c.alice)] {
        c.exchange(c.signed(&keypair)).expect(200);
        set(column, other);
        c.exchange(c.signed(&keypair)).expect(401);
        set(column, own);
    }
    c.s.sql_run("DELETE FROM vicar_keypair WHERE credential_id = ?", args![&id]);
    c.exchange(c.signed(&keypair)).expect(401);
}

#[test]
fn access_rules_are_shown_to_who_enforces_them_and_the_token_to_nobody_else() {
    let c = Cast::new();
    c.application_credential("appcred");
    let scope = PayloadScope::ApplicationCredential(c.p.clone(), "appcred".into());
    let token = c.foreign_token(&c.alice, &["application_credential"], scope);
    let admin = c.s.admin();
    let asked = |version: Option<&str>| {
        let mut headers = vec![("X-Auth-Token", admin.as_str()), ("X-Subject-Token", token.as_str())];
        headers.extend(version.map(|v| ("OpenStack-Identity-Access-Rules", v)));
        c.s.call("GET", "/v3/auth/tokens", &headers, None)
    };
    asked(None).expect(200);
    let rule = "INSERT INTO access_rule (id, service, path, method, external_id, user_id)
                VALUES (1, 'compute', '/v2.1/servers', 'GET', 'rule', ?)";
    c.s.sql_run(rule, args![&c.alice]);
    let limit = "INSERT INTO application_credential_access_rule (application_credential_id, access_rule_id)
                 VALUES (1, 1)";
    c.s.sql_run(limit, &[]);
    asked(None).expect(404);
    asked(Some("0.9")).expect(404);
    let shown = asked(Some("1.0")).expect(200);
    let rules = &shown.body["token"]["application_credential"]["access_rules"];
    assert_eq!(rules[0]["path"], "/v2.1/servers");
}

#[test]
fn a_token_of_a_trust_is_its_trustees_on_its_project() {
    let c = Cast::new();
    let id = c.trust(json!({}));
    let of = |user: &str, project: &str| {
        let scope = PayloadScope::Trust(project.to_owned(), id.clone());
        c.s.validate(&c.foreign_token(user, &["password"], scope)).status
    };
    assert_eq!(of(&c.bob, &c.p), 200);
    for (user, project) in [(&c.carol, &c.p), (&c.alice, &c.p), (&c.bob, &c.q)] {
        assert_eq!(of(user, project), 404);
    }
}

#[test]
fn an_event_about_a_domain_ends_tokens_that_are_scoped_to_it() {
    let s = Server::start();
    let (ann, domain) = (s.user("ann"), s.domain("D"));
    s.assign("UserDomain", &ann, &domain, "member", false);
    let token = s.login("ann", "ann-pw", on_domain(&domain)).expect(201).token();
    let event = |domain: &str| {
        let insert = "INSERT INTO revocation_event (domain_id, issued_before, revoked_at) VALUES (?, ?, ?)";
        s.sql_run(insert, args![domain, DateTime(START), DateTime(START)]);
    };
    event("another");
    s.validate(&token).expect(200);
    event(&domain);
    s.validate(&token).expect(404);
}
