//! Where a command works: the configuration, the database and the keys that it names.

use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Failure;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::url::{Location, Settings};
use crate::store::{self, Store, migrate};

/// A database up to this size is checked whole at every start, which takes a fraction of a second;
/// larger ones by `vicar doctor`.
const CHECKED_AT_START: u64 = 64 << 20;

/// The options that say which installation is meant.
#[derive(Debug, Clone, Args)]
pub(super) struct Installation {
    /// Where database and keys lie unless a configuration file says otherwise
    #[arg(long, value_name = "DIR", env = "VICAR_DATA_DIR", default_value = "./vicar-data")]
    pub(super) data_dir: PathBuf,
    /// A configuration file in Keystone's form; may stand several times, later ones win
    #[arg(long = "config-file", value_name = "FILE")]
    pub(super) config_files: Vec<PathBuf>,
}

impl Installation {
    /// Reads the configuration.
    pub(super) fn config(&self) -> Result<Config, Failure> {
        Ok(Config::load(&self.config_files, &self.data_dir)?)
    }
}

/// Makes a directory that only its owner may enter, with those above it. One that exists stays as it is.
pub(super) fn directory(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| Failure::Io(format!("{}: the directory cannot be made: {e}", path.display())))
}

/// Writes a file that only its owner may read; in the place of an older one at once or not at all.
pub(super) fn private_file(path: &Path, text: &str) -> Result<(), Failure> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let wrong = |e: std::io::Error| Failure::Io(format!("{}: cannot be written: {e}", path.display()));
    let tmp = path.with_extension("tmp");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&tmp)
        .map_err(wrong)?;
    file.write_all(text.as_bytes()).map_err(wrong)?;
    file.sync_all().map_err(wrong)?;
    std::fs::rename(&tmp, path).map_err(wrong)
}

/// Opens the database; an absent file is made, for its owner alone. Its schema is left as it is.
pub(super) async fn open_or_create(database: &Settings) -> Result<Store, Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Location::Sqlite(path) = &database.location {
        directory(path.parent().unwrap_or(Path::new("")))?;
        std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|e| Failure::Io(format!("{}: the database cannot be opened: {e}", path.display())))?;
    }
    open(database).await
}

/// Opens a database that is there.
pub(super) async fn open(database: &Settings) -> Result<Store, Failure> {
    opened(database, Store::open).await
}

/// Opens a database that is there, to look only.
pub(super) async fn look(database: &Settings) -> Result<Store, Failure> {
    opened(database, Store::look).await
}

type Opener = fn(&Settings) -> store::Result<Store>;

async fn opened(database: &Settings, opener: Opener) -> Result<Store, Failure> {
    match &database.location {
        Location::Sqlite(path) => open_file(path, database, opener).await,
        Location::Server(_) => {
            let store = opener(database)?;
            answers(&store).await.map_err(|e| Failure::Database(format!("{}: {e}", database.location)))?;
            Ok(store)
        }
    }
}

async fn answers(store: &Store) -> store::Result<()> {
    migrate::state(&mut store.read().await?).await.map(drop)
}

async fn open_file(path: &Path, database: &Settings, opener: Opener) -> Result<Store, Failure> {
    let size = std::fs::metadata(path)
        .map_err(|e| {
            let hint = "`vicar db sync` makes one, and `vicar serve` furnishes it too";
            Failure::Database(format!("{}: no database: {e}; {hint}", path.display()))
        })?
        .len();
    let damaged = |e: String| {
        Failure::Database(format!("{}: {e}; restore it from a backup if it is damaged", path.display()))
    };
    let store = opener(database).map_err(|e| damaged(e.to_string()))?;
    answers(&store).await.map_err(|e| damaged(e.to_string()))?;
    let mut tx = store.read().await.map_err(|e| damaged(e.to_string()))?;
    if size <= CHECKED_AT_START
        && let Some(fault) = tx.fault().await.map_err(|e| damaged(e.to_string()))?
    {
        return Err(damaged(format!("the database is damaged: {fault}")));
    }
    drop(tx);
    Ok(store)
}

/// Opens a database whose schema this program can work with as it is.
pub(super) async fn open_current(database: &Settings) -> Result<Store, Failure> {
    let store = open(database).await?;
    let state = migrate::state(&mut store.read().await?).await?;
    if state.is_current() {
        Ok(store)
    } else {
        Err(Failure::Database(format!(
            "{}: the schema is not current; `vicar db sync` brings it there",
            database.location
        )))
    }
}

/// The clock of all commands.
pub(super) fn clock() -> Clock {
    Clock::system()
}

/// A path as it is seen from every directory.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
