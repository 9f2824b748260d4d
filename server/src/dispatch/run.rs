//! Runs handlers: authenticates, opens the transaction, commits, and runs again what has to be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawPathParams, Request as HttpRequest, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, any, get};
use tower::ServiceExt;
use vicar_rules::Micros;
use vicar_rules::policy::Policy;
use vicar_rules::token::Act;

use super::notices::Done;
use super::route::{Auth, Handler, Route};
use super::{discovery, events, health, log};
use crate::app::App;
use crate::authz::{self, Caller, Session, SlowWork};
use crate::clock::SECOND;
use crate::error::{Error, Result};
use crate::http::front::{Front, HEALTHCHECK};
use crate::http::request::{AUTH_TOKEN, read_body};
use crate::http::{Request, cors, layers, oauth2};
use crate::peer::{Peer, network};
use crate::queue::Origin;
use crate::reason::Reason;
use crate::store::{Backoff, Tx};
use crate::traces::Trace;

/// The router of a list of routes.
pub fn router(app: Arc<App>, routes: &'static [Route]) -> Router {
    let mut paths: BTreeMap<&'static str, (MethodRouter<Arc<App>>, Vec<&'static str>)> = BTreeMap::new();
    for route in routes {
        let (methods, names) = paths.entry(route.path).or_default();
        let handler = move |State(app): State<Arc<App>>, params: RawPathParams, request: HttpRequest| async move {
            answer(route, &app, params, request).await
        };
        *methods = std::mem::take(methods).on(filter(&route.method), handler);
        names.push(route.method.as_str());
        if route.method == Method::GET {
            names.push("HEAD");
        }
    }
    // Health needs no transaction: it is asked for when the database is away.
    let mut router = Router::new()
        .route("/healthz", get(discovery::healthz))
        .route("/readyz", get(discovery::readyz))
        .route(HEALTHCHECK, any(health::check))
        .route(&format!("{HEALTHCHECK}/{{*rest}}"), any(health::check));
    for (path, (methods, mut names)) in paths {
        names.push("OPTIONS");
        names.sort_unstable();
        names.dedup();
        let allow = names.join(", ");
        let options = move || std::future::ready([(header::ALLOW, allow)].into_response());
        router = router.route(path, methods.options(options));
    }
    let (front, cors) = (Front::new(&app.config), Arc::<[_]>::from(app.config.cors.as_slice()));
    let router = router
        .method_not_allowed_fallback(|uri: Uri| async move { refused(uri.path(), Error::MethodNotAllowed) })
        .fallback(|| async {
            Error::NotFoundBecause("The requested URL was not found on this server.".into())
        })
        .layer(from_fn(layers::catch_panic))
        .layer(from_fn_with_state(Arc::clone(&app), log::around))
        .layer(from_fn_with_state(cors, cors::around))
        .with_state(app);
    Router::new().fallback_service(router.map_request(move |request: HttpRequest| front.arrive(request)))
}

fn filter(method: &Method) -> MethodFilter {
    MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET)
}

async fn answer(route: &'static Route, app: &App, params: RawPathParams, request: HttpRequest) -> Response {
    let trace = request.extensions().get::<Trace>().cloned().unwrap_or_default();
    trace.operations(route.declared.ops.iter().map(|op| op.row().name));
    match read(app, params, request).await {
        Ok(request) => run(route, app, &request, &trace).await,
        Err(e) => refused(route.path, e),
    }
}

async fn read(app: &App, params: RawPathParams, request: HttpRequest) -> Result<Request> {
    let params = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let (parts, body): (_, Body) = request.into_parts();
    let body = read_body(body, app.config.max_body).await?;
    Request::new(parts, body, params)
}

