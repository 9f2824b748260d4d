//! Logins through a browser that this server takes to an identity provider itself: the code flow of OpenID Connect with
//! PKCE. What has to be known when the browser comes back is in a cookie that only this server reads, so any replica can
//! go on.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use url::Url;

use super::websso;
use crate::auth::begun::{Begun, LONGEST};
use crate::auth::federated;
use crate::authz::Writing;
use crate::clock::SECOND;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::http::Request;
use crate::http::request::with_header;
use crate::reason::Reason;
use crate::schema;

/// Where browsers come back to.
pub const CALLBACK: &str = "/v3/auth/OS-FEDERATION/oidc/callback";

/// The cookie's name.
const COOKIE: &str = "vicar-oidc";

schema!(QUERY, {
    "type": "object",
    "properties": {
        "code": {"type": "string"},
        "state": {"type": "string"},
        "iss": {"type": "string"},
        "error": {"type": "string"},
    },
});

/// The redirect URI, by the configuration alone: the host that a request names could be any.
fn redirect_uri(config: &Config) -> Result<String> {
    let base = config.public_endpoint.as_ref();
    base.map(|base| format!("{base}{CALLBACK}"))
        .ok_or(Error::NotConfigured("logins through a browser need `[DEFAULT] public_endpoint`"))
}

/// Sends a browser to the provider; with what it comes back, its token goes to `origin`.
///
/// # Errors
/// 403 and 404 as for a login, 503 when the provider does not say where it logs people in.
pub(super) async fn begin(s: &mut Writing<'_>, provider: &str, origin: String) -> Result<Response> {
    let protocol = s.param("protocol_id")?;
    let at = (provider, protocol);
    federated::way(&mut s.tx, at).await?;
    // Nobody types a password for a login that is refused when they are back.
    if !s.app.config.auth_methods.iter().any(|method| method == protocol) {
        return Err(super::http::UNSUPPORTED);
    }
    let client = s.app.providers.client(provider, protocol);
    let client = client.ok_or_else(|| Error::Internal("no client of the provider".into()))?;
    let redirect = redirect_uri(&s.app.config)?;
    let door = s.slow.door(at)?;
    let mut door = Url::parse(&door).map_err(|e| Error::Internal(e.to_string()))?;
    let begun = Begun::new(at, origin, s.now);
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&begun.verifier));
    door.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &client.id)
        .append_pair("redirect_uri", &redirect)
        .append_pair("scope", &client.scope)
        .append_pair("state", &begun.state)
        .append_pair("nonce", &begun.nonce)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    let keys = s.app.token_keys.current().map_err(Error::Internal)?;
    let sealed = begun.seal(&keys, s.now).ok_or_else(|| Error::Internal("no key of tokens".into()))?;
    let answer = with_header(StatusCode::FOUND.into_response(), header::LOCATION, door.as_str());
    let answer = with_header(answer, header::CACHE_CONTROL, "no-store");
    Ok(with_cookie(answer, &redirect, &sealed, LONGEST / SECOND))
}

/// `GET /v3/auth/OS-FEDERATION/oidc/callback`: a browser comes back from the provider.
pub async fn callback(s: &mut Writing<'_>) -> Result<Response> {
    let query = s.query()?;
    let keys = s.app.token_keys.current().map_err(Error::Internal)?;
    let begun = cookies(s.request).find_map(|text| Begun::open(&keys, text, s.now));
    let begun = begun
        .filter(|begun| query.get("state") == Some(&begun.state))
        .ok_or(Error::Unauthorized(Reason::NoLoginBegun))?;
    let at = (begun.provider.as_str(), begun.protocol.as_str());
    let providers = &s.app.providers;
    // Of another provider's answer nothing is sent to this one (RFC 9207).
    if query.get("iss").is_some_and(|issuer| !providers.is_called(at.0, at.1, issuer)) {
        return Err(Error::Unauthorized(Reason::NoLoginBegun));
    }
    if let Some(error) = query.get("error") {
        let error: String = error.chars().take(64).collect();
        tracing::info!(provider = at.0, ?error, "federation: the provider lets nobody in");
        return Err(Error::Unauthorized(Reason::NotTheProviders));
    }
    let code = query.get("code").filter(|code| !code.is_empty());
    let code = code.ok_or_else(|| Error::field("code", "is required in the query"))?.to_owned();
    websso::trusted(s, &begun.origin)?;
    federated::way(&mut s.tx, at).await?;
    let redirect = redirect_uri(&s.app.config)?;
    s.slow.come_with(at, begun.code(code, &redirect))?;
    let answer = websso::log_in(s, at, &begun.origin).await?;
    Ok(with_cookie(answer, &redirect, "", 0))
}

/// The values of our cookie, of which there may be others for names above this one.
fn cookies(request: &Request) -> impl Iterator<Item = &str> {
    let pairs = request.all(&header::COOKIE).flat_map(|text| text.split(';'));
    pairs.filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('=')).take(8)
}

/// An answer with our cookie, for so many seconds. It is for the callback alone.
fn with_cookie(mut answer: Response, redirect: &str, value: &str, seconds: i64) -> Response {
    let path = Url::parse(redirect).map(|url| url.path().to_owned()).unwrap_or_default();
    let secure = if redirect.starts_with("https:") { "; Secure" } else { "" };
    let text = format!("{COOKIE}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(text) = HeaderValue::from_str(&text) {
        answer.headers_mut().append(header::SET_COOKIE, text);
    }
    answer
}
