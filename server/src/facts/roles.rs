//! Who holds which roles where, and the roles as tokens show them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vicar_rules::Micros;
use vicar_rules::roles::{Implications, RoleSet};

use crate::args;
use crate::store::memory::AnswerKey;
use crate::store::{CHUNK, DateTime, Id, Result, Select, Tx, Value, placeholders};

/// `role.domain_id` of a role that is no domain's.
pub const NO_DOMAIN: &str = "<<null>>";

/// A role as tokens show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRef {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// `options.immutable`, if it was ever set.
    pub immutable: Option<bool>,
}

/// Where somebody holds roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// A project.
    Project(&'a str),
    /// A domain.
    Domain(&'a str),
    /// The system.
    System,
}

/// The implied-role relation, whole: it is small.
pub async fn implications(tx: &mut Tx) -> Result<Arc<Implications>> {
    const KEY: AnswerKey = AnswerKey::only("implications");
    if let Some(known) = tx.known(&KEY, Micros::MIN).await? {
        return Ok(known);
    }
    let mark = tx.begin_answer();
    let sql = "SELECT prior_role_id, implied_role_id FROM implied_role";
    let pairs: Vec<(String, String)> = tx.map(sql, &[], |r| Ok((r.take()?, r.take()?))).await?;
    let size = pairs.len() * 200;
    let implications = Arc::new(Implications::new(pairs));
    tx.remember(mark, KEY, (&implications, size));
    Ok(implications)
}

/// Memberships that came with a login through an identity provider, for a condition that [`Tx::unexpired`] makes, or
/// whose ends are read. They are few, so that engines begin with them.
pub const EXPIRING: &str = "expiring_user_group_membership e JOIN identity_provider i ON i.id = e.idp_id";

/// Roles that are assigned to the user or one of their groups at the place, inherited ones included.
async fn assigned(tx: &mut Tx, user: &str, place: Place<'_>) -> Result<RoleSet> {
    let (sql, args) = match place {
        Place::Project(id) => {
            let ends = format!("a.role_id, {ENDS}");
            on_project(tx, user, id, [&ends, "a.role_id, NULL, NULL", "a.role_id, NULL, NULL"]).await?
        }
        Place::Domain(id) => (
            format!(
                "SELECT a.role_id, {ENDS} FROM {EXPIRING} JOIN assignment a ON a.actor_id = e.group_id
                  WHERE e.user_id = ? AND a.type = 'GroupDomain' AND a.target_id = ? AND a.inherited = ?
                 UNION ALL
                 SELECT a.role_id, NULL, NULL FROM assignment a
                  WHERE a.target_id = ? AND a.inherited = ?
                    AND ((a.type = 'UserDomain' AND a.actor_id = ?)
                      OR (a.type = 'GroupDomain' AND a.actor_id IN
                            (SELECT group_id FROM user_group_membership WHERE user_id = ?)))"
            ),
            args![Id(user), Id(id), false, Id(id), false, Id(user), Id(user)].to_vec(),
        ),
        Place::System => (
            format!(
                "SELECT a.role_id, {ENDS} FROM {EXPIRING} JOIN system_assignment a ON a.actor_id = e.group_id
                  WHERE e.user_id = ? AND a.type = 'GroupSystem' AND a.target_id = 'system'
                    AND a.inherited = ?
                 UNION ALL
                 SELECT a.role_id, NULL, NULL FROM system_assignment a
                  WHERE a.target_id = 'system' AND a.inherited = ?
                    AND ((a.type = 'UserSystem' AND a.actor_id = ?)
                      OR (a.type = 'GroupSystem' AND a.actor_id IN
                            (SELECT group_id FROM user_group_membership WHERE user_id = ?)))"
            ),
            args![Id(user), false, false, Id(user), Id(user)].to_vec(),
        ),
    };
    let found = tx
        .map(&sql, &args, |r| {
            let role: String = r.take()?;
            let (seen, minutes): (Option<DateTime>, Option<i64>) = (r.take()?, r.take()?);
            Ok((role, seen.map(|seen| (seen, minutes))))
        })
        .await?;
    let mut roles = RoleSet::new();
    for (role, expiring) in found {
        if expiring.is_none_or(|(seen, minutes)| tx.is_unexpired(seen, minutes)) {
            roles.insert(role);
        }
    }
    Ok(roles)
}

/// What tells when an expiring membership ends; nulls for what does not. The statement begins with those that do, as
/// PostgreSQL takes the types of columns from the first two parts.
const ENDS: &str = "e.last_verified, i.authorization_ttl";

/// The projects and the domain above a project, nearest first.
///
/// # Errors
/// When the database fails.
pub async fn above(tx: &mut Tx, project: &str) -> Result<Vec<String>> {
    // Two steps at once: mostly there are no more, which costs less than setting up a recursive query.
    let mut steps = vec![project.to_owned()];
    loop {
        let last = steps.last().map_or(project, String::as_str);
        let two: Option<[Option<String>; 2]> = tx
            .first(
                "SELECT p.parent_id, o.parent_id FROM project p LEFT JOIN project o ON o.id = p.parent_id
                  WHERE p.id = ?",
                args![Id(last)],
                |r| Ok([r.take()?, r.take()?]),
            )
            .await?;
        for step in two.unwrap_or_default() {
            match step.filter(|step| !steps.contains(step)) {
                Some(step) => steps.push(step),
                None => return Ok(steps.split_off(1)),
            }
        }
    }
}

/// What finds the grants on a project: its own, and those that are inherited from what it is below. The columns are those of grants
/// by memberships that expire, of the user's own, and by other groups.
pub(super) async fn on_project(
    tx: &mut Tx,
    user: &str,
    id: &str,
    [expiring, own, groups]: [&str; 3],
) -> Result<(String, Vec<Value>)> {
    let mut above = above(tx, id).await?;
    if above.is_empty() {
        // Nothing is inherited from nowhere; an empty list is no SQL on every engine.
        above.push(String::new());
    }
    let held = format!(
        "((a.target_id = ? AND a.inherited = ? AND a.type IN ('UserProject', 'GroupProject'))
          OR (a.target_id IN ({}) AND a.inherited = ?))",
        placeholders(above.len())
    );
    let sql = format!(
        "SELECT {expiring} FROM {EXPIRING} JOIN assignment a ON a.actor_id = e.group_id
          WHERE a.type IN ('GroupProject', 'GroupDomain') AND e.user_id = ? AND {held}
         UNION ALL
         SELECT {own} FROM assignment a
          WHERE a.type IN ('UserProject', 'UserDomain') AND a.actor_id = ? AND {held}
         UNION ALL
         SELECT {groups} FROM assignment a JOIN user_group_membership m ON m.group_id = a.actor_id
          WHERE a.type IN ('GroupProject', 'GroupDomain') AND m.user_id = ? AND {held}"
    );
    let mut args: Vec<Value> = Vec::new();
    for _ in ["expiring", "user", "groups"] {
        args.extend([Id(user).into(), Id(id).into(), false.into()]);
        args.extend(above.iter().map(|id| Id(id).into()));
        args.push(true.into());
    }
    Ok((sql, args))
}

