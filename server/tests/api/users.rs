//! Users: making, showing, changing, deleting them; their passwords and how they log in.

use serde_json::{Value, json};
use vicar::clock::DAY;

use crate::support::{
    Answer, PASSWORD, Server, count, domain, id, ids, in_database, persona, user_by_api as user,
};

const SECOND: i64 = 1_000_000;

fn change(s: &Server, user: &str, old: &str, new: &str) -> Answer {
    let body = json!({"user": {"original_password": old, "password": new}}).to_string();
    s.call("POST", &format!("/v3/users/{user}/password"), &[], Some(body.as_bytes()))
}

#[test]
fn a_user_lives_from_creation_to_deletion() {
    let s = Server::start();
    let t = s.admin();
    let made = s
        .post(
            &t,
            "/v3/users",
            json!({"user": {"name": " ann ", "password": "pw", "email": "a@b", "bag": {"y": 1},
                "description": null, "default_project_id": null, "id": "mine", "links": 1,
                "federated": [], "options": {"ignore_password_expiry": true, "lock_password": null}}}),
        )
        .expect(201);
    let ann = id(&made, "user");
    let golden = json!({"user": {
        "email": "a@b",
        "bag": {"y": 1},
        "description": null,
        "id": ann,
        "name": "ann",
        "domain_id": "default",
        "enabled": true,
        "password_expires_at": null,
        "options": {"ignore_password_expiry": true},
        "links": {"self": format!("{}/v3/users/{ann}", s.url)},
    }});
    assert_eq!(made.body, golden);
    let path = format!("/v3/users/{ann}");
    assert_eq!(s.get(&t, &path).expect(200).body, golden);
    s.head(&t, &path).expect(200);
    s.login_id(&ann, "pw", json!(null)).expect(201);

    // What is not named stays; null is a value of the bag, and takes options and the project away.
    let project = s.validate(&t).body["token"]["project"]["id"].clone();
    let changed = s
        .patch(
            &t,
            &path,
            json!({"user": {"id": ann, "domain_id": "default", "email": null, "new": 5,
                "default_project_id": project, "options": {"lock_password": true}}}),
        )
        .expect(200);
    assert_eq!(changed.body["user"]["default_project_id"], project);
    assert_eq!(
        changed.body["user"]["options"],
        json!({"ignore_password_expiry": true, "lock_password": true})
    );
    assert_eq!(
        changed.body["user"]["extra"],
        json!({"email": null, "bag": {"y": 1}, "description": null, "new": 5})
    );
    let cleared = json!({"user": {"name": "anna", "default_project_id": null,
        "options": {"ignore_password_expiry": null}}});
    s.patch(&t, &path, cleared).expect(200);
    let shown = s.get(&t, &path).expect(200).body["user"].clone();
    assert_eq!(shown["name"], "anna");
    assert_eq!(shown["options"], json!({"lock_password": true}));
    assert!(shown.get("default_project_id").is_none() && shown.get("extra").is_none());

    s.delete(&t, &path).expect(204);
    s.get(&t, &path).expect(404);
    s.delete(&t, &path).expect(404);
    s.patch(&t, &path, json!({"user": {"name": "x"}})).expect(404);
    s.login_id(&ann, "pw", json!(null)).expect(401);
}

#[test]
fn a_wrong_body_is_refused_and_changes_nothing() {
    let s = Server::start();
    let t = s.admin();
    let ann = user(&s, &t, "ann", "default", "pw");
    let long = |n: usize| "x".repeat(n);
    for wrong in [
        json!({}),
        json!({"name": "  "}),
        json!({"name": "\u{a0}"}),
        json!({"name": long(256)}),
        json!({"name": 7}),
        json!({"name": "nul\u{0}"}),
        json!({"name": "u", "enabled": null}),
        json!({"name": "u", "enabled": "true"}),
        json!({"name": "u", "enabled": 1}),
        json!({"name": "u", "domain_id": null}),
        json!({"name": "u", "domain_id": "<<keystone.domain.root>>"}),
        json!({"name": "u", "default_project_id": "default"}),
        json!({"name": "u", "default_project_id": long(65)}),
        json!({"name": "u", "password": ""}),
        json!({"name": "u", "password": long(73)}),
        json!({"name": "u", "password": 5}),
        json!({"name": "u", "federated": [{"idp_id": "i", "protocols": []}]}),
        json!({"name": "u", "options": {"other": true}}),
        json!({"name": "u", "options": {"lock_password": "yes"}}),
        json!({"name": "u", "options": {"multi_factor_auth_rules": [[]]}}),
        json!({"name": "u", "options": {"multi_factor_auth_rules": [["a", "a"]]}}),
        json!({"name": "u", "options": {"multi_factor_auth_rules": "password"}}),
    ] {
        let answer = s.post(&t, "/v3/users", json!({"user": wrong}));
        assert_eq!(answer.status, 400, "{wrong} {}", answer.text);
        assert!(!answer.text.contains("xxxxxxx"), "a value is echoed: {}", answer.text);
    }
    s.post(&t, "/v3/users", json!({"usr": {"name": "u"}})).expect(400);
    s.post(&t, "/v3/users", json!({"user": {"name": "u", "domain_id": "nowhere"}})).expect(404);
    s.call("POST", "/v3/users", &[], Some(b"nonsense")).expect(401);
    let path = format!("/v3/users/{ann}");
    for wrong in [
        json!({}),
        json!({"id": "other"}),
        json!({"domain_id": "other"}),
        json!({"name": null}),
        json!({"default_project_id": "default"}),
        json!({"password": ""}),
    ] {
        s.patch(&t, &path, json!({"user": wrong})).expect(400);
    }
    s.login_id(&ann, "pw", json!(null)).expect(201);
    // What is odd but right.
    let right = json!({"user": {"name": long(255), "password": long(72), "default_project_id": "unknown"}});
    let odd = id(&s.post(&t, "/v3/users", right).expect(201), "user");
    s.login_id(&odd, &long(72), json!(null)).expect(201);
    s.login_id(&odd, &long(71), json!(null)).expect(401);
    let nul = s.post(&t, "/v3/users", json!({"user": {"name": "nul", "password": "a\u{0}b"}}));
    assert!(nul.status < 500, "{}", nul.text);
    for strange in ["%00", "%F0%9F%98%80", &long(5000), "a%2Fb", "%27%3B--"] {
        let shown = s.get(&t, &format!("/v3/users/{strange}"));
        assert!([400, 404].contains(&shown.status), "{strange:.20}: {}", shown.text);
    }
}

