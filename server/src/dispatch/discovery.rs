//! Versions, health.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::json;

use super::{Route, home};
use crate::app::App;
use crate::error::{Error, Result};
use crate::http::accept::liking;
use crate::http::{Links, Request};

const JSON: &str = "application/json";
/// The other form of these documents: a map of everything that is served.
pub(super) const JSON_HOME: &str = "application/json-home";

/// How many URLs the documents are kept of. Clients can make up hosts.
const MOST_BASES: usize = 64;

/// The documents of a list of routes, as bytes that are made once: of the versions once for each URL that links begin with.
#[derive(Debug)]
pub struct Documents {
    routes: fn() -> &'static [Route],
    home: OnceLock<Bytes>,
    home_at_root: OnceLock<Bytes>,
    versions: RwLock<BTreeMap<String, Versions>>,
}

/// The documents of the versions, with their links.
#[derive(Debug, Clone)]
struct Versions {
    all: Bytes,
    v3: Bytes,
    /// Where the version is.
    location: HeaderValue,
}

impl Versions {
    fn of(links: &Links) -> Self {
        let at = links.to("/");
        let version = json!({
            "id": "v3.14",
            "status": "stable",
            "updated": "2020-04-07T00:00:00Z",
            "links": [{"rel": "self", "href": at}],
            "media-types": [{
                "base": "application/json",
                "type": "application/vnd.openstack.identity-v3+json",
            }],
        });
        Self {
            v3: json!({"version": version}).to_string().into(),
            all: json!({"versions": {"values": [version]}}).to_string().into(),
            // A host that is no header is in no link either.
            location: HeaderValue::try_from(at).unwrap_or(HeaderValue::from_static("/v3/")),
        }
    }
}

/// Whether the client prefers a JSON home document to plain JSON. One that accepts both alike, as
/// browsers do, gets plain JSON.
fn wants_home(request: &Request) -> bool {
    let Ok(Some(accept)) = request.header(&header::ACCEPT) else {
        return false;
    };
    liking(accept, JSON_HOME) > liking(accept, "application/json")
}

fn document(kind: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

impl Documents {
    /// Of these routes.
    pub const fn of(routes: fn() -> &'static [Route]) -> Self {
        Self {
            routes,
            home: OnceLock::new(),
            home_at_root: OnceLock::new(),
            versions: RwLock::new(BTreeMap::new()),
        }
    }

    fn versions(&self, links: &Links) -> Versions {
        let known = self.versions.read().unwrap_or_else(PoisonError::into_inner).get(links.base()).cloned();
        known.unwrap_or_else(|| {
            let new = Versions::of(links);
            let mut kept = self.versions.write().unwrap_or_else(PoisonError::into_inner);
            if kept.len() >= MOST_BASES {
                kept.clear();
            }
            kept.insert(links.base().to_owned(), new.clone());
            new
        })
    }

    fn home(&self, at: &OnceLock<Bytes>, prefix: &str) -> Response {
        let made = || home::document((self.routes)(), prefix).to_string().into();
        document(JSON_HOME, at.get_or_init(made).clone())
    }

    /// `GET /`: 300 with the versions; there is one. Or a JSON home document.
    pub fn root(&self, request: &Request) -> Response {
        if wants_home(request) {
            return self.home(&self.home_at_root, "/v3");
        }
        let Versions { all, location, .. } = self.versions(&request.links);
        let mut response = document(JSON, all);
        *response.status_mut() = StatusCode::MULTIPLE_CHOICES;
        response.headers_mut().insert(header::LOCATION, location);
        response
    }

    /// `GET /v3`: the version, or a JSON home document.
    pub fn v3(&self, request: &Request) -> Response {
        if wants_home(request) {
            return self.home(&self.home, "");
        }
        document(JSON, self.versions(&request.links).v3)
    }
}

/// `GET /healthz`: the process lives.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: database and keys can be used.
pub async fn readyz(State(app): State<Arc<App>>) -> Result<&'static str> {
    ready(&app).await
}

/// The same, wherever it is asked for.
pub(super) async fn ready(app: &App) -> Result<&'static str> {
    let unavailable = |e: String| Error::Unavailable(e, 1);
    app.token_keys.current().map_err(unavailable)?;
    app.credential_keys.current().map_err(unavailable)?;
    app.receipt_keys.current().map_err(unavailable)?;
    crate::store::migrate::state(&mut app.store.read().await?).await?;
    Ok("ready\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_kept_for_each_url_and_not_for_ever_more_of_them() {
        let documents = Documents::of(|| &[]);
        let of = |host: &str| documents.versions(&Links::to_base(format!("http://{host}")));
        let (one, other) = (of("one"), of("other"));
        assert_eq!(one.location, "http://one/v3/");
        for (of_one, of_other) in [(&one.v3, &other.v3), (&one.all, &other.all)] {
            let text = String::from_utf8_lossy(of_one);
            assert!(text.contains("\"http://one/v3/\"") && !text.contains("other"), "{text}");
            assert_eq!(text.replace("one", "other").as_bytes(), of_other);
        }
        assert_eq!(of("one").v3.as_ptr(), one.v3.as_ptr(), "it is the same piece of memory");
        for number in 0..10 * MOST_BASES {
            let made = of(&format!("made-up-{number}"));
            assert_eq!(made.location, format!("http://made-up-{number}/v3/"));
        }
        assert!(documents.versions.read().expect("whole").len() <= MOST_BASES);
        assert_eq!(of("one").v3, one.v3);
    }
}
