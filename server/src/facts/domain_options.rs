//! What is stored for a domain and has an effect here.

use serde_json::Value;

use crate::args;
use crate::store::{Id, Result, Tx};

/// The longest list of users or groups of a domain, where one is stored.
///
/// # Errors
/// When the database fails.
pub async fn list_limit(tx: &mut Tx, domain: &str) -> Result<Option<u32>> {
    let sql = "SELECT value FROM whitelisted_config
                WHERE domain_id = ? AND \"group\" = 'identity' AND \"option\" = 'list_limit'";
    let stored: Option<String> = tx.first(sql, args![Id(domain)], |r| r.take()).await?;
    // Keystone reads a number from a string, too. 0 is none, and what is no number has no effect.
    let number = match stored.and_then(|text| serde_json::from_str(&text).ok()) {
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(other) => other.as_u64(),
        None => None,
    };
    Ok(number.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0))
}