#[test]
fn a_name_is_taken_once_in_a_domain() {
    let s = Server::start();
    let t = s.admin();
    domain(&s, "d2");
    user(&s, &t, "ann", "default", "pw");
    let bob = user(&s, &t, "bob", "default", "pw");
    user(&s, &t, "ann", "d2", "pw");
    let again = s.post(&t, "/v3/users", json!({"user": {"name": "ann "}})).expect(409);
    assert_eq!(
        again.body["error"]["message"],
        "Conflict occurred attempting to store user - Duplicate entry found with name ann at domain ID default."
    );
    s.patch(&t, &format!("/v3/users/{bob}"), json!({"user": {"name": "ann", "note": 1}})).expect(409);
    let shown = s.get(&t, &format!("/v3/users/{bob}")).expect(200);
    assert_eq!((&shown.body["user"]["name"], shown.body["user"].get("note")), (&json!("bob"), None));
    s.patch(&t, &format!("/v3/users/{bob}"), json!({"user": {"name": "bob"}})).expect(200);
}

#[test]
fn lists_are_filtered_and_paged() {
    let s = Server::with("[security_compliance]\npassword_expires_days = 10\n");
    let t = s.admin();
    domain(&s, "d2");
    let ann = user(&s, &t, "ann", "default", "pw");
    let bob = user(&s, &t, "Bob", "d2", "pw");
    let off = json!({"user": {"name": "off", "enabled": false}});
    let off = id(&s.post(&t, "/v3/users", off).expect(201), "user");
    let found = |q: &str| {
        let mut found = ids(&s.get(&t, &format!("/v3/users?{q}")).expect(200), "users");
        found.sort();
        found
    };
    let sorted = |mut v: Vec<String>| {
        v.sort();
        v
    };
    assert_eq!(found("").len(), 4);
    assert_eq!(found("name=ann"), std::slice::from_ref(&ann));
    assert_eq!(found("name=ann&domain_id=d2"), Vec::<String>::new());
    assert_eq!(found("domain_id=d2"), std::slice::from_ref(&bob));
    assert_eq!(found("enabled=false"), std::slice::from_ref(&off));
    assert_eq!(found("name__icontains=B&enabled"), std::slice::from_ref(&bob));
    assert_eq!(found("name__startswith=o"), std::slice::from_ref(&off));
    assert_eq!(found("idp_id=google"), Vec::<String>::new());
    assert_eq!(found("limit=2").len(), 2);
    // START is 2027-01-15 08:00:00; a user without a password has none that could expire.
    assert_eq!(found("password_expires_at=gt:2027-01-25T07:00:00Z"), sorted(vec![ann.clone(), bob.clone()]));
    assert_eq!(found("password_expires_at=2027-01-25T08:00:00Z"), sorted(vec![ann.clone(), bob.clone()]));
    assert_eq!(found("password_expires_at=lt:2027-01-25T08:00:00Z"), Vec::<String>::new());
    let both = "password_expires_at=gte:2027-01-25T08:00:00Z&password_expires_at=neq:2027-01-25T08:00:00Z";
    assert_eq!(found(both), Vec::<String>::new());
    s.get(&t, "/v3/users?password_expires_at=zz:2027-01-25T08:00:00Z").expect(400);
    s.get(&t, "/v3/users?password_expires_at=lt:soon").expect(400);
    let shown = s.get(&t, &format!("/v3/users/{ann}")).expect(200);
    assert_eq!(shown.body["user"]["password_expires_at"], "2027-01-25T08:00:00.000000");
}

