//! MariaDB and MySQL: their statements, their types, their errors.
//!
//! A session has `autocommit` off: the first statement begins a transaction, so that a read costs no round
//! trip more than its queries.

use std::borrow::Cow;

use sqlx::mysql::{
    MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlRow, MySqlSslMode,
    MySqlValueRef,
};
use sqlx::{Arguments, ConnectOptions, Connection, Decode, Executor, Row as _, TypeInfo as _, ValueRef};

use super::dialect::{DialectSql, Done, Failure};
use super::places::{Compared, Place, Places};
use super::url::{Server, Settings, TlsMode};
use super::{Error, Row, Value};
use crate::clock;

pub(super) const SQL: DialectSql = DialectSql {
    begin_read: None,
    // The row's lock is waited for before the first query takes the snapshot. It is a change, so that
    // Galera's certification sees two writers on two nodes as what they are.
    begin_write: |ticket| format!("UPDATE vicar_guard SET turn = {ticket} WHERE id = 1"),
    // The column does not take null.
    is_still: Some(|ticket| {
        format!("UPDATE vicar_guard SET turn = IF(turn = {ticket}, turn, NULL) WHERE id = 1")
    }),
    // A change of the schema commits by itself here; each step can be done again.
    // An index on a table of millions takes its time.
    begin_schema: "SET NAMES utf8mb4 /*M!100300 , max_statement_time = 0, idle_transaction_timeout = 0 */",
    tables: "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
};

/// Statements that a connection keeps prepared from one transaction to the next. A server has a limit for all
/// of its connections together (max_prepared_stmt_count, 16382 unless it was changed).
const PREPARED: usize = 250;

pub(super) fn options(server: &Server) -> MySqlConnectOptions {
    let mut o = MySqlConnectOptions::new()
        .host(&server.host)
        .port(server.port.unwrap_or(3306))
        .database(&server.name)
        // Within a transaction none is closed: see `tidy`.
        .statement_cache_capacity(usize::MAX)
        .charset("utf8mb4")
        // The session is set up by `connect`.
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .set_names(false)
        .ssl_mode(match server.tls.mode {
            TlsMode::Disable => MySqlSslMode::Disabled,
            TlsMode::Prefer => MySqlSslMode::Preferred,
            TlsMode::Require => MySqlSslMode::Required,
            TlsMode::VerifyCa => MySqlSslMode::VerifyCa,
            TlsMode::VerifyFull => MySqlSslMode::VerifyIdentity,
        });
    if let Some(socket) = &server.socket {
        o = o.socket(socket);
    }
    if let Some(user) = &server.user {
        o = o.username(user);
    }
    if let Some(password) = &server.password {
        o = o.password(&password.0);
    }
    if let Some(ca) = &server.tls.ca {
        o = o.ssl_ca(ca);
    }
    if let (Some(cert), Some(key)) = (&server.tls.cert, &server.tls.key) {
        o = o.ssl_client_cert(cert).ssl_client_key(key);
    }
    o.disable_statement_logging()
}

pub(super) async fn connect(
    o: &MySqlConnectOptions,
    settings: &Settings,
    writes: bool,
) -> Result<MySqlConnection, Failure> {
    let mut conn = MySqlConnection::connect_with(o).await.map_err(convert)?;
    let statement = settings.statement_timeout.as_secs().max(1);
    // In comments that MariaDB alone reads: what MySQL has not, or calls otherwise.
    let set = format!(
        "SET NAMES utf8mb4, time_zone = '+00:00', innodb_lock_wait_timeout = {lock},
             sql_mode = IF(VERSION() LIKE '%MariaDB%', 'TRADITIONAL,ANSI_QUOTES',
                           'TRADITIONAL,ANSI_QUOTES,TIME_TRUNCATE_FRACTIONAL');
         SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, {access};
         SET autocommit = 0
             /*M!100300 , max_statement_time = {statement}, idle_transaction_timeout = {statement} */",
        lock = settings.lock_timeout.as_secs().max(1),
        access = if writes { "READ WRITE" } else { "READ ONLY" },
    );
    conn.execute(set.as_str()).await.map_err(convert)?;
    let there = "SHOW VARIABLES WHERE Variable_name IN ('wsrep_sync_wait', 'innodb_snapshot_isolation')";
    for row in conn.fetch_all(there).await.map_err(convert)? {
        let name: String = row.try_get(0).map_err(convert)?;
        let set = if name.starts_with("wsrep") {
            // A node of Galera answers only when it has applied what was committed anywhere before.
            "SET SESSION wsrep_sync_wait = 7"
        } else {
            // What changed since it was read is not changed again, but the transaction begun anew.
            "SET SESSION innodb_snapshot_isolation = ON"
        };
        conn.execute(set).await.map_err(convert)?;
    }
    conn.execute("ROLLBACK").await.map_err(convert)?;
    Ok(conn)
}

