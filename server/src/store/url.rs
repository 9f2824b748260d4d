//! `[database] connection`: where the database is, in the forms that Keystone's configuration has.
//!
//! A URL may hold a password. It is kept in a [`Secret`], and no error, no log line and no `Debug` of what
//! is here shows it, or the URL as a whole.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use url::{Host, Url};

use super::schema::Dialect;
use crate::oslo;
use crate::secret::Secret;

/// Where a database is.
#[derive(Debug, Clone)]
pub enum Location {
    /// A file.
    Sqlite(PathBuf),
    /// A server.
    Server(Box<Server>),
}

/// A database on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Which kind of server.
    pub dialect: Dialect,
    /// Its name or address.
    pub host: String,
    /// Its port, if it is not the usual one.
    pub port: Option<u16>,
    /// Its socket, when it is reached by one: MariaDB's own path, PostgreSQL's directory.
    pub socket: Option<PathBuf>,
    /// Who connects.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// The database.
    pub name: String,
    /// How the connection is encrypted.
    pub tls: Tls,
    /// How long a connection may take to come about, where the URL says so.
    pub connect_timeout: Option<Duration>,
    /// What the URL asks for and has no meaning here, by name.
    pub unknown: Vec<String>,
}

/// Encryption on the way to the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// How much of it.
    pub mode: TlsMode,
    /// The authority that the server's certificate must come from; without one, the system's.
    pub ca: Option<PathBuf>,
    /// Our own certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// How much encryption is wanted; what libpq calls `sslmode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// None.
    Disable,
    /// When the server can.
    #[default]
    Prefer,
    /// Always, with whomever.
    Require,
    /// Always, with a certificate that the authority vouches for.
    VerifyCa,
    /// Always, with a certificate that is for this very host.
    VerifyFull,
}

/// `[database]`, all of it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `connection`
    pub location: Location,
    /// `max_pool_size`: connections that are kept.
    pub max_pool_size: usize,
    /// `max_overflow`: connections above these while there is much to do.
    pub max_overflow: usize,
    /// `pool_timeout`: how long a request waits for a connection (seconds in the file).
    pub pool_timeout: Duration,
    /// `max_retries`: how often a starting server tries to reach its database; `None`: until it does.
    pub max_retries: Option<u32>,
    /// `retry_interval`: the pause in between (seconds in the file).
    pub retry_interval: Duration,
    /// `connection_recycle_time`: the age at which a connection is replaced (seconds in the file).
    pub recycle: Duration,
    /// `connect_timeout`: how long a connection may take to come about (seconds in the file).
    pub connect_timeout: Duration,
    /// `statement_timeout`: how long one statement may take (seconds in the file).
    pub statement_timeout: Duration,
    /// `lock_timeout`: how long a write waits for its turn (seconds in the file).
    pub lock_timeout: Duration,
}

impl Settings {
    /// With the defaults.
    pub fn of(location: Location) -> Self {
        Self {
            location,
            max_pool_size: 5,
            max_overflow: 50,
            pool_timeout: Duration::from_secs(30),
            max_retries: Some(10),
            retry_interval: Duration::from_secs(10),
            recycle: Duration::from_secs(3600),
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(10),
        }
    }
}

/// What may be shown to anybody: no password, no parameters.
impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let server = match self {
            Self::Sqlite(path) => return write!(f, "{}", path.display()),
            Self::Server(server) => server,
        };
        f.write_str(match server.dialect {
            Dialect::Postgres => "postgresql://",
            _ => "mysql://",
        })?;
        if let Some(user) = &server.user {
            write!(f, "{user}@")?;
        }
        match (&server.socket, server.port) {
            (Some(path), _) => write!(f, "{}", path.display())?,
            (None, None) => f.write_str(&server.host)?,
            (None, Some(port)) => write!(f, "{}:{port}", server.host)?,
        }
        write!(f, "/{}", server.name)
    }
}

