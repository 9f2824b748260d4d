//! Users of a directory, as far as stored rows decide. No directory answers here: what one says is tested by
//! `tests/world/directories.py`.

use serde_json::{Value, json};
use vicar::args;
use vicar::clock::SECOND;
use vicar::directory::entries::{Group, User, Whole};
use vicar::directory::mirror::Reads;
use vicar::store::schema::Dialect;

use crate::support::{Answer, Cast, count, ids};

const INI: &str =
    "[identity]\ndomain_specific_drivers_enabled = true\ndomain_configurations_from_database = true\n";

/// How long a reading counts.
const SPAN: i64 = 60 * SECOND;

/// A directory that nobody reaches, for a domain.
fn serve(c: &Cast, domain: &str) {
    for (group, option, value) in [
        ("identity", "driver", "\"ldap\""),
        ("ldap", "url", "\"ldap://127.0.0.1:1\""),
        ("ldap", "connection_timeout", "1"),
    ] {
        c.s.sql_run(
            "INSERT INTO whitelisted_config (domain_id, \"group\", \"option\", value) VALUES (?, ?, ?, ?)",
            args![domain, group, option, value],
        );
    }
}

/// Alice is in a directory from now on, which was read at this instant. Who logs in by a name in her domain does so there.
fn alice_moves(c: &Cast) {
    serve(c, "default");
    c.s.sql_run("DELETE FROM local_user WHERE user_id = ?", args![&c.alice]);
    c.s.sql_run(
        "INSERT INTO nonlocal_user (domain_id, name, user_id) VALUES ('default', 'alice', ?)",
        args![&c.alice],
    );
    c.s.sql_run(
        "INSERT INTO id_mapping (public_id, domain_id, local_id, entity_type) VALUES (?, 'default', 'alice', 'user')",
        args![&c.alice],
    );
    c.s.sql_run(
        "INSERT INTO vicar_directory_entry (public_id, domain_id, read_at) VALUES (?, 'default', ?)",
        args![&c.alice, c.s.clock.now()],
    );
}

/// She was read at this instant, and was there or not.
fn read_now(c: &Cast, is_there: bool) {
    let now = c.s.clock.now();
    let gone = (!is_there).then_some(now);
    c.s.sql_run(
        "UPDATE vicar_directory_entry SET read_at = ?, gone_at = ? WHERE public_id = ?",
        args![now, gone, &c.alice],
    );
    if !is_there {
        c.s.sql_run("DELETE FROM nonlocal_user WHERE user_id = ?", args![&c.alice]);
        c.s.sql_run("DELETE FROM \"user\" WHERE id = ?", args![&c.alice]);
    }
}

/// She has the rows of somebody who is there.
fn comes_back(c: &Cast) {
    if c.s.sql_text("SELECT id FROM \"user\" WHERE id = ?", args![&c.alice]).is_some() {
        return;
    }
    c.s.sql_run(
        "INSERT INTO \"user\" (id, extra, enabled, domain_id) VALUES (?, '{}', ?, 'default')",
        args![&c.alice, true],
    );
    c.s.sql_run(
        "INSERT INTO nonlocal_user (domain_id, name, user_id) VALUES ('default', 'alice', ?)",
        args![&c.alice],
    );
}

#[track_caller]
fn away(answer: Answer) {
    let answer = answer.expect(503);
    assert_eq!(answer.header("Retry-After"), Some("5"));
}

#[test]
fn what_was_read_counts_for_its_time() {
    let c = Cast::with(INI);
    let (token, svc) = (c.s.on("alice", &c.p), c.svc());
    alice_moves(&c);
    let validated =
        || c.s.call("GET", "/v3/auth/tokens", &[("X-Auth-Token", &svc), ("X-Subject-Token", &token)], None);
    let me = || c.s.get(&token, &format!("/v3/users/{}", c.alice));
    validated().expect(200);
    me().expect(200);
    c.s.clock.advance(SPAN - SECOND);
    validated().expect(200);
    // From here on nothing is known of her, and nothing of hers is good or dead.
    c.s.clock.advance(SECOND);
    away(validated());
    away(me());
    away(c.s.get(&svc, &format!("/v3/users/{}", c.alice)));
    // Others are as ever.
    c.s.get(&svc, &format!("/v3/users/{}/projects", c.bob)).expect(403);
    read_now(&c, true);
    validated().expect(200);
    read_now(&c, false);
    validated().expect(404);
    me().expect(401);
    // Whether she is back is asked when that is old.
    c.s.clock.advance(SPAN);
    away(validated());
}

