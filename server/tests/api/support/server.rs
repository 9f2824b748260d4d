//! A server for one test, and a client that speaks plain HTTP to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use vicar::app::App;
use vicar::bootstrap::{self, Plan};
use vicar::clock::{Clock, SECOND};
use vicar::config::{Config, PolicyOptions};
use vicar::crypto::keys;
use vicar::http::front::Front;
use vicar::http::limits::Limits;
use vicar::http::serve;
use vicar::store::memory::{self, Journal};
use vicar::store::schema::Dialect;
use vicar::store::url::Location;
use vicar::store::{Store, migrate};

use super::{Logged, contract, logged};
use crate::database::{Database, Rival};

/// The administrator's password on every test server.
pub const PASSWORD: &str = "secret";

/// A running server.
pub struct Server {
    pub app: Arc<App>,
    pub clock: Clock,
    pub url: String,
    dir: Option<PathBuf>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    pub runtime: tokio::runtime::Handle,
    database: Option<Database>,
    http: ureq::Agent,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: Value,
    pub text: String,
    /// What the server logged.
    pub logged: Logged,
}

impl Answer {
    /// Asserts the status; shows the body when it is another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// The token that came in the header.
    #[track_caller]
    pub fn token(&self) -> String {
        self.header("x-subject-token").expect("a token in the header").to_owned()
    }
}

/// 2027-01-15 08:00:00 UTC: the instant at which every test begins.
pub const START: i64 = 1_800_000_000 * SECOND;

impl Server {
    /// With the defaults, the cheapest password hashes, and a clock that stands still.
    pub fn start() -> Self {
        Self::with("")
    }

    /// With lines of a configuration file.
    pub fn with(ini: &str) -> Self {
        Self::build(ini, Clock::held(START))
    }

    fn build(ini: &str, clock: Clock) -> Self {
        logged::install();
        let dir = std::env::temp_dir().join(format!("vicar-test-{}", vicar::ids::uuid()));
        std::fs::create_dir_all(&dir).expect("scratch folder");
        let ini = format!("[identity]\npassword_hash_rounds = 4\n{ini}");
        let mut config = Config::from_text(&ini, &dir).expect("configuration");
        let database = Database::take();
        if let Some(database) = &database {
            config.database.location = database.location();
            // A request that took a second connection while it holds one would wait for itself.
            (config.database.max_pool_size, config.database.max_overflow) = (1, 0);
        }
        if !ini.contains("[cache]") {
            config.remembers = remembers(&config.database.location);
        }
        for (of, dir) in config.key_repositories() {
            keys::setup(dir).expect(of);
        }
        let mut server = Self::run(config, clock, Some(dir));
        server.database = database;
        server
    }

    /// Another server on the same database and keys.
    pub fn replica(&self) -> Self {
        Self::run(self.app.config.clone(), self.clock.clone(), None)
    }

    /// The same with another configuration.
    pub fn replica_with(&self, config: Config) -> Self {
        Self::run(config, self.clock.clone(), None)
    }

    /// The same, which remembers nothing.
    pub fn twin(&self) -> Self {
        Self::run(Config { remembers: false, ..self.app.config.clone() }, self.clock.clone(), None)
    }

    /// The same, which reaches the database at another URL, over the connections of its requests alone.
    pub fn replica_at(&self, url: &str) -> Self {
        let mut config = Config { remembers: false, ..self.app.config.clone() };
        config.database.location = vicar::store::url::parse(url).expect("a URL");
        Self::run(config, self.clock.clone(), None)
    }

    /// The same with other options of `[oslo_policy]`, and these rules in its file.
    pub fn replica_with_rules(
        &self,
        rules: &[(&str, &str)],
        change: impl FnOnce(&mut PolicyOptions),
    ) -> Self {
        let file = std::env::temp_dir().join(format!("vicar-rules-{}.json", vicar::ids::uuid()));
        let rules: serde_json::Map<String, Value> =
            rules.iter().map(|(name, rule)| ((*name).to_owned(), Value::from(*rule))).collect();
        std::fs::write(&file, Value::Object(rules).to_string()).expect("written");
        let mut config = self.app.config.clone();
        config.policy.file = Some(file.display().to_string());
        change(&mut config.policy);
        let server = Self::run(config, self.clock.clone(), None);
        std::fs::remove_file(file).expect("removed");
        server
    }

