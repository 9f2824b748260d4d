//! What was issued or asked before a revocation is answered does not outlive the answer.
//!
//! Each test holds the turn to write, as another replica does under load, lets a revocation wait for it,
//! moves the clock by five seconds, and has something issued meanwhile.

use serde_json::{Value, json};
use vicar::args;
use vicar::clock::SECOND;
use vicar::store::DateTime;

use crate::support::scope::on_project;
use crate::support::{Answer, Cast, Server, count, id, one};

/// Begins a revocation, and `meanwhile` gets a token on another replica before the revocation can write.
/// Returns the token, after the revocation has been answered.
fn issued_while_it_waits(
    s: &Server,
    revoke: impl FnOnce() -> Answer + Send,
    meanwhile: impl FnOnce(&Server) -> Answer,
) -> String {
    let replica = s.replica();
    let writer = s.hold_writer();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(revoke);
        // Each of these takes longer than the revocation needs to come to where it waits. Were it slower
        // than all of them, the test would ask for less, and never for too much.
        for _ in 0..5 {
            replica.login("admin", "wrong", Value::Null).expect(401);
        }
        s.clock.advance(5 * SECOND);
        let token = meanwhile(&replica).expect(201).token();
        replica.get(&token, "/v3/auth/projects").expect(200);
        assert!(!waiting.is_finished(), "the revocation does not write");
        writer.release();
        let answer = waiting.join().expect("an answer");
        assert!([200, 204].contains(&answer.status), "{}", answer.text);
        token
    })
}

/// Dead now, and dead still when what was taken is given back.
fn stays_dead(s: &Server, token: &str, give_back: impl FnOnce()) {
    s.validate(token).expect(404);
    s.clock.advance(SECOND);
    give_back();
    s.validate(token).expect(404);
}

/// A login by name, whose password is the name with `-pw`.
fn login(s: &Server, name: &str, scope: Value) -> Answer {
    s.login(name, &format!("{name}-pw"), scope)
}

#[test]
fn a_token_that_is_exchanged_while_its_source_is_revoked_is_dead() {
    let c = Cast::new();
    let stolen = c.s.unscoped("alice");
    let token = issued_while_it_waits(
        &c.s,
        || {
            let headers = [("X-Auth-Token", &*stolen), ("X-Subject-Token", &stolen)];
            c.s.call("DELETE", "/v3/auth/tokens", &headers, None)
        },
        |replica| {
            let identity = json!({"methods": ["token"], "token": {"id": stolen}});
            replica.auth(json!({"identity": identity, "scope": on_project(&c.p)}))
        },
    );
    stays_dead(&c.s, &token, || {});
    c.s.validate(&stolen).expect(404);
}

#[test]
fn a_login_with_the_old_password_while_it_is_changed_is_dead() {
    for by_admin in [false, true] {
        let c = Cast::new();
        let (admin, alice) = (c.s.admin(), c.s.unscoped("alice"));
        let path = format!("/v3/users/{}", c.alice);
        let token = issued_while_it_waits(
            &c.s,
            || {
                if by_admin {
                    c.s.patch(&admin, &path, json!({"user": {"password": "new"}}))
                } else {
                    let body = json!({"user": {"original_password": "alice-pw", "password": "new"}});
                    c.s.post(&alice, &format!("{path}/password"), body)
                }
            },
            |replica| login(replica, "alice", json!("unscoped")),
        );
        stays_dead(&c.s, &token, || {});
        c.s.clock.advance(SECOND);
        c.s.login("alice", "new", json!("unscoped")).expect(201);
    }
}

#[test]
fn a_login_while_a_grant_is_taken_is_dead() {
    let c = Cast::new();
    let admin = c.s.admin();
    let path = format!("/v3/projects/{}/users/{}/roles/{}", c.p, c.alice, c.s.role("member"));
    let token = issued_while_it_waits(
        &c.s,
        || c.s.delete(&admin, &path),
        |replica| login(replica, "alice", on_project(&c.p)),
    );
    stays_dead(&c.s, &token, || drop(c.s.put(&c.s.admin(), &path).expect(204)));
}

#[test]
fn a_login_while_a_membership_is_taken_is_dead() {
    let c = Cast::new();
    let group = c.s.group("crew", "default", &[&c.dave]);
    c.s.assign("GroupProject", &group, &c.q, "member", false);
    let admin = c.s.admin();
    let path = format!("/v3/groups/{group}/users/{}", c.dave);
    let token = issued_while_it_waits(
        &c.s,
        || c.s.delete(&admin, &path),
        |replica| login(replica, "dave", on_project(&c.q)),
    );
    stays_dead(&c.s, &token, || drop(c.s.put(&c.s.admin(), &path).expect(204)));
}

