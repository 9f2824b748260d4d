//! The store: transactions over one text per query.
//!
//! SQL stands beside the resource that it belongs to, in one dialect: quoted names, `?` for
//! arguments, nothing that one engine alone understands. [`Store::read`] gives a consistent
//! snapshot, [`Store::write`] a transaction; both are a [`Tx`], and one that is dropped is undone. Writes
//! come one after the other, over all replicas.
//!
//! What an engine says in its own words stands in the file of its name, and in [`schema`].

pub mod cascade;
mod dialect;
mod limits;
pub mod migrate;
mod mysql;
mod patience;
mod postgres;
pub mod revocations;
pub mod schema;
mod select;
mod server;
mod sqlite;
pub mod tree;
pub mod url;
mod value;
mod write;

use std::path::Path;

use crate::clock::{self, Clock};

pub use patience::Patience;
pub use select::Select;
pub use server::Gauges;
pub use value::{Date, DateTime, FromValue, Id, Row, Value};
pub use write::{Delete, Insert, Statement, Update};

/// What can go wrong below the resources.
#[derive(Debug)]
pub enum Error {
    /// A unique or primary key exists already.
    Duplicate,
    /// Somebody else was in the way, or the connection went before anything was committed: the same
    /// again, from its beginning, is likely to succeed.
    Again(String),
    /// The engine is busy or away.
    Unavailable(String),
    /// A value is not one that the database can hold; in words for the client.
    Refused(String),
    /// A row is not what its reader expects, or the engine refuses a statement.
    Broken(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Duplicate => f.write_str("a key exists already"),
            Self::Again(what) => write!(f, "the transaction did not come about: {what}"),
            Self::Unavailable(what) => write!(f, "the database is unavailable: {what}"),
            Self::Refused(what) => f.write_str(what),
            Self::Broken(what) => write!(f, "database: {what}"),
        }
    }
}

impl std::error::Error for Error {}

/// Result of store calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Arguments of a statement.
#[macro_export]
macro_rules! args {
    ($($v:expr),* $(,)?) => { &[$($crate::store::Value::from($v)),*] };
}

/// A database.
#[derive(Debug, Clone)]
pub struct Store(Engine, Option<IdleRule>);

/// `[security_compliance] disable_user_account_days_inactive`. It stands here, so that no reader of
/// users can forget it.
#[derive(Debug, Clone)]
struct IdleRule {
    clock: Clock,
    days: u32,
}

#[derive(Debug, Clone)]
enum Engine {
    Sqlite(sqlite::Sqlite),
    Server(server::Server),
}

impl Store {
    /// The database of a configuration. A file is opened, and made when it is not there; a server is
    /// asked for nothing yet.
    pub fn open(settings: &url::Settings) -> Result<Self> {
        match &settings.location {
            url::Location::Sqlite(path) => Self::sqlite(path),
            url::Location::Server(at) => Ok(Self(Engine::Server(server::Server::new(at, settings)), None)),
        }
    }

    /// The same to look only: nothing is made, and not a byte of a file changes.
    pub fn look(settings: &url::Settings) -> Result<Self> {
        match &settings.location {
            url::Location::Sqlite(path) => Ok(Self(Engine::Sqlite(sqlite::Sqlite::look(path)?), None)),
            url::Location::Server(_) => Self::open(settings),
        }
    }

    /// Opens an SQLite file; it is created when it is not there.
    pub fn sqlite(path: &Path) -> Result<Self> {
        Ok(Self(Engine::Sqlite(sqlite::Sqlite::open(path)?), None))
    }

    /// A database in memory that lives as long as this value.
    pub fn memory() -> Result<Self> {
        Ok(Self(Engine::Sqlite(sqlite::Sqlite::memory()?), None))
    }

    /// Counts users as disabled who were not seen for so many days.
    #[must_use]
    pub fn counting_idle(self, clock: Clock, days: Option<u32>) -> Self {
        Self(self.0, days.map(|days| IdleRule { clock, days }))
    }

    /// The day on or before which a user who was last seen then counts as disabled.
    fn idle_since(&self) -> Option<Date> {
        let rule = self.1.as_ref()?;
        let span = clock::DAY.saturating_mul(rule.days.into());
        Some(Date(clock::date(rule.clock.now().saturating_sub(span))))
    }

    /// The engine's dialect.
    pub fn dialect(&self) -> schema::Dialect {
        match &self.0 {
            Engine::Sqlite(_) => schema::Dialect::Sqlite,
            Engine::Server(s) => s.dialect(),
        }
    }

    /// Counts of the pool of connections, where there is one.
    pub fn gauges(&self) -> Option<&Gauges> {
        match &self.0 {
            Engine::Sqlite(_) => None,
            Engine::Server(s) => Some(s.gauges()),
        }
    }

    fn tx(&self, inner: Inner) -> Tx {
        Tx { inner, dialect: self.dialect(), idle_since: self.idle_since(), failed: false }
    }

    /// Begins a consistent read.
    pub async fn read(&self) -> Result<Tx> {
        Ok(self.tx(match &self.0 {
            Engine::Sqlite(s) => Inner::Sqlite(s.read().await?),
            Engine::Server(s) => Inner::Server(Box::new(Box::pin(s.read()).await?)),
        }))
    }