    /// The URL of the database, if it is on a server.
    pub fn database_url(&self) -> Option<String> {
        self.database.as_ref().map(Database::url)
    }

    fn run(config: Config, clock: Clock, dir: Option<PathBuf>) -> Self {
        // In a file, as in life: readers and the writer are apart.
        let store = Store::open(&config.database).expect("database");
        let (ready, port) = std::sync::mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let held = clock.clone();
        let is_first = dir.is_some();
        let thread = std::thread::spawn(move || {
            let rt = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("runtime");
            rt.block_on(async {
                migrate::sync(&store, held.now()).await.expect("schema");
                if config.remembers {
                    let journal = memory::install(&store).await.expect("triggers");
                    assert!(!matches!(journal, Journal::Impossible(_)), "{journal:?}");
                }
                let app = App::new(config, store, held).expect("app");
                let telling = app.notifications.start(app.store.clone()).expect("notifications");
                let listener = serve::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
                let address = listener.local_addr().expect("an address");
                if is_first {
                    let plan = Plan::usual(PASSWORD.into(), &format!("http://{address}"));
                    bootstrap::run(&app, &plan).await.expect("bootstrap");
                }
                let runtime = tokio::runtime::Handle::current();
                ready.send((address, Arc::clone(&app), runtime)).expect("the test waits");
                let stop = async {
                    let _ = stopped.await;
                };
                let limits = Limits {
                    proxies: app.config.proxies.clone(),
                    front: Front::new(&app.config),
                    ..Limits::default()
                };
                serve::serve_within(limits, listener, None, vicar::routes::public(Arc::clone(&app)), stop)
                    .await;
                if let Some(telling) = telling {
                    app.notifications.finish(telling).await;
                }
            });
        });
        let (address, app, runtime) = port.recv().expect("the server starts");
        let http = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into();
        Self {
            app,
            clock,
            url: format!("http://{address}"),
            dir,
            stop: Some(stop),
            thread: Some(thread),
            runtime,
            database: None,
            http,
        }
    }

    /// Writes who used delegations, as the server does now and then.
    pub fn write_uses(&self) {
        self.runtime.block_on(self.app.uses.write(&self.app.store)).expect("writes");
    }

    /// Which engine the tests run on, if it is not SQLite.
    pub fn engine(&self) -> Option<Dialect> {
        self.database.as_ref().map(|_| self.app.store.dialect())
    }

    /// Another store on the same database.
    pub fn another_store(&self) -> Store {
        Store::open(&self.app.config.database).expect("opens")
    }

    /// Changes the schema, behind the server's back.
    pub fn change(&self, sql: &str) {
        match &self.database {
            Some(database) => database.execute(sql),
            None => self.sql_run(sql, &[]),
        }
    }

    /// Somebody else's transaction, open until it is committed.
    pub fn rival(&self, statements: &[&str]) -> Rival {
        Rival::begin(self.database.as_ref().expect("a server of databases"), statements)
    }

