//! `vicar serve`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};

use super::EXIT_CODES;
use super::clouds::Change;
use super::config::{Accept, log as log_configuration};
use super::failure::Failure;
use super::installation::Installation;
use super::log::{self, LogOptions};
use super::reload::{Reloader, Watched};
use super::start::{self, Reached, Started};
use super::terminal::{Screen, Style};
use super::tls::Tls;
use crate::app::App;
use crate::clock::SECOND;
use crate::config::foreign;
use crate::crypto::keys;
use crate::dispatch::discovery;
use crate::http::limits::{self, Limits};
use crate::http::tls::Certificate;
use crate::http::{layers, serve};
use crate::metrics::About;
use crate::security::{self, Event, Outcome};
use crate::store::migrate;
use crate::store::schema::Dialect;
use crate::{evidence, notify, reaper, routes};

/// Where the metrics are when nothing is said.
pub(super) const METRICS: &str = "127.0.0.1:9100";

/// So long a server that stops writes who used delegations.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// Where the API is when nothing is said.
const LISTEN: &str = "127.0.0.1:5000";

#[derive(Debug, Args)]
#[command(after_help = format!("\
A data directory with no database is filled at the first start: database, keys, domain, roles, an
administrator, and clouds.yaml and openrc for clients. The administrator's password is taken from the
variable {} (or {}), or made up and shown once. A later start changes
none of this, but for the address with --public-url, and a database that holds a cloud already is served as it is.

