//! Grants in the database: `assignment`, and `system_assignment` for the system.

use super::{Actor, Grant, GrantPath, Target, kind};
use crate::args;
use crate::authz::Authorized;
use crate::error::Result;
use crate::facts::Holders;
use crate::resource::Record;
use crate::resources::roles::Role;
use crate::store::{self, Delete, Id, Insert, Tx, Value, WriteTx};

impl GrantPath {
    fn table(&self) -> &'static str {
        match self.target {
            Target::System => "system_assignment",
            Target::Project(_) | Target::Domain(_) => "assignment",
        }
    }

    fn kind(&self) -> &'static str {
        kind(&self.actor, &self.target)
    }

    /// Arguments of [`MATCH`].
    fn args(&self) -> Vec<Value> {
        args![Id(self.kind()), Id(self.actor.id()), Id(self.target.id()), self.inherited].to_vec()
    }

    fn args_with(&self, role: &str) -> Vec<Value> {
        let mut args = self.args();
        args.push(Id(role).into());
        args
    }
}

const MATCH: &str = "type = ? AND actor_id = ? AND target_id = ? AND inherited = ?";

/// The roles that are granted; none that follow from others.
///
/// # Errors
/// When the database fails.
pub async fn roles(tx: &mut Tx, of: &GrantPath) -> Result<Vec<Record<Role>>> {
    let condition = format!("t.id IN (SELECT role_id FROM {} WHERE {MATCH})", of.table());
    Record::find(tx, |q| {
        q.and(&condition, &of.args());
    })
    .await
}

/// Whether the role is granted.
///
/// # Errors
/// When the database fails.
pub async fn exists(tx: &mut Tx, of: &GrantPath, role: &str) -> Result<bool> {
    let sql = format!("SELECT role_id FROM {} WHERE {MATCH} AND role_id = ?", of.table());
    Ok(tx.exists(&sql, &of.args_with(role)).await?)
}

/// Grants the role. What is granted already stays.
///
/// # Errors
/// When the database fails.
pub async fn grant(tx: &mut WriteTx, grant: &Authorized<Grant>) -> Result<()> {
    let (of, role) = (&grant.path, grant.role_id()?);
    if exists(tx, of, role).await? {
        return Ok(());
    }
    let row = Insert::into(of.table())
        .set("type", of.kind())
        .set("actor_id", of.actor.id())
        .set("target_id", of.target.id())
        .set("inherited", of.inherited)
        .set("role_id", role);
    match tx.execute(grant, &row).await {
        Ok(_) => Ok(()),
        // A Keystone on the same database was faster; the next run finds it.
        Err(store::Error::Duplicate) => Err(store::Error::Retry("the same grant at once".into()).into()),
        Err(other) => Err(other.into()),
    }
}

/// Takes the role back.
///
/// # Errors
/// When the database fails.
pub async fn revoke(tx: &mut WriteTx, grant: &Authorized<Grant>) -> Result<()> {
    let of = &grant.path;
    let row = Delete::from(of.table()).and(MATCH, &of.args()).key("role_id", grant.role_id()?);
    tx.execute(grant, &row).await?;
    Ok(())
}

/// Whom a grant concerns.
///
/// # Errors
/// When the database fails.
pub async fn holders_of(tx: &mut Tx, actor: &Actor) -> Result<Holders> {
    match actor {
        Actor::User(id) => Ok(Holders::user(id)),
        Actor::Group(id) => Ok(Holders::group(tx, id).await?),
    }
}
