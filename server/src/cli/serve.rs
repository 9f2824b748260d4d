//! `vicar serve`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use clap::{Args, ValueEnum};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::clouds::Change;
use super::failure::Failure;
use super::installation::Installation;
use super::start::{self, Reached, Started};
use super::terminal::{Screen, Style};
use super::tls::Tls;
use super::{EXIT_CODES, print};
use crate::app::App;
use crate::clock::SECOND;
use crate::config::Config;
use crate::crypto::keys;
use crate::dispatch::discovery;
use crate::http::limits::{self, Limits};
use crate::http::{layers, serve};
use crate::metrics::About;
use crate::store::migrate;
use crate::store::schema::Dialect;
use crate::{reaper, routes};

/// Where the metrics are when nothing is said.
pub(super) const METRICS: &str = "127.0.0.1:9100";

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
    /// The address and port to serve on
    #[arg(long, value_name = "ADDRESS:PORT", env = "VICAR_LISTEN", default_value = "127.0.0.1:5000", value_parser = address)]
    listen: SocketAddr,
    /// Where /metrics, /healthz and /readyz are served for monitoring, or `off` [default: 127.0.0.1:9100]
    #[arg(long, value_name = "ADDRESS:PORT|off", env = "VICAR_METRICS_LISTEN", value_parser = metrics)]
    metrics_listen: Option<Metrics>,
    /// Where clients reach the server, if not at the address above: in the catalog, clouds.yaml, openrc and links. An
    /// installation that is there already is moved
    #[arg(long, value_name = "URL", env = "VICAR_PUBLIC_URL", value_parser = public_url)]
    public_url: Option<String>,
    #[command(flatten)]
    tls: Tls,
    /// The form of the log lines on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "VICAR_LOG_FORMAT")]
    log_format: LogFormat,
    /// error, warn, info, debug, trace; also per part, like `warn,vicar::http=info`
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "VICAR_LOG_LEVEL")]
    log_level: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Json,
    Text,
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