#[test]
fn all_of_a_domain_read_is_each_of_its_users_read() {
    let c = Cast::with(INI);
    let (token, admin) = (c.s.on("alice", &c.p), c.s.admin());
    alice_moves(&c);
    let list = |path: &str| c.s.get(&admin, path);
    away(list("/v3/users?domain_id=default"));
    away(list("/v3/groups?domain_id=default"));
    c.s.clock.advance(SPAN);
    c.s.sql_run(
        "INSERT INTO vicar_directory (domain_id, read_at) VALUES ('default', ?)",
        args![c.s.clock.now()],
    );
    assert!(ids(&list("/v3/users?domain_id=default").expect(200), "users").contains(&c.alice));
    list("/v3/groups?domain_id=default").expect(200);
    c.s.get(&token, &format!("/v3/users/{}", c.alice)).expect(200);
    c.s.clock.advance(SPAN);
    away(list("/v3/users?domain_id=default"));
    away(c.s.get(&token, &format!("/v3/users/{}", c.alice)));
    let other = c.s.domain("other");
    list(&format!("/v3/users?domain_id={other}")).expect(200);
}

#[test]
fn nobody_logs_in_while_the_directory_is_away() {
    let c = Cast::with(INI);
    alice_moves(&c);
    away(c.s.login_id(&c.alice, "alice-pw", json!("unscoped")));
    away(c.s.login("alice", "alice-pw", json!("unscoped")));
    away(c.s.login("nobody", "x", json!("unscoped")));
    let change = json!({"user": {"original_password": "alice-pw", "password": "another"}});
    let body = change.to_string();
    away(c.s.call("POST", &format!("/v3/users/{}/password", c.alice), &[], Some(body.as_bytes())));
    // No server takes an empty password for one, so none is asked.
    c.s.login_id(&c.alice, "", json!("unscoped")).expect(401);
    // The password of somebody in no directory is in the database.
    c.s.login_id(&c.bob, "bob-pw", json!("unscoped")).expect(201);
}

#[test]
fn a_trust_is_suspended_while_nothing_is_known_and_nothing_ends_it() {
    let c = Cast::with(INI);
    let [first, ..] = c.chain();
    let (bob, admin) = (c.s.unscoped("bob"), c.s.admin());
    let consumed = || {
        let auth = json!({
            "identity": {"methods": ["token"], "token": {"id": bob}},
            "scope": {"OS-TRUST:trust": {"id": first}},
        });
        c.s.auth(auth)
    };
    let shown = || c.s.get(&admin, &format!("/v3/OS-TRUST/trusts/{first}")).expect(200);
    alice_moves(&c);
    consumed().expect(201);
    c.s.clock.advance(SPAN);
    let (refused, sweep) =
        (consumed(), || c.s.runtime.block_on(vicar::reaper::sweep(&c.s.app)).expect("sweeps"));
    assert!([401, 403].contains(&refused.status), "{}", refused.text);
    assert_eq!(sweep().ended, 0);
    read_now(&c, true);
    consumed().expect(201);
    // Gone: for who can ask. The reaper cannot, so it ends nothing.
    read_now(&c, false);
    let refused = consumed();
    assert!([401, 403, 404].contains(&refused.status), "{}", refused.text);
    assert_eq!(sweep().ended, 0);
    comes_back(&c);
    read_now(&c, true);
    consumed().expect(201);
    assert!(shown().body["trust"]["deleted_at"].is_null());
}

#[test]
fn nothing_is_written_to_a_directory() {
    let c = Cast::with(INI);
    let admin = c.s.admin();
    let group = c.s.group("g", "default", &[&c.alice]);
    alice_moves(&c);
    let (alice, refused) = (&c.alice, |answer: Answer| {
        let answer = answer.expect(403);
        assert!(answer.text.contains("LDAP does not support write operations"), "{}", answer.text);
    });
    refused(c.s.post(&admin, "/v3/users", json!({"user": {"name": "new", "domain_id": "default"}})));
    refused(c.s.patch(&admin, &format!("/v3/users/{alice}"), json!({"user": {"enabled": false}})));
    refused(c.s.delete(&admin, &format!("/v3/users/{alice}")));
    refused(c.s.post(&admin, "/v3/groups", json!({"group": {"name": "new", "domain_id": "default"}})));
    refused(c.s.patch(&admin, &format!("/v3/groups/{group}"), json!({"group": {"description": "x"}})));
    refused(c.s.delete(&admin, &format!("/v3/groups/{group}")));
    refused(c.s.put(&admin, &format!("/v3/groups/{group}/users/{}", c.bob)));
    refused(c.s.delete(&admin, &format!("/v3/groups/{group}/users/{alice}")));
}