    /// Any request.
    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Answer {
        let url = format!("{}{path}", self.url);
        let a = &self.http;
        // Bodies on GET and its like are odd, but a client may send them.
        let (plain, bodied) = match method {
            "GET" => (Some(a.get(&url)), None),
            "HEAD" => (Some(a.head(&url)), None),
            "DELETE" => (Some(a.delete(&url)), None),
            "OPTIONS" => (Some(a.options(&url)), None),
            "POST" => (None, Some(a.post(&url))),
            "PUT" => (None, Some(a.put(&url))),
            "PATCH" => (None, Some(a.patch(&url))),
            other => panic!("{other} is not used"),
        };
        let answer = match (plain, body) {
            (Some(p), None) => headers.iter().fold(p, |r, (n, v)| r.header(*n, *v)).call(),
            (plain, body) => {
                let r = plain.map(ureq::RequestBuilder::force_send_body).or(bodied).expect("a request");
                let r = headers.iter().fold(r, |r, (n, v)| r.header(*n, *v));
                let is_typed = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
                match body {
                    Some(bytes) if is_typed => r.send(bytes),
                    Some(bytes) => r.content_type("application/json").send(bytes),
                    None => r.send_empty(),
                }
            }
        };
        let mut response = answer.unwrap_or_else(|e| panic!("{method} {path:.200}: {e}"));
        let text = response.body_mut().with_config().limit(64 << 20).read_to_string().unwrap_or_default();
        let mut answer = Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
            logged: Logged::default(),
        };
        contract::check(method, path, body, &answer);
        // Whatever the server's paths begin with.
        let below = path.find("/v3").map_or(path, |at| &path[at..]);
        answer.logged = logged::check(contract::route(method, below), headers, body, &answer);
        answer
    }

    pub fn get(&self, token: &str, path: &str) -> Answer {
        self.call("GET", path, &[("X-Auth-Token", token)], None)
    }

    pub fn head(&self, token: &str, path: &str) -> Answer {
        self.call("HEAD", path, &[("X-Auth-Token", token)], None)
    }

    pub fn delete(&self, token: &str, path: &str) -> Answer {
        self.call("DELETE", path, &[("X-Auth-Token", token)], None)
    }

    pub fn post(&self, token: &str, path: &str, body: Value) -> Answer {
        self.call("POST", path, &[("X-Auth-Token", token)], Some(body.to_string().as_bytes()))
    }

    pub fn put(&self, token: &str, path: &str) -> Answer {
        self.call("PUT", path, &[("X-Auth-Token", token)], None)
    }

    pub fn patch(&self, token: &str, path: &str, body: Value) -> Answer {
        self.call("PATCH", path, &[("X-Auth-Token", token)], Some(body.to_string().as_bytes()))
    }

    /// `POST /v3/auth/tokens` with any `auth` object.
    pub fn auth(&self, auth: Value) -> Answer {
        self.call("POST", "/v3/auth/tokens", &[], Some(json!({"auth": auth}).to_string().as_bytes()))
    }

    /// A password login by name in the default domain.
    pub fn login(&self, user: &str, password: &str, scope: Value) -> Answer {
        let mut auth = json!({"identity": {"methods": ["password"], "password": {"user": {
            "name": user, "domain": {"id": "default"}, "password": password}}}});
        if !scope.is_null() {
            auth["scope"] = scope;
        }
        self.auth(auth)
    }

    /// The administrator's token on the project `admin`.
    #[track_caller]
    pub fn admin(&self) -> String {
        let scope = json!({"project": {"name": "admin", "domain": {"id": "default"}}});
        self.login("admin", PASSWORD, scope).expect(201).token()
    }

    /// Validates a token as the administrator.
    pub fn validate(&self, token: &str) -> Answer {
        self.call(
            "GET",
            "/v3/auth/tokens",
            &[("X-Auth-Token", &self.admin()), ("X-Subject-Token", token)],
            None,
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        // Idle connections of the client would keep the server for its whole grace.
        self.http = ureq::Agent::new_with_defaults();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some(dir) = &self.dir {
            let _ = std::fs::remove_dir_all(dir);
        }
        if let Some(database) = self.database.take().filter(|_| !std::thread::panicking()) {
            database.give_back();
        }
    }
}

/// Whether the server of this test remembers. On servers of databases, where triggers take a second to be made, that of
/// every fourth or eighth.
fn remembers(location: &Location) -> bool {
    let Location::Server(server) = location else { return true };
    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default();
    let of = if server.dialect == Dialect::Mysql { 8 } else { 4 };
    test.contains("memory") || test.bytes().map(u32::from).sum::<u32>() % of == 0
}
