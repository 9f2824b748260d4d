//! The memory: a server that remembers, its replica and a twin that remembers nothing answer alike, whatever is changed by
//! whomever.

use serde_json::{Value as Json, json};
use vicar::args;
use vicar::auth::fernet::PayloadScope;
use vicar::clock::SECOND;
use vicar::crypto::keys::files;
use vicar::store::{DateTime, Id, Value};

use crate::support::{Answer, Cast, START, Server};

/// A change of rows that somebody makes who knows nothing of this server.
struct Change {
    sql: &'static str,
    args: Vec<Value>,
}

fn change(sql: &'static str, args: &[Value]) -> Change {
    Change { sql, args: args.to_vec() }
}

/// The three of them, and what they are asked.
struct Three {
    c: Cast,
    replica: Server,
    twin: Server,
    tokens: Vec<String>,
    paths: Vec<String>,
}

impl Three {
    fn new() -> Self {
        let c = Cast::new();
        let s = &c.s;
        let [first, second, third] = c.chain();
        let group = s.post(&s.admin(), "/v3/groups", json!({"group": {"name": "crew"}})).expect(201);
        let group = group.body["group"]["id"].as_str().expect("an id").to_owned();
        s.put(&s.admin(), &format!("/v3/groups/{group}/users/{}", c.carol)).expect(204);
        let on_q = format!("/v3/projects/{}/groups/{group}/roles/{}", c.q, s.role("reader"));
        s.put(&s.admin(), &on_q).expect(204);
        let consumed = |user: &str, trust: &str| s.consume(user, trust).expect(201).token();
        let mut tokens = vec![
            s.on("alice", &c.p),
            s.on("alice", &c.q),
            s.on("carol", &c.q),
            s.unscoped("bob"),
            consumed("bob", &first),
            consumed("carol", &second),
            consumed("dave", &third),
            c.svc(),
        ];
        let pair = c.keypair(&consumed("carol", &second), &c.alice, json!({})).expect(201);
        tokens.push(c.exchange(c.signed(&pair.body["credential"])).expect(200).token());
        let credential =
            json!({"application_credential": {"name": "of alice", "roles": [{"name": "member"}]}});
        let path = format!("/v3/users/{}/application_credentials", c.alice);
        let made = s.post(&tokens[0], &path, credential).expect(201).body["application_credential"].clone();
        tokens.push(
            s.auth(json!({"identity": {
                "methods": ["application_credential"],
                "application_credential": {"id": made["id"], "secret": made["secret"]},
            }}))
            .expect(201)
            .token(),
        );
        let paths = [
            format!("/v3/users/{}", c.alice),
            format!("/v3/projects/{}?parents_as_list", c.p),
            format!("/v3/OS-TRUST/trusts/{second}"),
            format!("/v3/role_assignments?effective&user.id={}", c.alice),
            "/v3/auth/catalog".into(),
        ];
        let (replica, twin) = (s.replica(), s.twin());
        Self { replica, twin, tokens, paths: paths.into(), c }
    }

    /// All of it, from one server.
    fn answers(&self, of: &Server, admin: &str) -> Vec<(u16, Json)> {
        let of_tokens = self.tokens.iter().map(|token| {
            of.call("GET", "/v3/auth/tokens", &[("X-Auth-Token", admin), ("X-Subject-Token", token)], None)
        });
        let own = self.tokens.iter().take(2).map(|token| of.get(token, "/v3/auth/projects"));
        let plain = self.paths.iter().map(|path| of.get(admin, path));
        let said = |answer: Answer| {
            let text = answer.body.to_string().replace(&of.url, "").replace(&self.c.s.url, "");
            (answer.status, serde_json::from_str(&text).expect("JSON"))
        };
        of_tokens.chain(own).chain(plain).map(said).collect()
    }