#[test]
fn a_user_without_a_directory_is_who_the_rows_say() {
    // As a Keystone leaves one whose driver is another now.
    let c = Cast::with(INI);
    let token = c.s.on("alice", &c.p);
    c.s.sql_run("DELETE FROM local_user WHERE user_id = ?", args![&c.alice]);
    c.s.sql_run(
        "INSERT INTO nonlocal_user (domain_id, name, user_id) VALUES ('default', 'alice', ?)",
        args![&c.alice],
    );
    c.s.get(&token, &format!("/v3/users/{}", c.alice)).expect(200);
    c.s.sql_run(
        "INSERT INTO id_mapping (public_id, domain_id, local_id, entity_type) VALUES (?, 'default', 'alice', 'user')",
        args![&c.alice],
    );
    c.s.get(&token, &format!("/v3/users/{}", c.alice)).expect(200);
    serve(&c, "default");
    away(c.s.get(&token, &format!("/v3/users/{}", c.alice)));
}

#[test]
fn whose_domain_has_no_directory_any_more_is_nobody_and_can_be_deleted() {
    let c = Cast::with(INI);
    let (token, admin) = (c.s.on("alice", &c.p), c.s.admin());
    let trust = c.trust(json!({}));
    alice_moves(&c);
    c.s.sql_run("DELETE FROM whitelisted_config WHERE domain_id = 'default'", &[]);
    c.s.validate(&token).expect(200);
    c.s.consume("bob", &trust).expect(201);
    c.s.clock.advance(SPAN);
    let path = format!("/v3/users/{}", c.alice);
    c.s.validate(&token).expect(404);
    c.s.get(&token, &path).expect(401);
    c.s.consume("bob", &trust).expect(401);
    assert_eq!(c.s.get(&admin, &path).expect(200).body["user"]["name"], "alice");
    c.s.delete(&admin, &path).expect(204);
    c.s.get(&admin, &path).expect(404);
}

#[test]
fn a_colleague_takes_over_from_who_has_left_and_not_from_whom_nothing_is_known_of() {
    let c = Cast::with(INI);
    let erin = c.s.user("erin");
    c.s.grant(&erin, &c.p, "member");
    let [first, ..] = c.chain();
    let erins = c.s.on("erin", &c.p);
    alice_moves(&c);
    let adopt = || c.s.post(&erins, &format!("/v3/OS-TRUST/trusts/{first}/adopt"), json!({}));
    adopt().expect(403);
    c.s.clock.advance(SPAN);
    away(adopt());
    read_now(&c, true);
    adopt().expect(403);
    c.s.sql_run("UPDATE \"user\" SET enabled = ? WHERE id = ?", args![false, &c.alice]);
    let adopted = adopt().expect(200).body["trust"].clone();
    assert_eq!(adopted["adopted_by"]["user_id"], erin.as_str());
    // From here on it rests on nobody of a directory.
    c.s.clock.advance(SPAN);
    c.s.get(&erins, &format!("/v3/OS-TRUST/trusts/{first}")).expect(200);
}

