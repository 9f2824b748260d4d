//! Logins through identity providers at addresses of their own.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, json};

use super::http::{LoggedIn, log_in};
use crate::auth::render::render;
use crate::authz::Writing;
use crate::error::Result;
use crate::http::request::{SUBJECT_TOKEN, rendered, with_header};

/// `GET` and `POST /v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/auth`: the login method is the
/// protocol, as in Keystone.
pub async fn auth(s: &mut Writing<'_>) -> Result<Response> {
    let (text, token) = match by(s, (s.param("idp_id")?, s.param("protocol_id")?)).await? {
        LoggedIn::Whole(text, token) => (text, token),
        LoggedIn::Started(answer) => return Ok(answer),
    };
    let shown = render(&mut s.tx, &s.app.config, &token, true).await?;
    Ok(with_header(rendered(StatusCode::CREATED, shown.body()), SUBJECT_TOKEN, &text))
}

/// A login by a protocol of a provider.
///
/// # Errors
/// Those of [`log_in`].
pub(super) async fn by(s: &mut Writing<'_>, (provider, protocol): (&str, &str)) -> Result<LoggedIn> {
    let identity =
        json!({"methods": [protocol], protocol: {"identity_provider": provider, "protocol": protocol}});
    log_in(s, Map::from_iter([("identity".to_owned(), identity)])).await
}
