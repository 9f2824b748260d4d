//! `vicar status`: asks a running server how it is, by the listener for monitoring and by its public address.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, Request, header};
use clap::Args;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, SignatureScheme};

use super::failure::Failure;
use super::installation;
use super::print;
use super::serve::{self, METRICS, Metrics};
use super::terminal::{Screen, Style};
use crate::clock::{SECOND, iso};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const LONGEST: usize = 4 << 20;

#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0  the server is ready: its database and its keys can be used, and it answers at its address
  1  it is not, or there is none
  2  the command line cannot be understood")]
pub(super) struct Status {
    /// The listener for monitoring of the server that is meant [default: 127.0.0.1:9100]
    #[arg(long, value_name = "ADDRESS:PORT", env = "VICAR_METRICS_LISTEN", value_parser = serve::metrics)]
    metrics_listen: Option<Metrics>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let at = match self.metrics_listen {
            Some(Metrics::Off) => {
                let text = "this server's metrics are off, so nothing can be asked; /healthz and /readyz are at its public address";
                return Err(Failure::Failed(text.into()));
            }
            Some(Metrics::At(at)) => reachable(at),
            None => serve::address(METRICS).map_err(Failure::Usage)?,
        };
        let metrics = match get(at, None, "/metrics").await {
            Ok((200, text)) => Samples::read(&text),
            Ok((status, _)) => Err(format!("/metrics is answered with {status}")),
            Err(e) => Err(format!("{e}; is the server running, and is this its --metrics-listen?")),
        };
        let samples = metrics.map_err(|e| Failure::Failed(format!("{at}: {e}")))?;
        let ready = get(at, None, "/readyz").await;
        let public = public(&samples).await;
        let now = installation::clock().now() / SECOND;
        let state = State { samples, ready: matches!(ready, Ok((200, _))), public, now };
        if self.json {
            print(state.json())
        } else {
            state.print(Screen::here())
        }
        if state.is_good() { Ok(()) } else { Err(Failure::Failed("the server is not ready".into())) }
    }
}

/// An address that can be connected to.
fn reachable(mut at: SocketAddr) -> SocketAddr {
    if at.ip().is_unspecified() {
        at.set_ip(serve::loopback(at));
    }
    at
}

/// Whether the public address answers, and with which of its pages it does not.
async fn public(samples: &Samples) -> Result<(), String> {
    let server = samples.info("vicar_server_info");
    let of = |label: &str| server.get(label).map(String::as_str).unwrap_or_default();
    let at =
        of("address").parse::<SocketAddr>().map_err(|_| "it does not say where it listens".to_owned())?;
    // Names in certificates do not matter: nothing secret is said, and the answer is believed no further than this.
    let tls = (of("tls") == "true").then(|| of("url").to_owned());
    for path in ["/", "/v3"] {
        match get(reachable(at), tls.as_deref(), path).await? {
            (200 | 300, _) => {}
            (status, _) => return Err(format!("{path} is answered with {status}")),
        }
    }
    Ok(())
}

/// What was found.
struct State {
    samples: Samples,
    ready: bool,
    public: Result<(), String>,
    /// In seconds.
    now: i64,
}

impl State {
    fn is_good(&self) -> bool {
        self.ready && self.public.is_ok()
    }

    fn since(&self, at: i64) -> String {
        format!("{} ({} ago)", second(at), length(self.now.saturating_sub(at)))
    }

