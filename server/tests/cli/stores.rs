//! The database of a Keystone that was there before: which are taken, and that none is touched by a command that is
//! refused, for whatever reason.

use rusqlite::Connection;

use super::*;

const FERNET: &str = "fernet-keys";
const CREDENTIAL: &str = "credential-keys";

/// On the file itself: the program's own store would leave a log beside it.
fn direct(s: &Scratch) -> Connection {
    Connection::open(s.data().join("vicar.db")).expect("opens")
}

fn names(s: &Scratch, query: &str) -> Vec<String> {
    let db = direct(s);
    let mut statement = db.prepare(query).expect("prepared");
    let names = statement.query_map([], |row| row.get(0)).expect("runs");
    names.map(|name| name.expect("text")).collect()
}

/// Takes away what is ours, and leaves the file as SQLAlchemy does: without a log.
fn leave_to_keystone(s: &Scratch) {
    let ours = "SELECT 'DROP ' || type || ' ' || name FROM sqlite_master WHERE type IN ('table', 'index')
                   AND (name LIKE 'vicar\\_%' ESCAPE '\\' OR name LIKE 'ix\\_vicar\\_%' ESCAPE '\\')
                 ORDER BY type";
    let drops = names(s, ours).join(";");
    direct(s).execute_batch(&format!("{drops}; PRAGMA journal_mode = delete")).expect("dropped");
}

/// A live Keystone's database and keys.
fn live() -> Scratch {
    let s = keystones("");
    leave_to_keystone(&s);
    s
}

/// One that `keystone-manage db_sync` has made, and nobody filled. There are no keys.
fn unfilled() -> Scratch {
    let s = Scratch::new();
    s.config("");
    expect(&run(&s, &["db", "sync"]), 0, "");
    leave_to_keystone(&s);
    s
}

/// Another line in the configuration, or another value of an option that is there: the last one counts.
fn add(s: &Scratch, ini: &str) {
    let now = std::fs::read_to_string(s.path("vicar.conf")).expect("read");
    std::fs::write(s.path("vicar.conf"), format!("{now}{ini}\n")).expect("written");
}

fn set_marks(s: &Scratch, marks: &[&str]) {
    let db = direct(s);
    db.execute("DELETE FROM alembic_version", []).expect("deleted");
    for mark in marks {
        db.execute("INSERT INTO alembic_version (version_num) VALUES (?)", [mark]).expect("inserted");
    }
}

/// Runs a command that must be refused, and compares every file before and after.
#[track_caller]
fn refused(s: &Scratch, args: &[&str], code: i32, says: &str) {
    let before = contents(&s.0);
    expect(&run(s, args), code, says);
    assert!(contents(&s.0) == before, "{args:?} changed something");
}

const START: [&str; 5] = FIRST_START;

fn bad_policy(s: &Scratch) {
    let file = s.file("broken.yaml", "\"identity:get_user\": \"role:x\n");
    add(s, &format!("[oslo_policy]\npolicy_file = {file}"));
}

#[test]
fn stored_logins_that_would_be_missed_refuse_the_start_unless_that_is_accepted() {
    let s = live();
    let store = |sql: &str| direct(&s).execute_batch(sql).expect("inserted");
    store(
        "INSERT INTO identity_provider (id, enabled, domain_id) VALUES ('idp', 1, 'default');
           INSERT INTO federation_protocol (id, idp_id, mapping_id) VALUES ('mapped', 'idp', 'm')",
    );
    refused(&s, &START, 3, "To start all the same: --accept federation");
    store(
        "DELETE FROM federation_protocol;
           INSERT INTO whitelisted_config VALUES ('default', 'identity', 'driver', '\"mine\"')",
    );
    add(&s, "[identity]\ndomain_configurations_from_database = true");
    refused(&s, &START, 3, "(default). To start all the same: --accept domain-configs");
    let config = s.path("vicar.conf").display().to_string();
    drop(serve(&s, &["--config-file", &config, "--accept", "domain-configs"], &[]));
    expect(&run(&s, &["doctor"]), 1, "FAIL  stored, and not there here: in stored configurations of domains");
    expect(&run(&s, &["doctor", "--accept", "domain-configs"]), 0, "");
    // Without the option, a Keystone looks at none of it.
    add(&s, "[identity]\ndomain_configurations_from_database = false");
    drop(serve(&s, &["--config-file", &config], &[]));
}

