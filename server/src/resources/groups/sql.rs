//! Groups in the database.

use serde_json::{Map, Value, json};
use vicar_rules::policy::{Fact, Facts};

use crate::args;
use crate::authz::{Authorized, Caller, Object, Proposed};
use crate::error::{Error, Result};
use crate::facts::RoleLossGuard;
use crate::http::{Links, bag};
use crate::resources::projects::{Domain, Project};
use crate::resources::users;
use crate::resources::users::sql::User;
use crate::store::{self, Proof, Row, Select, Tx, WriteTx};

/// A group.
#[derive(Debug, Clone)]
pub struct Group {
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
    /// The id of the domain.
    pub domain_id: String,
    /// The description.
    pub description: Option<String>,
    /// Attributes that clients keep with the group.
    pub extra: Map<String, Value>,
}

impl Object for Group {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none().with(Fact::GroupDomain, &self.domain_id))
    }
}

impl Object for Proposed<Group> {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none().with(Fact::GroupDomain, &self.domain_id))
    }
}

/// A group and a user by their ids, with what is stored of them: a membership may outlive either.
#[derive(Debug)]
pub struct Membership<'a> {
    /// The id of the group.
    pub group_id: &'a str,
    /// The id of the user.
    pub user_id: &'a str,
    group: Option<Group>,
    user: Option<User>,
}

impl Object for Membership<'_> {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none()
            .with_opt(Fact::GroupDomain, self.group.as_ref().map(|g| g.domain_id.as_str()))
            .with_opt(Fact::UserDomain, self.user.as_ref().map(|u| u.domain_id.as_str())))
    }
}

impl<'a> Membership<'a> {
    /// Loads both ends.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load(tx: &mut Tx, group_id: &'a str, user_id: &'a str) -> Result<Self> {
        let group = get(tx, group_id).await?;
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

impl Group {
    /// The group as clients see it.
    pub fn to_json(&self, links: &Links) -> Value {
        let mut out = self.extra.clone();
        out.insert("id".into(), json!(self.id));
        out.insert("name".into(), json!(self.name));
        out.insert("domain_id".into(), json!(self.domain_id));
        out.insert("description".into(), json!(self.description));
        out.insert("links".into(), json!({"self": links.of(&["groups", &self.id])}));
        Value::Object(out)
    }
}

fn read_group(r: &mut Row) -> store::Result<Group> {
    Ok(Group {
        id: r.take()?,
        name: r.take()?,
        domain_id: r.take()?,
        description: r.take()?,
        extra: bag::read(r.take()?),
    })
}

/// Groups that match conditions on `g`, ordered by id.
///
/// # Errors
/// When the database fails.
pub async fn list(tx: &mut Tx, build: impl FnOnce(&mut Select)) -> Result<Vec<Group>> {
    let mut q = Select::new("SELECT g.id, g.name, g.domain_id, g.description, g.extra FROM \"group\" g");
    build(&mut q);
    Ok(q.end("ORDER BY g.id").map(tx, read_group).await?)
}

/// A group by id.
///
/// # Errors
/// When the database fails.
pub async fn get(tx: &mut Tx, id: &str) -> Result<Option<Group>> {
    let one = |q: &mut Select| {
        q.eq("g.id", Some(id));
    };
    Ok(list(tx, one).await?.pop())
}

fn name_taken(group: &Group) -> impl FnOnce(store::Error) -> Error {
    let detail = format!("Duplicate entry found with name {} at domain ID {}", group.name, group.domain_id);
    move |e| match e {
        store::Error::Duplicate => Error::taken("group", &detail),
        other => other.into(),
    }
}

/// Stores a new group.
///
/// # Errors
/// 409 when the name is taken.
pub async fn insert(tx: &mut WriteTx, group: &Authorized<Proposed<Group>>) -> Result<()> {
    tx.run(
        group,
        "INSERT INTO \"group\" (id, name, domain_id, description, extra) VALUES (?, ?, ?, ?, ?)",
        args![&group.id, &group.name, &group.domain_id, &group.description, bag::text(&group.extra)],
    )
    .await
    .map_err(name_taken(group))?;
    Ok(())
}

/// Stores what may have changed of a group.
///
/// # Errors
/// 409 when the name is taken.
pub async fn update(tx: &mut WriteTx, stored: &Authorized<Group>, group: &Group) -> Result<()> {
    tx.run(
        stored,
        "UPDATE \"group\" SET name = ?, description = ?, extra = ? WHERE id = ?",
        args![&group.name, &group.description, bag::text(&group.extra), &stored.id],
    )
    .await
    .map_err(name_taken(group))?;
    Ok(())
}

/// Proofs that cover the deletion of a group: a group's own, and that of the domain that it is in.
pub trait DeletesGroup: Proof {}

impl DeletesGroup for Authorized<Group> {}
impl DeletesGroup for Authorized<Project> {}
impl DeletesGroup for Authorized<Domain> {}

/// Deletes the rows that depend on a group, in an order that foreign keys allow. `?` is the group's id.
const DEPENDENT_ROWS: [&str; 6] = [
    "DELETE FROM user_group_membership WHERE group_id = ?",
    "DELETE FROM expiring_user_group_membership WHERE group_id = ?",
    "DELETE FROM assignment WHERE type IN ('GroupProject', 'GroupDomain') AND actor_id = ?",
    "DELETE FROM system_assignment WHERE type = 'GroupSystem' AND actor_id = ?",
    "DELETE FROM id_mapping WHERE public_id = ?",
    "DELETE FROM \"group\" WHERE id = ?",
];

/// Deletes a group with its grants. What its members lose by it ends the tokens that carried it.
///
/// # Errors
/// When the database fails.
pub async fn delete(tx: &mut WriteTx, proof: &impl DeletesGroup, group: &str) -> Result<()> {
    let members: Vec<String> =
        tx.column("SELECT user_id FROM user_group_membership WHERE group_id = ?", args![group]).await?;
    let guard = RoleLossGuard::begin(tx, members).await?;
    for statement in DEPENDENT_ROWS {
        tx.run(proof, statement, args![group]).await?;
    }
    Ok(guard.finish(tx, proof).await?)
}

/// Whether the user is in the group.
///
/// # Errors
/// When the database fails.
pub async fn has_member(tx: &mut Tx, group: &str, user: &str) -> Result<bool> {
    Ok(tx
        .exists(
            "SELECT user_id FROM user_group_membership WHERE group_id = ? AND user_id = ?",
            args![group, user],
        )
        .await?)
}

/// Adds a user to a group that they are not in.
///
/// # Errors
/// When the database fails.
pub async fn add_member(tx: &mut WriteTx, of: &Authorized<Membership<'_>>) -> Result<()> {
    tx.run(
        of,
        "INSERT INTO user_group_membership (user_id, group_id) VALUES (?, ?)",
        args![of.user_id, of.group_id],
    )
    .await?;
    Ok(())
}

/// Removes a user from a group. What they lose by it ends the tokens that carried it.
///
/// # Errors
/// When the database fails.
pub async fn remove_member(tx: &mut WriteTx, of: &Authorized<Membership<'_>>) -> Result<()> {
    let guard = RoleLossGuard::begin(tx, [of.user_id.to_owned()]).await?;
    tx.run(
        of,
        "DELETE FROM user_group_membership WHERE group_id = ? AND user_id = ?",
        args![of.group_id, of.user_id],
    )
    .await?;
    Ok(guard.finish(tx, of).await?)
}
