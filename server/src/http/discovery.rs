//! Versions, health.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Req;
use crate::error::Result;

fn version(req: &Req) -> Value {
    json!({
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": req.link("/")}],
        "media-types": [{
            "base": "application/json",
            "type": "application/vnd.openstack.identity-v3+json",
        }],
    })
}

/// `GET /`: 300 with the versions; there is one.
pub async fn versions(req: Req) -> Response {
    let body = json!({"versions": {"values": [version(&req)]}});
    let location = req.link("/");
    (StatusCode::MULTIPLE_CHOICES, [(header::LOCATION, location)], axum::Json(body)).into_response()
}

/// `GET /v3`
pub async fn v3(req: Req) -> Response {
    axum::Json(json!({"version": version(&req)})).into_response()
}

/// `GET /healthz`: the process lives.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: database and keys can be used.
pub async fn readyz(req: Req) -> Result<&'static str> {
    let unavailable = |e: String| crate::error::Error::Unavailable(e, 1);
    req.app.token_keys.current().map_err(unavailable)?;
    req.app.credential_keys.current().map_err(unavailable)?;
    let mut tx = req.read().await?;
    crate::store::migrate::state(&mut tx).await?;
    Ok("ready\n")
}
