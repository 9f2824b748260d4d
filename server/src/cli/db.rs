//! `vicar db`

use clap::{Args, Subcommand};

use super::backup;
use super::failure::Failure;
use super::installation::{self, Installation};
use super::progress::Progress;
use super::{before, checks, print};
use crate::store::memory::{self, Journal};
use crate::store::migrate;
use crate::store::schema::releases::NEWEST_EXPAND;

#[derive(Debug, Subcommand)]
pub(super) enum Db {
    /// Create the schema, or add our own tables to a Keystone's. Doing it again changes nothing
    Sync(Sync),
    /// Show which schema the database has; exit 5 when `db sync` is needed
    Version(Installation),
    /// Copy a SQLite database while it is in use, into a file that only its owner may read
    Backup(backup::Database),
}

#[derive(Debug, Args)]
pub(super) struct Sync {
    #[command(flatten)]
    at: Installation,
    /// Bring an older Keystone's tables to Keystone 30's: make the indexes that they lack, and set the version.
    /// That Keystone goes on serving, but its keystone-manage no longer knows the version; 29 and 30 do
    #[arg(long)]
    keystone_indexes: bool,
    /// Also remove the triggers by which changes are written down, before this server is given up for a Keystone
    #[arg(long)]
    remove_triggers: bool,
}

impl Db {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Sync(sync) => sync.run().await,
            Self::Version(at) => version(&at).await,
            Self::Backup(b) => b.run(),
        }
    }
}

impl Sync {
    async fn run(self) -> Result<(), Failure> {
        let config = self.at.config()?;
        let (database, remembers) = (config.database, config.remembers);
        before::found(&database).await?;
        let store = installation::open_or_create(&self.at, &database).await?;
        let progress = Progress::begin("bringing the schema to the current version");
        let done = migrate::sync(&store, installation::clock().now()).await?;
        drop(progress);
        print(format_args!(
            "{}: {}",
            database.location,
            if done { "the schema is there now" } else { "nothing to do" }
        ));
        if self.remove_triggers {
            memory::remove(&store).await?;
            print("the journal's triggers are removed: nothing is remembered between requests");
        } else if remembers {
            match memory::install(&store).await? {
                Journal::There => {}
                Journal::Made => print("the journal's triggers are there now"),
                Journal::Impossible(why) => {
                    print(format_args!(
                        "the journal's triggers cannot be made, and nothing will be remembered: {why}"
                    ));
                }
            }
        }
        if self.keystone_indexes {
            match migrate::complete(&store).await?.join(", ") {
                none if none.is_empty() => print("Keystone's indexes: none is missing"),
                made => print(format_args!("Keystone's indexes: {made}; its version is {NEWEST_EXPAND} now")),
            }
        }
        Ok(())
    }
}

async fn version(at: &Installation) -> Result<(), Failure> {
    let database = at.config()?.database;
    let store = before::look(&database).await?;
    let state = migrate::state(&mut store.read().await?).await?;
    let marks = state.keystone.join(" ");
    let release = state.release();
    match &release {
        Ok(release) => print(format_args!("keystone: {marks} (Keystone {})", release.releases)),
        Err(_) if marks.is_empty() => print("keystone: none"),
        Err(_) => print(format_args!("keystone: {marks} (not served)")),
    }
    print(format_args!("vicar: {}", state.own.map_or_else(|| "none".to_owned(), |v| v.to_string())));
    if let Some(lacking) = release.as_ref().ok().and_then(checks::lacking) {
        print(format_args!("indexes: {lacking}"));
    }
    migrate::refuse(&state)?;
    if state.is_current() {
        Ok(())
    } else {
        Err(Failure::Database("the schema is not current; `vicar db sync` brings it there".into()))
    }
}