    fn print(&self, screen: Screen) {
        let s = &self.samples;
        let (build, server) = (s.info("vicar_build_info"), s.info("vicar_server_info"));
        let of = |from: &BTreeMap<String, String>, label: &str| from.get(label).cloned().unwrap_or_default();
        let (word, style) = if self.is_good() { ("ready", Style::Green) } else { ("NOT READY", Style::Red) };
        print(format_args!(
            "{} at {}/v3: {}",
            screen.paint(Style::Bold, &format!("Vicar {}", of(&build, "version"))),
            of(&server, "url"),
            screen.paint(style, word)
        ));
        let line = |label: &str, text: String| {
            print(format_args!("  {}  {text}", screen.paint(Style::Dim, &format!("{label:<15}"))));
        };
        let number = |name: &str| s.sum(name, &[]).unwrap_or(0);
        line("running since", self.since(s.seconds("vicar_start_time_seconds", &[])));
        line(
            "listens on",
            match &self.public {
                Ok(()) => format!("{}, answers", of(&server, "address")),
                Err(e) => format!("{}, does NOT answer: {e}", of(&server, "address")),
            },
        );
        let state = if self.ready {
            "it and the keys can be used"
        } else {
            "it or the keys can NOT be used; the log says why"
        };
        line("database", format!("{}, {state}", of(&server, "engine")));
        line("schema", format!("Keystone's, and ours in version {}", of(&server, "schema")));
        let pool = s.sum("vicar_database_connections_open", &[]);
        let pool = pool.map(|n| format!(", {n} to the database")).unwrap_or_default();
        line("connections", format!("{} of clients{pool}", number("vicar_http_connections")));
        let failed = s.failed_requests();
        line(
            "requests",
            format!(
                "{} since the start, {failed} of them answered with 5xx",
                number("vicar_http_requests_total")
            ),
        );
        for (label, name) in [("token keys", "fernet"), ("credential keys", "credential")] {
            let of = [("repository", name)];
            let count = s.sum("vicar_keys", &of).unwrap_or(0);
            let since = s.seconds("vicar_keys_rotated_timestamp_seconds", &of);
            line(
                label,
                if since == 0 {
                    format!("{count}")
                } else {
                    format!("{count}, rotated {}", self.since(since))
                },
            );
        }
        let reaped = s.seconds("vicar_reaper_sweep_timestamp_seconds", &[]);
        let ran = if reaped == 0 { "has not run".to_owned() } else { format!("ran {}", self.since(reaped)) };
        line("reaper", format!("{ran}; {} ended trusts are kept", number("vicar_dead_trusts")));
    }

    fn json(&self) -> Value {
        let s = &self.samples;
        let (build, server) = (s.info("vicar_build_info"), s.info("vicar_server_info"));
        let at = |name: &str, labels: &[(&str, &str)]| match s.seconds(name, labels) {
            0 => Value::Null,
            seconds => second(seconds).into(),
        };
        let count = |name: &str, labels: &[(&str, &str)]| s.sum(name, labels);
        let keys = |name: &str| {
            let of = [("repository", name)];
            json!({"count": count("vicar_keys", &of), "rotated_at": at("vicar_keys_rotated_timestamp_seconds", &of)})
        };
        json!({
            "ready": self.is_good(),
            "version": build.get("version"),
            "started_at": at("vicar_start_time_seconds", &[]),
            "url": server.get("url"),
            "address": server.get("address"),
            "answers": self.public.is_ok(),
            "problem": self.public.as_ref().err(),
            "database": {
                "engine": server.get("engine"),
                "schema": server.get("schema").and_then(|v| v.parse::<i64>().ok()),
                "connections": count("vicar_database_connections_open", &[]),
            },
            "database_and_keys": self.ready,
            "connections": count("vicar_http_connections", &[]),
            "requests": count("vicar_http_requests_total", &[]),
            "failed_requests": s.failed_requests(),
            "keys": {"fernet": keys("fernet"), "credential": keys("credential")},
            "reaper": {
                "ran_at": at("vicar_reaper_sweep_timestamp_seconds", &[]),
                "dead_trusts": count("vicar_dead_trusts", &[]),
            },
        })
    }
}

/// A time in whole seconds.
fn second(at: i64) -> String {
    iso(at.saturating_mul(SECOND)).replace(".000000", "")
}

/// A length of time in its two largest units.
fn length(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, m) => format!("{m} min"),
        (0, h, m) => format!("{h} h {m} min"),
        (d, h, _) => format!("{d} d {h} h"),
    }
}

/// What a server counts.
#[derive(Debug, Default)]
struct Samples(Vec<Sample>);