#[test]
fn what_a_user_of_a_directory_took_over_rests_on_what_is_said_of_them() {
    let c = Cast::with(INI);
    c.s.grant(&c.bob, &c.p, "member");
    let ask = c.ask(json!({"trustor_user_id": c.bob, "trustee_user_id": c.carol}));
    let made = c.s.post(&c.s.on("bob", &c.p), "/v3/OS-TRUST/trusts", ask).expect(201);
    let trust = made.body["trust"]["id"].as_str().expect("an id").to_owned();
    let (carol, alices) = (c.s.unscoped("carol"), c.s.on("alice", &c.p));
    alice_moves(&c);
    c.s.sql_run("UPDATE \"user\" SET enabled = ? WHERE id = ?", args![false, &c.bob]);
    c.s.post(&alices, &format!("/v3/OS-TRUST/trusts/{trust}/adopt"), json!({})).expect(200);
    c.s.clock.advance(SECOND);
    let consumed = || {
        let auth = json!({
            "identity": {"methods": ["token"], "token": {"id": carol}},
            "scope": {"OS-TRUST:trust": {"id": trust}},
        });
        c.s.auth(auth)
    };
    let sweep = || c.s.runtime.block_on(vicar::reaper::sweep(&c.s.app)).expect("sweeps");
    let name = |answer: Answer| answer.expect(201).body["token"]["user"]["name"].clone();
    assert_eq!(name(consumed()), "bob");
    for is_there in [true, false, true] {
        c.s.clock.advance(SPAN);
        consumed().expect(401);
        assert_eq!(sweep().ended, 0);
        if is_there {
            comes_back(&c);
        }
        read_now(&c, is_there);
        match is_there {
            true => assert_eq!(name(consumed()), "bob"),
            false => drop(consumed().expect(401)),
        }
        assert_eq!(sweep().ended, 0);
    }
}

#[test]
fn what_is_explained_rests_on_what_is_known_now() {
    let c = Cast::with(INI);
    let (trust, own, admin) = (c.trust(json!({})), c.s.on("alice", &c.p), c.s.admin());
    alice_moves(&c);
    let explain =
        |token: &str, question: &Value| c.s.post(token, "/v3/auth/explain", json!({ "explain": question }));
    let allowed = |answer: Answer| answer.expect(200).body["explanation"]["allowed"].clone();
    let look = json!({"method": "GET", "path": format!("/v3/users/{}", c.alice)});
    let questions =
        [look.clone(), json!({"subject": {"trust_id": trust}}), json!({"subject": {"token": own}})];
    for question in &questions {
        assert_eq!(allowed(explain(&admin, question)), true, "{question}");
    }
    c.s.clock.advance(SPAN);
    // As the request itself, it is answered when the directory is asked.
    away(explain(&admin, &look));
    away(explain(&admin, &questions[2]));
    away(explain(&own, &json!({})));
    assert_eq!(allowed(explain(&admin, &questions[1])), false);
    read_now(&c, false);
    assert_eq!(allowed(explain(&admin, &look)), false);
}

/// What a directory says of the domain `default`.
fn reads(c: &Cast) -> Reads<'static> {
    Reads { domain: "default", at: c.s.clock.now(), span: SPAN, is_whole: false }
}

fn entry(local: &str) -> User {
    User {
        local: local.into(),
        dn: format!("uid={local},ou=x"),
        name: local.into(),
        enabled: true,
        mail: None,
        description: None,
        default_project: None,
    }
}

/// Whether each of these is there when they are read together.
fn are_there(c: &Cast, found: &[User]) -> Vec<bool> {
    let all: Vec<(User, Vec<Group>)> = found.iter().map(|user| (user.clone(), vec![])).collect();
    let ids = c.s.runtime.block_on(reads(c).users(&c.s.app.store, &all, &[])).expect("stores");
    found.iter().map(|user| ids.contains_key(&user.local)).collect()
}

#[test]
fn two_entries_are_never_one_user() {
    let c = Cast::with(INI);
    serve(&c, "default");
    let are_alike = c.s.app.store.dialect() == Dialect::Mysql;
    let second = !are_alike;
    for (first, others) in [("j\u{fc}rgen", ["jurgen", "J\u{dc}RGEN"]), ("ann", ["ann ", "\u{e4}nn"])] {
        assert_eq!(are_there(&c, &[entry(first)]), [true]);
        // The one that is known stays who they are, and who comes with them is there.
        let found = [entry(others[0]), entry(first), entry(others[1]), entry(&format!("{first}2"))];
        assert_eq!(are_there(&c, &found), [second, true, second, true], "{first}");
        let sql = "SELECT COUNT(*) FROM id_mapping WHERE public_id IN
                     (SELECT user_id FROM nonlocal_user WHERE domain_id = 'default')";
        assert_ne!(c.s.sql_text(sql, &[]).as_deref(), Some("0"));
    }
    let group = |local: &str| Group { local: local.into(), name: local.into(), description: None };
    let groups = ["staff", "STAFF", "st\u{e4}ff"].map(|local| (group(local), vec![]));
    let whole = Whole { users: vec![], groups: groups.into() };
    c.s.runtime.block_on(reads(&c).whole(&c.s.app.store, whole)).expect("stores");
    let stored = "SELECT 1 FROM id_mapping WHERE entity_type = 'group'";
    assert_eq!(count(&c.s, stored, &[]), if are_alike { 1 } else { 3 });
}

