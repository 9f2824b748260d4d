//! `vicar serve`

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::EXIT_CODES;
use super::failure::Failure;
use super::installation::Installation;
use super::log::LogOptions;
use super::reload::{Reloader, Watched};
use super::start::{self, Started};
use crate::app::App;
use crate::config::Config;
use crate::dispatch::discovery;
use crate::http::limits::{self, Limits};
use crate::http::tls::Certificate;
use crate::http::{layers, serve};
use crate::security::{self, Event, Outcome};
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
    #[command(flatten)]
    log: LogOptions,
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
        let Self { at, listen, metrics_listen, tls_cert, tls_key, log } = self;
        let log = log.start()?;
        layers::log_panics();
        let descriptors = limits::raise_descriptors();
        // From now on it does not end the server.
        let hangup = on(SignalKind::hangup())?;
        let (ini, config) = at.configuration()?;
        log.configure(config.debug);
        warn_of_unknown(&config);
        let watched = Watched::of(&config, &[tls_cert.clone(), tls_key.clone()]);
        let wrong = |e| Failure::Config(format!("TLS: {e}"));
        let certificate = match (&tls_cert, &tls_key) {
            (Some(cert), Some(key)) => Some(Certificate::load(cert, key).map_err(wrong)?),
            _ => None,
        };
        let tls = certificate.as_ref().map(Certificate::acceptor).transpose().map_err(wrong)?;
        // Ports first: a second server by mistake shall touch nothing.
        let listener = serve::bind(listen).await.map_err(Failure::Address)?;
        let monitor = monitor(metrics_listen).await?;
        let address = listener.local_addr().map_err(|e| Failure::Address(e.to_string()))?;
        let url = start::url(&config, address, tls.is_some());
        let mut stop = Stop::new()?;
        let started = start::start(&at, config, &url).await?;
        let app = Arc::clone(&started.app);
        for stale in start::stale_endpoints(&app, &url).await? {
            tracing::warn!(
                catalog = stale,
                here = url,
                "the catalog sends clients elsewhere; `vicar bootstrap --bootstrap-public-url` mends it"
            );
        }
        security::server(Event::Start, Outcome::Success, &url);
        show(&screen(&at, &started, &url, monitor.as_ref()));
        drop(started);
        let reloader = Reloader::new(at, Arc::clone(&app), log, certificate, (ini, watched));
        let reloading = tokio::spawn(reloader.follow(hangup));

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
                security::server(Event::Stop, Outcome::Success, name);
                let _ = stopping.send(true);
                public.await;
            }
        }
        reloading.abort();
        reaper.abort();
        learning.abort();
        if let Some(monitor) = monitor {
            monitor.abort();
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

/// Shows the screen in one write, so that no log line gets into it. Nobody looking any more is no reason to fail.
fn show(screen: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(screen.as_bytes());
}

/// One short screen: where, who, how to try it.
fn screen(at: &Installation, started: &Started, url: &str, monitor: Option<&TcpListener>) -> String {
    let mut lines = vec![format!("Vicar {} serves {url}/v3", env!("CARGO_PKG_VERSION"))];
    if let Some(at) = monitor.and_then(|m| m.local_addr().ok()) {
        lines.push(format!("  metrics        http://{at}/metrics"));
    }
    lines.push(format!("  database       {}", start::shown(&started.app.config.database.location)));
    if let Some(first) = &started.first {
        lines.push("  administrator  admin, on project admin".to_owned());
        lines.push(match &first.generated {
            Some(password) => {
                format!("  password       {password}   (shown this once; it is in clouds.yaml too)")
            }
            None => format!("  password       as given in {}", start::PASSWORD),
        });
    }
    let clouds = start::clouds(at);
    if clouds.exists() {
        lines.push("Try it:".to_owned());
        lines.push(format!("  export OS_CLIENT_CONFIG_FILE={}", clouds.display()));
        lines.push("  openstack --os-cloud vicar token issue".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
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
