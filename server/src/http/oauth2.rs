//! Errors as RFC 6749 writes them, for the token endpoint of OAuth 2.0.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::error::Error;

/// The path of the token endpoint.
pub const TOKEN: &str = "/v3/OS-OAUTH2/token";

/// An answer to a request of the token endpoint that was refused, in the words of Keystone.
pub fn refused(error: Error) -> Response {
    let status = error.status();
    let (code, words) = match &error {
        Error::UnsupportedGrantType(_) => ("unsupported_grant_type", error.message()),
        _ => match status {
            StatusCode::UNAUTHORIZED => ("invalid_client", error.message()),
            StatusCode::BAD_REQUEST => ("invalid_request", error.message()),
            StatusCode::METHOD_NOT_ALLOWED => ("other_error", error.message()),
            _ => (
                "other_error",
                "An unknown error occurred and failed to get an OAuth2.0 access token.".to_owned(),
            ),
        },
    };
    // Its headers, and its line in the log, are those of every other.
    let (mut parts, _) = error.into_response().into_parts();
    let body = Json(json!({"error": code, "error_description": words})).into_response().into_body();
    parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    Response::from_parts(parts, body)
}
