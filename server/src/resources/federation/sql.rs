//! What falls with identity providers and their protocols.

use std::collections::BTreeSet;

use vicar_rules::Micros;

use super::identity_providers::IdentityProvider;
use super::protocols::Protocol;
use crate::args;
use crate::authz::Authorized;
use crate::error::Result;
use crate::facts::{RoleLossGuard, workloads};
use crate::resources::keypairs::EndsKeypairs;
use crate::resources::trusts::end::EndsTrusts;
use crate::resources::users::sql::{self as users, DeletesUser};
use crate::store::{Delete, Id, Select, Tx, WriteTx, cascade};

impl DeletesUser for Authorized<IdentityProvider> {}
impl EndsTrusts for Authorized<IdentityProvider> {}
impl EndsKeypairs for Authorized<IdentityProvider> {}
impl DeletesUser for Authorized<Protocol> {}
impl EndsTrusts for Authorized<Protocol> {}
impl EndsKeypairs for Authorized<Protocol> {}

/// Deletes an identity provider with its protocols, remote ids and memberships, and the users who are nobody
/// without it. Tokens of all who came from it end for good, though another provider gets its id.
///
/// # Errors
/// When the database fails.
pub(super) async fn delete_provider(
    tx: &mut WriteTx,
    proof: &impl DeletesUser,
    provider: &str,
    now: Micros,
) -> Result<()> {
    let linked = linked(tx, provider, None).await?;
    let guard = guard_members(tx, provider).await?;
    workloads::end_of_provider(tx, proof, provider).await?;
    cascade::delete(tx, proof, "identity_provider", provider).await?;
    guard.finish(tx, proof).await?;
    end_logins(tx, proof, linked, now).await
}

/// What those hold who have passing memberships through a provider.
///
/// # Errors
/// When the database fails.
pub(super) async fn guard_members(tx: &mut Tx, provider: &str) -> Result<RoleLossGuard> {
    let sql = "SELECT DISTINCT user_id FROM expiring_user_group_membership WHERE idp_id = ?";
    let members: Vec<String> = tx.column(sql, args![Id(provider)]).await?;
    Ok(RoleLossGuard::begin(tx, members).await?)
}

/// Deletes a protocol, and the users who are nobody without it. `workloads_come` says whether workloads come by it.
///
/// # Errors
/// When the database fails.
pub(super) async fn delete_protocol(
    tx: &mut WriteTx,
    protocol: &Authorized<Protocol>,
    workloads_come: bool,
    now: Micros,
) -> Result<()> {
    let linked = linked(tx, &protocol.provider, Some(&protocol.id)).await?;
    if workloads_come {
        workloads::end_of_provider(tx, protocol, &protocol.provider).await?;
    }
    let users =
        Delete::from("federated_user").key("idp_id", &protocol.provider).key("protocol_id", &protocol.id);
    tx.execute(protocol, &users).await?;
    let row = Delete::from("federation_protocol").key("idp_id", &protocol.provider).key("id", &protocol.id);
    tx.execute(protocol, &row).await?;
    end_logins(tx, protocol, linked, now).await
}

/// Deletes the identity providers of a domain.
///
/// # Errors
/// When the database fails.
pub async fn delete_of_domain(
    tx: &mut WriteTx,
    proof: &impl DeletesUser,
    domain: &str,
    now: Micros,
) -> Result<()> {
    let sql = "SELECT id FROM identity_provider WHERE domain_id = ? ORDER BY id";
    let providers: Vec<String> = tx.column(sql, args![Id(domain)]).await?;
    for provider in providers {
        delete_provider(tx, proof, &provider, now).await?;
    }
    Ok(())
}

/// The users who came from a provider.
async fn linked(tx: &mut Tx, provider: &str, protocol: Option<&str>) -> Result<BTreeSet<String>> {
    let mut q = Select::new("SELECT DISTINCT user_id FROM federated_user");
    q.id("idp_id", Some(provider)).id("protocol_id", protocol);
    Ok(q.map(tx, |r| r.take()).await?.into_iter().collect())
}

/// Ends the tokens of users who cannot come from where they came from any more. Who has no name by now, neither of
/// their own nor from elsewhere, is deleted.
async fn end_logins(
    tx: &mut WriteTx,
    proof: &impl DeletesUser,
    users: BTreeSet<String>,
    now: Micros,
) -> Result<()> {
    for user in users {
        let named = "SELECT 1 FROM local_user WHERE user_id = ?
                     UNION ALL SELECT 1 FROM nonlocal_user WHERE user_id = ?
                     UNION ALL SELECT 1 FROM federated_user WHERE user_id = ?";
        if tx.exists(named, args![Id(&user), Id(&user), Id(&user)]).await? {
            users::end_tokens(tx, proof, &user).await?;
        } else {
            users::delete(tx, proof, &user, now).await?;
        }
    }
    Ok(())
}
