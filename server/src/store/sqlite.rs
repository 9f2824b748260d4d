//! SQLite: many readers on snapshots, one writer. Statements run inline: they take microseconds
//! (docs/decisions/0006-engines.md), and after a number of them others go first. A reader's connection refuses to write.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, ToSql};
use tokio::sync::OwnedMutexGuard;

use super::flush::{Earlier, Ended, Flush, at_end};
use super::{Error, Result, Row, Value};
use crate::clock;

#[derive(Debug, Clone)]
pub(super) struct Sqlite(Arc<Inner>);

/// What a connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Everything; a file that is not there is made.
    Make,
    /// Everything, in a file that is there.
    Use,
    /// Read. Not a byte of the file changes, its mode of journalling neither.
    ReadOnly,
}

#[derive(Debug)]
struct Inner {
    /// Nothing for a database in memory, which has one connection only.
    path: Option<PathBuf>,
    how: How,
    writer: Arc<tokio::sync::Mutex<Writer>>,
    /// How many wait for the writer, to write.
    waiting: AtomicUsize,
    readers: Mutex<Vec<Connection>>,
}

/// The connection that writes.
#[derive(Debug)]
struct Writer {
    conn: Connection,
    /// The commit that units wait for which are done. Their transaction is open; the next unit is a savepoint in it.
    next: Option<Flush>,
}

/// The query for the names of all tables.
pub(super) const TABLES: &str =
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'";

/// Idle readers that are kept; a burst may open more.
const READERS_KEPT: usize = 16;

impl Sqlite {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let writer = connect(path, How::Make)?;
        Ok(Self::over(Some(path.to_owned()), How::Use, writer))
    }

    /// Opens a file that nothing may change.
    pub(super) fn open_read_only(path: &Path) -> Result<Self> {
        let writer = connect(path, How::ReadOnly)?;
        Ok(Self::over(Some(path.to_owned()), How::ReadOnly, writer))
    }

    pub(super) fn memory() -> Result<Self> {
        let writer = Connection::open_in_memory().map_err(convert)?;
        prepare(&writer)?;
        Ok(Self::over(None, How::Use, writer))
    }

    fn over(path: Option<PathBuf>, how: How, writer: Connection) -> Self {
        Self(Arc::new(Inner {
            path,
            how,
            writer: Arc::new(tokio::sync::Mutex::new(Writer { conn: writer, next: None })),
            waiting: AtomicUsize::new(0),
            readers: Mutex::new(Vec::new()),
        }))
    }

    pub(super) async fn read(&self) -> Result<SqliteTx> {
        let Some(path) = &self.0.path else {
            // There is one connection. It refuses to write until this transaction is over.
            let guard = Arc::clone(&self.0.writer).lock_owned().await;
            query_only(&guard.conn, true)?;
            return SqliteTx::begin(Conn::Shared(guard), "BEGIN");
        };
        let idle = self.0.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = match idle {
            Some(c) => c,
            None => {
                let conn = connect(path, self.0.how)?;
                query_only(&conn, true)?;
                conn
            }
        };
        SqliteTx::begin(Conn::Reader(Some(conn), Arc::clone(&self.0)), "BEGIN")
    }

    /// A connection of its own that looks whether others have committed.
    pub(super) fn watcher(&self) -> Result<Watcher> {
        let path = self
            .0
            .path
            .as_ref()
            .ok_or_else(|| Error::Broken("a database in memory has one connection".into()))?;
        let conn = connect(path, self.0.how)?;
        query_only(&conn, true)?;
        Ok(Watcher { conn })
    }

    pub(super) async fn write(&self) -> Result<SqliteTx> {
        let waits = Waits::new(&self.0);
        let guard = Arc::clone(&self.0.writer).lock_owned().await;
        drop(waits);
        let joins = guard.next.is_some();
        let conn = Conn::Writer(guard, Arc::clone(&self.0));
        if joins {
            return SqliteTx::begin(conn, "SAVEPOINT unit");
        }
        blocking(|| SqliteTx::begin(conn, "BEGIN IMMEDIATE"))
    }
}

