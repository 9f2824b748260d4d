//! PostgreSQL: its statements, its types, its errors.
//!
//! A statement is prepared once per connection, without types: the server says what each argument is, and
//! the value is written as that. So a text becomes a word of an enumeration, a number fits the width of its
//! column, and no query needs a cast.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{
    PgArgumentBuffer, PgArguments, PgConnectOptions, PgConnection, PgDatabaseError, PgRow, PgSslMode,
    PgTypeInfo, PgValueRef, Postgres,
};
use sqlx::{Arguments, ConnectOptions, Connection, Either, Encode, Executor, Row as _, Statement, Type};
use sqlx::{TypeInfo as _, ValueRef};

use super::dialect::{DialectSql, Done, Failure};
use super::places::numbered;
use super::url::{Server, Settings, TlsMode};
use super::{Error, Row, Value};
use crate::clock;

/// PostgreSQL counts from here, in microseconds since 1970.
const EPOCH: i64 = 946_684_800_000_000;
/// The same as a day.
const EPOCH_DAY: i32 = 10_957;

pub(super) const SQL: DialectSql = DialectSql {
    // The snapshot is taken by the first query.
    begin_read: Some("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
    // The lock comes before the first query, so the snapshot shows all that earlier writers did. In one
    // message, so that it costs one round trip.
    begin_write: |_| {
        "BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE vicar_guard IN EXCLUSIVE MODE".to_owned()
    },
    is_still: None,
    // Of two that make the schema one waits, for as long as that takes.
    begin_schema: "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;
         SELECT pg_advisory_xact_lock(6215337182143)",
    tables: "SELECT CAST(tablename AS VARCHAR) FROM pg_tables WHERE schemaname = current_schema()",
};

/// Statements that a connection keeps prepared.
const PREPARED: usize = 400;

pub(super) fn options(server: &Server) -> PgConnectOptions {
    let mut o = PgConnectOptions::new_without_pgpass()
        .host(&server.host)
        .port(server.port.unwrap_or(5432))
        .database(&server.name)
        .application_name("vicar")
        .statement_cache_capacity(PREPARED)
        .extra_float_digits(None)
        .ssl_mode(match server.tls.mode {
            TlsMode::Disable => PgSslMode::Disable,
            TlsMode::Prefer => PgSslMode::Prefer,
            TlsMode::Require => PgSslMode::Require,
            TlsMode::VerifyCa => PgSslMode::VerifyCa,
            TlsMode::VerifyFull => PgSslMode::VerifyFull,
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
        o = o.ssl_root_cert(ca);
    }
    if let (Some(cert), Some(key)) = (&server.tls.cert, &server.tls.key) {
        o = o.ssl_client_cert(cert).ssl_client_key(key);
    }
    o.disable_statement_logging()
}

pub(super) async fn connect(o: &PgConnectOptions, settings: &Settings) -> Result<PgConnection, Failure> {
    let mut conn = PgConnection::connect_with(o).await.map_err(convert)?;
    let millis = |d: std::time::Duration| d.as_millis().max(1);
    let set = format!(
        "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {};
         SET TimeZone = 'UTC'; SET client_encoding = 'UTF8'; SET standard_conforming_strings = on",
        millis(settings.statement_timeout),
        millis(settings.lock_timeout),
        // Longer than any request of ours lives; a frozen one must not keep the others from writing.
        millis(settings.statement_timeout),
    );
    conn.execute(set.as_str()).await.map_err(convert)?;
    Ok(conn)
}

/// Statements without arguments, as many as are in the text.
pub(super) async fn script(conn: &mut PgConnection, sql: &str) -> Result<Done, Failure> {
    conn.execute(sql).await.map_err(convert)?;
    Ok(Done::default())
}

pub(super) async fn query(conn: &mut PgConnection, sql: &str, args: &[Value]) -> Result<Done, Failure> {
    let sql = numbered(sql);
    let bound = bind(conn, &sql, args).await?;
    let rows = sqlx::query_with(&sql, bound).fetch_all(conn).await.map_err(convert)?;
    let rows = rows.iter().map(read).collect::<super::Result<Vec<Row>>>().map_err(Failure::kept)?;
    Ok(Done { rows, ..Done::default() })
}

pub(super) async fn run(conn: &mut PgConnection, sql: &str, args: &[Value]) -> Result<Done, Failure> {
    let sql = numbered(sql);
    let bound = bind(conn, &sql, args).await?;
    let done = sqlx::query_with(&sql, bound).execute(conn).await.map_err(convert)?;
    Ok(Done { changed: done.rows_affected(), ..Done::default() })
}

async fn bind(conn: &mut PgConnection, sql: &str, args: &[Value]) -> Result<PgArguments, Failure> {
    let mut bound = PgArguments::default();
    if args.is_empty() {
        return Ok(bound);
    }
    // A look into the connection's cache after the first time.
    let statement = conn.prepare(sql).await.map_err(convert)?;
    let types = match statement.parameters() {
        Some(Either::Left(types)) if types.len() == args.len() => types,
        _ => return Err(Failure::kept(Error::Broken("a statement has other arguments than given".into()))),
    };
    for (value, ty) in args.iter().zip(types) {
        let bytes = encode(value, ty).map_err(Failure::kept)?;
        bound.add(Bytes(bytes)).map_err(|e| Failure::kept(Error::Broken(e.to_string())))?;
    }
    Ok(bound)
}

mod oid {
    pub(super) const BOOL: u32 = 16;
    pub(super) const NAME: u32 = 19;
    pub(super) const INT8: u32 = 20;
    pub(super) const INT2: u32 = 21;
    pub(super) const INT4: u32 = 23;
    pub(super) const TEXT: u32 = 25;
    pub(super) const UNKNOWN: u32 = 705;
    pub(super) const BPCHAR: u32 = 1042;
    pub(super) const VARCHAR: u32 = 1043;
    pub(super) const DATE: u32 = 1082;
    pub(super) const TIMESTAMP: u32 = 1114;
}

/// A value in the server's binary form, written as it is.
struct Bytes(Option<Vec<u8>>);

impl Type<Postgres> for Bytes {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(oid::UNKNOWN))
    }
}