#[test]
fn a_login_while_all_tokens_of_the_user_are_revoked_is_dead() {
    let c = Cast::new();
    let admin = c.s.admin();
    let token = issued_while_it_waits(
        &c.s,
        || c.s.delete(&admin, &format!("/v3/users/{}/tokens", c.alice)),
        |replica| login(replica, "alice", json!("unscoped")),
    );
    stays_dead(&c.s, &token, || {});
}

/// The user, the project, or a whole domain.
#[test]
fn a_login_while_its_user_project_or_domain_is_disabled_is_dead() {
    for kind in ["user", "project", "domain"] {
        let c = Cast::new();
        let domain = c.s.domain("d");
        let project = c.s.project_below("inside", &domain, None);
        let erin = c.s.user_in("erin", &domain);
        c.s.grant(&erin, &project, "member");
        let admin = c.s.admin();
        let path = match kind {
            "user" => format!("/v3/users/{erin}"),
            "project" => format!("/v3/projects/{project}"),
            _ => format!("/v3/domains/{domain}"),
        };
        let set = |token: &str, on: bool| c.s.patch(token, &path, json!({kind: {"enabled": on}}));
        let token = issued_while_it_waits(
            &c.s,
            || set(&admin, false),
            |replica| replica.login_id(&erin, "erin-pw", on_project(&project)),
        );
        stays_dead(&c.s, &token, || drop(set(&c.s.admin(), true).expect(200)));
        c.s.clock.advance(SECOND);
        c.s.login_id(&erin, "erin-pw", on_project(&project)).expect(201);
    }
}

#[test]
fn a_login_while_an_implication_is_removed_is_dead() {
    let c = Cast::new();
    let (top, low) = (c.s.role("top"), c.s.role("low"));
    let path = format!("/v3/roles/{top}/implies/{low}");
    c.s.put(&c.s.admin(), &path).expect(201);
    c.s.grant(&c.dave, &c.q, "top");
    let admin = c.s.admin();
    let token = issued_while_it_waits(
        &c.s,
        || c.s.delete(&admin, &path),
        |replica| login(replica, "dave", on_project(&c.q)),
    );
    stays_dead(&c.s, &token, || drop(c.s.put(&c.s.admin(), &path).expect(201)));
}

#[test]
fn an_exchange_while_its_keypair_is_deleted_is_dead() {
    let c = Cast::new();
    let alice = c.s.on("alice", &c.p);
    let keypair = c.keypair(&alice, &c.alice, json!({})).expect(201).body["credential"].clone();
    let access = keypair["access"].as_str().expect("an access id");
    let path = format!("/v3/users/{}/credentials/OS-EC2/{access}", c.alice);
    let svc = c.svc();
    let admin = c.s.admin();
    let replica = c.s.replica();
    let writer = c.s.hold_writer();
    let token = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| c.s.delete(&alice, &path));
        for _ in 0..5 {
            replica.login("admin", "wrong", Value::Null).expect(401);
        }
        c.s.clock.advance(5 * SECOND);
        let token = replica.post(&svc, "/v3/ec2tokens", c.signed(&keypair)).expect(200).token();
        assert!(!waiting.is_finished(), "the deletion does not write");
        writer.release();
        waiting.join().expect("an answer").expect(204);
        token
    });
    let headers = [("X-Auth-Token", &*admin), ("X-Subject-Token", &token)];
    c.s.call("GET", "/v3/auth/tokens", &headers, None).expect(404);
}