/// Reads a URL.
///
/// # Errors
/// A sentence that names what is wrong, and nothing of the URL but its scheme or a parameter's name.
pub fn parse(url: &str) -> Result<Location, String> {
    let (scheme, rest) =
        url.split_once("://").ok_or("no URL like mysql+pymysql://user:password@host/name")?;
    let dialect = match scheme.split('+').next() {
        Some("sqlite") => {
            let path =
                rest.strip_prefix('/').ok_or("sqlite:///relative or sqlite:////absolute is expected")?;
            let path = path.split('?').next().unwrap_or(path);
            if path.is_empty() || path == ":memory:" {
                return Err("a database in memory is served by no two commands; name a file".into());
            }
            return Ok(Location::Sqlite(PathBuf::from(path)));
        }
        Some("postgresql" | "postgres") => Dialect::Postgres,
        Some("mysql" | "mariadb") => Dialect::Mysql,
        _ => return Err(format!("`{scheme}` is not served; sqlite, postgresql, mysql and mariadb are")),
    };
    let url = Url::parse(&standard(rest)).map_err(|e| e.to_string())?;
    let mut server = Server {
        dialect,
        host: match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => decoded(&host.to_string(), "the host")?,
            None => String::new(),
        },
        port: url.port(),
        socket: None,
        user: Some(decoded(url.username(), "the user's name")?).filter(|u| !u.is_empty()),
        password: url.password().map(|p| decoded(p, "the password")).transpose()?.map(Secret),
        name: decoded(url.path().trim_start_matches('/'), "the database's name")?,
        tls: Tls::default(),
        connect_timeout: None,
        unknown: Vec::new(),
    };
    for (name, value) in url.query_pairs() {
        // Not shown: it may be a part of a password that was not encoded.
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)) {
            return Err("a parameter's name is not one; is there a ? in the password that is not %3F?".into());
        }
        server.parameter(&name, value.into_owned())?;
    }
    if server.name.is_empty() {
        return Err("the database's name is missing after the host: …@host/name".into());
    }
    if server.tls.cert.is_some() != server.tls.key.is_some() {
        return Err("a certificate needs its key, and a key its certificate".into());
    }
    Ok(Location::Server(Box::new(server)))
}

/// What follows the scheme in a URL of SQLAlchemy's, as a URL of the standard. SQLAlchemy knows no fragments, lets
/// a password have characters that nobody encoded, and needs no host.
fn standard(rest: &str) -> String {
    let rest = rest.replace('#', "%23");
    let before_query = rest.find('?').unwrap_or(rest.len());
    let authority = rest.find(['/', '?']).unwrap_or(rest.len());
    // The last `@` before the path ends the password, so that it may have one. With none there, the password may
    // have a slash.
    let at = rest[..authority].rfind('@').or_else(|| {
        let colon = rest[..authority].find(':')?;
        Some(colon + rest[colon..before_query].find('@')?)
    });
    let (who, place) = at.map_or(("", rest.as_str()), |at| (&rest[..at], &rest[at + 1..]));
    let who = utf8_percent_encode(who, &USERINFO);
    let host = if place.is_empty() || place.starts_with([':', '/', '?']) { "localhost" } else { "" };
    format!("database://{who}@{host}{place}")
}

/// What a user's name or a password may have that nobody encoded. A `%` stays: it was encoded with.
const USERINFO: AsciiSet = CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^');

/// Percent-decoding; `what` is named when the outcome is not UTF-8.
fn decoded(text: &str, what: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| format!("{what}: not UTF-8"))?;
    Ok(text.into_owned())
}