#[test]
fn who_may_do_what_with_users() {
    let s = Server::start();
    let t = s.admin();
    domain(&s, "d1");
    domain(&s, "d2");
    let near = user(&s, &t, "near", "d1", "pw");
    let far = user(&s, &t, "far", "d2", "pw");
    // role, place, then the answers: create in d1, in d2, without a domain; get near, far, missing;
    // update near, far, missing; list.
    #[rustfmt::skip]
    let table: [(&str, &str, [u16; 10]); 7] = [
        ("admin",   "system",    [201, 201, 201, 200, 200, 404, 200, 200, 404, 200]),
        ("member",  "system",    [403, 403, 403, 200, 200, 404, 403, 403, 403, 200]),
        ("reader",  "system",    [403, 403, 403, 200, 200, 404, 403, 403, 403, 200]),
        ("admin",   "domain:d1", [201, 201, 201, 200, 200, 404, 200, 200, 404, 200]),
        ("manager", "domain:d1", [201, 403, 403, 200, 403, 403, 200, 403, 403, 200]),
        ("member",  "domain:d1", [403, 403, 403, 200, 403, 403, 403, 403, 403, 200]),
        ("service", "system",    [403, 403, 403, 403, 403, 403, 403, 403, 403, 403]),
    ];
    for (role, place, expected) in table {
        let who = format!("{role}-{}", place.replace(':', "-"));
        let (own, token) = persona(&s, &who, role, place);
        let create = |domain: Option<&str>| {
            let mut body = json!({"user": {"name": format!("{who}-{domain:?}")}});
            if let Some(d) = domain {
                body["user"]["domain_id"] = json!(d);
            }
            s.post(&token, "/v3/users", body).status
        };
        let get = |user: &str| s.get(&token, &format!("/v3/users/{user}")).status;
        let update =
            |user: &str| s.patch(&token, &format!("/v3/users/{user}"), json!({"user": {"note": 1}})).status;
        let got = [
            create(Some("d1")),
            create(Some("d2")),
            create(None),
            get(&near),
            get(&far),
            get("missing"),
            update(&near),
            update(&far),
            update("missing"),
            s.get(&token, "/v3/users").status,
        ];
        assert_eq!(got, expected, "{who}");
        assert_eq!(get(&own), 200);
        s.get(&token, &format!("/v3/users/{own}/groups")).expect(200);
        let deleted = s.delete(&token, "/v3/users/missing").status;
        assert_eq!(deleted, if role == "admin" { 404 } else { 403 }, "{who}");
        if place == "domain:d1" {
            let listed = s.get(&token, "/v3/users").expect(200);
            let domains = listed.body["users"].as_array().expect("a list");
            assert!(domains.iter().all(|u| u["domain_id"] == "d1"));
            assert!(ids(&s.get(&token, "/v3/users?domain_id=d2").expect(200), "users").is_empty());
        }
    }
    // A body or query that contradicts what is stored moves nothing (CVE-2026-42999).
    let (_, manager) = persona(&s, "manager", "manager", "domain:d1");
    let lie = json!({"user": {"note": 1}, "target": {"user": {"domain_id": "d1"}}, "domain_id": "d1"});
    s.patch(&manager, &format!("/v3/users/{far}?domain_id=d1&target.user.domain_id=d1"), lie).expect(403);
    s.delete(&manager, &format!("/v3/users/{far}")).expect(403);
    s.delete(&manager, &format!("/v3/users/{near}")).expect(204);
}

#[test]
fn a_failed_login_does_not_tell_why() {
    // OSSA-2021-003, CVE-2013-2157
    let s = Server::with("[security_compliance]\nlockout_failure_attempts = 2\n");
    let t = s.admin();
    domain(&s, "d2");
    user(&s, &t, "ann", "default", "pw");
    user(&s, &t, "locked", "default", "pw");
    user(&s, &t, "elsewhere", "d2", "pw");
    s.post(&t, "/v3/users", json!({"user": {"name": "off", "password": "pw", "enabled": false}})).expect(201);
    s.post(&t, "/v3/users", json!({"user": {"name": "none", "password": null}})).expect(201);
    for _ in 0..2 {
        s.login("locked", "wrong", json!(null)).expect(401);
    }
    in_database(&s, &[("UPDATE project SET enabled = ? WHERE id = 'd2'", vicar::args![false])]);
    let login = |name: &str, domain: &str, password: &str| {
        s.auth(json!({"identity": {"methods": ["password"], "password": {"user": {
            "name": name, "domain": {"id": domain}, "password": password}}}}))
            .expect(401)
    };
    let reference = login("nobody", "default", "pw");
    for (name, domain, password) in [
        ("ann", "default", "wrong"),
        ("ann", "default", ""),
        ("ann", "nowhere", "pw"),
        ("locked", "default", "pw"),
        ("locked", "default", "wrong"),
        ("off", "default", "pw"),
        ("off", "default", "wrong"),
        ("none", "default", "pw"),
        ("none", "default", ""),
        ("elsewhere", "d2", "pw"),
        ("ann", "default", &"x".repeat(100)),
        ("ann", "default", &"x".repeat(10_000)),
    ] {
        let answer = login(name, domain, password);
        assert_eq!(answer.text, reference.text, "{name} {domain}");
        let names = |a: &Answer| a.headers.keys().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&answer), names(&reference));
    }
    for user in ["nobody", s.validate(&t).body["token"]["user"]["id"].as_str().expect("an id")] {
        assert_eq!(change(&s, user, "wrong", "new").expect(401).text, reference.text);
    }
}

/// Whatever hash it may fit, and an empty one neither.
#[test]
fn a_password_longer_than_the_limit_is_none() {
    let s = Server::with("max_password_length = 12\n");
    for (name, length, status) in [("ann", 12, 201), ("bob", 13, 401), ("carol", 0, 401)] {
        let password = "x".repeat(length);
        s.user_with(name, "default", &password);
        s.login(name, &password, Value::Null).expect(status);
    }
}