#[test]
fn a_refused_start_leaves_a_keystone_as_it_was() {
    let s = live();
    refused(&s, &[&START[..], &["--log-level", "x=loud"]].concat(), 2, "--log-level");
    let tls = ["--tls-cert", "/nowhere/cert.pem", "--tls-key", "/nowhere/key.pem"];
    refused(&s, &[&START[..], &tls].concat(), 3, "TLS");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().map(|a| (a.to_string(), taken)).expect("an address");
    refused(&s, &["serve", "--metrics-listen", "off", "--listen", &taken.0], 7, &taken.0);
    refused(&s, &["serve", "--listen", "127.0.0.1:0", "--metrics-listen", &taken.0], 7, "metrics");

    let good = std::fs::read_to_string(s.path("vicar.conf")).expect("read");
    add(&s, "[token]\nexpiration = soon");
    refused(&s, &START, 3, "[token] expiration");
    s.file("vicar.conf", &good);
    bad_policy(&s);
    refused(&s, &START, 3, "broken.yaml: line 1");
    s.file("vicar.conf", &good);

    for kind in [FERNET, CREDENTIAL] {
        let key = s.data().join(kind).join("1");
        let whole = std::fs::read(&key).expect("a key");
        std::fs::write(&key, "not a key").expect("written");
        refused(&s, &START, 6, kind);
        std::fs::write(&key, whole).expect("written");
    }
    std::fs::rename(s.data().join(FERNET), s.path("away")).expect("moved");
    refused(&s, &START, 6, FERNET);
    std::fs::rename(s.path("away"), s.data().join(FERNET)).expect("moved");
    chmod(&s.data(), 0o777);
    refused(&s, &START, 4, "other users can write to it");
    chmod(&s.data(), 0o700);

    // Nothing else was in the way.
    let before = contents(&s.0);
    let config = s.path("vicar.conf").display().to_string();
    let mut served = serve(&s, &["--config-file", &config], &[]);
    assert_eq!(served.login("pw"), 201);
    assert_eq!(served.signal("-TERM"), 0);
    assert!(contents(&s.0) != before);
}

#[test]
fn a_refused_first_start_leaves_an_empty_keystone_as_it_was() {
    let start = |s: &Scratch, password: &str| {
        let config = s.path("vicar.conf");
        let mut c = vicar(&START);
        c.arg("--data-dir").arg(s.data()).arg("--config-file").arg(config);
        finish(std::mem::replace(c.env("VICAR_BOOTSTRAP_PASSWORD", password), Command::new("true")))
    };
    #[track_caller]
    fn same(s: &Scratch, before: &[(PathBuf, Vec<u8>)], done: &Output, code: i32, says: &str) {
        expect(done, code, says);
        assert!(contents(&s.0) == before, "{says}: something was changed");
    }
    let s = unfilled();
    let before = contents(&s.0);
    same(&s, &before, &start(&s, &"x".repeat(73)), 1, "VICAR_BOOTSTRAP_PASSWORD: ");
    for file in ["clouds.yaml", "openrc"] {
        std::fs::create_dir(s.data().join(file)).expect("made");
        same(&s, &before, &start(&s, "pw"), 4, file);
        std::fs::remove_dir(s.data().join(file)).expect("removed");
    }
    for kind in [FERNET, CREDENTIAL] {
        let dir = s.data().join(kind);
        let _ = std::fs::remove_dir(&dir);
        std::fs::write(&dir, "a file").expect("written");
        let before = contents(&s.0);
        same(&s, &before, &start(&s, "pw"), 4, kind);
        std::fs::remove_file(&dir).expect("removed");
    }
    expect(&run(&s, &["keys", "setup"]), 0, "");
    let before = contents(&s.0);
    same(&s, &before, &start(&s, "pw"), 5, "there are keys, but the database");
    for kind in [FERNET, CREDENTIAL] {
        std::fs::remove_dir_all(s.data().join(kind)).expect("removed");
    }
    let config = s.path("vicar.conf").display().to_string();
    let served = serve(&s, &["--config-file", &config], &[("VICAR_BOOTSTRAP_PASSWORD", "pw")]);
    assert_eq!(served.login("pw"), 201);
}

