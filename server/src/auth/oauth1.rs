//! OAuth1: requests that a consumer signed, what they get, and what an access token's tokens are worth.
//!
//! What is missing or malformed is 400 where a consumer asks for a token of OAuth1; at a login it is 401, as there is
//! nothing to mend for who retries.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use vicar_rules::Micros;
use vicar_rules::access_token::AccessToken;
use vicar_rules::delegation::{Authority, TrustStatus, Until};
use vicar_rules::roles::Implications;
use vicar_rules::signature::{OAuthRequest, SignatureError, VERIFIER_CHARACTERS, VERIFIER_LENGTH};

use super::Parts;
use super::exchange::{BAD_SIGNATURE, use_once};
use super::issue::ScopeRequest;
use crate::args;
use crate::clock::{self, SECOND};
use crate::error::{Error, Result};
use crate::facts::access_tokens::{self, RequestToken};
use crate::facts::{self, ProjectFacts};
use crate::ids;
use crate::line::{Line, Tried};
use crate::reason::Reason;
use crate::secret::Secret;
use crate::store::{Delete, Id, Insert, Tx, WriteTx};
use crate::system::System;

/// The login method.
pub const METHOD: &str = "oauth1";

/// The audit chain of the tokens of a login with an access token alone. Derived from it, so that one ordinary
/// revocation event ends them all, here and in a Keystone beside us that remembers the access token.
///
/// There are events that name an access token. None is recorded: a Keystone does not look at that name, and takes an
/// event without any other for one that ends all tokens of everybody.
pub fn audit_chain(id: &str) -> String {
    let digest = Sha256::digest(format!("tokens of access token {id}"));
    URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or(&digest))
}

/// How far a consumer's clock may be from this server's: oauthlib's, which Keystone has.
const APART: Micros = 600 * SECOND;

const EXPIRED: Error = Error::UnauthorizedBecause(Reason::CredentialOver, "The OAuth token has expired.");
const NO_SUCH_CONSUMER: Error = Error::UnauthorizedBecause(
    Reason::CredentialOver,
    "The consumer does not exist, or the token is another's.",
);
const WRONG_VERIFIER: Error =
    Error::UnauthorizedBecause(Reason::WrongSignature, "The verifier is not that of the request token.");

/// What a consumer got: a token with its secret.
#[derive(Debug)]
pub struct Issued {
    /// The token's id.
    pub id: String,
    /// Its secret, which is shown this once.
    pub secret: Secret,
    /// Its end.
    pub until: Until,
}

impl Issued {
    fn new(now: Micros, duration: Micros) -> Self {
        // Zero: it never ends.
        let until = if duration > 0 { Until::At(now.saturating_add(duration)) } else { Until::Never };
        Self { id: ids::uuid(), secret: Secret(ids::secret()), until }
    }

    fn expires_at(&self) -> Option<String> {
        // Whole seconds, as Keystone has them.
        self.until.to_option().map(|at| clock::iso(at.div_euclid(SECOND) * SECOND))
    }

    /// As a form.
    pub fn to_form(&self) -> String {
        let end = self.expires_at().map(|at| format!("&oauth_expires_at={at}")).unwrap_or_default();
        format!("oauth_token={}&oauth_token_secret={}{end}", self.id, self.secret.0)
    }
}

/// A parameter that must be there.
fn required<'r>(signed: &'r OAuthRequest, name: &str) -> Result<&'r str> {
    signed.param(name).ok_or_else(|| Error::BadRequest(format!("Authorization: {name} is missing")))
}

/// What is wrong with a signed request, for who can mend it.
fn told(e: SignatureError) -> Error {
    match e {
        SignatureError::Mismatch => BAD_SIGNATURE,
        other => Error::BadRequest(format!("Authorization: {other}")),
    }
}

/// Whether the request is complete, of now, and signed with these secrets; and not seen before.
async fn verify(
    tx: &mut WriteTx,
    signed: &OAuthRequest,
    consumer: &Secret,
    token: Option<&Secret>,
    now: Micros,
) -> Result<()> {
    signed.check().map_err(told)?;
    let at = signed.stated_time().map_err(told)?;
    if at.abs_diff(now) > APART.unsigned_abs() {
        return Err(Error::field("oauth_timestamp", "is more than 600 seconds from this server's time"));
    }
    signed.verify(&consumer.0, token.map(|secret| secret.0.as_str())).map_err(told)?;
    use_once(tx, &signed.identity(), at.saturating_add(APART)).await
}

