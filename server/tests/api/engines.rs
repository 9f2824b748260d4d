//! What every engine must do alike, and what replicas do to each other on one database.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use vicar::args;
use vicar::clock::SECOND;
use vicar::store::memory;
use vicar::store::migrate::{self, VERSION};
use vicar::store::schema::Dialect;
use vicar::store::{Delete, Error, Id, Insert, Select, Statement, Store, Update};
use vicar::system::System;

use crate::database::Database;
use crate::support::{Cast, Server};

#[test]
fn an_id_is_found_as_it_is_written_and_not_otherwise() {
    let c = Cast::new();
    let admin = c.s.admin();
    for id in [c.bob.to_uppercase(), format!("{}%20", c.bob), format!("{}%00", c.bob), "%F0%9F%98%80".into()]
    {
        let path = format!("/v3/users/{id}");
        c.s.get(&admin, &path).expect(404);
        c.s.patch(&admin, &path, json!({"user": {"enabled": false}})).expect(404);
        c.s.delete(&admin, &path).expect(404);
    }
    c.s.get(&admin, &format!("/v3/users/{}", c.bob)).expect(200);
    let trust = c.trust(json!({}));
    c.s.consume("bob", &trust.to_uppercase()).expect(401);
    let token = c.s.consume("bob", &trust).expect(201).token();
    let keypair = c.keypair(&token, &c.alice, json!({})).expect(201).body["credential"].clone();
    let mut other = keypair.clone();
    other["access"] = keypair["access"].as_str().expect("an access").to_uppercase().into();
    c.exchange(c.signed(&other)).expect(401);
    c.exchange(c.signed(&keypair)).expect(200);
    let auth = json!({"identity": {"methods": ["password"], "password": {"user": {
        "id": c.bob.to_uppercase(), "password": "bob-pw"}}}});
    c.s.auth(auth).expect(401);
}

#[test]
fn what_no_database_can_hold_is_refused_by_name() {
    let c = Cast::new();
    let admin = c.s.admin();
    let role = |name: &str| c.s.post(&admin, "/v3/roles", json!({"role": {"name": name}}));
    role("n\0l").expect(400);
    role(&"n".repeat(256)).expect(400);
    // 255 characters are not 255 bytes.
    role(&"ö".repeat(255)).expect(201);
    let token = c.s.on("alice", &c.p);
    for (field, value) in [("remaining_uses", json!(1_i64 << 40)), ("redelegation_count", json!(1_i64 << 40))]
    {
        let answer = c.s.post(&token, "/v3/OS-TRUST/trusts", c.ask(json!({ field: value })));
        assert!((400..404).contains(&answer.status), "{field}: {}", answer.text);
    }
    let far =
        c.s.post(&token, "/v3/OS-TRUST/trusts", c.ask(json!({"expires_at": "9999-12-31T23:59:59.999999Z"})));
    assert!([201, 400].contains(&far.status), "{}", far.text);
    // What fits some and not others is kept or refused, and never our fault.
    for name in ["😀", "\u{1}", "a\u{301}", "\u{ffff}"] {
        let answer = role(name);
        assert!([201, 400].contains(&answer.status), "{name:?}: {}", answer.text);
    }
}

#[test]
fn after_an_error_a_transaction_is_over_on_every_engine() {
    let s = Server::start();
    s.runtime.block_on(async {
        let mut tx = s.app.store.write().await.expect("begins");
        let insert = "INSERT INTO vicar_replay (fingerprint, seen_until) VALUES (?, ?)";
        tx.raw(&System::CommandLine, insert, args!["one", 1_i64]).await.expect("inserts");
        assert!(matches!(
            tx.raw(&System::CommandLine, insert, args!["one", 1_i64]).await,
            Err(Error::Duplicate)
        ));
        assert!(matches!(
            tx.raw(&System::CommandLine, insert, args!["two", 1_i64]).await,
            Err(Error::Broken(_))
        ));
        assert!(tx.commit().await.is_err());
        let mut tx = s.app.store.read().await.expect("begins");
        assert!(!tx.exists("SELECT fingerprint FROM vicar_replay", args![]).await.expect("reads"));
    });
}

