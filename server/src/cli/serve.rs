//! `vicar serve`

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use clap::{Args, ValueEnum};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::config::{Accept, log as log_configuration};
use super::failure::Failure;
use super::installation::Installation;
use super::start::{self, Started};
use super::{EXIT_CODES, print};
use crate::app::App;
use crate::config::foreign;
use crate::dispatch::discovery;
use crate::http::limits::{self, Limits};
use crate::http::{layers, serve};
use crate::{reaper, routes};

/// Where the metrics are when nothing is said.
const METRICS: &str = "127.0.0.1:9100";

#[derive(Debug, Args)]
#[command(after_help = format!("\
A data directory with no database is filled at the first start: database, keys, domain, roles, an
administrator, and clouds.yaml and openrc for clients. The administrator's password is taken from the
variable {}, or made up and shown once. A later start changes none of this, and a
database that holds a cloud already is served as it is.

{EXIT_CODES}", start::PASSWORD))]
pub(super) struct Serve {
    #[command(flatten)]
    at: Installation,
    #[command(flatten)]
    accept: Accept,
    /// The address and port to serve on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5000", value_parser = address)]
    listen: SocketAddr,
    /// Where /metrics, /healthz and /readyz are served for monitoring, or `off` [default: 127.0.0.1:9100]
    #[arg(long, value_name = "ADDRESS:PORT|off", value_parser = metrics)]
    metrics_listen: Option<Metrics>,
    /// The certificate chain, PEM; with it, connections are encrypted
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
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
enum Metrics {
    Off,
    At(SocketAddr),
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.to_socket_addrs()
        .map_err(|e| format!("{e}; expected an address and a port, like 127.0.0.1:5000"))?
        .next()
        .ok_or_else(|| "the name has no address".to_owned())
}

fn metrics(text: &str) -> Result<Metrics, String> {
    if text == "off" { Ok(Metrics::Off) } else { address(text).map(Metrics::At) }
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), Failure> {
        self.log()?;
        layers::log_panics();
        let descriptors = limits::raise_descriptors();
        let (ini, config) = self.at.read()?;
        let findings = foreign::judge(&ini, &config);
        log_configuration(&ini, &config, &findings);
        self.accept.check(&findings)?;
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => {
                Some(serve::tls(cert, key).map_err(|e| Failure::Config(format!("TLS: {e}")))?)
            }
            _ => None,
        };
        // Ports first: a second server by mistake shall touch nothing.
        let listener = serve::bind(self.listen).await.map_err(Failure::Address)?;
        let monitor = self.monitor().await?;
        let address = listener.local_addr().map_err(|e| Failure::Address(e.to_string()))?;
        let url = start::url(&config, address, tls.is_some());
        let mut stop = Stop::new()?;
        let started = start::start(&self.at, config, &url).await?;
        let app = Arc::clone(&started.app);
        for stale in start::stale_endpoints(&app, &url).await? {
            tracing::warn!(
                catalog = stale,
                here = url,
                "the catalog sends clients elsewhere; `vicar bootstrap --bootstrap-public-url` mends it"
            );
        }
        self.print_banner(&started, &url, monitor.as_ref());
        drop(started);

        let (stopping, stopped) = watch::channel(false);
        let until_stopped = || {
            let mut stopped = stopped.clone();
            async move {
                // The sender's end is a stop too.
                let _ = stopped.wait_for(|s| *s).await;
            }
        };
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

    /// The second listener. Where nobody asked for it, a taken port costs the metrics only: two servers
    /// beside each other are no mistake.
    async fn monitor(&self) -> Result<Option<TcpListener>, Failure> {
        match self.metrics_listen {
            Some(Metrics::Off) => Ok(None),
            Some(Metrics::At(at)) => {
                serve::bind(at).await.map(Some).map_err(|e| Failure::Address(format!("metrics: {e}")))
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

    /// One short screen: where, who, how to try it.
    fn print_banner(&self, started: &Started, url: &str, monitor: Option<&TcpListener>) {
        print(format_args!("Vicar {} serves {url}/v3", env!("CARGO_PKG_VERSION")));
        if let Some(at) = monitor.and_then(|m| m.local_addr().ok()) {
            print(format_args!("  metrics        http://{at}/metrics"));
        }
        print(format_args!("  database       {}", start::shown(&started.app.config.database.location)));
        if let Some(first) = &started.first {
            print("  administrator  admin, on project admin");
            match &first.generated {
                Some(password) => {
                    print(format_args!(
                        "  password       {password}   (shown this once; it is in clouds.yaml too)"
                    ));
                }
                None => print(format_args!("  password       as given in {}", start::PASSWORD)),
            }
        }
        let clouds = start::clouds(&self.at);
        if clouds.exists() {
            print("Try it:");
            print(format_args!("  export OS_CLIENT_CONFIG_FILE={}", clouds.display()));
            print("  openstack --os-cloud vicar token issue");
        }
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
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        ([(header::CONTENT_TYPE, kind)], app.metrics.render())
    };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(discovery::healthz))
        .route("/readyz", get(discovery::readyz))
        .with_state(app)
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
