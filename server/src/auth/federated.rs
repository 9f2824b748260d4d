//! Users who come through an identity provider: what is said of them, and whom the mapping of their way makes of it. Who
//! says it is decided where requests arrive; here the word is taken. Nothing is stored here.

use std::collections::BTreeMap;

use vicar_rules::arrival::{self, Arrival};
use vicar_rules::mapping::{Mapping, Version};

use super::Parts;
use super::slow::{Said, SlowWork};
use crate::error::{Error, Result};
use crate::facts::federation::{self, Way};
use crate::line::{Came, Line, Tried};
use crate::reason::Reason;
use crate::store::Tx;

/// Groups in the token of a federated user: so many fit into the header of a request.
const MOST_GROUPS: usize = 200;

/// Somebody at the door.
#[derive(Debug)]
pub struct Comer {
    /// By which protocol of which provider.
    pub way: Way,
    /// The protocol's id.
    pub protocol: String,
    /// Whom the mapping makes of them.
    pub arrival: Arrival,
    /// Whether the mapping alone decides what they hold on projects.
    pub decides_alone: bool,
}

/// The way in by a protocol of a provider.
///
/// # Errors
/// 404 if there is none, 403 if the provider is disabled.
pub async fn way(tx: &mut Tx, (provider, protocol): (&str, &str)) -> Result<Way> {
    let no_provider = || Error::NotFound("Identity Provider", provider.to_owned());
    let way = federation::way(tx, provider, protocol).await?.ok_or_else(no_provider)?;
    if !way.enabled {
        return Err(Error::Forbidden(format!("Identity Provider {provider} is disabled")));
    }
    if way.protocol.is_none() {
        return Err(Error::NotFoundBecause(format!(
            "Could not find federated protocol {protocol} for Identity Provider: {provider}."
        )));
    }
    Ok(way)
}

/// Notes, for notifications, that somebody of a provider wants to come in.
pub fn note_try(line: &Line, provider: &str) {
    line.came(Came { provider: provider.to_owned(), ..Came::default() });
}

/// Notes who has come: with the groups that their token names, unless they were here before and only log in this way.
pub fn note(line: &Line, provider: &str, user: &str, groups: Option<&[String]>) {
    line.tried(Tried { user: Some(user.to_owned()), ..Tried::default() });
    line.came(Came {
        provider: provider.to_owned(),
        user: groups.map(|_| user.to_owned()),
        groups: groups.unwrap_or_default().to_vec(),
        token: None,
        is_let_in: true,
    });
}

/// Who comes, by what is said of them; `told` gives an attribute by its name.
///
/// # Errors
/// 401 when it is nobody, 403 when it is not the provider who says so, 404 without a mapping, [`Error::Pending`]
/// until the mapping is evaluated.
pub async fn comer(
    tx: &mut Tx,
    parts: Parts<'_>,
    slow: &mut SlowWork,
    way: Way,
    remote_user: Option<&str>,
    told: impl Fn(&str) -> Result<Option<String>>,
) -> Result<Comer> {
    let nothing_said = || Error::Unauthorized(Reason::NothingSaid);
    let nobody = || Error::Unauthorized(Reason::NotMapped);
    let options = &parts.config.federation;
    let protocol = way.protocol.clone().unwrap_or_default();
    let of = |name: &str| if name.starts_with(&options.attributes) { told(name) } else { Ok(None) };
    let named = way.remote_id.as_deref().filter(|name| !name.is_empty());
    if let Some(name) = named.or_else(|| options.remote_id(&protocol))
        && !way.remote_ids.is_empty()
    {
        let says = of(name)?.ok_or_else(nothing_said)?;
        if !way.remote_ids.contains(&says) {
            return Err(Error::Forbidden(
                "Incoming identity provider identifier not included among the accepted identifiers.".into(),
            ));
        }
    }
    let id = way.mapping.as_deref().unwrap_or_default();
    let stored = federation::mapping(tx, id).await?;
    let (rules, version) = stored.ok_or_else(|| Error::NotFound("mapping", id.to_owned()))?;
    let version = Version::named(&version).unwrap_or(Version::V1);
    let mapping = Mapping::of_rules(rules, version).map_err(|_| nobody())?;
    let mut attributes = BTreeMap::new();
    for name in mapping.attributes() {
        if let Some(value) = of(name)? {
            attributes.insert(name.to_owned(), value);
        }
    }
    let said = attributes.keys().take(20).cloned().collect::<Vec<_>>().join(", ");
    let Some(mapped) = slow.map(Said { mapping, attributes })? else {
        if said.is_empty() {
            return Err(nothing_said());
        }
        let provider = &way.provider;
        tracing::info!(
            provider,
            mapping = id,
            said,
            "federation: the mapping makes nobody of these attributes"
        );
        return Err(nobody());
    };
    let arrival = arrival::arrival(&mapped, remote_user).map_err(|_| nobody())?;
    if arrival.group_ids.len() + arrival.groups.len() > MOST_GROUPS {
        return Err(Error::Forbidden(format!(
            "The mapping says more than the {MOST_GROUPS} groups that a token has room for."
        )));
    }
    Ok(Comer { way, protocol, arrival, decides_alone: version >= Version::V3 })
}
