//! Everything that is served, by path. Every request takes the same way: the path that routes know, the questions of
//! browsers, the log line around the rest, and a net for panics around what is there for its path and method.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request as HttpRequest;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Body as _;
use matchit::Match;

use super::route::Route;
use super::{discovery, health, log, run};
use crate::app::App;
use crate::error::Error;
use crate::http::front::{Front, HEALTHCHECK};
use crate::http::request::Read;
use crate::http::{Request, cors, layers};
use crate::traces::Trace;

/// The router of a list of routes.
pub fn router(app: Arc<App>, routes: &'static [Route]) -> Router {
    let site = Arc::new(Site::new(app, routes));
    Router::new().fallback_service(tower::service_fn(move |request: HttpRequest| {
        let site = Arc::clone(&site);
        async move { Ok(site.answer(request).await) }
    }))
}

/// What is served.
pub(super) struct Site {
    pub(super) app: Arc<App>,
    front: Front,
    paths: matchit::Router<Place>,
}

/// What is at a path.
#[derive(Debug)]
enum Place {
    Routes(Routes),
    /// Health needs no transaction: it is asked for when the database is away.
    Healthz,
    Readyz,
    Healthcheck,
}

/// The routes of one path.
#[derive(Debug)]
struct Routes {
    all: Vec<&'static Route>,
    /// What `OPTIONS` is told.
    allow: HeaderValue,
}

impl Routes {
    /// `GET` serves `HEAD` too unless that has a route of its own.
    fn find(&self, method: &Method) -> Option<&'static Route> {
        let of = |wanted: &Method| self.all.iter().copied().find(|route| route.method == *wanted);
        of(method).or_else(|| of(&Method::GET).filter(|_| *method == Method::HEAD))
    }
}

/// The methods of a path, as a header lists them.
fn allow(routes: &[&Route]) -> HeaderValue {
    let mut names = vec!["OPTIONS"];
    for route in routes {
        names.push(route.method.as_str());
        if route.method == Method::GET {
            names.push("HEAD");
        }
    }
    names.sort_unstable();
    names.dedup();
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static("OPTIONS"))
}

/// The one thing that a path and its variable parts lead to.
#[derive(Debug)]
pub(super) struct Found<'a> {
    at: Option<Match<'a, 'a, &'a Place>>,
    /// The pattern of the path.
    pub(super) pattern: &'static str,
}

impl Site {
    fn new(app: Arc<App>, routes: &'static [Route]) -> Self {
        let mut places: BTreeMap<&'static str, Vec<&'static Route>> = BTreeMap::new();
        for route in routes {
            places.entry(route.path).or_default().push(route);
        }
        let mut paths = matchit::Router::new();
        let mut insert = |path: &str, place| {
            #[expect(clippy::expect_used, reason = "the list is ours, and every test would say so")]
            paths.insert(path, place).expect("no two paths are the same");
        };
        insert("/healthz", Place::Healthz);
        insert("/readyz", Place::Readyz);
        insert(HEALTHCHECK, Place::Healthcheck);
        insert(BELOW_HEALTHCHECK, Place::Healthcheck);
        for (path, all) in places {
            insert(path, Place::Routes(Routes { allow: allow(&all), all }));
        }
        Self { front: Front::new(&app.config), app, paths }
    }

    async fn answer(&self, request: HttpRequest) -> Response {
        let (mut parts, body) = request.into_parts();
        let links = self.front.arrive(&mut parts);
        let question = cors::Question::of(&self.app.config.cors, &parts);
        let is_head = parts.method == Method::HEAD;
        let mut response = question.answered(log::around(self, parts, body, links).await);
        if is_head {
            leave_out_body(&mut response);
        }
        response
    }

    /// What is at a path.
    pub(super) fn find<'a>(&'a self, path: &'a str) -> Found<'a> {
        let Ok(found) = self.paths.at(path) else {
            return Found { at: None, pattern: "unmatched" };
        };
        let pattern = match found.value {
            Place::Routes(routes) => routes.all.first().map_or("unmatched", |route| route.path),
            Place::Healthz => "/healthz",
            Place::Readyz => "/readyz",
            Place::Healthcheck if path == HEALTHCHECK => HEALTHCHECK,
            Place::Healthcheck => BELOW_HEALTHCHECK,
        };
        Found { at: Some(found), pattern }
    }

    /// Has a request answered by what was found.
    pub(super) async fn serve(&self, found: &Found<'_>, read: Read, trace: &Trace) -> Response {
        let method = &read.parts.method;
        let is_get = matches!(*method, Method::GET | Method::HEAD);
        let Some(Match { value: place, params }) = &found.at else {
            return Error::NotFoundBecause("The requested URL was not found on this server.".into())
                .into_response();
        };
        match place {
            Place::Routes(routes) => match routes.find(method) {
                Some(route) => {
                    let params = route.params().zip(params.iter().map(|(_, value)| value));
                    run::answer(route, &self.app, Request::new(read, params), trace).await
                }
                None if *method == Method::OPTIONS => [(header::ALLOW, routes.allow.clone())].into_response(),
                None => not_allowed(found.pattern, routes.allow.clone()),
            },
            Place::Healthz if is_get => discovery::healthz().await.into_response(),
            Place::Readyz if is_get => {
                let ready = layers::caught(discovery::ready(&self.app)).await;
                ready.map_or_else(layers::panicked, IntoResponse::into_response)
            }
            Place::Healthz | Place::Readyz => {
                not_allowed(found.pattern, HeaderValue::from_static("GET, HEAD"))
            }
            Place::Healthcheck => {
                let checked = layers::caught(health::check(&self.app, &read.parts)).await;
                checked.unwrap_or_else(layers::panicked)
            }
        }
    }
}

const BELOW_HEALTHCHECK: &str = "/healthcheck/{*rest}";

fn not_allowed(path: &str, allow: HeaderValue) -> Response {
    let mut response = run::refused(path, Error::MethodNotAllowed);
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

/// The answer to `HEAD`: the headers of the one to `GET`.
fn leave_out_body(response: &mut Response) {
    if let Some(length) = response.body().size_hint().exact()
        && !response.headers().contains_key(header::CONTENT_LENGTH)
    {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    *response.body_mut() = Body::empty();
}
