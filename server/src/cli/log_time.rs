//! The time of a log line.

use std::cell::RefCell;
use std::fmt;

use tracing_subscriber::fmt::format::Writer;

use crate::clock::{self, Clock, SECOND};

/// Writes the time of a line, as `2026-11-21T19:34:08.123456Z`. All but the fraction is made once a second: a line is
/// short, and its calendar would be a quarter of the work.
pub(super) fn write(w: &mut Writer<'_>) -> fmt::Result {
    thread_local! {
        static KNOWN: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    let now = Clock::system().now();
    let (second, fraction) = (now.div_euclid(SECOND), now.rem_euclid(SECOND));
    KNOWN.with_borrow_mut(|(known, text)| {
        if *known != second {
            *known = second;
            *text = clock::iso(second.saturating_mul(SECOND)).trim_end_matches("000000Z").to_owned();
        }
        w.write_str(text)
    })?;
    let mut digits = *b"000000Z";
    let mut rest = fraction;
    for digit in digits.iter_mut().rev().skip(1) {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    w.write_str(str::from_utf8(&digits).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_time_of_the_clock() {
        for _ in 0..1000 {
            let mut text = String::new();
            let before = clock::iso(Clock::system().now());
            write(&mut Writer::new(&mut text)).expect("written");
            let after = clock::iso(Clock::system().now());
            assert!(before <= text && text <= after && text.len() == before.len(), "{before} {text} {after}");
        }
    }
}
