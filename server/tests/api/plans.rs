//! How the engines find what is read for every request: by seeks that do not grow with what others did.

use vicar::args;
use vicar::clock::SECOND;
use vicar::resources::keypairs::sql::{self as credentials, Whose};
use vicar::resources::trusts::flush::{self, Search, Which};
use vicar::resources::users::sql::NAMED;
use vicar::store::revocations::{self, RevocationQuery};
use vicar::store::schema::Dialect;
use vicar::store::{Batch, DateTime, Id, Select, Tx, Value, cascade};

use crate::support::{START, Server};

/// Events of each of some kinds.
const MANY: usize = 8_000;

/// Rows that a validation may look at besides those that it finds.
const FEW: i64 = 50;

/// Writes events, each with one or two names and a time.
fn write(
    s: &Server,
    columns: [&str; 2],
    events: impl Iterator<Item = (Option<String>, Option<String>, i64)>,
) {
    let events: Vec<_> = events.collect();
    for part in events.chunks(500) {
        let rows = vec!["(?, ?, ?, ?)"; part.len()].join(", ");
        let args: Vec<Value> = part
            .iter()
            .flat_map(|(one, two, at)| args![one, two, DateTime(*at), DateTime(START)].to_vec())
            .collect();
        let [one, two] = columns;
        let into =
            format!("INSERT INTO revocation_event ({one}, {two}, issued_before, revoked_at) VALUES {rows}");
        s.sql_run(&into, &args);
    }
}

/// How many rows of the table the engine looked at, as far as it tells; on SQLite none, when it seeks.
async fn looked_at(dialect: Dialect, tx: &mut Tx, sql: &str, args: &[Value]) -> (i64, String) {
    match dialect {
        Dialect::Sqlite => {
            let plan = sqlite_plan(tx, sql, args).await;
            let looks: Vec<&String> = plan.iter().filter(|line| line.contains("revocation_event")).collect();
            assert_eq!(looks.len(), sql.matches(" FROM ").count(), "{plan:#?}");
            for look in looks {
                assert!(look.starts_with("SEARCH") && look.contains("=? AND issued_before>?)"), "{plan:#?}");
            }
            (0, String::new())
        }
        Dialect::Postgres | Dialect::Mysql => rows_looked_at(dialect, tx, sql, args).await,
    }
}

/// The lines of SQLite's plan.
async fn sqlite_plan(tx: &mut Tx, sql: &str, args: &[Value]) -> Vec<String> {
    tx.map(&format!("EXPLAIN QUERY PLAN {sql}"), args, |r| {
        r.take::<i64>()?;
        r.take::<i64>()?;
        r.take::<i64>()?;
        r.take::<String>()
    })
    .await
    .expect("explains")
}

/// How many rows a server looked at, and by what plan if it tells.
async fn rows_looked_at(dialect: Dialect, tx: &mut Tx, sql: &str, args: &[Value]) -> (i64, String) {
    match dialect {
        Dialect::Sqlite => panic!("a server's"),
        Dialect::Postgres => {
            let plan: Vec<String> =
                tx.column(&format!("EXPLAIN (ANALYZE, TIMING OFF) {sql}"), args).await.expect("explains");
            let number = |line: &str, before: &str| -> Option<i64> {
                let (_, rest) = line.split_once(before)?;
                rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
            };
            let looks =
                plan.iter().filter(|line| line.contains("Scan")).filter_map(|l| number(l, "actual rows="));
            let thrown_away = plan.iter().filter_map(|line| {
                number(line, "Rows Removed by Filter: ")
                    .or_else(|| number(line, "Rows Removed by Index Recheck: "))
            });
            (looks.chain(thrown_away).sum(), plan.join("\n"))
        }
        Dialect::Mysql => {
            let before = rows_read(tx).await;
            tx.all(sql, args).await.expect("reads");
            (rows_read(tx).await - before, String::new())
        }
    }
}