#[test]
fn failures_lock_an_account_for_a_while() {
    let ini = "[security_compliance]\nlockout_failure_attempts = 3\nlockout_duration = 60\n";
    let s = Server::with(ini);
    let t = s.admin();
    let ann = user(&s, &t, "ann", "default", "pw");
    let path = format!("/v3/users/{ann}");
    let fail = |n: usize| (0..n).for_each(|_| drop(s.login("ann", "wrong", json!(null)).expect(401)));
    fail(2);
    s.login("ann", "pw", json!(null)).expect(201);
    // A success forgets what failed before.
    fail(2);
    s.login("ann", "pw", json!(null)).expect(201);
    fail(3);
    s.login("ann", "pw", json!(null)).expect(401);
    change(&s, &ann, "pw", "new").expect(401);
    // They are written behind the answers; the clock of this test does not wait for that.
    let failures = || s.sql_text("SELECT failed_auth_count FROM local_user WHERE name = 'ann'", &[]);
    crate::hardening::until("the failures are written", || failures().as_deref() == Some("3"));
    // Further attempts do not lengthen the lock.
    s.clock.advance(59 * SECOND);
    fail(1);
    s.login("ann", "pw", json!(null)).expect(401);
    s.clock.advance(SECOND);
    fail(1);
    s.login("ann", "pw", json!(null)).expect(201);
    // Any change by an administrator unlocks.
    fail(3);
    s.login("ann", "pw", json!(null)).expect(401);
    s.patch(&t, &path, json!({"user": {"enabled": true}})).expect(200);
    s.login("ann", "pw", json!(null)).expect(201);
    // Unless the user is exempt.
    s.patch(&t, &path, json!({"user": {"options": {"ignore_lockout_failure_attempts": true}}})).expect(200);
    fail(4);
    s.login("ann", "pw", json!(null)).expect(201);
}

#[test]
fn parallel_guesses_do_not_outrun_the_lock() {
    let s = Server::with("[security_compliance]\nlockout_failure_attempts = 3\n");
    let t = s.admin();
    user(&s, &t, "ann", "default", "pw");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| s.login("ann", "wrong", json!(null)).expect(401));
        }
    });
    s.login("ann", "pw", json!(null)).expect(401);
    let failures = || s.sql_text("SELECT failed_auth_count FROM local_user WHERE name = 'ann'", &[]);
    // They are written behind the answers.
    let all = || failures().is_some_and(|n| n.parse::<i64>().expect("a number") >= 3);
    crate::hardening::until("the failures are written", all);
    assert_eq!(failures().as_deref(), Some("3"));
}

#[test]
fn an_owner_changes_his_password() {
    let s = Server::start();
    let t = s.admin();
    let ann = user(&s, &t, "ann", "default", "one");
    let token = s.login_id(&ann, "one", json!(null)).expect(201).token();
    change(&s, &ann, "wrong", "two").expect(401);
    change(&s, "missing", "one", "two").expect(401);
    change(&s, &ann, "one", "").expect(400);
    change(&s, &ann, "one", &"x".repeat(73)).expect(400);
    let path = format!("/v3/users/{ann}/password");
    for wrong in [
        json!({"original_password": "one"}),
        json!({"original_password": "one", "password": null}),
        json!({"original_password": "one", "password": "two", "more": 1}),
    ] {
        s.post(&token, &path, json!({"user": wrong})).expect(400);
    }
    s.get(&t, &path).expect(405);
    let right = json!({"user": {"original_password": "one", "password": "two"}});
    s.post("garbage", &path, right.clone()).expect(401);
    s.post(&token, &path, right).expect(204);
    // The user's tokens end with it.
    s.get(&token, &format!("/v3/users/{ann}")).expect(401);
    s.clock.advance(SECOND);
    s.login_id(&ann, "one", json!(null)).expect(401);
    s.login_id(&ann, "two", json!(null)).expect(201);
    // No token is needed: the old password is the proof.
    change(&s, &ann, "two", "two").expect(204);
    s.clock.advance(SECOND);
    // As when an administrator sets it.
    let token = s.login_id(&ann, "two", json!(null)).expect(201).token();
    s.patch(&t, &format!("/v3/users/{ann}"), json!({"user": {"password": "three"}})).expect(200);
    s.get(&token, &format!("/v3/users/{ann}")).expect(401);
    s.clock.advance(SECOND);
    s.login_id(&ann, "two", json!(null)).expect(401);
    s.login_id(&ann, "three", json!(null)).expect(201);
    // No password at all.
    s.patch(&t, &format!("/v3/users/{ann}"), json!({"user": {"password": null}})).expect(200);
    s.clock.advance(SECOND);
    s.login_id(&ann, "three", json!(null)).expect(401);
    s.login_id(&ann, "", json!(null)).expect(401);
}

