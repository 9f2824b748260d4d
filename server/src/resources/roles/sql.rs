//! Roles in the database: `role`, `role_option`, `implied_role`, and what goes with a deleted role.

use super::Role;
use crate::args;
use crate::error::{Error, Result};
use crate::facts::NO_DOMAIN;
use crate::http::{Permit, bag};
use crate::store::{self, Row, Select, Tx};

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

/// Roles that fit conditions on `r`, by name.
pub async fn find(tx: &mut Tx, build: impl FnOnce(&mut Select)) -> Result<Vec<Role>> {
    let mut q = Select::new(ROLE);
    build(&mut q);
    Ok(q.end("ORDER BY r.name, r.id").map(tx, read).await?)
}

/// A role by id.
pub async fn get(tx: &mut Tx, id: &str) -> Result<Option<Role>> {
    Ok(tx.first(&format!("{ROLE} WHERE r.id = ?"), args![id], read).await?)
}

/// A role by id, or 404.
pub async fn require(tx: &mut Tx, id: &str) -> Result<Role> {
    get(tx, id).await?.ok_or_else(|| Error::NotFound("role", id.to_owned()))
}

/// The roles of a domain, or the global ones.
pub async fn list(tx: &mut Tx, domain: Option<&str>, name: Option<&str>) -> Result<Vec<Role>> {
    find(tx, |q| {
        q.and("r.domain_id = ?", args![domain.unwrap_or(NO_DOMAIN)]).eq("r.name", name);
    })
    .await
}

fn named(role: &Role) -> impl Fn(store::Error) -> Error {
    let place = role.domain_id.as_ref().map_or_else(String::new, |d| format!(" in domain {d}"));
    let detail = format!("the name {} is taken{place}", role.name);
    move |e| match e {
        store::Error::Duplicate => Error::taken("role", &detail),
        other => other.into(),
    }
}

async fn write_option(tx: &mut Tx, role: &Role) -> Result<()> {
    tx.run("DELETE FROM role_option WHERE role_id = ? AND option_id = ?", args![&role.id, IMMUTABLE]).await?;
    if let Some(immutable) = role.immutable {
        tx.run(
            "INSERT INTO role_option (role_id, option_id, option_value) VALUES (?, ?, ?)",
            args![&role.id, IMMUTABLE, immutable.to_string()],
        )
        .await?;
    }
    Ok(())
}

/// Writes a new role.
pub async fn insert(tx: &mut Tx, role: &Role, _permit: &Permit) -> Result<()> {
    tx.run(
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
    .map_err(named(role))?;
    write_option(tx, role).await
}

/// Writes what may change of a role; its domain may not.
pub async fn update(tx: &mut Tx, role: &Role, _permit: &Permit) -> Result<()> {
    tx.run(
        "UPDATE role SET name = ?, extra = ?, description = ? WHERE id = ?",
        args![&role.name, bag::text(&role.extra), &role.description, &role.id],
    )
    .await
    .map_err(named(role))?;
    write_option(tx, role).await
}

/// Removes a role with its assignments and implications, and the application credentials that carry
/// it. Trusts keep its id, which nobody holds any more, so they give nothing.
pub async fn delete(tx: &mut Tx, id: &str, _permit: &Permit) -> Result<()> {
    let credentials = "(SELECT application_credential_id FROM application_credential_role WHERE role_id = ?)";
    tx.run(
        &format!(
            "DELETE FROM application_credential_access_rule WHERE application_credential_id IN {credentials}"
        ),
        args![id],
    )
    .await?;
    tx.run(&format!("DELETE FROM application_credential WHERE internal_id IN {credentials}"), args![id])
        .await?;
    // The other roles of those credentials go with them.
    tx.run(
        "DELETE FROM application_credential_role WHERE application_credential_id NOT IN
             (SELECT internal_id FROM application_credential)",
        &[],
    )
    .await?;
    for sql in [
        "DELETE FROM assignment WHERE role_id = ?",
        "DELETE FROM system_assignment WHERE role_id = ?",
        "DELETE FROM implied_role WHERE prior_role_id = ?",
        "DELETE FROM implied_role WHERE implied_role_id = ?",
        "DELETE FROM role_option WHERE role_id = ?",
        "DELETE FROM role WHERE id = ?",
    ] {
        tx.run(sql, args![id]).await?;
    }
    Ok(())
}

/// The roles that a role implies directly.
pub async fn implied_by(tx: &mut Tx, prior: &str) -> Result<Vec<Role>> {
    find(tx, |q| {
        q.and("r.id IN (SELECT implied_role_id FROM implied_role WHERE prior_role_id = ?)", args![prior]);
    })
    .await
}

/// Does one role imply the other directly?
pub async fn implies(tx: &mut Tx, prior: &str, implied: &str) -> Result<bool> {
    Ok(tx
        .exists(
            "SELECT prior_role_id FROM implied_role WHERE prior_role_id = ? AND implied_role_id = ?",
            args![prior, implied],
        )
        .await?)
}

/// Lets one role imply the other.
pub async fn imply(tx: &mut Tx, prior: &str, implied: &str, _permit: &Permit) -> Result<()> {
    tx.run("INSERT INTO implied_role (prior_role_id, implied_role_id) VALUES (?, ?)", args![prior, implied])
        .await
        .map_err(|e| match e {
            store::Error::Duplicate => {
                Error::taken("implied_role", &format!("role {prior} implies role {implied} already"))
            }
            other => other.into(),
        })?;
    Ok(())
}

/// Ends an implication; says whether there was one.
pub async fn imply_no_more(tx: &mut Tx, prior: &str, implied: &str, _permit: &Permit) -> Result<bool> {
    let removed = tx
        .run(
            "DELETE FROM implied_role WHERE prior_role_id = ? AND implied_role_id = ?",
            args![prior, implied],
        )
        .await?;
    Ok(removed > 0)
}
