//! What was there while there were PKI tokens: `/v3/OS-SIMPLE-CERT` and `/v3/auth/tokens/OS-PKI/revoked`. Nobody is
//! asked who they are, as in Keystone, and nobody gets anything.

use axum::response::Response;

use crate::authz::Reading;
use crate::error::{Error, Result};
use crate::http::Request;

/// `GET /v3/OS-SIMPLE-CERT/ca` and `/v3/OS-SIMPLE-CERT/certificates`
///
/// # Errors
/// 410 always.
pub fn certificates(_: &Request) -> Result<Response> {
    Err(Error::Gone("There are no PKI tokens any more, and no certificates to check them with."))
}

/// `GET /v3/auth/tokens/OS-PKI/revoked`
///
/// # Errors
/// 403, or 410 with `[token] revoke_by_id = false`.
pub async fn revoked(s: &mut Reading<'_>) -> Result<Response> {
    Err(if s.app.config.revoke_by_id {
        Error::Forbidden("You are not authorized to perform the requested action.".into())
    } else {
        Error::Gone("The service you have requested is no longer available on this server.")
    })
}
