//! `/v3/OS-OAUTH1`: consumers, the tokens that they ask users for, and what users authorized.

pub mod access_tokens;
pub mod consumers;
pub mod request_tokens;

use axum::http::header;
use vicar_rules::signature::{OAuthRequest, Params};

use crate::error::{Error, Result};
use crate::http::Request;
use crate::reason::Reason;
use crate::schema;

/// A request that a consumer signed. `others` are the sets of parameters besides the header's that it may have signed.
///
/// # Errors
/// 401 without the header, 400 when it cannot be read.
pub fn signed(request: &Request, others: Vec<Params>) -> Result<OAuthRequest> {
    let header = request.header(&header::AUTHORIZATION)?;
    let header = header.ok_or(Error::Unauthorized(Reason::NoSignature))?;
    OAuthRequest::read("POST", request.urls(), header, others)
        .map_err(|e| Error::BadRequest(format!("Authorization: {e}")))
}

/// The parameters of the query.
fn query(request: &Request) -> Params {
    form_urlencoded::parse(request.query.raw().as_bytes()).into_owned().collect()
}

schema!(FORM, {
    "type": "object",
    "description": "The parameters of OAuth are in the header `Authorization`. A form is signed with them, and nothing else is done with it",
    "additionalProperties": {"type": "string"},
});

/// A request for a token of OAuth1. RFC 5849 has a form in the body signed too, and Keystone does not.
///
/// # Errors
/// As [`signed`].
pub fn signed_for_token(request: &Request) -> Result<OAuthRequest> {
    let mut both = query(request);
    both.extend(request.form());
    signed(request, vec![query(request), both])
}

/// A login. keystoneauth signs the URL of tokens, and then adds a query.
///
/// # Errors
/// As [`signed`].
pub fn signed_login(request: &Request) -> Result<OAuthRequest> {
    signed(request, vec![Params::new(), query(request)])
}