/// Runs a handler until it has an answer. Each run is a transaction of its own, and one that did not commit
/// never was; so this is the one place for trying again.
async fn run(route: &'static Route, app: &App, request: &Request, trace: &Trace) -> Response {
    let began = app.clock.now();
    // One for the whole request, however often it is run.
    let rules = app.rules();
    if let Some((event, success)) = events::of(route) {
        request.line.event(event, success);
    }
    let mut slow = SlowWork::default();
    let mut backoff = Backoff::default();
    let mut has_waited = false;
    let mut has_writer = false;
    let mut long = None;
    let error = loop {
        let part = trace.part(what_runs(route.handler, has_writer));
        let state = (has_writer, long.is_some());
        let done = attempt(route, app, &rules.loaded.policy, request, &mut slow, state).await;
        part.end(outcome(&done));
        match done {
            Ok(response) if matches!(route.handler, Handler::Write(_)) => return response,
            // It stays in memory until the client has read it.
            Ok(response) => match app.unsent.count(|| whose(request), response) {
                Some(response) => return response,
                None => break Error::Busy,
            },
            // `vicar policy explain` wants to know whether it would come so far.
            Err(Error::NeedsWriter) if authz::is_watched() => return StatusCode::ACCEPTED.into_response(),
            Err(Error::NeedsWriter) if !has_writer => has_writer = true,
            Err(Error::Pending) => {
                has_writer = false;
                let part = trace.part("slow work");
                let done = slow.perform(&app.passwords, &rules.remote).await;
                part.end(if done.is_ok() { "done" } else { "refused" });
                if let Err(e) = done {
                    break e;
                }
            }
            Err(Error::TakesLong) if long.is_none() => {
                has_writer = false;
                // Kept until there is an answer.
                let actor = request.line.fields().actor.unwrap_or_default();
                match app.long_reads.enter(Origin::here(&actor)).await {
                    Ok(turn) => long = Some(turn),
                    Err(e) => break e,
                }
            }
            Err(Error::RevokedThisSecond) if !has_waited => {
                (has_waited, has_writer) = (true, false);
                next_second(app).await;
            }
            Err(Error::Retry(why)) => {
                if !backoff.again().await {
                    break Error::Retry(why);
                }
                has_writer = false;
                app.metrics.database_retries.inc();
                tracing::debug!(why, "the request is run again");
            }
            Err(e) => break e,
        }
    };
    request.line.refused(&error, route.declared.ops.first().map(|op| op.row().name));
    let hides = hides_its_time(route.auth, &error);
    let mut response = refused(route.path, error);
    if hides {
        response.extensions_mut().insert(Padded(began));
    }
    response
}

/// For whom an answer is: the user, or else the client's address.
fn whose(request: &Request) -> String {
    let address = || Peer::current().map(|peer| network(peer.address).to_string());
    request.line.fields().actor.or_else(address).unwrap_or_default()
}

/// What is answered instead of what was asked for.
pub(super) fn refused(path: &str, error: Error) -> Response {
    if path == oauth2::TOKEN { oauth2::refused(error) } else { error.into_response() }
}

/// The name of a run in traces.
fn what_runs(handler: Handler, has_writer: bool) -> &'static str {
    match handler {
        Handler::Plain(_) => "handler",
        Handler::Read(_) => "read",
        Handler::Write(_) if has_writer => "write",
        Handler::Write(_) => "rehearsal",
    }
}

/// How a run ended, in traces.
fn outcome(done: &Result<Response>) -> &'static str {
    match done {
        Ok(_) => "done",
        Err(Error::NeedsWriter) => "needs the writer",
        Err(Error::Pending) => "needs slow work",
        Err(Error::TakesLong) => "needs a place for long reads",
        Err(Error::RevokedThisSecond) => "needs the next second",
        Err(Error::Retry(_)) => "another transaction was in the way",
        Err(_) => "refused",
    }
}