#[test]
fn what_cannot_be_stored_of_one_entry_stops_no_other() {
    let c = Cast::with(INI);
    serve(&c, "default");
    let smile = "\u{1f600}";
    let described = |local: &str, text: String| User { description: Some(text), ..entry(local) };
    let found = [entry("a"), described("b", smile.into()), described("c", "x".repeat(70_000)), entry("d")];
    assert_eq!(are_there(&c, &found), [true; 4]);
    // Whether one is there whose id has such characters is the engine's affair, and nobody else's.
    let there =
        are_there(&c, &[entry("e"), entry(smile), User { name: smile.into(), ..entry("f") }, entry("g")]);
    assert_eq!((there[0], there[3]), (true, true));
    let group = |local: &str, text: &str| Group {
        local: local.into(),
        name: local.into(),
        description: Some(text.into()),
    };
    let groups = [(group("g", smile), vec!["a".into()]), (group("h", &"x".repeat(70_000)), vec![])];
    let whole = Whole { users: vec![entry("a")], groups: groups.into() };
    c.s.runtime.block_on(reads(&c).whole(&c.s.app.store, whole)).expect("stores");
    assert_eq!(count(&c.s, "SELECT 1 FROM \"group\" WHERE name IN ('g', 'h')", &[]), 2);
    assert_eq!(count(&c.s, "SELECT user_id FROM nonlocal_user WHERE name = 'a'", &[]), 1);
}

#[test]
fn nobody_of_a_directory_gets_the_account_of_who_came_through_a_provider() {
    use vicar_rules::directory::{Kind, public_id};
    let c = Cast::with(INI);
    serve(&c, "default");
    let id = public_id("default", Kind::User, "zoe");
    for sql in [
        "INSERT INTO \"user\" (id, extra, enabled, domain_id) VALUES (?, '{}', TRUE, 'default')",
        "INSERT INTO federated_user (user_id, idp_id, protocol_id, unique_id, display_name) VALUES (?, 'p', 'm', 'zoe', 'zoe')",
    ] {
        if sql.contains("federated") {
            c.s.sql_run(
                "INSERT INTO identity_provider (id, enabled, domain_id) VALUES ('p', TRUE, 'default')",
                &[],
            );
            c.s.sql_run(
                "INSERT INTO federation_protocol (id, idp_id, mapping_id) VALUES ('m', 'p', 'x')",
                &[],
            );
        }
        c.s.sql_run(sql, args![&id]);
    }
    assert_eq!(are_there(&c, &[entry("yan"), entry("zoe")]), [true, false]);
    assert_eq!(count(&c.s, "SELECT 1 FROM id_mapping WHERE public_id = ?", args![&id]), 0);
    assert_eq!(count(&c.s, "SELECT 1 FROM nonlocal_user WHERE user_id = ?", args![&id]), 0);
    assert_eq!(count(&c.s, "SELECT 1 FROM federated_user WHERE user_id = ?", args![&id]), 1);
}

#[test]
fn a_directory_is_read_for_those_who_may_look_at_its_groups() {
    let c = Cast::with(INI);
    let group = c.s.group("staff", "default", &[]);
    let (alice, admin) = (c.s.on("alice", &c.p), c.s.admin());
    serve(&c, "default");
    for (id, kind) in [(group.as_str(), "group"), ("gone", "group")] {
        c.s.sql_run(
            "INSERT INTO id_mapping (public_id, domain_id, local_id, entity_type) VALUES (?, 'default', ?, ?)",
            args![id, id, kind],
        );
        for path in [format!("/v3/groups/{id}"), format!("/v3/groups/{id}/users")] {
            c.s.get(&alice, &path).expect(403);
            away(c.s.get(&admin, &path));
        }
    }
    // Of a grant too, whose routes say of other groups that they are not there before anybody is asked.
    let role = c.s.role("member");
    for base in ["/v3", "/v3/OS-INHERIT"] {
        let end = if base == "/v3" { "" } else { "/inherited_to_projects" };
        let path = format!("{base}/projects/{}/groups/gone/roles/{role}{end}", c.p);
        c.s.put(&alice, &path).expect(403);
        c.s.head(&alice, &path).expect(403);
        away(c.s.put(&admin, &path));
        c.s.delete(&admin, &path).expect(404);
    }
}
