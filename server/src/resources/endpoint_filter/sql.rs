//! Rows that name endpoints and groups of them for projects.

use vicar_rules::policy::Facts;

use crate::args;
use crate::authz::{Authorized, Caller, Object};
use crate::error::{Error, Result};
use crate::store::{self, Delete, Id, Insert, Tx, WriteTx};

/// What is named for a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// One endpoint.
    Endpoint,
    /// A group of endpoints.
    Group,
}

impl What {
    /// The table with its rows.
    pub fn table(self) -> &'static str {
        match self {
            Self::Endpoint => "project_endpoint",
            Self::Group => "project_endpoint_group",
        }
    }

    /// That table's column with the id of what is named.
    pub fn column(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint_id",
            Self::Group => "endpoint_group_id",
        }
    }
}

/// That something is named for a project, or may be.
#[derive(Debug, Clone, Copy)]
pub struct Naming<'r> {
    /// What it is.
    pub what: What,
    /// Its id.
    pub id: &'r str,
    /// The project.
    pub project_id: &'r str,
}

impl Object for Naming<'_> {
    /// The ids are in the path.
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }
}

impl Naming<'_> {
    /// Whether it is stored.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_stored(&self, tx: &mut Tx) -> Result<bool> {
        let (table, column) = (self.what.table(), self.what.column());
        let sql = format!("SELECT 1 FROM {table} WHERE {column} = ? AND project_id = ?");
        Ok(tx.exists(&sql, args![Id(self.id), Id(self.project_id)]).await?)
    }

    /// 404: it is not stored.
    pub fn missing(&self) -> Error {
        Error::NotFoundBecause(match self.what {
            What::Endpoint => format!("Endpoint {} not found in project {}", self.id, self.project_id),
            What::Group => "Endpoint Group Project Association not found".into(),
        })
    }
}

/// Stores it.
///
/// # Errors
/// 409 when it is stored already.
pub async fn insert(tx: &mut WriteTx, new: &Authorized<Naming<'_>>) -> Result<()> {
    let insert =
        Insert::into(new.what.table()).set(new.what.column(), new.id).set("project_id", new.project_id);
    tx.execute(new, &insert).await.map_err(|e| match e {
        store::Error::Duplicate => Error::taken(new.what.table(), "Duplicate entry"),
        other => other.into(),
    })?;
    Ok(())
}

/// Removes it.
///
/// # Errors
/// 404 when it is not stored.
pub async fn delete(tx: &mut WriteTx, stored: &Authorized<Naming<'_>>) -> Result<()> {
    if !stored.is_stored(tx).await? {
        return Err(stored.missing());
    }
    let delete = Delete::from(stored.what.table())
        .key(stored.what.column(), stored.id)
        .key("project_id", stored.project_id);
    tx.execute(stored, &delete).await?;
    Ok(())
}