/// One run, in one transaction.
async fn attempt(
    route: &'static Route,
    app: &App,
    policy: &Policy,
    request: &Request,
    slow: &mut SlowWork,
    (has_writer, may_take_long): (bool, bool),
) -> Result<Response> {
    match route.handler {
        Handler::Plain(handler) => handler(request),
        Handler::Read(handler) => {
            let mut tx = app.store.read().await?;
            // Before the snapshot, which the first statement takes: what is revoked later is not older.
            let (now, epoch) = (app.clock.now(), app.failures.epoch());
            let caller = caller(route, app, request, &mut tx, now).await?;
            let mut session = Session::new(
                app,
                request,
                tx,
                (now, epoch),
                slow,
                caller.as_ref(),
                (&route.declared, policy),
            )
            .taking_long(may_take_long);
            let response = handler(&mut session).await?;
            let (_, after, _) = session.finish();
            after(&app.metrics);
            Ok(response)
        }
        Handler::Write(handler) => {
            let mut tx = if has_writer { app.store.write().await? } else { app.store.rehearse().await? };
            let (now, epoch) = (app.clock.now(), app.failures.epoch());
            let caller = match caller(route, app, request, &mut tx, now).await {
                Ok(caller) => caller,
                Err(e) => return Err(tx.undo().await.err().map_or(e, Error::from)),
            };
            let mut session = Session::new(
                app,
                request,
                tx,
                (now, epoch),
                slow,
                caller.as_ref(),
                (&route.declared, policy),
            )
            .taking_long(may_take_long);
            let done = Done { app, route, request, caller: caller.as_ref() };
            let answer = handler(&mut session).await;
            let (tx, after, told) = session.finish();
            let response = match answer {
                Ok(response) => response,
                Err(e) => {
                    tx.undo().await?;
                    done.tell_refused(&e);
                    return Err(e);
                }
            };
            if has_writer {
                tx.commit().await?;
            }
            after(&app.metrics);
            done.tell(told, &response);
            Ok(response)
        }
    }
}

async fn caller(
    route: &Route,
    app: &App,
    request: &Request,
    tx: &mut Tx,
    now: Micros,
) -> Result<Option<Caller>> {
    let text = match route.auth {
        Auth::Login | Auth::Public => return Ok(None),
        Auth::Required => {
            Some(request.token_header(&AUTH_TOKEN)?.ok_or(Error::Unauthorized(Reason::NoToken))?)
        }
        Auth::Optional => request.token_header(&AUTH_TOKEN)?,
    };
    let Some(text) = text else { return Ok(None) };
    let caller = Caller::authenticate(tx, app, text, &request.line, now).await?;
    match caller.token() {
        Some(token) => request.line.caller(token.ids()),
        None => request.line.admin_token(),
    }
    caller.may(app, Act::Use)?;
    caller.may_ask(tx, app, request, now).await?;
    Ok(Some(caller))
}

/// Waits for the next second: a revocation of this very second stands against a new token.
async fn next_second(app: &App) {
    let rest = SECOND - app.clock.now().rem_euclid(SECOND);
    tokio::time::sleep(Duration::from_micros(u64::try_from(rest).unwrap_or(0) + 1000)).await;
}

/// Whether an answer comes on the grid of time: that of a login that failed, for whatever reason.
fn hides_its_time(auth: Auth, error: &Error) -> bool {
    matches!(auth, Auth::Login | Auth::Optional) && matches!(error, Error::Unauthorized(_))
}

/// Failed logins are answered in steps of this length.
const STEP: Micros = 50_000;

/// Marks an answer that is to come on the grid of time: when its request began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Padded(Micros);

/// Waits for the end of the step, if the answer is one that hides its time. To be called last: what an attempt cost beyond the hash (a row to read, a failure to
/// count) is less than a step, and so does not show.
pub(super) async fn pad_timing(app: &App, response: &mut Response) {
    let Some(Padded(began)) = response.extensions_mut().remove() else { return };
    let spent = app.clock.now().saturating_sub(began);
    let rest = (STEP - spent.rem_euclid(STEP)) % STEP;
    tokio::time::sleep(Duration::from_micros(u64::try_from(rest).unwrap_or(0))).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::ROUTES;

    #[test]
    fn failed_logins_hide_their_time() {
        let logins: Vec<Auth> = ROUTES
            .iter()
            .filter(|r| r.method == Method::POST && r.path == "/v3/auth/tokens")
            .map(|r| r.auth)
            .collect();
        assert_eq!(logins, [Auth::Login]);
        for reason in Reason::ALL.iter().copied() {
            assert!(hides_its_time(Auth::Login, &Error::Unauthorized(reason)));
            assert!(hides_its_time(Auth::Optional, &Error::Unauthorized(reason)));
            assert!(!hides_its_time(Auth::Required, &Error::Unauthorized(reason)));
        }
        assert!(!hides_its_time(Auth::Login, &Error::BadRequest(String::new())));
    }
}
