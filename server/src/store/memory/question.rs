//! What has changed since the last question, in the words of each engine.
//!
//! The answer has every row of the journal that can be seen now and could not be seen then, though rows become visible in another order
//! than that of their ids: on PostgreSQL by comparing snapshots, on MariaDB by counting in each slot. SQLite has one writer at
//! a time.

use std::sync::Arc;

use super::super::schema::Dialect;
use super::super::{Error, Result, Row, Value};
use crate::args;

/// How far the journal has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Position {
    /// The highest id, and the random number beside it: another one is of another history, as that of a backup.
    Sqlite(i64, i64),
    /// A snapshot.
    Postgres(Snapshot),
    /// The slots.
    Mysql(Slots),
}

/// The slots of MariaDB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slots {
    /// As long as it is the same, so are they.
    glance: Glance,
    /// The number of each.
    ticks: Arc<[(i64, i64)]>,
}

/// The sum of all numbers, which only grow, and a digest of them: a node of a cluster that lags in one slot and is ahead in
/// another may have the same sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Glance {
    sum: i64,
    digest: i64,
}

/// `CRC32` of MariaDB.
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

impl Slots {
    fn new(ticks: Vec<(i64, i64)>) -> Self {
        let sum = |of: &dyn Fn(&(i64, i64)) -> i64| ticks.iter().map(of).fold(0, i64::saturating_add);
        // A CRC alone is linear: two slots that go opposite ways could leave the sum of theirs as it was.
        let mixed = |(slot, n): &(i64, i64)| {
            let crc = |text: String| i64::from(CRC.checksum(text.as_bytes()));
            crc(format!("{slot}:{n}")) * (crc(format!("{n}:{slot}")) % 999_983)
        };
        let glance = Glance { sum: sum(&|(_, n)| *n), digest: sum(&mixed) };
        Self { glance, ticks: ticks.into() }
    }

    /// The number of each.
    pub(super) fn ticks(&self) -> &[(i64, i64)] {
        &self.ticks
    }
}

/// A snapshot of PostgreSQL: `xmin:xmax:xip,…`, as `txid_current_snapshot()` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    text: String,
    xmin: i64,
    xmax: i64,
    /// Those in between that were not over.
    running: Vec<i64>,
}

/// What a question found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Table and key of each change.
    pub(super) changes: Vec<(String, String)>,
    /// How far the journal has been read now. None: rows may have been removed unseen, and nothing is known any more.
    pub(super) position: Option<Position>,
}

/// Runs statements, one after the other, on the connection or in the transaction that is asked.
pub(super) trait Asks {
    /// All rows of a statement.
    async fn rows(&mut self, sql: &str, args: &[Value]) -> Result<Vec<Row>>;
}

/// Where the journal ends.
pub(super) async fn begin(dialect: Dialect, on: &mut impl Asks) -> Result<Position> {
    match dialect {
        Dialect::Sqlite => {
            let rows = on.rows("SELECT id, n FROM vicar_change ORDER BY id DESC LIMIT 1", &[]).await?;
            let mut row = first(rows)?;
            Ok(Position::Sqlite(row.take()?, row.take()?))
        }
        Dialect::Postgres => {
            let rows = on.rows("SELECT CAST(txid_current_snapshot() AS VARCHAR)", &[]).await?;
            Ok(Position::Postgres(Snapshot::read(first(rows)?.take()?)?))
        }
        Dialect::Mysql => Ok(Position::Mysql(Slots::new(ticks(on).await?))),
    }
}