/// Rows that this session has read one after the other.
async fn rows_read(tx: &mut Tx) -> i64 {
    let counts = tx
        .map(
            "SHOW SESSION STATUS WHERE Variable_name IN ('Handler_read_next', 'Handler_read_prev')",
            &[],
            |r| {
                r.take::<String>()?;
                r.take::<String>()
            },
        )
        .await
        .expect("a status");
    assert_eq!(counts.len(), 2);
    counts.iter().map(|n| n.parse::<i64>().expect("a number")).sum()
}

#[test]
fn a_validation_reads_the_events_that_concern_it_and_no_others() {
    let s = Server::start();
    if s.app.store.dialect() == Dialect::Postgres {
        // Else it counts by itself at some moment of what follows, when there is one kind of rows alone.
        s.change("ALTER TABLE revocation_event SET (autovacuum_enabled = false)");
    }
    let name = |n: usize| Some(format!("{n:032x}"));
    let same = |text: &str| Some(text.to_owned());
    let (old, new) = (START - 3600 * SECOND, START + SECOND);
    // Of others, since the token was issued.
    write(&s, ["audit_id", "domain_id"], (0..MANY).map(|n| (name(n), None, new)));
    write(&s, ["user_id", "project_id"], (0..MANY).map(|n| (name(n), same("my-project"), new)));
    write(&s, ["trust_id", "audit_chain_id"], (0..MANY).map(|n| (name(n), None, new)));
    write(&s, ["trust_id", "audit_chain_id"], (0..MANY).map(|n| (None, name(n), new)));
    // What concerned earlier tokens of the same.
    write(&s, ["user_id", "role_id"], (0..MANY).map(|n| (same("me"), name(n), old)));
    write(&s, ["project_id", "role_id"], (0..MANY).map(|n| (same("my-project"), name(n), old)));
    write(&s, ["trust_id", "role_id"], (0..MANY).map(|n| (same("my-trust"), name(n), old)));
    write(&s, ["domain_id", "role_id"], (0..MANY).map(|n| (name(n), None, old)));
    // What concerns this one.
    write(&s, ["user_id", "role_id"], [(same("me"), None, new)].into_iter());
    write(&s, ["project_id", "role_id"], [(same("my-project"), None, new)].into_iter());
    write(&s, ["trust_id", "role_id"], [(same("my-trust"), None, new)].into_iter());
    write(
        &s,
        ["audit_id", "audit_chain_id"],
        [(same("my-id"), None, new), (None, same("my-chain"), new)].into_iter(),
    );
    write(&s, ["domain_id", "role_id"], [(same("a-domain"), None, new)].into_iter());

    let of = RevocationQuery {
        users: vec!["me", "my-trustor"],
        trusts: vec!["my-trust", "my-parent-trust"],
        project: Some("my-project"),
        audit_ids: vec!["my-id", "my-chain"],
        issued: START,
    };
    let (sql, args) = revocations::query(&of);
    let shared = revocations::shared(&of);
    let dialect = s.app.store.dialect();
    let statistics = match dialect {
        Dialect::Mysql => "ANALYZE TABLE revocation_event",
        Dialect::Sqlite | Dialect::Postgres => "ANALYZE revocation_event",
    };
    // Whether or not the engine knows how many there are of what.
    for with_statistics in [false, true] {
        if with_statistics {
            s.change(statistics);
        } else if dialect == Dialect::Postgres {
            // A worker that was about to count when it was told not to has done so nevertheless.
            s.change("DELETE FROM pg_statistic WHERE starelid = 'revocation_event'::regclass");
            s.change(
                "UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE oid = 'revocation_event'::regclass",
            );
        }
        s.runtime.block_on(async {
            // SQLite plans with the statistics that were there when the connection was made.
            let mut tx = s.another_store().read().await.expect("begins");
            assert_eq!(tx.all(&sql, &args).await.expect("reads").len(), 6);
            let (looked, plan) = looked_at(dialect, &mut tx, &sql, &args).await;
            assert!(
                looked <= FEW,
                "{dialect:?} looked at {looked} rows, with statistics: {with_statistics}\n{plan}"
            );
            for (sql, args) in &shared {
                let (looked, plan) = looked_at(dialect, &mut tx, sql, args).await;
                assert!(
                    looked <= FEW,
                    "{dialect:?} looked at {looked} rows, with statistics: {with_statistics}: {sql}\n{plan}"
                );
            }
        });
    }
}