#[test]
fn a_delegated_token_sets_no_password() {
    let s = Server::start();
    let t = s.admin();
    let seen = s.validate(&t).body["token"].clone();
    let bob = user(&s, &t, "bob", "default", "pw");
    let trust = json!({"trust": {"trustor_user_id": seen["user"]["id"], "trustee_user_id": bob,
        "impersonation": true, "project_id": seen["project"]["id"], "roles": [{"name": "admin"}]}});
    let trust = id(&s.post(&t, "/v3/OS-TRUST/trusts", trust).expect(201), "trust");
    let token = s.login_id(&bob, "pw", json!({"OS-TRUST:trust": {"id": trust}})).expect(201).token();
    let admin = seen["user"]["id"].as_str().expect("an id");
    let own = json!({"user": {"original_password": PASSWORD, "password": "new"}});
    s.post(&token, &format!("/v3/users/{admin}/password"), own).expect(403);
    s.patch(&token, &format!("/v3/users/{admin}"), json!({"user": {"password": "new"}})).expect(403);
    s.patch(&token, &format!("/v3/users/{bob}"), json!({"user": {"password": null}})).expect(403);
    // A user that was not there has no login to take over.
    s.post(&token, "/v3/users", json!({"user": {"name": "eve", "password": "pw"}})).expect(201);
    s.get(&token, &format!("/v3/users/{admin}")).expect(200);
    // The password of either end, changed, ends the trust's tokens and not the trust.
    s.patch(&t, &format!("/v3/users/{bob}"), json!({"user": {"password": "pw2"}})).expect(200);
    s.get(&token, &format!("/v3/users/{admin}")).expect(401);
    s.get(&t, &format!("/v3/OS-TRUST/trusts/{trust}")).expect(200);
}

#[test]
fn what_a_new_password_must_be() {
    let s = Server::with(
        "[security_compliance]\nunique_last_password_count = 2\nminimum_password_age = 1\n\
         password_regex = ^(?=.*\\d)(?=.*[a-z]).{4,}$\npassword_regex_description = a digit and a letter\n",
    );
    let t = s.admin();
    let answer = s.post(&t, "/v3/users", json!({"user": {"name": "x", "password": "letters"}})).expect(400);
    assert!(answer.text.contains("a digit and a letter"), "{}", answer.text);
    let ann = user(&s, &t, "ann", "default", "pass1");
    let path = format!("/v3/users/{ann}");
    s.patch(&t, &path, json!({"user": {"password": "12345"}})).expect(400);
    change(&s, &ann, "pass1", "12345").expect(400);
    // What an administrator set may be changed at once; what the owner set, after a day.
    change(&s, &ann, "pass1", "pass1").expect(400);
    change(&s, &ann, "pass1", "pass2").expect(204);
    change(&s, &ann, "pass2", "pass3").expect(400);
    s.clock.advance(DAY + SECOND);
    change(&s, &ann, "pass2", "pass1").expect(400);
    change(&s, &ann, "pass2", "pass3").expect(204);
    s.clock.advance(DAY + SECOND);
    change(&s, &ann, "pass3", "pass2").expect(400);
    change(&s, &ann, "pass3", "pass1").expect(204);
    let rows = "SELECT 1 FROM password p JOIN local_user l ON l.id = p.local_user_id WHERE l.user_id = ?";
    assert_eq!(count(&s, rows, vicar::args![&ann]), 3);
    // An administrator is bound by the look alone.
    let t = s.admin();
    s.patch(&t, &path, json!({"user": {"password": "pass1", "options": {"lock_password": true}}}))
        .expect(200);
    s.clock.advance(DAY);
    change(&s, &ann, "pass1", "pass9").expect(400);
    change(&s, &ann, "wrong", "pass9").expect(401);
}

#[test]
fn a_password_expires() {
    let s = Server::with("[security_compliance]\npassword_expires_days = 2\n");
    let t = s.admin();
    let ann = user(&s, &t, "ann", "default", "pw");
    let exempt =
        json!({"user": {"name": "exempt", "password": "pw", "options": {"ignore_password_expiry": true}}});
    let exempt = id(&s.post(&t, "/v3/users", exempt).expect(201), "user");
    let token = s.login_id(&ann, "pw", json!(null)).expect(201);
    assert_eq!(token.body["token"]["user"]["password_expires_at"], "2027-01-17T08:00:00.000000");
    s.clock.advance(2 * DAY);
    let over = s.login_id(&ann, "pw", json!(null)).expect(401);
    let said = over.body["error"]["message"].as_str().expect("a text").to_owned();
    assert_eq!(said, format!("The password is expired and needs to be changed for user: {ann}."));
    // Only who knows the password is told.
    assert!(!s.login_id(&ann, "wrong", json!(null)).expect(401).text.contains("expired"));
    s.login_id(&exempt, "pw", json!(null)).expect(201);
    change(&s, &ann, "pw", "pw2").expect(204);
    s.clock.advance(SECOND);
    s.login_id(&ann, "pw2", json!(null)).expect(201);
}

#[test]
fn a_first_password_must_be_changed() {
    let s = Server::with("[security_compliance]\nchange_password_upon_first_use = true\n");
    let t = s.admin();
    let ann = user(&s, &t, "ann", "default", "pw");
    s.login_id(&ann, "pw", json!(null)).expect(401);
    change(&s, &ann, "pw", "own").expect(204);
    s.clock.advance(SECOND);
    s.login_id(&ann, "own", json!(null)).expect(201);
    let path = format!("/v3/users/{ann}");
    s.patch(&t, &path, json!({"user": {"password": "reset"}})).expect(200);
    s.clock.advance(SECOND);
    s.login_id(&ann, "reset", json!(null)).expect(401);
    let exempt =
        json!({"user": {"password": "again", "options": {"ignore_change_password_upon_first_use": true}}});
    s.patch(&t, &path, exempt).expect(200);
    s.clock.advance(SECOND);
    s.login_id(&ann, "again", json!(null)).expect(201);
}