/// Whoever lost their authority before a change could be written does not get it carried out (R6).
#[test]
fn a_change_that_waits_is_judged_when_it_is_made() {
    for way in ["revoked", "disabled", "demoted"] {
        let c = Cast::new();
        let login = c.s.login(
            "admin",
            crate::support::PASSWORD,
            json!({"project": {"name": "admin", "domain": {"id": "default"}}}),
        );
        let admin = login.token();
        let me = login.body["token"]["user"]["id"].as_str().expect("an id").to_owned();
        let audit = login.body["token"]["audit_ids"][0].as_str().expect("an id").to_owned();
        let grant = format!("/v3/projects/{}/users/{}/roles/{}", c.q, c.carol, c.s.role("member"));
        let user = format!("/v3/users/{}", c.carol);
        let region = "/v3/regions/somewhere";
        // One each, as a server of the tests has one connection only.
        let [replica, third, fourth] = [(); 3].map(|()| c.s.replica());
        let mut writer = c.s.hold_writer();
        std::thread::scope(|scope| {
            let waiting = [
                scope.spawn(|| c.s.put(&admin, &grant)),
                scope.spawn(|| replica.patch(&admin, &user, json!({"user": {"email": "changed"}}))),
            ];
            let region = scope
                .spawn(|| third.call("PUT", region, &[("X-Auth-Token", &admin)], Some(b"{\"region\": {}}")));
            for _ in 0..10 {
                fourth.login("nobody", "wrong", Value::Null).expect(401);
            }
            let now = DateTime(c.s.clock.now());
            match way {
                "revoked" => writer.run(
                    "INSERT INTO revocation_event (audit_id, issued_before, revoked_at) VALUES (?, ?, ?)",
                    args![audit, now, DateTime(c.s.clock.now())],
                ),
                "disabled" => {
                    writer.run("UPDATE \"user\" SET enabled = ? WHERE id = ?", args![false, &me]);
                }
                _ => writer.run("DELETE FROM assignment WHERE actor_id = ?", args![&me]),
            }
            writer.release();
            for answer in waiting.into_iter().chain([region]) {
                let answer = answer.join().expect("an answer");
                assert!([401, 403].contains(&answer.status), "{way}: {} {}", answer.status, answer.text);
            }
        });
        let granted = "SELECT 1 FROM assignment WHERE actor_id = ?";
        assert_eq!(count(&c.s, granted, args![&c.carol]), 0, "{way}");
        assert_eq!(one(&c.s, "SELECT id FROM region WHERE id = 'somewhere'"), None, "{way}");
        let extra = "SELECT extra FROM \"user\" WHERE id = ?";
        assert_eq!(c.s.sql_text(extra, args![&c.carol]).as_deref(), Some("{}"), "{way}");
    }
}

/// A trust that is deleted while its trustee uses it: the same instant.
#[test]
fn a_trust_used_while_its_trustors_tokens_are_revoked_gives_no_token_that_lasts() {
    let c = Cast::new();
    let trust = c.trust(json!({}));
    let admin = c.s.admin();
    let token = issued_while_it_waits(
        &c.s,
        || c.s.delete(&admin, &format!("/v3/users/{}/tokens", c.alice)),
        |replica| replica.consume("bob", &trust),
    );
    stays_dead(&c.s, &token, || {});
    // The trust itself stays.
    c.s.clock.advance(SECOND);
    let again = c.s.consume("bob", &trust).expect(201);
    assert_eq!(again.body["token"]["OS-TRUST:trust"]["id"], trust.as_str());
    let shown = c.s.get(&c.s.on("alice", &c.p), &format!("/v3/OS-TRUST/trusts/{trust}")).expect(200);
    assert_eq!(id(&shown, "trust"), trust);
}

/// The clock moves while a large change is made and committed: the instant of a revocation is that of its commit.
#[test]
fn a_large_revocation_across_the_edge_of_a_second_leaves_no_token() {
    let c = Cast::new();
    let admin = c.s.admin();
    let domain = c.s.domain("large");
    let user = c.s.user_in("lena", &domain);
    let projects: Vec<String> =
        (0..400).map(|n| c.s.project_below(&format!("p{n}"), &domain, None)).collect();
    c.s.grant(&user, &projects[0], "member");
    let path = format!("/v3/domains/{domain}");
    let replica = c.s.replica();
    let by_id = json!({"identity": {
        "methods": ["password"], "password": {"user": {"id": user, "password": "lena-pw"}},
    }, "scope": on_project(&projects[0])});
    for _ in 0..3 {
        let issued = std::thread::scope(|scope| {
            let disable =
                scope.spawn(|| c.s.patch(&admin, &path, json!({"domain": {"enabled": false}})).expect(200));
            let mut issued = Vec::new();
            while !disable.is_finished() {
                c.s.clock.advance(SECOND / 3);
                let answer = replica.auth(by_id.clone());
                assert!([201, 401, 503].contains(&answer.status), "{}", answer.text);
                if answer.status == 201 {
                    issued.push(answer.token());
                }
            }
            issued
        });
        c.s.patch(&admin, &path, json!({"domain": {"enabled": true}})).expect(200);
        for token in &issued {
            c.s.validate(token).expect(404);
        }
        c.s.clock.advance(2 * SECOND);
        let fresh = replica.auth(by_id.clone()).expect(201).token();
        c.s.validate(&fresh).expect(200);
    }
}
