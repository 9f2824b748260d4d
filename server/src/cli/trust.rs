//! `vicar trust`

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use vicar_rules::Micros;

use super::before;
use super::failure::Failure;
use super::installation::{self, Installation};
use super::print;
use super::progress::Progress;
use crate::app::App;
use crate::clock;
use crate::facts::evidence::Kind;
use crate::reaper;
use crate::resources::trusts::flush::Which;
use crate::resources::trusts::unused;
use crate::system::System;

#[derive(Debug, Subcommand)]
pub(super) enum Trust {
    /// End what is over with all below it, and remove ended trusts with everything that speaks of them
    Flush(Flush),
    /// List trusts, keypairs and application credentials that are alive and that nobody has used for long. Nothing is changed
    Unused(Unused),
}

#[derive(Debug, Args)]
pub(super) struct Unused {
    #[command(flatten)]
    at: Installation,
    /// Those that were neither used nor made since: so many days ago (90d) or hours (36h), or a time in UTC
    /// (2027-01-31T12:00:00Z)
    #[arg(long, value_name = "90d|TIME", default_value = "90d", value_parser = since)]
    since: Since,
    /// For programs: one JSON document
    #[arg(long)]
    json: bool,
}

/// A time, or how long ago it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    At(Micros),
    Ago(Micros),
}

fn since(text: &str) -> Result<Since, String> {
    let span =
        |digits: &str, unit: Micros| digits.parse::<u32>().ok().map(|n| Since::Ago(unit * i64::from(n)));
    let ago = match (text.strip_suffix('d'), text.strip_suffix('h')) {
        (Some(days), _) => span(days, clock::DAY),
        (_, Some(hours)) => span(hours, 3600 * clock::SECOND),
        _ => None,
    };
    let wrong = || "not a span like 90d or 36h, and not a time like 2027-01-31T12:00:00Z".to_owned();
    ago.or_else(|| clock::from_client(text).map(Since::At)).ok_or_else(wrong)
}

#[derive(Debug, Args)]
pub(super) struct Flush {
    #[command(flatten)]
    at: Installation,
    /// Remove only what ended before this day (DD-MM-YYYY or YYYY-MM-DD, UTC); without it, all that ended
    #[arg(long, value_parser = day)]
    date: Option<Micros>,
    /// Only trusts on this project
    #[arg(long, value_name = "ID")]
    project_id: Option<String>,
    /// Only trusts of this trustor
    #[arg(long, value_name = "ID")]
    trustor_user_id: Option<String>,
    /// Only trusts for this trustee
    #[arg(long, value_name = "ID")]
    trustee_user_id: Option<String>,
}

/// The first instant of a day.
fn day(text: &str) -> Result<Micros, String> {
    let parts: Vec<&str> = text.split('-').collect();
    let iso = match parts.as_slice() {
        [y, m, d] if y.len() == 4 => format!("{y}-{m}-{d}"),
        [d, m, y] if y.len() == 4 => format!("{y}-{m}-{d}"),
        _ => String::new(),
    };
    clock::from_client(&format!("{iso}T00:00:00")).ok_or_else(|| "not a day like 31-12-2026".to_owned())
}

impl Trust {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Flush(f) => f.run().await,
            Self::Unused(u) => u.run().await,
        }
    }
}

impl Flush {
    async fn run(self) -> Result<(), Failure> {
        let config = self.at.config()?;
        before::check_files(&config)?;
        let store = installation::open_current(&config.database).await?;
        let app = App::new(config, store, installation::clock()).map_err(Failure::Config)?;
        let now = app.clock.now();
        let which =
            Which { project: self.project_id, trustor: self.trustor_user_id, trustee: self.trustee_user_id };
        let progress = Progress::begin("looking for trusts that have ended, and removing them");
        let ended = reaper::end_all(&app, &which, now, System::CommandLine).await?;
        // The day itself is not yet before it.
        let cutoff = self.date.map_or(now, |d| d - 1);
        let purged = reaper::purge_all(&app, &which, cutoff, System::CommandLine).await?;
        let keypairs = reaper::remove_rest(&app, System::CommandLine).await?;
        drop(progress);
        print(format_args!(
            "{purged} trusts removed ({ended} of those that are over had not been ended), {keypairs} keypairs without a trust removed"
        ));
        Ok(())
    }
}

