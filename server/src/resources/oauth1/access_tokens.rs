//! `/v3/users/{user_id}/OS-OAUTH1/access_tokens`: what a user authorized.

use std::collections::{BTreeMap, BTreeSet};

use axum::response::Response;
use serde_json::{Value, json};
use vicar_rules::access_token::AccessToken;
use vicar_rules::policy::{Facts, Op};
use vicar_rules::revocation::Event;
use vicar_rules::token::Act;

use crate::authz::{Authorized, Caller, NoObject, Object, Reading, Session, Writing};
use crate::clock;
use crate::error::{Error, Result};
use crate::facts::{self, access_tokens};
use crate::http::Links;
use crate::http::request::{no_content, one};
use crate::reason::Reason;
use crate::resource::Record;
use crate::resources::roles::Role;
use crate::store::{Tx, cascade};

/// An access token that a call is about.
#[derive(Debug)]
pub struct Stored(AccessToken);

impl Object for Stored {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }
}

fn to_json(token: &AccessToken, links: &Links) -> Value {
    let path = ["users", &token.user, "OS-OAUTH1", "access_tokens", &token.id];
    let roles = [&path[..], &["roles"]].concat();
    json!({
        "id": token.id,
        "authorizing_user_id": token.user,
        "project_id": token.project,
        "consumer_id": token.consumer,
        "expires_at": token.until.to_option().map(clock::iso),
        "links": {"self": links.of(&path), "roles": links.of(&roles)},
    })
}

/// The policy is asked before it is said whether there is such an access token.
fn check<T>(s: &Session<'_, T>, op: Op) -> Result<()> {
    s.authorize(op, NoObject)?;
    s.may(Act::OtherDelegations)
}

fn missing(id: &str) -> Error {
    Error::NotFound("access token", id.to_owned())
}

/// Another user's: 401 where Keystone says so.
const OTHERS: Error = Error::UnauthorizedBecause(Reason::OtherUser, "User IDs do not match.");

/// `GET /v3/users/{user_id}/OS-OAUTH1/access_tokens`
pub async fn list(s: &mut Reading<'_>) -> Result<Response> {
    check(s, Op::ListAccessTokens)?;
    let user = s.param("user_id")?;
    let mut paging = s.paging(&[], &[])?;
    while let Some(batch) = s.next_batch(&mut paging).await? {
        let found = access_tokens::access_tokens(&mut s.tx, |q| {
            q.id("t.authorizing_user_id", Some(user));
            q.batch("t.id", &batch);
        })
        .await?;
        paging.read(&batch, found.len(), found.last().map(|t| t.id.as_str()));
        for token in &found {
            paging.push(to_json(token, s.links()));
        }
    }
    Ok(s.page("access_tokens", paging))
}

/// The access token of the path, which the user of the path authorized; `others` is said of another user's.
async fn of_path(
    tx: &mut Tx,
    (user, id): (&str, &str),
    others: impl FnOnce() -> Error,
) -> Result<AccessToken> {
    let found = access_tokens::access_token(tx, id).await?.ok_or_else(|| missing(id))?;
    if found.user == user { Ok(found) } else { Err(others()) }
}

fn named<'r, T>(s: &Session<'r, T>) -> Result<(&'r str, &'r str)> {
    Ok((s.param("user_id")?, s.param("access_token_id")?))
}

/// `GET /v3/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}`
pub async fn get(s: &mut Reading<'_>) -> Result<Response> {
    check(s, Op::GetAccessToken)?;
    let path = named(s)?;
    let found = of_path(&mut s.tx, path, || missing(path.1)).await?;
    let found = s.authorize(Op::GetAccessToken, Stored(found))?;
    Ok(one("access_token", to_json(&found.0, s.links())))
}

/// `DELETE /v3/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}`
pub async fn delete(s: &mut Writing<'_>) -> Result<Response> {
    check(s, Op::DeleteAccessToken)?;
    let path = named(s)?;
    let found = of_path(&mut s.tx, path, || OTHERS).await?;
    let found: Authorized<Stored> = s.authorize(Op::DeleteAccessToken, Stored(found))?;
    cascade::delete(&mut s.tx, &found, "access_token", &found.0.id).await?;
    let event = Event { access_token: Some(found.0.id.clone()), ..Event::default() };
    facts::revoke(&mut s.tx, &found, event).await?;
    Ok(no_content())
}

/// The roles of an access token that still exist.
async fn roles_of(s: &mut Reading<'_>, token: &AccessToken) -> Result<Vec<Value>> {
    let found = Record::<Role>::find(&mut s.tx, |q| {
        q.id_in("t.id", &token.roles);
    });
    Ok(found.await?.iter().map(|role| role.to_json(s.links())).collect())
}

/// `GET /v3/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}/roles`
pub async fn roles(s: &mut Reading<'_>) -> Result<Response> {
    check(s, Op::ListAccessTokenRoles)?;
    let path = named(s)?;
    let found = of_path(&mut s.tx, path, || missing(path.1)).await?;
    let roles = roles_of(s, &found).await?;
    s.list("roles", roles, &[])
}

/// `GET /v3/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}/roles/{role_id}`
pub async fn role(s: &mut Reading<'_>) -> Result<Response> {
    check(s, Op::GetAccessTokenRole)?;
    let path = named(s)?;
    let found = of_path(&mut s.tx, path, || OTHERS).await?;
    let wanted = s.param("role_id")?;
    let role = roles_of(s, &found).await?.into_iter().find(|role| role["id"] == wanted);
    Ok(one("role", role.ok_or_else(|| Record::<Role>::missing(wanted))?))
}

/// What acts for a user by OAuth1, with what it is worth now, for the list of their delegations.
///
/// # Errors
/// When the database fails; as [`Session::take_long`].
pub async fn delegations(s: &mut Reading<'_>, user: &str) -> Result<Vec<Value>> {
    let found = access_tokens::access_tokens(&mut s.tx, |q| {
        q.id("t.authorizing_user_id", Some(user)).end("ORDER BY t.id");
    })
    .await?;
    if found.len() > BATCH {
        s.take_long().await?;
    }
    let implications = s.caller()?.implications(&mut s.tx).await?;
    let found = access_tokens::evaluate_all(&mut s.tx, found, s.now, &implications).await?;
    let living: Vec<_> = found.iter().filter(|e| !e.status.ended()).collect();
    let ids: BTreeSet<&String> = living.iter().flat_map(|e| &e.token.roles).collect();
    let roles = Record::<Role>::find(&mut s.tx, |q| {
        q.id_in("t.id", ids);
    })
    .await?;
    let names: BTreeMap<&str, &str> = roles.iter().map(|r| (r.id.as_str(), r.name())).collect();
    let show = |e: &&access_tokens::EvaluatedAccessToken| {
        let roles: Vec<Value> =
            e.token.roles.iter().map(|id| json!({"id": id, "name": names.get(id.as_str())})).collect();
        json!({
            "id": e.token.id,
            "consumer_id": e.token.consumer,
            "project_id": e.token.project,
            "roles": roles,
            "expires_at": e.token.until.to_option().map(clock::iso),
            "state": e.status.word(),
            "reason": e.status.reason(),
        })
    };
    Ok(living.iter().map(show).collect())
}

/// So many are evaluated without letting others' requests go first.
const BATCH: usize = 200;