/// Looks at a file, and is in no transaction.
#[derive(Debug)]
pub(super) struct Watcher {
    conn: Connection,
}

/// What a look at a file found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// `PRAGMA data_version`: another value after a commit of anybody else.
    pub(super) commits: i64,
    /// `PRAGMA schema_version`
    pub(super) schema: i64,
}

impl Watcher {
    /// Looks again, after a look.
    pub(super) fn look(&mut self, last: Look) -> Result<Look> {
        let number = |sql| {
            let mut statement = self.conn.prepare_cached(sql)?;
            statement.query_row([], |row| row.get::<_, i64>(0))
        };
        let commits = number("PRAGMA data_version").map_err(convert)?;
        if commits == last.commits {
            return Ok(last);
        }
        let schema = number("PRAGMA schema_version").map_err(convert)?;
        Ok(Look { commits, schema })
    }

    pub(super) fn rows(&mut self, sql: &str, args: &[Value]) -> Result<Vec<Row>> {
        query(&self.conn, sql, args)
    }
}

fn connect(path: &Path, how: How) -> Result<Connection> {
    if how == How::ReadOnly {
        return connect_read_only(path);
    }
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, how == How::Make);
    let conn = Connection::open_with_flags(path, flags).map_err(convert)?;
    // The write-ahead log lets readers go on beside a writer, a Keystone on the same file included.
    conn.pragma_update(None, "journal_mode", "wal").map_err(convert)?;
    prepare(&conn)?;
    Ok(conn)
}

fn connect_read_only(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let quiet = path.to_str().filter(|_| is_quiet(path));
    let conn = match quiet {
        // Else the files of the log would be made, and belong to whoever looks.
        Some(text) => {
            let text = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
            let uri = format!("file:{text}?immutable=1");
            Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
        }
        None => Connection::open_with_flags(path, flags),
    };
    let conn = conn.map_err(convert)?;
    prepare(&conn)?;
    conn.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(convert)?;
    Ok(conn)
}

/// Whether it is a file with a write-ahead log that nobody has open. An open one has the log beside it.
fn is_quiet(path: &Path) -> bool {
    use std::io::Read;
    let mut head = [0; 20];
    let read = std::fs::File::open(path).and_then(|mut f| f.read_exact(&mut head));
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    // The format of the file says 2 for a write-ahead log.
    read.is_ok() && head[18] == 2 && !Path::new(&log).exists()
}

fn prepare(conn: &Connection) -> Result<()> {
    // What was acknowledged survives a power cut.
    conn.pragma_update(None, "synchronous", "full").map_err(convert)?;
    // Keystone leaves the keys unenforced on SQLite; enforcing them would refuse its own orders of deletion.
    conn.pragma_update(None, "foreign_keys", "off").map_err(convert)?;
    conn.busy_timeout(std::time::Duration::from_secs(10)).map_err(convert)?;
    // Plans must not hang on the values that are bound: without this, a statement is planned anew for
    // each of its runs, which costs more than running it.
    conn.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(convert)?;
    conn.set_prepared_statement_cache_capacity(256);
    Ok(())
}

/// Refuses statements that write, or allows them again.
fn query_only(conn: &Connection, on: bool) -> Result<()> {
    conn.pragma_update(None, "query_only", on).map_err(convert)
}

fn convert(e: rusqlite::Error) -> Error {
    match e.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => {
            let extended = e.sqlite_error().map_or(0, |e| e.extended_code);
            if [rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE, rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY]
                .contains(&extended)
            {
                Error::Duplicate
            } else {
                Error::Broken(e.to_string())
            }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Unavailable(e.to_string()),
        _ => Error::Broken(e.to_string()),
    }
}

/// Counts one who waits for the writer.
struct Waits<'a>(&'a Inner);

