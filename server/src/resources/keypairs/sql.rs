//! Credentials and keypairs in the database.

use vicar_rules::Micros;
use vicar_rules::delegation::Until;
use vicar_rules::roles::RoleSet;

use super::{CredentialView, NewCredential};
use crate::args;
use crate::auth::keypair::read_roles;
use crate::authz::{Authorized, Proposed, System};
use crate::error::{Error, Result};
use crate::store::{self, Batch, CHUNK, Id, Proof, Row, Select, Tx, WriteTx};

/// A credential's type for keypairs that follow their owner's roles, as Keystone has it.
pub const PLAIN: &str = "ec2";

/// The type in storage of keypairs that are bound to a trust. A Keystone on the same database exchanges
/// `ec2` only, so it refuses these; it would neither count uses nor know a narrowing. Clients see `ec2`.
pub const BOUND: &str = "ec2-trust";

/// A stored credential.
#[derive(Clone)]
pub struct Credential {
    /// Its id; of a keypair the SHA-256 of the access id, in hex.
    pub id: String,
    /// Its owner.
    pub user_id: String,
    /// Its project.
    pub project_id: Option<String>,
    /// Its type in storage.
    pub kind: String,
    /// Unknown attributes, JSON.
    pub extra: Option<String>,
    /// SHA-1 of the key that the blob is encrypted with.
    pub key_hash: String,
    /// The blob, in Fernet.
    pub encrypted_blob: String,
    /// What a keypair is bound to.
    pub bound: Option<BoundTo>,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "credential {} of {}", self.id, self.user_id)
    }
}

/// Where a trust's keypair comes from, taken from the token that made it. It is kept in a table that no
/// client and no Keystone writes.
#[derive(Debug, Clone)]
pub struct BoundTo {
    /// The trust.
    pub trust_id: String,
    /// Its access id.
    pub access: String,
    /// Its narrowed roles.
    pub roles: Option<RoleSet>,
    /// Its own end.
    pub until: Until,
    /// The audit id of the token that made it.
    pub creator: Option<String>,
}

impl Credential {
    /// The type that clients see.
    pub fn shown_kind(&self) -> &str {
        if self.kind == BOUND { PLAIN } else { &self.kind }
    }

    /// Whether it is a keypair of either form.
    pub fn is_keypair(&self) -> bool {
        self.kind.eq_ignore_ascii_case(PLAIN) || self.kind == BOUND
    }
}

const COLUMNS: &str = "SELECT c.id, c.user_id, c.project_id, c.type, c.extra, c.key_hash, c.encrypted_blob,
        k.trust_id, k.access, k.roles, k.expires_at, k.creator_audit_id
   FROM credential c LEFT JOIN vicar_keypair k ON k.credential_id = c.id";

fn read(r: &mut Row) -> store::Result<Credential> {
    let mut c = Credential {
        id: r.take()?,
        user_id: r.take()?,
        project_id: r.take()?,
        kind: r.take()?,
        extra: r.take()?,
        key_hash: r.take()?,
        encrypted_blob: r.take()?,
        bound: None,
    };
    let trust: Option<String> = r.take()?;
    let access: Option<String> = r.take()?;
    let roles: Option<String> = r.take()?;
    let until: Option<Micros> = r.take()?;
    let creator: Option<String> = r.take()?;
    if let (Some(trust_id), Some(access)) = (trust, access) {
        c.bound = Some(BoundTo {
            trust_id,
            access,
            roles: roles.as_deref().map(read_roles),
            until: Until::from_option(until),
            creator,
        });
    }
    Ok(c)
}

/// One credential.
///
/// # Errors
/// When the database fails.
pub async fn get(tx: &mut Tx, id: &str) -> Result<Option<Credential>> {
    Ok(tx.first(&format!("{COLUMNS} WHERE c.id = ?"), args![id], read).await?)
}

