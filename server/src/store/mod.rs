//! The store: transactions over one text per query.
//!
//! SQL stands beside the resource that it belongs to, in one dialect: quoted names, `?` for
//! arguments, nothing that one engine alone understands. [`Store::read`] gives a consistent
//! snapshot, [`Store::write`] a transaction; both are a [`Tx`], and one that is dropped is undone.

pub mod migrate;
pub mod schema;
mod sqlite;
mod value;

use std::path::Path;

use crate::clock::{self, Clock};

pub use value::{Date, DateTime, FromValue, Row, Value};

/// What can go wrong below the resources.
#[derive(Debug)]
pub enum Error {
    /// A unique or primary key exists already.
    Duplicate,
    /// The engine is busy or away; trying again may help.
    Unavailable(String),
    /// A row is not what its reader expects, or the engine refuses a statement.
    Broken(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Duplicate => f.write_str("a key exists already"),
            Self::Unavailable(what) => write!(f, "the database is unavailable: {what}"),
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
}

impl Store {
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
        }
    }

    /// Begins a consistent read.
    pub async fn read(&self) -> Result<Tx> {
        match &self.0 {
            Engine::Sqlite(s) => Ok(Tx(s.read().await?, self.idle_since())),
        }
    }

    /// Begins a transaction that may write. What it writes is there after [`Tx::commit`] only.
    pub async fn write(&self) -> Result<Tx> {
        match &self.0 {
            Engine::Sqlite(s) => Ok(Tx(s.write().await?, self.idle_since())),
        }
    }
}

/// A transaction. Dropped without a commit, it never was.
#[derive(Debug)]
pub struct Tx(sqlite::SqliteTx, Option<Date>);

impl Tx {
    /// The day on or before which a user who was last seen then counts as disabled, if one does.
    pub fn idle_since(&self) -> Option<&Date> {
        self.1.as_ref()
    }

    /// All rows of a query.
    pub async fn all(&mut self, sql: &str, args: &[Value]) -> Result<Vec<Row>> {
        self.0.query(sql, args)
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

    /// Runs a statement; says how many rows it changed.
    pub async fn run(&mut self, sql: &str, args: &[Value]) -> Result<u64> {
        self.0.run(sql, args)
    }

    /// What is wrong with the file, as far as the engine can tell by reading all of it.
    pub async fn fault(&mut self) -> Result<Option<String>> {
        let found: Vec<String> = self.column("PRAGMA quick_check(1)", &[]).await?;
        Ok(found.into_iter().find(|line| line != "ok"))
    }

    /// Makes everything durable.
    pub async fn commit(self) -> Result<()> {
        self.0.commit()
    }
}

/// Builds the variable part of a query: conditions, order, page.
#[derive(Debug)]
pub struct Select {
    sql: String,
    args: Vec<Value>,
    has_where: bool,
}

impl Select {
    /// From the constant part, up to but without `WHERE`.
    pub fn new(sql: &str) -> Self {
        Self { sql: sql.to_owned(), args: Vec::new(), has_where: false }
    }

    fn condition(&mut self) {
        self.sql.push_str(if self.has_where { " AND " } else { " WHERE " });
        self.has_where = true;
    }

    /// `AND <condition>` with its arguments.
    pub fn and(&mut self, condition: &str, args: &[Value]) -> &mut Self {
        self.condition();
        self.sql.push_str(condition);
        self.args.extend_from_slice(args);
        self
    }

    /// `AND <column> = ?`, when there is a value.
    pub fn eq(&mut self, column: &str, value: Option<impl Into<Value>>) -> &mut Self {
        if let Some(v) = value {
            self.condition();
            self.sql.push_str(column);
            self.sql.push_str(" = ?");
            self.args.push(v.into());
        }
        self
    }

    /// `AND <column> IN (…)`; an empty list matches nothing.
    pub fn is_in<V: Into<Value>>(&mut self, column: &str, values: impl IntoIterator<Item = V>) -> &mut Self {
        let values: Vec<Value> = values.into_iter().map(Into::into).collect();
        self.condition();
        if values.is_empty() {
            self.sql.push_str("1 = 0");
        } else {
            self.sql.push_str(column);
            self.sql.push_str(" IN (");
            self.sql.push_str(&marks(values.len()));
            self.sql.push(')');
            self.args.extend(values);
        }
        self
    }

    /// What comes last: order, limit.
    pub fn end(&mut self, tail: &str) -> &mut Self {
        self.sql.push(' ');
        self.sql.push_str(tail);
        self
    }

    /// Runs it.
    pub async fn map<T>(&self, tx: &mut Tx, read: impl Fn(&mut Row) -> Result<T>) -> Result<Vec<T>> {
        tx.map(&self.sql, &self.args, read).await
    }
}

/// `?, ?, ?`
pub fn marks(n: usize) -> String {
    vec!["?"; n].join(", ")
}
