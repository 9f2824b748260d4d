#![allow(dead_code, reason = "a toolbox: not every test uses every tool")]
//! A server for one test, and a client that speaks plain HTTP to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use vicar::app::App;
use vicar::bootstrap::{self, Plan};
use vicar::clock::{Clock, SECOND};
use vicar::config::Config;
use vicar::store::{Store, migrate};
use vicar::tokens::keys;

/// The administrator's password on every test server.
pub const PASSWORD: &str = "secret";

/// A running server.
pub struct Server {
    pub app: Arc<App>,
    pub clock: Clock,
    pub url: String,
    dir: PathBuf,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    http: ureq::Agent,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: Value,
    pub text: String,
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
        // Errors of the server belong to the test's output.
        let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR).with_test_writer().try_init();
        let dir = std::env::temp_dir().join(format!("vicar-test-{}", vicar::ids::uuid()));
        std::fs::create_dir_all(&dir).expect("scratch folder");
        let ini = format!("[identity]\npassword_hash_rounds = 4\n{ini}");
        let config = Config::from_text(&ini, &dir).expect("configuration");
        keys::setup(&config.fernet_keys).expect("token keys");
        keys::setup(&config.credential_keys).expect("credential keys");
        // In a file, as in life: readers and the writer are apart.
        let store = Store::sqlite(&config.database).expect("database");
        let (ready, port) = std::sync::mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let held = clock.clone();
        let thread = std::thread::spawn(move || {
            let rt = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("runtime");
            rt.block_on(async {
                migrate::sync(&store, held.now()).await.expect("schema");
                let app = App::new(config, store, held).expect("app");
                let listener =
                    vicar::http::serve::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
                let address = listener.local_addr().expect("an address");
                let plan = Plan::usual(PASSWORD.into(), &format!("http://{address}"));
                bootstrap::run(&app, &plan).await.expect("bootstrap");
                ready.send((address, Arc::clone(&app))).expect("the test waits");
                let stop = async {
                    let _ = stopped.await;
                };
                vicar::http::serve::serve(listener, None, vicar::routes::public(app), stop).await;
            });
        });
        let (address, app) = port.recv().expect("the server starts");
        let http = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Self {
            app,
            clock,
            url: format!("http://{address}"),
            dir,
            stop: Some(stop),
            thread: Some(thread),
            http,
        }
    }

    /// Any request.
    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Answer {
        let url = format!("{}{path}", self.url);
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = match body {
            Some(bytes) => {
                let request =
                    request.header("content-type", "application/json").body(bytes).expect("a request");
                self.http.run(request)
            }
            None => self.http.run(request.body(()).expect("a request")),
        }
        .expect("an answer");
        let text = response.body_mut().read_to_string().unwrap_or_default();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        }
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

    /// The administrator's token on his project.
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
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
