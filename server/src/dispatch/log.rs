//! One wide line per request: who, what, how long, and for a delegated call the whole chain of who
//! acts for whom. Never a secret: the line is built from ids and from nothing that a client sent
//! besides method and path.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::error::challenge;
use crate::http::Links;
use crate::http::request::{Encrypted, read_body};
use crate::ids;
use crate::line::Line;
use crate::metrics::RequestLabels;

/// The header with the request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-openstack-request-id");

/// Reads the body before anything else, so that no handler leaves a part of it unread on a connection
/// that the client means to use again.
async fn whole(request: Request, limit: usize) -> Result<(Parts, Bytes), Response> {
    let (parts, body) = request.into_parts();
    match read_body(body, limit).await {
        Ok(bytes) => Ok((parts, bytes)),
        Err(e) => {
            let mut response = e.into_response();
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            Err(response)
        }
    }
}

/// A method as a label. Clients can make up methods; they must not make up series.
fn method_label(method: &Method) -> &'static str {
    const USUAL: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    USUAL.into_iter().find(|usual| *usual == method.as_str()).unwrap_or("other")
}

/// Around every request: its id, the line, the counters, and the headers that every answer carries.
pub async fn around(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = ids::request();
    let line = Line::default();
    request.extensions_mut().insert(line.clone());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |p| p.as_str().to_owned());
    let encrypted = request.extensions().get::<Encrypted>().is_some_and(|e| e.0);
    let links =
        Links::new(app.config.public_endpoint.as_deref(), request.headers(), request.uri(), encrypted);
    let label = method_label(&method);
    let trace = app.traces.begin(request.headers(), label, &route);
    request.extensions_mut().insert(trace.clone());
    let mut response = match whole(request, app.config.max_body).await {
        Ok((parts, body)) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Err(refused) => refused,
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("X-Auth-Token"));
    if let Ok(v) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, v);
    }
    if response.status() == StatusCode::UNAUTHORIZED
        && let Some(value) = challenge(links.base())
    {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    let status = response.status().as_u16();
    let took = started.elapsed();
    app.metrics.requests.get_or_create(&RequestLabels { method: label.to_owned(), route, status }).inc();
    app.metrics.duration.observe(took.as_secs_f64());
    trace.end(status, &id);
    let f = line.fields();
    tracing::info!(
        request_id = id,
        trace_id = trace.id(),
        %method,
        path,
        status,
        micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        user = f.user,
        project = f.project,
        audit_ids = f.audit_ids,
        subject = f.subject,
        chain = f.chain,
        actor = f.actor,
        "request"
    );
    response
}
