//! What requests write of credentials and keypairs; how they are read is in `facts::credentials`.

use vicar_rules::Micros;

use super::{CredentialView, NewCredential};
use crate::args;
use crate::authz::{Authorized, Proposed, System};
use crate::error::{Error, Result};
pub use crate::facts::credentials::{BOUND, BoundTo, Credential, PLAIN, find, get, of_trusts};
use crate::facts::credentials::{RecordsBinding, record};
use crate::store::{self, Proof, Tx, WriteTx};

impl RecordsBinding for Authorized<Proposed<NewCredential>> {}

/// How many credentials of all types a user has.
///
/// # Errors
/// When the database fails.
pub async fn count_of_user(tx: &mut Tx, user: &str) -> Result<i64> {
    let n = tx.first("SELECT COUNT(*) FROM credential WHERE user_id = ?", args![user], |r| r.take()).await?;
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
    tx.run(
        proof,
        "INSERT INTO credential (id, user_id, project_id, type, extra, key_hash, encrypted_blob)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
        args![&c.id, &proof.user_id, &c.project_id, &c.kind, &c.extra, &c.key_hash, &c.encrypted_blob],
    )
    .await
    .map_err(|e| match e {
        store::Error::Duplicate => Error::taken("credential", "Duplicate entry found with the same access"),
        other => other.into(),
    })?;
    // What a keypair of the same access id was bound to, when a Keystone deleted that one.
    tx.run(proof, "DELETE FROM vicar_keypair WHERE credential_id = ?", args![&c.id]).await?;
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
    tx.run(
        stored,
        "UPDATE credential SET encrypted_blob = ?, key_hash = ? WHERE id = ?",
        args![encrypted_blob, key_hash, &stored.credential.id],
    )
    .await?;
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
    tx.run(proof, "DELETE FROM vicar_keypair WHERE credential_id = ?", args![id]).await?;
    tx.run(proof, "DELETE FROM credential WHERE id = ?", args![id]).await?;
    Ok(())
}

/// Deletes every keypair that is bound to a trust.
///
/// # Errors
/// When the database fails.
pub async fn delete_of_trust(tx: &mut WriteTx, proof: &impl EndsKeypairs, trust: &str) -> Result<()> {
    tx.run(
        proof,
        "DELETE FROM credential WHERE id IN (SELECT credential_id FROM vicar_keypair WHERE trust_id = ?)",
        args![trust],
    )
    .await?;
    tx.run(proof, "DELETE FROM vicar_keypair WHERE trust_id = ?", args![trust]).await?;
    Ok(())
}

/// Deletes all credentials with a value in `column`, which is a name in this program.
///
/// # Errors
/// When the database fails.
pub async fn delete_credentials(
    tx: &mut WriteTx,
    proof: &impl EndsKeypairs,
    column: &'static str,
    value: &str,
) -> Result<()> {
    tx.run(
        proof,
        &format!(
            "DELETE FROM vicar_keypair WHERE credential_id IN (SELECT id FROM credential WHERE {column} = ?)"
        ),
        args![value],
    )
    .await?;
    tx.run(proof, &format!("DELETE FROM credential WHERE {column} = ?"), args![value]).await?;
    Ok(())
}