/// Closes prepared statements when there are too many; between transactions, so that within one it is seen
/// whether a statement had to be prepared.
pub(super) async fn tidy(conn: &mut MySqlConnection) -> Result<(), Failure> {
    if conn.cached_statements_size() > PREPARED {
        conn.clear_cached_statements().await.map_err(convert)?;
    }
    Ok(())
}

/// Statements without arguments, as many as are in the text.
pub(super) async fn script(conn: &mut MySqlConnection, sql: &str) -> Result<Done, Failure> {
    let done = conn.execute(sql).await.map_err(convert)?;
    Ok(Done { changed: done.rows_affected(), ..Done::default() })
}

/// A text of characters that a column cannot have is in no row of it. The server does not say so, but that
/// it cannot compare; then null is compared in its place, which is equal to nothing.
pub(super) async fn query(conn: &mut MySqlConnection, sql: &str, args: &[Value]) -> Result<Done, Failure> {
    let (sql, args) = &exact(sql, args);
    let known = conn.cached_statements_size();
    let bound = bind(args).map_err(Failure::kept)?;
    let mut found = sqlx::query_with(sql, bound).fetch_all(&mut *conn).await;
    if matches!(&found, Err(sqlx::Error::Database(e)) if number(e.as_ref()).is_some_and(is_incomparable)) {
        let plain = |arg: &Value| match arg {
            text if text.characters().is_some_and(|t| t.chars().any(|c| c > '\u{ffff}')) => Value::Null,
            other => other.clone(),
        };
        let bound = bind(&args.iter().map(plain).collect::<Vec<_>>()).map_err(Failure::kept)?;
        found = sqlx::query_with(sql, bound).fetch_all(&mut *conn).await;
    }
    let prepared = conn.cached_statements_size() > known;
    let found = found.map_err(|e| convert(e).suspected_if(prepared))?;
    let rows = found.iter().map(read).collect::<super::Result<Vec<Row>>>().map_err(Failure::kept)?;
    Ok(Done { rows, prepared, ..Done::default() })
}

/// The driver asks for the count of rows that were found, whether or not a value changed: what the other
/// engines count too. A statement that fails right after it was prepared takes its connection with it: see
/// [`super::server::ServerTx`], which looks at the guard after one that did not.
pub(super) async fn run(conn: &mut MySqlConnection, sql: &str, args: &[Value]) -> Result<Done, Failure> {
    let (sql, args) = &exact(sql, args);
    let bound = bind(args).map_err(Failure::kept)?;
    let known = conn.cached_statements_size();
    let done = sqlx::query_with(sql, bound).execute(&mut *conn).await;
    let prepared = conn.cached_statements_size() > known;
    let done = done.map_err(|e| convert(e).suspected_if(prepared))?;
    Ok(Done { changed: done.rows_affected(), prepared, ..Done::default() })
}

/// Makes comparisons with ids exact. The collation of Keystone's columns takes `a`, `A`, `á` and `a ` for the same;
/// an id or an access key that is merely similar must find nothing, as on the other engines. So `id = ?` becomes
/// `(id = ? AND BINARY id = ?)`, of which the first part finds by index and the second compares; likewise `IN`.
/// What is not a plain column has no index, and is compared with `BINARY ?`.
///
/// That is for a [`Value::Id`]. A [`Value::Text`] is compared as the collation has it: for names, which it makes
/// unique here, and which Keystone finds by it.
fn exact<'a>(sql: &'a str, args: &'a [Value]) -> (Cow<'a, str>, Cow<'a, [Value]>) {
    let is_id = |arg: &Value| matches!(arg, Value::Id(_));
    if !args.iter().any(is_id) {
        return (Cow::Borrowed(sql), Cow::Borrowed(args));
    }
    let mut text = String::with_capacity(sql.len() * 2);
    let mut values = Vec::with_capacity(args.len() * 2);
    let mut places = Places::of(sql, args);
    for Place { before, list, args, compared } in &mut places {
        match compared.filter(|_| args.iter().any(is_id)) {
            None => text.extend([before, list]),
            Some(Compared { column: "", .. }) => text.extend([before, &list.replace('?', "BINARY ?")]),
            Some(Compared { head, column, how: " <> " }) => {
                text.push_str(&format!("{head}BINARY {column} <> {list}"));
            }
            Some(Compared { head, column, how }) => {
                text.push_str(&format!("{head}({column}{how}{list} AND BINARY {column}{how}{list})"));
                values.extend_from_slice(args);
            }
        }
        values.extend_from_slice(args);
    }
    text.push_str(places.rest());
    (Cow::Owned(text), Cow::Owned(values))
}