/// Rows of trusts, credentials, users and projects: many of one owner, a few of another.
fn fill_lists(s: &Server) {
    let one = |n: usize| if n.is_multiple_of(1000) { "few" } else { "many" };
    let rows: Vec<usize> = (0..MANY).collect();
    for part in rows.chunks(500) {
        let insert = |into: &str, row: &dyn Fn(usize) -> Vec<Value>| {
            let width = row(0).len();
            let places = format!("({})", vec!["?"; width].join(", "));
            let values = vec![places; part.len()].join(", ");
            let args: Vec<Value> = part.iter().flat_map(|n| row(*n)).collect();
            s.sql_run(&format!("INSERT INTO {into} VALUES {values}"), &args);
        };
        let id = |n: usize| format!("{n:032x}");
        insert(
            "trust (id, trustor_user_id, trustee_user_id, project_id, impersonation, extra, redelegation_count)",
            &|n| args![id(n), one(n), one(n + 500), "p", true, "{}", 0_i64].to_vec(),
        );
        insert("credential (id, user_id, type, key_hash, encrypted_blob, extra)", &|n| {
            args![id(n), one(n), "ec2", "x", "x", "{}"].to_vec()
        });
        insert("vicar_keypair (credential_id, access, trust_id, audit_chain_id, created_at)", &|n| {
            args![id(n + MANY), id(n), id(n), "x", 0_i64].to_vec()
        });
    }
}

/// What the engines are told of tables before they plan.
fn count_rows(s: &Server, tables: &[&str]) {
    for table in tables {
        s.change(&match s.app.store.dialect() {
            Dialect::Mysql => format!("ANALYZE TABLE `{table}`"),
            Dialect::Sqlite | Dialect::Postgres => format!("ANALYZE \"{table}\""),
        });
    }
}

/// Roles of two domains, groups of two, their members, and projects and users of a name.
fn fill_names(s: &Server) {
    let one = |n: usize| if n.is_multiple_of(1000) { "few" } else { "many" };
    let rows: Vec<usize> = (0..MANY).collect();
    for part in rows.chunks(500) {
        let insert = |into: &str, row: &dyn Fn(usize) -> Vec<Value>| {
            let places = format!("({})", vec!["?"; row(0).len()].join(", "));
            let values = vec![places; part.len()].join(", ");
            let args: Vec<Value> = part.iter().flat_map(|n| row(*n)).collect();
            s.sql_run(&format!("INSERT INTO {into} VALUES {values}"), &args);
        };
        let id = |n: usize| format!("{n:032x}");
        let name = |n: usize| format!("name-{:05}", n * 7 % MANY);
        insert("role (id, name, extra, domain_id)", &|n| args![id(n), name(n), "{}", one(n)].to_vec());
        insert("\"group\" (id, name, extra, domain_id)", &|n| args![id(n), name(n), "{}", one(n)].to_vec());
        insert("\"user\" (id, extra, enabled, domain_id)", &|n| args![id(n), "{}", true, one(n)].to_vec());
        insert("local_user (user_id, domain_id, name)", &|n| args![id(n), one(n), name(n)].to_vec());
        // Everybody is in the group 1, and the user 1 is in all groups.
        insert("user_group_membership (user_id, group_id)", &|n| args![id(n), id(1)].to_vec());
        insert("user_group_membership (user_id, group_id)", &|n| args![id(1), id(n + MANY)].to_vec());
        insert("project (id, name, extra, enabled, domain_id, parent_id, is_domain)", &|n| {
            args![id(n), name(n), "{}", true, "default", "default", false].to_vec()
        });
    }
    count_rows(s, &["role", "group", "user", "local_user", "user_group_membership", "project"]);
}

