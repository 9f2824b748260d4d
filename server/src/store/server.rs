//! A database on a server: the pool of connections, and transactions over them.
//!
//! Reads take a connection of the pool each. Writes take the one that is for writing, in the order in which they
//! come, and then the guard of all replicas ([`DialectSql::begin_write`]): one writer at a time, as on SQLite.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool::managed::{self, Object, PoolError, QueueMode, RecycleError, RecycleResult};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use sqlx::Connection as _;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use super::dialect::{DialectSql, Done, Failure, Next};
use super::schema::Dialect;
use super::url::{self, Settings};
use super::{Error, Result, Row, Value, mysql, postgres};
use crate::ids;

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
enum Connection {
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

impl Connection {
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
struct Pooled {
    connection: Option<Connection>,
    since: Instant,
    /// Whether a transaction is still to be rolled back.
    in_transaction: bool,
    open: Gauge,
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.open.dec();
    }
}

impl Pooled {
    /// Closes it as the protocol wants it, so that the server's log need not complain.
    fn close(mut self) {
        let (Some(connection), Ok(runtime)) = (self.connection.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        runtime.spawn(timeout(Duration::from_secs(1), async move {
            match connection {
                Connection::Postgres(c) => c.close().await,
                Connection::Mysql(c) => c.close().await,
            }
        }));
    }

    /// Makes it ready for the next transaction; returns whether it can be used on.
    async fn tidy(&mut self) -> bool {
        if self.in_transaction {
            return false;
        }
        match &mut self.connection {
            Some(Connection::Mysql(c)) => {
                matches!(timeout(Duration::from_secs(1), mysql::tidy(c)).await, Ok(Ok(())))
            }
            Some(Connection::Postgres(_)) => true,
            None => false,
        }
    }

    /// Undoes what is open; returns whether the connection can be used on.
    async fn roll_back(&mut self) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        let done = timeout(Duration::from_secs(5), connection.perform(Step::Script("ROLLBACK"))).await;
        self.in_transaction = !matches!(done, Ok(Ok(_)));
        !self.in_transaction
    }
}

/// Makes connections, and makes them ready for their next use.
#[derive(Debug)]
struct Connector {
    target: Target,
    settings: Settings,
    gauges: Gauges,
}

impl managed::Manager for Connector {
    type Type = Pooled;
    type Error = Error;

    async fn create(&self) -> Result<Pooled> {
        self.connect(false).await
    }

    async fn recycle(&self, pooled: &mut Pooled, _: &managed::Metrics) -> RecycleResult<Error> {
        if pooled.tidy().await { Ok(()) } else { Err(RecycleError::message("not usable any more")) }
    }
}

/// A connection for reading, which goes back to the pool when it is dropped.
type Reader = Object<Connector>;

#[derive(Debug, Clone)]
pub(super) struct Server(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    readers: managed::Pool<Connector>,
    /// The connection for writing.
    writer: Arc<Mutex<Option<Pooled>>>,
}

impl Server {
    pub(super) fn new(at: &url::Server, settings: &Settings) -> Result<Self> {
        let target = match at.dialect {
            Dialect::Mysql => Target::Mysql(mysql::options(at)),
            Dialect::Postgres | Dialect::Sqlite => Target::Postgres(postgres::options(at)),
        };
        let mut settings = settings.clone();
        settings.connect_timeout = at.connect_timeout.unwrap_or(settings.connect_timeout);
        let places = settings.max_pool_size.saturating_add(settings.max_overflow).clamp(1, 10_000);
        let wait = settings.pool_timeout;
        let connector = Connector { target, settings, gauges: Gauges::default() };
        let readers = managed::Pool::builder(connector)
            .max_size(places)
            .queue_mode(QueueMode::Lifo)
            .runtime(deadpool::Runtime::Tokio1)
            .wait_timeout(Some(wait))
            .build()
            .map_err(|e| Error::Broken(e.to_string()))?;
        Ok(Self(Arc::new(Pool { readers, writer: Arc::new(Mutex::new(None)) })))
    }

    pub(super) fn gauges(&self) -> &Gauges {
        self.0.gauges()
    }

    pub(super) fn dialect(&self) -> Dialect {
        match self.0.connector().target {
            Target::Postgres(_) => Dialect::Postgres,
            Target::Mysql(_) => Dialect::Mysql,
        }
    }

    pub(super) async fn read(&self) -> Result<ServerTx> {
        let reader = self.0.reader().await?;
        self.0.gauges().used.inc();
        Ok(ServerTx {
            held: Lease::Reader(reader),
            pool: Arc::clone(&self.0),
            state: State::New,
            ticket: None,
            patient: false,
        })
    }

    /// A connection of its own for single queries, each of which sees what was committed before it.
    pub(super) async fn looker(&self) -> Result<Looker> {
        let mut pooled = self.0.connector().connect(false).await?;
        if let Some(Connection::Mysql(c)) = &mut pooled.connection {
            mysql::script(c, "SET autocommit = 1").await.map_err(|f| f.error)?;
        }
        Ok(Looker { pooled, pool: Arc::clone(&self.0) })
    }

