//! Runs handlers: authenticates, opens the transaction, commits, and runs again what has to be.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use vicar_rules::Micros;
use vicar_rules::policy::Policy;
use vicar_rules::token::Act;

use super::events;
use super::notices::Done;
use super::route::{Auth, Handler, Route};
use crate::app::App;
use crate::authz::{self, Caller, Session, SlowWork};
use crate::clock::SECOND;
use crate::error::{Error, Result};
use crate::http::request::AUTH_TOKEN;
use crate::http::{Request, layers, oauth2};
use crate::peer::{Peer, network};
use crate::queue::Origin;
use crate::reason::Reason;
use crate::store::{Asked, Backoff, Store, Tx};
use crate::traces::Trace;

/// How often directories are asked for one request.
const MOST_QUESTIONS: usize = 16;

/// When directories were asked for so long, the request has no more time for them.
const ASKED_FOR: Duration = Duration::from_secs(60);

/// Answers a request for a route. A panic is an answer too.
pub(super) async fn answer(
    route: &'static Route,
    app: &App,
    request: Result<Request>,
    trace: &Trace,
) -> Response {
    trace.operations(route.declared.ops.iter().map(|op| op.row().name));
    let request = match request {
        Ok(request) => request,
        Err(e) => return refused(route.path, e),
    };
    let answer = match route.handler {
        // It needs nothing of what follows, and is spared it.
        Handler::Plain(handler) => layers::caught_at_once(|| plain(route, app, handler, &request, trace)),
        Handler::Read(_) | Handler::Write(_) => layers::caught(run(route, app, &request, trace)).await,
    };
    answer.unwrap_or_else(layers::panicked)
}

fn plain(
    route: &Route,
    app: &App,
    handler: fn(&Request) -> Result<Response>,
    request: &Request,
    trace: &Trace,
) -> Response {
    let part = trace.part("handler");
    let done = handler(request);
    part.end(outcome(&done));
    let counted = done.and_then(|response| kept(app, request, response));
    counted.unwrap_or_else(|e| refuse(route, app.clock.now(), request, e))
}

/// An answer, which stays in memory until the client has read it.
fn kept(app: &App, request: &Request, response: Response) -> Result<Response> {
    app.unsent.count(|| whose(request), response).ok_or(Error::Busy)
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
    let plain = OnceCell::new();
    let mut asked = Arc::<Asked>::default();
    let (mut questions, mut asked_for) = (0, Duration::ZERO);
    let mut store = &app.store;
    let error = loop {
        let part = trace.part(what_runs(route.handler, has_writer));
        let state = (has_writer, long.is_some());
        let policy = &rules.loaded.policy;
        let done = attempt(route, (app, store, &asked), policy, request, &mut slow, state).await;
        part.end(outcome(&done));
        match done {
            Ok(response) if matches!(route.handler, Handler::Write(_)) => return response,
            Ok(response) => match kept(app, request, response) {
                Ok(response) => return response,
                Err(e) => break e,
            },
            // `vicar policy explain` wants to know whether it would come so far.
            Err(Error::NeedsWriter) if authz::is_watched() => return StatusCode::ACCEPTED.into_response(),
            Err(Error::NeedsWriter) if !has_writer => has_writer = true,
            Err(Error::Pending) => {
                has_writer = false;
                let part = trace.part("slow work");
                let done = match slow.perform_login(&app.directories, &app.store).await {
                    true => Ok(()),
                    false => slow.perform(app.workers(&rules)).await,
                };
                part.end(if done.is_ok() { "done" } else { "refused" });
                if let Err(e) = done {
                    break e;
                }
            }
            Err(Error::Unread(what)) if questions < MOST_QUESTIONS && asked_for < ASKED_FOR => {
                (has_writer, questions) = (false, questions + 1);
                let (part, since) = (trace.part("directory"), Instant::now());
                app.directories.read(&app.store, what, Arc::make_mut(&mut asked)).await;
                asked_for += since.elapsed();
                part.end("done");
            }
            Err(Error::Unread(_)) => break Error::DirectoryAway,
            Err(Error::TakesLong) if long.is_none() => {
                has_writer = false;
                // Kept until there is an answer.
                let actor = request.line.actor().unwrap_or_default();
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
                // Most likely it was what is remembered that changed meanwhile.
                store = plain.get_or_init(|| app.store.without_memory());
                app.metrics.database_retries.inc();
                tracing::debug!(why, "the request is run again");
            }
            Err(e) => break e,
        }
    };
    refuse(route, began, request, error)
}

/// Answers a request that began at this instant with a refusal.
fn refuse(route: &Route, began: Micros, request: &Request, error: Error) -> Response {
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
    request.line.actor().or_else(address).unwrap_or_default()
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
        Err(Error::Unread(_)) => "needs a directory",
        Err(Error::TakesLong) => "needs a place for long reads",
        Err(Error::RevokedThisSecond) => "needs the next second",
        Err(Error::Retry(_)) => "another transaction was in the way",
        Err(_) => "refused",
    }
}

/// One run, in one transaction.
async fn attempt(
    route: &'static Route,
    (app, store, asked): (&App, &Store, &Arc<Asked>),
    policy: &Policy,
    request: &Request,
    slow: &mut SlowWork,
    (has_writer, may_take_long): (bool, bool),
) -> Result<Response> {
    match route.handler {
        Handler::Plain(handler) => handler(request),
        Handler::Read(handler) => {
            let mut tx = store.read().await?.asking(asked);
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
            let tx = if has_writer { store.write().await? } else { store.rehearse().await? };
            let mut tx = tx.asking(asked);
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
    admit(&caller, app, request, tx, now).await?;
    Ok(Some(caller))
}

/// Whether a caller may ask for this at all, whatever it is.
///
/// # Errors
/// 403 for a kind of token that does nothing here, 401 when its access rules do not allow it.
pub(super) async fn admit(
    caller: &Caller,
    app: &App,
    request: &Request,
    tx: &mut Tx,
    now: Micros,
) -> Result<()> {
    caller.may(app, Act::Use)?;
    caller.may_ask(tx, app, request, now).await
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
    use axum::http::Method;

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