impl Encode<'_, Postgres> for Bytes {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(match &self.0 {
            Some(bytes) => {
                buf.extend_from_slice(bytes);
                IsNull::No
            }
            None => IsNull::Yes,
        })
    }
}

fn encode(value: &Value, ty: &PgTypeInfo) -> super::Result<Option<Vec<u8>>> {
    let range = || Error::Refused("a number is out of range".into());
    let whole = |n: i64, ty: u32| -> super::Result<Option<Vec<u8>>> {
        Ok(Some(match ty {
            oid::INT2 => i16::try_from(n).map_err(|_| range())?.to_be_bytes().to_vec(),
            oid::INT4 => i32::try_from(n).map_err(|_| range())?.to_be_bytes().to_vec(),
            _ => n.to_be_bytes().to_vec(),
        }))
    };
    let oid = ty.oid().map_or(0, |o| o.0);
    match (value, oid) {
        (Value::Null, _) => Ok(None),
        (Value::Int(n), oid::INT2 | oid::INT4 | oid::INT8) => whole(*n, oid),
        (Value::Int(n), oid::BOOL) => Ok(Some(vec![u8::from(*n != 0)])),
        (Value::Int(n), oid::TEXT | oid::VARCHAR) => Ok(Some(n.to_string().into_bytes())),
        (Value::Bool(b), oid::BOOL) => Ok(Some(vec![u8::from(*b)])),
        (Value::Bool(b), oid::INT2 | oid::INT4 | oid::INT8) => whole(i64::from(*b), oid),
        (Value::DateTime(at), oid::TIMESTAMP) => {
            Ok(Some(at.checked_sub(EPOCH).ok_or_else(range)?.to_be_bytes().to_vec()))
        }
        (Value::DateTime(at), oid::TEXT | oid::VARCHAR) => Ok(Some(clock::sql_datetime(*at).into_bytes())),
        (Value::Date(day), oid::DATE) => {
            let day = clock::day(day).ok_or_else(|| Error::Refused("no date".into()))?;
            Ok(Some(day.saturating_sub(EPOCH_DAY).to_be_bytes().to_vec()))
        }
        (Value::Text(t) | Value::Id(t) | Value::Date(t), _) if is_text(oid) => {
            Ok(Some(t.as_bytes().to_vec()))
        }
        _ => Err(Error::Broken(format!("an argument does not fit the type {}", ty.name()))),
    }
}