    /// A transaction that writes, and has the guard.
    pub(super) async fn write(&self) -> Result<ServerTx> {
        let mut tx = self.writer().await?;
        let ticket = i64::try_from(ids::below(1 << 62)).unwrap_or_default();
        tx.step(Step::Script(&(self.0.connector().sql().begin_write)(ticket))).await?;
        tx.ticket = Some(ticket);
        Ok(tx)
    }

    /// A transaction that changes the schema. Two at once are kept apart where the engine can; where it
    /// cannot, each step may be done by both.
    pub(super) async fn change_schema(&self) -> Result<ServerTx> {
        let mut tx = self.writer().await?;
        tx.patient = true;
        tx.step(Step::Script(self.0.connector().sql().begin_schema)).await?;
        Ok(tx)
    }

    async fn writer(&self) -> Result<ServerTx> {
        let mut slot = self.0.writer().await?;
        let connector = self.0.connector();
        if let Some(old) = slot.take_if(|pooled| connector.is_old(pooled)) {
            old.close();
        }
        if let Some(pooled) = slot.as_mut()
            && !pooled.tidy().await
        {
            *slot = None;
        }
        if slot.is_none() {
            *slot = Some(connector.connect(true).await?);
        }
        connector.gauges.used.inc();
        Ok(ServerTx {
            held: Lease::Writer(slot),
            pool: Arc::clone(&self.0),
            state: State::Begun,
            ticket: None,
            patient: false,
        })
    }
}

impl Pool {
    fn connector(&self) -> &Connector {
        self.readers.manager()
    }

    fn gauges(&self) -> &Gauges {
        &self.connector().gauges
    }

    async fn reader(&self) -> Result<Reader> {
        self.gauges().waiting.inc();
        let reader = self.readers.get().await;
        self.gauges().waiting.dec();
        reader.map_err(|e| match e {
            PoolError::Backend(e) => e,
            PoolError::Timeout(_) => self.connector().nothing_free(),
            e => Error::Unavailable(e.to_string()),
        })
    }

    async fn writer(&self) -> Result<OwnedMutexGuard<Option<Pooled>>> {
        self.gauges().waiting.inc();
        let turn = Arc::clone(&self.writer).lock_owned();
        let turn = timeout(self.connector().settings.pool_timeout, turn).await;
        self.gauges().waiting.dec();
        turn.map_err(|_| self.connector().nothing_free())
    }

    /// Takes a reader back, and closes what is old, or more than is kept and was not needed for a while. To close
    /// at once what a rush opened would open it again in the next moment, which costs more than a request.
    fn give_back(&self, reader: Reader) {
        drop(reader);
        let connector = self.connector();
        let mut kept = 0;
        let closed = self.readers.retain(|pooled, metrics| {
            kept += 1;
            let needed = kept <= connector.settings.max_pool_size || metrics.last_used() < LINGER;
            needed && !connector.is_old(pooled)
        });
        closed.removed.into_iter().for_each(Pooled::close);
    }

    /// A connection was lost: most likely the server went, and the others of its time with it.
    fn lost(&self) {
        self.gauges().lost.inc();
        drop(self.readers.retain(|_, _| false));
    }
}

impl Connector {
    fn sql(&self) -> &'static DialectSql {
        match self.target {
            Target::Postgres(_) => &postgres::SQL,
            Target::Mysql(_) => &mysql::SQL,
        }
    }

    fn nothing_free(&self) -> Error {
        Error::Unavailable(format!(
            "no connection was free within {} s",
            self.settings.pool_timeout.as_secs()
        ))
    }

    fn is_old(&self, pooled: &Pooled) -> bool {
        pooled.since.elapsed() > self.settings.recycle
    }

    async fn connect(&self, writes: bool) -> Result<Pooled> {
        let limit = self.settings.connect_timeout;
        let made = async {
            Ok(match &self.target {
                Target::Postgres(o) => Connection::Postgres(postgres::connect(o, &self.settings).await?),
                Target::Mysql(o) => Connection::Mysql(mysql::connect(o, &self.settings, writes).await?),
            })
        };
        let made: std::result::Result<Connection, Failure> = match timeout(limit, made).await {
            Ok(made) => made,
            Err(_) => {
                Err(Failure::lost(Error::Unavailable(format!("no answer within {} s", limit.as_secs()))))
            }
        };
        match made {
            Ok(connection) => {
                self.gauges.made.inc();
                self.gauges.open.inc();
                Ok(Pooled {
                    connection: Some(connection),
                    since: Instant::now(),
                    in_transaction: false,
                    open: self.gauges.open.clone(),
                })
            }
            Err(f) => {
                self.gauges.refused.inc();
                // Whatever the server says to one who wants to connect, it is away for us. Drivers and
                // servers name user, host and database here, never the password.
                let why = match f.error {
                    Error::Retry(text) | Error::Unavailable(text) | Error::Broken(text) => text,
                    other => other.to_string(),
                };
                Err(Error::Unavailable(format!("cannot connect: {why}")))
            }
        }
    }
}

