//! Where a command works: the configuration, the database and the keys that it names.

use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Failure;
use super::{before, files};
use crate::clock::Clock;
use crate::config::{Base, Config, Ini, foreign};
use crate::store::url::{Location, Settings};
use crate::store::{self, Store, migrate};

/// A database up to this size is checked whole at every start, which takes a fraction of a second;
/// larger ones by `vicar doctor`.
const CHECKED_AT_START: u64 = 64 << 20;

/// The options that say which installation is meant.
#[derive(Debug, Clone, Args)]
pub(super) struct Installation {
    /// Where database, keys and files for clients lie unless a configuration says otherwise [default: ./vicar-data]
    #[arg(long, value_name = "DIR", env = "VICAR_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// A configuration file in Keystone's form; may be given several times, later ones win
    #[arg(long = "config-file", value_name = "FILE", env = "VICAR_CONFIG_FILE", value_delimiter = ',')]
    config_files: Vec<PathBuf>,
    /// A directory whose `*.conf` files are read after the files; may be given several times. Without it, the directory
    /// that has the name of a configuration file and `.d` is read, if it is there
    #[arg(long = "config-dir", value_name = "DIR", env = "VICAR_CONFIG_DIR", value_delimiter = ',')]
    config_dirs: Vec<PathBuf>,
}

/// The data directory when none is named.
const DATA_DIR: &str = "./vicar-data";

impl Installation {
    /// Where files for clients lie, and what no configuration names.
    pub(super) fn data_dir(&self) -> &Path {
        self.data_dir.as_deref().unwrap_or(Path::new(DATA_DIR))
    }

    /// Whether a configuration was named.
    pub(super) fn is_configured(&self) -> bool {
        !self.config_files.is_empty() || !self.config_dirs.is_empty()
    }

    /// Where paths lie that no configuration names. Where it names the database and there is no data directory, keys are
    /// where a Keystone has them: what belongs to a database does not depend on the directory that the program is started in.
    pub(super) fn base(&self, ini: &Ini) -> Base<'_> {
        match &self.data_dir {
            None if ini.value("database", "connection").is_some() => Base::Keystone,
            _ => Base::Data(self.data_dir()),
        }
    }

    /// The files to read, in their order.
    fn files(&self) -> Result<Vec<PathBuf>, Failure> {
        for file in &self.config_files {
            files::check_readable(file).map_err(|e| Failure::Config(format!("configuration: {e}")))?;
        }
        let mut files = self.config_files.clone();
        for dir in &self.config_dirs {
            let wrong = |e: std::io::Error| Failure::Config(format!("--config-dir {}: {e}", dir.display()));
            // A directory that is not there has no files; one that was named is to be there.
            std::fs::read_dir(dir).map_err(wrong)?;
            files.extend(foreign::files_in(dir, |name| name.ends_with(".conf")).map_err(wrong)?);
        }
        if self.config_dirs.is_empty() {
            for file in &self.config_files {
                let mut dir = file.clone().into_os_string();
                dir.push(".d");
                let dir = Path::new(&dir);
                let wrong = |e| Failure::Config(format!("configuration: {}: {e}", dir.display()));
                files.extend(foreign::files_in(dir, |name| name.ends_with(".conf")).map_err(wrong)?);
            }
        }
        Ok(files)
    }

    /// Reads the files and the environment.
    pub(super) fn ini(&self) -> Result<Ini, Failure> {
        let variable = |name: &str| std::env::var(name).ok();
        Ok(Ini::with_variables(&self.files()?, variable)?)
    }

    /// Reads the configuration.
    pub(super) fn config(&self) -> Result<Config, Failure> {
        self.read().map(|(_, config)| config)
    }

    /// Reads the configuration, and returns what it was made from too.
    pub(super) fn read(&self) -> Result<(Ini, Config), Failure> {
        let ini = self.ini()?;
        let config = Config::from_ini(&ini, self.base(&ini))?;
        Ok((ini, config))
    }

    /// Makes the directory of a key repository, and the data directory if the repository is in it.
    pub(super) fn make_key_directory(&self, dir: &Path) -> Result<(), Failure> {
        if files::absolute(dir).starts_with(files::absolute(self.data_dir())) {
            make_data_directory(self.data_dir())?;
        }
        files::make_directory(dir)
    }
}

