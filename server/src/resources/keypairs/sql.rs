//! What requests write of credentials and keypairs; how they are read is in `facts::credentials`.

use vicar_rules::Micros;

use super::{CredentialView, NewCredential};
use crate::args;
use crate::auth::keypair::audit_chain;
use crate::authz::{Authorized, Proposed, System};
use crate::error::{Error, Result};
pub use crate::facts::credentials::{BOUND, BoundTo, Credential, PLAIN, find, get, of_trusts};
use crate::facts::credentials::{RecordsBinding, record};
use crate::facts::evidence::{self, Evidence, Kind};
use crate::store::{self, Batch, CHUNK, Delete, Id, Insert, Proof, Select, Tx, Update, WriteTx, cascade};

impl RecordsBinding for Authorized<Proposed<NewCredential>> {}

/// Which credentials a list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose<'a> {
    /// All of them.
    All,
    /// A user's own, and the keypairs of trusts of which they are the trustee; keypairs only.
    Keypairs(&'a str),
    /// Those in which a user has a part: their own, and the keypairs of every trust that they gave or got, and of
    /// all below these.
    Part(&'a str),
}

/// The ids of a batch of credentials, with a condition on `c.id`, and on `c.user_id` for [`Whose::All`].
///
/// # Errors
/// When the database fails.
pub async fn ids(
    tx: &mut Tx,
    whose: Whose<'_>,
    batch: &Batch,
    build: impl FnOnce(&mut Select),
) -> Result<Vec<String>> {
    // What somebody has a part in is gathered first: no engine has to look for it among all rows. SQLite joins
    // in the order of a cross join.
    let mut q = match whose {
        Whose::All => Select::new("SELECT c.id FROM credential c"),
        Whose::Keypairs(user) => Select::with(
            "SELECT c.id FROM (
                 SELECT id FROM credential WHERE user_id = ? AND type IN (?, ?)
                 UNION
                 SELECT k.credential_id FROM trust t CROSS JOIN vicar_keypair k
                  WHERE k.trust_id = t.id AND t.trustee_user_id = ?) c",
            args![Id(user), Id(PLAIN), Id(BOUND), Id(user)],
        ),
        Whose::Part(user) => Select::with(
            "WITH RECURSIVE mine(id) AS (
                 SELECT id FROM trust WHERE trustor_user_id = ? OR trustee_user_id = ?
                 UNION
                 SELECT trust_id FROM vicar_adoption WHERE user_id = ?
                 UNION
                 SELECT t.id FROM trust t JOIN mine ON t.redelegated_trust_id = mine.id)
             SELECT c.id FROM (
                 SELECT id FROM credential WHERE user_id = ?
                 UNION
                 SELECT k.credential_id FROM mine CROSS JOIN vicar_keypair k WHERE k.trust_id = mine.id) c",
            args![Id(user), Id(user), Id(user), Id(user)],
        ),
    };
    build(&mut q);
    q.batch("c.id", batch);
    Ok(q.map(tx, |r| r.take()).await?)
}

/// How many credentials of all types a user has.
///
/// # Errors
/// When the database fails.
pub async fn count_of_user(tx: &mut Tx, user: &str) -> Result<i64> {
    let n =
        tx.first("SELECT COUNT(*) FROM credential WHERE user_id = ?", args![Id(user)], |r| r.take()).await?;
    Ok(n.unwrap_or(0))
}

/// Writes a credential of the user whom the proof names; that of an adopted trust is the adopter's. A keypair's binding is written with
/// it.
///
/// # Errors
/// 409 when there is one with its id, otherwise when the database fails.
pub async fn insert(
    tx: &mut WriteTx,
    proof: &Authorized<Proposed<NewCredential>>,
    c: &Credential,
    audit_ids: Option<&[String]>,
    now: Micros,
) -> Result<()> {
    let row = Insert::into("credential")
        .set("id", &c.id)
        .set("user_id", &c.user_id)
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
    if c.is_keypair() {
        tx.execute(proof, &Delete::from(evidence::TABLE).key("id", &c.id)).await?;
        let made = Evidence::new(audit_ids, Some(audit_chain(&c.id)), now);
        tx.execute(proof, &made.row(Kind::Keypair, &c.id)).await?;
    }
    if let Some(b) = &c.bound {
        record(tx, proof, &c.id, b, &audit_chain(&c.id), now).await?;
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

/// The keypairs that are bound to one of these trusts, by the ids of their credentials.
///
/// # Errors
/// When the database fails.
pub async fn ids_of_trusts(tx: &mut Tx, trusts: &[String]) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for some in trusts.chunks(CHUNK) {
        let mut bound = Select::new("SELECT credential_id FROM vicar_keypair");
        bound.id_in("trust_id", some);
        ids.extend(bound.map(tx, |r| r.take::<String>()).await?);
    }
    Ok(ids)
}

/// Deletes keypairs of trusts. They were looked up before: for a deletion by what a query finds, MariaDB reads all credentials.
///
/// # Errors
/// When the database fails.
pub async fn delete_bound(tx: &mut WriteTx, proof: &impl EndsKeypairs, ids: &[String]) -> Result<()> {
    for some in ids.chunks(CHUNK) {
        tx.execute(proof, &Delete::from("credential").key_in("id", some)).await?;
        let seen =
            Delete::from(evidence::TABLE).key_in("id", some).key("type", evidence::Kind::Keypair.word());
        tx.execute(proof, &seen).await?;
        tx.execute(proof, &Delete::from("vicar_keypair").key_in("credential_id", some)).await?;
    }
    Ok(())
}
