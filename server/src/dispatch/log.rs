//! One wide line per request: who, from where, what, how long, for a delegated call the whole chain of who
//! acts for whom, and if it was refused, why. Never a secret: of what a client sent, method and path are there, and
//! the name of a user who exists. What concerns security is an event besides, in the target `vicar::security`.

use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;

use super::run;
use super::site::Site;
use crate::error::challenge;
use crate::http::Links;
use crate::http::request::{Made, Read, read_body};
use crate::ids;
use crate::line::{Fields, LONGEST, Line, cut};
use crate::metrics::RequestLabels;
use crate::peer::Peer;
use crate::reason::Reason;
use crate::security::{self, Event, On, Outcome, Record};

/// The header with the request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-openstack-request-id");

/// The longest method and the longest id that are shown, in bytes.
const LONGEST_METHOD: usize = 32;
const LONGEST_ID: usize = 255;

/// Reads the body before anything else, so that no handler leaves a part of it unread on a connection
/// that the client means to use again.
async fn whole(path: &str, body: Body, limit: usize) -> Result<Bytes, Response> {
    read_body(body, limit).await.map_err(|e| {
        let mut response = run::refused(path, e);
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    })
}

/// A method as a label. Clients can make up methods; they must not make up series.
fn method_label(method: &Method) -> &'static str {
    const USUAL: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    USUAL.into_iter().find(|usual| *usual == method.as_str()).unwrap_or("other")
}

/// Around every request: its id, the line, the counters, and the headers that every answer carries.
pub(super) async fn around(site: &Site, parts: Parts, body: Body, links: Links) -> Response {
    let started = Instant::now();
    let app = &*site.app;
    let id = ids::request();
    let line = Line::default();
    let (method, uri) = (parts.method.clone(), parts.uri.clone());
    let path = uri.path();
    let address = parts.extensions.get::<Peer>().map(Peer::text);
    let found = site.find(path);
    let route = found.pattern;
    let label = method_label(&method);
    let trace = app.traces.begin(&parts.headers, label, route);
    let mut response = match whole(path, body, app.config.max_body).await {
        Ok(body) => {
            let read = Read { parts, body, links: links.clone(), line: line.clone(), id: id.clone() };
            site.serve(&found, read, &trace).await
        }
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
    trace.end(status, &id);
    let f = line.take();
    tracing::info!(
        request_id = id,
        trace_id = trace.id(),
        address = address.as_deref(),
        method = &*cut(method.as_str(), LONGEST_METHOD),
        path = &*cut(path, LONGEST),
        status,
        micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        reason = f.reason.map(Reason::word),
        operation = f.operation,
        user = f.user,
        project = f.project,
        audit_ids = f.audit_ids,
        subject = f.subject,
        credential = f.credential,
        chain = f.chain,
        origin = f.origin,
        actor = f.actor,
        tried_user = f.tried.user,
        tried_name = f.tried.name,
        tried_domain = f.tried.domain,
        tried_audit_ids = f.tried.audit_ids,
        "request"
    );
    if let Some((event, outcome)) = event(&f, status) {
        let mut on = objects(route, path, response.extensions().get::<Made>());
        on.credential = on.credential.or_else(|| f.credential.clone());
        security::write(&Record {
            event,
            outcome,
            reason: f.reason,
            operation: f.operation,
            user: f.user.as_deref(),
            actor: f.actor.as_deref(),
            project: f.project.as_deref(),
            chain: f.chain.as_deref(),
            origin: f.origin.as_deref(),
            audit_ids: f.audit_ids.as_deref(),
            subject: f.subject.as_deref(),
            tried_user: f.tried.user.as_deref(),
            tried_name: f.tried.name.as_deref(),
            tried_domain: f.tried.domain.as_deref(),
            tried_audit_ids: f.tried.audit_ids.as_deref(),
            tried_password_hash: f.tried.password_hash.as_deref(),
            on,
            ended: f.ended.as_deref(),
            request_id: &id,
            address: address.as_deref(),
            status,
        });
    }
    app.metrics.requests.get_or_create(&RequestLabels { method: label, route, status }).inc();
    app.metrics.duration.observe(took.as_secs_f64());
    // After the lines: what is written in them takes time too.
    run::pad_timing(app, &mut response).await;
    response
}

/// What an answer is in the security log. By now the transaction is committed, or nothing was done.
fn event(line: &Fields, status: u16) -> Option<(Event, Outcome)> {
    match line.event {
        event if line.reason.is_some() => {
            Some((event.map_or(Event::Access, |(event, _)| event), Outcome::Refused))
        }
        Some((event, success)) if success.contains(&status) => Some((event, Outcome::Success)),
        _ => None,
    }
}

/// The objects that a path names, and the one that was made.
fn objects(route: &str, path: &str, made: Option<&Made>) -> On {
    let mut on = On::default();
    for (part, id) in route.split('/').zip(path.split('/')) {
        if let Some(name) = part.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            on.set(name, cut(id, LONGEST_ID).into_owned());
        }
    }
    if let Some(Made { kind, id }) = made {
        on.set(&format!("{kind}_id"), cut(id, LONGEST_ID).into_owned());
    }
    on
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_what_the_path_names_and_what_was_made() {
        let route = "/v3/projects/{project_id}/users/{user_id}/roles/{role_id}";
        let on = objects(route, "/v3/projects/p/users/u/roles/r", None);
        assert_eq!(
            (on.project.as_deref(), on.user.as_deref(), on.role.as_deref()),
            (Some("p"), Some("u"), Some("r"))
        );
        let long = "x".repeat(10_000);
        let on = objects("/v3/regions/{region_id}", &format!("/v3/regions/{long}"), None);
        assert!(on.object.is_some_and(|id| id.len() < 300));
        let made = Made { kind: "trust", id: "t".into() };
        assert_eq!(
            objects("/v3/OS-TRUST/trusts", "/v3/OS-TRUST/trusts", Some(&made)).trust.as_deref(),
            Some("t")
        );
    }

    #[test]
    fn only_what_succeeded_or_was_refused_is_an_event() {
        let line = |event, reason| Fields { event, reason, ..Fields::default() };
        let end = Some((Event::TrustEnd, [204, 204]));
        assert_eq!(event(&line(end, None), 204), Some((Event::TrustEnd, Outcome::Success)));
        assert_eq!(event(&line(end, None), 200), None, "a rehearsal");
        assert_eq!(event(&line(end, None), 404), None);
        assert_eq!(event(&line(end, Some(Reason::Policy)), 403), Some((Event::TrustEnd, Outcome::Refused)));
        assert_eq!(event(&line(None, Some(Reason::NoToken)), 401), Some((Event::Access, Outcome::Refused)));
        assert_eq!(event(&line(None, None), 200), None);
    }
}
