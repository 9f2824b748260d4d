//! `/healthcheck`, as oslo.middleware answers it: what load balancers and probes of deployment tools ask for. It says
//! whether this server is to be used, and nothing of the database: that is `/readyz`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::app::App;
use crate::clock;
use crate::config::front::{Backend, Health};
use crate::error::Error;
use crate::http::accept;
use crate::http::front::Arrival;
use crate::peer::Peer;

const OK: &str = "OK";

/// How many look at files at a time.
static PLACES: Semaphore = Semaphore::const_new(4);
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What proxies write.
const PROXY_HEADERS: [&str; 7] = [
    "forwarded",
    "x-forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
];

/// What one backend has found.
#[derive(Debug)]
struct Found {
    is_good: bool,
    reason: &'static str,
    details: String,
}

/// Any method: `HEAD` has statuses of its own.
pub async fn check(app: &App, request: &Parts) -> Response {
    let health = &app.config.health;
    if !is_for(health, request) {
        return Error::NotFoundBecause("The requested URL was not found on this server.".into())
            .into_response();
    }
    let port = request.extensions.get::<Arrival>().and_then(|a| a.local).map_or(0, |local| local.port());
    let found = look_at_all(&health.backends, port).await;
    let is_good = found.iter().all(|found| found.is_good);
    if request.method == Method::HEAD {
        return if is_good { StatusCode::NO_CONTENT } else { StatusCode::SERVICE_UNAVAILABLE }
            .into_response();
    }
    let status = if is_good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let now = health.detailed.then(|| clock::iso(app.clock.now()));
    let (kind, body) = match liked(&request.headers) {
        "application/json" => ("application/json", format!("{:#}", as_json(&found, now))),
        "text/html" => ("text/html; charset=UTF-8", as_html(&found, now)),
        _ => ("text/plain; charset=UTF-8", as_text(&found)),
    };
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

/// Whether health checks are there for whoever asks.
fn is_for(health: &Health, request: &Parts) -> bool {
    let address = request.extensions.get::<Peer>().map(|peer| peer.address);
    let is_near =
        || address.is_some_and(|address| health.sources.iter().any(|range| range.contains(&address)));
    let is_set = |name: &&str| request.headers.get(*name).is_some_and(|value| !value.is_empty());
    (health.sources.is_empty() || is_near()) && !(health.ignores_proxied && PROXY_HEADERS.iter().any(is_set))
}

/// Looks at all of them, not on the threads that serve: a file may be where looking takes long, or does not end.
async fn look_at_all(backends: &[Backend], port: u16) -> Vec<Found> {
    if backends.is_empty() {
        return Vec::new();
    }
    let backends = backends.to_vec();
    let looking = async {
        let place = PLACES.acquire().await.ok()?;
        let found = tokio::task::spawn_blocking(move || {
            let found: Vec<Found> = backends.iter().map(|backend| look(backend, port)).collect();
            drop(place);
            found
        });
        found.await.ok()
    };
    tokio::time::timeout(PATIENCE, looking).await.ok().flatten().unwrap_or_else(|| {
        let details = "The files could not be looked at".to_owned();
        vec![Found { is_good: false, reason: "UNKNOWN", details }]
    })
}

fn look(backend: &Backend, port: u16) -> Found {
    let good = |details: String| Found { is_good: true, reason: OK, details };
    let bad = |reason, details| Found { is_good: false, reason, details };
    let absent = |file: &Path| good(format!("Path '{}' was not found", file.display()));
    let there = |file: &Path| bad("DISABLED BY FILE", format!("Path '{}' was found", file.display()));
    let by = |file: Option<&PathBuf>| match file {
        Some(file) if file.exists() => there(file),
        Some(file) => absent(file),
        None => good("No file is configured".to_owned()),
    };
    match backend {
        Backend::DisableByFile(file) => by(file.as_ref()),
        Backend::DisableByPort(files) => by(files.get(&port)),
        Backend::EnableByFiles(files) => match files.iter().find(|file| !file.exists()) {
            Some(file) => bad("FILE PATH MISSING", format!("File path {} is missing", file.display())),
            None => good("Specified file paths are available".to_owned()),
        },
    }
}

/// Of what there is, what the client likes best. One who likes none of it gets plain text: a 406 would be taken for
/// an outage.
fn liked(headers: &HeaderMap) -> &'static str {
    const PLAIN: &str = "text/plain";
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
    accept::best(accept, &[PLAIN, "text/html", "application/json"]).unwrap_or(PLAIN)
}

fn as_text(found: &[Found]) -> String {
    found.iter().map(|found| found.reason).collect::<Vec<_>>().join("\n")
}

fn platform() -> String {
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}

fn as_json(found: &[Found], now: Option<String>) -> Value {
    let Some(now) = now else {
        let reasons: Vec<&str> = found.iter().map(|found| found.reason).collect();
        return json!({"detailed": false, "reasons": reasons});
    };
    let reasons: Vec<Value> = found
        .iter()
        .map(|f| json!({"class": "HealthcheckResult", "details": f.details, "reason": f.reason}))
        .collect();
    json!({"detailed": true, "now": now, "platform": platform(), "reasons": reasons})
}

fn as_html(found: &[Found], now: Option<String>) -> String {
    let mut page = String::from("<html>\n<head><title>Healthcheck Status</title></head>\n<body>\n");
    if let Some(now) = &now {
        let _ = writeln!(page, "<h1>Server status</h1>\n<p>{now}, {}</p>", platform());
    }
    let _ = writeln!(page, "<h2>Result of {} checks:</h2>\n<table border=\"1\">", found.len());
    for found in found {
        let _ = write!(page, "<tr><td>{}</td>", found.reason);
        if now.is_some() {
            let _ = write!(page, "<td>{}</td>", escaped(&found.details));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n</body>\n</html>");
    page
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