fn bind(args: &[Value]) -> super::Result<MySqlArguments> {
    let mut bound = MySqlArguments::default();
    for value in args {
        match value {
            Value::Null => bound.add(None::<i64>),
            Value::Int(n) => bound.add(*n),
            Value::Bool(b) => bound.add(i64::from(*b)),
            Value::Text(t) | Value::Id(t) | Value::Date(t) => bound.add(t.as_str()),
            Value::DateTime(at) => bound.add(time(*at)?.as_str()),
        }
        .map_err(|e| Error::Broken(e.to_string()))?;
    }
    Ok(bound)
}

/// A time as a literal. A column drops what is below a second, as Keystone's do.
fn time(at: i64) -> super::Result<String> {
    let text = clock::sql_datetime(at);
    // Years of four digits are what a DATETIME can be.
    if text.len() == 26 { Ok(text) } else { Err(Error::Refused("a time is out of range".into())) }
}

fn read(row: &MySqlRow) -> super::Result<Row> {
    let mut values = Vec::with_capacity(row.len());
    for i in 0..row.len() {
        let value = row.try_get_raw(i).map_err(|e| Error::Broken(e.to_string()))?;
        values.push(decode(value).map_err(|e| Error::Broken(e.to_string()))?);
    }
    Ok(Row::new(values))
}

fn decode(value: MySqlValueRef<'_>) -> Result<Value, sqlx::error::BoxDynError> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    let ty = value.type_info().name().to_owned();
    Ok(match ty.as_str() {
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" | "YEAR" => {
            Value::Int(Decode::<sqlx::MySql>::decode(value)?)
        }
        unsigned if unsigned.ends_with(" UNSIGNED") => {
            let n: u64 = Decode::<sqlx::MySql>::decode(value)?;
            Value::Int(i64::try_from(n)?)
        }
        "DATETIME" | "TIMESTAMP" => {
            let time = calendar(Decode::<sqlx::MySql>::decode(value)?);
            Value::DateTime(clock::from_sql_datetime(&time).ok_or("no time")?)
        }
        "DATE" => {
            let time = calendar(Decode::<sqlx::MySql>::decode(value)?);
            Value::Date(time.split(' ').next().unwrap_or_default().to_owned())
        }
        "FLOAT" | "DOUBLE" | "TIME" | "BIT" => return Err(format!("a column of the type {ty}").into()),
        // Characters of any length, words of enumerations, and sums.
        _ => {
            let bytes: &[u8] = Decode::<sqlx::MySql>::decode(value)?;
            Value::Text(String::from_utf8_lossy(bytes).into_owned())
        }
    })
}

/// A time in the binary form: how many bytes follow, year, month, day; hour, minute, second; microseconds.
/// Those at the end that are zero are left out.
fn calendar(bytes: &[u8]) -> String {
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let year = u16::from_le_bytes([at(1), at(2)]);
    let micros = u32::from_le_bytes([at(8), at(9), at(10), at(11)]);
    format!("{year:04}-{:02}-{:02} {:02}:{:02}:{:02}.{micros:06}", at(3), at(4), at(5), at(6), at(7))
}

/// "Illegal mix of collations", of two texts, of three, and of more: Keystone's tables are of characters of three bytes.
fn is_incomparable(number: u16) -> bool {
    matches!(number, 1267 | 1270 | 1271)
}

