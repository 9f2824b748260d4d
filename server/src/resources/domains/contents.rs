//! What goes with a domain besides its projects: users, groups, its own roles, its settings.

use vicar_rules::Micros;

use crate::args;
use crate::error::Result;
use crate::http::Permit;
use crate::resources::{groups, roles, users};
use crate::store::Tx;

/// What else belongs to the domain. `?` is its id.
const ITS_SETTINGS: [&str; 5] = [
    "DELETE FROM id_mapping WHERE domain_id = ?",
    "DELETE FROM whitelisted_config WHERE domain_id = ?",
    "DELETE FROM sensitive_config WHERE domain_id = ?",
    "DELETE FROM config_register WHERE domain_id = ?",
    "DELETE FROM \"limit\" WHERE domain_id = ?",
];

/// Removes all of it, in the transaction that removes the domain. The caller frames this for losses.
pub async fn remove(tx: &mut Tx, domain: &str, now: Micros, permit: &Permit) -> Result<()> {
    for user in ids(tx, "SELECT id FROM \"user\" WHERE domain_id = ? ORDER BY id", domain).await? {
        users::sql::delete(tx, &user, now, permit).await?;
    }
    for group in ids(tx, "SELECT id FROM \"group\" WHERE domain_id = ? ORDER BY id", domain).await? {
        groups::sql::delete(tx, &group, now, permit).await?;
    }
    for role in ids(tx, "SELECT id FROM role WHERE domain_id = ? ORDER BY id", domain).await? {
        roles::sql::delete(tx, &role, permit).await?;
    }
    for statement in ITS_SETTINGS {
        tx.run(statement, args![domain]).await?;
    }
    Ok(())
}

async fn ids(tx: &mut Tx, sql: &str, domain: &str) -> Result<Vec<String>> {
    Ok(tx.column(sql, args![domain]).await?)
}
