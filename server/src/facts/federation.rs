//! Identity providers, as far as tokens of those who came from them depend on them.

use serde_json::Value;

use crate::args;
use crate::store::{CHUNK, Id, Result, Select, Tx};

/// Whether there is an identity provider with this id.
///
/// # Errors
/// When the database fails.
pub async fn has_provider(tx: &mut Tx, id: &str) -> Result<bool> {
    tx.exists("SELECT 1 FROM identity_provider WHERE id = ?", args![Id(id)]).await
}

/// Whether there is one, and it is enabled.
///
/// # Errors
/// When the database fails.
pub async fn is_provider_enabled(tx: &mut Tx, id: &str) -> Result<bool> {
    tx.exists("SELECT 1 FROM identity_provider WHERE id = ? AND enabled = ?", args![Id(id), true]).await
}

/// Whether a provider has a protocol.
///
/// # Errors
/// When the database fails.
pub async fn has_protocol(tx: &mut Tx, provider: &str, protocol: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM federation_protocol WHERE idp_id = ? AND id = ?";
    tx.exists(sql, args![Id(provider), Id(protocol)]).await
}

/// Whether a provider has a protocol whose mapping is there.
///
/// # Errors
/// When the database fails.
pub async fn has_mapping(tx: &mut Tx, provider: &str, protocol: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM federation_protocol p JOIN mapping m ON m.id = p.mapping_id
                WHERE p.idp_id = ? AND p.id = ?";
    tx.exists(sql, args![Id(provider), Id(protocol)]).await
}

/// A protocol of an identity provider, as far as who comes by it depends on it.
#[derive(Debug, Clone)]
pub struct Way {
    /// The provider's id.
    pub provider: String,
    /// Whether the provider is enabled.
    pub enabled: bool,
    /// The domain of the provider's users.
    pub domain: String,
    /// The protocol's id; nothing if the provider has no such protocol.
    pub protocol: Option<String>,
    /// The id of its mapping.
    pub mapping: Option<String>,
    /// The attribute with the provider's own id.
    pub remote_id: Option<String>,
    /// By which names the provider calls itself.
    pub remote_ids: Vec<String>,
}

/// The way in by a protocol of a provider; nothing if there is no such provider.
///
/// # Errors
/// When the database fails.
pub async fn way(tx: &mut Tx, provider: &str, protocol: &str) -> Result<Option<Way>> {
    let sql = "SELECT i.id, i.enabled, i.domain_id, p.id, p.mapping_id, p.remote_id_attribute
                 FROM identity_provider i LEFT JOIN federation_protocol p ON p.idp_id = i.id AND p.id = ?
                WHERE i.id = ?";
    let found = tx
        .first(sql, args![Id(protocol), Id(provider)], |r| {
            Ok(Way {
                provider: r.take()?,
                enabled: r.take()?,
                domain: r.take()?,
                protocol: r.take()?,
                mapping: r.take()?,
                remote_id: r.take()?,
                remote_ids: Vec::new(),
            })
        })
        .await?;
    let Some(mut way) = found else { return Ok(None) };
    let sql = "SELECT remote_id FROM idp_remote_ids WHERE idp_id = ?";
    way.remote_ids = tx.column(sql, args![Id(provider)]).await?;
    Ok(Some(way))
}

/// The attributes in which providers name themselves that have this protocol: of each what the protocol names.
///
/// # Errors
/// When the database fails.
pub async fn remote_id_attributes(tx: &mut Tx, protocol: &str) -> Result<Vec<Option<String>>> {
    let sql = "SELECT DISTINCT remote_id_attribute FROM federation_protocol WHERE id = ?";
    tx.column(sql, args![Id(protocol)]).await
}

/// The id of the provider that calls itself so.
///
/// # Errors
/// When the database fails.
pub async fn provider_called(tx: &mut Tx, remote_id: &str) -> Result<Option<String>> {
    tx.first("SELECT idp_id FROM idp_remote_ids WHERE remote_id = ?", args![Id(remote_id)], |r| r.take())
        .await
}

/// The rules in the column of a mapping: JSON, which is a string in JSON.
pub fn mapping_rules(column: &str) -> Value {
    match serde_json::from_str(column).unwrap_or_default() {
        Value::String(rules) => serde_json::from_str(&rules).unwrap_or_default(),
        rules => rules,
    }
}

/// The rules of a mapping and their version.
///
/// # Errors
/// When the database fails.
pub async fn mapping(tx: &mut Tx, id: &str) -> Result<Option<(Value, String)>> {
    let sql = "SELECT rules, schema_version FROM mapping WHERE id = ?";
    tx.first(sql, args![Id(id)], |r| {
        let (rules, version): (String, String) = (r.take()?, r.take()?);
        Ok((mapping_rules(&rules), version))
    })
    .await
}

/// Whether all of these are groups.
///
/// # Errors
/// When the database fails.
pub async fn are_groups(tx: &mut Tx, ids: &[String]) -> Result<bool> {
    for some in ids.chunks(CHUNK) {
        let mut q = Select::new("SELECT id FROM \"group\"");
        q.id_in("id", some);
        let found: Vec<String> = q.map(tx, |r| r.take()).await?;
        if !some.iter().all(|id| found.contains(id)) {
            return Ok(false);
        }
    }
    Ok(true)
}
