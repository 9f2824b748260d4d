//! What a domain contains besides its projects: users, groups, its own roles, identity providers, its settings.

use vicar_rules::Micros;

use crate::args;
use crate::error::Result;
use crate::notifications::{Gone, ObjectKind};
use crate::resource::Record;
use crate::resources::projects::DeletesProject;
use crate::resources::roles::Role;
use crate::resources::{federation, groups, users};
use crate::store::{Id, Tx, WriteTx, cascade};

/// Deletes all of it, in the transaction that deletes the domain, and returns what it was. The caller records the roles
/// that are lost.
///
/// # Errors
/// When the database fails.
pub async fn delete(
    tx: &mut WriteTx,
    proof: &impl DeletesProject,
    domain: &str,
    now: Micros,
) -> Result<Vec<Gone>> {
    let mut gone = Vec::new();
    federation::delete_of_domain(tx, proof, domain, now).await?;
    for user in ids(tx, "SELECT id FROM \"user\" WHERE domain_id = ? ORDER BY id", domain).await? {
        gone.extend(users::sql::delete(tx, proof, &user, now).await?);
        gone.push((ObjectKind::User, user));
    }
    for group in ids(tx, "SELECT id FROM \"group\" WHERE domain_id = ? ORDER BY id", domain).await? {
        groups::delete(tx, proof, &group).await?;
        gone.push((ObjectKind::Group, group));
    }
    for role in ids(tx, "SELECT id FROM role WHERE domain_id = ? ORDER BY id", domain).await? {
        Record::<Role>::delete(tx, proof, &role).await?;
        gone.push((ObjectKind::Role, role));
    }
    cascade::delete(tx, proof, cascade::DOMAIN, domain).await?;
    Ok(gone)
}

async fn ids(tx: &mut Tx, sql: &str, domain: &str) -> Result<Vec<String>> {
    Ok(tx.column(sql, args![Id(domain)]).await?)
}