    /// Compares; returns how many answers are other than before.
    fn compare(&self, admin: &str, after: &str, last: &mut Vec<(u16, Json)>) -> usize {
        let right = self.answers(&self.twin, admin);
        // Twice: what was read for the first is remembered for the second.
        let (server, replica) = (("the server", &self.c.s), ("its replica", &self.replica));
        for (name, server) in [server, replica, server] {
            for (n, (got, right)) in self.answers(server, admin).iter().zip(&right).enumerate() {
                assert_eq!(got, right, "{name}, answer {n}, after {after}");
            }
        }
        let changed = right.iter().zip(last.iter()).filter(|(now, before)| now != before).count();
        *last = right;
        changed
    }

    /// Changes, each with what takes it back.
    fn changes(&self) -> Vec<[Change; 2]> {
        let (c, s) = (&self.c, &self.c.s);
        let id = |text: &str| Value::from(Id(text));
        let flag = |sql, of: &str| [change(sql, args![false, id(of)]), change(sql, args![true, id(of)])];
        let named = |sql, of: &str, name: &str| {
            [change(sql, args!["another name", id(of)]), change(sql, args![name, id(of)])]
        };
        let member = s.role("member");
        let mut all = vec![
            flag("UPDATE \"user\" SET enabled = ? WHERE id = ?", &c.alice),
            flag("UPDATE \"user\" SET enabled = ? WHERE id = ?", &c.carol),
            flag("UPDATE project SET enabled = ? WHERE id = ?", &c.p),
            flag("UPDATE project SET enabled = ? WHERE id = ?", &c.q),
            flag("UPDATE service SET enabled = ? WHERE id <> ?", "none"),
            named("UPDATE local_user SET name = ? WHERE user_id = ?", &c.alice, "alice"),
            named("UPDATE project SET name = ? WHERE id = ?", &c.p, "P"),
            named("UPDATE project SET name = ? WHERE id = ?", "default", "Default"),
            named("UPDATE role SET name = ? WHERE id = ?", &member, "member"),
            named("UPDATE endpoint SET url = ? WHERE id <> ?", "none", "http://a.example/v3"),
            [
                change(
                    "UPDATE password SET expires_at_int = ? WHERE local_user_id IN
                       (SELECT l.id FROM local_user l WHERE l.user_id = ?)",
                    args![4_000_000_000_000_000_i64, id(&c.alice)],
                ),
                change(
                    "UPDATE password SET expires_at_int = ? WHERE local_user_id IN
                       (SELECT l.id FROM local_user l WHERE l.user_id = ?)",
                    args![Value::Null, id(&c.alice)],
                ),
            ],
            [
                change(
                    "DELETE FROM assignment WHERE actor_id = ? AND target_id = ? AND role_id = ?",
                    args![id(&c.alice), id(&c.p), id(&member)],
                ),
                change(
                    "INSERT INTO assignment (type, actor_id, target_id, role_id, inherited)
                     VALUES ('UserProject', ?, ?, ?, ?)",
                    args![&c.alice, &c.p, &member, false],
                ),
            ],
            [
                change(
                    "INSERT INTO assignment (type, actor_id, target_id, role_id, inherited)
                     VALUES ('UserDomain', ?, 'default', ?, ?)",
                    args![&c.alice, s.role("reader"), true],
                ),
                change(
                    "DELETE FROM assignment WHERE actor_id = ? AND target_id = 'default'",
                    args![id(&c.alice)],
                ),
            ],
            [
                change("DELETE FROM user_group_membership WHERE user_id = ?", args![id(&c.carol)]),
                change(
                    "INSERT INTO user_group_membership (user_id, group_id)
                     SELECT ?, g.id FROM \"group\" g WHERE g.name = 'crew'",
                    args![&c.carol],
                ),
            ],
            [
                change(
                    "INSERT INTO implied_role (prior_role_id, implied_role_id) VALUES (?, ?)",
                    args![&member, s.role("heat_stack_owner")],
                ),
                change(
                    "DELETE FROM implied_role WHERE prior_role_id = ? AND implied_role_id = ?",
                    args![id(&member), id(&s.role("heat_stack_owner"))],
                ),
            ],
            [
                change("UPDATE role_option SET option_value = 'false' WHERE role_id = ?", args![id(&member)]),
                change("UPDATE role_option SET option_value = 'true' WHERE role_id = ?", args![id(&member)]),
            ],
            [
                change(
                    "INSERT INTO service_provider (id, auth_url, sp_url, enabled, relay_state_prefix)
                     VALUES ('sp', 'https://a.example', 'https://b.example', ?, 'ss')",
                    args![true],
                ),
                change("DELETE FROM service_provider WHERE auth_url = 'https://a.example'", args![]),
            ],
            [
                change(
                    "INSERT INTO revocation_event (user_id, project_id, issued_before, revoked_at) VALUES (?, ?, ?, ?)",
                    args![&c.alice, &c.q, DateTime(crate::support::START), DateTime(crate::support::START)],
                ),
                change(
                    "DELETE FROM revocation_event WHERE user_id = ? AND project_id = ?",
                    args![id(&c.alice), id(&c.q)],
                ),
            ],
            [
                change(
                    "INSERT INTO revocation_event (domain_id, issued_before, revoked_at) VALUES ('default', ?, ?)",
                    args![DateTime(crate::support::START - SECOND), DateTime(crate::support::START - SECOND)],
                ),
                change("DELETE FROM revocation_event WHERE domain_id = 'default'", args![]),
            ],
            [
                change("UPDATE trust SET remaining_uses = 3 WHERE trustee_user_id = ?", args![id(&c.carol)]),
                change(
                    "UPDATE trust SET remaining_uses = NULL WHERE trustee_user_id = ?",
                    args![id(&c.carol)],
                ),
            ],
            [
                change(
                    "UPDATE trust SET deleted_at = ? WHERE trustee_user_id = ?",
                    args![DateTime(crate::support::START), id(&c.bob)],
                ),
                change("UPDATE trust SET deleted_at = NULL WHERE trustee_user_id = ?", args![id(&c.bob)]),
            ],
            [
                change(
                    "INSERT INTO vicar_delegation_policy (holder_id, kind, policy) VALUES (?, 'project', ?)",
                    args![&c.p, r#"{"max_depth": 0, "applies_to_existing": true}"#],
                ),
                change("DELETE FROM vicar_delegation_policy WHERE holder_id = ?", args![id(&c.p)]),
            ],
            [
                change(
                    "INSERT INTO vicar_delegation_policy (holder_id, kind, policy) VALUES (?, 'user', ?)",
                    args![&c.alice, r#"{"keypairs": false, "applies_to_existing": true}"#],
                ),
                change("DELETE FROM vicar_delegation_policy WHERE kind = 'user'", args![]),
            ],
            [
                change("UPDATE vicar_keypair SET roles = '[]' WHERE access <> ''", args![]),
                change("UPDATE vicar_keypair SET roles = NULL WHERE access <> ''", args![]),
            ],
            [
                change(
                    "UPDATE application_credential SET project_id = ? WHERE name = 'of alice'",
                    args![&c.q],
                ),
                change(
                    "UPDATE application_credential SET project_id = ? WHERE name = 'of alice'",
                    args![&c.p],
                ),
            ],
            [
                change("DELETE FROM application_credential_role WHERE role_id = ?", args![id(&member)]),
                change(
                    "INSERT INTO application_credential_role (application_credential_id, role_id)
                     SELECT a.internal_id, ? FROM application_credential a WHERE a.name = 'of alice'",
                    args![&member],
                ),
            ],
        ];
        // Without their rows at last, one by one.
        let gone =
            |sql, args: &[Value]| [change(sql, args), change("DELETE FROM service WHERE type = 'none'", &[])];
        all.push(gone("DELETE FROM trust_role WHERE role_id = ?", args![id(&member)]));
        all.push(gone("DELETE FROM credential WHERE user_id = ?", args![id(&c.alice)]));
        all.push(gone("DELETE FROM application_credential_role WHERE role_id <> 'none'", args![]));
        all.push(gone("DELETE FROM \"user\" WHERE id = ?", args![id(&c.dave)]));
        all.push(gone("DELETE FROM project WHERE id = ?", args![id(&c.p)]));
        all
    }
}

#[test]
fn memory_and_its_twin_answer_alike_after_every_change() {
    let three = Three::new();
    let admin = three.c.s.admin();
    let mut last = Vec::new();
    three.compare(&admin, "the beginning", &mut last);
    for (n, (status, body)) in last.iter().enumerate() {
        // An exchanged keypair's token is no caller here.
        assert!(matches!(status, 200 | 403), "answer {n}: {status} {body}");
    }
    let mut quiet = Vec::new();
    for [there, back] in three.changes() {
        for change in [there, back] {
            three.c.s.sql_run(change.sql, &change.args);
            if three.compare(&admin, change.sql, &mut last) == 0 {
                quiet.push(change.sql);
            }
        }
    }
    // What changes no answer proves nothing. Two are of no account here, and those at the end take nothing back.
    quiet.retain(|sql| !sql.ends_with("type = 'none'"));
    assert!(quiet.len() < 8, "{quiet:#?}");
    let counts = three.c.s.app.store.memory_counts().expect("it remembers");
    assert!(counts.hits.get() > 1000 && counts.changes.get() > 20, "{counts:?}");
}

#[test]
fn memory_is_off_without_triggers_and_on_again_with_them() {
    let s = Server::start();
    let admin = s.admin();
    let counts = s.app.store.memory_counts().expect("it remembers").clone();
    let hits = || {
        let before = counts.hits.get();
        for _ in 0..3 {
            s.validate(&admin).expect(200);
        }
        counts.hits.get() - before
    };
    assert!(hits() > 0);
    let store = s.another_store();
    s.runtime.block_on(vicar::store::memory::remove(&store)).expect("removes");
    assert_eq!(hits(), 0);
    // Nobody writes it down.
    s.sql_run("UPDATE \"user\" SET enabled = ? WHERE id <> 'none'", args![false]);
    s.call("GET", "/v3/auth/tokens", &[("X-Auth-Token", &admin), ("X-Subject-Token", &admin)], None)
        .expect(401);
    s.runtime.block_on(vicar::store::memory::install(&store)).expect("installs");
    s.sql_run("UPDATE \"user\" SET enabled = ? WHERE id <> 'none'", args![true]);
    // It looks again after a second.
    let started = std::time::Instant::now();
    while hits() == 0 {
        assert!(started.elapsed().as_secs() < 30, "it stays off");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn memory_ends_with_time_to_the_instant() {
    const DAY: i64 = 86_400 * SECOND;
    let ini = "[token]\nexpiration = 864000\n[security_compliance]\ndisable_user_account_days_inactive = 3";
    let c = Cast::with(ini);
    let s = &c.s;
    let exempt = |user: &str| {
        let sql = "INSERT INTO user_option (user_id, option_id, option_value) VALUES (?, '1004', 'true')";
        s.sql_run(sql, args![user]);
    };
    s.grant(&c.carol, &c.p, "member");
    let admin = s.admin();
    let admin_id =
        s.validate(&admin).expect(200).body["token"]["user"]["id"].as_str().expect("an id").to_owned();
    for user in [&admin_id, &c.alice, &c.bob, &c.dave] {
        exempt(user);
    }
    let [first, second, _] = c.chain();
    let consumed = |user: &str, trust: &str| s.consume(user, trust).expect(201).token();
    let of_carol = s.on("carol", &c.p);
    let (of_first, of_second) = (consumed("bob", &first), consumed("carol", &second));
    let pair = c.keypair(&of_first, &c.alice, json!({})).expect(201).body["credential"].clone();
    let of_pair = c.exchange(c.signed(&pair)).expect(200).token();
    c.application_credential(&"c".repeat(32));
    let of_credential = c.foreign_token(
        &c.alice,
        &["application_credential"],
        PayloadScope::ApplicationCredential(c.p.clone(), "c".repeat(32)),
    );
    let own = c.foreign_token(&c.alice, &["password"], PayloadScope::Project(c.p.clone()));
    // A membership for a time, with a role where nothing else is held.
    let group = s.post(&admin, "/v3/groups", json!({"group": {"name": "crew"}})).expect(201);
    let group = group.body["group"]["id"].as_str().expect("an id").to_owned();
    s.put(&admin, &format!("/v3/projects/{}/groups/{group}/roles/{}", c.q, s.role("reader"))).expect(204);
    s.sql_run(
        "INSERT INTO identity_provider (id, enabled, domain_id, authorization_ttl) VALUES ('idp', ?, 'default', 20)",
        args![true],
    );
    s.sql_run(
        "INSERT INTO expiring_user_group_membership (user_id, group_id, idp_id, last_verified) VALUES (?, ?, 'idp', ?)",
        args![&c.dave, &group, DateTime(START)],
    );
    let of_membership = s.on("dave", &c.q);
    // Ends that somebody else sets, after the tokens were issued.
    let at = |seconds: i64| START + seconds * SECOND;
    s.sql_run("UPDATE vicar_keypair SET expires_at = ? WHERE trust_id = ?", args![at(100), Id(&first)]);
    s.sql_run(
        "UPDATE application_credential SET expires_at = ? WHERE id = ?",
        args![at(200), Id(&"c".repeat(32))],
    );
    s.sql_run("UPDATE trust SET expires_at_int = ? WHERE id = ?", args![at(300), Id(&second)]);
    s.sql_run("UPDATE trust SET expires_at_int = ? WHERE id = ?", args![at(400), Id(&first)]);
    // They log in on the day on which the test begins.
    let disabled = (START / DAY + 3) * DAY;
    let ends = [
        ("the keypair's token", &of_pair, at(100)),
        ("the credential's", &of_credential, at(200)),
        ("that of the second link", &of_second, at(300)),
        ("that of the first", &of_first, at(400)),
        ("that of a membership", &of_membership, at(1200)),
        ("one by its own end", &own, at(3600)),
        ("that of somebody inactive", &of_carol, disabled),
    ];
    let (replica, twin) = (s.replica(), s.twin());
    let status = |of: &Server, token: &str| {
        of.call("GET", "/v3/auth/tokens", &[("X-Auth-Token", &admin), ("X-Subject-Token", token)], None)
            .status
    };
    let compare = || {
        for (what, token, end) in ends {
            let wanted = if s.clock.now() < end { 200 } else { 404 };
            for (name, of) in [("twin", &twin), ("server", s), ("replica", &replica), ("server again", s)] {
                let seconds = (s.clock.now() - START) / SECOND;
                assert_eq!(status(of, token), wanted, "{what} at the {name}, after {seconds} s");
            }
        }
    };
    compare();
    for (_, _, end) in ends {
        s.clock.advance(end - 1 - s.clock.now());
        compare();
        s.clock.advance(1);
        compare();
    }
    assert!(s.app.store.memory_counts().expect("it remembers").hits.get() > 100);
}

#[test]
fn a_question_that_finds_nothing_is_one_statement() {
    let c = Cast::new();
    c.chain();
    let asked = c.s.runtime.block_on(c.s.app.store.statements_of_a_question());
    assert_eq!(asked.expect("it is answered"), 1);
}

#[test]
fn a_keypair_is_forgotten_with_the_key_that_decrypts_it() {
    let c = Cast::new();
    let [_, second, _] = c.chain();
    let keypair =
        c.keypair(&c.s.consume("carol", &second).expect(201).token(), &c.alice, json!({})).expect(201);
    let keypair = keypair.body["credential"].clone();
    for _ in 0..3 {
        c.exchange(c.signed(&keypair)).expect(200);
    }
    for (_, file) in files(c.s.app.credential_keys.dir()).expect("a directory") {
        std::fs::write(file, vicar::ids::fernet_key()).expect("written");
    }
    // They are read again within half a second.
    let known = || c.exchange(c.signed(&keypair)).status == 200;
    let is_forgotten = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        !known()
    });
    assert!(is_forgotten, "it is still exchanged");
    c.exchange(c.signed(&keypair)).expect(401);
}
