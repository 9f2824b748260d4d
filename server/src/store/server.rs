//! A database on a server: the pool of connections, and transactions over them.
//!
//! Reads take a connection each. Writes take the one that is for writing, in the order in which they come,
//! and then the guard of all replicas ([`Words::begin_write`]): one writer at a time, as on SQLite.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use sqlx::Connection;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::schema::Dialect;
use super::url::{self, Settings};
use super::{Error, Result, Row, Value, mysql, postgres};
use crate::ids;

/// What an engine says otherwise than the others.
pub(super) struct Words {
    /// Begins a read, where that takes a statement.
    pub(super) begin_read: Option<&'static str>,
    /// Begins a write and takes the guard, leaving a number there: who has it is the only writer of all
    /// replicas, and sees all that earlier ones wrote.
    pub(super) begin_write: fn(i64) -> String,
    /// Fails when it is not the transaction that left this number at the guard. Nothing, where a server
    /// never takes a transaction back without saying so.
    pub(super) is_still: Option<fn(i64) -> String>,
    /// Begins a change of the schema.
    pub(super) begin_schema: &'static str,
    /// Names the tables that are there.
    pub(super) tables: &'static str,
}

/// What a statement gave.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) rows: Vec<Row>,
    pub(super) changed: u64,
    /// The server was made to prepare the statement first.
    pub(super) prepared: bool,
}

/// Why a statement failed, and what becomes of its connection.
#[derive(Debug)]
pub(super) struct Failure {
    error: Error,
    link: After,
}

/// What becomes of a connection after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// It is used on.
    Kept,
    /// Nobody knows what it is worth: it is closed.
    Suspect,
    /// It is gone, and the others of its time most likely with it.
    Lost,
}

impl Failure {
    pub(super) fn kept(error: Error) -> Self {
        Self { error, link: After::Kept }
    }

    pub(super) fn lost(error: Error) -> Self {
        Self { error, link: After::Lost }
    }

    pub(super) fn suspect(error: Error) -> Self {
        Self { error, link: After::Suspect }
    }

    /// The same of a connection that is no good any more, whatever the error was.
    pub(super) fn suspected_if(self, suspect: bool) -> Self {
        if suspect && self.link == After::Kept { Self::suspect(self.error) } else { self }
    }

    /// An error that did not come from the server, but on the way to it.
    pub(super) fn of_connection(e: &sqlx::Error) -> Self {
        Self::lost(match e {
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                Error::Again(e.to_string())
            }
            sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => Error::Unavailable(e.to_string()),
            other => Error::Broken(other.to_string()),
        })
    }
}

/// Counts of the pool, for the metrics.
#[derive(Debug, Clone, Default)]
pub struct Gauges {
    /// Connections that are open.
    pub open: Gauge,
    /// Connections that somebody uses.
    pub used: Gauge,
    /// Requests that wait for a connection, or for their turn to write.
    pub waiting: Gauge,
    /// Connections that were made.
    pub made: Counter,
    /// Connections that could not be made.
    pub refused: Counter,
    /// Connections that were lost while in use.
    pub lost: Counter,
}

#[derive(Debug)]
enum Target {
    Postgres(PgConnectOptions),
    Mysql(MySqlConnectOptions),
}

#[derive(Debug)]
enum Link {
    Postgres(PgConnection),
    Mysql(MySqlConnection),
}

/// A statement, or several.
#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Query(&'a str, &'a [Value]),
    Run(&'a str, &'a [Value]),
    Script(&'a str),
}

impl Link {
    async fn perform(&mut self, step: Step<'_>) -> std::result::Result<Done, Failure> {
        match (self, step) {
            (Self::Postgres(c), Step::Query(sql, args)) => postgres::query(c, sql, args).await,
            (Self::Postgres(c), Step::Run(sql, args)) => postgres::run(c, sql, args).await,
            (Self::Postgres(c), Step::Script(sql)) => postgres::script(c, sql).await,
            (Self::Mysql(c), Step::Query(sql, args)) => mysql::query(c, sql, args).await,
            (Self::Mysql(c), Step::Run(sql, args)) => mysql::run(c, sql, args).await,
            (Self::Mysql(c), Step::Script(sql)) => mysql::script(c, sql).await,
        }
    }
}

/// A connection and its age. Dropped, it is cut off.
#[derive(Debug)]
struct Kept {
    link: Option<Link>,
    since: Instant,
    open: Gauge,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.open.dec();
    }
}

