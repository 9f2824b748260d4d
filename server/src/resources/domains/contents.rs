//! What a domain contains besides its projects: users, groups, its own roles, its settings.

use vicar_rules::Micros;

use crate::args;
use crate::error::Result;
use crate::resources::projects::DeletesProject;
use crate::resources::{groups, roles, users};
use crate::store::{Tx, WriteTx};

/// Deletes other rows of the domain. `?` is its id.
const SETTINGS: [&str; 5] = [
    "DELETE FROM id_mapping WHERE domain_id = ?",
    "DELETE FROM whitelisted_config WHERE domain_id = ?",
    "DELETE FROM sensitive_config WHERE domain_id = ?",
    "DELETE FROM config_register WHERE domain_id = ?",
    "DELETE FROM \"limit\" WHERE domain_id = ?",
];

/// Deletes all of it, in the transaction that deletes the domain. The caller records the roles that are lost.
///
/// # Errors
/// When the database fails.
pub async fn delete(tx: &mut WriteTx, proof: &impl DeletesProject, domain: &str, now: Micros) -> Result<()> {
    for user in ids(tx, "SELECT id FROM \"user\" WHERE domain_id = ? ORDER BY id", domain).await? {
        users::sql::delete(tx, proof, &user, now).await?;
    }
    for group in ids(tx, "SELECT id FROM \"group\" WHERE domain_id = ? ORDER BY id", domain).await? {
        groups::sql::delete(tx, proof, &group, now).await?;
    }
    for role in ids(tx, "SELECT id FROM role WHERE domain_id = ? ORDER BY id", domain).await? {
        roles::sql::delete(tx, proof, &role).await?;
    }
    for statement in SETTINGS {
        tx.run(proof, statement, args![domain]).await?;
    }
    Ok(())
}

async fn ids(tx: &mut Tx, sql: &str, domain: &str) -> Result<Vec<String>> {
    Ok(tx.column(sql, args![domain]).await?)
}