/// Each command that opens a database, with arguments.
const COMMANDS: [&[&str]; 10] = [
    &START,
    &["bootstrap", "--bootstrap-password", "pw"],
    &["db", "sync"],
    &["db", "sync", "--keystone-indexes"],
    &["db", "version"],
    &["keys", "rotate", "--credential"],
    &["keys", "migrate"],
    &["trust", "flush"],
    &["trust", "unused"],
    &["doctor"],
];

#[test]
fn every_refused_command_leaves_a_keystone_as_it_was() {
    let s = live();
    for looks in [
        &["keys", "rotate", "--credential"][..],
        &["keys", "migrate"],
        &["trust", "flush"],
        &["trust", "unused"],
        &["db", "version"],
    ] {
        refused(&s, looks, 5, "`vicar db sync` brings it there");
    }
    refused(&s, &["doctor"], 1, "`vicar db sync` brings it there");
    refused(&s, &["doctor", "--adopt"], 0, "nothing was changed");
    refused(&s, &["bootstrap", "--bootstrap-password", &"x".repeat(73)], 1, "longer than 72 bytes");
    refused(&s, &["bootstrap", "--bootstrap-password", ""], 1, "empty");
    let good = std::fs::read_to_string(s.path("vicar.conf")).expect("read");
    bad_policy(&s);
    refused(&s, &["bootstrap", "--bootstrap-password", "pw"], 3, "broken.yaml: line 1");
    refused(&s, &["trust", "flush"], 3, "broken.yaml: line 1");
    s.file("vicar.conf", &good);
    add(&s, "[token]\nexpiration = soon");
    for command in COMMANDS {
        refused(&s, command, if command == ["doctor"] { 1 } else { 3 }, "[token] expiration");
    }
    s.file("vicar.conf", &good);
    std::fs::rename(s.data().join(CREDENTIAL), s.path("away")).expect("moved");
    refused(&s, &["keys", "migrate"], 6, "credential keys");
}

#[test]
fn a_keystone_that_is_not_served_is_named_and_left_as_it_was() {
    let s = live();
    for (marks, says) in [
        (
            &["29e87d24a316", "e25ffa003242"][..],
            "is of Keystone 21 to 23 (29e87d24a316, e25ffa003242), and served are those of 25 to 30: upgrade the Keystone first (`keystone-manage db_sync`",
        ),
        (&["11c3b243b4cb", "c88cdce8f248"], "is of Keystone 24 "),
        (&["742c857f1dfb", "e25ffa003242"], "an upgrade of the Keystone was begun and is not finished"),
        (
            &["742c857f1dfb", "fedcba987654"],
            "no release of Keystone up to 30: a newer one is served by a newer version of this program only",
        ),
        (&[], "left no version: finish them first (`keystone-manage db_sync`)"),
    ] {
        set_marks(&s, marks);
        for command in COMMANDS {
            refused(&s, command, if command == ["doctor"] { 1 } else { 5 }, says);
        }
        refused(&s, &["doctor", "--adopt"], 1, says);
    }
    // Before 21 the marks were in a table of another name.
    direct(&s)
        .execute_batch("DROP TABLE alembic_version; CREATE TABLE migrate_version (repository_id VARCHAR(250), version INTEGER)")
        .expect("changed");
    for command in COMMANDS {
        refused(&s, command, if command == ["doctor"] { 1 } else { 5 }, "is of a Keystone before 21");
    }
    direct(&s).execute_batch("DROP TABLE migrate_version").expect("changed");
    for command in COMMANDS {
        let code = if command == ["doctor"] { 1 } else { 5 };
        refused(&s, command, code, "has a table user already, which neither Keystone nor this program made");
    }
}

const LACKING: [&str; 3] =
    ["idx_project_id", "ix_revocation_event_composite", "ix_revocation_event_project_id_user_id"];

