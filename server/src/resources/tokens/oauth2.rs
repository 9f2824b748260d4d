//! `POST /v3/OS-OAUTH2/token`: a token for the id and the secret of an application credential, as RFC 6749 asks for
//! it, which is a token like any other; or one for a certificate, which is bound to that.

use axum::http::header;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, json};

use super::http::{LoggedIn, log_in};
use crate::auth::application_credential::METHOD;
use crate::auth::token::Token;
use crate::auth::{certificate, issue};
use crate::authz::Writing;
use crate::clock::SECOND;
use crate::error::{Error, Result};
use crate::http::client_certificate;
use crate::http::request::{ok, with_header};
use crate::reason::Reason;
use crate::schema;

/// The ways to authenticate here, as `[oauth2] oauth2_authn_methods` names them.
const BY_SECRET: &str = "client_secret_basic";
const BY_CERTIFICATE: &str = "tls_client_auth";

const FAILED: Error = Error::UnauthorizedBecause(Reason::NoSuchMethod, "Client authentication failed.");

schema!(FORM, {
    "type": "object",
    "required": ["grant_type"],
    "properties": {
        "grant_type": {"enum": ["client_credentials"]},
        "client_id": {
            "type": "string",
            "description": "The application credential's id, where no header `Authorization` with `Basic` has it",
        },
        "client_secret": {"type": "string", "description": "Its secret, likewise"},
    },
});

/// `POST /v3/OS-OAUTH2/token`
pub async fn token(s: &mut Writing<'_>) -> Result<Response> {
    let form = s.request.form();
    let field = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    match field("grant_type") {
        None => return Err(Error::BadRequest("The parameter grant_type is required.".into())),
        Some(kind) if kind == "client_credentials" => {}
        Some(_) => {
            return Err(Error::UnsupportedGrantType("This grant type is not supported.".into()));
        }
    }
    let has = |method: &str| s.app.config.oauth2_authn_methods.iter().any(|m| m == method);
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    // As in Keystone, who shows a certificate has chosen, whatever else comes along and in whichever order the methods are.
    if let Some(der) = client_certificate::of(s.request, &s.app.config.client_certificates, s.now)? {
        return match some(field("client_id")) {
            Some(id) if has(BY_CERTIFICATE) => by_certificate(s, &id, &der).await,
            _ => Err(FAILED),
        };
    }
    let (id, secret) = match basic(s)? {
        Some((id, secret)) => (Some(id), Some(secret)),
        None => (field("client_id"), field("client_secret")),
    };
    let (Some(id), Some(secret), true) = (some(id), some(secret), has(BY_SECRET)) else {
        return Err(FAILED);
    };
    let identity = json!({"methods": [METHOD], METHOD: {"id": id, "secret": secret}});
    let login = log_in(s, Map::from_iter([("identity".to_owned(), identity)])).await?;
    // A client has no other method that it could add.
    let LoggedIn::Whole(text, token) = login else { return Err(FAILED) };
    Ok(answer(&text, &token))
}

/// A token for the user whose certificate it is, bound to that.
async fn by_certificate(s: &mut Writing<'_>, id: &str, der: &[u8]) -> Result<Response> {
    let passed = certificate::login(&mut s.tx, s.app.auth(), s.slow, id, der, &s.request.line).await?;
    let (who, wanted) = (passed.identity(), passed.scope());
    let (text, token) = issue::issue(&mut s.tx, s.app.auth(), who, &wanted, s.now).await?;
    passed.record(&mut s.tx, s.app.auth(), s.now).await?;
    s.request.line.subject(token.ids());
    s.after_commit(|metrics| {
        metrics.tokens_issued.inc();
    });
    Ok(answer(&text, &token))
}

fn answer(text: &str, token: &Token) -> Response {
    let lives = (token.payload.expires - token.payload.issued).div_euclid(SECOND);
    let answer = ok(json!({"access_token": text, "token_type": "Bearer", "expires_in": lives}));
    with_header(answer, header::CACHE_CONTROL, "no-store")
}

/// The id and the secret of the header, if it has these.
fn basic(s: &Writing<'_>) -> Result<Option<(String, String)>> {
    let Some((scheme, encoded)) = s.request.header(&header::AUTHORIZATION)?.and_then(|h| h.split_once(' '))
    else {
        return Ok(None);
    };
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(None);
    }
    let plain = STANDARD.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let (id, secret) = plain.as_deref().and_then(|plain| plain.split_once(':')).ok_or(FAILED)?;
    Ok(Some((id.to_owned(), secret.to_owned())))
}
