//! `vicar db`

use clap::Subcommand;

use super::backup;
use super::failure::Failure;
use super::installation::{self, Installation};
use super::print;
use super::progress::Progress;
use crate::store::migrate;

#[derive(Debug, Subcommand)]
pub(super) enum Db {
    /// Create the schema, or add our own tables to a Keystone's. Doing it again changes nothing
    Sync(Installation),
    /// Show which schema the database has; exit 5 when `db sync` is needed
    Version(Installation),
    /// Copy a SQLite database while it is in use, into a file that only its owner may read
    Backup(backup::Database),
}

impl Db {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Sync(at) => sync(&at).await,
            Self::Version(at) => version(&at).await,
            Self::Backup(b) => b.run(),
        }
    }
}

async fn sync(at: &Installation) -> Result<(), Failure> {
    let database = at.config()?.database;
    let store = installation::open_or_create(at, &database).await?;
    let progress = Progress::begin("bringing the schema to the current version");
    let done = migrate::sync(&store, installation::clock().now()).await?;
    drop(progress);
    print(format_args!(
        "{}: {}",
        database.location,
        if done { "the schema is there now" } else { "nothing to do" }
    ));
    Ok(())
}

async fn version(at: &Installation) -> Result<(), Failure> {
    let database = at.config()?.database;
    let store = installation::open_read_only(&database).await?;
    let state = migrate::state(&mut store.read().await?).await?;
    let keystone = match state.keystone.join(" ") {
        none if none.is_empty() => "none".to_owned(),
        placeholders if state.is_known() => format!("{placeholders} (30.0.0)"),
        placeholders => format!("{placeholders} (not known here)"),
    };
    print(format_args!("keystone: {keystone}"));
    print(format_args!("vicar: {}", state.own.map_or_else(|| "none".to_owned(), |v| v.to_string())));
    if state.is_current() {
        Ok(())
    } else {
        Err(Failure::Database("the schema is not current; `vicar db sync` brings it there".into()))
    }
}