/// Asks a server in no transaction. After an error it is of no use.
#[derive(Debug)]
pub(super) struct Looker {
    pooled: Pooled,
    pool: Arc<Pool>,
}

impl Looker {
    pub(super) async fn rows(&mut self, sql: &str, args: &[Value]) -> Result<Vec<Row>> {
        let connection = self.pooled.connection.as_mut();
        let connection = connection.ok_or_else(|| Error::Broken("the connection was given back".into()))?;
        let limit = self.pool.connector().settings.statement_timeout + Duration::from_secs(1);
        match timeout(limit, connection.perform(Step::Query(sql, args))).await {
            Ok(Ok(done)) => Ok(done.rows),
            Ok(Err(failure)) => Err(failure.error),
            Err(_) => Err(Error::Unavailable("the database did not answer a question in time".into())),
        }
    }
}

#[derive(Debug)]
enum Lease {
    Reader(Reader),
    Writer(OwnedMutexGuard<Option<Pooled>>),
    /// It was given back.
    Nothing,
}

/// How long a connection beyond `max_pool_size` is kept after its last use.
const LINGER: Duration = Duration::from_secs(30);

/// An index of the largest table is made in less.
const FOR_EVER: Duration = Duration::from_secs(86_400);

/// How far a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was said to the server yet.
    New,
    /// It has begun.
    Begun,
    /// A statement is under way. One that is still so at the end was abandoned.
    Busy,
    /// It is over: committed, or the connection is lost.
    Over,
}

/// A transaction; rolled back when it is dropped.
#[derive(Debug)]
pub(super) struct ServerTx {
    held: Lease,
    pool: Arc<Pool>,
    state: State,
    /// The number that it left at the guard.
    ticket: Option<i64>,
    /// Whether a statement may take as long as it takes.
    patient: bool,
}

impl ServerTx {
    fn connection(&mut self) -> Result<&mut Connection> {
        let pooled = match &mut self.held {
            Lease::Reader(reader) => Some(&mut **reader),
            Lease::Writer(slot) => slot.as_mut(),
            Lease::Nothing => None,
        };
        pooled
            .and_then(|k| k.connection.as_mut())
            .ok_or_else(|| Error::Broken("the connection was given back".into()))
    }

    async fn step(&mut self, step: Step<'_>) -> Result<Done> {
        let settings = &self.pool.connector().settings;
        let limit = settings.statement_timeout.max(settings.lock_timeout);
        // The server's own limit comes first, and says more.
        let limit = if self.patient { FOR_EVER } else { limit + Duration::from_secs(1) };
        self.state = State::Busy;
        let done = match timeout(limit, self.connection()?.perform(step)).await {
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
            Err(Failure { error, next }) => {
                match next {
                    Next::Kept => self.state = State::Begun,
                    Next::Suspect => self.forget(),
                    Next::Lost => {
                        self.forget();
                        self.pool.lost();
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
        let (Some(ticket), Some(is_still)) = (self.ticket, self.pool.connector().sql().is_still) else {
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
        if let Lease::Writer(slot) = &mut self.held {
            // Its turn goes on.
            **slot = None;
        } else if let Lease::Reader(reader) = std::mem::replace(&mut self.held, Lease::Nothing) {
            drop(Object::take(reader));
        }
    }

    async fn begin(&mut self) -> Result<()> {
        if self.state == State::New {
            match self.pool.connector().sql().begin_read {
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
        let commit = match (self.ticket, self.pool.connector().sql().is_still) {
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

impl super::Tx {
    /// Ends it. A server's connection is free for the next transaction when this returns; of one that is dropped it is so
    /// a moment later, and who reads right after opens another.
    pub async fn end(self) {
        if let super::Inner::Server(mut tx) = self.inner
            && tx.state == State::Begun
            && tx.step(Step::Script("ROLLBACK")).await.is_ok()
        {
            tx.state = State::Over;
        }
    }
}

impl Drop for ServerTx {
    fn drop(&mut self) {
        self.pool.gauges().used.dec();
        if self.state == State::Busy {
            // Abandoned: what the server answers next is not for the next one.
            self.forget();
        }
        if self.patient {
            // The session was changed.
            self.forget();
        }
        let open = self.state == State::Begun;
        let pool = Arc::clone(&self.pool);
        match std::mem::replace(&mut self.held, Lease::Nothing) {
            Lease::Reader(mut reader) if open => {
                reader.in_transaction = true;
                after(async move {
                    if reader.roll_back().await {
                        pool.give_back(reader);
                    } else {
                        drop(Object::take(reader));
                        pool.lost();
                    }
                });
            }
            Lease::Reader(reader) => pool.give_back(reader),
            Lease::Writer(slot) if open => {
                // The turn is over when the server knows so.
                after(async move {
                    let mut slot = slot;
                    let sound = match slot.as_mut() {
                        Some(pooled) => pooled.roll_back().await,
                        None => true,
                    };
                    if !sound {
                        *slot = None;
                        pool.lost();
                    }
                });
            }
            Lease::Writer(_) | Lease::Nothing => {}
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
