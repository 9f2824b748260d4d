//! The one place that reads the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{Datelike, Timelike};
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
    let mut text = datetime(at, b'T');
    text.push('Z');
    text
}

/// `2026-11-21T19:34:08.000000`, as Keystone writes the end of a password: UTC, and does not say so.
pub fn iso_bare(at: Micros) -> String {
    datetime(at, b'T')
}

/// `2026-11-21`, as DATE columns hold it.
pub fn date(at: Micros) -> String {
    calendar(at).format("%Y-%m-%d").to_string()
}

/// The number of a day written `2026-11-21`, counted from 1970-01-01.
pub fn day(text: &str) -> Option<i32> {
    let day = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    i32::try_from(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp().div_euclid(86_400)).ok()
}

/// The beginning of the hour of an instant. What is read since then can be remembered for all that began in it.
pub fn hour(at: Micros) -> Micros {
    const HOUR: Micros = 3600 * SECOND;
    at.div_euclid(HOUR) * HOUR
}

/// One day, in microseconds.
pub const DAY: Micros = 86_400 * SECOND;

/// `2026-11-21 19:34:08.000000`, as SQLAlchemy writes DATETIME columns on SQLite.
pub fn sql_datetime(at: Micros) -> String {
    datetime(at, b' ')
}

fn calendar(at: Micros) -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::from_timestamp_micros(at).unwrap_or(chrono::DateTime::<chrono::Utc>::MAX_UTC)
}

/// `2026-11-21`, the separator, `19:34:08.000000`. Each answer has several: reading a format costs ten times as much.
fn datetime(at: Micros, separator: u8) -> String {
    let at = calendar(at);
    let Some(year) = u32::try_from(at.year()).ok().filter(|year| *year < 10_000) else {
        return at.format(&format!("%Y-%m-%d{}%H:%M:%S%.6f", char::from(separator))).to_string();
    };
    let mut text = String::with_capacity(27);
    let mut number = |value: u32, digits: u32, after: u8| {
        let digit = |place| char::from_digit(value / 10_u32.pow(place) % 10, 10);
        text.extend((0..digits).rev().filter_map(digit));
        text.extend((after != 0).then_some(char::from(after)));
    };
    number(year, 4, b'-');
    number(at.month(), 2, b'-');
    number(at.day(), 2, separator);
    number(at.hour(), 2, b':');
    number(at.minute(), 2, b':');
    number(at.second(), 2, b'.');
    number(at.timestamp_subsec_micros(), 6, 0);
    text
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

    #[test]
    fn times_are_written_as_their_formats_say() {
        let days = |n: i64| (n * 7_919 * DAY).wrapping_add(n * 997 * SECOND + n * 31_337);
        for at in (-400..400).map(days).chain([0, -1, LAST, LAST + 1, i64::MIN, i64::MAX]) {
            let is = |format: &str| calendar(at).format(format).to_string();
            assert_eq!(iso(at), is("%Y-%m-%dT%H:%M:%S%.6fZ"));
            assert_eq!(iso_bare(at), is("%Y-%m-%dT%H:%M:%S%.6f"));
            assert_eq!(sql_datetime(at), is("%Y-%m-%d %H:%M:%S%.6f"));
        }
    }
}