#[test]
fn a_page_of_roles_members_and_what_has_a_name_is_found_by_an_index() {
    let s = Server::start();
    // The groups that the user is in; foreign keys want them.
    for part in (MANY..2 * MANY).collect::<Vec<_>>().chunks(500) {
        let rows = vec!["(?, ?, '{}', 'others')"; part.len()].join(", ");
        let args: Vec<Value> =
            part.iter().flat_map(|n| args![format!("{n:032x}"), format!("{n}")].to_vec()).collect();
        s.sql_run(&format!("INSERT INTO \"group\" (id, name, extra, domain_id) VALUES {rows}"), &args);
    }
    fill_names(&s);
    let middle = || Batch::after(Some(format!("{:032x}", MANY / 2)), 3);
    let mut queries = Vec::new();
    for domain in ["many", "few", "nobody"] {
        let mut q = Select::new("SELECT t.id, t.name, t.extra FROM role t");
        q.id("t.domain_id", Some(domain)).batch_sorted("t.name", "t.id", "name-04000", &middle());
        queries.push(q);
        let mut q = Select::new("SELECT t.id, t.extra FROM \"group\" t");
        q.id("t.domain_id", Some(domain)).batch("t.id", &middle());
        queries.push(q);
    }
    let one = format!("{:032x}", 1);
    let mut q = Select::new("SELECT m.user_id FROM user_group_membership m");
    q.id("m.group_id", Some(&one)).batch("m.user_id", &middle());
    queries.push(q);
    let behind = Batch::after(Some(format!("{:032x}", 3 * MANY / 2)), 3);
    let mut q = Select::new("SELECT m.group_id FROM user_group_membership m");
    q.id("m.user_id", Some(&one)).batch("m.group_id", &behind);
    queries.push(q);
    for name in ["name-00070", "nothing"] {
        for sql in ["SELECT t.id, t.extra FROM \"group\" t", "SELECT t.id, t.extra FROM project t"] {
            let mut q = Select::new(sql);
            q.eq("t.name", Some(name)).batch("t.id", &Batch::after(None, 3));
            queries.push(q);
        }
        let mut q = Select::new("SELECT u.id FROM \"user\" u LEFT JOIN local_user l ON l.user_id = u.id");
        q.and(NAMED, args![name, name, name]).batch("u.id", &Batch::after(None, 3));
        queries.push(q);
    }
    let mut q = Select::new("SELECT p.id, p.extra FROM project p");
    q.eq("p.is_domain", Some(false)).batch("p.id", &Batch::after(None, 3));
    queries.push(q);
    let dialect = s.app.store.dialect();
    s.runtime.block_on(async {
        let mut tx = s.another_store().read().await.expect("begins");
        for q in &queries {
            let (sql, args) = q.parts();
            if dialect == Dialect::Sqlite {
                let plan = sqlite_plan(&mut tx, sql, args).await;
                let is_read =
                    |line: &&String| line.starts_with("SCAN") || line.contains("TEMP B-TREE FOR ORDER");
                // Of the users of a name there are few; they are gathered.
                let gathered = |line: &String| sql.contains("named") && line.starts_with("SCAN named");
                let bad: Vec<_> = plan.iter().filter(is_read).filter(|line| !gathered(line)).collect();
                assert!(bad.is_empty(), "{sql}: {plan:#?}");
            } else {
                let (looked, plan) = rows_looked_at(dialect, &mut tx, sql, args).await;
                // The index has all that is asked for: MariaDB walks along the part of it that is the group's or the user's.
                let is_walked =
                    dialect == Dialect::Mysql && sql.contains("FROM user_group_membership m WHERE");
                let most = if is_walked { i64::try_from(MANY / 2 + 10).expect("fits") } else { FEW };
                assert!(looked <= most, "{dialect:?} looked at {looked} rows: {sql}\n{plan}");
            }
        }
    });
}