/// How many tokens of OAuth1 there are of somebody.
async fn count(tx: &mut Tx, sql: &str, of: &str) -> Result<i64> {
    Ok(tx.first(sql, args![Id(of)], |r| r.take()).await?.unwrap_or(0))
}

/// Refuses one more where there are as many as there may be.
fn limited(parts: Parts<'_>, there_are: i64, of: &str) -> Result<()> {
    match parts.config.max_oauth1_tokens {
        Some(limit) if there_are >= limit.into() => Err(Error::Forbidden(format!(
            "The {of} has {limit} tokens of OAuth1, and may have no more ([delegation] max_oauth1_tokens)."
        ))),
        _ => Ok(()),
    }
}

/// Makes a request token for a consumer, for roles on a project that it names.
///
/// # Errors
/// 400, 404 for a project or consumer that is not there, 401 for another signature.
pub async fn request(
    tx: &mut WriteTx,
    parts: Parts<'_>,
    signed: &OAuthRequest,
    project: &str,
    now: Micros,
) -> Result<Issued> {
    let consumer = required(signed, "oauth_consumer_key")?;
    if facts::project(tx, project).await?.is_none() {
        return Err(Error::NotFound("project", project.to_owned()));
    }
    let secret = access_tokens::consumer_secret(tx, consumer).await?;
    let secret = secret.ok_or_else(|| Error::NotFound("consumer", consumer.to_owned()))?;
    required(signed, "oauth_callback")?;
    if signed.realm().is_some() {
        return Err(Error::field("realm", "there are no realms here"));
    }
    verify(tx, signed, &secret, None, now).await?;
    let there_are = count(tx, "SELECT COUNT(*) FROM request_token WHERE consumer_id = ?", consumer).await?;
    limited(parts, there_are, "consumer")?;
    let made = Issued::new(now, parts.config.request_token_duration);
    let row = Insert::into("request_token")
        .set("id", &made.id)
        .set("request_secret", &made.secret.0)
        .set("requested_project_id", project)
        .set("consumer_id", consumer)
        .set("expires_at", made.expires_at());
    tx.execute(&System::Signature, &row).await?;
    Ok(made)
}

/// The request token of a path or a signed request, if its time is not over.
///
/// # Errors
/// 404, or 401 when it is over.
pub async fn request_token(tx: &mut Tx, id: &str, now: Micros) -> Result<RequestToken> {
    let found = access_tokens::request_token(tx, id).await?;
    let found = found.ok_or_else(|| Error::NotFound("request token", id.to_owned()))?;
    if found.until.passed(now) { Err(EXPIRED) } else { Ok(found) }
}

/// Makes the access token of a consumer for a request token that a user authorized, which is used up by that.
///
/// # Errors
/// 400, 404 for a request token that is not there, 401 for another signature or verifier.
pub async fn exchange(
    tx: &mut WriteTx,
    parts: Parts<'_>,
    signed: &OAuthRequest,
    line: &Line,
    now: Micros,
) -> Result<Issued> {
    let consumer = required(signed, "oauth_consumer_key")?;
    let id = required(signed, "oauth_token")?;
    let verifier = required(signed, "oauth_verifier")?;
    let asked = request_token(tx, id, now).await?;
    signed.check().map_err(told)?;
    let secret = access_tokens::consumer_secret(tx, consumer).await?;
    let secret = secret.filter(|_| asked.consumer == consumer).ok_or(NO_SUCH_CONSUMER)?;
    let authorized = asked.authorized.ok_or(WRONG_VERIFIER)?;
    line.tried(Tried { user: Some(authorized.user.clone()), ..Tried::default() });
    if !bool::from(authorized.verifier.0.as_bytes().ct_eq(verifier.as_bytes())) {
        return Err(WRONG_VERIFIER);
    }
    verify(tx, signed, &secret, Some(&asked.secret), now).await?;
    let of_user = "SELECT COUNT(*) FROM access_token WHERE authorizing_user_id = ?";
    limited(parts, count(tx, of_user, &authorized.user).await?, "user")?;
    let made = Issued::new(now, parts.config.access_token_duration);
    let row = Insert::into("access_token")
        .set("id", &made.id)
        .set("access_secret", &made.secret.0)
        .set("authorizing_user_id", &authorized.user)
        .set("project_id", &asked.project)
        .set("role_ids", &authorized.roles)
        .set("consumer_id", consumer)
        .set("expires_at", made.expires_at());
    tx.execute(&System::Signature, &row).await?;
    // Another exchange of the same one took it in between.
    match tx.execute(&System::Signature, &Delete::from("request_token").key("id", id)).await? {
        1 => Ok(made),
        _ => Err(Error::Retry("the request token was used in between".into())),
    }
}

