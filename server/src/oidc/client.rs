//! This server as a client of its providers: codes of logins through a browser, and access tokens that nobody but the provider
//! can read.

use serde_json::{Map, Value};
use url::Url;

use super::jws::Unverified;
use super::{
    Bearer, Judged, Provider, Providers, Refusal, attributes, check, leads_down, not_theirs, unknown,
};
use crate::clock::SECOND;
use crate::config::oidc::{Client, Oidc, is_trustworthy};
use vicar_rules::Micros;

/// So many calls to one provider at a time.
pub(super) const MOST_CALLS: usize = 16;

/// The longest access token that a provider is asked about, in bytes.
const LONGEST: usize = 16 << 10;

/// Where a provider does what, by its metadata.
#[derive(Debug, Default, Clone)]
pub(super) struct Endpoints {
    authorization: Option<String>,
    token: Option<String>,
    introspection: Option<String>,
}

impl Endpoints {
    pub(super) fn of(issuer: &str, metadata: &Value) -> Self {
        let is_good =
            |url: &&str| Url::parse(url).is_ok_and(|url| is_trustworthy(&url) && !leads_down(issuer, &url));
        let at = |name: &str| metadata.get(name).and_then(Value::as_str).filter(is_good).map(str::to_owned);
        Self {
            authorization: at("authorization_endpoint"),
            token: at("token_endpoint"),
            introspection: at("introspection_endpoint"),
        }
    }
}

/// What a browser has brought from a provider, with what was kept of the login that it belongs to.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    /// The code.
    pub code: String,
    /// What proves that whoever has the code has begun the login (PKCE).
    pub verifier: String,
    /// What the ID token has to have in `nonce`.
    pub nonce: String,
    /// Where the browser was sent.
    pub redirect: String,
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Code").field("redirect", &self.redirect).finish_non_exhaustive()
    }
}

impl Providers {
    /// This server as a client of a provider, if browsers come by this protocol of it.
    pub fn client(&self, provider: &str, protocol: &str) -> Option<&Client> {
        self.find(provider, protocol)?.options.client.as_ref()
    }

    /// The providers whose browsers come by this protocol.
    pub fn of_browsers(&self, protocol: &str) -> Vec<&str> {
        let sends = |options: &&Oidc| options.protocol == protocol && options.client.is_some();
        self.0.iter().map(|p| &p.options).filter(sends).map(|options| options.provider.as_str()).collect()
    }

    /// Whether it is the provider that calls itself so.
    pub fn is_called(&self, provider: &str, protocol: &str, issuer: &str) -> bool {
        self.find(provider, protocol).is_some_and(|found| found.options.issuer == issuer)
    }

    /// Where a provider logs people in.
    ///
    /// # Errors
    /// [`Refusal`] when it cannot be asked, or says nowhere.
    pub async fn door(&self, (provider, protocol): (&str, &str), now: Micros) -> Result<String, Refusal> {
        let found = self.find(provider, protocol).ok_or(Refusal::NotTheirs)?;
        let at = found.endpoint("authorization_endpoint", |all| all.authorization.clone(), now).await;
        said(provider, at)
    }

    /// What a provider says of whoever has brought a code.
    ///
    /// # Errors
    /// [`Refusal`] when it says nothing, or cannot be asked.
    pub async fn by_code(
        &self,
        (provider, protocol): (&str, &str),
        code: &Code,
        now: Micros,
    ) -> Result<Bearer, Refusal> {
        let found = self.find(provider, protocol).ok_or(Refusal::NotTheirs)?;
        said(provider, found.exchange(code, now).await)
    }
}

/// Logs why there is nothing.
pub(super) fn said<T>(provider: &str, judged: Judged<T>) -> Result<T, Refusal> {
    judged.map_err(|(why, refusal)| {
        match refusal {
            Refusal::NotTheirs => tracing::info!(provider, why, "federation: a login is refused"),
            Refusal::Unknown(_) => tracing::warn!(provider, why, "federation: a login cannot be judged"),
        }
        refusal
    })
}