/// A node of Galera can do so without a word. Here the transaction itself does what looks the same.
#[test]
fn what_a_server_took_back_in_between_is_not_half_committed() {
    let s = Server::start();
    let store = &s.app.store;
    if store.dialect() != Dialect::Mysql {
        return;
    }
    let insert = "INSERT INTO vicar_replay (fingerprint, seen_until) VALUES (?, ?)";
    let others_turn = "UPDATE vicar_guard SET turn = turn + 1 WHERE id = ?";
    s.runtime.block_on(async {
        // Seen at once, when a statement has to be prepared.
        let mut tx = store.write().await.expect("begins");
        tx.raw(&System::CommandLine, insert, args!["one", 1_i64]).await.expect("inserts");
        assert!(matches!(tx.raw(&System::CommandLine, "ROLLBACK", args![]).await, Err(Error::Retry(_))));
        assert!(tx.commit().await.is_err());
        // Seen at the end, when none has.
        let mut tx = store.write().await.expect("begins");
        tx.raw(&System::CommandLine, insert, args!["two", 1_i64]).await.expect("inserts");
        tx.raw(&System::CommandLine, others_turn, args![2_i64]).await.expect("runs");
        tx.commit().await.expect("commits");
        let mut tx = store.write().await.expect("begins");
        tx.raw(&System::CommandLine, others_turn, args![1_i64]).await.expect("known by now");
        tx.raw(&System::CommandLine, insert, args!["three", 1_i64]).await.expect("inserts");
        assert!(matches!(tx.commit().await, Err(Error::Retry(_))));
        let mut tx = store.read().await.expect("begins");
        let there: Vec<String> =
            tx.column("SELECT fingerprint FROM vicar_replay", args![]).await.expect("reads");
        assert_eq!(there, ["two"]);
    });
}

#[test]
fn an_id_is_compared_by_bytes_and_a_name_as_the_database_does() {
    let s = Server::start();
    s.runtime.block_on(async {
        let mut tx = s.app.store.read().await.expect("begins");
        // A column that is called a name, so that the argument alone decides.
        for (condition, found) in [
            ("name = ?", [true, false]),
            ("name IN (?)", [true, false]),
            ("COALESCE(name, '') = ?", [true, false]),
            ("LOWER(name) <> 'admin' OR name <> ?", [false, true]),
        ] {
            let sql = format!(
                "SELECT 1 FROM role WHERE domain_id = '<<null>>' AND name = 'admin' AND ({condition})"
            );
            let is = [tx.exists(&sql, args![Id("admin")]).await, tx.exists(&sql, args![Id("ADMIN")]).await];
            assert_eq!(is.map(|is| is.expect(&sql)), found, "{condition}");
        }
        let as_name = "SELECT 1 FROM role WHERE name = ?";
        let alike = tx.exists(as_name, args!["ADMIN"]).await.expect("reads");
        assert_eq!(alike, s.app.store.dialect() == Dialect::Mysql);
        let mut q = Select::new("SELECT name FROM role");
        q.id_in("name", ["ADMIN", "admin", "Member"]);
        assert_eq!(q.map(&mut tx, |r| r.take::<String>()).await.expect("reads"), ["admin"]);
    });
}

#[test]
fn what_a_statement_knows_of_its_columns_decides_how_they_are_compared() {
    let s = Server::start();
    let id = s.user("someone");
    // As one runs it: the text with its arguments.
    let run = |statement: &dyn Statement| {
        statement.check(s.app.store.dialect()).expect("fits");
        let (sql, args) = statement.text_and_args();
        s.sql_run(&sql, &args);
    };
    let enabled = || s.sql_text("SELECT enabled FROM \"user\" WHERE id = ?", args![&id]);
    run(&Update::of("user").set("enabled", false).key("id", id.to_uppercase()));
    assert_eq!(enabled().as_deref(), Some("1"));
    run(&Update::of("user").set("enabled", false).key("id", &id).and("enabled = ?", args![true]));
    assert_eq!(enabled().as_deref(), Some("0"));
    let tag = |tag: &'static str| Insert::into("project_tag").set("project_id", "p").set("name", tag);
    s.sql_run(
        "INSERT INTO project (id, name, domain_id, is_domain) VALUES ('p', 'p', 'default', ?)",
        args![false],
    );
    run(&tag("a").row().set("project_id", "p").set("name", "b"));
    run(&Delete::from("project_tag").key("project_id", "P"));
    run(&Delete::from("project_tag").key("project_id", "p").key_in("name", ["a", "c"]));
    assert_eq!(
        s.sql_text("SELECT name FROM project_tag WHERE project_id = 'p'", args![]).as_deref(),
        Some("b")
    );
    run(&Delete::from("project_tag").key_in("project_id", ["p", "q"]));
    assert_eq!(s.sql_text("SELECT COUNT(*) FROM project_tag", args![]).as_deref(), Some("0"));
}