fn number(e: &dyn sqlx::error::DatabaseError) -> Option<u16> {
    e.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

fn convert(e: sqlx::Error) -> Failure {
    let sqlx::Error::Database(e) = e else {
        return Failure::of_connection(&e);
    };
    let Some(e) = e.try_downcast_ref::<MySqlDatabaseError>() else {
        return Failure::kept(Error::Broken("an error of another driver".into()));
    };
    // Numbers: MariaDB's documentation, "MariaDB Error Code Reference".
    let text = || format!("{} ({})", e.message(), e.number());
    match e.number() {
        1062 | 1586 => Failure::kept(Error::Duplicate),
        // A deadlock, which is also how Galera refuses what another node was faster with; a record that
        // changed since the snapshot; a table whose definition did. An id that was not given is a deadlock, too.
        1213 | 1020 | 1412 | 1467 | 1615 => Failure::kept(Error::Retry(text())),
        // What a row hangs on is not there any more: somebody else ended it, or a node took it back. The number
        // at the guard is another's.
        1216 | 1452 => Failure::suspect(Error::Retry(text())),
        1048 if e.message().contains("'turn'") => Failure::kept(Error::Retry(text())),
        // The others wrote for too long; a statement took too long.
        1205 | 1969 | 3024 => Failure::kept(Error::Unavailable(text())),
        // A Galera node that is not part of its cluster; a server that only reads: another may do.
        1047 | 1290 | 1836 => Failure::lost(Error::Retry(text())),
        // Shutting down, or the connection was ended from outside.
        1053 | 1317 | 1927 | 1159 | 1161 | 4031 => Failure::lost(Error::Retry(text())),
        1040 | 1203 | 1226 | 1461 => Failure::lost(Error::Unavailable(text())),
        1406 => Failure::kept(Error::Refused("a value is longer than the database keeps".into())),
        1264 | 1690 => Failure::kept(Error::Refused("a number is out of range".into())),
        1366 | 1267 | 1270 | 1271 | 1300 | 3854 | 3988 => {
            // … for column `database`.`table`.`name` at row 1
            let name = e.message().rsplit('`').nth(1).filter(|_| e.number() == 1366).unwrap_or("a text");
            Failure::kept(Error::Refused(format!("{name}: has characters that the database cannot keep")))
        }
        1292 | 1411 => Failure::kept(Error::Refused("a time is out of range".into())),
        // There already, or gone already: steps of the schema may be done again.
        1050 | 1060 | 1061 | 1091 => Failure::kept(Error::Duplicate),
        // A general error is the server's, not the statement's: a node that is being let in, or filled.
        _ if e.code() == Some("HY000") => Failure::kept(Error::Unavailable(text())),
        _ => Failure::kept(Error::Broken(text())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_with_ids_are_exact() {
        let check = |sql: &str, args: &[Value]| {
            let (sql, args) = exact(sql, args);
            (sql.into_owned(), args.into_owned())
        };
        let id = |text: &str| Value::Id(text.into());
        let name: Value = "n".into();
        let args = [id("a"), Value::Int(1), id("b"), name.clone()];
        assert_eq!(
            check("UPDATE t SET x = ?, y = ? WHERE t.id = ? AND name = ?", &args),
            (
                "UPDATE t SET x = ?, y = ? WHERE (t.id = ? AND BINARY t.id = ?) AND name = ?".to_owned(),
                vec![id("a"), Value::Int(1), id("b"), id("b"), name.clone()]
            )
        );
        let args = [Value::Bool(true), id("a"), id("b"), id("c")];
        assert_eq!(
            check("SELECT 1 FROM t WHERE on = ? AND (id IN (?, ?) OR \"user\" = ?)", &args),
            (
                "SELECT 1 FROM t WHERE on = ? AND ((id IN (?, ?) AND BINARY id IN (?, ?)) OR (\"user\" = ? AND BINARY \"user\" = ?))".to_owned(),
                vec![Value::Bool(true), id("a"), id("b"), id("a"), id("b"), id("c"), id("c")]
            )
        );
        // An id is one whatever its column is called, and wherever it is compared.
        let args = [id("a"), name.clone(), id("b"), id("d"), id("e"), id("f")];
        assert_eq!(
            check(
                "SELECT ? FROM t WHERE name = ? AND name = ? AND t.x <> ? AND COALESCE(y, z) = ? AND LOWER(y) IN (?)",
                &args
            ),
            (
                "SELECT ? FROM t WHERE name = ? AND (name = ? AND BINARY name = ?) AND BINARY t.x <> ? AND COALESCE(y, z) = BINARY ? AND LOWER(y) IN (BINARY ?)".to_owned(),
                vec![id("a"), name.clone(), id("b"), id("b"), id("d"), id("e"), id("f")]
            )
        );
        for sql in ["INSERT INTO t (a, b) VALUES (?, ?)", "SELECT 1 FROM t WHERE a = ? AND b = ?"] {
            assert_eq!(
                check(sql, &[name.clone(), name.clone()]),
                (sql.to_owned(), vec![name.clone(), name.clone()])
            );
        }
    }

    #[test]
    fn times_fit_a_column_or_are_refused() {
        assert_eq!(clock::sql_datetime(0).get(..19), Some("1970-01-01 00:00:00"));
        assert!(time(0).is_ok());
        assert!(matches!(time(i64::MAX), Err(Error::Refused(_))));
        assert_eq!(calendar(&[4, 0xea, 7, 11, 21]), "2026-11-21 00:00:00.000000");
        assert_eq!(calendar(&[11, 0xea, 7, 11, 21, 23, 59, 1, 1, 0, 0, 0]), "2026-11-21 23:59:01.000001");
    }
}