impl<'a> Waits<'a> {
    fn new(inner: &'a Inner) -> Self {
        inner.waiting.fetch_add(1, Ordering::SeqCst);
        Self(inner)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Inner {
    /// Whether the next writer is there already, so that a commit can be left to it. In memory there is nothing to
    /// save.
    fn is_awaited(&self) -> bool {
        self.path.is_some() && self.waiting.load(Ordering::SeqCst) > 0
    }
}

impl Writer {
    /// Commits the units that are done, and tells those who wait for it.
    fn flush(&mut self) {
        let Some(flush) = self.next.take() else { return };
        flush.tell(match blocking(|| control(&self.conn, "COMMIT")) {
            Ok(()) => Ended::Durable,
            Err(e) => {
                // If even this fails, the connection is unusable and its next BEGIN says so.
                let _ = control(&self.conn, "ROLLBACK");
                Ended::Unknown(e.to_string())
            }
        });
    }

    /// Undoes the unit that is open, and nothing of those before it.
    fn undo(&mut self) {
        let undone = match &self.next {
            None => control(&self.conn, "ROLLBACK"),
            Some(_) => {
                control(&self.conn, "ROLLBACK TO unit").and_then(|()| control(&self.conn, "RELEASE unit"))
            }
        };
        // Some errors (a full disk) take back the whole transaction at once. It was not committed, so whoever
        // waits for that can do it all again.
        if let Some(flush) = self.next.take_if(|_| undone.is_err() || self.conn.is_autocommit()) {
            let _ = control(&self.conn, "ROLLBACK");
            flush.tell(Ended::Undone);
        }
    }

    /// Leaves the unit that is done for a commit with others, if there are any or another writer waits; returns what
    /// its answer has to wait for.
    fn leave(&mut self, home: &Arc<Inner>) -> Result<Option<Earlier>> {
        let awaited = home.is_awaited();
        let ended = match &mut self.next {
            Some(flush) => {
                control(&self.conn, "RELEASE unit")?;
                flush.add()
            }
            None if awaited => {
                let ended = self.next.insert(Flush::new()).add();
                tokio::spawn(Self::end_later(Arc::clone(home), ended.clone()));
                ended
            }
            None => return Ok(None),
        };
        if !awaited || self.next.as_ref().is_some_and(Flush::is_full) {
            self.flush();
        }
        Ok(Some(ended))
    }

    /// Commits when all who waited at the beginning have had their turn, and nobody else waits. Mostly the last of
    /// them has done so already; this is for when that one was refused, or went away.
    async fn end_later(home: Arc<Inner>, ended: Earlier) {
        while !ended.is_over() {
            // In the order in which they came.
            let mut writer = Arc::clone(&home.writer).lock_owned().await;
            if !ended.is_over() && !home.is_awaited() {
                writer.flush();
            }
        }
    }
}

#[derive(Debug)]
enum Conn {
    Reader(Option<Connection>, Arc<Inner>),
    /// The writer's, for reading.
    Shared(OwnedMutexGuard<Writer>),
    Writer(OwnedMutexGuard<Writer>, Arc<Inner>),
}

/// A transaction; rolled back when it is dropped.
#[derive(Debug)]
pub(super) struct SqliteTx {
    conn: Conn,
    open: bool,
}

/// Does what waits for the disk, or for another process that writes. Other requests of this thread do not.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::try_current() {
        Ok(rt) if rt.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(work)
        }
        _ => work(),
    }
}

/// Begins or ends a transaction.
fn control(conn: &Connection, statement: &str) -> Result<()> {
    conn.prepare_cached(statement).and_then(|mut s| s.execute([])).map_err(convert)?;
    Ok(())
}

fn query(conn: &Connection, sql: &str, args: &[Value]) -> Result<Vec<Row>> {
    let mut statement = conn.prepare_cached(sql).map_err(convert)?;
    let columns = statement.column_count();
    let mut rows = statement.query(rusqlite::params_from_iter(args)).map_err(convert)?;
    let mut out = Vec::new();
    while let Some(row) = rows.next().map_err(convert)? {
        let mut values = Vec::with_capacity(columns);
        for i in 0..columns {
            values.push(match row.get_ref(i).map_err(convert)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(n) => Value::Int(n),
                ValueRef::Text(t) => Value::Text(String::from_utf8_lossy(t).into_owned()),
                ValueRef::Real(f) => Value::Text(f.to_string()),
                ValueRef::Blob(b) => Value::Text(String::from_utf8_lossy(b).into_owned()),
            });
        }
        out.push(Row::new(values));
    }
    Ok(out)
}

