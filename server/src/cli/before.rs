//! What is checked before a database is touched. It may be a live Keystone's: whatever can be refused is refused
//! while not a byte of it has changed.

use std::path::Path;

use super::config::Accept;
use super::failure::Failure;
use super::{files, installation, left_behind};
use crate::app::Rules;
use crate::bootstrap::{self, Plan};
use crate::config::{Config, Ini};
use crate::crypto::keys::KeyRing;
use crate::crypto::passwords::{self, Passwords};
use crate::store::url::{Location, Settings};
use crate::store::{Store, Tx, migrate};

/// Checks the files that a server reads besides the configuration, but for keys.
pub(super) fn check_files(config: &Config) -> Result<(), Failure> {
    Rules::read(config).map(drop).map_err(Failure::Config)
}

/// Checks the keys of tokens, credentials and receipts.
pub(super) fn check_keys(config: &Config) -> Result<(), Failure> {
    for (of, dir) in config.key_repositories() {
        KeyRing::new(dir.clone(), of == "credential")
            .current()
            .map_err(|e| Failure::Keys(format!("{of} keys: {e}")))?;
    }
    Ok(())
}

/// Opens the database so that nothing of it can change.
pub(super) async fn look(database: &Settings) -> Result<Store, Failure> {
    match (installation::open_read_only(database).await, &database.location) {
        // What was interrupted must be taken back, or somebody has it open by now: who may write copes with both.
        (Err(_), Location::Sqlite(path)) if is_being_written(path) => installation::open(database).await,
        (opened, _) => opened,
    }
}

/// Whether a journal or a log of changes lies beside the file.
fn is_being_written(path: &Path) -> bool {
    ["-journal", "-wal"].iter().any(|end| {
        let mut beside = path.as_os_str().to_owned();
        beside.push(end);
        files::is_taken(Path::new(&beside))
    })
}

/// Whether there is a database with anything in it, as far as that can be seen without opening it.
pub(super) fn is_there(database: &Settings) -> bool {
    match &database.location {
        Location::Sqlite(path) => std::fs::metadata(path).is_ok_and(|m| m.len() > 0),
        Location::Server(_) => true,
    }
}

/// What was found in a database. While it lives, the schema cannot be changed.
#[derive(Debug)]
pub(super) struct Found {
    /// A snapshot, when there are tables.
    tables: Option<Tx>,
    /// Whether this program has served it before.
    is_ours: bool,
    /// Whether nobody has put anything into it.
    pub(super) is_empty: bool,
}

impl Found {
    /// Where there is no database yet.
    pub(super) const NOTHING: Self = Self { tables: None, is_ours: false, is_empty: true };

    /// Looks into a database.
    ///
    /// # Errors
    /// When it cannot be read, or is none that can be served.
    pub(super) async fn of(store: &Store) -> Result<Self, Failure> {
        let mut tx = store.read().await?;
        let state = migrate::state(&mut tx).await?;
        migrate::refuse(&state)?;
        if state.keystone.is_empty() {
            return Ok(Self::NOTHING);
        }
        let is_empty = bootstrap::is_needed(&mut tx).await?;
        Ok(Self { tables: Some(tx), is_ours: state.own.is_some(), is_empty })
    }

    /// Lets the schema be changed again.
    pub(super) async fn end(self) {
        if let Some(tx) = self.tables {
            tx.end().await;
        }
    }

    /// Refuses what is stored and would be missed here; see `left_behind`.
    ///
    /// # Errors
    /// When there is some of it, and it was not accepted.
    pub(super) async fn check_left(&mut self, ini: &Ini, accept: &Accept) -> Result<(), Failure> {
        match &mut self.tables {
            Some(tx) => left_behind::check(tx, ini, accept, self.is_ours).await,
            None => Ok(()),
        }
    }

    /// Checks the password of a plan. One that a Keystone took is good, though bcrypt reads its beginning alone.
    ///
    /// # Errors
    /// When it would be refused.
    pub(super) async fn check_password(&mut self, config: &Config, plan: &Plan) -> Result<(), Failure> {
        let Some(password) = &plan.password else { return Ok(()) };
        let Err(too_long) = passwords::not_too_long(password) else {
            return Ok(());
        };
        let current = match &mut self.tables {
            Some(tx) => bootstrap::current_hash(tx, plan, &config.default_domain_id).await?,
            None => None,
        };
        match current {
            Some(hash) if Passwords::new(config).verify(password, Some(&hash)).await? => Ok(()),
            _ => Err(too_long.into()),
        }
    }
}

/// Looks into the database of a command that makes one where there is none.
///
/// # Errors
/// As [`Found::of`].
pub(super) async fn found(database: &Settings) -> Result<Found, Failure> {
    if is_there(database) { Found::of(&look(database).await?).await } else { Ok(Found::NOTHING) }
}