/// Makes a data directory, if it is not there. Version control passes it over: it is full of secrets.
pub(super) fn make_data_directory(dir: &Path) -> Result<(), Failure> {
    if files::is_there(dir)? {
        return Ok(());
    }
    files::make_directory(dir)?;
    let wrong = |e| Failure::Io(format!("{}: the file .gitignore cannot be made: {e}", dir.display()));
    let mut file = files::create_private(&dir.join(".gitignore")).map_err(wrong)?;
    std::io::Write::write_all(&mut file, b"# Keys, passwords and a database.\n*\n").map_err(wrong)
}

/// What SQLite keeps beside a database, by the ends of the names.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Opens the database. An absent file is created for its owner alone. The schema is left as it is.
pub(super) async fn open_or_create(at: &Installation, database: &Settings) -> Result<Store, Failure> {
    if let Location::Sqlite(path) = &database.location
        && !files::is_there(path)?
    {
        if files::absolute(path).starts_with(files::absolute(at.data_dir())) {
            make_data_directory(at.data_dir())?;
        }
        create_file(path)?;
    }
    open(database).await
}

fn create_file(path: &Path) -> Result<(), Failure> {
    let path = &files::absolute(path);
    let dir = path.parent().unwrap_or(Path::new("/"));
    files::make_directory(dir)?;
    files::check_directory(dir)?;
    for end in BESIDE {
        let beside = beside(path, end);
        if files::is_taken(&beside) {
            return Err(Failure::Io(format!(
                "{}: this belongs to a database that is not there; bring the database back, or remove this file",
                beside.display()
            )));
        }
    }
    files::create_private(path)
        .map(drop)
        .map_err(|e| Failure::Io(format!("{}: the database cannot be created: {e}", path.display())))
}

/// Opens a database that is there.
pub(super) async fn open(database: &Settings) -> Result<Store, Failure> {
    if let Location::Sqlite(path) = &database.location
        && files::is_there(path)?
    {
        check_readable(path)?;
        files::check_writable(path).map_err(Failure::Io)?;
    }
    opened(database, Store::open).await
}

/// Opens a database that is there, to look only.
pub(super) async fn open_read_only(database: &Settings) -> Result<Store, Failure> {
    opened(database, Store::open_read_only).await
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
    let mut tx = store.read().await?;
    migrate::state(&mut tx).await?;
    tx.end().await;
    Ok(())
}

/// Checks that a database's file, and what is beside it, may be read.
pub(super) fn check_readable(path: &Path) -> Result<(), Failure> {
    std::iter::once(path.to_owned())
        .chain(BESIDE.iter().map(|end| beside(path, end)))
        .try_for_each(|file| files::check_readable(&file).map_err(Failure::Io))
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(end);
    beside.into()
}

async fn open_file(path: &Path, database: &Settings, opener: Opener) -> Result<Store, Failure> {
    check_readable(path)?;
    let size = std::fs::metadata(path)
        .map_err(|e| {
            let hint =
                "correct [database] connection or --data-dir, or bring it back; `vicar serve` makes a new installation";
            Failure::Database(format!("{}: no database: {e}; {hint}", path.display()))
        })?
        .len();
    let damaged = |e: &dyn std::fmt::Display| {
        Failure::Database(format!("{}: {e}; restore it from a backup if it is damaged", path.display()))
    };
    let wrong = |e: store::Error| match e {
        store::Error::Unavailable(_) | store::Error::Retry(_) => Failure::Database(format!(
            "{}: {e}; another program holds it: try again, or look for that one",
            path.display()
        )),
        e => damaged(&e),
    };
    let store = opener(database).map_err(wrong)?;
    answers(&store).await.map_err(wrong)?;
    let mut tx = store.read().await.map_err(wrong)?;
    if size <= CHECKED_AT_START
        && let Some(fault) = tx.fault().await.map_err(wrong)?
    {
        return Err(damaged(&format_args!("the database is damaged: {fault}")));
    }
    drop(tx);
    Ok(store)
}

/// Opens a database whose schema this program can work with as it is. Another one is not touched.
pub(super) async fn open_current(database: &Settings) -> Result<Store, Failure> {
    open_current_read_only(database).await?;
    open(database).await
}

/// The same, to look only.
pub(super) async fn open_current_read_only(database: &Settings) -> Result<Store, Failure> {
    let store = before::look(database).await?;
    let state = migrate::state(&mut store.read().await?).await?;
    migrate::refuse(&state)?;
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