impl Kept {
    /// Closes it as the protocol wants it, so that the server's log need not complain.
    fn close(mut self) {
        let (Some(link), Ok(runtime)) = (self.link.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        runtime.spawn(timeout(Duration::from_secs(1), async move {
            match link {
                Link::Postgres(c) => c.close().await,
                Link::Mysql(c) => c.close().await,
            }
        }));
    }

    /// Makes it ready for the next transaction; says whether it can be used on.
    async fn tidy(&mut self) -> bool {
        match &mut self.link {
            Some(Link::Mysql(c)) => {
                matches!(timeout(Duration::from_secs(1), mysql::tidy(c)).await, Ok(Ok(())))
            }
            Some(Link::Postgres(_)) => true,
            None => false,
        }
    }

    /// Undoes what is open; says whether the connection can be used on.
    async fn roll_back(&mut self) -> bool {
        let Some(link) = &mut self.link else { return false };
        matches!(timeout(Duration::from_secs(5), link.perform(Step::Script("ROLLBACK"))).await, Ok(Ok(_)))
    }
}

#[derive(Debug, Clone)]
pub(super) struct Server(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    target: Target,
    settings: Settings,
    /// Readers that nobody uses.
    idle: Mutex<Vec<Kept>>,
    /// One for each reader that may be open.
    places: Arc<Semaphore>,
    /// The connection for writing.
    writer: Arc<tokio::sync::Mutex<Option<Kept>>>,
    gauges: Gauges,
}

impl Server {
    pub(super) fn new(at: &url::Server, settings: &Settings) -> Self {
        let target = match at.dialect {
            Dialect::Mysql => Target::Mysql(mysql::options(at)),
            Dialect::Postgres | Dialect::Sqlite => Target::Postgres(postgres::options(at)),
        };
        let mut settings = settings.clone();
        settings.connect_timeout = at.connect_timeout.unwrap_or(settings.connect_timeout);
        let places = settings.max_pool_size.saturating_add(settings.max_overflow).clamp(1, 10_000);
        Self(Arc::new(Inner {
            target,
            settings,
            idle: Mutex::new(Vec::new()),
            places: Arc::new(Semaphore::new(places)),
            writer: Arc::new(tokio::sync::Mutex::new(None)),
            gauges: Gauges::default(),
        }))
    }

    pub(super) fn gauges(&self) -> &Gauges {
        &self.0.gauges
    }

    pub(super) fn dialect(&self) -> Dialect {
        match self.0.target {
            Target::Postgres(_) => Dialect::Postgres,
            Target::Mysql(_) => Dialect::Mysql,
        }
    }

    pub(super) async fn read(&self) -> Result<ServerTx> {
        let place = self.0.wait(Arc::clone(&self.0.places).acquire_owned()).await?;
        let place = place.map_err(|_| Error::Unavailable("the pool is closed".into()))?;
        let mut kept = match self.0.idle_one() {
            Some(kept) => kept,
            None => self.0.connect(false).await?,
        };
        if !kept.tidy().await {
            kept = self.0.connect(false).await?;
        }
        self.0.gauges.used.inc();
        Ok(ServerTx {
            held: Held::Reader(Some(kept), Some(place)),
            home: Arc::clone(&self.0),
            state: State::New,
            ticket: None,
            patient: false,
        })
    }

    /// A transaction that writes, and has the guard.
    pub(super) async fn write(&self) -> Result<ServerTx> {
        let mut tx = self.writer().await?;
        let ticket = i64::try_from(ids::below(1 << 62)).unwrap_or_default();
        tx.step(Step::Script(&(self.0.words().begin_write)(ticket))).await?;
        tx.ticket = Some(ticket);
        Ok(tx)
    }

    /// A transaction that changes the schema. Two at once are kept apart where the engine can; where it
    /// cannot, each step may be done by both.
    pub(super) async fn change_schema(&self) -> Result<ServerTx> {
        let mut tx = self.writer().await?;
        tx.patient = true;
        tx.step(Step::Script(self.0.words().begin_schema)).await?;
        Ok(tx)
    }

    async fn writer(&self) -> Result<ServerTx> {
        let mut slot = self.0.wait(Arc::clone(&self.0.writer).lock_owned()).await?;
        if let Some(old) = slot.take_if(|kept| self.0.is_old(kept)) {
            old.close();
        }
        if let Some(kept) = slot.as_mut()
            && !kept.tidy().await
        {
            *slot = None;
        }
        if slot.is_none() {
            *slot = Some(self.0.connect(true).await?);
        }
        self.0.gauges.used.inc();
        Ok(ServerTx {
            held: Held::Writer(slot),
            home: Arc::clone(&self.0),
            state: State::Begun,
            ticket: None,
            patient: false,
        })
    }
}

impl Inner {
    fn words(&self) -> &'static Words {
        match self.target {
            Target::Postgres(_) => &postgres::WORDS,
            Target::Mysql(_) => &mysql::WORDS,
        }
    }

