//! Versions, health.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Route, home};
use crate::app::App;
use crate::error::{Error, Result};
use crate::http::Request;
use crate::http::accept::liking;
use crate::http::request::ok;

/// The other form of these documents: a map of everything that is served.
pub(super) const JSON_HOME: &str = "application/json-home";

fn version(request: &Request) -> Value {
    json!({
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": request.links.to("/")}],
        "media-types": [{
            "base": "application/json",
            "type": "application/vnd.openstack.identity-v3+json",
        }],
    })
}

/// Whether the client prefers a JSON home document to plain JSON. One that accepts both alike, as
/// browsers do, gets plain JSON.
fn wants_home(request: &Request) -> bool {
    let Ok(Some(accept)) = request.header(&header::ACCEPT) else {
        return false;
    };
    liking(accept, JSON_HOME) > liking(accept, "application/json")
}

fn home(routes: &[Route], prefix: &str) -> Response {
    ([(header::CONTENT_TYPE, JSON_HOME)], axum::Json(home::document(routes, prefix))).into_response()
}

/// `GET /`: 300 with the versions; there is one. Or a JSON home document.
pub fn versions(request: &Request, routes: &[Route]) -> Result<Response> {
    if wants_home(request) {
        return Ok(home(routes, "/v3"));
    }
    let body = json!({"versions": {"values": [version(request)]}});
    let location = request.links.to("/");
    Ok((StatusCode::MULTIPLE_CHOICES, [(header::LOCATION, location)], axum::Json(body)).into_response())
}

/// `GET /v3`: the version, or a JSON home document.
pub fn v3(request: &Request, routes: &[Route]) -> Result<Response> {
    if wants_home(request) {
        return Ok(home(routes, ""));
    }
    Ok(ok(json!({"version": version(request)})))
}

/// `GET /healthz`: the process lives.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: database and keys can be used.
pub async fn readyz(State(app): State<Arc<App>>) -> Result<&'static str> {
    let unavailable = |e: String| Error::Unavailable(e, 1);
    app.token_keys.current().map_err(unavailable)?;
    app.credential_keys.current().map_err(unavailable)?;
    app.receipt_keys.current().map_err(unavailable)?;
    crate::store::migrate::state(&mut app.store.read().await?).await?;
    Ok("ready\n")
}