impl SqliteTx {
    fn begin(conn: Conn, how: &str) -> Result<Self> {
        let mut tx = Self { conn, open: false };
        control(tx.conn()?, how)?;
        tx.open = true;
        Ok(tx)
    }

    fn conn(&self) -> Result<&Connection> {
        match &self.conn {
            Conn::Reader(Some(c), _) => Ok(c),
            Conn::Reader(None, _) => Err(Error::Broken("the connection was given back".into())),
            Conn::Shared(w) | Conn::Writer(w, _) => Ok(&w.conn),
        }
    }

    /// The commit of others that what this one reads may hang on.
    pub(super) fn earlier(&self) -> Option<Earlier> {
        match &self.conn {
            Conn::Writer(writer, _) => writer.next.as_ref().map(Flush::wait),
            Conn::Reader(..) | Conn::Shared(_) => None,
        }
    }

    pub(super) fn query(&mut self, sql: &str, args: &[Value]) -> Result<Vec<Row>> {
        query(self.conn()?, sql, args)
    }

    pub(super) fn run(&mut self, sql: &str, args: &[Value]) -> Result<u64> {
        let mut statement = self.conn()?.prepare_cached(sql).map_err(convert)?;
        let n = statement.execute(rusqlite::params_from_iter(args)).map_err(convert)?;
        Ok(n as u64)
    }

    /// Ends it for good. When other writers wait, its changes go to the disk together with theirs
    /// (docs/decisions/0007-one-writer.md).
    pub(super) async fn commit(mut self) -> Result<()> {
        let ended = match &mut self.conn {
            Conn::Reader(..) | Conn::Shared(_) => None,
            Conn::Writer(writer, home) => writer.leave(home)?,
        };
        let Some(ended) = ended else {
            let commit = || control(self.conn()?, "COMMIT");
            match &self.conn {
                Conn::Writer(..) => blocking(commit).map_err(at_end)?,
                Conn::Reader(..) | Conn::Shared(_) => commit()?,
            }
            self.open = false;
            return Ok(());
        };
        self.open = false;
        drop(self);
        ended.settled().await
    }
}

