//! Application credentials: logging in with one, and what their tokens are worth.

use std::collections::BTreeSet;

use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use vicar_rules::Micros;
use vicar_rules::access_rule::IDENTITY;
use vicar_rules::application_credential::{CredentialFacts, evaluate};
use vicar_rules::delegation::{Authority, TrustStatus, Until};
use vicar_rules::roles::RoleSet;

use super::issue::ScopeRequest;
use super::login::{Login, domain_id, find_account, nobodys, tried};
use super::token::Token;
use crate::args;
use crate::config::Config;
use crate::crypto::passwords::BCRYPT_BYTES;
use crate::error::{Error, Result};
use crate::facts::application_credentials::{self, Named, Secret, StoredCredential};
use crate::facts::catalog::catalog;
use crate::facts::{ProjectFacts, UserFacts};
use crate::line::Tried;
use crate::reason::Reason;
use crate::store::{Id, Tx};

/// The login method.
pub const METHOD: &str = "application_credential";

/// The audit chain of the tokens of a login with an application credential alone. Derived from it, so that one
/// ordinary revocation event ends them all, here and in a Keystone beside us that remembers the credential.
pub fn audit_chain(id: &str) -> String {
    let digest = Sha256::digest(format!("tokens of application credential {id}"));
    URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or(&digest))
}

/// An application credential whose secret was right.
#[derive(Debug)]
pub struct Passed {
    /// Its id.
    pub id: String,
    /// Its owner.
    pub user: String,
    /// Its project.
    project: String,
    /// Its end.
    pub until: Until,
}

impl Passed {
    /// The only scope that its tokens have.
    pub fn scope(&self) -> ScopeRequest {
        ScopeRequest::ApplicationCredential { project: self.project.clone(), id: self.id.clone() }
    }
}

/// Checks `{"id" | "name" and "user", "secret"}`. Whatever is wrong, it is the same 401 after the same work.
///
/// # Errors
/// 400 that names the field, or 401.
pub async fn login(tx: &mut Tx, login: Login<'_>, mut data: Map<String, Value>) -> Result<Passed> {
    // Without a secret, it is a wrong one.
    let secret = match data.remove("secret") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(secret)) => secret,
        Some(_) => return Err(Error::field(&format!("{AT}.secret"), "must be a string")),
    };
    login.slow.claim(&Value::Object(data.clone()).to_string());
    let found = named(tx, &login, &data).await?;
    if let Some(found) = &found {
        login.line.credential(&found.id);
    }
    let hash = found.as_ref().map(|found| found.hash.as_str());
    let too_long = secret.len() > login.parts.config.max_password_length;
    let fits = login.slow.verify(if too_long { "" } else { proof(&secret, hash) }, hash)?;
    let fits = fits && !too_long && !secret.is_empty();
    let Secret { id, .. } = found.ok_or(Error::Unauthorized(Reason::NoSuchCredential))?;
    if !fits {
        return Err(Error::Unauthorized(Reason::WrongPassword));
    }
    let stored = application_credentials::get(tx, &id).await?;
    let stored = stored.ok_or(Error::Unauthorized(Reason::NoSuchCredential))?.credential;
    if stored.until.passed(login.now) {
        return Err(Error::Unauthorized(Reason::CredentialOver));
    }
    let project = stored.project.ok_or(Error::Unauthorized(Reason::NoSuchScope))?;
    Ok(Passed { id, user: stored.user, project, until: stored.until })
}

const AT: &str = "auth.identity.application_credential";

/// What is compared with the hash. Secrets that a Keystone makes are longer than bcrypt reads, which is no news.
fn proof<'s>(secret: &'s str, hash: Option<&str>) -> &'s str {
    let is_bcrypt = hash.is_some_and(|hash| hash.starts_with("$2"));
    match secret.get(..BCRYPT_BYTES) {
        Some(cut) if is_bcrypt => cut,
        _ => secret,
    }
}

