//! `vicar trust`

use clap::{Args, Subcommand};
use vicar_rules::Micros;

use super::before;
use super::failure::Failure;
use super::installation::{self, Installation};
use super::print;
use super::progress::Progress;
use crate::app::App;
use crate::clock;
use crate::reaper;
use crate::resources::trusts::flush::Which;
use crate::system::System;

#[derive(Debug, Subcommand)]
pub(super) enum Trust {
    /// End what is over with all below it, and remove ended trusts with everything that speaks of them
    Flush(Flush),
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
}
