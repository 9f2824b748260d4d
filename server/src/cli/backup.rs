//! `vicar db backup` and `vicar keys backup`: copies that only their owner may read, made while the server runs.

use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Failure;
use super::files;
use super::installation::{self, Installation};
use super::print;
use super::progress::Progress;
use crate::crypto::keys;
use crate::store::backup;
use crate::store::schema::Dialect;
use crate::store::url::Location;

#[derive(Debug, Args)]
pub(super) struct Database {
    #[command(flatten)]
    at: Installation,
    /// The new file; nothing may be there yet
    #[arg(value_name = "FILE")]
    into: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Keys {
    #[command(flatten)]
    at: Installation,
    /// The new directory; nothing may be there yet
    #[arg(value_name = "DIR")]
    into: PathBuf,
}

impl Database {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let location = self.at.config()?.database.location;
        let path = match &location {
            Location::Sqlite(path) => path,
            Location::Server(at) => {
                let dump = match at.dialect {
                    Dialect::Postgres => "pg_dump --no-owner",
                    _ => "mariadb-dump --single-transaction",
                };
                return Err(Failure::Usage(format!(
                    "{location} is no file that could be copied: `umask 077; {dump} {} > {}`",
                    at.name,
                    self.into.display()
                )));
            }
        };
        if !files::is_there(path)? {
            return Err(Failure::Database(format!("{}: there is no database to copy", path.display())));
        }
        installation::check_readable(path)?;
        let shown = self.into.display();
        files::create_private(&self.into)
            .map_err(|e| Failure::Io(format!("{shown}: the copy cannot be made: {e}")))?;
        let progress = Progress::begin("copying the database");
        let done = backup::sqlite(path, &self.into).map_err(Failure::from).and_then(|()| synced(&self.into));
        drop(progress);
        if done.is_err() {
            let _ = std::fs::remove_file(&self.into);
        }
        done?;
        print(format_args!("{shown}: a copy of {}; copy the keys too: `vicar keys backup`", path.display()));
        Ok(())
    }
}

/// Waits until a file is on the disk.
fn synced(path: &Path) -> Result<(), Failure> {
    std::fs::File::open(path)
        .and_then(|f| f.sync_all())
        .map_err(|e| Failure::Io(format!("{}: {e}", path.display())))
}

/// How often a repository that changes meanwhile is read again.
const TRIES: usize = 5;

impl Keys {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let config = self.at.config()?;
        let mut all = Vec::new();
        for (of, dir) in config.key_repositories() {
            let name = if of == "token" { "fernet-keys".to_owned() } else { format!("{of}-keys") };
            all.push((name, dir, read(dir)?));
        }
        if files::is_taken(&self.into) {
            return Err(Failure::Io(format!(
                "{}: there is something already; name a new directory",
                self.into.display()
            )));
        }
        for (name, from, found) in all {
            let into = self.into.join(name);
            files::make_directory(&into)?;
            for (number, text) in &found {
                files::write_private(&into.join(number.to_string()), text)?;
            }
            print(format_args!(
                "{}: a copy of the {} keys in {}",
                into.display(),
                found.len(),
                from.display()
            ));
        }
        Ok(())
    }
}

/// The keys in a directory, all as of one moment.
fn read(dir: &Path) -> Result<Vec<(u64, String)>, Failure> {
    files::check_readable(dir).map_err(Failure::Keys)?;
    for _ in 0..TRIES {
        let before = keys::files(dir).map_err(Failure::Keys)?;
        if before.is_empty() {
            return Err(Failure::Keys(format!("{}: there are no keys to copy", dir.display())));
        }
        let text =
            |path: &Path| std::fs::read_to_string(path).map_err(|e| Failure::Keys(files::trouble(path, &e)));
        let found: Result<Vec<_>, _> =
            before.iter().map(|(number, path)| Ok((*number, text(path)?))).collect();
        // A rotation renames what is being read.
        if keys::files(dir).map_err(Failure::Keys)? == before {
            return found;
        }
    }
    Err(Failure::Keys(format!("{}: the keys are being rotated; try again", dir.display())))
}
