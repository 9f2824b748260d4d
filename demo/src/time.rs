//! Times, in microseconds since the epoch.

use std::time::{SystemTime, UNIX_EPOCH};

/// One second.
pub(crate) const SECOND: i64 = 1_000_000;

/// What time it is.
pub(crate) fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "this program has no other clock")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
}

/// `2026-11-21T19:34:08.000000Z`
pub(crate) fn iso(at: i64) -> String {
    let at = chrono::DateTime::from_timestamp_micros(at).unwrap_or(chrono::DateTime::<chrono::Utc>::MAX_UTC);
    at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// Reads what [`iso`] writes.
pub(crate) fn from_iso(text: &str) -> Option<i64> {
    let time = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.fZ").ok()?;
    Some(time.and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip() {
        let at = from_iso("2026-11-21T19:34:08.123456Z").expect("parses");
        assert_eq!(iso(at), "2026-11-21T19:34:08.123456Z");
        assert_eq!(from_iso("soon"), None);
    }
}
