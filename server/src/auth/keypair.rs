//! What tokens of keypairs rest on: the record of the keypair that they were exchanged for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use vicar_rules::Micros;
use vicar_rules::delegation::{Authority, Chain, Until};
use vicar_rules::keypair;
use vicar_rules::roles::{Implications, RoleSet};

use super::fernet::Payload;
use crate::args;
use crate::error::Result;
use crate::store::Tx;

/// The audit chain of all tokens that a keypair is exchanged for. Derived from the keypair, so that one
/// ordinary revocation event ends them all, here and in a Keystone beside us.
pub fn audit_chain(credential_id: &str) -> String {
    let digest = Sha256::digest(format!("tokens of keypair {credential_id}"));
    URL_SAFE_NO_PAD.encode(&digest[..16])
}

/// The roles of a narrowed keypair, as stored. A list that cannot be read gives nothing rather than everything.
pub fn read_roles(text: &str) -> RoleSet {
    serde_json::from_str(text).unwrap_or_default()
}

/// What a token of a trust's keypair is worth: the trust's authority, narrowed as the keypair is, and the
/// roles that it is narrowed to. Nothing when the keypair is gone. Which keypair it was follows from the audit chain.
///
/// # Errors
/// When the database fails.
pub async fn narrow(
    tx: &mut Tx,
    payload: &Payload,
    chain: &Chain,
    authority: &Authority,
    implications: &Implications,
    now: Micros,
) -> Result<Option<(Authority, Option<RoleSet>)>> {
    let Some(root) = payload.audit_ids.get(1) else { return Ok(None) };
    let bound = tx
        .first(
            "SELECT k.roles, k.expires_at FROM vicar_keypair k JOIN credential c ON c.id = k.credential_id
              WHERE k.audit_chain_id = ? AND k.trust_id = ?",
            args![root, &chain.leaf().id],
            |r| Ok((r.take::<Option<String>>()?, r.take::<Option<i64>>()?)),
        )
        .await?;
    let Some((roles, until)) = bound else { return Ok(None) };
    let roles: Option<RoleSet> = roles.as_deref().map(read_roles);
    let narrowed = keypair::exchange(authority, roles.as_ref(), Until::from_option(until), implications, now);
    Ok(narrowed.map(|authority| (authority, roles)))
}