impl Drop for SqliteTx {
    fn drop(&mut self) {
        let open = std::mem::take(&mut self.open);
        match &mut self.conn {
            Conn::Writer(writer, _) if open => writer.undo(),
            Conn::Writer(..) => {}
            Conn::Shared(writer) => {
                if open {
                    let _ = control(&writer.conn, "ROLLBACK");
                }
                // If this fails, the next who writes is refused.
                let _ = query_only(&writer.conn, false);
            }
            Conn::Reader(conn, home) => {
                let Some(conn) = conn.take() else { return };
                if open {
                    // If even this fails, the connection is unusable and its next BEGIN says so.
                    let _ = control(&conn, "ROLLBACK");
                }
                let mut idle = home.readers.lock().unwrap_or_else(PoisonError::into_inner);
                if idle.len() < READERS_KEPT {
                    idle.push(conn);
                }
            }
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(rusqlite::types::Value::Null),
            Self::Int(i) => (*i).into(),
            Self::Bool(b) => i64::from(*b).into(),
            Self::Text(t) | Self::Id(t) | Self::Date(t) => {
                ToSqlOutput::Borrowed(ValueRef::Text(t.as_bytes()))
            }
            Self::DateTime(t) => clock::sql_datetime(*t).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinHandle;

    use super::*;
    use crate::args;

    /// In a file and in memory.
    fn each() -> [(Sqlite, Option<PathBuf>); 2] {
        let path = std::env::temp_dir().join(format!("vicar-store-{}.db", crate::ids::uuid()));
        let file = Sqlite::open(&path).expect("opens");
        [(file, Some(path)), (Sqlite::memory().expect("opens"), None)]
    }

    /// A database in a file, with the table `t`. The file is removed with this value.
    struct Filed(Sqlite, PathBuf);

    impl Drop for Filed {
        fn drop(&mut self) {
            for end in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{}{end}", self.1.display()));
            }
        }
    }

    impl Filed {
        async fn new() -> Self {
            let path = std::env::temp_dir().join(format!("vicar-store-{}.db", crate::ids::uuid()));
            let store = Sqlite::open(&path).expect("opens");
            let mut tx = store.write().await.expect("begins");
            tx.run("CREATE TABLE t (n INTEGER)", &[]).expect("creates");
            tx.commit().await.expect("commits");
            Self(store, path)
        }

        /// What SQLite does before each commit; `true` makes it fail.
        async fn before_commit(&self, hook: impl FnMut() -> bool + Send + 'static) {
            self.0.0.writer.lock().await.conn.commit_hook(Some(hook)).expect("hooks");
        }

        /// What somebody else reads.
        async fn rows(&self) -> Vec<i64> {
            let mut tx = self.0.read().await.expect("begins");
            let mut rows = tx.query("SELECT n FROM t ORDER BY n", &[]).expect("reads");
            rows.iter_mut().map(|r| r.take().expect("a number")).collect()
        }

        /// A transaction that has written a row.
        async fn begun(&self, n: i64) -> SqliteTx {
            insert(self.0.clone(), n).await
        }

        /// Starts a writer of a row, and returns when it waits behind `behind` others.
        async fn queued(&self, n: i64, behind: usize) -> JoinHandle<Result<()>> {
            let store = self.0.clone();
            let writer = tokio::spawn(async move { insert(store, n).await.commit().await });
            self.until_waiting(behind + 1).await;
            writer
        }

        async fn until_waiting(&self, n: usize) {
            while self.0.0.waiting.load(Ordering::SeqCst) != n {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn insert(store: Sqlite, n: i64) -> SqliteTx {
        let mut tx = store.write().await.expect("begins");
        tx.run("INSERT INTO t VALUES (?)", args![n]).expect("writes");
        tx
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn writers_that_wait_share_commits() {
        const WRITERS: usize = 100;
        let db = Filed::new().await;
        let commits = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&commits);
        db.before_commit(move || {
            count.fetch_add(1, Ordering::SeqCst);
            false
        })
        .await;
        let first = db.begun(0).await;
        let mut writers = Vec::new();
        for n in 1..WRITERS {
            writers.push(db.queued(n as i64, n - 1).await);
        }
        first.commit().await.expect("commits");
        for writer in writers {
            writer.await.expect("ends").expect("commits");
        }
        assert_eq!(db.rows().await, (0..WRITERS as i64).collect::<Vec<_>>());
        assert_eq!(commits.load(Ordering::SeqCst), WRITERS.div_ceil(super::super::flush::MOST));
        // Alone, each is on the disk when it is done.
        for n in 0..3 {
            db.begun(n).await.commit().await.expect("commits");
        }
        assert_eq!(commits.load(Ordering::SeqCst), WRITERS.div_ceil(super::super::flush::MOST) + 3);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nobody_has_an_answer_before_the_flush() {
        let db = Filed::new().await;
        let (begins, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let (release, held) = std::sync::mpsc::channel::<()>();
        db.before_commit(move || {
            begins.send(()).expect("somebody looks");
            held.recv().is_err()
        })
        .await;
        let first = db.begun(1).await;
        // One is refused for what it reads of the first.
        let store = db.0.clone();
        let refused = tokio::spawn(async move {
            let mut tx = insert(store, 2).await;
            assert_eq!(tx.query("SELECT n FROM t", &[]).expect("reads").len(), 2);
            let earlier = tx.earlier().expect("one is before");
            drop(tx);
            earlier.settled().await
        });
        db.until_waiting(1).await;
        let third = db.queued(3, 1).await;
        let first = tokio::spawn(first.commit());
        begun.recv().await.expect("a commit");
        let all = [first, refused, third];
        assert!(all.iter().all(|one| !one.is_finished()));
        assert!(db.rows().await.is_empty(), "others see what is durable");
        // Who comes now has a commit of its own.
        let fourth = db.queued(4, 0).await;
        release.send(()).expect("it waits");
        for one in all {
            one.await.expect("ends").expect("is durable");
        }
        begun.recv().await.expect("a commit");
        assert!(!fourth.is_finished());
        assert_eq!(db.rows().await, [1, 3]);
        release.send(()).expect("it waits");
        fourth.await.expect("ends").expect("is durable");
        assert_eq!(db.rows().await, [1, 3, 4]);
        db.before_commit(|| false).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_unit_that_fails_or_goes_away_takes_nobody_with_it() {
        let db = Filed::new().await;
        let first = db.begun(1).await;
        let store = db.0.clone();
        let failed = tokio::spawn(async move {
            let mut tx = insert(store, 2).await;
            tx.run("INSERT INTO nothing VALUES (1)", &[]).expect_err("no such table");
        });
        db.until_waiting(1).await;
        let third = db.queued(3, 1).await;
        // The last one is cut off while it has its turn.
        let (store, (has_turn, turn)) = (db.0.clone(), tokio::sync::oneshot::channel());
        let cut = tokio::spawn(async move {
            let _tx = insert(store, 4).await;
            has_turn.send(()).expect("somebody looks");
            std::future::pending::<()>().await;
        });
        db.until_waiting(3).await;
        let first = tokio::spawn(first.commit());
        turn.await.expect("its turn");
        assert!(!first.is_finished() && !third.is_finished());
        cut.abort();
        first.await.expect("ends").expect("commits");
        third.await.expect("ends").expect("commits");
        failed.await.expect("ends");
        assert_eq!(db.rows().await, [1, 3]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_commit_that_fails_is_told_to_all_of_it() {
        let db = Filed::new().await;
        let mut fails = true;
        db.before_commit(move || std::mem::take(&mut fails)).await;
        let first = db.begun(1).await;
        let second = db.queued(2, 0).await;
        let first = first.commit().await;
        let second = second.await.expect("ends");
        for one in [first, second] {
            assert!(matches!(&one, Err(Error::Unavailable(why)) if why.contains("at the end")), "{one:?}");
        }
        db.begun(3).await.commit().await.expect("commits");
        assert_eq!(db.rows().await, [3]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_transaction_that_sqlite_takes_back_is_run_again_by_all_of_it() {
        let db = Filed::new().await;
        let first = db.begun(1).await;
        let store = db.0.clone();
        let second = tokio::spawn(async move {
            let mut tx = insert(store, 2).await;
            // As a full disk does.
            tx.run("ROLLBACK", &[]).expect("takes back");
        });
        db.until_waiting(1).await;
        let third = db.queued(3, 1).await;
        assert!(matches!(first.commit().await, Err(Error::Retry(_))));
        second.await.expect("ends");
        third.await.expect("ends").expect("commits");
        assert_eq!(db.rows().await, [3]);
    }

    #[tokio::test]
    async fn a_read_cannot_write_and_a_write_after_it_can() {
        for (store, path) in each() {
            let mut tx = store.write().await.expect("begins");
            tx.run("CREATE TABLE t (n INTEGER)", &[]).expect("creates");
            tx.commit().await.expect("commits");
            // The second reader takes the connection of the first.
            for n in 0..2 {
                let mut tx = store.read().await.expect("begins");
                for write in ["INSERT INTO t VALUES (1)", "CREATE TABLE u (n INTEGER)", "DELETE FROM t"] {
                    assert!(matches!(tx.run(write, &[]), Err(Error::Broken(_))), "{write}");
                }
                assert_eq!(tx.query("SELECT n FROM t", &[]).expect("reads").len(), n);
                if n == 0 {
                    drop(tx)
                } else {
                    tx.commit().await.expect("ends")
                }
                let mut tx = store.write().await.expect("begins");
                tx.run("INSERT INTO t VALUES (?)", args![1_i64]).expect("writes");
                tx.commit().await.expect("commits");
            }
            let mut tx = store.read().await.expect("begins");
            assert_eq!(tx.query("SELECT n FROM t", &[]).expect("reads").len(), 2);
            drop((tx, store));
            for end in ["", "-wal", "-shm"] {
                if let Some(path) = &path {
                    let _ = std::fs::remove_file(format!("{}{end}", path.display()));
                }
            }
        }
    }
}
