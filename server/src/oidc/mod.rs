//! Providers of OpenID Connect: what they say of themselves, their keys, and whether a token is theirs.
//!
//! What is fetched is remembered for the time that the configuration states, and never used beyond it. Each call has a
//! deadline, and whatever is read has a limit.

mod client;
mod fetch;
mod jws;
mod pinned;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use url::Url;
use vicar_rules::Micros;
use vicar_rules::binding::Workload;

pub use self::client::Code;
use self::client::{Endpoints, MOST_CALLS};
use self::fetch::Fetch;
use self::jws::{Fault, Key, Unverified};
use crate::clock::SECOND;
use crate::config::oidc::{Jwks, Oidc, is_trustworthy};

/// After so long a provider is asked again whose keys did not have a token's, or that did not answer.
const PAUSE: Micros = 10 * SECOND;

/// So many claims of a token are looked at.
const MOST_CLAIMS: usize = 200;

/// What a provider says of somebody, by the names of attributes.
pub type Attributes = BTreeMap<String, String>;

/// The bearer of a token, by the word of its provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// What it says of them.
    pub attributes: Attributes,
    /// Who they are there.
    pub workload: Workload,
}

/// Why a token lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is not the provider's, not for this service, or over. The log says which.
    NotTheirs,
    /// Whether it is cannot be told before so many seconds are over: the provider is away, or not who it was.
    Unknown(u32),
}

/// All providers that are configured.
#[derive(Debug)]
pub struct Providers(Vec<Provider>);

#[derive(Debug)]
struct Provider {
    options: Oidc,
    fetch: Fetch,
    known: Mutex<Known>,
    /// Who asks the provider; the others wait for what it says.
    asking: Semaphore,
    /// What it has said last of where it does what.
    endpoints: Mutex<Endpoints>,
    /// Calls that are made as its client.
    calls: Semaphore,
}

/// What a provider has said.
#[derive(Debug, Default, Clone)]
struct Known {
    keys: Arc<Vec<Key>>,
    /// When.
    at: Option<Micros>,
    /// When it was asked last.
    tried: Option<Micros>,
}

impl Providers {
    /// Of what is configured. Nobody is asked yet.
    ///
    /// # Errors
    /// A sentence for the operator, when a file with certificates or keys cannot be used.
    pub fn new(options: &[Oidc]) -> Result<Self, String> {
        let one = |options: &Oidc| {
            let keys = options.keys_file().map(|file| pinned::read(file, options)).transpose()?;
            Ok(Provider {
                fetch: Fetch::new(options)?,
                options: options.clone(),
                known: Mutex::new(Known { keys: Arc::new(keys.unwrap_or_default()), ..Known::default() }),
                asking: Semaphore::new(1),
                endpoints: Mutex::default(),
                calls: Semaphore::new(MOST_CALLS),
            })
        };
        Ok(Self(options.iter().map(one).collect::<Result<_, String>>()?))
    }

    /// Whether a token by this protocol of this provider can be judged here.
    pub fn has(&self, provider: &str, protocol: &str) -> bool {
        self.find(provider, protocol).is_some()
    }

    /// Whether workloads can have come by this protocol of a provider: by the one that is configured for it, or by any where
    /// none is any more.
    pub fn may_come(&self, provider: &str, protocol: &str) -> bool {
        let found = self.0.iter().find(|p| p.options.provider == provider);
        found.is_none_or(|found| found.options.protocol == protocol)
    }

    /// Whether there is a provider with this issuer.
    pub fn has_issuer(&self, issuer: &str) -> bool {
        self.0.iter().any(|provider| provider.options.issuer == issuer)
    }

    fn find(&self, provider: &str, protocol: &str) -> Option<&Provider> {
        self.0.iter().find(|p| p.options.provider == provider && p.options.protocol == protocol)
    }

    /// What a provider says of the bearer of a token.
    ///
    /// # Errors
    /// [`Refusal`] when it says nothing, or cannot be asked.
    pub async fn bearer(
        &self,
        (provider, protocol): (&str, &str),
        token: &str,
        now: Micros,
    ) -> Result<Bearer, Refusal> {
        let found = self.find(provider, protocol).ok_or(Refusal::NotTheirs)?;
        let judged = found.judge(token, now).await;
        if let Err((why, refusal)) = &judged {
            match refusal {
                Refusal::NotTheirs => tracing::info!(provider, why, "federation: a token is refused"),
                Refusal::Unknown(_) => tracing::warn!(provider, why, "federation: a token cannot be judged"),
            }
        }
        judged.map_err(|(_, refusal)| refusal)
    }
}