/// A verifier for a user to tell a consumer.
pub fn verifier() -> String {
    let characters = VERIFIER_CHARACTERS.as_bytes();
    let any = || usize::try_from(ids::below(characters.len() as u64)).unwrap_or(0);
    (0..VERIFIER_LENGTH).filter_map(|_| characters.get(any()).copied().map(char::from)).collect()
}

/// An access token whose consumer signed a login.
#[derive(Debug)]
pub struct Passed {
    /// The user who authorized it.
    pub user: String,
    /// Its id.
    pub id: String,
    /// Its end.
    pub until: Until,
    project: String,
}

impl Passed {
    /// The only scope that its tokens have.
    pub fn scope(&self) -> ScopeRequest {
        ScopeRequest::AccessToken { project: self.project.clone(), id: self.id.clone() }
    }
}

/// Checks a login that a consumer signed.
///
/// # Errors
/// 400 when no access token is named, otherwise 401.
pub async fn login(tx: &mut WriteTx, signed: &OAuthRequest, line: &Line, now: Micros) -> Result<Passed> {
    let id = required(signed, "oauth_token")?;
    // Keystone says 404 here; a login that fails is 401 for every client that tries again.
    let token = access_tokens::access_token(tx, id).await?;
    let token = token.ok_or(Error::Unauthorized(Reason::CredentialOver))?;
    line.credential(id);
    line.tried(Tried { user: Some(token.user.clone()), ..Tried::default() });
    if token.until.passed(now) {
        return Err(EXPIRED);
    }
    if signed.param("oauth_consumer_key") != Some(&token.consumer) {
        return Err(NO_SUCH_CONSUMER);
    }
    let secret = access_tokens::consumer_secret(tx, &token.consumer).await?.ok_or(NO_SUCH_CONSUMER)?;
    let access_secret = access_tokens::access_secret(tx, id).await?;
    match verify(tx, signed, &secret, access_secret.as_ref(), now).await {
        Err(Error::BadRequest(_)) => Err(Error::Unauthorized(Reason::WrongSignature)),
        other => other,
    }?;
    Ok(Passed { user: token.user, until: token.until, id: token.id, project: token.project })
}

/// What a token of an access token rests on.
#[derive(Debug)]
pub struct Worth {
    /// The access token as stored.
    pub token: AccessToken,
    /// Its project.
    pub project: ProjectFacts,
    /// What it gives now.
    pub authority: Authority,
}

/// The access token of a token with what it is worth now, at login and at every validation; or why it gives nothing.
///
/// # Errors
/// When the database fails.
pub async fn worth(
    tx: &mut Tx,
    id: &str,
    (user, project): (&str, &str),
    implications: &Implications,
    now: Micros,
) -> Result<std::result::Result<Worth, Reason>> {
    let found = access_tokens::evaluated(tx, id, now, implications).await?;
    let Some(found) = found.filter(|f| f.token.user == user && f.token.project == project) else {
        return Ok(Err(Reason::CredentialOver));
    };
    Ok(match (found.status, found.project) {
        (TrustStatus::Live(authority), Some(project)) => Ok(Worth { token: found.token, project, authority }),
        (TrustStatus::Live(_), None) => Err(Reason::NoSuchScope),
        (TrustStatus::Suspended(why), _) => Err(super::suspended(&why)),
        (TrustStatus::Ended(_), _) => Err(Reason::CredentialOver),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_is_of_its_characters() {
        for _ in 0..100 {
            let verifier = verifier();
            assert!(verifier.len() == 8 && verifier.chars().all(|c| VERIFIER_CHARACTERS.contains(c)));
        }
        assert_ne!(verifier(), verifier());
    }

    #[test]
    fn a_form_says_when_it_ends_if_it_ends() {
        let now = 1_772_600_767 * SECOND + 5;
        let made = Issued::new(now, 60 * SECOND);
        let (id, secret) = (&made.id, &made.secret.0);
        let begins = format!("oauth_token={id}&oauth_token_secret={secret}");
        assert_eq!(made.to_form(), format!("{begins}&oauth_expires_at=2026-03-04T05:07:07.000000Z"));
        assert_eq!(Issued { until: Until::Never, ..made }.to_form(), begins);
        assert_eq!(Issued::new(now, 0).until, Until::Never);
    }
}
