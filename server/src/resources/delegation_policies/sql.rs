//! Ceilings in the database, as they are set and shown; those that hold for a chain are in `facts::ceilings`.

use crate::args;
use crate::authz::Authorized;
use crate::error::Result;
use crate::facts::ceilings::{self, Kind, Stored};
use crate::store::{Delete, Id, Insert, Tx, WriteTx};

const TABLE: &str = "vicar_delegation_policy";

/// What is stored for a holder; nothing in it when it cannot be read.
///
/// # Errors
/// When the database fails.
pub async fn get(tx: &mut Tx, kind: Kind, id: &str) -> Result<Option<Option<Stored>>> {
    let sql = "SELECT p.policy FROM vicar_delegation_policy p WHERE p.holder_id = ? AND p.kind = ?";
    let text = tx.first(sql, args![Id(id), Id(kind.word())], |r| r.take::<String>()).await?;
    Ok(text.map(|text| ceilings::read(&text)))
}

/// Stores one, in the place of what was stored.
///
/// # Errors
/// When the database fails.
pub async fn put<T: Sync>(
    tx: &mut WriteTx,
    proof: &Authorized<T>,
    kind: Kind,
    id: &str,
    stored: &Stored,
) -> Result<()> {
    remove(tx, proof, kind, id).await?;
    let row = Insert::into(TABLE)
        .set("holder_id", id)
        .set("kind", kind.word())
        .set("policy", ceilings::write(stored));
    tx.execute(proof, &row).await?;
    Ok(())
}

/// Removes it.
///
/// # Errors
/// When the database fails.
pub async fn remove<T: Sync>(tx: &mut WriteTx, proof: &Authorized<T>, kind: Kind, id: &str) -> Result<()> {
    tx.execute(proof, &Delete::from(TABLE).key("holder_id", id).key("kind", kind.word())).await?;
    Ok(())
}