impl Server {
    /// One parameter of the query, as libpq, PyMySQL and mysqlclient name them.
    fn parameter(&mut self, name: &str, value: String) -> Result<(), String> {
        let yes = oslo::boolean(&value) == Some(true);
        match (self.dialect, name) {
            (_, "user" | "username") => self.user = Some(value),
            (_, "password" | "passwd") => self.password = Some(Secret(value)),
            (_, "port") => self.port = Some(value.parse().map_err(|_| "port: no number")?),
            (_, "connect_timeout") => {
                let seconds: u64 = value.parse().map_err(|_| "connect_timeout: no number of seconds")?;
                // libpq: 0 means without end, which no server wants to wait.
                self.connect_timeout = (seconds > 0).then(|| Duration::from_secs(seconds));
            }
            (Dialect::Postgres, "host") if value.starts_with('/') => self.socket = Some(value.into()),
            (_, "host") => self.host = value,
            (Dialect::Postgres, "dbname") => self.name = value,
            (Dialect::Postgres, "sslmode") => self.tls.mode = libpq_mode(&value)?,
            (Dialect::Postgres, "sslrootcert") => self.tls.ca = Some(value.into()),
            (Dialect::Postgres, "sslcert") => self.tls.cert = Some(value.into()),
            (Dialect::Postgres, "sslkey") => self.tls.key = Some(value.into()),
            // The server's encoding is negotiated; text is UTF-8 on our side.
            (Dialect::Postgres, "client_encoding") | (Dialect::Mysql, "use_unicode" | "binary_prefix") => {}
            (Dialect::Mysql, "unix_socket") => self.socket = Some(value.into()),
            (Dialect::Mysql, "charset") => {
                if !value.to_ascii_lowercase().starts_with("utf8") {
                    return Err("charset: only utf8 and its kin are spoken".into());
                }
            }
            (Dialect::Mysql, "ssl_ca") => {
                self.tls.ca = Some(value.into());
                self.tls.mode = self.tls.mode.at_least(TlsMode::VerifyCa);
            }
            (Dialect::Mysql, "ssl_cert") => {
                self.tls.cert = Some(value.into());
                self.tls.mode = self.tls.mode.at_least(TlsMode::Require);
            }
            (Dialect::Mysql, "ssl_key") => self.tls.key = Some(value.into()),
            (Dialect::Mysql, "ssl" | "ssl_verify_cert" | "ssl_verify_identity" | "ssl_check_hostname") => {
                let mode = match name {
                    "ssl" => TlsMode::Require,
                    "ssl_verify_cert" => TlsMode::VerifyCa,
                    _ => TlsMode::VerifyFull,
                };
                if yes {
                    self.tls.mode = self.tls.mode.at_least(mode);
                }
            }
            (Dialect::Mysql, "ssl_disabled") if yes => self.tls.mode = TlsMode::Disable,
            (Dialect::Mysql, "ssl_mode") => self.tls.mode = mysql_mode(&value)?,
            _ => self.unknown.push(name.to_owned()),
        }
        Ok(())
    }
}

impl TlsMode {
    fn at_least(self, other: Self) -> Self {
        if (self as u8) < (other as u8) { other } else { self }
    }
}

fn libpq_mode(value: &str) -> Result<TlsMode, String> {
    Ok(match value {
        "disable" => TlsMode::Disable,
        // Without encryption first, with it if the server insists: the same set of servers as `prefer`.
        "allow" | "prefer" => TlsMode::Prefer,
        "require" => TlsMode::Require,
        "verify-ca" => TlsMode::VerifyCa,
        "verify-full" => TlsMode::VerifyFull,
        _ => return Err("sslmode: disable, allow, prefer, require, verify-ca or verify-full".into()),
    })
}

