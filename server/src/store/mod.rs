//! The store: transactions over one text per query.
//!
//! SQL is written in the file of the resource that it belongs to, in one dialect: quoted names, `?` for
//! arguments, nothing that one engine alone understands. [`Store::read`] gives a consistent
//! snapshot, a [`Tx`]; [`Store::write`] a [`WriteTx`], which reads likewise and writes for who brings a
//! [`Proof`]. One that is dropped is undone. Writes come one after the other, over all replicas.
//!
//! What an engine says in its own words is in the file of its name, and in [`schema`].

mod backoff;
pub mod backup;
pub mod cascade;
mod dialect;
pub mod directories;
mod flush;
pub mod memory;
pub mod migrate;
mod mysql;
mod places;
mod postgres;
pub mod revocations;
pub mod schema;
mod select;
mod server;
mod sqlite;
pub mod tree;
pub mod url;
mod value;
#[cfg(debug_assertions)]
mod watch;
mod write;

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use vicar_rules::Micros;

use crate::clock::{self, Clock};

pub use backoff::Backoff;
pub use directories::{Asked, Directories, Outcome, Unread};
pub use select::{Alike, Batch, Select};
pub use server::Gauges;
pub use value::{Date, DateTime, FromValue, Id, Row, Value};
pub use write::{Delete, Insert, Statement, Update};

/// What can go wrong below the resources.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A unique or primary key exists already.
    #[error("a key exists already")]
    Duplicate,
    /// Somebody else was in the way, or the connection went before anything was committed: the same
    /// again, from its beginning, is likely to succeed.
    #[error("the transaction did not come about: {0}")]
    Retry(String),
    /// A rehearsal has come to its first write: the same is to be done in a transaction that may.
    #[error("a rehearsal cannot write")]
    NeedsWriter,
    /// The engine is busy or away.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// A value is not one that the database can hold; in words for the client.
    #[error("{0}")]
    Refused(String),
    /// What a directory has is to be read first, and then the same done again.
    #[error("a directory is to be read first")]
    Unread(Unread),
    /// A directory does not say what has to be known.
    #[error("a directory is away")]
    DirectoryAway,
    /// A row is not what its reader expects, or the engine refuses a statement.
    #[error("database: {0}")]
    Broken(String),
}

/// Result of store calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Arguments of a statement.
#[macro_export]
macro_rules! args {
    ($($v:expr),* $(,)?) => { &[$($crate::store::Value::from($v)),*] };
}

/// What lets a transaction write: the proof that somebody was asked and agreed. Implemented in `authz` alone,
/// for what its policy check gives out and for what the server does by itself.
pub trait Proof: Sync {}

/// The proof of what the server does by itself. Implemented in `system` alone.
pub trait Unattended: Proof {}

/// A database.
#[derive(Debug, Clone)]
pub struct Store {
    engine: Engine,
    clock: Clock,
    /// `[security_compliance] disable_user_account_days_inactive`. It is kept here, so that no reader of
    /// users can forget it.
    inactive_days: Option<u32>,
    /// `[federation] default_authorization_ttl` in minutes, for the same reason.
    membership_minutes: i64,
    /// Which domains have a directory; nothing when none can have one.
    directories: Option<Arc<Directories>>,
    memory: Option<Arc<memory::Memory>>,
    /// PostgreSQL: all transactions below were over when the journal was last looked through for old rows.
    xmin: Arc<AtomicI64>,
    #[cfg(debug_assertions)]
    watch: watch::Watch,
}

#[derive(Debug, Clone)]
enum Engine {
    Sqlite(sqlite::Sqlite),
    Server(server::Server),
}

impl From<Engine> for Store {
    fn from(engine: Engine) -> Self {
        Self {
            engine,
            clock: Clock::system(),
            inactive_days: None,
            membership_minutes: 0,
            directories: None,
            memory: None,
            xmin: Arc::default(),
            #[cfg(debug_assertions)]
            watch: watch::Watch::default(),
        }
    }
}

