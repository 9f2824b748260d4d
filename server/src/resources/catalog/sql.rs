//! What services and endpoints need of each other's rows.

use crate::args;
use crate::error::Result;
use crate::store::{Proof, Tx, WriteTx};

/// Whether there is a service with this id.
///
/// # Errors
/// When the database fails.
pub async fn service_exists(tx: &mut Tx, id: &str) -> Result<bool> {
    Ok(tx.exists("SELECT id FROM service WHERE id = ?", args![id]).await?)
}

/// Proofs that cover the deletion of an endpoint: its own, and that of its service.
pub trait DeletesEndpoint: Proof {}

/// Deletes an endpoint with what refers to it.
///
/// # Errors
/// When the database fails.
pub async fn delete_endpoint(tx: &mut WriteTx, proof: &impl DeletesEndpoint, id: &str) -> Result<()> {
    tx.run(proof, "DELETE FROM project_endpoint WHERE endpoint_id = ?", args![id]).await?;
    tx.run(proof, "DELETE FROM policy_association WHERE endpoint_id = ?", args![id]).await?;
    tx.run(proof, "DELETE FROM endpoint WHERE id = ?", args![id]).await?;
    Ok(())
}

/// Deletes the endpoints of a service.
///
/// # Errors
/// When the database fails.
pub async fn delete_endpoints_of(
    tx: &mut WriteTx,
    proof: &impl DeletesEndpoint,
    service: &str,
) -> Result<()> {
    let all: Vec<String> = tx.column("SELECT id FROM endpoint WHERE service_id = ?", args![service]).await?;
    for id in &all {
        delete_endpoint(tx, proof, id).await?;
    }
    Ok(())
}