    async fn wait<T>(&self, turn: impl Future<Output = T>) -> Result<T> {
        self.gauges.waiting.inc();
        let turn = timeout(self.settings.pool_timeout, turn).await;
        self.gauges.waiting.dec();
        let limit = self.settings.pool_timeout.as_secs();
        turn.map_err(|_| Error::Unavailable(format!("no connection was free within {limit} s")))
    }

    fn is_old(&self, kept: &Kept) -> bool {
        kept.since.elapsed() > self.settings.recycle
    }

    fn idle_one(&self) -> Option<Kept> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.extract_if(.., |kept| self.is_old(kept)).for_each(Kept::close);
        idle.pop()
    }

    fn give_back(&self, kept: Kept) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.settings.max_pool_size && !self.is_old(&kept) {
            idle.push(kept);
        } else {
            kept.close();
        }
    }

    /// A connection was lost: most likely the server went, and the others of its time with it.
    fn lost(&self) {
        self.gauges.lost.inc();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn connect(&self, writes: bool) -> Result<Kept> {
        let limit = self.settings.connect_timeout;
        let made = async {
            Ok(match &self.target {
                Target::Postgres(o) => Link::Postgres(postgres::connect(o, &self.settings).await?),
                Target::Mysql(o) => Link::Mysql(mysql::connect(o, &self.settings, writes).await?),
            })
        };
        let made: std::result::Result<Link, Failure> = match timeout(limit, made).await {
            Ok(made) => made,
            Err(_) => {
                Err(Failure::lost(Error::Unavailable(format!("no answer within {} s", limit.as_secs()))))
            }
        };
        match made {
            Ok(link) => {
                self.gauges.made.inc();
                self.gauges.open.inc();
                Ok(Kept { link: Some(link), since: Instant::now(), open: self.gauges.open.clone() })
            }
            Err(f) => {
                self.gauges.refused.inc();
                // Whatever the server says to one who wants to connect, it is away for us. Drivers and
                // servers name user, host and database here, never the password.
                let why = match f.error {
                    Error::Again(text) | Error::Unavailable(text) | Error::Broken(text) => text,
                    other => other.to_string(),
                };
                Err(Error::Unavailable(format!("cannot connect: {why}")))
            }
        }
    }
}

#[derive(Debug)]
enum Held {
    Reader(Option<Kept>, Option<OwnedSemaphorePermit>),
    Writer(OwnedMutexGuard<Option<Kept>>),
    /// It was given back.
    Nothing,
}

/// An index of the largest table is made in less.
const FOR_EVER: Duration = Duration::from_secs(86_400);

/// How far a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was said to the server yet.
    New,
    /// It has begun.
    Begun,
    /// A statement is under way. One that is still so in the end was given up in the middle.
    Busy,
    /// It is over: committed, or the connection is lost.
    Over,
}

/// A transaction; rolled back when it is dropped.
#[derive(Debug)]
pub(super) struct ServerTx {
    held: Held,
    home: Arc<Inner>,
    state: State,
    /// The number that it left at the guard.
    ticket: Option<i64>,
    /// May a statement take as long as it takes?
    patient: bool,
}

impl ServerTx {
    fn link(&mut self) -> Result<&mut Link> {
        let kept = match &mut self.held {
            Held::Reader(kept, _) => kept.as_mut(),
            Held::Writer(slot) => slot.as_mut(),
            Held::Nothing => None,
        };
        kept.and_then(|k| k.link.as_mut())
            .ok_or_else(|| Error::Broken("the connection was given back".into()))
    }

    async fn step(&mut self, step: Step<'_>) -> Result<Done> {
        let limit = self.home.settings.statement_timeout.max(self.home.settings.lock_timeout);
        // The server's own limit comes first, and says more.
        let limit = if self.patient { FOR_EVER } else { limit + Duration::from_secs(1) };
        self.state = State::Busy;
        let done = match timeout(limit, self.link()?.perform(step)).await {
            Ok(done) => done,
            Err(_) => {
                let text = format!("the database did not answer within {} s", limit.as_secs());
                Err(Failure::lost(Error::Unavailable(text)))
            }
        };
        match done {
            Ok(done) => {
                self.state = State::Begun;
                if done.prepared {
                    Box::pin(self.look_at_guard()).await?;
                }
                Ok(done)
            }
            Err(Failure { error, link }) => {
                match link {
                    After::Kept => self.state = State::Begun,
                    After::Suspect => self.forget(),
                    After::Lost => {
                        self.forget();
                        self.home.lost();
                    }
                }
                Err(error)
            }
        }
    }