/// What has changed since.
pub(super) async fn ask(since: &Position, on: &mut impl Asks) -> Result<Found> {
    match since {
        Position::Sqlite(id, n) => {
            // The row itself comes too, as long as nothing was removed.
            let sql = "SELECT id, n, tab, k FROM vicar_change WHERE id >= ? ORDER BY id";
            let mut rows = on.rows(sql, args![*id]).await?.into_iter();
            let mut last = match rows.next() {
                Some(mut row) => (row.take::<i64>()?, row.take::<i64>()?),
                None => (0, 0),
            };
            let is_whole = last == (*id, *n);
            let mut changes = Vec::new();
            for mut row in rows {
                last = (row.take()?, row.take()?);
                changes.push((row.take()?, row.take()?));
            }
            Ok(Found { changes, position: is_whole.then_some(Position::Sqlite(last.0, last.1)) })
        }
        Position::Postgres(snapshot) => {
            // The number of the only slot there is: rows of transactions below may have been removed.
            let sql = "SELECT CAST(txid_current_snapshot() AS VARCHAR), t.n, c.tab, c.k
                         FROM vicar_tick t LEFT JOIN vicar_change c
                           ON c.slot = 0 AND c.n >= ?
                              AND NOT txid_visible_in_snapshot(c.n, CAST(CAST(? AS VARCHAR) AS txid_snapshot))
                        WHERE t.slot = 0";
            let rows = on.rows(sql, args![snapshot.xmin, &snapshot.text]).await?;
            let (mut position, mut changes) = (None, Vec::new());
            for mut row in rows {
                let (now, horizon): (String, i64) = (row.take()?, row.take()?);
                if position.is_none() && horizon <= snapshot.xmin {
                    let now = Snapshot::read(now)?;
                    if !snapshot.is_before(&now) {
                        return Err(lags());
                    }
                    position = Some(Position::Postgres(now));
                }
                if let (Some(table), Some(key)) = (row.take()?, row.take()?) {
                    changes.push((table, key));
                }
            }
            Ok(Found { changes, position })
        }
        Position::Mysql(Slots { glance: last, ticks: before }) => {
            // Nearly always nothing has changed, and one row says so.
            if glance(on).await? == *last {
                return Ok(Found { changes: Vec::new(), position: Some(since.clone()) });
            }
            let mut now = ticks(on).await?;
            let mut changes = Vec::new();
            let mut is_whole = now.len() == before.len() && !now.is_empty();
            for ((slot, n), (_, was)) in now.iter_mut().zip(before.iter()) {
                if *n < *was {
                    return Err(lags());
                }
                if *n == *was {
                    continue;
                }
                let sql = "SELECT n, tab, k FROM vicar_change WHERE slot = ? AND n > ? ORDER BY n";
                let rows = on.rows(sql, args![*slot, *was]).await?;
                let mut last = *was;
                for mut row in rows {
                    is_whole &= row.take::<i64>()? == last + 1;
                    last += 1;
                    changes.push((row.take()?, row.take()?));
                }
                is_whole &= last >= *n;
                *n = last;
            }
            Ok(Found { changes, position: is_whole.then(|| Position::Mysql(Slots::new(now))) })
        }
    }
}

/// How many statements a question takes when nothing has changed: one, whichever engine it is.
#[cfg(debug_assertions)]
pub(super) async fn statements(dialect: Dialect, on: &mut impl Asks) -> Result<usize> {
    struct Counting<'a, A>(&'a mut A, usize);
    impl<A: Asks> Asks for Counting<'_, A> {
        async fn rows(&mut self, sql: &str, args: &[Value]) -> Result<Vec<Row>> {
            self.1 += 1;
            self.0.rows(sql, args).await
        }
    }
    let end = begin(dialect, on).await?;
    let mut counting = Counting(on, 0);
    ask(&end, &mut counting).await?;
    Ok(counting.1)
}

/// What is asked sees less than was seen already: another server, which has not applied all yet.
fn lags() -> Error {
    Error::Retry("the database shows less than it did before".into())
}

async fn glance(on: &mut impl Asks) -> Result<Glance> {
    let sql = "SELECT CAST(COALESCE(SUM(n), 0) AS SIGNED),
                      CAST(COALESCE(SUM(CRC32(CONCAT(slot, ':', n)) * MOD(CRC32(CONCAT(n, ':', slot)), 999983)), 0) AS SIGNED)
                 FROM vicar_tick";
    let mut row = first(on.rows(sql, &[]).await?)?;
    Ok(Glance { sum: row.take()?, digest: row.take()? })
}

/// The number of each slot.
async fn ticks(on: &mut impl Asks) -> Result<Vec<(i64, i64)>> {
    let rows = on.rows("SELECT slot, n FROM vicar_tick ORDER BY slot", &[]).await?;
    rows.into_iter().map(|mut row| Ok((row.take()?, row.take()?))).collect()
}

fn first(rows: Vec<Row>) -> Result<Row> {
    rows.into_iter().next().ok_or_else(|| Error::Broken("the journal has no place to begin".into()))
}

impl Snapshot {
    /// All transactions below were over.
    pub(super) fn xmin(&self) -> i64 {
        self.xmin
    }

    /// No transaction above was begun.
    pub(super) fn xmax(&self) -> i64 {
        self.xmax
    }

    fn read(text: String) -> Result<Self> {
        let mut parts = text.split(':');
        let mut number = || parts.next().and_then(|n| n.parse().ok());
        let (Some(xmin), Some(xmax)) = (number(), number()) else {
            return Err(Error::Broken("no snapshot of PostgreSQL".into()));
        };
        let running = parts.next().unwrap_or_default();
        let running = running.split(',').filter_map(|n| n.parse().ok()).collect();
        Ok(Self { xmin, xmax, running, text })
    }

