//! Groups in the database.

use serde_json::{Map, Value, json};
use vicar_rules::Micros;

use crate::args;
use crate::error::{Error, Result};
use crate::http::{Permit, Req, bag};
use crate::resources::trusts::loss::{self, Affected};
use crate::resources::users;
use crate::store::{self, Row, Select, Tx};

/// A group.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its domain.
    pub domain_id: String,
    /// What it is for.
    pub description: Option<String>,
    /// What clients keep with it.
    pub extra: Map<String, Value>,
}

impl Group {
    /// As clients see it.
    pub fn body(&self, req: &Req) -> Value {
        let mut out = self.extra.clone();
        out.insert("id".into(), json!(self.id));
        out.insert("name".into(), json!(self.name));
        out.insert("domain_id".into(), json!(self.domain_id));
        out.insert("description".into(), json!(self.description));
        out.insert("links".into(), json!({"self": req.link(&format!("/groups/{}", self.id))}));
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

/// Groups that fit conditions on `g`, in the order of their ids.
pub async fn list(tx: &mut Tx, build: impl FnOnce(&mut Select)) -> Result<Vec<Group>> {
    let mut q = Select::new("SELECT g.id, g.name, g.domain_id, g.description, g.extra FROM \"group\" g");
    build(&mut q);
    Ok(q.end("ORDER BY g.id").map(tx, read_group).await?)
}

/// A group by id.
pub async fn get(tx: &mut Tx, id: &str) -> Result<Option<Group>> {
    let one = |q: &mut Select| {
        q.eq("g.id", Some(id));
    };
    Ok(list(tx, one).await?.pop())
}

fn taken(group: &Group) -> impl FnOnce(store::Error) -> Error {
    let detail = format!("Duplicate entry found with name {} at domain ID {}", group.name, group.domain_id);
    move |e| match e {
        store::Error::Duplicate => Error::taken("group", &detail),
        other => other.into(),
    }
}

/// Writes a new group.
pub async fn insert(tx: &mut Tx, group: &Group, _permit: &Permit) -> Result<()> {
    tx.run(
        "INSERT INTO \"group\" (id, name, domain_id, description, extra) VALUES (?, ?, ?, ?, ?)",
        args![&group.id, &group.name, &group.domain_id, &group.description, bag::text(&group.extra),],
    )
    .await
    .map_err(taken(group))?;
    Ok(())
}

/// Writes what may have changed of a group.
pub async fn update(tx: &mut Tx, group: &Group, _permit: &Permit) -> Result<()> {
    tx.run(
        "UPDATE \"group\" SET name = ?, description = ?, extra = ? WHERE id = ?",
        args![&group.name, &group.description, bag::text(&group.extra), &group.id,],
    )
    .await
    .map_err(taken(group))?;
    Ok(())
}

/// What goes with a group, in an order that foreign keys allow. `?` is the group's id.
const GOES_WITH_IT: [&str; 6] = [
    "DELETE FROM user_group_membership WHERE group_id = ?",
    "DELETE FROM expiring_user_group_membership WHERE group_id = ?",
    "DELETE FROM assignment WHERE type IN ('GroupProject', 'GroupDomain') AND actor_id = ?",
    "DELETE FROM system_assignment WHERE type = 'GroupSystem' AND actor_id = ?",
    "DELETE FROM id_mapping WHERE public_id = ?",
    "DELETE FROM \"group\" WHERE id = ?",
];

/// More members than this, and asking about everybody is less work than asking about each.
const MANY: usize = 500;

/// Deletes a group with its grants. Its members lose what they had by it: their tokens end, when it
/// gave them anything at all.
pub async fn delete(tx: &mut Tx, group: &str, now: Micros, permit: &Permit) -> Result<()> {
    let members: Vec<String> =
        tx.column("SELECT user_id FROM user_group_membership WHERE group_id = ?", args![group]).await?;
    let gave = tx
        .exists(
            "SELECT 1 FROM assignment WHERE type IN ('GroupProject', 'GroupDomain') AND actor_id = ?
             UNION ALL
             SELECT 1 FROM system_assignment WHERE type = 'GroupSystem' AND actor_id = ?",
            args![group, group],
        )
        .await?;
    let affected = if members.len() > MANY { Affected::Everybody } else { Affected::Users(&members) };
    let before = if gave { Some(loss::before(tx, affected, now).await?) } else { None };
    for statement in GOES_WITH_IT {
        tx.run(statement, args![group]).await?;
    }
    if let Some(before) = before {
        before.after(tx, now).await?;
        for user in &members {
            users::sql::end_tokens(tx, user, now, permit).await?;
        }
    }
    Ok(())
}

/// Is the user in the group?
pub async fn has_member(tx: &mut Tx, group: &str, user: &str) -> Result<bool> {
    Ok(tx
        .exists(
            "SELECT user_id FROM user_group_membership WHERE group_id = ? AND user_id = ?",
            args![group, user],
        )
        .await?)
}

/// Puts a user into a group; he may be in it already.
pub async fn add_member(tx: &mut Tx, group: &str, user: &str, _permit: &Permit) -> Result<()> {
    if !has_member(tx, group, user).await? {
        tx.run("INSERT INTO user_group_membership (user_id, group_id) VALUES (?, ?)", args![user, group])
            .await?;
    }
    Ok(())
}

/// Takes a user out of a group, and ends his tokens; says whether he was in it.
pub async fn remove_member(
    tx: &mut Tx,
    group: &str,
    user: &str,
    now: Micros,
    permit: &Permit,
) -> Result<bool> {
    let users = [user.to_owned()];
    let before = loss::before(tx, Affected::Users(&users), now).await?;
    let gone = tx
        .run("DELETE FROM user_group_membership WHERE group_id = ? AND user_id = ?", args![group, user])
        .await?;
    if gone == 0 {
        return Ok(false);
    }
    before.after(tx, now).await?;
    users::sql::end_tokens(tx, user, now, permit).await?;
    Ok(true)
}