impl Store {
    /// The database of a configuration. A file is opened, and created when it is not there; a server is
    /// asked for nothing yet.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn open(settings: &url::Settings) -> Result<Self> {
        match &settings.location {
            url::Location::Sqlite(path) => Self::sqlite(path),
            url::Location::Server(at) => Ok(Engine::Server(server::Server::new(at, settings)?).into()),
        }
    }

    /// The same for reading only: nothing is created, and not a byte of a file changes.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn open_read_only(settings: &url::Settings) -> Result<Self> {
        match &settings.location {
            url::Location::Sqlite(path) => Ok(Engine::Sqlite(sqlite::Sqlite::open_read_only(path)?).into()),
            url::Location::Server(_) => Self::open(settings),
        }
    }

    /// Opens an SQLite file; it is created when it is not there.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn sqlite(path: &Path) -> Result<Self> {
        Ok(Engine::Sqlite(sqlite::Sqlite::open(path)?).into())
    }

    /// A database in memory that lives as long as this value.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn memory() -> Result<Self> {
        Ok(Engine::Sqlite(sqlite::Sqlite::memory()?).into())
    }

    /// With another clock than the system's, and with the number of days without a login after which a
    /// user counts as disabled.
    #[must_use]
    pub fn with_clock(self, clock: Clock, inactive_days: Option<u32>) -> Self {
        Self { clock, inactive_days, ..self }
    }

    /// With the time that memberships live whose identity provider says nothing of its own.
    #[must_use]
    pub fn with_memberships(self, live: Micros) -> Self {
        Self { membership_minutes: live / (60 * clock::SECOND), ..self }
    }

    /// With domains whose users are in directories.
    #[must_use]
    pub fn with_directories(self, directories: Option<Directories>) -> Self {
        Self { directories: directories.map(Arc::new), ..self }
    }

    /// With a memory, which gives again what has not changed. It works as long as the triggers of the journal are there.
    #[must_use]
    pub fn with_memory(self) -> Self {
        Self { memory: Some(Arc::new(memory::Memory::new(self.engine.clone()))), ..self }
    }

    /// The same without its memory.
    #[must_use]
    pub fn without_memory(&self) -> Self {
        Self { memory: None, ..self.clone() }
    }

    /// What the memory counts, if there is one.
    pub fn memory_counts(&self) -> Option<&memory::Counts> {
        self.memory.as_ref().map(|memory| memory.counts())
    }

    /// The day on or before which a user who was last seen then counts as disabled.
    fn inactive_since(&self, now: Micros) -> Option<Date> {
        let span = clock::DAY.saturating_mul(self.inactive_days?.into());
        Some(Date(clock::date(now.saturating_sub(span))))
    }

    /// What is said to the engine from now on, for tests that count it: the texts of statements, and `BEGIN` for
    /// each transaction. In builds with debug assertions alone.
    #[cfg(debug_assertions)]
    #[doc(hidden)]
    pub fn watched<T>(&self, work: impl FnOnce() -> T) -> (T, Vec<String>) {
        self.watch.begin();
        let done = work();
        (done, self.watch.end())
    }

    /// The engine's dialect.
    pub fn dialect(&self) -> schema::Dialect {
        match &self.engine {
            Engine::Sqlite(_) => schema::Dialect::Sqlite,
            Engine::Server(s) => s.dialect(),
        }
    }

    /// Counts of the pool of connections, where there is one.
    pub fn gauges(&self) -> Option<&Gauges> {
        match &self.engine {
            Engine::Sqlite(_) => None,
            Engine::Server(s) => Some(s.gauges()),
        }
    }

    fn tx(&self, inner: Inner, has_turn: bool) -> Tx {
        #[cfg(debug_assertions)]
        if !matches!(inner, Inner::Later(_)) {
            self.watch.note("BEGIN");
        }
        let now = self.clock.now();
        Tx {
            inner,
            recall: self.memory.as_ref().map(|memory| Box::new(memory::Recall::new(memory, has_turn))),
            dialect: self.dialect(),
            inactive_since: self.inactive_since(now),
            began: now,
            membership_minutes: self.membership_minutes,
            directories: self.directories.clone(),
            asked: None,
            failed: false,
            #[cfg(debug_assertions)]
            watch: self.watch.clone(),
        }
    }

    fn writing(&self, tx: Tx, rehearsal: bool) -> WriteTx {
        WriteTx { tx, rehearsal, last: Vec::new(), at_commit: Vec::new(), store: self.clone() }
    }

    /// Begins a consistent read.
    ///
    /// # Errors
    /// When the database is away or busy.
    pub async fn read(&self) -> Result<Tx> {
        let inner = match &self.memory {
            Some(_) => Inner::Later(self.engine.clone()),
            None => Inner::read(&self.engine).await?,
        };
        Ok(self.tx(inner, false))
    }

    /// Begins a transaction that may write: waits for its turn, one writer at a time over all replicas. What
    /// it writes is there after [`WriteTx::commit`] only.
    ///
    /// # Errors
    /// When the database is away, or the turn does not come.
    pub async fn write(&self) -> Result<WriteTx> {
        let inner = match &self.engine {
            Engine::Sqlite(s) => Inner::Sqlite(s.write().await?),
            Engine::Server(s) => Inner::Server(Box::new(Box::pin(s.write()).await?)),
        };
        Ok(self.writing(self.tx(inner, true), false))
    }

    /// Begins a read that plays a writing transaction up to its first write, which ends in
    /// [`Error::NeedsWriter`]. So what is refused, or has nothing to write, never waits for its turn.
    ///
    /// # Errors
    /// When the database is away or busy.
    pub async fn rehearse(&self) -> Result<WriteTx> {
        Ok(self.rehearse_in(self.read().await?))
    }

    /// A read that begins when something is asked.
    pub fn read_later(&self) -> Tx {
        self.tx(Inner::Later(self.engine.clone()), false)
    }

    /// The same within a read that has begun.
    pub fn rehearse_in(&self, tx: Tx) -> WriteTx {
        self.writing(tx, true)
    }

    /// Begins a transaction that changes the schema.
    async fn change_schema(&self) -> Result<WriteTx> {
        let inner = match &self.engine {
            Engine::Sqlite(s) => Inner::Sqlite(s.write().await?),
            Engine::Server(s) => Inner::Server(Box::new(Box::pin(s.change_schema()).await?)),
        };
        let tx = self.tx(inner, true);
        Ok(self.writing(Tx { recall: None, ..tx }, false))
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

/// Ends a test in which a plain string is compared with an id: see [`Value::Id`].
#[cfg(debug_assertions)]
fn ids_are_typed(sql: &str, args: &[Value]) {
    if let Some(column) = places::untyped(sql, args) {
        panic!("{column} is compared with a plain string, not with an `Id`: {sql}");
    }
}

/// What servers need is kept out of line, so that requests on SQLite stay small.
#[derive(Debug)]
enum Inner {
    /// Nothing was read yet but from memory.
    Later(Engine),
    Sqlite(sqlite::SqliteTx),
    Server(Box<server::ServerTx>),
}

/// A transaction that reads: one consistent snapshot. After an error of any statement nothing more can be done
/// with it, whichever engine it is.
#[derive(Debug)]
pub struct Tx {
    inner: Inner,
    /// What it has to do with the memory, if there is one and nothing was written.
    recall: Option<Box<memory::Recall>>,
    dialect: schema::Dialect,
    inactive_since: Option<Date>,
    began: Micros,
    membership_minutes: i64,
    directories: Option<Arc<Directories>>,
    /// What was asked of directories for the request, if more can be.
    asked: Option<Arc<Asked>>,
    failed: bool,
    #[cfg(debug_assertions)]
    watch: watch::Watch,
}

/// Who writes begins at once, so this cannot be.
fn not_begun() -> Error {
    Error::Broken("the transaction has not begun".into())
}

impl Inner {
    async fn read(engine: &Engine) -> Result<Self> {
        Ok(match engine {
            Engine::Sqlite(s) => Self::Sqlite(s.read().await?),
            Engine::Server(s) => Self::Server(Box::new(Box::pin(s.read()).await?)),
        })
    }

    async fn query(&mut self, sql: &str, args: &[Value]) -> Result<Vec<Row>> {
        if let Self::Later(engine) = self {
            *self = Self::read(engine).await?;
        }
        match self {
            Self::Later(_) => Err(not_begun()),
            Self::Sqlite(tx) => {
                tokio::task::consume_budget().await;
                tx.query(sql, args)
            }
            Self::Server(tx) => Box::pin(tx.query(sql, &value::findable(args))).await,
        }
    }
}

impl Tx {
    /// The day on or before which a user who was last seen then counts as disabled, if one does.
    pub fn inactive_since(&mut self) -> Option<&Date> {
        if self.inactive_since.is_some() {
            // With the next day it is another.
            self.holds_until((self.began.div_euclid(clock::DAY) + 1).saturating_mul(clock::DAY));
        }
        self.inactive_since.as_ref()
    }

    /// The engine's dialect.
    pub fn dialect(&self) -> schema::Dialect {
        self.dialect
    }

    /// When the transaction began.
    pub fn began(&self) -> Micros {
        self.began
    }

    /// The condition that a membership `e` (`expiring_user_group_membership`) with the provider `i` has not expired, and
    /// its argument.
    pub fn unexpired(&self) -> (String, Value) {
        (format!("{} > ?", self.expires()), DateTime(self.began).into())
    }

    /// Whether a membership has not expired that was last seen at an instant, of a provider that says for how many minutes
    /// or nothing: as [`Tx::unexpired`], for who has read both.
    pub fn is_unexpired(&mut self, seen: DateTime, minutes: Option<i64>) -> bool {
        let end = self.membership_end(seen, minutes);
        let is_unexpired = end > self.began;
        if is_unexpired {
            self.holds_until(end);
        }
        is_unexpired
    }

    /// When such a membership ends.
    pub fn membership_end(&self, seen: DateTime, minutes: Option<i64>) -> i64 {
        let minutes = minutes.filter(|minutes| *minutes > 0).unwrap_or(self.membership_minutes);
        seen.0.saturating_add(minutes.saturating_mul(60 * clock::SECOND))
    }

    /// The condition that such a membership is not over and ends by an instant, and its arguments.
    pub fn lapses_by(&self, upto: i64) -> (String, [Value; 2]) {
        let ends = self.expires();
        (format!("{ends} > ? AND {ends} <= ?"), [DateTime(self.began).into(), DateTime(upto).into()])
    }

    /// The minutes that memberships live whose identity provider says nothing of its own.
    pub fn membership_minutes(&self) -> i64 {
        self.membership_minutes
    }

    /// When such a membership expires.
    fn expires(&self) -> String {
        let minutes = format!(
            "CASE WHEN i.authorization_ttl > 0 THEN i.authorization_ttl ELSE {} END",
            self.membership_minutes
        );
        self.dialect.later("e.last_verified", &minutes)
    }

    #[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "looked at by tests"))]
    fn begin_statement(&self, sql: &str, args: &[Value]) -> Result<()> {
        self.sound()?;
        #[cfg(debug_assertions)]
        ids_are_typed(sql, args);
        Ok(())
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
    ///
    /// # Errors
    /// When the engine refuses or is away.
    pub async fn all(&mut self, sql: &str, args: &[Value]) -> Result<Vec<Row>> {
        self.begin_statement(sql, args)?;
        self.rows(sql, args, memory::Times::Any).await
    }

    async fn rows(&mut self, sql: &str, args: &[Value], times: memory::Times) -> Result<Vec<Row>> {
        let rows = match self.recall {
            Some(_) => self.remembered(sql, args, times).await,
            None => self.query(sql, args).await,
        };
        self.note(rows)
    }

    /// The rows, from the engine.
    async fn query(&mut self, sql: &str, args: &[Value]) -> Result<Vec<Row>> {
        #[cfg(debug_assertions)]
        {
            if matches!(self.inner, Inner::Later(_)) {
                self.watch.note("BEGIN");
            }
            self.watch.note(sql);
        }
        self.inner.query(sql, args).await
    }

    /// As [`Tx::map`], where the times among the arguments are the same whenever this is asked: what is remembered may rest on it.
    ///
    /// # Errors
    /// As [`Tx::map`].
    pub async fn map_fixed<T>(
        &mut self,
        sql: &str,
        args: &[Value],
        read: impl Fn(&mut Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.begin_statement(sql, args)?;
        self.rows(sql, args, memory::Times::Fixed).await?.iter_mut().map(read).collect()
    }

    /// All rows, each read by `read`.
    ///
    /// # Errors
    /// As [`Tx::all`], or when a row is not what `read` expects.
    pub async fn map<T>(
        &mut self,
        sql: &str,
        args: &[Value],
        read: impl Fn(&mut Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.all(sql, args).await?.iter_mut().map(read).collect()
    }

    /// The first row, if there is one.
    ///
    /// # Errors
    /// As [`Tx::map`].
    pub async fn first<T>(
        &mut self,
        sql: &str,
        args: &[Value],
        read: impl Fn(&mut Row) -> Result<T>,
    ) -> Result<Option<T>> {
        self.all(sql, args).await?.first_mut().map(read).transpose()
    }

    /// The first column of all rows.
    ///
    /// # Errors
    /// As [`Tx::map`].
    pub async fn column<T: FromValue>(&mut self, sql: &str, args: &[Value]) -> Result<Vec<T>> {
        self.map(sql, args, |r| r.take()).await
    }

    /// Whether there is a row.
    ///
    /// # Errors
    /// As [`Tx::all`].
    pub async fn exists(&mut self, sql: &str, args: &[Value]) -> Result<bool> {
        Ok(!self.all(sql, args).await?.is_empty())
    }

    /// What is wrong with the file, as far as the engine can tell by reading all of it. A server looks after
    /// its files itself.
    ///
    /// # Errors
    /// As [`Tx::all`].
    pub async fn fault(&mut self) -> Result<Option<String>> {
        if self.dialect != schema::Dialect::Sqlite {
            return Ok(None);
        }
        let found: Vec<String> = self.column("PRAGMA quick_check(1)", &[]).await?;
        Ok(found.into_iter().find(|line| line != "ok"))
    }
}

/// Makes a statement for the instant of the commit.
type AtCommit = Box<dyn Fn(Micros) -> Insert + Send + Sync>;

/// A transaction that may write, given a [`Proof`]. Dropped without a commit, it never was.
pub struct WriteTx {
    tx: Tx,
    rehearsal: bool,
    last: Vec<(Box<dyn Statement>, u64)>,
    at_commit: Vec<AtCommit>,
    store: Store,
}

impl std::fmt::Debug for WriteTx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteTx")
            .field("tx", &self.tx)
            .field("rehearsal", &self.rehearsal)
            .finish_non_exhaustive()
    }
}

impl Deref for WriteTx {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        &self.tx
    }
}

impl DerefMut for WriteTx {
    fn deref_mut(&mut self) -> &mut Tx {
        &mut self.tx
    }
}

impl WriteTx {
    /// The read of a rehearsal again, for what follows in the same snapshot.
    ///
    /// # Errors
    /// Ours: it was no rehearsal.
    pub fn into_read(self) -> Result<Tx> {
        if self.rehearsal { Ok(self.tx) } else { Err(Error::Broken("it may have written".into())) }
    }

    /// Ends a rehearsal, as the first write does. For who has to read on, and does that before it writes.
    ///
    /// # Errors
    /// [`Error::NeedsWriter`] in a rehearsal.
    pub fn writes(&self) -> Result<()> {
        if self.rehearsal { Err(Error::NeedsWriter) } else { Ok(()) }
    }

    /// Undoes it. What it has read may hang on commits that are still under way: returns when they are done, so that
    /// no refusal is known before what it rests on is durable.
    ///
    /// # Errors
    /// [`Error::Retry`] when they never were, [`Error::Unavailable`] when nobody knows.
    pub async fn undo(self) -> Result<()> {
        let earlier = match &self.tx.inner {
            Inner::Sqlite(tx) => tx.earlier(),
            Inner::Later(_) | Inner::Server(_) => None,
        };
        drop(self);
        match earlier {
            Some(earlier) => Box::pin(earlier.settled()).await,
            None => Ok(()),
        }
    }

    /// Runs a statement that writes, once it fits the schema; returns how many rows it found and changed.
    ///
    /// # Errors
    /// [`Error::NeedsWriter`] in a rehearsal, [`Error::Refused`] for a value that its column cannot hold,
    /// otherwise as the engine says.
    pub async fn execute(&mut self, _proof: &impl Proof, statement: &impl Statement) -> Result<u64> {
        self.writes()?;
        self.checked(statement).await
    }

    /// Runs SQL that no statement makes: rows that a test needs. Nothing is checked but by the engine.
    ///
    /// # Errors
    /// [`Error::NeedsWriter`] in a rehearsal, otherwise as the engine says.
    #[doc(hidden)]
    pub async fn raw(&mut self, _by: &impl Unattended, sql: &str, args: &[Value]) -> Result<u64> {
        self.writes()?;
        self.statement(sql, args).await
    }

    async fn checked(&mut self, statement: &dyn Statement) -> Result<u64> {
        statement.check(self.tx.dialect)?;
        let (sql, args) = statement.text_and_args();
        #[cfg(debug_assertions)]
        ids_are_typed(&sql, &args);
        self.statement(&sql, &value::findable(&args)).await
    }

    pub(super) async fn statement(&mut self, sql: &str, args: &[Value]) -> Result<u64> {
        let tx = &mut self.tx;
        tx.sound()?;
        // What is written here is in no journal yet.
        tx.recall = None;
        #[cfg(debug_assertions)]
        tx.watch.note(sql);
        let changed = match &mut tx.inner {
            Inner::Sqlite(tx) => {
                tokio::task::consume_budget().await;
                tx.run(sql, args)
            }
            Inner::Later(_) => Err(not_begun()),
            Inner::Server(tx) => Box::pin(tx.run(sql, args)).await,
        };
        tx.note(changed)
    }

    /// Leaves a statement for the moment of the commit, made for its instant: what has to be later than
    /// everything that can happen before it is seen by others.
    ///
    /// # Errors
    /// [`Error::NeedsWriter`] in a rehearsal.
    pub fn at_commit(
        &mut self,
        _proof: &impl Proof,
        statement: impl Fn(Micros) -> Insert + Send + Sync + 'static,
    ) -> Result<()> {
        self.writes()?;
        self.at_commit.push(Box::new(statement));
        Ok(())
    }

    /// Leaves a statement for the end of the transaction, after everything that is read in it. When it does not find so
    /// many rows, somebody was in the way.
    ///
    /// # Errors
    /// [`Error::NeedsWriter`] in a rehearsal.
    pub fn last(
        &mut self,
        _proof: &impl Proof,
        statement: impl Statement + 'static,
        rows: u64,
    ) -> Result<()> {
        self.writes()?;
        self.last.push((Box::new(statement), rows));
        Ok(())
    }

    /// Runs a statement that changes the schema. What MariaDB has already is left as it is: it cannot undo
    /// such a change, so a step that was interrupted is done again.
    async fn change(&mut self, sql: &str) -> Result<()> {
        let tx = &mut self.tx;
        tx.sound()?;
        let done = match &mut tx.inner {
            Inner::Sqlite(tx) => tx.run(sql, &[]).map(drop),
            Inner::Later(_) => Err(not_begun()),
            Inner::Server(inner) => match Box::pin(inner.script(sql)).await {
                Err(Error::Duplicate) if tx.dialect == schema::Dialect::Mysql => Ok(()),
                other => other,
            },
        };
        tx.note(done)
    }

    /// Runs what was left for the commit, and makes everything durable.
    ///
    /// Events and tokens know whole seconds. When the commit took into the next second, a token may have been
    /// issued in that second before others could see the events; then they are written once more, for the
    /// later instant, before this returns. Once is enough: whoever reads after the first commit sees the events.
    ///
    /// # Errors
    /// [`Error::Retry`] when nothing was committed and the same is likely to succeed; [`Error::Unavailable`]
    /// when it is not known whether it was, or when only the events could not be written once more.
    pub async fn commit(mut self) -> Result<()> {
        let statements = std::mem::take(&mut self.at_commit);
        let store = self.store.clone();
        let instant = self.finish(&statements).await?;
        if !statements.is_empty() && store.clock.now() / clock::SECOND != instant / clock::SECOND {
            let again = async { store.write().await?.finish(&statements).await };
            Box::pin(again).await.map_err(|e| match e {
                Error::Retry(text) => Error::Unavailable(format!("after a commit: {text}")),
                other => other,
            })?;
        }
        Ok(())
    }

    async fn finish(mut self, at_commit: &[AtCommit]) -> Result<Micros> {
        self.tx.sound()?;
        for (statement, rows) in std::mem::take(&mut self.last) {
            if self.checked(&*statement).await? != rows {
                return Err(Error::Retry("a row was changed in between".into()));
            }
        }
        let instant = self.store.clock.now();
        for make in at_commit {
            self.checked(&make(instant)).await?;
        }
        match self.tx.inner {
            Inner::Sqlite(tx) => Box::pin(tx.commit()).await?,
            Inner::Later(_) => return Err(not_begun()),
            Inner::Server(tx) => Box::pin(tx.commit()).await?,
        }
        Ok(instant)
    }
}

/// How many ids are asked for at once: engines take so many arguments and no more.
pub const CHUNK: usize = 500;

/// `?, ?, ?`
pub fn placeholders(n: usize) -> String {
    vec!["?"; n].join(", ")
}