pub(super) fn metrics(text: &str) -> Result<Metrics, String> {
    if text == "off" { Ok(Metrics::Off) } else { address(text).map(Metrics::At) }
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), Failure> {
        self.log()?;
        layers::log_panics();
        let descriptors = limits::raise_descriptors();
        let mut config = self.at.config()?;
        if self.public_url.is_some() {
            config.public_endpoint.clone_from(&self.public_url);
        }
        warn_of_unknown(&config);
        let tls = self.tls.acceptor()?;
        let cacert = self.tls.cacert()?;
        // Ports first: a second server by mistake shall touch nothing.
        let listener = serve::bind(self.listen).await.map_err(Failure::Address)?;
        let monitor = self.monitor().await?;
        let address = listener.local_addr().map_err(|e| Failure::Address(e.to_string()))?;
        let is_known = config.public_endpoint.is_some() || !address.ip().is_unspecified();
        let reached = Reached { url: start::url(&config, address, tls.is_some()), cacert };
        let url = reached.url.clone();
        let mut stop = Stop::new()?;
        let started = start::start(&self.at, config, &reached).await?;
        let app = Arc::clone(&started.app);
        self.settle(&started, &reached, is_known).await?;
        for stale in start::stale_endpoints(&app, &url).await? {
            tracing::warn!(
                catalog = stale,
                here = url,
                "the catalog sends clients elsewhere; --public-url, or `vicar bootstrap --bootstrap-public-url`, mends it"
            );
        }
        self.print_banner(&started, &url, address, monitor.as_ref());
        drop(started);

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
            tls: tls.is_some(),
            engine: match app.store.dialect() {
                Dialect::Sqlite => "SQLite",
                Dialect::Postgres => "PostgreSQL",
                Dialect::Mysql => "MariaDB or MySQL",
            },
            schema: migrate::VERSION,
        });
        app.metrics.watch_queues(app.passwords.gauges(), &app.long_reads.gauges);
        let learning = tokio::spawn(learn_hashes(Arc::clone(&app)));
        let reaper = tokio::spawn(reaper::forever(Arc::clone(&app)));
        let monitor = monitor.map(|listener| {
            let limits = Limits::monitoring(descriptors);
            let router = monitoring(Arc::clone(&app));
            tokio::spawn(serve::serve_within(limits, listener, None, router, until_stopped()))
        });
        let limits = Limits::public(&app.config, descriptors, app.metrics.connections.clone());
        let public = serve::serve_within(limits, listener, tls, routes::public(app), until_stopped());
        let mut public = std::pin::pin!(public);
        tokio::select! {
            () = &mut public => {}
            name = stop.wait() => {
                tracing::info!(signal = name, "stopping: requests under way are finished first");
                let _ = stopping.send(true);
                public.await;
            }
        }
        reaper.abort();
        learning.abort();
        if let Some(monitor) = monitor {
            monitor.abort();
        }
        tracing::info!("stopped");
        Ok(())
    }

    fn log(&self) -> Result<(), Failure> {
        let filter = tracing_subscriber::EnvFilter::try_new(&self.log_level)
            .map_err(|e| Failure::Config(format!("--log-level: {e}")))?;
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Json => {
                lines.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
            }
            LogFormat::Text => lines.init(),
        }
        Ok(())
    }

    /// Makes the catalog and the files for clients name this address, as far as it is known.
    async fn settle(&self, started: &Started, reached: &Reached, is_known: bool) -> Result<(), Failure> {
        if started.first.is_none() {
            if let Some(url) = &self.public_url {
                start::move_to(&self.at, &started.app, url).await?;
            }
            if self.tls.names_authority() {
                let change = Change { cacert: reached.cacert.as_deref(), ..Change::default() };
                start::change_files(&self.at, &change);
            }
        }
        if !is_known && let Some(catalog) = start::only_local(&started.app).await? {
            tracing::warn!(
                catalog,
                "the server listens on all addresses, and clients on other machines need one of them: --public-url URL, or [DEFAULT] public_endpoint and `vicar bootstrap`, says which is in the catalog and clouds.yaml"
            );
        }
        Ok(())
    }

    /// The second listener. Where nobody asked for it, a taken port costs the metrics only: two servers
    /// beside each other are no mistake.
    async fn monitor(&self) -> Result<Option<TcpListener>, Failure> {
        match self.metrics_listen {
            Some(Metrics::Off) => Ok(None),
            Some(Metrics::At(at)) => serve::bind(at).await.map(Some).map_err(|e| {
                Failure::Address(format!("metrics: {}", e.replace("--listen", "--metrics-listen")))
            }),
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

    /// One short screen: where, who, how to try it.
    fn print_banner(&self, started: &Started, url: &str, address: SocketAddr, monitor: Option<&TcpListener>) {
        let screen = Screen::here();
        let name = screen.paint(Style::Bold, &format!("Vicar {}", env!("CARGO_PKG_VERSION")));
        let label = |label: &str| screen.paint(Style::Dim, &format!("{label:<13}"));
        print(format_args!("{name} serves {url}/v3"));
        print(format_args!("  {}  {address}", label("listens on")));
        if let Some(at) = monitor.and_then(|m| m.local_addr().ok()) {
            print(format_args!("  {}  http://{at}/metrics", label("metrics")));
        }
        print(format_args!(
            "  {}  {}",
            label("database"),
            start::shown(&started.app.config.database.location)
        ));
        if let Some(first) = &started.first {
            print(format_args!("  {}  admin, on project admin", label("administrator")));
            match &first.generated {
                Some(password) => {
                    print(format_args!(
                        "  {}  {password}   (shown this once; it is in clouds.yaml too)",
                        label("password")
                    ));
                }
                None => print(format_args!(
                    "  {}  as given in {}",
                    label("password"),
                    first.given_in.unwrap_or_default()
                )),
            }
        }
        let clouds = start::clouds_file(&self.at);
        if clouds.exists() {
            print("Try it:");
            print(format_args!("  export OS_CLIENT_CONFIG_FILE={}", clouds.display()));
            print("  openstack --os-cloud vicar token issue");
        }
    }
}

fn warn_of_unknown(config: &Config) {
    if !config.unknown.is_empty() {
        tracing::warn!(
            options = config.unknown.join(", "),
            "configuration: these options have no meaning here"
        );
    }
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

impl Stop {
    fn new() -> Result<Self, Failure> {
        let on = |kind| signal(kind).map_err(|e| Failure::Failed(format!("signals: {e}")));
        Ok(Self { term: on(SignalKind::terminate())?, int: on(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}