{EXIT_CODES}", start::PASSWORDS[0], start::PASSWORDS[1]))]
pub(super) struct Serve {
    #[command(flatten)]
    at: Installation,
    #[command(flatten)]
    accept: Accept,
    /// The address and port to serve on [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDRESS:PORT", env = "VICAR_LISTEN", value_parser = address)]
    listen: Option<SocketAddr>,
    /// Where /metrics, /healthz and /readyz are served for monitoring, or `off` [default: 127.0.0.1:9100]
    #[arg(long, value_name = "ADDRESS:PORT|off", env = "VICAR_METRICS_LISTEN", value_parser = metrics)]
    metrics_listen: Option<Metrics>,
    /// Where clients reach the server, if not at the address above: in the catalog, clouds.yaml, openrc and links. An
    /// installation that is there already is moved
    #[arg(long, value_name = "URL", env = "VICAR_PUBLIC_URL", value_parser = public_url)]
    public_url: Option<String>,
    #[command(flatten)]
    tls: Tls,
    #[command(flatten)]
    log: LogOptions,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Metrics {
    Off,
    At(SocketAddr),
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.to_socket_addrs()
        .map_err(|e| format!("{e}; expected an address and a port, like 127.0.0.1:5000"))?
        .next()
        .ok_or_else(|| "the name has no address".to_owned())
}

/// This machine, as whoever listens on all addresses is reached from here.
pub(super) fn loopback(at: SocketAddr) -> IpAddr {
    match at {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// A URL without `/v3`.
fn public_url(text: &str) -> Result<String, String> {
    let wrong = || "expected a URL like https://identity.example".to_owned();
    let url = url::Url::parse(text).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong());
    }
    let whole = text.trim_end_matches('/');
    Ok(whole.strip_suffix("/v3").unwrap_or(whole).to_owned())
}

/// What the configuration has for an option of the command line.
fn configured<T>(name: &str, text: &str, parse: fn(&str) -> Result<T, String>) -> Result<T, Failure> {
    parse(text).map_err(|e| Failure::Config(format!("configuration: [vicar] {name}: {e}")))
}

pub(super) fn metrics(text: &str) -> Result<Metrics, String> {
    if text == "off" { Ok(Metrics::Off) } else { address(text).map(Metrics::At) }
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Self { at, accept, listen, metrics_listen, public_url, tls, log } = self;
        // From now on it does not end the server.
        let hangup = on(SignalKind::hangup())?;
        let (ini, mut config) = at.read()?;
        let logging = log.start(&config)?;
        let dropped = logging.dropped().clone();
        layers::log_panics(log::finish_panic);
        let descriptors = limits::raise_descriptors();
        let tls = tls.or(&config)?;
        let listen = match listen {
            Some(at) => at,
            None => configured("listen", config.serving.listen.as_deref().unwrap_or(LISTEN), address)?,
        };
        let metrics_listen = match (metrics_listen, &config.serving.metrics_listen) {
            (None, Some(text)) => Some(configured("metrics_listen", text, metrics)?),
            (given, _) => given,
        };
        let findings = foreign::judge(&ini, &config);
        log_configuration(&ini, &config, &findings);
        accept.check(&findings)?;
        config.policy.may_be_absent = accept.has(foreign::POLICY_FILE);
        if config.proxies.are_guessed() {
            tracing::warn!(
                "headers of a proxy are believed of whoever connects from this machine or a private network; name the proxies in [vicar] trusted_proxies"
            );
        }
        if public_url.is_some() {
            config.public_endpoint.clone_from(&public_url);
        }
        let watched = Watched::of(&config, &tls.files());
        let certificate = tls.certificate()?;
        let cacert = tls.cacert()?;
        let wrong = |e| Failure::Config(format!("TLS: {e}"));
        let acceptor = certificate.as_ref().map(Certificate::acceptor).transpose().map_err(wrong)?;
        // Ports first: a second server by mistake shall touch nothing.
        let listener = serve::bind(listen).await.map_err(Failure::Address)?;
        let monitor = monitor(metrics_listen).await?;
        let address = listener.local_addr().map_err(|e| Failure::Address(e.to_string()))?;
        let is_known = config.public_endpoint.is_some() || !address.ip().is_unspecified();
        let reached = Reached { url: start::url(&config, address, acceptor.is_some()), cacert };
        let url = reached.url.clone();
        let mut stop = Stop::new()?;
        let started = start::start(&at, (&ini, config), &accept, &reached).await?;
        let app = Arc::clone(&started.app);
        if started.first.is_none() {
            settle(&at, &tls, public_url.as_deref(), &started, &reached).await?;
        }
        if !is_known && let Some(catalog) = start::only_local(&started.app).await? {
            tracing::warn!(
                catalog,
                "the server listens on all addresses, and clients on other machines need one of them: --public-url URL, or [DEFAULT] public_endpoint and `vicar bootstrap`, says which is in the catalog and clouds.yaml"
            );
        }
        for stale in start::stale_endpoints(&app, &url).await? {
            tracing::warn!(
                catalog = stale,
                here = url,
                "the catalog sends clients elsewhere on this machine: right beside another server; after a move, --public-url or `vicar bootstrap --bootstrap-public-url` sends everybody here"
            );
        }
        security::server(Event::Start, Outcome::Success, &url);
        // The screen comes after the lines of the start.
        log::finish();
        show(&screen(&at, &started, &url, address, monitor.as_ref()));
        drop(started);
        let reloader = Reloader::new(at, Arc::clone(&app), logging, certificate, (ini, watched));
        let reloading = tokio::spawn(reloader.follow(hangup));

        let (stopping, stopped) = watch::channel(false);
        let until_stopped = || {
            let mut stopped = stopped.clone();
            async move {
                // The sender's end is a stop too.
                let _ = stopped.wait_for(|s| *s).await;
            }
        };
        app.metrics.describe(&About {
            started_at: app.clock.now() / SECOND,
            address: address.to_string(),
            url,
            tls: acceptor.is_some(),
            engine: match app.store.dialect() {
                Dialect::Sqlite => "SQLite",
                Dialect::Postgres => "PostgreSQL",
                Dialect::Mysql => "MariaDB or MySQL",
            },
            schema: migrate::VERSION,
        });
        let sending = app.traces.start(&app.config, &app.metrics.spans).map_err(Failure::Config)?;
        let telling = app.notifications.start(app.store.clone()).map_err(Failure::Config)?;
        app.metrics.watch_log(&dropped);
        app.metrics.watch_queues(app.passwords.gauges(), &app.long_reads.gauges);
        let learning = tokio::spawn(learn_hashes(Arc::clone(&app)));
        let reaper = tokio::spawn(reaper::forever(Arc::clone(&app)));
        let pause = Duration::from_micros(app.config.evidence_interval.try_into().unwrap_or(0));
        let (finish, finished) = oneshot::channel();
        let writing = tokio::spawn(evidence::forever(app.uses.clone(), app.store.clone(), pause, finished));
        let monitor = monitor.map(|listener| {
            let limits = Limits::monitoring(descriptors);
            let router = monitoring(Arc::clone(&app));
            tokio::spawn(serve::serve_within(limits, listener, None, router, until_stopped()))
        });
        let limits = Limits::public(&app.config, descriptors, app.metrics.connections.clone());
        let router = routes::public(Arc::clone(&app));
        let public = serve::serve_within(limits, listener, acceptor, router, until_stopped());
        let mut public = std::pin::pin!(public);
        // Both ports are open by now: whoever connects is served.
        notify::ready();
        let alive = tokio::spawn(notify::alive());
        tokio::select! {
            () = &mut public => {}
            name = stop.wait() => {
                tracing::info!(signal = name, "stopping: requests under way are finished first");
                security::server(Event::Stop, Outcome::Success, name);
                notify::stopping();
                let _ = stopping.send(true);
                public.await;
            }
        }
        reloading.abort();
        reaper.abort();
        learning.abort();
        alive.abort();
        if let Some(monitor) = monitor {
            monitor.abort();
        }
        let _ = finish.send(());
        if tokio::time::timeout(LAST_WRITE, writing).await.is_err() {
            tracing::warn!("who used delegations last could not be written in time");
        }
        if let Some(telling) = telling {
            app.notifications.finish(telling).await;
        }
        if let Some(sending) = sending {
            app.traces.finish(sending).await;
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// The second listener. Where nobody asked for it, a taken port costs the metrics only: two servers
/// beside each other are no mistake.
async fn monitor(wanted: Option<Metrics>) -> Result<Option<TcpListener>, Failure> {
    match wanted {
        Some(Metrics::Off) => Ok(None),
        Some(Metrics::At(at)) => {
            let wrong = |e: String| format!("metrics: {}", e.replace("--listen", "--metrics-listen"));
            serve::bind(at).await.map(Some).map_err(|e| Failure::Address(wrong(e)))
        }
        None => match serve::bind(address(METRICS).map_err(Failure::Address)?).await {
            Ok(listener) => Ok(Some(listener)),
            Err(_) => {
                tracing::warn!(
                    address = METRICS,
                    "no metrics: the port is taken; choose one with --metrics-listen, or `off`"
                );
                Ok(None)
            }
        },
    }
}

/// Shows the screen in one write, so that no log line gets into it. Nobody looking any more is no reason to fail.
fn show(screen: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(screen.as_bytes());
}

/// Makes the catalog and the files of an installation that was there already name this address, if it was given.
async fn settle(
    at: &Installation,
    tls: &Tls,
    public_url: Option<&str>,
    started: &Started,
    reached: &Reached,
) -> Result<(), Failure> {
    if let Some(url) = public_url {
        start::move_to(at, &started.app, url).await?;
    }
    if tls.names_authority() {
        start::change_files(at, &Change { cacert: reached.cacert.as_deref(), ..Change::default() });
    }
    Ok(())
}

/// One short screen: where, who, how to try it.
fn screen(
    at: &Installation,
    started: &Started,
    url: &str,
    address: SocketAddr,
    monitor: Option<&TcpListener>,
) -> String {
    let screen = Screen::here();
    let name = screen.paint(Style::Bold, &format!("Vicar {}", env!("CARGO_PKG_VERSION")));
    let mut lines = vec![format!("{name} serves {url}/v3")];
    let mut line = |label: &str, text: String| {
        lines.push(format!("  {}  {text}", screen.paint(Style::Dim, &format!("{label:<13}"))));
    };
    line("listens on", address.to_string());
    if let Some(at) = monitor.and_then(|m| m.local_addr().ok()) {
        line("metrics", format!("http://{at}/metrics"));
    }
    line("database", start::shown(&started.app.config.database.location));
    if let Some(first) = &started.first {
        line("administrator", "admin, on project admin".to_owned());
        let password = match &first.generated {
            // What a service prints goes into logs, where passwords have no place.
            Some(_) if notify::is_supervised() => format!("in {}", start::clouds_file(at).display()),
            Some(password) => format!("{password}   (shown this once; it is in clouds.yaml too)"),
            None => format!("as given in {}", first.given_in.unwrap_or_default()),
        };
        line("password", password);
    }
    let clouds = start::clouds_file(at);
    if clouds.exists() {
        lines.push("Try it:".to_owned());
        lines.push(format!("  export OS_CLIENT_CONFIG_FILE={}", clouds.display()));
        lines.push("  openstack --os-cloud vicar token issue".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Lets the hasher know what kinds of hashes are stored. A store that a Keystone began may hold any.
async fn learn_hashes(app: Arc<App>) {
    const EXAMPLES: &str = "SELECT password_hash FROM password
         WHERE password_hash IS NOT NULL AND password_hash NOT LIKE ? LIMIT 1000";
    let found: Result<(), crate::error::Error> = async {
        let current = format!("{}%", app.passwords.current_prefix());
        let mut tx = app.store.read().await?;
        let examples = tx.column::<String>(EXAMPLES, crate::args![current]).await?;
        drop(tx);
        app.passwords.learn(&examples).await
    }
    .await;
    if let Err(e) = found {
        tracing::warn!(error = ?e, "the kinds of stored password hashes could not be learnt");
    }
}

/// What monitoring sees; never reachable from the public listener.
fn monitoring(app: Arc<App>) -> Router {
    let metrics = |axum::extract::State(app): axum::extract::State<Arc<App>>| async move {
        let looking = Arc::clone(&app);
        let _ = tokio::task::spawn_blocking(move || look_at_keys(&looking)).await;
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        ([(header::CONTENT_TYPE, kind)], app.metrics.render())
    };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(discovery::healthz))
        .route("/readyz", get(discovery::readyz))
        .with_state(app)
}

/// Looks at the key repositories for whoever watches.
fn look_at_keys(app: &App) {
    use std::os::unix::fs::MetadataExt;
    for (name, ring) in [("fernet", &app.token_keys), ("credential", &app.credential_keys)] {
        let files = keys::files(ring.dir()).unwrap_or_default();
        let staged = files.iter().find(|k| k.0 == 0).and_then(|k| std::fs::metadata(&k.1).ok());
        let count = i64::try_from(files.len()).unwrap_or(i64::MAX);
        app.metrics.note_keys(name, count, staged.map_or(0, |m| m.mtime()));
    }
}

/// The signals that end the server.
struct Stop {
    term: Signal,
    int: Signal,
}

fn on(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|e| Failure::Failed(format!("signals: {e}")))
}

impl Stop {
    fn new() -> Result<Self, Failure> {
        Ok(Self { term: on(SignalKind::terminate())?, int: on(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}
