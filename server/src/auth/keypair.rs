//! Keypairs, as far as their exchange and their tokens care: ids, the encrypted blob, and the record of the
//! keypair that a token was exchanged for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use vicar_rules::Micros;
use vicar_rules::delegation::{Authority, Chain, Until};
use vicar_rules::keypair::{self, Narrowing};
use vicar_rules::roles::Implications;

use super::fernet::Payload;
use crate::args;
use crate::crypto::keys::Keys;
use crate::error::Result;
use crate::facts::credentials::{Credential, Own, PLAIN, read_own};
use crate::store::{Id, Tx};

/// The audit chain of all tokens that a keypair is exchanged for. Derived from the keypair, so that one
/// ordinary revocation event ends them all, here and in a Keystone beside us.
pub fn audit_chain(credential_id: &str) -> String {
    let digest = Sha256::digest(format!("tokens of keypair {credential_id}"));
    URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or(&digest))
}

/// The id of a keypair's credential: SHA-256 of its access id, in hex, as in Keystone.
pub fn credential_id(access: &str) -> String {
    hex::encode(Sha256::digest(access.as_bytes()))
}

/// Decrypts a blob; nothing when no key fits.
pub fn decrypt(keys: &Keys, credential: &Credential) -> Option<String> {
    let text = keys.decrypt(&credential.encrypted_blob).and_then(|b| String::from_utf8(b).ok())?;
    Some(match serde_json::from_str(&text) {
        Ok(Value::String(inner)) if credential.kind == PLAIN => inner,
        _ => text,
    })
}

/// A blob's object.
pub fn blob_object(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Some(map),
        _ => None,
    }
}

/// What a token of a trust's keypair is worth: the trust's authority, narrowed as the keypair is, and the
/// what the keypair has of its own. Nothing when it is gone. Which keypair it was follows from the audit chain.
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
) -> Result<Option<(Authority, Own)>> {
    let Some(root) = payload.audit_ids.get(1) else { return Ok(None) };
    let bound = tx
        .first(
            "SELECT k.roles, k.expires_at FROM vicar_keypair k JOIN credential c ON c.id = k.credential_id
              WHERE k.audit_chain_id = ? AND k.trust_id = ?",
            args![Id(root), Id(&chain.leaf().id)],
            |r| Ok((r.take::<Option<String>>()?, r.take::<Option<i64>>()?)),
        )
        .await?;
    let Some((roles, until)) = bound else { return Ok(None) };
    let own = read_own(roles.as_deref());
    let until = Until::from_option(until);
    let narrowing = Narrowing { roles: own.roles.as_ref(), until, access: &own.access_rules };
    let narrowed = keypair::exchange(authority, narrowing, implications, now);
    Ok(narrowed.map(|authority| (authority, own)))
}
