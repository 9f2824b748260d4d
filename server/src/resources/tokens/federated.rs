//! Logins through identity providers at addresses of their own.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::http::{LoggedIn, log_in};
use crate::auth::external::Remote;
use crate::auth::federated;
use crate::auth::fernet::Federated;
use crate::auth::render::render;
use crate::authz::Writing;
use crate::error::{Error, Result};
use crate::facts::workloads::Signed;
use crate::http::request::{SUBJECT_TOKEN, rendered, with_header};
use crate::resources::federation::arrivals::{self, Arrived};

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

/// Where somebody came from.
#[derive(Default)]
pub(super) struct Came {
    /// By which protocol of which provider; nothing for a user who was here before and only logs in this way.
    pub(super) federated: Option<Federated>,
    /// Which workload it is, where the provider has signed it.
    pub(super) workload: Option<Signed>,
}

/// Receives who comes through the identity provider that a login names, as a front server says of them.
pub(super) async fn arrive(
    s: &mut Writing<'_>,
    method: &str,
    mut data: Map<String, Value>,
    remote: Option<&Remote>,
) -> Result<(Arrived, Came)> {
    let mut part = |name: &str| match data.remove(name) {
        Some(Value::String(text)) => Ok(text),
        _ => {
            Err(Error::BadRequest(format!("auth.identity.{method}.{name}: is required and must be a string")))
        }
    };
    let (provider, protocol) = (part("identity_provider")?, part("protocol")?);
    let user = remote.map(|remote| remote.user.as_str());
    let (request, told) = (s.request, &s.app.config.federation);
    let at = (provider.as_str(), protocol.as_str());
    let way = federated::way(&mut s.tx, at).await?;
    federated::note_try(&request.line, &provider);
    // Whoever shows a token has chosen, whatever a front server says.
    let bearer = match s.app.providers.has(&provider, &protocol) {
        true => request.bearer()?,
        false => None,
    };
    let mut workload = None;
    let said = match (s.slow.came(), bearer) {
        (None, Some(token)) => Some(s.slow.bearer(at, token)?),
        (came, _) => came,
    };
    let comer = match said {
        Some(said) => {
            workload = Some(Signed { provider: provider.clone(), workload: said.workload });
            let of = |name: &str| Ok(said.attributes.get(name).cloned());
            federated::comer(&mut s.tx, s.app.auth(), s.slow, way, None, of).await?
        }
        None => {
            let of = |name: &str| match (name, user) {
                ("REMOTE_USER", Some(user)) => Ok(Some(user.to_owned())),
                _ => request.told_attribute(&told.from, &told.headers, name),
            };
            federated::comer(&mut s.tx, s.app.auth(), s.slow, way, user, of).await?
        }
    };
    let arrived = arrivals::receive(s, &comer).await?;
    federated::note(&request.line, &provider, &arrived.user, arrived.groups.as_deref());
    let groups = arrived.groups.clone();
    let federated = groups.map(|groups| Federated { provider, protocol, groups });
    Ok((arrived, Came { federated, workload }))
}
