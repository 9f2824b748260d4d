//! What requests write of credentials and keypairs; how they are read is in `facts::credentials`.

use vicar_rules::Micros;

use super::{CredentialView, NewCredential};
use crate::args;
use crate::authz::{Authorized, Proposed, System};
use crate::error::{Error, Result};
pub use crate::facts::credentials::{BOUND, BoundTo, Credential, PLAIN, find, get, of_trusts};
use crate::facts::credentials::{RecordsBinding, record};
use crate::store::{self, Delete, Id, Insert, Proof, Tx, Update, WriteTx, cascade};

impl RecordsBinding for Authorized<Proposed<NewCredential>> {}

/// How many credentials of all types a user has.
///
/// # Errors
/// When the database fails.
pub async fn count_of_user(tx: &mut Tx, user: &str) -> Result<i64> {
    let n =
        tx.first("SELECT COUNT(*) FROM credential WHERE user_id = ?", args![Id(user)], |r| r.take()).await?;
    Ok(n.unwrap_or(0))
}

/// Writes a credential of the user whom the proof names. A keypair's binding is written with it.
///
/// # Errors
/// 409 when there is one with its id, otherwise when the database fails.
pub async fn insert(
    tx: &mut WriteTx,
    proof: &Authorized<Proposed<NewCredential>>,
    c: &Credential,
    audit_chain: &str,
    now: Micros,
) -> Result<()> {
    let row = Insert::into("credential")
        .set("id", &c.id)
        .set("user_id", &proof.user_id)
        .set("project_id", &c.project_id)
        .set("type", &c.kind)
        .set("extra", &c.extra)
        .set("key_hash", &c.key_hash)
        .set("encrypted_blob", &c.encrypted_blob);
    tx.execute(proof, &row).await.map_err(|e| match e {
        store::Error::Duplicate => Error::taken("credential", "Duplicate entry found with the same access"),
        other => other.into(),
    })?;
    // What a keypair of the same access id was bound to, when a Keystone deleted that one.
    tx.execute(proof, &Delete::from("vicar_keypair").key("credential_id", &c.id)).await?;
    if let Some(b) = &c.bound {
        record(tx, proof, &c.id, b, audit_chain, now).await?;
    }
    Ok(())
}

/// Replaces the blob of a credential.
///
/// # Errors
/// When the database fails.
pub async fn update_blob(
    tx: &mut WriteTx,
    stored: &Authorized<CredentialView>,
    encrypted_blob: &str,
    key_hash: &str,
) -> Result<()> {
    let changed = Update::of("credential")
        .set("encrypted_blob", encrypted_blob)
        .set("key_hash", key_hash)
        .key("id", &stored.credential.id);
    tx.execute(stored, &changed).await?;
    Ok(())
}

/// Proofs that cover the end of keypairs and other credentials: a credential's own deletion, and whatever
/// takes away the trust, the user or the project that they belong to.
pub trait EndsKeypairs: Proof {}

impl EndsKeypairs for Authorized<CredentialView> {}
impl EndsKeypairs for System {}

/// Deletes a credential.
///
/// # Errors
/// When the database fails.
pub async fn delete(tx: &mut WriteTx, proof: &impl EndsKeypairs, id: &str) -> Result<()> {
    Ok(cascade::delete(tx, proof, "credential", id).await?)
}

/// Deletes every keypair that is bound to a trust.
///
/// # Errors
/// When the database fails.
pub async fn delete_of_trust(tx: &mut WriteTx, proof: &impl EndsKeypairs, trust: &str) -> Result<()> {
    let bound = "id IN (SELECT credential_id FROM vicar_keypair WHERE trust_id = ?)";
    tx.execute(proof, &Delete::from("credential").and(bound, args![Id(trust)])).await?;
    tx.execute(proof, &Delete::from("vicar_keypair").key("trust_id", trust)).await?;
    Ok(())
}