impl Unused {
    async fn run(self) -> Result<(), Failure> {
        let mut config = self.at.config()?;
        before::check_files(&config)?;
        let store = installation::open_current_read_only(&config.database).await?;
        config.remembers = false;
        let app = App::new(config, store, installation::clock()).map_err(Failure::Config)?;
        let now = app.clock.now();
        let since = match self.since {
            Since::At(at) => at,
            Since::Ago(span) => now.saturating_sub(span),
        };
        let mut all = Vec::new();
        for kind in Kind::ALL {
            let mut after = None;
            loop {
                let mut tx = app.store.read().await?;
                let (found, last) = unused::page(&mut tx, kind, (since, now), after).await?;
                all.extend(found);
                after = last;
                if after.is_none() {
                    break;
                }
            }
        }
        if self.json {
            let unused: Vec<Value> = all.iter().map(to_json).collect();
            print(format_args!("{:#}", json!({"since": clock::iso(since), "unused": unused})));
        } else {
            table(&all, now).iter().for_each(print);
            print(format_args!("{} that were neither used nor made since {}", all.len(), clock::iso(since)));
        }
        Ok(())
    }
}

fn to_json(one: &unused::Unused) -> Value {
    json!({
        "type": one.kind.word(),
        "id": one.id,
        "trustor_user_id": one.trustor,
        "trustee_user_id": one.trustee,
        "project_id": one.project,
        "created_at": one.evidence.created_at.map(clock::iso),
        "last_used_at": one.evidence.last_used_at.map(clock::iso),
        "use_count": one.evidence.use_count,
    })
}

/// Lines in columns; none when there is nothing.
fn table(all: &[unused::Unused], now: Micros) -> Vec<String> {
    let ago = |at: Option<Micros>, not: &str| match at {
        Some(at) => format!("{} d", now.saturating_sub(at) / clock::DAY),
        None => not.to_owned(),
    };
    let head = ["TYPE", "ID", "TRUSTOR", "TRUSTEE", "PROJECT", "AGE", "LAST USED"].map(str::to_owned);
    let rows = all.iter().map(|one| {
        let is_known = one.evidence.use_count.is_some();
        [
            one.kind.word().to_owned(),
            one.id.clone(),
            one.trustor.clone(),
            one.trustee.clone().unwrap_or_else(|| "-".into()),
            one.project.clone().unwrap_or_else(|| "-".into()),
            ago(one.evidence.created_at, "unknown"),
            ago(one.evidence.last_used_at, if is_known { "never" } else { "unknown" }),
        ]
    });
    let rows: Vec<[String; 7]> = std::iter::once(head).filter(|_| !all.is_empty()).chain(rows).collect();
    let widths: Vec<usize> = (0..7)
        .map(|at| rows.iter().filter_map(|row| row.get(at)).map(String::len).max().unwrap_or(0))
        .collect();
    let line = |row: &[String; 7]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_read_in_both_orders() {
        assert_eq!(day("31-12-2026"), day("2026-12-31"));
        assert_eq!(day("1970-01-02"), Ok(86_400 * clock::SECOND));
        assert!(day("31.12.2026").is_err());
        assert!(day("2026-13-31").is_err());
    }

    #[test]
    fn a_time_or_how_long_ago() {
        assert_eq!(since("90d"), Ok(Since::Ago(90 * clock::DAY)));
        assert_eq!(since("24h"), since("1d"));
        assert_eq!(since("1970-01-01T00:00:01Z"), Ok(Since::At(clock::SECOND)));
        for wrong in ["", "d", "-1d", "90", "4294967296d", "yesterday", "2026-13-01T00:00:00"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
