//! The databases of test servers on PostgreSQL and MariaDB.
//!
//! `VICAR_TEST_DATABASE` names a server where databases may be made and dropped, as `postgresql://user@host:port/`
//! or `mysql://user@host:port/`; without it the tests run on SQLite. A database is made with its schema once,
//! emptied after a test, and taken by the next: making fifty tables takes longer than most tests.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::{Connection, Executor, MySqlConnection, PgConnection};
use vicar::store::Store;
use vicar::store::migrate::{self, ROOT_DOMAIN};
use vicar::store::schema::{Dialect, KEYSTONE, OWN};
use vicar::store::url::{self, Location, Settings};

static FREE: Mutex<Vec<String>> = Mutex::new(Vec::new());
static MADE: AtomicUsize = AtomicUsize::new(0);

/// A database for one test.
pub struct Database {
    name: String,
}

/// The server that is tested on, if it is not SQLite.
fn server() -> Option<String> {
    std::env::var("VICAR_TEST_DATABASE").ok().filter(|url| !url.is_empty())
}

/// The URL of a database on it.
fn at(name: &str) -> String {
    format!("{}/{name}", server().expect("a server").trim_end_matches('/'))
}

fn dialect() -> Dialect {
    if at("x").starts_with("postgres") { Dialect::Postgres } else { Dialect::Mysql }
}

/// Runs statements on a connection of its own.
fn execute(database: &str, statements: &[String]) {
    run(async {
        if dialect() == Dialect::Postgres {
            let mut c = PgConnection::connect(&at(database)).await.expect("PostgreSQL answers");
            for s in statements {
                c.execute(s.as_str()).await.expect(s);
            }
            c.close().await.expect("closes");
        } else {
            let mut c = MySqlConnection::connect(&at(database)).await.expect("MariaDB answers");
            for s in statements {
                c.execute(s.as_str()).await.expect(s);
            }
            c.close().await.expect("closes");
        }
    });
}

fn run<T: Send>(work: impl Future<Output = T> + Send) -> T {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    // In a thread of its own: a test may be inside of a runtime.
    std::thread::scope(|s| s.spawn(|| runtime().block_on(work)).join().expect("runs"))
}

impl Database {
    /// One that is as it was made: the schema, and nothing in it. Nothing on SQLite.
    pub fn take() -> Option<Self> {
        server()?;
        let free = FREE.lock().expect("a lock").pop();
        Some(Self { name: free.unwrap_or_else(Self::make) })
    }

    /// An empty one, without a schema.
    pub fn bare() -> Option<Self> {
        server()?;
        // What an earlier run has left is dropped.
        let name = format!("vicar_test_{}", MADE.fetch_add(1, Ordering::SeqCst));
        let of_server = if dialect() == Dialect::Postgres { "postgres" } else { "mysql" };
        execute(of_server, &[format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}")]);
        Some(Self { name })
    }

    fn make() -> String {
        let made = Self::bare().expect("a server");
        let store = Store::open(&Settings::of(made.location())).expect("opens");
        run(async { migrate::sync(&store, 0).await.expect("schema") });
        made.name
    }

    /// Runs a statement on it.
    pub fn execute(&self, sql: &str) {
        execute(&self.name, &[sql.to_owned()]);
    }

    /// Where it is.
    pub fn location(&self) -> Location {
        url::parse(&self.url()).expect("a URL")
    }

    /// The same as a string.
    pub fn url(&self) -> String {
        at(&self.name)
    }

    /// Empties it for the next.
    pub fn give_back(self) {
        let kept = ["alembic_version", "vicar_schema", "vicar_guard"];
        let (off, quote) = match dialect() {
            Dialect::Mysql => ("SET foreign_key_checks = 0", '`'),
            _ => ("SET lock_timeout = '10s'", '"'),
        };
        let tables = KEYSTONE.iter().chain(OWN).rev().map(|t| t.name).filter(|t| !kept.contains(t));
        let empty = tables.map(|t| match t {
            "project" => format!("DELETE FROM project WHERE id <> '{ROOT_DOMAIN}'"),
            t => format!("DELETE FROM {quote}{t}{quote}"),
        });
        execute(&self.name, &std::iter::once(off.to_owned()).chain(empty).collect::<Vec<_>>());
        FREE.lock().expect("a lock").push(self.name);
    }
}

/// A transaction on a connection of its own.
pub struct Rival {
    commit: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Rival {
    pub fn begin(database: &Database, statements: &[&str]) -> Self {
        let mut script: Vec<String> = statements.iter().map(|s| (*s).to_owned()).collect();
        script.insert(0, "BEGIN".into());
        if dialect() == Dialect::Mysql {
            script.insert(0, "SET sql_mode = 'ANSI_QUOTES'".into());
        }
        let name = database.name.clone();
        let (begun, is_begun) = std::sync::mpsc::channel();
        let (commit, committed) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            // The connection is kept between the two.
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            if dialect() == Dialect::Postgres {
                let mut c = runtime.block_on(PgConnection::connect(&at(&name))).expect("connects");
                for s in &script {
                    runtime.block_on(c.execute(s.as_str())).expect(s);
                }
                begun.send(()).expect("the test waits");
                let _ = committed.recv();
                runtime.block_on(c.execute("COMMIT")).expect("commits");
            } else {
                let mut c = runtime.block_on(MySqlConnection::connect(&at(&name))).expect("connects");
                for s in &script {
                    runtime.block_on(c.execute(s.as_str())).expect(s);
                }
                begun.send(()).expect("the test waits");
                let _ = committed.recv();
                runtime.block_on(c.execute("COMMIT")).expect("commits");
            }
        });
        is_begun.recv().expect("begins");
        Self { commit, thread }
    }

    pub fn commit(self) {
        self.commit.send(()).expect("it waits");
        self.thread.join().expect("commits");
    }
}