#[test]
fn who_stays_away_counts_as_disabled() {
    let s = Server::with(
        "[security_compliance]\ndisable_user_account_days_inactive = 3\n[token]\nexpiration = 864000\n",
    );
    let t = s.admin();
    let ann = user(&s, &t, "ann", "default", "pw");
    let away =
        json!({"user": {"name": "away", "password": "pw", "options": {"ignore_user_inactivity": true}}});
    let away = id(&s.post(&t, "/v3/users", away).expect(201), "user");
    s.clock.advance(2 * DAY);
    let token = s.login_id(&ann, "pw", json!(null)).expect(201).token();
    let t = s.admin();
    s.clock.advance(2 * DAY);
    s.get(&token, &format!("/v3/users/{ann}")).expect(200);
    s.clock.advance(DAY);
    s.get(&token, &format!("/v3/users/{ann}")).expect(401);
    s.get(&t, &format!("/v3/users/{ann}")).expect(401);
    s.login_id(&ann, "pw", json!(null)).expect(401);
    s.login_id(&away, "pw", json!(null)).expect(201);
    // The administrator stayed away too; the database is the way back.
    in_database(
        &s,
        &[(
            "UPDATE \"user\" SET last_active_at = '2027-01-20'
          WHERE id = (SELECT user_id FROM local_user WHERE name = 'admin')",
            &[],
        )],
    );
    let t = s.admin();
    let path = format!("/v3/users/{ann}");
    assert_eq!(s.get(&t, &path).expect(200).body["user"]["enabled"], false);
    assert_eq!(ids(&s.get(&t, "/v3/users?enabled=false").expect(200), "users"), std::slice::from_ref(&ann));
    s.patch(&t, &path, json!({"user": {"note": 1}})).expect(200);
    s.login_id(&ann, "pw", json!(null)).expect(401);
    let back = s.patch(&t, &path, json!({"user": {"enabled": true}})).expect(200);
    assert_eq!(back.body["user"]["enabled"], true);
    s.clock.advance(SECOND);
    s.login_id(&ann, "pw", json!(null)).expect(201);
    // Nothing that was issued before comes back with the user.
    s.get(&token, &path).expect(401);
}

#[test]
fn multi_factor_rules_are_asked() {
    let s = Server::start();
    let t = s.admin();
    let ann = user(&s, &t, "ann", "default", "pw");
    let path = format!("/v3/users/{ann}");
    let options = |o: Value| s.patch(&t, &path, json!({"user": {"options": o}})).expect(200);
    let token = s.login_id(&ann, "pw", json!(null)).expect(201).token();
    options(json!({"multi_factor_auth_rules": [["password", "mapped"]], "multi_factor_auth_enabled": true}));
    s.login_id(&ann, "pw", json!(null)).expect(401);
    // A token from before is no second factor, and no way around.
    s.auth(json!({"identity": {"methods": ["token"], "token": {"id": token}}})).expect(401);
    options(json!({"multi_factor_auth_enabled": false}));
    s.login_id(&ann, "pw", json!(null)).expect(201);
    options(json!({"multi_factor_auth_enabled": null}));
    s.login_id(&ann, "pw", json!(null)).expect(401);
    // Methods that are not configured do not count.
    options(json!({"multi_factor_auth_rules": [["retina"]]}));
    s.login_id(&ann, "pw", json!(null)).expect(201);
    options(json!({"multi_factor_auth_rules": [["mapped"], ["password"]]}));
    s.login_id(&ann, "pw", json!(null)).expect(201);
}

#[test]
fn a_disabled_user_is_out_and_stays_out_with_old_tokens() {
    let s = Server::start();
    let t = s.admin();
    let ann = user(&s, &t, "ann", "default", "pw");
    let path = format!("/v3/users/{ann}");
    let token = s.login_id(&ann, "pw", json!(null)).expect(201).token();
    s.patch(&t, &path, json!({"user": {"enabled": false}})).expect(200);
    s.get(&token, &path).expect(401);
    s.login_id(&ann, "pw", json!(null)).expect(401);
    s.clock.advance(SECOND);
    s.patch(&t, &path, json!({"user": {"enabled": true}})).expect(200);
    s.get(&token, &path).expect(401);
    s.login_id(&ann, "pw", json!(null)).expect(201);
}

