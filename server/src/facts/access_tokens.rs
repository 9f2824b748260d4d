//! OAuth1 consumers, request tokens and access tokens as stored, and what an access token is worth now.

use std::collections::BTreeSet;

use vicar_rules::Micros;
use vicar_rules::access_token::{AccessToken, Facts, evaluate};
use vicar_rules::delegation::{Presence, TrustStatus, Until};
use vicar_rules::roles::{Implications, RoleSet};

use super::roles::read_roles;
use super::trusts::held_on;
use super::users::users;
use super::{ProjectFacts, UserFacts, projects};
use crate::args;
use crate::clock;
use crate::secret::Secret;
use crate::store::{Id, Result, Row, Select, Tx};

/// The secret of a consumer; nothing when there is no such consumer.
///
/// # Errors
/// When the database fails.
pub async fn consumer_secret(tx: &mut Tx, id: &str) -> Result<Option<Secret>> {
    tx.first("SELECT secret FROM consumer WHERE id = ?", args![Id(id)], |r| r.take().map(Secret)).await
}

/// An end as Keystone stores those of OAuth1. One that cannot be read has passed.
fn read_until(text: Option<String>) -> Until {
    text.map_or(Until::Never, |text| Until::At(clock::from_client(&text).unwrap_or(Micros::MIN)))
}

/// What a consumer asks a user to authorize.
#[derive(Debug)]
pub struct RequestToken {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: Secret,
    /// The consumer that asks.
    pub consumer: String,
    /// Where it asks for roles.
    pub project: String,
    /// Its end.
    pub until: Until,
    /// What a user authorized.
    pub authorized: Option<Authorized>,
}

/// What a user authorized, and the proof that they did.
#[derive(Debug)]
pub struct Authorized {
    /// The user.
    pub user: String,
    /// What they told the consumer.
    pub verifier: Secret,
    /// The roles, as stored: a JSON list of ids.
    pub roles: String,
}

/// A request token by id.
///
/// # Errors
/// When the database fails.
pub async fn request_token(tx: &mut Tx, id: &str) -> Result<Option<RequestToken>> {
    tx.first(
        "SELECT id, request_secret, consumer_id, requested_project_id, expires_at, authorizing_user_id, verifier,
                role_ids
           FROM request_token WHERE id = ?",
        args![Id(id)],
        |r| {
            let (id, secret, consumer, project) = (r.take()?, r.take().map(Secret)?, r.take()?, r.take()?);
            let until = read_until(r.take()?);
            let (user, verifier, roles): (Option<String>, Option<String>, Option<String>) =
                (r.take()?, r.take()?, r.take()?);
            let authorized = match (user, verifier, roles) {
                (Some(user), Some(verifier), Some(roles)) => {
                    Some(Authorized { user, verifier: Secret(verifier), roles })
                }
                _ => None,
            };
            Ok(RequestToken { id, secret, consumer, project, until, authorized })
        },
    )
    .await
}

const ACCESS_TOKEN: &str =
    "SELECT t.id, t.consumer_id, t.authorizing_user_id, t.project_id, t.role_ids, t.expires_at
                              FROM access_token t";

fn read_access_token(r: &mut Row) -> Result<AccessToken> {
    Ok(AccessToken {
        id: r.take()?,
        consumer: r.take()?,
        user: r.take()?,
        project: r.take()?,
        roles: read_roles(&r.take::<String>()?),
        until: read_until(r.take()?),
    })
}

/// Access tokens that fit a condition on `t`.
///
/// # Errors
/// When the database fails.
pub async fn access_tokens(tx: &mut Tx, build: impl FnOnce(&mut Select)) -> Result<Vec<AccessToken>> {
    let mut q = Select::new(ACCESS_TOKEN);
    build(&mut q);
    q.map(tx, read_access_token).await
}

/// An access token by id.
///
/// # Errors
/// When the database fails.
pub async fn access_token(tx: &mut Tx, id: &str) -> Result<Option<AccessToken>> {
    let found = access_tokens(tx, |q| {
        q.id("t.id", Some(id));
    });
    Ok(found.await?.pop())
}

/// The secret of an access token.
///
/// # Errors
/// When the database fails.
pub async fn access_secret(tx: &mut Tx, id: &str) -> Result<Option<Secret>> {
    let sql = "SELECT access_secret FROM access_token WHERE id = ?";
    tx.first(sql, args![Id(id)], |r| r.take().map(Secret)).await
}

/// An access token with what it is worth at an instant, and the facts that tokens need of it.
#[derive(Debug)]
pub struct EvaluatedAccessToken {
    /// The access token.
    pub token: AccessToken,
    /// What it is worth.
    pub status: TrustStatus,
    /// Whom its tokens speak for.
    pub user: Option<UserFacts>,
    /// Its project.
    pub project: Option<ProjectFacts>,
}

/// Evaluates access tokens at one instant; what they share is read once.
///
/// # Errors
/// When the database fails.
pub async fn evaluate_all(
    tx: &mut Tx,
    tokens: Vec<AccessToken>,
    now: Micros,
    implications: &Implications,
) -> Result<Vec<EvaluatedAccessToken>> {
    let users = users(tx, tokens.iter().map(|t| t.user.as_str()).collect::<BTreeSet<_>>()).await?;
    let projects = projects(tx, tokens.iter().map(|t| t.project.as_str()).collect::<BTreeSet<_>>()).await?;
    let pairs = tokens.iter().map(|t| (t.user.clone(), t.project.clone())).collect();
    let held = held_on(tx, pairs, implications).await?;
    let nothing = RoleSet::new();
    Ok(tokens
        .into_iter()
        .map(|token| {
            let (user, project) = (users.get(&token.user).cloned(), projects.get(&token.project).cloned());
            let facts = Facts {
                now,
                implications,
                held: held.get(&(token.user.clone(), token.project.clone())).unwrap_or(&nothing),
                user: user.as_ref().map_or(Presence::Missing, |u| u.presence),
                project: project.as_ref().map_or(Presence::Missing, |p| p.presence),
            };
            let status = evaluate(&token, &facts);
            EvaluatedAccessToken { token, status, user, project }
        })
        .collect())
}

/// An access token by id, evaluated.
///
/// # Errors
/// When the database fails.
pub async fn evaluated(
    tx: &mut Tx,
    id: &str,
    now: Micros,
    implications: &Implications,
) -> Result<Option<EvaluatedAccessToken>> {
    let found = access_token(tx, id).await?.into_iter().collect();
    Ok(evaluate_all(tx, found, now, implications).await?.pop())
}
