//! Roles in the database: `role`, `role_option`, `implied_role`, and the rows that depend on a role.

use super::{Implication, Role};
use crate::args;
use crate::authz::{Authorized, Proposed};
use crate::error::{Error, Result};
use crate::extra as bag;
use crate::facts::NO_DOMAIN;
use crate::resources::projects::{Domain, Project};
use crate::store::{self, Proof, Row, Select, Tx, WriteTx};

/// `role_option` of `options.immutable`.
const IMMUTABLE: &str = "IMMU";

const ROLE: &str = "SELECT r.id, r.name, r.domain_id, r.description, r.extra, o.option_value
                      FROM role r LEFT JOIN role_option o ON o.role_id = r.id AND o.option_id = 'IMMU'";

fn read(r: &mut Row) -> store::Result<Role> {
    let (id, name, domain): (String, String, String) = (r.take()?, r.take()?, r.take()?);
    let (description, extra): (Option<String>, Option<String>) = (r.take()?, r.take()?);
    let immutable: Option<String> = r.take()?;
    Ok(Role {
        id,
        name,
        domain_id: (domain != NO_DOMAIN).then_some(domain),
        description,
        immutable: immutable.and_then(|v| serde_json::from_str(&v).ok()),
        extra: bag::read(extra),
    })
}

/// Roles that match conditions on `r`, ordered by name.
///
/// # Errors
/// When the database fails.
pub async fn find(tx: &mut Tx, build: impl FnOnce(&mut Select)) -> Result<Vec<Role>> {
    let mut q = Select::new(ROLE);
    build(&mut q);
    Ok(q.end("ORDER BY r.name, r.id").map(tx, read).await?)
}

/// A role by id.
///
/// # Errors
/// When the database fails.
pub async fn get(tx: &mut Tx, id: &str) -> Result<Option<Role>> {
    Ok(tx.first(&format!("{ROLE} WHERE r.id = ?"), args![id], read).await?)
}

/// A role by id.
///
/// # Errors
/// 404 when there is none.
pub async fn require(tx: &mut Tx, id: &str) -> Result<Role> {
    get(tx, id).await?.ok_or_else(|| Error::NotFound("role", id.to_owned()))
}

/// The roles of a domain, or the global ones.
///
/// # Errors
/// When the database fails.
pub async fn list(tx: &mut Tx, domain: Option<&str>, name: Option<&str>) -> Result<Vec<Role>> {
    find(tx, |q| {
        q.and("r.domain_id = ?", args![domain.unwrap_or(NO_DOMAIN)]).eq("r.name", name);
    })
    .await
}

fn name_taken(role: &Role) -> impl Fn(store::Error) -> Error {
    let place = role.domain_id.as_ref().map_or_else(String::new, |d| format!(" in domain {d}"));
    let detail = format!("the name {} is taken{place}", role.name);
    move |e| match e {
        store::Error::Duplicate => Error::taken("role", &detail),
        other => other.into(),
    }
}

async fn write_option(tx: &mut WriteTx, proof: &impl Proof, role: &Role) -> Result<()> {
    let delete = "DELETE FROM role_option WHERE role_id = ? AND option_id = ?";
    tx.run(proof, delete, args![&role.id, IMMUTABLE]).await?;
    if let Some(immutable) = role.immutable {
        tx.run(
            proof,
            "INSERT INTO role_option (role_id, option_id, option_value) VALUES (?, ?, ?)",
            args![&role.id, IMMUTABLE, immutable.to_string()],
        )
        .await?;
    }
    Ok(())
}

/// Stores a new role.
///
/// # Errors
/// 409 when the name is taken.
pub async fn insert(tx: &mut WriteTx, role: &Authorized<Proposed<Role>>) -> Result<()> {
    tx.run(
        role,
        "INSERT INTO role (id, name, extra, domain_id, description) VALUES (?, ?, ?, ?, ?)",
        args![
            &role.id,
            &role.name,
            bag::text(&role.extra),
            role.domain_id.as_deref().unwrap_or(NO_DOMAIN),
            &role.description,
        ],
    )
    .await
    .map_err(name_taken(role))?;
    write_option(tx, role, role).await
}

