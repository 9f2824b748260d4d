//! How an option is read: as its row in the table says.

use std::path::PathBuf;

use vicar_rules::Micros;

use super::options::{self, Kind};
use super::{Base, ConfigError, Ini, Result};
use crate::clock::SECOND;
use crate::oslo;
use crate::pattern;

/// Reads options as the table says.
pub(super) struct Reader<'a> {
    pub(super) ini: &'a Ini,
    pub(super) base: Base<'a>,
}

pub(super) fn wrong<T>(section: &str, name: &str, problem: impl std::fmt::Display) -> Result<T> {
    Err(ConfigError(format!("[{section}] {name}: {problem}")))
}

/// A row that is missing, or of another kind than its reader expects. The defaults alone would show it.
fn not_in_table<T>(section: &str, name: &str) -> Result<T> {
    wrong(section, name, "the table of options has it otherwise")
}

impl Reader<'_> {
    /// The row's kind, and the value in the files.
    pub(super) fn row(&self, section: &str, name: &str) -> (Option<Kind>, Option<&str>) {
        let set = self.ini.value(section, name);
        let above = || section.split_once('.').and_then(|(above, _)| self.ini.value(above, name));
        (options::find(section, name).map(|o| o.kind), set.or_else(above))
    }

    pub(super) fn text(&self, section: &str, name: &str) -> Result<Option<String>> {
        let (kind, set) = self.row(section, name);
        match kind {
            Some(Kind::Text(default)) => Ok(set.or(default).map(str::to_owned)),
            Some(Kind::Choice(words)) => match set {
                Some(word) if !words.contains(&word) => {
                    wrong(section, name, format_args!("`{word}` is neither {}", words.join(" nor ")))
                }
                _ => Ok(set.or(words.first().copied()).map(str::to_owned)),
            },
            Some(Kind::Regex) => match set.map(pattern::compile) {
                Some(Err(e)) => wrong(section, name, e),
                _ => Ok(set.map(str::to_owned)),
            },
            _ => not_in_table(section, name),
        }
    }

    pub(super) fn path(&self, section: &str, name: &str) -> Result<PathBuf> {
        match self.row(section, name) {
            (Some(Kind::InData(..)), Some(set)) => Ok(PathBuf::from(set)),
            (Some(Kind::InData(ours, theirs)), None) => match (self.base, theirs) {
                (Base::Data(dir), _) => Ok(dir.join(ours)),
                (Base::Keystone, Some(theirs)) => Ok(PathBuf::from(theirs)),
                (Base::Keystone, None) => wrong(
                    section,
                    name,
                    "is not set, and no data directory (--data-dir) is named where it could lie",
                ),
            },
            _ => not_in_table(section, name),
        }
    }

    pub(super) fn flag(&self, section: &str, name: &str) -> Result<bool> {
        match self.row(section, name) {
            (Some(Kind::Flag(default)), None) => Ok(default),
            (Some(Kind::Flag(_)), Some(set)) => match oslo::boolean(set) {
                Some(flag) => Ok(flag),
                None => wrong(section, name, format_args!("`{set}` is neither true nor false")),
            },
            _ => not_in_table(section, name),
        }
    }

    pub(super) fn number(&self, section: &str, name: &str) -> Result<i64> {
        match self.row(section, name) {
            (Some(Kind::Number(n) | Kind::Seconds(n) | Kind::Minutes(n)), None) => Ok(n),
            (Some(Kind::Number(_) | Kind::Seconds(_) | Kind::Minutes(_)), Some(set)) => {
                parsed(section, name, set)
            }
            _ => not_in_table(section, name),
        }
    }

    /// A number that cannot be negative: in the place of one that is, the default.
    pub(super) fn size<T: TryFrom<i64> + Default>(&self, section: &str, name: &str) -> Result<T> {
        let default = match self.row(section, name).0 {
            Some(Kind::Number(n)) => n,
            _ => return not_in_table(section, name),
        };
        let n = self.number(section, name)?;
        Ok(T::try_from(n).or_else(|_| T::try_from(default)).unwrap_or_default())
    }

    pub(super) fn count(&self, section: &str, name: &str) -> Result<Option<u32>> {
        match self.row(section, name) {
            (Some(Kind::Count(default)), None) => Ok(default),
            (Some(Kind::Count(_)), Some(set)) => parsed(section, name, set).map(Some),
            _ => not_in_table(section, name),
        }
    }

    /// A length of time, in microseconds.
    pub(super) fn duration(&self, section: &str, name: &str) -> Result<Micros> {
        let unit = match self.row(section, name).0 {
            Some(Kind::Seconds(_)) => SECOND,
            Some(Kind::Minutes(_)) => 60 * SECOND,
            _ => return not_in_table(section, name),
        };
        Ok(self.number(section, name)?.saturating_mul(unit))
    }

    /// The pause between rounds, in microseconds; 0 where there are none.
    pub(super) fn pause(&self, section: &str, name: &str) -> Result<Micros> {
        match self.duration(section, name)? {
            ..0 => wrong(section, name, "must not be negative"),
            pause => Ok(pause),
        }
    }

    pub(super) fn list(&self, section: &str, name: &str) -> Result<Vec<String>> {
        let (Some(Kind::List(default)), set) = self.row(section, name) else {
            return not_in_table(section, name);
        };
        let words = set.unwrap_or(default).split([',', '\n']).map(str::trim);
        Ok(words.filter(|s| !s.is_empty()).map(str::to_owned).collect())
    }
}

fn parsed<T: std::str::FromStr>(section: &str, name: &str, value: &str) -> Result<T> {
    value.trim().parse().or_else(|_| wrong(section, name, format_args!("`{value}` is no number")))
}