#[test]
fn nothing_of_a_deleted_user_is_left() {
    let s = Server::start();
    let t = s.admin();
    let project = s.validate(&t).body["token"]["project"]["id"].as_str().expect("an id").to_owned();
    let ann = user(&s, &t, "ann", "default", "pw");
    let bob = user(&s, &t, "bob", "default", "pw");
    s.assign("UserProject", &ann, &project, "member", false);
    s.assign("UserSystem", &ann, "system", "reader", false);
    let group = id(&s.post(&t, "/v3/groups", json!({"group": {"name": "g"}})).expect(201), "group");
    s.put(&t, &format!("/v3/groups/{group}/users/{ann}")).expect(204);
    s.patch(&t, &format!("/v3/users/{ann}"), json!({"user": {"options": {"lock_password": true}}}))
        .expect(200);
    let scope = json!({"project": {"id": project}});
    let token = s.login_id(&ann, "pw", scope).expect(201).token();
    let trust = json!({"trust": {"trustor_user_id": ann, "trustee_user_id": bob, "impersonation": true,
        "project_id": project, "roles": [{"name": "member"}]}});
    let trust = id(&s.post(&token, "/v3/OS-TRUST/trusts", trust).expect(201), "trust");
    let chained = s.login_id(&bob, "pw", json!({"OS-TRUST:trust": {"id": trust}})).expect(201).token();
    in_database(
        &s,
        &[
            (
                "INSERT INTO application_credential (id, name, secret_hash, user_id, project_id)
             VALUES ('ac', 'ac', 'x', ?, ?)",
                vicar::args![&ann, &project],
            ),
            (
                "INSERT INTO application_credential_role (application_credential_id, role_id)
             SELECT internal_id, 'r' FROM application_credential",
                &[],
            ),
            ("INSERT INTO access_rule (path, user_id) VALUES ('/', ?)", vicar::args![&ann]),
            (
                "INSERT INTO credential (id, user_id, type, key_hash, encrypted_blob) VALUES ('c', ?, 't', '', '')",
                vicar::args![&ann],
            ),
        ],
    );
    s.delete(&t, &format!("/v3/users/{ann}")).expect(204);
    for (table, column) in [
        ("\"user\"", "id"),
        ("local_user", "user_id"),
        ("user_option", "user_id"),
        ("user_group_membership", "user_id"),
        ("assignment", "actor_id"),
        ("system_assignment", "actor_id"),
        ("application_credential", "user_id"),
        ("access_rule", "user_id"),
        ("credential", "user_id"),
    ] {
        let sql = format!("SELECT 1 FROM {table} WHERE {column} = ?");
        assert_eq!(count(&s, &sql, vicar::args![&ann]), 0, "{table}");
    }
    assert_eq!(count(&s, "SELECT 1 FROM application_credential_role", &[]), 0);
    let orphans = "SELECT 1 FROM password WHERE local_user_id NOT IN (SELECT id FROM local_user)";
    assert_eq!(count(&s, orphans, &[]), 0);
    s.get(&token, "/v3/auth/catalog").expect(401);
    s.get(&chained, "/v3/auth/catalog").expect(401);
    s.get(&t, &format!("/v3/OS-TRUST/trusts/{trust}")).expect(404);
    // The name is free again.
    user(&s, &t, "ann", "default", "pw");
}

#[test]
fn the_admin_token_must_name_a_domain() {
    let s = Server::with("[DEFAULT]\nadmin_token = boot\n");
    s.post("boot", "/v3/users", json!({"user": {"name": "ann"}})).expect(400);
    s.post("boot", "/v3/users", json!({"user": {"name": "ann", "domain_id": "default"}})).expect(201);
    s.get("boot", "/v3/users").expect(200);
}

/// "secret", by Python's hashlib, salt "0123456789abcdef".
const OTHER_HASHES: [&str; 2] = [
    "$pbkdf2-sha512$1000$MDEyMzQ1Njc4OWFiY2RlZg$vgFvU7zWIDgDAUi7d8ayt.cfRiPWVVWfv8iQRsGZaZviWzsSNgWYXEE5PmvI/VELMsOmEbqLz0PKuePNjOk41A",
    "$scrypt$ln=4,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$gEeb/KeWbm5g+kBQOFr1yJbkjBxxxDOkhSmrSXFFwOg",
];

/// All of a user's passwords, oldest first: hash, and the rest of the row.
fn passwords(s: &Server, user: &str) -> Vec<(String, String)> {
    let columns = "p.id, p.password_hash, p.created_at_int, p.expires_at_int, p.self_service";
    let sql = format!(
        "SELECT {columns} FROM password p JOIN local_user l ON l.id = p.local_user_id
          WHERE l.user_id = ? ORDER BY p.created_at_int, p.id"
    );
    s.runtime.block_on(async {
        let mut tx = s.app.store.read().await.expect("begins");
        tx.map(&sql, vicar::args![vicar::store::Id(user)], |r| {
            let id: i64 = r.take()?;
            let hash: String = r.take()?;
            let (created, ends): (i64, Option<i64>) = (r.take()?, r.take()?);
            Ok((hash, format!("{id} {created} {ends:?} {}", r.take::<bool>()?)))
        })
        .await
        .expect("reads")
    })
}

fn set_newest_hash(s: &Server, user: &str, hash: &str) {
    let newest = passwords(s, user).pop().expect("a password").0;
    s.sql_run("UPDATE password SET password_hash = ? WHERE password_hash = ?", vicar::args![hash, newest]);
}

