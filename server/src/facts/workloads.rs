//! Of which workload a login was, by the word of its identity provider: kept as long as a token of that login can live, and read
//! where a trust is bound to a workload. Tokens do not carry it, since a Keystone has to read them.

use std::collections::BTreeSet;

use vicar_rules::Micros;
use vicar_rules::binding::Workload;
use vicar_rules::revocation::Event;

use super::revocations::record_events;
use crate::args;
use crate::store::{Delete, Error, Id, Insert, Proof, Result, Tx, WriteTx};

/// A workload, and the identity provider by which it logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The provider's id.
    pub provider: String,
    /// What the provider has signed.
    pub workload: Workload,
}

/// The workload that logged in where this chain of tokens began, if it was one. It is none any more when its provider is
/// disabled or gone, or has no protocol by which one could come.
///
/// # Errors
/// When the database fails.
pub async fn of_chain(tx: &mut Tx, first_audit_id: &str) -> Result<Option<Workload>> {
    let sql = "SELECT w.issuer, w.subject, w.audiences
                 FROM vicar_workload w JOIN identity_provider i ON i.id = w.idp_id
                WHERE w.audit_chain_id = ? AND i.enabled = ?
                  AND EXISTS (SELECT 1 FROM federation_protocol p WHERE p.idp_id = w.idp_id)";
    let stored = tx
        .first(sql, args![Id(first_audit_id), true], |r| {
            Ok((r.take::<String>()?, r.take::<String>()?, r.take::<String>()?))
        })
        .await?;
    let Some((issuer, subject, audiences)) = stored else { return Ok(None) };
    let audiences: BTreeSet<String> = serde_json::from_str(&audiences)
        .map_err(|e| Error::Broken(format!("vicar_workload.audiences: {e}")))?;
    Ok(Some(Workload { issuer, subject, audiences }))
}

/// Keeps the workload of a login whose tokens end at this instant or before.
///
/// # Errors
/// When the database fails.
pub async fn keep(
    tx: &mut WriteTx,
    proof: &impl Proof,
    first_audit_id: &str,
    Signed { provider, workload }: &Signed,
    ends_at: Micros,
) -> Result<()> {
    let row = Insert::into("vicar_workload")
        .set("audit_chain_id", first_audit_id)
        .set("idp_id", provider)
        .set("issuer", &workload.issuer)
        .set("subject", &workload.subject)
        .set("audiences", serde_json::json!(workload.audiences).to_string())
        .set("ends_at", ends_at);
    tx.execute(proof, &row).await?;
    Ok(())
}

/// Forgets who came through a provider, and ends what is left of these logins: what another provider gets the id of says
/// nothing of them.
///
/// # Errors
/// When the database fails.
pub async fn end_of_provider(tx: &mut WriteTx, proof: &impl Proof, provider: &str) -> Result<()> {
    let sql = "SELECT audit_chain_id FROM vicar_workload WHERE idp_id = ?";
    let chains: Vec<String> = tx.column(sql, args![Id(provider)]).await?;
    // The first token of each, which has no chain yet, and those that came of it.
    let of = |chain: String| {
        let first = Event { audit: Some(chain.clone()), ..Event::default() };
        [first, Event { audit_chain: Some(chain), ..Event::default() }]
    };
    record_events(tx, proof, &chains.into_iter().flat_map(of).collect::<Vec<_>>())?;
    tx.execute(proof, &Delete::from("vicar_workload").key("idp_id", provider)).await?;
    Ok(())
}