/// Characters, or a type of the schema's own, which is an enumeration: its binary form is its word.
fn is_text(oid: u32) -> bool {
    matches!(oid, oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::UNKNOWN) || oid >= 16_384
}

fn read(row: &PgRow) -> super::Result<Row> {
    let mut values = Vec::with_capacity(row.len());
    for i in 0..row.len() {
        values.push(decode(row.try_get_raw(i).map_err(broken)?)?);
    }
    Ok(Row::new(values))
}

fn broken(e: impl std::fmt::Display) -> Error {
    Error::Broken(e.to_string())
}

fn decode(value: PgValueRef<'_>) -> super::Result<Value> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    let oid = value.type_info().oid().map_or(0, |o| o.0);
    let bytes = value.as_bytes().map_err(broken)?;
    fn fixed<const N: usize>(bytes: &[u8]) -> super::Result<[u8; N]> {
        bytes.try_into().map_err(|_| Error::Broken("a column has another width than its type".into()))
    }
    Ok(match oid {
        oid::BOOL => Value::Bool(bytes != [0]),
        oid::INT2 => Value::Int(i16::from_be_bytes(fixed(bytes)?).into()),
        oid::INT4 => Value::Int(i32::from_be_bytes(fixed(bytes)?).into()),
        oid::INT8 => Value::Int(i64::from_be_bytes(fixed(bytes)?)),
        oid::TIMESTAMP => Value::DateTime(i64::from_be_bytes(fixed(bytes)?).saturating_add(EPOCH)),
        oid::DATE => {
            let day = i32::from_be_bytes(fixed(bytes)?).saturating_add(EPOCH_DAY);
            Value::Date(clock::date(i64::from(day).saturating_mul(clock::DAY)))
        }
        _ if is_text(oid) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
        _ => return Err(Error::Broken(format!("a column of the type {}", value.type_info().name()))),
    })
}

fn convert(e: sqlx::Error) -> Failure {
    let sqlx::Error::Database(e) = e else {
        return Failure::of_connection(&e);
    };
    let Some(e) = e.try_downcast_ref::<PgDatabaseError>() else {
        return Failure::kept(Error::Broken("an error of another driver".into()));
    };
    // Codes: PostgreSQL's documentation, appendix A. The message alone: the detail holds values.
    let (code, text) = (e.code(), format!("{} ({})", e.message(), e.code()));
    match code {
        "23505" => Failure::kept(Error::Duplicate),
        // Serialisation, deadlock; a plan that a change of the schema made stale.
        "40001" | "40P01" => Failure::kept(Error::Retry(text)),
        "0A000" if e.message().contains("cached plan") => Failure::lost(Error::Retry(text)),
        // The others wrote for too long; a statement took too long; nobody may write (a standby).
        "55P03" | "57014" | "25006" | "53400" => Failure::kept(Error::Unavailable(text)),
        // Ended from outside, out of connections, starting up: another connection may do.
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => Failure::lost(Error::Retry(text)),
        _ if code.starts_with("08") || code.starts_with("53") => Failure::lost(Error::Unavailable(text)),
        "22001" => Failure::kept(Error::Refused("a value is longer than the database keeps".into())),
        "22003" => Failure::kept(Error::Refused("a number is out of range".into())),
        "22021" | "22P05" => {
            Failure::kept(Error::Refused("a text has characters that the database cannot keep".into()))
        }
        "22007" | "22008" => Failure::kept(Error::Refused("a time is out of range".into())),
        _ => Failure::kept(Error::Broken(text)),
    }
}
