//! Where a user holds roles.

use std::collections::{BTreeMap, BTreeSet};

use axum::response::Response;
use vicar_rules::roles::RoleSet;
use vicar_rules::token::Kind;

use super::sql;
use crate::args;
use crate::authz::{Caller, Reading};
use crate::error::Result;
use crate::facts::{self, NO_DOMAIN};
use crate::store::{CHUNK, Id, Row, Select, Tx};

/// What to list of what a user holds roles on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Projects.
    Projects,
    /// Domains.
    Domains,
}

/// Projects and domains, by id.
#[derive(Debug, Default)]
struct Places {
    projects: BTreeSet<String>,
    domains: BTreeSet<String>,
}

/// Every place on which a user holds a role, directly, by a group or inherited. A domain's own role
/// counts only for the common roles that it implies, as in tokens. `groups` are those that a token names.
async fn places(tx: &mut Tx, user: &str, groups: &[String]) -> Result<Places> {
    let read = |r: &mut Row| Ok((r.take()?, r.take()?, r.take()?, r.take()?));
    let (unexpired, now) = tx.unexpired();
    let mut grants: Vec<(String, String, String, bool)> = tx
        .map(
            &format!(
                "SELECT a.type, a.target_id, a.role_id, a.inherited FROM assignment a
                  WHERE (a.type IN ('UserProject', 'UserDomain') AND a.actor_id = ?)
                     OR (a.type IN ('GroupProject', 'GroupDomain') AND a.actor_id IN
                           (SELECT group_id FROM user_group_membership WHERE user_id = ?))
                 UNION ALL
                 SELECT a.type, a.target_id, a.role_id, a.inherited
                   FROM expiring_user_group_membership e JOIN identity_provider i ON i.id = e.idp_id
                        JOIN assignment a ON a.actor_id = e.group_id
                  WHERE e.user_id = ? AND a.type IN ('GroupProject', 'GroupDomain') AND {unexpired}"
            ),
            args![Id(user), Id(user), Id(user), now],
            read,
        )
        .await?;
    for some in groups.chunks(CHUNK) {
        let mut q = Select::new("SELECT a.type, a.target_id, a.role_id, a.inherited FROM assignment a");
        q.and("a.type IN ('GroupProject', 'GroupDomain')", &[]).id_in("a.actor_id", some);
        grants.extend(q.map(tx, read).await?);
    }
    let implications = facts::implications(tx).await?;
    let mut closures: BTreeMap<&String, RoleSet> = BTreeMap::new();
    for (_, _, role, _) in &grants {
        closures.entry(role).or_insert_with(|| implications.closure(&RoleSet::from([role.clone()])));
    }
    let domains = facts::domains_of_roles(tx, closures.values().flatten().collect()).await?;
    let is_common = |role: &String| domains.get(role).is_none_or(|d| d == NO_DOMAIN);
    let mut found = Places::default();
    let mut above = BTreeSet::new();
    for (kind, target, role, inherited) in &grants {
        if !closures.get(role).is_some_and(|roles| roles.iter().any(is_common)) {
            continue;
        }
        let target = target.clone();
        if *inherited {
            above.insert(target);
        } else if kind.ends_with("Project") {
            found.projects.insert(target);
        } else {
            found.domains.insert(target);
        }
    }
    let above: Vec<String> = above.into_iter().collect();
    found.projects.extend(sql::ids_below(tx, &above).await?);
    Ok(found)
}

/// The same of a caller.
async fn places_of(tx: &mut Tx, caller: &Caller) -> Result<Places> {
    let from = caller.token().and_then(|token| token.payload.federated.as_ref());
    places(tx, caller.user_id(), from.map_or(&[], |from| &from.groups)).await
}

/// Ids of the projects on which the caller's user holds a role. A delegated token goes nowhere but
/// where it is.
///
/// # Errors
/// When the database fails.
pub async fn ids_of_caller(tx: &mut Tx, caller: &Caller) -> Result<BTreeSet<String>> {
    if caller.kind() != Kind::Login {
        let own = caller.token().and_then(|t| t.project());
        return Ok(own.map(|p| p.id.clone()).into_iter().collect());
    }
    Ok(places_of(tx, caller).await?.projects)
}

/// Ids of the projects on which a user holds a role, including disabled ones.
///
/// # Errors
/// When the database fails.
pub async fn ids_of(tx: &mut Tx, user: &str) -> Result<BTreeSet<String>> {
    Ok(places(tx, user, &[]).await?.projects)
}

/// The answer with the enabled projects or domains on which the caller's user holds a role, directly, by a group
/// or inherited: where they could get a token for.
///
/// # Errors
/// 400 for a page that cannot be, otherwise when the database fails.
pub async fn list_held(s: &mut Reading<'_>, what: Held) -> Result<Response> {
    let caller = s.caller()?;
    let ids = match what {
        Held::Projects => ids_of_caller(&mut s.tx, caller).await?,
        Held::Domains if caller.kind() != Kind::Login => BTreeSet::new(),
        Held::Domains => places_of(&mut s.tx, caller).await?.domains,
    };
    let mut paging = s.paging(&[], &[])?;
    while let Some(batch) = s.next_batch(&mut paging).await? {
        let some = batch.of(&ids);
        paging.read(&batch, some.len(), some.last().map(|id| id.as_str()));
        let found = sql::by_ids(&mut s.tx, &some).await?;
        let mut off = BTreeSet::new();
        if what == Held::Projects {
            let domains: BTreeSet<String> = found.iter().filter_map(|p| p.domain_id.clone()).collect();
            let domains: Vec<String> = domains.into_iter().collect();
            let domains = sql::by_ids(&mut s.tx, &domains).await?;
            off.extend(domains.into_iter().filter(|d| !d.enabled).map(|d| d.id));
        }
        for p in found.iter().filter(|p| p.enabled && p.domain_id.as_ref().is_none_or(|d| !off.contains(d))) {
            paging.push(match what {
                Held::Projects => p.to_project_json(s.links()),
                Held::Domains => p.to_domain_json(s.links()),
            });
        }
    }
    let name = match what {
        Held::Projects => "projects",
        Held::Domains => "domains",
    };
    Ok(s.page(name, paging))
}