impl Provider {
    async fn endpoint(
        &self,
        name: &str,
        of: impl Fn(&Endpoints) -> Option<String>,
        now: Micros,
    ) -> Judged<String> {
        // What it says of itself is as old as its keys.
        self.keys(now).await?;
        let at = of(&self.endpoints.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        at.ok_or_else(|| unknown(&format!("its metadata has no {name} that is asked"), now, Some(now)))
    }

    async fn exchange(&self, code: &Code, now: Micros) -> Judged<Bearer> {
        let client = self.options.client.as_ref().ok_or(not_theirs("this server is no client of it"))?;
        let at = self.endpoint("token_endpoint", |all| all.token.clone(), now).await?;
        let form: [(&str, &str); 4] = [
            ("grant_type", "authorization_code"),
            ("code", &code.code),
            ("redirect_uri", &code.redirect),
            ("code_verifier", &code.verifier),
        ];
        let said = self.call(&at, client, &form, now).await?;
        let token = said.get("id_token").and_then(Value::as_str);
        let token = token.ok_or(not_theirs("no ID token came for the code"))?;
        let claims = self.signed(&Unverified::read(token).map_err(not_theirs)?, now).await?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("nonce") != Some(&code.nonce) {
            return Err(not_theirs("its ID token is of another login"));
        }
        let is_for_several = claims.get("aud").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
        match claims.get("azp") {
            None if !is_for_several => {}
            Some(Value::String(azp)) if *azp == client.id => {}
            _ => return Err(not_theirs("its ID token was given to another client")),
        }
        self.bearer(&claims, &client.id, now)
    }

    /// The claims of a token by their signature, which may be one of a new key.
    async fn signed(&self, token: &Unverified<'_>, now: Micros) -> Judged<Map<String, Value>> {
        if let Some(claims) = token.verify(&self.keys(now).await?).map_err(not_theirs)? {
            return Ok(claims.clone());
        }
        let claims = token.verify(&self.other_keys(now).await?).map_err(not_theirs)?;
        claims.cloned().ok_or(not_theirs("no key of the provider fits it"))
    }

    /// Whom claims are about that are for this audience alone.
    fn bearer(&self, claims: &Map<String, Value>, audience: &str, now: Micros) -> Judged<Bearer> {
        let options = Oidc { audience: vec![audience.to_owned()], ..self.options.clone() };
        let workload = check(claims, &options, now).map_err(not_theirs)?;
        Ok(Bearer { attributes: attributes(claims, &options.prefix), workload })
    }

    /// Whether the provider is to be asked about a token: one that is none of those that are signed.
    pub(super) fn introspects(&self, token: &str) -> bool {
        self.options.introspection && token.split('.').count() != 3
    }

    /// What the provider says of a token now (RFC 7662). It is remembered nowhere.
    pub(super) async fn introspect(&self, token: &str, now: Micros) -> Judged<Bearer> {
        if token.len() > LONGEST {
            return Err(not_theirs("it is longer than 16 KiB"));
        }
        let client = self.options.client.as_ref().ok_or(not_theirs("this server is no client of it"))?;
        let at = self.endpoint("introspection_endpoint", |all| all.introspection.clone(), now).await?;
        let form = [("token", token), ("token_type_hint", "access_token")];
        let Value::Object(mut claims) = self.call(&at, client, &form, now).await? else {
            return Err(unknown(&format!("{at}: its answer is no object"), now, Some(now)));
        };
        if claims.remove("active") != Some(Value::Bool(true)) {
            return Err(not_theirs("the provider says that it is not active"));
        }
        // It need not say what is plain: it is asked for its own tokens, and for this moment.
        claims.entry("iss").or_insert_with(|| self.options.issuer.clone().into());
        claims.entry("exp").or_insert_with(|| (now / SECOND + 1).into());
        if !claims.contains_key("aud")
            && let Some(client) = claims.get("client_id").cloned()
        {
            claims.insert("aud".to_owned(), client);
        }
        let workload = check(&claims, &self.options, now).map_err(not_theirs)?;
        Ok(Bearer { attributes: attributes(&claims, &self.options.prefix), workload })
    }

    /// What the provider answers to a form. That it wants nothing of what somebody has sent is not its fault.
    async fn call(&self, at: &str, client: &Client, form: &[(&str, &str)], now: Micros) -> Judged<Value> {
        let turn = tokio::time::timeout(self.options.timeout, self.calls.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(unknown("too many wait for it", now, None)) };
        let (status, said) =
            self.fetch.post(at, client, form).await.map_err(|why| unknown(&why, now, Some(now)))?;
        if status.is_success() {
            return Ok(said);
        }
        let error = said.get("error").and_then(Value::as_str).unwrap_or_default();
        let why = format!("{at}: it answers {status} {}", error.chars().take(64).collect::<String>());
        match status.as_u16() {
            400 => Err((why, Refusal::NotTheirs)),
            _ => Err(unknown(&why, now, Some(now))),
        }
    }
}
