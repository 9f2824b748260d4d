//! One wide line per request: who, what, how long, and for a delegated call the whole chain of who
//! acts for whom. Never a secret: the line is built from ids and from nothing that a client sent
//! besides method and path.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::error::{RunAgain, challenge};
use crate::http::request::{Encrypted, base, read_body};
use crate::ids;
use crate::metrics::RequestLabels;
use crate::store::Patience;
use crate::tokens::model::Token;

/// What handlers add to the line.
#[derive(Debug, Clone, Default)]
pub struct Line(Arc<Mutex<Fields>>);

#[derive(Debug, Default)]
struct Fields {
    user: Option<String>,
    audit_ids: Option<String>,
    project: Option<String>,
    chain: Option<String>,
    subject: Option<String>,
    actor: Option<String>,
}

impl Line {
    /// Who calls.
    pub fn caller(&self, token: &Token) {
        let mut f = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f.user = Some(token.user.id.clone());
        f.audit_ids = Some(token.payload.audit_ids.join(" "));
        f.project = token.project().map(|p| p.id.clone());
        f.chain = chain_of(token);
        f.actor = Some(actor_of(token));
    }

    /// Which token the call is about or gave out, by its audit ids.
    pub fn subject(&self, token: &Token) {
        let mut f = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f.subject = Some(token.payload.audit_ids.join(" "));
        if f.chain.is_none() {
            f.chain = chain_of(token);
        }
        if f.actor.is_none() {
            f.actor = Some(actor_of(token));
        }
    }
}

/// Whose doing it is: the trustee of the last link for a delegated token, otherwise its user.
fn actor_of(token: &Token) -> String {
    let last = token.trust.as_ref().map(|judged| judged.chain.leaf());
    last.map_or(&token.user.id, |link| &link.trustee).clone()
}

/// `alice>solum(t1) alice>heat(t2)`: trustor, trustee and trust of each link, root first.
fn chain_of(token: &Token) -> Option<String> {
    let judged = token.trust.as_ref()?;
    let links: Vec<String> =
        judged.chain.links().iter().map(|t| format!("{}>{}({})", t.trustor, t.trustee, t.id)).collect();
    Some(links.join(" "))
}

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

/// Runs a handler, and again when somebody else's transaction was in the way of its own. A handler is a
/// function of the request and of the database, and such a transaction never was, so this is the one place
/// for it.
async fn run(app: &App, parts: Parts, body: Bytes, next: Next) -> Response {
    let mut patience = Patience::default();
    loop {
        let request = Request::from_parts(parts.clone(), Body::from(body.clone()));
        let response = next.clone().run(request).await;
        let Some(RunAgain(why)) = response.extensions().get() else { return response };
        if !patience.again().await {
            tracing::error!(status = 503, detail = why, "request failed, each time that it was run");
            return response;
        }
        app.metrics.database_retries.inc();
        tracing::debug!(why, "the request is run again");
    }
}

/// A method as a label. Clients can make up methods; they must not make up series.
fn method_label(method: &Method) -> String {
    const USUAL: [Method; 7] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    if USUAL.contains(method) { method.to_string() } else { "other".to_owned() }
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
    let base = base(&app, request.headers(), request.uri(), encrypted);
    let mut response = match whole(request, app.config.max_body).await {
        Ok((parts, body)) => run(&app, parts, body, next).await,
        Err(refused) => refused,
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("X-Auth-Token"));
    if let Ok(v) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, v);
    }
    if response.status() == StatusCode::UNAUTHORIZED
        && let Some(value) = challenge(&base)
    {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    let status = response.status().as_u16();
    let took = started.elapsed();
    app.metrics.requests.get_or_create(&RequestLabels { method: method_label(&method), route, status }).inc();
    app.metrics.duration.observe(took.as_secs_f64());
    let f = line.0.lock().unwrap_or_else(PoisonError::into_inner);
    tracing::info!(
        request_id = id,
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