/// The secret of the credential that a login names, if there is one; then the line has its owner.
async fn named(tx: &mut Tx, login: &Login<'_>, data: &Map<String, Value>) -> Result<Option<Secret>> {
    let tried_id = |found: Option<&Secret>| {
        if let Some(found) = found {
            login.line.tried(Tried { user: Some(found.user.clone()), ..Tried::default() });
        }
    };
    // An owner beside an id is not looked at, as in Keystone: the credential's own is stored.
    if let Some(id) = text(data, "id", AT)? {
        let found = application_credentials::secret(tx, Named::Id(id)).await?;
        tried_id(found.as_ref());
        return Ok(found);
    }
    let name = text(data, "name", AT)?.ok_or_else(|| Error::field(AT, "needs an id or a name"))?;
    let at = format!("{AT}.user");
    let Some(Value::Object(user)) = data.get("user") else {
        return Err(Error::field(&at, "is required with a name and must be an object"));
    };
    if let Some(owner) = text(user, "id", &at)? {
        let found = application_credentials::secret(tx, Named::OfUser(owner, name)).await?;
        tried_id(found.as_ref());
        return Ok(found);
    }
    let of_name = text(user, "name", &at)?.ok_or_else(|| Error::field(&at, "needs an id or a name"))?;
    let at = format!("{at}.domain");
    let Some(Value::Object(domain)) = user.get("domain") else {
        return Err(Error::field(&at, "is required with a name and must be an object"));
    };
    let domain = match domain_id(tx, domain, &at).await {
        Err(Error::Unauthorized(_)) => return Ok(None),
        found => found?,
    };
    let account = find_account(tx, of_name, &domain).await?;
    if account.is_none() {
        let sql = "SELECT user_id FROM nonlocal_user WHERE domain_id = ? AND name = ?";
        let owner: Option<String> = tx.first(sql, args![Id(&domain), of_name], |r| r.take()).await?;
        if let Some(owner) = owner {
            let found = application_credentials::secret(tx, Named::OfUser(&owner, name)).await?;
            tried_id(found.as_ref());
            return Ok(found);
        }
        login.line.looked_at(nobodys(Some(domain.clone())));
    }
    login.line.tried(tried(account.as_ref(), Some(&of_name.to_owned()), Some(domain)));
    let Some(account) = account else { return Ok(None) };
    Ok(application_credentials::secret(tx, Named::OfUser(account.user(), name)).await?)
}

/// A string that is there and not empty; another type is the client's fault.
fn text<'m>(map: &'m Map<String, Value>, name: &str, at: &str) -> Result<Option<&'m str>> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(Error::BadRequest(format!("{at}.{name}: must be a string"))),
    }
}

/// What a token of an application credential rests on.
#[derive(Debug)]
pub struct Worth {
    /// The credential as stored.
    pub stored: StoredCredential,
    /// What it gives now.
    pub authority: Authority,
}

/// The credential of a token with what it is worth now: at login, and at every validation. Or why it gives
/// nothing: it is gone, over, somebody else's or on another project, or its owner holds none of its roles.
///
/// # Errors
/// When the database fails.
pub async fn worth(
    tx: &mut Tx,
    id: &str,
    user: &UserFacts,
    project: &ProjectFacts,
    held: &RoleSet,
    now: Micros,
) -> Result<std::result::Result<Worth, Reason>> {
    let stored = application_credentials::get(tx, id).await?.filter(|stored| {
        stored.credential.user == user.id && stored.credential.project.as_ref() == Some(&project.id)
    });
    let Some(stored) = stored else { return Ok(Err(Reason::CredentialOver)) };
    let facts = CredentialFacts { now, held, user: user.presence, project: project.presence };
    Ok(match evaluate(&stored.credential, &facts) {
        TrustStatus::Live(authority) => Ok(Worth { stored, authority }),
        TrustStatus::Suspended(why) => Err(super::suspended(&why)),
        TrustStatus::Ended(_) => Err(Reason::CredentialOver),
    })
}

/// Whether a token's access rules allow a request to this server. One that has none is not limited. As with
/// keystonemiddleware, it may always validate tokens, and the catalog must have a service of this type.
///
/// # Errors
/// When the database fails.
pub async fn allows(
    tx: &mut Tx,
    config: &Config,
    token: &Token,
    method: &Method,
    path: &str,
) -> Result<bool> {
    if !token.access.is_limited() {
        return Ok(true);
    }
    if method == Method::GET && path == "/v3/auth/tokens" {
        return Ok(true);
    }
    let project = token.project().map(|p| p.id.as_str());
    let whole = config.all_endpoints_unless_named;
    let services = catalog(tx, &token.user.id, project, whole).await?;
    let mut here = services.iter().filter(|service| service.kind.as_deref() == Some(IDENTITY)).peekable();
    if here.peek().is_none() || path.len() > LONGEST_PATH {
        return Ok(false);
    }
    // A rule may have the path with what the API is below, in the catalog or by configuration, or without it. What a
    // header of the request says of it is the client's word.
    let prefixes =
        here.flat_map(|s| &s.endpoints).map(|e| below(&e.url)).chain([config.path_prefix.as_str(), ""]);
    let paths: BTreeSet<String> = prefixes.map(|prefix| format!("{prefix}{path}")).collect();
    let is_allowed = |path: &String| token.access.allows(IDENTITY, method.as_str(), path);
    Ok(paths.iter().any(is_allowed))
}

/// The path of an endpoint's URL that the API is below.
fn below(url: &str) -> &str {
    let path = url.split_once("://").and_then(|(_, at)| at.find('/').and_then(|slash| at.get(slash..)));
    let path = path.unwrap_or_default().trim_end_matches('/');
    path.strip_suffix("/v3").unwrap_or(path)
}

/// The longest secret that can be hashed.
pub const LONGEST_SECRET: usize = BCRYPT_BYTES;

/// The longest path that is compared with access rules, of which there can be many: longer than any of ours but those
/// of tags that are long and encoded.
const LONGEST_PATH: usize = 600;
