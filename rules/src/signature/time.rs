//! The forms in which requests state a time, and microseconds since the epoch.

pub(super) const MICROS: i64 = 1_000_000;

/// Writes an instant, in microseconds since the epoch, as version 4 wants it, as in
/// `20260304T050607Z`.
pub fn amz_date(micros: i64) -> String {
    let seconds = micros.div_euclid(MICROS);
    let [year, month, day] = civil_from_days(seconds.div_euclid(86_400));
    let rest = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Walks over a date, byte by byte.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn over(text: &'a str) -> Self {
        Self { rest: text.as_bytes() }
    }

    fn eat(&mut self, wanted: &[u8]) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if wanted.contains(first) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Exactly `count` digits.
    fn number(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.rest.split_at_checked(count)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.rest = rest;
        Some(digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
    }

    fn at_digit(&self) -> bool {
        self.rest.first().is_some_and(u8::is_ascii_digit)
    }

    /// The minutes east of Greenwich of a numeric offset, with which the text ends.
    fn offset(&mut self) -> Option<i64> {
        let west = self.eat(b"-");
        if !west && !self.eat(b"+") {
            return None;
        }
        let hours = self.number(2).filter(|h| *h < 24)?;
        let minutes =
            if self.eat(b":") || self.at_digit() { self.number(2).filter(|m| *m < 60)? } else { 0 };
        self.end()?;
        let offset = hours * 60 + minutes;
        Some(if west { -offset } else { offset })
    }

    fn end(&self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }
}

/// Reads a date with a time in ISO 8601, basic or extended, to the minute or finer; without an
/// offset it is UTC. Gives microseconds since the epoch.
pub(super) fn iso8601(text: &str) -> Option<i64> {
    let mut c = Cursor::over(text);
    let year = c.number(4)?;
    let dashed = c.eat(b"-");
    let month = c.number(2)?;
    if dashed != c.eat(b"-") {
        return None;
    }
    let day = c.number(2)?;
    if !c.eat(b"Tt ") {
        return None;
    }
    let hour = c.number(2)?;
    let coloned = c.eat(b":");
    let minute = c.number(2)?;
    let has_second = if coloned { c.eat(b":") } else { c.at_digit() };
    let second = if has_second { c.number(2)? } else { 0 };
    let mut micros = 0;
    if has_second && c.eat(b".,") {
        if !c.at_digit() {
            return None;
        }
        let mut unit = MICROS / 10;
        while c.at_digit() {
            micros += c.number(1)? * unit;
            unit /= 10;
        }
    }
    let utc = c.eat(b"Zz") || c.rest.is_empty();
    let offset = if utc { c.end().map(|()| 0)? } else { c.offset()? };
    instant([year, month, day], [hour, minute, second], offset).map(|t| t + micros)
}

/// Reads the date of an HTTP or mail header, as in `Wed, 04 Mar 2026 05:06:07 GMT`.
pub(super) fn rfc1123(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = match text.split_once(',') {
        Some((weekday, rest)) if weekday.bytes().all(|b| b.is_ascii_alphabetic()) => rest,
        Some(_) => return None,
        None => text,
    };
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let &[day, month, year, time, zone] = words.as_slice() else {
        return None;
    };
    let day = whole(day, 1).or_else(|| whole(day, 2))?;
    let month = MONTHS.iter().zip(1..).find(|(name, _)| **name == month)?.1;
    let year = whole(year, 4)?;
    let times: Vec<&str> = time.split(':').collect();
    let &[hour, minute, second] = times.as_slice() else {
        return None;
    };
    let time = [whole(hour, 2)?, whole(minute, 2)?, whole(second, 2)?];
    let offset = match zone {
        "GMT" | "UTC" | "UT" | "Z" => 0,
        _ => Cursor::over(zone).offset()?,
    };
    instant([year, month, day], time, offset)
}

/// A number that is all of a text, and has so many digits.
fn whole(text: &str, digits: usize) -> Option<i64> {
    let mut c = Cursor::over(text);
    let number = c.number(digits)?;
    c.end().map(|()| number)
}

/// Microseconds since the epoch of a civil time at an offset of so many minutes, if it exists.
fn instant(date: [i64; 3], [hour, minute, second]: [i64; 3], offset: i64) -> Option<i64> {
    let days = days_from_civil(date);
    // A day that is not in the calendar comes back as another.
    if civil_from_days(days) != date || date[0] < 1 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let minutes = days * 1440 + hour * 60 + minute - offset;
    Some((minutes * 60 + second) * MICROS)
}

/// Days since the epoch. Years are counted from March, so that the leap day comes last.
fn days_from_civil([year, month, day]: [i64; 3]) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> [i64; 3] {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    [year, month, day]
}
