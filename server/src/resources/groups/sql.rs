//! Who is in which group, in the database.

use vicar_rules::policy::Facts;

use super::Group;
use crate::args;
use crate::authz::{Authorized, Caller, Object};
use crate::error::{Error, Result};
use crate::facts::RoleLossGuard;
use crate::resource::Record;
use crate::resources::users;
use crate::resources::users::sql::{NAMED, User};
use crate::store::{Batch, Delete, Id, Insert, Select, Tx, WriteTx};

/// A group and a user by their ids, with what is stored of them: a membership may outlive either.
#[derive(Debug)]
pub struct Membership<'a> {
    /// The id of the group.
    pub group_id: &'a str,
    /// The id of the user.
    pub user_id: &'a str,
    group: Option<Record<Group>>,
    user: Option<User>,
}

impl Object for Membership<'_> {
    fn facts(&self, caller: &Caller) -> Result<Facts> {
        let user = self.user.as_ref().map_or_else(|| Ok(Facts::none()), |user| user.facts(caller))?;
        Ok(self.group.as_ref().map_or_else(Facts::none, Record::policy_facts).and(user))
    }
}

impl<'a> Membership<'a> {
    /// Loads both ends.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load(tx: &mut Tx, group_id: &'a str, user_id: &'a str) -> Result<Self> {
        let group = Record::load(tx, group_id).await?;
        let user = users::sql::get(tx, user_id).await?;
        Ok(Self { group_id, user_id, group, user })
    }

    /// Checks that both ends exist.
    ///
    /// # Errors
    /// 404 when one does not.
    pub fn check_ends(&self) -> Result<()> {
        if self.group.is_none() {
            return Err(Error::NotFound("group", self.group_id.to_owned()));
        }
        if self.user.is_none() {
            return Err(Error::NotFound("user", self.user_id.to_owned()));
        }
        Ok(())
    }
}

/// Whether the user is in the group.
///
/// # Errors
/// When the database fails.
pub async fn has_member(tx: &mut Tx, group: &str, user: &str) -> Result<bool> {
    Ok(tx
        .exists(
            "SELECT user_id FROM user_group_membership WHERE group_id = ? AND user_id = ?",
            args![Id(group), Id(user)],
        )
        .await?)
}

/// The ids of a batch of a group's members, all or those of a name. They are found before the users are read: so no
/// engine looks for the members among all users.
///
/// # Errors
/// When the database fails.
pub async fn members(tx: &mut Tx, group: &str, name: Option<&str>, batch: &Batch) -> Result<Vec<String>> {
    let q = match name {
        None => {
            let mut q = Select::new("SELECT m.user_id FROM user_group_membership m");
            q.id("m.group_id", Some(group)).batch("m.user_id", batch);
            q
        }
        Some(name) => {
            let mut q = Select::new("SELECT u.id FROM \"user\" u");
            q.and(NAMED, args![name, name, name])
                .and(
                    "EXISTS (SELECT 1 FROM user_group_membership m WHERE m.user_id = u.id AND m.group_id = ?)",
                    args![Id(group)],
                )
                .batch("u.id", batch);
            q
        }
    };
    Ok(q.map(tx, |r| r.take()).await?)
}

/// The same of the groups that a user is in.
///
/// # Errors
/// When the database fails.
pub async fn of_user(tx: &mut Tx, user: &str, name: Option<&str>, batch: &Batch) -> Result<Vec<String>> {
    let q = match name {
        None => {
            let mut q = Select::new("SELECT m.group_id FROM user_group_membership m");
            q.id("m.user_id", Some(user)).batch("m.group_id", batch);
            q
        }
        Some(name) => {
            let mut q = Select::new("SELECT t.id FROM \"group\" t");
            q.eq("t.name", Some(name))
                .and(
                    "EXISTS (SELECT 1 FROM user_group_membership m WHERE m.group_id = t.id AND m.user_id = ?)",
                    args![Id(user)],
                )
                .batch("t.id", batch);
            q
        }
    };
    Ok(q.map(tx, |r| r.take()).await?)
}

/// Adds a user to a group that they are not in.
///
/// # Errors
/// When the database fails.
pub async fn add_member(tx: &mut WriteTx, of: &Authorized<Membership<'_>>) -> Result<()> {
    let insert =
        Insert::into("user_group_membership").set("user_id", of.user_id).set("group_id", of.group_id);
    tx.execute(of, &insert).await?;
    Ok(())
}

/// Removes a user from a group. What they lose by it ends the tokens that carried it.
///
/// # Errors
/// When the database fails.
pub async fn remove_member(tx: &mut WriteTx, of: &Authorized<Membership<'_>>) -> Result<()> {
    let guard = RoleLossGuard::begin(tx, [of.user_id.to_owned()]).await?;
    let delete =
        Delete::from("user_group_membership").key("group_id", of.group_id).key("user_id", of.user_id);
    tx.execute(of, &delete).await?;
    Ok(guard.finish(tx, of).await?)
}