#[derive(Debug, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Samples {
    /// Reads OpenMetrics; lines of other kinds are passed over.
    ///
    /// # Errors
    /// It is not a Vicar's.
    fn read(text: &str) -> Result<Self, String> {
        let samples = Self(text.lines().filter(|l| !l.starts_with('#')).filter_map(sample).collect());
        if samples.info("vicar_build_info").is_empty() {
            return Err("another program, or an older Vicar, serves metrics here".to_owned());
        }
        Ok(samples)
    }

    fn with<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        let fits = |s: &Sample| labels.iter().all(|(l, v)| s.labels.get(*l).is_some_and(|found| found == v));
        self.0.iter().filter(move |s| s.name == name && fits(s))
    }

    fn info(&self, name: &str) -> BTreeMap<String, String> {
        self.with(name, &[]).next().map(|s| s.labels.clone()).unwrap_or_default()
    }

    /// All values together, which are whole numbers here; nothing if there are none.
    #[allow(clippy::cast_possible_truncation)]
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<i64> {
        self.with(name, labels).map(|s| s.value).reduce(|a, b| a + b).map(|sum| sum as i64)
    }

    fn seconds(&self, name: &str, labels: &[(&str, &str)]) -> i64 {
        self.sum(name, labels).unwrap_or(0)
    }

    #[allow(clippy::cast_possible_truncation)]
    fn failed_requests(&self) -> i64 {
        let all = self.with("vicar_http_requests_total", &[]);
        all.filter(|s| s.labels.get("status").is_some_and(|s| s.starts_with('5')))
            .map(|s| s.value as i64)
            .sum()
    }
}

/// `name{label="value",…} 1.0`
fn sample(line: &str) -> Option<Sample> {
    let (name, rest) = line.split_at_checked(line.find(['{', ' '])?)?;
    let mut labels = BTreeMap::new();
    let mut rest = rest;
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while let Some((label, value)) = rest.split_once("=\"") {
            if rest.starts_with('}') {
                break;
            }
            let mut text = String::new();
            let mut chars = value.char_indices();
            let end = loop {
                match chars.next()? {
                    (at, '"') => break at,
                    (_, '\\') => text.push(match chars.next()?.1 {
                        'n' => '\n',
                        c => c,
                    }),
                    (_, c) => text.push(c),
                }
            };
            labels.insert(label.trim_start_matches(',').to_owned(), text);
            rest = value.get(end + 1..)?;
        }
        rest = rest.strip_prefix('}')?;
    }
    Some(Sample { name: name.to_owned(), labels, value: rest.split_whitespace().next()?.parse().ok()? })
}

/// Status and body of one answer. `url` is what the server is called in its certificate, if it encrypts.
async fn get(at: SocketAddr, url: Option<&str>, path: &str) -> Result<(u16, String), String> {
    let answer = async {
        let stream = TcpStream::connect(at).await.map_err(|e| e.to_string())?;
        match url {
            None => exchange(stream, at, path).await,
            Some(url) => {
                let host = url::Url::parse(url).ok().and_then(|u| u.host_str().map(str::to_owned));
                let host = host.unwrap_or_else(|| at.ip().to_string());
                let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
                    .map_err(|e| e.to_string())?;
                let connector = TlsConnector::from(Arc::new(anybody()?));
                let stream = connector.connect(name, stream).await.map_err(|e| e.to_string())?;
                exchange(stream, at, path).await
            }
        }
    };
    tokio::time::timeout(PATIENCE, answer)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    at: SocketAddr,
    path: &str,
) -> Result<(u16, String), String> {
    let words = |e: hyper::Error| format!("no HTTP: {e}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(words)?;
    tokio::spawn(connection);
    let host = HeaderValue::try_from(at.to_string()).map_err(|e| e.to_string())?;
    let request = Request::get(path).header(header::HOST, host).header(header::CONNECTION, "close");
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
    let answer = sender.send_request(request).await.map_err(words)?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), LONGEST).collect().await.map_err(|e| e.to_string())?;
    Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}

/// Believes every certificate. For questions that hold no secret, to an address that was told to us.
fn anybody() -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    Ok(config)
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read() {
        let text = "# HELP x y\nvicar_build_info{version=\"1\"} 1\na{b=\"c\\\"\\n}=\",d=\"\"} 2.5 7\na 3\nbroken{\na{b=\"c\" 1\n";
        let samples = Samples::read(text).expect("a Vicar's");
        assert_eq!(samples.sum("a", &[]), Some(5));
        assert_eq!(samples.sum("a", &[("b", "c\"\n}=")]), Some(2));
        assert_eq!(samples.sum("b", &[]), None);
        assert!(Samples::read("up 1\n").is_err());
    }

    #[test]
    fn lengths_in_words() {
        for (seconds, words) in
            [(-1, "0 s"), (59, "59 s"), (60, "1 min"), (3_700, "1 h 1 min"), (90_000, "1 d 1 h")]
        {
            assert_eq!(length(seconds), words);
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(line in "[a{}=\",\\\\ 1.]{0,40}|.{0,40}") {
            let _ = sample(&line);
        }
    }
}
