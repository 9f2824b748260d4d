//! The forms of a time.

use super::vectors::TIME;
use crate::signature::time::{MICROS, amz_date, iso8601, rfc1123};

#[test]
fn times_in_many_forms() {
    for text in [
        "2026-03-04T05:06:07Z",
        "2026-03-04 05:06:07",
        "2026-03-04t05:06:07.000000z",
        "20260304T050607Z",
        "20260304T050607",
        "2026-03-04T06:36:07+01:30",
        "20260304T010607-0400",
        "2026-03-03T23:06:07,0-06",
    ] {
        assert_eq!(iso8601(text), Some(TIME), "{text}");
    }
    assert_eq!(iso8601("2026-03-04T05:06"), Some(TIME - 7 * MICROS));
    assert_eq!(iso8601("2026-03-04T05:06:07.1234567Z"), Some(TIME + 123_456));
    assert_eq!(iso8601("1970-01-01T00:00Z"), Some(0));
    assert_eq!(iso8601("2024-02-29T00:00Z"), Some(1_709_164_800 * MICROS));
    assert_eq!(iso8601("0001-01-01T00:00Z"), Some(-62_135_596_800 * MICROS));
    assert_eq!(iso8601("9999-12-31T23:59:59Z"), Some(253_402_300_799 * MICROS));
    for text in [
        "",
        "2026-03-04",
        "2026-0304T05:06:07Z",
        "2026-02-29T05:06:07Z",
        "2026-13-01T05:06:07Z",
        "2026-03-04T24:00:00Z",
        "2026-03-04T05:06:60Z",
        "2026-03-04T05:60:07Z",
        "2026-03-04T05:06:07.Z",
        "2026-03-04T05:06:07ZZ",
        "2026-03-04T05:06:07+24:00",
        "2026-03-04T05:06:07+01:60",
        "0000-03-04T05:06:07Z",
        " 2026-03-04T05:06:07Z",
        "٢026-03-04T05:06:07Z",
    ] {
        assert_eq!(iso8601(text), None, "{text}");
    }
    for text in
        ["Wed, 04 Mar 2026 05:06:07 GMT", "Wed, 4 Mar 2026 05:06:07 +0000", "04 Mar 2026 06:06:07 +0100"]
    {
        assert_eq!(rfc1123(text), Some(TIME), "{text}");
    }
    for text in [
        "",
        "Wed, 04 Mar 26 05:06:07 GMT",
        "Wed, 04 Mar 2026 05:06 GMT",
        "W3d, 04 Mar 2026 05:06:07 GMT",
        "Wed, 04 Mar 2026 05:06:07 EST",
    ] {
        assert_eq!(rfc1123(text), None, "{text}");
    }
}

/// Over an end of four centuries and ends of one.
#[test]
fn every_day_is_the_one_after_the_day_before() {
    // 1890-01-01
    let mut day = -29_219;
    for year in 1890..2410 {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let february = if leap { 29 } else { 28 };
        let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        for (month, length) in (1..).zip(lengths) {
            for date in 1..=length {
                let text = format!("{year}{month:02}{date:02}T000000Z");
                assert_eq!(amz_date(day * 86_400 * MICROS), text);
                assert_eq!(iso8601(&text), Some(day * 86_400 * MICROS), "{text}");
                day += 1;
            }
            let beyond = format!("{year}{month:02}{:02}T000000Z", length + 1);
            assert_eq!(iso8601(&beyond), None, "{beyond}");
        }
    }
}