#[test]
fn the_count_of_a_change_is_of_rows_that_were_found() {
    let s = Server::start();
    s.runtime.block_on(async {
        let mut tx = s.app.store.write().await.expect("begins");
        tx.raw(
            &System::CommandLine,
            "INSERT INTO vicar_replay (fingerprint, seen_until) VALUES (?, ?)",
            args!["one", 1_i64],
        )
        .await
        .expect("inserts");
        let same = "UPDATE vicar_replay SET seen_until = ? WHERE fingerprint = ? AND seen_until = ?";
        assert_eq!(tx.raw(&System::CommandLine, same, args![1_i64, "one", 1_i64]).await.expect("runs"), 1);
        assert_eq!(tx.raw(&System::CommandLine, same, args![2_i64, "one", 2_i64]).await.expect("runs"), 0);
    });
}

#[test]
fn a_read_sees_one_instant_and_a_write_all_that_was_before() {
    let s = Server::start();
    s.runtime.block_on(async {
        let count = "SELECT COUNT(*) FROM vicar_replay";
        let mut read = s.app.store.read().await.expect("begins");
        let before: Vec<i64> = read.column(count, args![]).await.expect("reads");
        let mut write = s.app.store.write().await.expect("begins");
        write
            .raw(
                &System::CommandLine,
                "INSERT INTO vicar_replay (fingerprint, seen_until) VALUES (?, ?)",
                args!["x", 1_i64],
            )
            .await
            .expect("inserts");
        write.commit().await.expect("commits");
        assert_eq!(read.column::<i64>(count, args![]).await.expect("reads"), before);
        let mut write = s.app.store.write().await.expect("begins");
        assert_eq!(write.column::<i64>(count, args![]).await.expect("reads"), [before[0] + 1]);
    });
}

#[test]
fn uses_are_exact_over_replicas() {
    const USES: usize = 20;
    let c = Cast::new();
    let replicas = [c.s.replica(), c.s.replica()];
    let id = c.trust(json!({"remaining_uses": USES}));
    let (won, lost) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for i in 0..12 {
            let (replicas, id, won, lost) = (&replicas, &id, &won, &lost);
            scope.spawn(move || {
                for _ in 0..3 {
                    match replicas[i % 2].consume("bob", id).status {
                        201 => won.fetch_add(1, Ordering::SeqCst),
                        401 => lost.fetch_add(1, Ordering::SeqCst),
                        other => panic!("{other}"),
                    };
                }
            });
        }
    });
    assert_eq!((won.into_inner(), lost.into_inner()), (USES, 16));
    assert_eq!(c.s.sql_text("SELECT remaining_uses FROM trust", args![]).as_deref(), Some("0"));
}

#[test]
fn what_one_replica_ends_no_other_honours() {
    let c = Cast::new();
    let replica = c.s.replica();
    let id = c.trust(json!({}));
    let token = replica.consume("bob", &id).expect(201).token();
    replica.validate(&token).expect(200);
    c.s.delete(&c.s.on("alice", &c.p), &format!("/v3/OS-TRUST/trusts/{id}")).expect(204);
    replica.validate(&token).expect(404);
}