/// Whether a provider that is asked by `https` says to ask by `http`: that leads to this machine, where it has no business.
fn leads_down(issuer: &str, url: &Url) -> bool {
    url.scheme() == "http" && !issuer.starts_with("http:")
}

type Judged<T> = Result<T, (String, Refusal)>;

fn not_theirs(why: impl Into<String>) -> (String, Refusal) {
    (why.into(), Refusal::NotTheirs)
}

/// The start of what a provider has said, for the log.
fn excerpt(said: &str) -> String {
    said.chars().take(200).collect()
}

impl Provider {
    async fn judge(&self, token: &str, now: Micros) -> Judged<Bearer> {
        if self.introspects(token) {
            return self.introspect(token, now).await;
        }
        let token = Unverified::read(token).map_err(not_theirs)?;
        let keys = self.keys(now).await?;
        let claims = match token.verify(&keys).map_err(not_theirs)? {
            Some(claims) => claims,
            None => {
                let keys = self.other_keys(now).await?;
                token
                    .verify(&keys)
                    .map_err(not_theirs)?
                    .ok_or(not_theirs("no key of the provider fits it"))?
            }
        };
        let claims = pinned::named(claims, &self.options);
        let workload = check(&claims, &self.options, now).map_err(not_theirs)?;
        Ok(Bearer { attributes: attributes(&claims, &self.options.prefix), workload })
    }

    fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The provider's keys. From the middle of their time on it is asked for them anew, and goes on with the old ones while it
    /// does not answer; beyond their time these are none.
    async fn keys(&self, now: Micros) -> Judged<Arc<Vec<Key>>> {
        let known = self.known();
        if self.options.keys_file().is_some() {
            return Ok(known.keys);
        }
        let age = known.at.map_or(Micros::MAX, |at| now.saturating_sub(at));
        if age < self.options.lifetime / 2 {
            return Ok(known.keys);
        }
        let asked = self.ask(now, known.at).await;
        let known = self.known();
        match known.at {
            Some(at) if now.saturating_sub(at) < self.options.lifetime => Ok(known.keys),
            _ => Err(asked.err().unwrap_or_else(|| unknown("it did not answer", now, known.tried))),
        }
    }

    /// The provider's keys after a token that has none of those that are known: it may have others by now.
    async fn other_keys(&self, now: Micros) -> Judged<Arc<Vec<Key>>> {
        let before = self.known();
        if self.options.keys_file().is_some() {
            return Ok(before.keys);
        }
        if before.at.is_none_or(|at| now.saturating_sub(at) >= PAUSE) {
            self.ask(now, before.at).await?;
        }
        Ok(self.known().keys)
    }

    /// Asks the provider, unless somebody else has meanwhile, or it has failed just before. `seen` is when it said what the
    /// asker knows.
    async fn ask(&self, now: Micros, seen: Option<Micros>) -> Judged<()> {
        let closed = || unknown("the server stops", now, None);
        let _turn = tokio::time::timeout(self.options.timeout * 2, self.asking.acquire())
            .await
            .map_err(|_| unknown("too many wait for it", now, None))?
            .map_err(|_| closed())?;
        let known = self.known();
        if known.at != seen {
            return Ok(());
        }
        if known.tried.is_some_and(|tried| {
            tried != known.at.unwrap_or(Micros::MIN) && now.saturating_sub(tried) < PAUSE
        }) {
            return Err(unknown("it did not answer a moment ago", now, known.tried));
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).tried = Some(now);
        let keys = self.fetched().await.map_err(|why| unknown(&why, now, Some(now)))?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) =
            Known { keys: Arc::new(keys), at: Some(now), tried: Some(now) };
        Ok(())
    }

    /// The keys, from their URL: the pinned one, or the one of what the provider says of itself.
    async fn fetched(&self) -> Result<Vec<Key>, String> {
        let read = |set: &Value, at: &str| {
            Key::all(set, pinned::own_use(&self.options)).map_err(|why| format!("{at}: {why}"))
        };
        if let Some(Jwks::Url(keys)) = &self.options.jwks {
            return read(&self.fetch.get(keys).await?, keys);
        }
        let issuer = &self.options.issuer;
        let at = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let metadata = self.fetch.get(&at).await?;
        let named = metadata.get("issuer").and_then(Value::as_str).unwrap_or_default();
        if named != issuer {
            return Err(format!("{at}: it is another issuer's, {}, and not {issuer}", excerpt(named)));
        }
        *self.endpoints.lock().unwrap_or_else(PoisonError::into_inner) = Endpoints::of(issuer, &metadata);
        let keys = metadata.get("jwks_uri").and_then(Value::as_str).unwrap_or_default();
        if !Url::parse(keys).is_ok_and(|url| is_trustworthy(&url) && !leads_down(issuer, &url)) {
            return Err(format!("{at}: its jwks_uri is no URL that is asked"));
        }
        read(&self.fetch.get(keys).await?, keys)
    }
}