    /// A statement had to be prepared. A node of Galera that has taken the transaction back, for one of
    /// another node, says so in answer to the next command, but not when that prepares a statement
    /// (MariaDB 10.11): what follows is then another transaction, of which the beginning is missing. Nor is
    /// what was prepared so to be trusted; the connection goes.
    async fn look_at_guard(&mut self) -> Result<()> {
        let (Some(ticket), Some(is_still)) = (self.ticket, self.home.words().is_still) else {
            return Ok(());
        };
        let looked = self.step(Step::Script(&is_still(ticket))).await;
        if looked.is_err() {
            self.forget();
        }
        looked.map(drop)
    }

    /// Closes the connection.
    fn forget(&mut self) {
        self.state = State::Over;
        match &mut self.held {
            Held::Reader(kept, _) => drop(kept.take()),
            Held::Writer(slot) => **slot = None,
            Held::Nothing => {}
        }
    }

    async fn begin(&mut self) -> Result<()> {
        if self.state == State::New {
            match self.home.words().begin_read {
                Some(begin) => drop(self.step(Step::Script(begin)).await?),
                None => self.state = State::Begun,
            }
        }
        Ok(())
    }

    pub(super) async fn query(&mut self, sql: &str, args: &[Value]) -> Result<Vec<Row>> {
        self.begin().await?;
        Ok(self.step(Step::Query(sql, args)).await?.rows)
    }

    pub(super) async fn run(&mut self, sql: &str, args: &[Value]) -> Result<u64> {
        self.begin().await?;
        Ok(self.step(Step::Run(sql, args)).await?.changed)
    }

    pub(super) async fn script(&mut self, sql: &str) -> Result<()> {
        self.begin().await?;
        self.step(Step::Script(sql)).await.map(drop)
    }

    pub(super) async fn commit(mut self) -> Result<()> {
        if self.state == State::New {
            return Ok(());
        }
        // In one message, of which the rest is not run when the first part fails.
        let commit = match (self.ticket, self.home.words().is_still) {
            (Some(ticket), Some(is_still)) => is_still(ticket) + "; COMMIT",
            _ => "COMMIT".to_owned(),
        };
        let done = self.step(Step::Script(&commit)).await;
        let was_lost = self.state == State::Over;
        match done {
            Ok(_) => {
                self.state = State::Over;
                Ok(())
            }
            // Nobody knows whether it was done: doing it again might do it twice. That holds too for an error
            // of which we do not know what it leaves behind (a Galera node that is being let in has such).
            Err(e) if was_lost || matches!(e, Error::Broken(_)) => {
                Err(Error::Unavailable(format!("at the end of a transaction: {e}")))
            }
            Err(e) => {
                self.forget();
                Err(e)
            }
        }
    }
}

impl Drop for ServerTx {
    fn drop(&mut self) {
        self.home.gauges.used.dec();
        if self.state == State::Busy {
            // Given up in the middle: what the server answers next is not for the next one.
            self.forget();
        }
        if self.patient {
            // The session was changed.
            self.forget();
        }
        let open = self.state == State::Begun;
        let home = Arc::clone(&self.home);
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Reader(Some(kept), place) if open => {
                after(async move {
                    let mut kept = kept;
                    if kept.roll_back().await {
                        home.give_back(kept);
                    } else {
                        home.lost();
                    }
                    drop(place);
                });
            }
            Held::Reader(Some(kept), _) => home.give_back(kept),
            Held::Writer(slot) if open => {
                // The turn is over when the server knows so.
                after(async move {
                    let mut slot = slot;
                    let sound = match slot.as_mut() {
                        Some(kept) => kept.roll_back().await,
                        None => true,
                    };
                    if !sound {
                        *slot = None;
                        home.lost();
                    }
                });
            }
            Held::Reader(None, _) | Held::Writer(_) | Held::Nothing => {}
        }
    }
}

/// Does what nobody has to wait for. Without a runtime it is not done, and the connection is cut off,
/// which ends its transaction too.
fn after(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(work);
    }
}