#[test]
fn who_was_in_the_way_is_waited_for_and_the_request_run_again() {
    let c = Cast::new();
    let Some(dialect) = c.s.engine() else { return };
    let admin = c.s.admin();
    let (path, user) = (format!("/v3/users/{}", c.carol), c.carol.clone());
    // Somebody who takes no guard, as a Keystone beside us, changes the row and keeps it for a while.
    let other =
        c.s.rival(&[&format!("UPDATE \"user\" SET extra = '{{\"by\": \"other\"}}' WHERE id = '{user}'")]);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| c.s.patch(&admin, &path, json!({"user": {"email": "c@x"}})));
        // Until the server waits for that row.
        let in_the_way = match dialect {
            Dialect::Mysql => {
                "SELECT 1 FROM information_schema.PROCESSLIST
                  WHERE DB = DATABASE() AND ID <> CONNECTION_ID() AND INFO LIKE 'UPDATE%user%'"
            }
            _ => {
                "SELECT 1 FROM pg_stat_activity
                  WHERE datname = current_database() AND wait_event_type = 'Lock'"
            }
        };
        let look = c.s.another_store();
        while !waiting.is_finished() {
            let found = c.s.runtime.block_on(async {
                look.read().await.expect("begins").exists(in_the_way, &[]).await.expect("reads")
            });
            if found {
                break;
            }
        }
        assert!(!waiting.is_finished(), "nobody was in the way");
        other.commit();
        waiting.join().expect("runs").expect(200);
    });
    let body = c.s.get(&admin, &path).expect(200).body;
    assert_eq!((&body["user"]["email"], &body["user"]["by"]), (&json!("c@x"), &json!("other")));
    let metrics = c.s.app.metrics.render();
    assert!(
        metrics.contains("\nvicar_database_connections_open ") && !metrics.contains("connections_open 0")
    );
    let ran_again = !metrics.contains("vicar_database_retries_total 0");
    // PostgreSQL says that the row has changed since the snapshot; MariaDB changes what is there now.
    assert!(ran_again || dialect == Dialect::Mysql, "{metrics}");
}

#[test]
fn a_schema_is_brought_up_and_a_newer_one_is_served() {
    let s = Server::start();
    // As version 1 left it.
    s.runtime.block_on(memory::remove(&s.another_store())).expect("removes the triggers");
    for sql in [
        "DROP TABLE vicar_change",
        "DROP TABLE vicar_tick",
        "DROP TABLE vicar_guard",
        "ALTER TABLE vicar_schema DROP COLUMN serves_from",
        "DELETE FROM vicar_schema WHERE version > 1",
    ] {
        s.change(sql);
    }
    let store = s.another_store();
    let state = |store: &Store| {
        let store = store.clone();
        s.runtime.block_on(async move {
            migrate::state(&mut store.read().await.expect("begins")).await.expect("reads")
        })
    };
    let sync = |store: &Store| {
        let store = store.clone();
        s.runtime.block_on(async move { migrate::sync(&store, SECOND).await })
    };
    assert!(!state(&store).is_current() && state(&store).own == Some(1));
    assert!(sync(&store).expect("brings it up"));
    assert!(state(&store).is_current());
    assert!(!sync(&store).expect("nothing to do"));
    s.admin();
    // The next version expands: this one goes on, and leaves it as it is.
    let step = |from: i64| {
        let insert = "INSERT INTO vicar_schema (version, applied_at, serves_from) VALUES (?, ?, ?)";
        s.sql_run(insert, args![from + 1, vicar::store::DateTime(SECOND), from]);
    };
    step(VERSION);
    assert!(state(&store).is_current() && !sync(&store).expect("nothing to do"));
    s.admin();
    // The one after removes what this one needs.
    step(VERSION + 1);
    assert!(!state(&store).is_current() && state(&store).is_too_new());
    assert!(matches!(sync(&store), Err(Error::Broken(_))));
    s.sql_run("DELETE FROM vicar_schema WHERE version > ?", args![VERSION]);
}

#[test]
fn many_make_the_schema_at_once() {
    let Some(database) = Database::bare() else { return };
    let made = std::thread::scope(|scope| {
        let one = || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(async {
                let settings = vicar::store::url::Settings::of(database.location());
                migrate::sync(&Store::open(&settings).expect("opens"), SECOND).await.expect("makes it")
            })
        };
        let all: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|t| t.join().expect("runs")).filter(|made| *made).count()
    });
    assert!(made >= 1);
}
