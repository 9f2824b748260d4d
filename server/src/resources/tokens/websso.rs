//! Logins through a browser: whoever comes from a dashboard goes back to it with a token, by a form that submits itself.

use axum::response::Response;
use percent_encoding::percent_decode_str;

use super::http::LoggedIn;
use super::{browser, federated};
use crate::authz::Writing;
use crate::error::{Error, Result};
use crate::facts::federation as facts;
use crate::reason::Reason;
use crate::schema;

schema!(QUERY, {
    "type": "object",
    "properties": {"origin": {"type": "string", "description": "The page that gets the token: one of `[federation] trusted_dashboard`"}},
});

/// `GET` and `POST /v3/auth/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/websso`
pub async fn by_provider(s: &mut Writing<'_>) -> Result<Response> {
    let origin = origin(s)?;
    let (provider, protocol) = (s.param("idp_id")?, s.param("protocol_id")?);
    let told = &s.app.config.federation;
    let has_said = s.request.is_told(&told.from, &told.headers) || s.request.bearer()?.is_some();
    match s.app.providers.client(provider, protocol) {
        Some(_) if !has_said => browser::begin(s, provider, origin).await,
        _ => log_in(s, (provider, protocol), &origin).await,
    }
}

/// `GET` and `POST /v3/auth/OS-FEDERATION/websso/{protocol_id}`: which provider it is says the attribute with its own id.
pub async fn by_protocol(s: &mut Writing<'_>) -> Result<Response> {
    let protocol = s.param("protocol_id")?;
    let (app, request) = (s.app, s.request);
    let told = &app.config.federation;
    let named = facts::remote_id_attributes(&mut s.tx, protocol).await?;
    let default = told.remote_id(protocol);
    let mut says = None;
    for name in named.iter().map(|name| name.as_deref().filter(|name| !name.is_empty()).or(default)) {
        let Some(name) = name else { continue };
        says = request.told_attribute(&told.from, &told.headers, name)?;
        if says.is_some() {
            break;
        }
    }
    let Some(says) = says else {
        let sent = match app.providers.of_browsers(protocol).as_slice() {
            [] => return Err(Error::Unauthorized(Reason::NothingSaid)),
            [one] => (*one).to_owned(),
            _ => {
                return Err(Error::BadRequest(format!(
                    "several identity providers have the protocol {protocol}: name one of them in the path, as \
                     .../identity_providers/ID/protocols/{protocol}/websso"
                )));
            }
        };
        let origin = origin(s)?;
        return browser::begin(s, &sent, origin).await;
    };
    let origin = origin(s)?;
    let provider = facts::provider_called(&mut s.tx, &says).await?;
    let provider = provider.ok_or_else(|| Error::NotFound("Identity Provider", says))?;
    log_in(s, (&provider, protocol), &origin).await
}

/// Logs in whoever comes, and takes the token to `origin`.
pub(super) async fn log_in(s: &mut Writing<'_>, way: (&str, &str), origin: &str) -> Result<Response> {
    match federated::by(s, way).await? {
        LoggedIn::Whole(text, _) => Ok(s.app.sso.answer(origin, &text)),
        LoggedIn::Started(answer) => Ok(answer),
    }
}

/// Where the token shall go. A Keystone decodes it twice, too.
fn origin(s: &Writing<'_>) -> Result<String> {
    let asked = s.query()?.get("origin").filter(|origin| !origin.is_empty());
    let asked = asked
        .ok_or_else(|| Error::BadRequest("Request must have an origin query parameter".into()))?
        .replace('+', " ");
    let origin = percent_decode_str(&asked).decode_utf8_lossy();
    trusted(s, &origin)?;
    Ok(origin.into_owned())
}

/// Refuses to take a token anywhere else than to a dashboard.
pub(super) fn trusted(s: &Writing<'_>, origin: &str) -> Result<()> {
    if s.app.config.federation.dashboards.iter().any(|trusted| trusted == origin) {
        return Ok(());
    }
    let asked: String = origin.chars().take(200).collect();
    tracing::info!(
        ?asked,
        "federation: a page that is none of [federation] trusted_dashboard shall get a token"
    );
    Err(Error::Unauthorized(Reason::UntrustedDashboard))
}