/// Which of the indexes that older Keystones lack are there.
fn newer_indexes(s: &Scratch) -> Vec<String> {
    let all = names(s, "SELECT name FROM sqlite_master WHERE type = 'index' ORDER BY name");
    all.into_iter().filter(|name| LACKING.contains(&name.as_str())).collect()
}

#[test]
fn an_older_keystone_is_served_and_completed_only_when_asked() {
    let s = live();
    let drops = LACKING.map(|name| format!("DROP INDEX {name}")).join(";");
    direct(&s).execute_batch(&drops).expect("dropped");
    set_marks(&s, &["47147121", "c88cdce8f248"]);
    let all = run(&s, &["doctor", "--adopt"]);
    expect(&all, 0, "ok       schema: 47147121, c88cdce8f248 (Keystone 25 to 28)");
    expect(
        &all,
        0,
        "differs  indexes: 3 of Keystone 30 are not there: idx_project_id (project_endpoint_group), ",
    );
    expect(&run(&s, &["db", "version"]), 5, "(Keystone 25 to 28)");
    let config = s.path("vicar.conf").display().to_string();
    let mut served = serve(&s, &["--config-file", &config], &[]);
    assert_eq!(served.login("pw"), 201);
    assert_eq!(served.signal("-TERM"), 0);
    let marks = "SELECT version_num FROM alembic_version ORDER BY version_num";
    for command in [&["db", "sync"][..], &["bootstrap", "--bootstrap-password", "pw"], &["trust", "flush"]] {
        expect(&run(&s, command), 0, "");
        assert_eq!(newer_indexes(&s), [""; 0], "{command:?}");
        assert_eq!(names(&s, marks), ["47147121", "c88cdce8f248"], "{command:?}");
    }
    expect(&run(&s, &["db", "version"]), 0, "indexes: 3 of Keystone 30 are not there");
    expect(&run(&s, &["doctor"]), 0, "ok    schema: Keystone 25 to 28, and ours in version");
    expect(&run(&s, &["doctor"]), 0, "ok    indexes: 3 of Keystone 30 are not there");

    // Somebody made one of them by hand.
    direct(&s)
        .execute_batch("CREATE INDEX idx_project_id ON project_endpoint_group (project_id)")
        .expect("made");
    let complete = ["db", "sync", "--keystone-indexes"];
    expect(&run(&s, &complete), 0, "its version is 742c857f1dfb now");
    assert_eq!(newer_indexes(&s), LACKING);
    assert_eq!(names(&s, marks), ["742c857f1dfb", "c88cdce8f248"]);
    expect(&run(&s, &complete), 0, "Keystone's indexes: none is missing");
    let now = run(&s, &["db", "version"]);
    expect(&now, 0, "(Keystone 29 and 30)");
    assert!(!String::from_utf8_lossy(&now.stdout).contains("indexes"));
    let served = serve(&s, &["--config-file", &config], &[]);
    assert_eq!(served.login("pw"), 201);
}

#[test]
fn what_a_keystone_was_interrupted_in_is_taken_back() {
    let s = live();
    let db = s.data().join("vicar.db");
    let journal = s.data().join("vicar.db-journal");
    let writing = direct(&s);
    // So large that a part of it is in the file before the commit.
    writing
        .execute_batch(
            "PRAGMA cache_size = 2; BEGIN;
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
             INSERT INTO \"user\" (id, domain_id, enabled, extra) SELECT 'u' || i, 'default', 1, hex(randomblob(200)) FROM n",
        )
        .expect("written");
    let halfway = (std::fs::read(&db).expect("read"), std::fs::read(&journal).expect("a journal"));
    drop(writing);
    std::fs::write(&db, halfway.0).expect("written");
    std::fs::write(&journal, halfway.1).expect("written");
    expect(&run(&s, &["db", "version"]), 5, "(Keystone 29 and 30)");
    let config = s.path("vicar.conf").display().to_string();
    let served = serve(&s, &["--config-file", &config], &[]);
    assert_eq!(served.login("pw"), 201);
    assert_eq!(count(&s, "SELECT COUNT(*) FROM \"user\" WHERE id LIKE 'u%'"), 0);
}