    /// Begins a transaction that may write. What it writes is there after [`Tx::commit`] only.
    pub async fn write(&self) -> Result<Tx> {
        Ok(self.tx(match &self.0 {
            Engine::Sqlite(s) => Inner::Sqlite(s.write().await?),
            Engine::Server(s) => Inner::Server(Box::new(Box::pin(s.write()).await?)),
        }))
    }

    /// Begins a transaction that changes the schema.
    async fn change_schema(&self) -> Result<Tx> {
        Ok(self.tx(match &self.0 {
            Engine::Sqlite(s) => Inner::Sqlite(s.write().await?),
            Engine::Server(s) => Inner::Server(Box::new(Box::pin(s.change_schema()).await?)),
        }))
    }

    /// The query for the names of all tables.
    fn tables(dialect: schema::Dialect) -> &'static str {
        match dialect {
            schema::Dialect::Sqlite => sqlite::TABLES,
            schema::Dialect::Postgres => postgres::SQL.tables,
            schema::Dialect::Mysql => mysql::SQL.tables,
        }
    }
}

/// What servers need is kept out of line, so that requests on SQLite stay small.
#[derive(Debug)]
enum Inner {
    Sqlite(sqlite::SqliteTx),
    Server(Box<server::ServerTx>),
}

/// A transaction. Dropped without a commit, it never was. After an error of any statement nothing more can
/// be done with it, whichever engine it is.
#[derive(Debug)]
pub struct Tx {
    inner: Inner,
    dialect: schema::Dialect,
    idle_since: Option<Date>,
    failed: bool,
}

impl Tx {
    /// The day on or before which a user who was last seen then counts as disabled, if one does.
    pub fn idle_since(&self) -> Option<&Date> {
        self.idle_since.as_ref()
    }

    fn sound(&self) -> Result<()> {
        if self.failed {
            return Err(Error::Broken("the transaction has failed before".into()));
        }
        Ok(())
    }

    fn note<T>(&mut self, outcome: Result<T>) -> Result<T> {
        self.failed = outcome.is_err();
        outcome
    }

    /// All rows of a query.
    pub async fn all(&mut self, sql: &str, args: &[Value]) -> Result<Vec<Row>> {
        self.sound()?;
        let rows = match &mut self.inner {
            Inner::Sqlite(tx) => tx.query(sql, args),
            Inner::Server(tx) => Box::pin(tx.query(sql, &limits::findable(args))).await,
        };
        self.note(rows)
    }

    /// All rows, each read by `read`.
    pub async fn map<T>(
        &mut self,
        sql: &str,
        args: &[Value],
        read: impl Fn(&mut Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.all(sql, args).await?.iter_mut().map(read).collect()
    }

    /// The first row, if there is one.
    pub async fn first<T>(
        &mut self,
        sql: &str,
        args: &[Value],
        read: impl Fn(&mut Row) -> Result<T>,
    ) -> Result<Option<T>> {
        self.all(sql, args).await?.first_mut().map(read).transpose()
    }

    /// The first column of all rows.
    pub async fn column<T: FromValue>(&mut self, sql: &str, args: &[Value]) -> Result<Vec<T>> {
        self.map(sql, args, |r| r.take()).await
    }

    /// Is there a row?
    pub async fn exists(&mut self, sql: &str, args: &[Value]) -> Result<bool> {
        Ok(!self.all(sql, args).await?.is_empty())
    }

    /// Runs a statement; says how many rows it found and changed.
    pub async fn run(&mut self, sql: &str, args: &[Value]) -> Result<u64> {
        self.sound()?;
        limits::characters(args)?;
        limits::written(self.dialect, sql, args)?;
        let changed = match &mut self.inner {
            Inner::Sqlite(tx) => tx.run(sql, args),
            Inner::Server(tx) => Box::pin(tx.run(sql, args)).await,
        };
        self.note(changed)
    }

    /// Runs a statement that changes the schema. What MariaDB has already is left as it is: it cannot undo
    /// such a change, so a step that was interrupted is done again.
    async fn change(&mut self, sql: &str) -> Result<()> {
        self.sound()?;
        let done = match &mut self.inner {
            Inner::Sqlite(tx) => tx.run(sql, &[]).map(drop),
            Inner::Server(tx) => match Box::pin(tx.script(sql)).await {
                Err(Error::Duplicate) if self.dialect == schema::Dialect::Mysql => Ok(()),
                other => other,
            },
        };
        self.note(done)
    }

    /// What is wrong with the file, as far as the engine can tell by reading all of it. A server looks after
    /// its files itself.
    pub async fn fault(&mut self) -> Result<Option<String>> {
        if self.dialect != schema::Dialect::Sqlite {
            return Ok(None);
        }
        let found: Vec<String> = self.column("PRAGMA quick_check(1)", &[]).await?;
        Ok(found.into_iter().find(|line| line != "ok"))
    }

    /// Makes everything durable.
    pub async fn commit(self) -> Result<()> {
        self.sound()?;
        match self.inner {
            Inner::Sqlite(tx) => tx.commit(),
            Inner::Server(tx) => Box::pin(tx.commit()).await,
        }
    }
}

/// `?, ?, ?`
pub fn marks(n: usize) -> String {
    vec!["?"; n].join(", ")
}
