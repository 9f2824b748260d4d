//! Who is in which group, in the database.

use std::collections::BTreeMap;

use vicar_rules::Micros;
use vicar_rules::policy::Facts;

use super::Group;
use crate::args;
use crate::authz::{Authorized, Caller, Object};
use crate::clock::SECOND;
use crate::error::{Error, Result};
use crate::facts::RoleLossGuard;
use crate::resource::Record;
use crate::resources::users;
use crate::resources::users::sql::{NAMED, User};
use crate::store::{Batch, CHUNK, DateTime, Delete, Id, Insert, Select, Tx, WriteTx};

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

    /// Checks that neither end is in a directory, which nothing is written to.
    ///
    /// # Errors
    /// 403 when one is.
    pub async fn writable(&self, tx: &mut Tx) -> Result<()> {
        let user = self.user.as_ref().map(|user| user.domain_id.as_str());
        let group = self.group.as_ref().and_then(|group| group.text("domain_id"));
        for domain in user.into_iter().chain(group) {
            users::http::writable(tx, domain).await?;
        }
        Ok(())
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

/// Whether the user is in the group for a time that is not over.
///
/// # Errors
/// When the database fails.
pub async fn has_passing_member(tx: &mut Tx, group: &str, user: &str) -> Result<bool> {
    let (unexpired, now) = tx.unexpired();
    let sql = format!(
        "SELECT e.user_id FROM expiring_user_group_membership e JOIN identity_provider i ON i.id = e.idp_id
          WHERE e.group_id = ? AND e.user_id = ? AND {unexpired}"
    );
    Ok(tx.exists(&sql, args![Id(group), Id(user), now]).await?)
}

/// Until when a user is in those groups that they are in for a time; of several times the latest.
///
/// # Errors
/// When the database fails.
pub async fn passing(tx: &mut Tx, user: &str) -> Result<BTreeMap<String, Micros>> {
    let (unexpired, now) = tx.unexpired();
    let sql = format!(
        "SELECT e.group_id, e.last_verified, i.authorization_ttl
           FROM expiring_user_group_membership e JOIN identity_provider i ON i.id = e.idp_id
          WHERE e.user_id = ? AND {unexpired}"
    );
    let default = tx.membership_minutes();
    let found = tx
        .map(&sql, args![Id(user), now], |r| {
            let (group, verified): (String, DateTime) = (r.take()?, r.take()?);
            let minutes = r.take::<Option<i64>>()?.filter(|ttl| *ttl > 0).unwrap_or(default);
            Ok((group, verified.0.saturating_add(minutes.saturating_mul(60 * SECOND))))
        })
        .await?;
    let mut until: BTreeMap<String, Micros> = BTreeMap::new();
    for (group, end) in found {
        let known = until.entry(group).or_insert(end);
        *known = end.max(*known);
    }
    Ok(until)
}

/// Those of some groups that a user is in without an end.
///
/// # Errors
/// When the database fails.
pub async fn for_good(tx: &mut Tx, user: &str, groups: &[String]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for some in groups.chunks(CHUNK) {
        let mut q = Select::new("SELECT m.group_id FROM user_group_membership m");
        q.id("m.user_id", Some(user)).id_in("m.group_id", some);
        found.extend(q.map(tx, |r| r.take::<String>()).await?);
    }
    Ok(found)
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

/// The same of the groups that a user is in; with those for a time, if there are any.
///
/// # Errors
/// When the database fails.
pub async fn of_user(
    tx: &mut Tx,
    user: &str,
    name: Option<&str>,
    has_passing: bool,
    batch: &Batch,
) -> Result<Vec<String>> {
    let (unexpired, now) = tx.unexpired();
    let passing = format!(
        "SELECT e.group_id FROM expiring_user_group_membership e JOIN identity_provider i ON i.id = e.idp_id
          WHERE e.user_id = ? AND {unexpired}"
    );
    let q = match name {
        None if has_passing => {
            let sql = format!(
                "SELECT m.group_id FROM (SELECT group_id FROM user_group_membership WHERE user_id = ?
                                         UNION {passing}) m"
            );
            let mut q = Select::with(&sql, args![Id(user), Id(user), now]);
            q.batch("m.group_id", batch);
            q
        }
        None => {
            let mut q = Select::new("SELECT m.group_id FROM user_group_membership m");
            q.id("m.user_id", Some(user)).batch("m.group_id", batch);
            q
        }
        Some(name) => {
            let mut q = Select::new("SELECT t.id FROM \"group\" t");
            let member =
                "EXISTS (SELECT 1 FROM user_group_membership m WHERE m.group_id = t.id AND m.user_id = ?)";
            q.eq("t.name", Some(name));
            if has_passing {
                q.and(&format!("({member} OR t.id IN ({passing}))"), args![Id(user), Id(user), now]);
            } else {
                q.and(member, args![Id(user)]);
            }
            q.batch("t.id", batch);
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
