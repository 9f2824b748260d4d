//! `implied_role`: which roles imply which.

use super::{Implication, Role};
use crate::args;
use crate::authz::Authorized;
use crate::error::{Error, Result};
use crate::resource::Record;
use crate::store::{self, Delete, Id, Insert, Tx, WriteTx};

/// The roles that a role implies directly.
///
/// # Errors
/// When the database fails.
pub async fn implied_by(tx: &mut Tx, prior: &str) -> Result<Vec<Record<Role>>> {
    Record::find(tx, |q| {
        q.and("t.id IN (SELECT implied_role_id FROM implied_role WHERE prior_role_id = ?)", args![Id(prior)]);
    })
    .await
}

/// Whether one role implies the other directly.
///
/// # Errors
/// When the database fails.
pub async fn implies(tx: &mut Tx, prior: &str, implied: &str) -> Result<bool> {
    let sql = "SELECT prior_role_id FROM implied_role WHERE prior_role_id = ? AND implied_role_id = ?";
    Ok(tx.exists(sql, args![Id(prior), Id(implied)]).await?)
}

/// Lets one role imply the other.
///
/// # Errors
/// 409 when it does already.
pub async fn imply(tx: &mut WriteTx, of: &Authorized<Implication>) -> Result<()> {
    let (prior, implied) = (&of.prior.id, &of.implied.id);
    let insert = Insert::into("implied_role").set("prior_role_id", prior).set("implied_role_id", implied);
    tx.execute(of, &insert).await.map_err(|e| match e {
        store::Error::Duplicate => {
            Error::taken("implied_role", &format!("role {prior} implies role {implied} already"))
        }
        other => other.into(),
    })?;
    Ok(())
}

/// Ends an implication.
///
/// # Errors
/// When the database fails.
pub async fn delete_implication(tx: &mut WriteTx, of: &Authorized<Implication>) -> Result<()> {
    let (prior, implied) = (&of.prior.id, &of.implied.id);
    let delete = Delete::from("implied_role").key("prior_role_id", prior).key("implied_role_id", implied);
    tx.execute(of, &delete).await?;
    Ok(())
}
