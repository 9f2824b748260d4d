//! How the engines find what is read for every request: by seeks that do not grow with what others did.

use vicar::args;
use vicar::clock::SECOND;
use vicar::store::revocations::{self, RevocationQuery};
use vicar::store::schema::Dialect;
use vicar::store::{DateTime, Tx, Value};

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
async fn looked_at(dialect: Dialect, tx: &mut Tx, sql: &str, args: &[Value]) -> i64 {
    match dialect {
        Dialect::Sqlite => {
            let plan = tx
                .map(&format!("EXPLAIN QUERY PLAN {sql}"), args, |r| {
                    r.take::<i64>()?;
                    r.take::<i64>()?;
                    r.take::<i64>()?;
                    r.take::<String>()
                })
                .await
                .expect("explains");
            let looks: Vec<&String> = plan.iter().filter(|line| line.contains("revocation_event")).collect();
            assert_eq!(looks.len(), sql.matches(" FROM ").count(), "{plan:#?}");
            for look in looks {
                assert!(look.starts_with("SEARCH") && look.contains("=? AND issued_before>?)"), "{plan:#?}");
            }
            0
        }
        Dialect::Postgres => {
            let plan: Vec<String> =
                tx.column(&format!("EXPLAIN (ANALYZE, TIMING OFF) {sql}"), args).await.expect("explains");
            println!("{}", plan.join("\n"));
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
            looks.chain(thrown_away).sum()
        }
        Dialect::Mysql => {
            let before = rows_read(tx).await;
            tx.all(sql, args).await.expect("reads");
            rows_read(tx).await - before
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
    let (sql, args) =
        revocations::query("user_id, project_id, trust_id, audit_id, audit_chain_id, domain_id", &of);
    let dialect = s.app.store.dialect();
    let statistics = match dialect {
        Dialect::Mysql => "ANALYZE TABLE revocation_event",
        Dialect::Sqlite | Dialect::Postgres => "ANALYZE revocation_event",
    };
    // Whether or not the engine knows how many there are of what.
    for with_statistics in [false, true] {
        if with_statistics {
            s.change(statistics);
        }
        s.runtime.block_on(async {
            // SQLite plans with the statistics that were there when the connection was made.
            let mut tx = s.another_store().read().await.expect("begins");
            assert_eq!(tx.all(&sql, &args).await.expect("reads").len(), 6);
            let looked = looked_at(dialect, &mut tx, &sql, &args).await;
            assert!(looked <= FEW, "{dialect:?} looked at {looked} rows, with statistics: {with_statistics}");
        });
    }
}
