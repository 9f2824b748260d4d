//! EC2 keypairs and their exchange.

pub mod sql;

use vicar_rules::Micros;
use vicar_rules::delegation::{Authority, Chain, Until};
use vicar_rules::keypair;
use vicar_rules::roles::{Implications, RoleSet};

use crate::args;
use crate::error::Result;
use crate::store::Tx;
use crate::tokens::fernet::Payload;

/// What a token of a trust's keypair is worth: the trust's worth, narrowed as the keypair is. Nothing
/// when the keypair is gone. Which keypair it was follows from the audit chain.
pub async fn narrow(
    tx: &mut Tx,
    payload: &Payload,
    chain: &Chain,
    worth: &Authority,
    implications: &Implications,
    now: Micros,
) -> Result<Option<Authority>> {
    let Some(root) = payload.audit_ids.get(1) else {
        return Ok(None);
    };
    let bound = tx
        .first(
            "SELECT k.roles, k.expires_at FROM vicar_keypair k JOIN credential c ON c.id = k.credential_id
              WHERE k.audit_chain_id = ? AND k.trust_id = ?",
            args![root, &chain.leaf().id],
            |r| Ok((r.take::<Option<String>>()?, r.take::<Option<i64>>()?)),
        )
        .await?;
    let Some((roles, until)) = bound else {
        return Ok(None);
    };
    let roles: Option<RoleSet> = roles.map(sql::read_roles);
    Ok(keypair::exchange(worth, roles.as_ref(), Until::from_option(until), implications, now))
}