/// The endpoints that are named for a token's project are sought, however many are named for others.
#[test]
fn the_endpoints_of_a_project_are_found_by_an_index() {
    let s = Server::with("[cache]\nenabled = false");
    if s.app.store.dialect() != Dialect::Sqlite {
        // Others have statistics to choose by.
        return;
    }
    let admin = s.admin();
    let (_, said) = s.app.store.watched(|| s.get(&admin, "/v3/auth/catalog").expect(200));
    for table in ["project_endpoint", "project_endpoint_group"] {
        let of_table = |sql: &&String| sql.contains(&format!(" {table} p "));
        let sql = said.iter().find(of_table).expect("it reads them");
        s.runtime.block_on(async {
            let mut tx = s.another_store().read().await.expect("begins");
            let plan = sqlite_plan(&mut tx, sql, args![Id("x")]).await;
            assert!(plan.iter().any(|line| line.starts_with("SEARCH p ")), "{plan:#?}");
        });
    }
}

/// The roles of a token are read by their ids, however many roles there are.
#[test]
fn the_roles_of_a_token_are_found_by_id() {
    let s = Server::with("[cache]\nenabled = false");
    let admin = s.admin();
    let (_, said) = s.app.store.watched(|| s.get(&admin, "/v3/auth/catalog").expect(200));
    let sql = said.iter().find(|sql| sql.starts_with("SELECT r.domain_id, r.id")).expect("it reads them");
    if s.app.store.dialect() == Dialect::Sqlite {
        s.runtime.block_on(async {
            let mut tx = s.another_store().read().await.expect("begins");
            let args: Vec<Value> = sql.matches('?').map(|_| Id("x").into()).collect();
            let plan = sqlite_plan(&mut tx, sql, &args).await;
            assert!(
                plan.iter().any(|line| line.starts_with("SEARCH r USING INDEX sqlite_autoindex_role_1")),
                "{plan:#?}"
            );
        });
    }
}

/// Whatever the reaper looks for, it reads a part of the table and no more, also where it finds nothing.
#[test]
fn the_reaper_reads_a_part_of_a_table_at_a_time() {
    let s = Server::start();
    fill_lists(&s);
    let tables = ["trust", "credential", "vicar_keypair", "trust_role", "vicar_trust_state"];
    count_rows(&s, &tables);
    let [trusts, all] = [Which { trustor: Some("few".into()), ..Which::default() }, Which::default()];
    let mut searches = vec![
        Search::Over(all.clone(), START),
        Search::Ended(all, START),
        Search::Over(trusts.clone(), START),
        Search::Ended(trusts, START),
    ];
    searches.extend(Search::REST);
    let after = format!("{:032x}", MANY / 4);
    let dialect = s.app.store.dialect();
    s.runtime.block_on(async {
        let mut tx = s.another_store().read().await.expect("begins");
        for search in searches {
            let bound = search.end_of_part(Some(&after));
            let upto: Option<String> = bound.map(&mut tx, |r| r.take()).await.expect("reads").pop();
            for q in [bound, search.part(Some(&after), upto.as_deref())] {
                let (sql, args) = q.parts();
                if dialect == Dialect::Sqlite {
                    let plan = sqlite_plan(&mut tx, sql, args).await;
                    let is_bad = |line: &String| line.starts_with("SCAN") || line.contains("TEMP B-TREE");
                    assert!(!plan.iter().any(is_bad), "{sql}: {plan:#?}");
                } else {
                    let (looked, plan) = rows_looked_at(dialect, &mut tx, sql, args).await;
                    // A thousand, each with what it hangs on.
                    assert!(looked <= 7 * 1000, "{dialect:?} looked at {looked} rows: {sql}\n{plan}");
                }
            }
        }
    });
}