/// Credentials that fit a condition on `c` and `k`, by id.
///
/// # Errors
/// When the database fails.
pub async fn find(tx: &mut Tx, build: impl FnOnce(&mut Select)) -> Result<Vec<Credential>> {
    let mut q = Select::new(COLUMNS);
    build(&mut q);
    q.end("ORDER BY c.id");
    Ok(q.map(tx, read).await?)
}

/// Which credentials a list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose<'a> {
    /// Everybody's.
    All,
    /// A user's own, and the keypairs of trusts of which they are the trustee; keypairs only.
    Keypairs(&'a str),
    /// Those in which a user has a part: their own, and the keypairs of every trust that they gave or got, and of
    /// all below these.
    Part(&'a str),
}

/// The ids of a batch of credentials, with a condition on `c.id`, and on `c.user_id` for everybody's.
///
/// # Errors
/// When the database fails.
pub async fn ids(
    tx: &mut Tx,
    whose: Whose<'_>,
    batch: &Batch,
    build: impl FnOnce(&mut Select),
) -> Result<Vec<String>> {
    // What somebody has a part in is gathered first: no engine has to look for it among everybody's. SQLite joins
    // in the order of a cross join.
    let mut q = match whose {
        Whose::All => Select::new("SELECT c.id FROM credential c"),
        Whose::Keypairs(user) => Select::with(
            "SELECT c.id FROM (
                 SELECT id FROM credential WHERE user_id = ? AND type IN (?, ?)
                 UNION
                 SELECT k.credential_id FROM trust t CROSS JOIN vicar_keypair k
                  WHERE k.trust_id = t.id AND t.trustee_user_id = ?) c",
            args![Id(user), PLAIN, BOUND, Id(user)],
        ),
        Whose::Part(user) => Select::with(
            "WITH RECURSIVE mine(id) AS (
                 SELECT id FROM trust WHERE trustor_user_id = ? OR trustee_user_id = ?
                 UNION
                 SELECT t.id FROM trust t JOIN mine ON t.redelegated_trust_id = mine.id)
             SELECT c.id FROM (
                 SELECT id FROM credential WHERE user_id = ?
                 UNION
                 SELECT k.credential_id FROM mine CROSS JOIN vicar_keypair k WHERE k.trust_id = mine.id) c",
            args![Id(user), Id(user), Id(user)],
        ),
    };
    build(&mut q);
    q.batch("c.id", batch);
    Ok(q.map(tx, |r| r.take()).await?)
}

/// What the keypairs of some trusts are bound to.
///
/// # Errors
/// When the database fails.
pub async fn of_trusts(tx: &mut Tx, trusts: &[&str]) -> Result<Vec<BoundTo>> {
    let mut out = Vec::new();
    for part in trusts.chunks(CHUNK) {
        let found = find(tx, |q| {
            q.is_in("k.trust_id", part.iter().copied());
        })
        .await?;
        out.extend(found.into_iter().filter_map(|c| c.bound));
    }
    Ok(out)
}

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

/// Proofs that cover the record of what a keypair is bound to: its creation, and the first use of one that an
/// older Keystone made, by the server itself.
pub trait RecordsBinding: Proof {}

impl RecordsBinding for Authorized<Proposed<NewCredential>> {}
impl RecordsBinding for System {}

/// Records what a keypair is bound to, unless that is recorded already.
///
/// # Errors
/// When the database fails.
pub async fn record(
    tx: &mut WriteTx,
    proof: &impl RecordsBinding,
    credential: &str,
    b: &BoundTo,
    audit_chain: &str,
    now: Micros,
) -> Result<()> {
    if tx.exists("SELECT trust_id FROM vicar_keypair WHERE credential_id = ?", args![credential]).await? {
        return Ok(());
    }
    tx.run(
        proof,
        "INSERT INTO vicar_keypair (credential_id, access, trust_id, audit_chain_id, roles, expires_at,
             created_at, creator_audit_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        args![
            credential,
            &b.access,
            &b.trust_id,
            audit_chain,
            b.roles.as_ref().map(|r| serde_json::json!(r).to_string()),
            b.until.to_option(),
            now,
            &b.creator,
        ],
    )
    .await?;
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
