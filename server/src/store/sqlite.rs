//! SQLite: many readers on snapshots, one writer. Statements run inline: they take microseconds
//! (docs/decisions/0006-engines.md), and after a number of them others go first. A reader's connection refuses to write.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, ToSql};
use tokio::sync::OwnedMutexGuard;

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
    writer: Arc<tokio::sync::Mutex<Connection>>,
    readers: Mutex<Vec<Connection>>,
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
            writer: Arc::new(tokio::sync::Mutex::new(writer)),
            readers: Mutex::new(Vec::new()),
        }))
    }

    pub(super) async fn read(&self) -> Result<SqliteTx> {
        let Some(path) = &self.0.path else {
            // There is one connection. It refuses to write until this transaction is over.
            let guard = Arc::clone(&self.0.writer).lock_owned().await;
            query_only(&guard, true)?;
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
        let guard = Arc::clone(&self.0.writer).lock_owned().await;
        blocking(|| SqliteTx::begin(Conn::Writer(guard), "BEGIN IMMEDIATE"))
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

#[derive(Debug)]
enum Conn {
    Reader(Option<Connection>, Arc<Inner>),
    /// The writer's, for reading.
    Shared(OwnedMutexGuard<Connection>),
    Writer(OwnedMutexGuard<Connection>),
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
            Conn::Shared(c) | Conn::Writer(c) => Ok(c),
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

    pub(super) fn commit(mut self) -> Result<()> {
        let conn = self.conn()?;
        let commit = || control(conn, "COMMIT");
        match &self.conn {
            Conn::Writer(_) => blocking(commit)?,
            Conn::Reader(..) | Conn::Shared(_) => commit()?,
        }
        self.open = false;
        Ok(())
    }
}

impl Drop for SqliteTx {
    fn drop(&mut self) {
        if self.open
            && let Ok(conn) = self.conn()
        {
            // If even this fails, the connection is unusable and its next BEGIN says so.
            let _ = control(conn, "ROLLBACK");
        }
        if let Conn::Shared(conn) = &self.conn {
            // If this fails, the next who writes is refused.
            let _ = query_only(conn, false);
        }
        if let Conn::Reader(conn, home) = &mut self.conn
            && let Some(conn) = conn.take()
        {
            let mut idle = home.readers.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < READERS_KEPT {
                idle.push(conn);
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
    use super::*;
    use crate::args;

    /// In a file and in memory.
    fn each() -> [(Sqlite, Option<PathBuf>); 2] {
        let path = std::env::temp_dir().join(format!("vicar-store-{}.db", crate::ids::uuid()));
        let file = Sqlite::open(&path).expect("opens");
        [(file, Some(path)), (Sqlite::memory().expect("opens"), None)]
    }

    #[tokio::test]
    async fn a_read_cannot_write_and_a_write_after_it_can() {
        for (store, path) in each() {
            let mut tx = store.write().await.expect("begins");
            tx.run("CREATE TABLE t (n INTEGER)", &[]).expect("creates");
            tx.commit().expect("commits");
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
                    tx.commit().expect("ends")
                }
                let mut tx = store.write().await.expect("begins");
                tx.run("INSERT INTO t VALUES (?)", args![1_i64]).expect("writes");
                tx.commit().expect("commits");
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