/// What other algorithms and costs left behind is replaced when the password is known (S10).
#[test]
fn a_login_renews_a_hash_of_another_kind() {
    let s =
        Server::with("[security_compliance]\nunique_last_password_count = 3\npassword_expires_days = 30\n");
    let t = s.admin();
    let ann = user(&s, &t, "ann", "default", "older");
    s.clock.advance(SECOND);
    s.patch(&t, &format!("/v3/users/{ann}"), json!({"user": {"password": "secret"}})).expect(200);
    s.clock.advance(SECOND);
    let dearer = bcrypt::hash("secret", 5).expect("a hash");
    for other in OTHER_HASHES.into_iter().chain([dearer.as_str()]) {
        set_newest_hash(&s, &ann, other);
        let before = passwords(&s, &ann);
        assert_eq!(before.len(), 2);
        // Who does not know it changes nothing.
        s.login_id(&ann, "wrong", json!(null)).expect(401);
        assert_eq!(passwords(&s, &ann), before);
        let token = s.login_id(&ann, "secret", json!(null)).expect(201).token();
        let after = passwords(&s, &ann);
        assert!(after[1].0.starts_with("$2b$04$"), "{after:?}");
        // The history, and when each was set and ends, stay. So do tokens.
        assert_eq!(after[0], before[0]);
        assert_eq!(after[1].1, before[1].1);
        s.validate(&token).expect(200);
        s.login_id(&ann, "secret", json!(null)).expect(201);
        assert_eq!(passwords(&s, &ann), after);
        change(&s, &ann, "secret", "older").expect(400);
        change(&s, &ann, "secret", "secret").expect(400);
    }
}

/// Nor does one need more for a login than was enough before.
#[test]
fn a_login_does_not_fail_for_a_hash_that_cannot_be_renewed() {
    let s = Server::start();
    let t = s.admin();
    let ann = user(&s, &t, "ann", "default", "secret");
    set_newest_hash(&s, &ann, OTHER_HASHES[0]);
    // An expired one is no login.
    let end = |at: Option<i64>| s.sql_run("UPDATE password SET expires_at_int = ?", vicar::args![at]);
    end(Some(1));
    s.login_id(&ann, "secret", json!(null)).expect(401);
    assert_eq!(passwords(&s, &ann)[0].0, OTHER_HASHES[0]);
    end(None);
    // The hash has a limit that others have not.
    let long = "x".repeat(100);
    let of_long = {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD_NO_PAD;
        let mut sum = [0; 64];
        pbkdf2::pbkdf2_hmac::<sha2::Sha512>(long.as_bytes(), b"0123456789abcdef", 10, &mut sum);
        let text = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes).replace('+', ".");
        format!("$pbkdf2-sha512$10${}${}", text(b"0123456789abcdef"), text(&sum))
    };
    set_newest_hash(&s, &ann, &of_long);
    s.login_id(&ann, &long, json!(null)).expect(201);
    assert_eq!(passwords(&s, &ann)[0].0, of_long);
}

/// A right password without its second factor is answered without a write, with a receipt. Nothing of it is noted, and
/// what failed before still counts.
#[test]
fn nothing_is_noted_before_the_last_factor() {
    let s = Server::with(
        "[security_compliance]\nlockout_failure_attempts = 5\ndisable_user_account_days_inactive = 9\n",
    );
    let t = s.admin();
    let ann = user(&s, &t, "ann", "default", "secret");
    let options =
        json!({"multi_factor_auth_rules": [["password", "mapped"]], "multi_factor_auth_enabled": true});
    s.patch(&t, &format!("/v3/users/{ann}"), json!({"user": {"options": options}})).expect(200);
    set_newest_hash(&s, &ann, OTHER_HASHES[0]);
    s.sql_run("UPDATE local_user SET failed_auth_count = 2 WHERE user_id = ?", vicar::args![&ann]);
    let before = passwords(&s, &ann);
    let replica = s.replica();
    let writer = s.hold_writer();
    let right = replica.login_id(&ann, "secret", json!(null)).expect(401);
    assert_eq!(right.body["receipt"]["methods"], json!(["password"]));
    assert_eq!(right.body["required_auth_methods"], json!([["password", "mapped"]]));
    replica.login_id(&ann, "wrong", json!(null)).expect(401);
    writer.release();
    assert_eq!(passwords(&s, &ann), before);
    let count = "SELECT failed_auth_count FROM local_user WHERE user_id = ?";
    assert!(["2", "3"].contains(&s.sql_text(count, vicar::args![&ann]).expect("a count").as_str()));
}

/// As in a Keystone: with drivers of domains, whoever asks for no domain is shown their own.
#[test]
fn with_drivers_of_domains_lists_are_of_the_callers_domain() {
    for (ini, alone) in [("", false), ("domain_specific_drivers_enabled = true\n", true)] {
        let s = Server::with(ini);
        let admin = s.admin();
        let make = |path: &str, kind: &str, body: Value| {
            id(&s.post(&admin, path, json!({ kind: body })).expect(201), kind)
        };
        let domain = make("/v3/domains", "domain", json!({"name": "other"}));
        let user = make("/v3/users", "user", json!({"name": "other", "domain_id": domain}));
        let group = make("/v3/groups", "group", json!({"name": "other", "domain_id": domain}));
        for (path, key, one) in [("/v3/users", "users", user), ("/v3/groups", "groups", group)] {
            let listed = ids(&s.get(&admin, path).expect(200), key);
            assert_eq!(listed.contains(&one), !alone, "{path}");
            let asked = ids(&s.get(&admin, &format!("{path}?domain_id={domain}")).expect(200), key);
            assert_eq!(asked, [one], "{path}");
        }
    }
}