    /// Whether everything that it shows is shown by a later one.
    fn is_before(&self, later: &Self) -> bool {
        later.xmax >= self.xmax && later.running.iter().all(|n| *n >= self.xmax || self.running.contains(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers that were prepared, in turn.
    struct Told(Vec<Vec<Row>>);

    impl Asks for Told {
        async fn rows(&mut self, _: &str, _: &[Value]) -> Result<Vec<Row>> {
            Ok(self.0.remove(0))
        }
    }

    fn row(values: Vec<Value>) -> Row {
        Row::new(values)
    }

    async fn found(since: Position, told: Vec<Vec<Row>>) -> Found {
        ask(&since, &mut Told(told)).await.expect("answers")
    }

    #[tokio::test]
    async fn what_was_removed_unseen_is_noticed() {
        let numbered = |id: i64| row(vec![id.into(), (id * 7).into(), "user".into(), "u:a".into()]);
        let sqlite = |ids: &[i64]| vec![ids.iter().copied().map(numbered).collect::<Vec<_>>()];
        let at = Position::Sqlite(3, 21);
        let seen = found(at.clone(), sqlite(&[3, 4])).await;
        assert_eq!(seen.position, Some(Position::Sqlite(4, 28)));
        assert_eq!(seen.changes, [("user".to_owned(), "u:a".to_owned())]);
        assert_eq!(found(at.clone(), sqlite(&[5])).await.position, None);
        assert_eq!(found(at, sqlite(&[])).await.position, None);
        // The same id of another history.
        assert_eq!(found(Position::Sqlite(3, 5), sqlite(&[3, 4])).await.position, None);
        let line = |id: i64| row(vec![id.into(), "user".into(), "u:a".into()]);
        let tick = |n: i64| vec![row(vec![0_i64.into(), n.into()])];
        let slot = |ns: &[i64]| ns.iter().copied().map(line).collect::<Vec<_>>();
        let slots = |n: i64| Slots::new(vec![(0, n)]);
        let mysql = |n: i64| Position::Mysql(slots(n));
        let seen = |n: i64| {
            let Glance { sum, digest } = slots(n).glance;
            vec![row(vec![sum.into(), digest.into()])]
        };
        // One row was enough: nobody has asked for more.
        assert_eq!(found(mysql(3), vec![seen(3)]).await.position, Some(mysql(3)));
        let told = |n: i64, ns: &[i64]| vec![seen(5), tick(n), slot(ns)];
        let all = found(mysql(3), told(5, &[4, 5])).await;
        assert_eq!((all.changes.len(), all.position), (2, Some(mysql(5))));
        assert_eq!(found(mysql(3), told(5, &[5])).await.position, None);
        assert_eq!(found(mysql(3), told(5, &[])).await.position, None);
        assert_eq!(found(mysql(3), told(4, &[4, 5])).await.position, Some(mysql(5)));
        let snapshot = |text: &str| Snapshot::read(text.into()).expect("a snapshot");
        let at = Position::Postgres(snapshot("10:12:10"));
        let answer =
            |horizon: i64| vec![vec![row(vec!["11:13:".into(), horizon.into(), Value::Null, Value::Null])]];
        assert_eq!(
            found(at.clone(), answer(10)).await.position,
            Some(Position::Postgres(snapshot("11:13:")))
        );
        assert_eq!(found(at, answer(11)).await.position, None);
    }

    #[test]
    fn a_glance_tells_slots_apart_whose_sum_is_the_same() {
        let glance = |ticks: &[(i64, i64)]| Slots::new(ticks.to_vec()).glance;
        let all = [[3, 4, 5], [4, 3, 5], [2, 5, 5], [4, 4, 4], [5, 4, 3], [2, 6, 4]];
        let all = all.map(|[a, b, c]| glance(&[(0, a), (1, b), (2, c)]));
        assert!(all.iter().all(|one| one.sum == 12));
        assert!(all.iter().enumerate().all(|(n, one)| !all[..n].contains(one)));
        // Two that are the other way round, by whatever lies between them.
        for slot in 1..120 {
            for by in (1..3_000).chain([1 << 20, 997 * 999_983]) {
                let (low, high) = (1_790_146_392_586_909, 1_790_146_392_586_909 + by);
                assert_ne!(
                    glance(&[(0, low), (slot, high)]),
                    glance(&[(0, high), (slot, low)]),
                    "{slot} {by}"
                );
            }
        }
    }

    #[tokio::test]
    async fn who_shows_less_than_was_seen_is_not_believed() {
        let one = |n: i64| vec![row(vec![0_i64.into(), n.into()])];
        let asked = ask(&Position::Mysql(Slots::new(vec![(0, 3)])), &mut Told(vec![one(2), one(2)])).await;
        assert!(matches!(asked, Err(Error::Retry(_))));
        let snapshot = |text: &str| Snapshot::read(text.into()).expect("a snapshot");
        for (before, later, is_before) in [
            ("10:12:10", "10:12:10", true),
            ("10:12:10", "12:12:", true),
            ("10:12:10", "10:13:10,12", true),
            ("12:12:", "10:12:10", false),
            ("10:12:10", "10:12:10,11", false),
            ("10:12:10", "10:11:10", false),
        ] {
            assert_eq!(snapshot(before).is_before(&snapshot(later)), is_before, "{before} {later}");
        }
    }
}