/// Effective roles of groups on a project or domain, whoever is in them; on the system they have none here: a
/// federated user's token is never one of the system.
///
/// # Errors
/// When the database fails.
pub async fn roles_of_groups(
    tx: &mut Tx,
    groups: &[String],
    place: Place<'_>,
    implications: &Implications,
) -> Result<RoleSet> {
    let (kind, id, mut above) = match place {
        Place::System => return Ok(RoleSet::new()),
        Place::Domain(id) => ("GroupDomain", id, Vec::new()),
        Place::Project(id) => ("GroupProject", id, above(tx, id).await?),
    };
    above.push(String::new());
    let held = format!(
        "((a.type = '{kind}' AND a.target_id = ? AND a.inherited = ?)
          OR (a.type IN ('GroupProject', 'GroupDomain') AND a.target_id IN ({}) AND a.inherited = ?))",
        placeholders(above.len())
    );
    let mut args: Vec<Value> = vec![Id(id).into(), false.into()];
    args.extend(above.iter().map(|id| Id(id).into()));
    args.push(true.into());
    let mut roles = RoleSet::new();
    for some in groups.chunks(CHUNK) {
        let mut q = Select::new("SELECT a.role_id FROM assignment a");
        q.and(&held, &args).id_in("a.actor_id", some);
        roles.extend(q.map(tx, |r| r.take::<String>()).await?);
    }
    Ok(implications.closure(&roles))
}

/// The domains of those of some roles that are stored, by role; [`NO_DOMAIN`] for what is no domain's.
///
/// # Errors
/// When the database fails.
pub async fn domains_of_roles(tx: &mut Tx, of: BTreeSet<&String>) -> Result<BTreeMap<String, String>> {
    let of: Vec<&String> = of.into_iter().collect();
    let mut found = BTreeMap::new();
    for part in of.chunks(CHUNK) {
        let mut q = Select::new("SELECT id, domain_id FROM role");
        q.id_in("id", part.iter().copied());
        found.extend(q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?))).await?);
    }
    Ok(found)
}

/// Effective roles: assigned ones and all that they imply, domain-specific ones included.
pub async fn effective_roles(
    tx: &mut Tx,
    user: &str,
    place: Place<'_>,
    implications: &Implications,
) -> Result<RoleSet> {
    Ok(implications.closure(&assigned(tx, user, place).await?))
}

/// A JSON list of role ids, as stored. A list that cannot be read gives nothing rather than everything.
pub(super) fn read_roles(text: &str) -> RoleSet {
    serde_json::from_str(text).unwrap_or_default()
}

/// Roles as tokens show them: each once, domain-specific ones left out.
pub async fn token_roles(tx: &mut Tx, ids: &RoleSet) -> Result<Vec<RoleRef>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut q = Select::new(
        "SELECT r.domain_id, r.id, r.name, r.description,
                (SELECT o.option_value FROM role_option o WHERE o.role_id = r.id AND o.option_id = 'IMMU')
           FROM role r",
    );
    // With the domain or the order in the statement, SQLite would read all roles by their index of names.
    q.id_in("r.id", ids);
    let found = q.map(tx, |r| {
        let domain: String = r.take()?;
        let (id, name, description) = (r.take()?, r.take()?, r.take()?);
        let immutable = r.take::<Option<String>>()?.map(|v| v == "true");
        Ok((domain, RoleRef { id, name, description, immutable }))
    });
    let mut roles: Vec<RoleRef> =
        found.await?.into_iter().filter(|(domain, _)| domain == NO_DOMAIN).map(|(_, role)| role).collect();
    roles.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(roles)
}