#[test]
fn a_page_reads_the_rows_that_are_on_it_and_no_others() {
    let s = Server::start();
    fill_lists(&s);
    let middle = || Batch::after(Some(format!("{:032x}", MANY / 2)), 3);
    let of = |sql: &str, column: &str, owner: &str, key: &str| {
        let mut q = Select::new(sql);
        q.id(column, Some(owner)).batch(key, &middle());
        q
    };
    let mut queries = Vec::new();
    for owner in ["many", "few", "nobody"] {
        for column in ["t.trustor_user_id", "t.trustee_user_id"] {
            let mut q = Select::new("SELECT t.id FROM trust t");
            q.id(column, Some(owner));
            flush::in_state(&mut q, "live", START);
            q.batch("t.id", &middle());
            queries.push(q);
        }
        queries.push(of("SELECT c.id FROM credential c", "c.user_id", owner, "c.id"));
        queries.push(of("SELECT u.id FROM \"user\" u", "u.domain_id", owner, "u.id"));
        queries.push(of("SELECT p.id FROM project p", "p.domain_id", owner, "p.id"));
        queries.push(of("SELECT p.id FROM project p", "p.parent_id", owner, "p.id"));
    }
    let mut all = Select::new("SELECT t.id FROM trust t");
    flush::in_state(&mut all, "live", START);
    all.batch("t.id", &middle());
    queries.push(all);
    let dialect = s.app.store.dialect();
    count_rows(&s, &["trust", "credential", "vicar_keypair"]);
    s.runtime.block_on(async {
        let mut tx = s.another_store().read().await.expect("begins");
        for q in &queries {
            let (sql, args) = q.parts();
            if dialect == Dialect::Sqlite {
                let plan = sqlite_plan(&mut tx, sql, args).await;
                assert_eq!(plan.len(), 1, "{sql}: {plan:#?}");
                assert!(plan[0].starts_with("SEARCH") && plan[0].contains("id>?)"), "{sql}: {plan:#?}");
            } else {
                let (looked, plan) = rows_looked_at(dialect, &mut tx, sql, args).await;
                // Where the index has all that is asked for, MariaDB walks along the owner's part of it. That part
                // is bounded by `[delegation] max_credentials_per_user`.
                let is_walked = dialect == Dialect::Mysql && sql.contains("c.user_id = ?");
                let most = if is_walked { i64::try_from(MANY / 2).expect("fits") } else { FEW };
                assert!(looked <= most, "{dialect:?} looked at {looked} rows: {sql}\n{plan}");
            }
        }
        // Whoever has a part in few sees these, without a look at the others.
        for whose in [Whose::Part("few"), Whose::Keypairs("few")] {
            let found =
                credentials::ids(&mut tx, whose, &Batch::after(None, 3), |_| {}).await.expect("reads");
            assert_eq!(found.len(), 3);
        }
    });
}

/// What falls with something is found by its key, and not by a look at every row that might.
#[test]
fn what_falls_with_something_is_not_looked_for_row_by_row() {
    let s = Server::start();
    let dialect = s.app.store.dialect();
    let mut queries = 0;
    s.runtime.block_on(async {
        let mut tx = s.another_store().write().await.expect("begins");
        for table in ["user", "project", "credential", "trust", "identity_provider", "access_token", "domain"]
        {
            for (sql, args) in cascade::statements(dialect, table, "x") {
                if !sql.starts_with("DELETE") || !sql.contains("(SELECT") {
                    continue;
                }
                queries += 1;
                match dialect {
                    Dialect::Sqlite => {
                        let plan = sqlite_plan(&mut tx, &sql, &args).await;
                        assert!(!plan.iter().any(|line| line.contains("CORRELATED")), "{sql}: {plan:#?}");
                    }
                    Dialect::Postgres => {
                        let plan: Vec<String> =
                            tx.column(&format!("EXPLAIN {sql}"), &args).await.expect("explains");
                        assert!(!plan.iter().any(|line| line.contains("SubPlan")), "{sql}: {plan:#?}");
                    }
                    Dialect::Mysql => {
                        let explain = format!("EXPLAIN {sql}");
                        let explained = tx.map(&explain, &args, |r| {
                            r.take::<Option<i64>>()?;
                            r.take::<String>()
                        });
                        let plan = explained.await.expect("explains");
                        assert!(!plan.iter().any(|kind| kind.contains("DEPENDENT")), "{sql}: {plan:#?}");
                    }
                }
            }
        }
    });
    assert!(queries > 5);
}