/// The provider is to be asked again after the pause.
fn unknown(why: &str, now: Micros, tried: Option<Micros>) -> (String, Refusal) {
    let rest = tried.map_or(SECOND, |tried| tried.saturating_add(PAUSE).saturating_sub(now));
    let seconds = u32::try_from(rest.max(0) / SECOND).unwrap_or(1).clamp(1, 10);
    (why.to_owned(), Refusal::Unknown(seconds))
}

/// Whose token it is by verified claims, if it is one for this service that is good now.
fn check(claims: &Map<String, Value>, options: &Oidc, now: Micros) -> Result<Workload, String> {
    let issuer = claims.get("iss").and_then(Value::as_str);
    if issuer != Some(&options.issuer) {
        let named = excerpt(issuer.unwrap_or("nobody"));
        return Err(format!("it is another issuer's, {named}, and not {}", options.issuer));
    }
    let is_ours =
        |value: &Value| value.as_str().is_some_and(|aud| options.audience.iter().any(|ours| ours == aud));
    let audiences = match claims.get("aud") {
        Some(Value::Array(all)) => all.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    if !audiences.iter().any(is_ours) {
        let named = audiences.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
        return Err(format!(
            "it is for somebody else: [{}], and not [{}]",
            excerpt(&named),
            options.audience.join(", ")
        ));
    }
    check_rest(claims, options, now)?;
    match claims.get("sub").and_then(Value::as_str) {
        Some(sub) if options.trust_domain().is_some_and(|domain| !pinned::is_within(domain, sub)) => {
            Err(format!("its subject is not of the trust domain: {}", excerpt(sub)))
        }
        Some(sub) if !sub.is_empty() => Ok(Workload {
            issuer: options.issuer.clone(),
            subject: sub.to_owned(),
            audiences: audiences.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        }),
        _ => Err("it names no user".to_owned()),
    }
}

/// Whether a token is for whoever shows it, and now.
fn check_rest(claims: &Map<String, Value>, options: &Oidc, now: Micros) -> Result<(), Fault> {
    // Whoever only has the token cannot use one that is bound to a key.
    if claims.contains_key("cnf") {
        return Err("it is bound to a key");
    }
    let instant =
        |name: &str| claims.get(name).map(|value| value.as_f64().ok_or("a time in it is no number"));
    #[expect(clippy::cast_precision_loss, reason = "seconds are far below what is exact")]
    let (now, skew) = ((now / SECOND) as f64, (options.skew / SECOND) as f64);
    if instant("exp").ok_or("it has no end")?? + skew <= now {
        return Err("its time is over");
    }
    for name in ["nbf", "iat"] {
        if let Some(at) = instant(name)
            && at? - skew > now
        {
            return Err("its time has not come");
        }
    }
    Ok(())
}

/// Claims as attributes: each by its name behind the prefix, and as WSGI would show a header of that name, so that mappings fit
/// which are made for `mod_auth_openidc`. Values are written as that writes them; lists have semicolons, and a value with one in
/// it, which a mapping would read as several, is left out.
fn attributes(claims: &Map<String, Value>, prefix: &str) -> Attributes {
    let mut all = Attributes::new();
    let mut twice = Vec::new();
    for (name, value) in claims.iter().take(MOST_CLAIMS) {
        let Some(text) = text(value) else { continue };
        let own = format!("{prefix}{name}");
        let shown = format!("HTTP_{}", own.to_ascii_uppercase().replace('-', "_"));
        if all.insert(shown.clone(), text.clone()).is_some() {
            twice.push(shown);
        }
        all.insert(own, text);
    }
    twice.iter().for_each(|name| drop(all.remove(name)));
    all
}

fn text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::String(text) if text.contains(';') => return None,
        Value::String(text) => text.clone(),
        Value::Bool(flag) => u8::from(*flag).to_string(),
        Value::Number(number) => number.to_string(),
        Value::Array(all) => {
            all.iter().filter_map(text).filter(|one| !one.contains(';')).collect::<Vec<_>>().join(";")
        }
        Value::Object(_) => Some(value.to_string()).filter(|text| !text.contains(';'))?,
    })
}

#[cfg(test)]
mod tests;
