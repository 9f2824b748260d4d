//! Credentials and keypairs in the database.

use vicar_rules::Micros;
use vicar_rules::delegation::Until;
use vicar_rules::roles::RoleSet;

use crate::args;
use crate::error::Result;

use crate::http::Permit;
use crate::store::{CHUNK, Row, Select, Tx};

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

/// Where a trust's keypair comes from. Server-side truth: taken from the token that made it, in a table
/// that no client and no Keystone writes.
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

    /// Is it a keypair of either form?
    pub fn is_keypair(&self) -> bool {
        self.kind.eq_ignore_ascii_case(PLAIN) || self.kind == BOUND
    }
}

const COLUMNS: &str = "SELECT c.id, c.user_id, c.project_id, c.type, c.extra, c.key_hash, c.encrypted_blob,
        k.trust_id, k.access, k.roles, k.expires_at, k.creator_audit_id
   FROM credential c LEFT JOIN vicar_keypair k ON k.credential_id = c.id";

fn read(r: &mut Row) -> crate::store::Result<Credential> {
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
            roles: roles.map(read_roles),
            until: Until::from_option(until),
            creator,
        });
    }
    Ok(c)
}

/// A list that cannot be read gives nothing rather than everything.
pub(super) fn read_roles(text: String) -> RoleSet {
    serde_json::from_str(&text).unwrap_or_default()
}

/// One credential.
pub async fn get(tx: &mut Tx, id: &str) -> Result<Option<Credential>> {
    Ok(tx.first(&format!("{COLUMNS} WHERE c.id = ?"), args![id], read).await?)
}

/// Credentials that fit a condition on `c` and `k`.
pub async fn find(tx: &mut Tx, build: impl FnOnce(&mut Select)) -> Result<Vec<Credential>> {
    let mut q = Select::new(COLUMNS);
    build(&mut q);
    q.end("ORDER BY c.id");
    Ok(q.map(tx, read).await?)
}

/// Keypairs of trusts: trust, access id, end, narrowed roles.
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

/// Writes a credential. A keypair's binding is written with it.
pub async fn insert(
    tx: &mut Tx,
    c: &Credential,
    audit_chain: &str,
    now: Micros,
    permit: &Permit,
) -> Result<()> {
    tx.run(
        "INSERT INTO credential (id, user_id, project_id, type, extra, key_hash, encrypted_blob)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
        args![&c.id, &c.user_id, &c.project_id, &c.kind, &c.extra, &c.key_hash, &c.encrypted_blob],
    )
    .await?;
    if let Some(b) = &c.bound {
        record(tx, &c.id, b, audit_chain, now, permit).await?;
    }
    Ok(())
}

/// Records what a keypair is bound to, unless that stands already.
pub async fn record(
    tx: &mut Tx,
    credential: &str,
    b: &BoundTo,
    audit_chain: &str,
    now: Micros,
    _permit: &Permit,
) -> Result<()> {
    if tx.exists("SELECT trust_id FROM vicar_keypair WHERE credential_id = ?", args![credential]).await? {
        return Ok(());
    }
    tx.run(
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

/// Writes a credential's blob.
pub async fn update_blob(tx: &mut Tx, c: &Credential, _permit: &Permit) -> Result<()> {
    tx.run(
        "UPDATE credential SET encrypted_blob = ?, key_hash = ?, extra = ? WHERE id = ?",
        args![&c.encrypted_blob, &c.key_hash, &c.extra, &c.id],
    )
    .await?;
    Ok(())
}

/// Removes a credential.
pub async fn delete(tx: &mut Tx, id: &str, _permit: &Permit) -> Result<()> {
    tx.run("DELETE FROM vicar_keypair WHERE credential_id = ?", args![id]).await?;
    tx.run("DELETE FROM credential WHERE id = ?", args![id]).await?;
    Ok(())
}

/// Removes every keypair that was born from a trust.
pub async fn delete_of_trust(tx: &mut Tx, trust: &str, _permit: &Permit) -> Result<()> {
    tx.run(
        "DELETE FROM credential WHERE id IN (SELECT credential_id FROM vicar_keypair WHERE trust_id = ?)",
        args![trust],
    )
    .await?;
    tx.run("DELETE FROM vicar_keypair WHERE trust_id = ?", args![trust]).await?;
    Ok(())
}

/// Removes all credentials with a value in `column`, which is a name in this program.
pub async fn delete_credentials(
    tx: &mut Tx,
    column: &'static str,
    value: &str,
    _permit: &Permit,
) -> Result<()> {
    tx.run(
        &format!(
            "DELETE FROM vicar_keypair WHERE credential_id IN (SELECT id FROM credential WHERE {column} = ?)"
        ),
        args![value],
    )
    .await?;
    tx.run(&format!("DELETE FROM credential WHERE {column} = ?"), args![value]).await?;
    Ok(())
}