/// Stores what may change of a role; its domain may not.
///
/// # Errors
/// 409 when the name is taken.
pub async fn update(tx: &mut WriteTx, stored: &Authorized<Role>, role: &Role) -> Result<()> {
    tx.run(
        stored,
        "UPDATE role SET name = ?, extra = ?, description = ? WHERE id = ?",
        args![&role.name, bag::text(&role.extra), &role.description, &stored.id],
    )
    .await
    .map_err(name_taken(role))?;
    write_option(tx, stored, role).await
}

/// Proofs that cover the deletion of a role: a role's own, and that of the domain that it belongs to.
pub trait DeletesRole: Proof {}

impl DeletesRole for Authorized<Role> {}
impl DeletesRole for Authorized<Project> {}
impl DeletesRole for Authorized<Domain> {}

/// Deletes the rows that depend on a role, in an order that foreign keys allow. `?` is the role's id.
const DEPENDENT_ROWS: [&str; 6] = [
    "DELETE FROM assignment WHERE role_id = ?",
    "DELETE FROM system_assignment WHERE role_id = ?",
    "DELETE FROM implied_role WHERE prior_role_id = ?",
    "DELETE FROM implied_role WHERE implied_role_id = ?",
    "DELETE FROM role_option WHERE role_id = ?",
    "DELETE FROM role WHERE id = ?",
];

/// Deletes a role with its assignments and implications, and the application credentials that have it. Trusts
/// keep its id, which nobody holds any more, so they give nothing.
///
/// # Errors
/// When the database fails.
pub async fn delete(tx: &mut WriteTx, proof: &impl DeletesRole, id: &str) -> Result<()> {
    let credentials = "(SELECT application_credential_id FROM application_credential_role WHERE role_id = ?)";
    let rules = format!(
        "DELETE FROM application_credential_access_rule WHERE application_credential_id IN {credentials}"
    );
    tx.run(proof, &rules, args![id]).await?;
    let owners = format!("DELETE FROM application_credential WHERE internal_id IN {credentials}");
    tx.run(proof, &owners, args![id]).await?;
    // This also removes the other roles of those credentials.
    tx.run(
        proof,
        "DELETE FROM application_credential_role WHERE application_credential_id NOT IN
             (SELECT internal_id FROM application_credential)",
        &[],
    )
    .await?;
    for statement in DEPENDENT_ROWS {
        tx.run(proof, statement, args![id]).await?;
    }
    Ok(())
}

/// The roles that a role implies directly.
///
/// # Errors
/// When the database fails.
pub async fn implied_by(tx: &mut Tx, prior: &str) -> Result<Vec<Role>> {
    find(tx, |q| {
        q.and("r.id IN (SELECT implied_role_id FROM implied_role WHERE prior_role_id = ?)", args![prior]);
    })
    .await
}

/// Whether one role implies the other directly.
///
/// # Errors
/// When the database fails.
pub async fn implies(tx: &mut Tx, prior: &str, implied: &str) -> Result<bool> {
    Ok(tx
        .exists(
            "SELECT prior_role_id FROM implied_role WHERE prior_role_id = ? AND implied_role_id = ?",
            args![prior, implied],
        )
        .await?)
}

/// Lets one role imply the other.
///
/// # Errors
/// 409 when it does already.
pub async fn imply(tx: &mut WriteTx, of: &Authorized<Implication>) -> Result<()> {
    let (prior, implied) = (&of.prior.id, &of.implied.id);
    tx.run(
        of,
        "INSERT INTO implied_role (prior_role_id, implied_role_id) VALUES (?, ?)",
        args![prior, implied],
    )
    .await
    .map_err(|e| match e {
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
    tx.run(
        of,
        "DELETE FROM implied_role WHERE prior_role_id = ? AND implied_role_id = ?",
        args![&of.prior.id, &of.implied.id],
    )
    .await?;
    Ok(())
}
