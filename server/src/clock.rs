//! The one place that reads the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use vicar_rules::Micros;

/// One second, in microseconds.
pub const SECOND: Micros = 1_000_000;

/// What time it is: the system's, or one that a test holds and moves.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that only moves when it is told to.
    pub fn held(at: Micros) -> Self {
        Self(Some(Arc::new(AtomicI64::new(at))))
    }

    /// Moves a held clock; the system's cannot be moved.
    pub fn advance(&self, by: Micros) {
        if let Some(held) = &self.0 {
            held.fetch_add(by, Ordering::SeqCst);
        }
    }

    /// Microseconds since the epoch, UTC.
    pub fn now(&self) -> Micros {
        match &self.0 {
            Some(held) => held.load(Ordering::SeqCst),
            #[expect(clippy::disallowed_methods, reason = "this is the place")]
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX)),
        }
    }
}

/// `2026-11-21T19:34:08.000000Z`, as Keystone writes times in bodies. Out-of-range values are
/// written as the nearest end of the calendar.
pub fn iso(at: Micros) -> String {
    format_with(at, "%Y-%m-%dT%H:%M:%S%.6fZ")
}

/// `2026-11-21T19:34:08.000000`, as Keystone writes the end of a password: UTC, and does not say so.
pub fn iso_bare(at: Micros) -> String {
    format_with(at, "%Y-%m-%dT%H:%M:%S%.6f")
}

/// `2026-11-21`, as DATE columns hold it.
pub fn date(at: Micros) -> String {
    format_with(at, "%Y-%m-%d")
}

/// The number of a day written `2026-11-21`, counted from 1970-01-01.
pub fn day(text: &str) -> Option<i32> {
    let day = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    i32::try_from(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp().div_euclid(86_400)).ok()
}

/// One day, in microseconds.
pub const DAY: Micros = 86_400 * SECOND;

/// `2026-11-21 19:34:08.000000`, as SQLAlchemy writes DATETIME columns on SQLite.
pub fn sql_datetime(at: Micros) -> String {
    format_with(at, "%Y-%m-%d %H:%M:%S%.6f")
}

fn format_with(at: Micros, format: &str) -> String {
    chrono::DateTime::from_timestamp_micros(at)
        .unwrap_or(chrono::DateTime::<chrono::Utc>::MAX_UTC)
        .format(format)
        .to_string()
}

/// Reads a DATETIME column of SQLite.
pub fn from_sql_datetime(text: &str) -> Option<Micros> {
    let parsed = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok()?;
    Some(parsed.and_utc().timestamp_micros())
}

/// Reads a time that a client gives: UTC, with `Z` or without a zone; an offset is refused. The year has
/// exactly four digits and is not 0: a Keystone on the same database could not read any other back.
pub fn from_client(text: &str) -> Option<Micros> {
    let year = text.get(..4).filter(|y| y.bytes().all(|b| b.is_ascii_digit()) && *y != "0000")?;
    if !text.is_ascii() || text.len() > 40 || text.as_bytes().get(year.len()) != Some(&b'-') {
        return None;
    }
    let bare = text.strip_suffix('Z').unwrap_or(text);
    let parsed = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .find_map(|f| chrono::NaiveDateTime::parse_from_str(bare, f).ok())?;
    // A leap second counts as the first of the next minute, which the last year does not have.
    Some(parsed.and_utc().timestamp_micros()).filter(|at| *at <= LAST)
}

/// The last microsecond of the year 9999.
const LAST: Micros = 253_402_300_800 * SECOND - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip() {
        let at = from_client("2026-11-21T19:34:08.123456Z").expect("parses");
        assert_eq!(iso(at), "2026-11-21T19:34:08.123456Z");
        assert_eq!(from_sql_datetime(&sql_datetime(at)), Some(at));
        assert_eq!(from_client("2026-11-21T19:34:08+01:00"), None);
        assert_eq!(from_client("soon"), None);
        let last = from_client("9999-12-31T23:59:59.999999Z").expect("parses");
        assert_eq!((last, iso(last).as_str()), (LAST, "9999-12-31T23:59:59.999999Z"));
        for year in ["+10000", "10000", "+2030", "-001", "0000", "203", "é03"] {
            assert_eq!(from_client(&format!("{year}-01-01T00:00:00Z")), None, "{year}");
        }
        assert_eq!(from_client("9999-12-31T23:59:60Z"), None);
        assert_eq!(from_sql_datetime("2026-11-21 19:34:08"), Some(at / SECOND * SECOND));
    }
}