fn mysql_mode(value: &str) -> Result<TlsMode, String> {
    Ok(match value.to_ascii_uppercase().replace('-', "_").as_str() {
        "DISABLED" => TlsMode::Disable,
        "PREFERRED" => TlsMode::Prefer,
        "REQUIRED" => TlsMode::Require,
        "VERIFY_CA" => TlsMode::VerifyCa,
        "VERIFY_IDENTITY" => TlsMode::VerifyFull,
        _ => return Err("ssl_mode: DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Server {
        match parse(url) {
            Ok(Location::Server(server)) => *server,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_what_keystone_reads() {
        let s = server("mysql+pymysql://key%40stone:p%3Aw%25%2F@db.example:3307/keystone?charset=utf8");
        assert_eq!((s.dialect, s.host.as_str(), s.port), (Dialect::Mysql, "db.example", Some(3307)));
        assert_eq!((s.user.as_deref(), s.name.as_str()), (Some("key@stone"), "keystone"));
        assert_eq!(s.password, Some(Secret("p:w%/".into())));
        assert!(s.unknown.is_empty() && s.tls == Tls::default());
        let s = server("postgresql+psycopg2://k@[::1]:5433/k?sslmode=verify-full&sslrootcert=/ca.pem");
        assert_eq!((s.dialect, s.host.as_str(), s.port), (Dialect::Postgres, "::1", Some(5433)));
        assert_eq!((s.tls.mode, s.tls.ca), (TlsMode::VerifyFull, Some("/ca.pem".into())));
        for scheme in ["postgresql", "postgresql+psycopg", "mysql", "mariadb", "mariadb+pymysql"] {
            assert_eq!(server(&format!("{scheme}://u:p@h/n")).name, "n");
        }
        let s = server("postgresql:///keystone?host=/run/postgresql&user=k");
        assert_eq!((s.socket, s.user.as_deref()), (Some("/run/postgresql".into()), Some("k")));
        let s = server("mariadb://root@localhost/k?unix_socket=/run/mysqld/s.sock&ssl_ca=/ca&read_timeout=3");
        assert_eq!(s.socket, Some("/run/mysqld/s.sock".into()));
        assert_eq!((s.tls.mode, s.unknown), (TlsMode::VerifyCa, vec!["read_timeout".to_owned()]));
        assert_eq!(server("mysql://u:p@ss@h/n").password, Some(Secret("p@ss".into())));
        for (written, meant) in [
            ("p#s", "p#s"),
            ("1/s", "1/s"),
            ("p:s", "p:s"),
            ("p%s", "p%s"),
            ("p[s]", "p[s]"),
            ("p\\s\"^|`", "p\\s\"^|`"),
            ("p+ s", "p+ s"),
            ("p\ts", "p\ts"),
            ("é%C3%A9", "éé"),
            ("%2F%3F%23", "/?#"),
        ] {
            let s = server(&format!("mysql://u:{written}@h:1/n?charset=utf8"));
            assert_eq!((s.password, s.host, s.port), (Some(Secret(meant.into())), "h".into(), Some(1)));
        }
        for hostless in ["", "u@", "u:p@", ":7", "u:p@:7"] {
            let s = server(&format!("mysql://{hostless}/n?unix_socket=/run/mysqld/s.sock"));
            assert_eq!((s.host.as_str(), s.socket), ("localhost", Some("/run/mysqld/s.sock".into())));
        }
        let s = server("mysql://u@DB.example/a%20b%23c#d?password=a%26b+c#d");
        assert_eq!((s.host.as_str(), s.name.as_str()), ("DB.example", "a b#c#d"));
        assert_eq!(s.password, Some(Secret("a&b c#d".into())));
        assert!(
            matches!(parse("sqlite:////var/k.db"), Ok(Location::Sqlite(p)) if p == std::path::Path::new("/var/k.db"))
        );
        assert!(
            matches!(parse("sqlite:///k.db?x=1"), Ok(Location::Sqlite(p)) if p == std::path::Path::new("k.db"))
        );
    }

    #[test]
    fn the_password_is_shown_nowhere() {
        let good = parse("mysql://u:topsecret@h:1/n?passwd=topsecret").expect("reads");
        assert_eq!(good.to_string(), "mysql://u@h:1/n");
        assert!(!format!("{good:?}").contains("topsecret"));
        for bad in [
            "topsecret",
            "mysql:topsecret",
            "oracle://u:topsecret@h/n",
            "mysql://u:topsecret%zz@h/n",
            "mysql://u:topsecret@h:topsecret/n",
            "mysql://u:p/topsecret@h/n",
            "mysql://u:12/topsecret@h/n",
            "mysql://u:12?topsecret@h/n",
            "mysql://u:12/x?topsecret@h/n",
            "mysql://u:topsecret@h/",
            "postgresql://u:topsecret@h/n?sslmode=topsecret",
            "postgresql://u:topsecret@h/n?sslcert=x",
            "mysql://u:p@h/n?charset=topsecret",
        ] {
            let e = parse(bad).map(|l| format!("{l} {l:?}")).unwrap_or_else(|e| e);
            assert!(!e.contains("topsecret"), "{bad}: {e}");
        }
    }
}
