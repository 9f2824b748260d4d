//! Where a user holds roles.

use std::collections::BTreeSet;

use serde_json::Value;
use vicar_rules::roles::RoleSet;
use vicar_rules::token::Kind;

use super::{Project, sql};
use crate::args;
use crate::authz::Caller;
use crate::error::Result;
use crate::facts::{self, NO_DOMAIN};
use crate::http::Links;
use crate::store::Tx;

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
/// counts only for the common roles that it implies, as in tokens.
async fn places(tx: &mut Tx, user: &str) -> Result<Places> {
    let grants: Vec<(String, String, String, bool)> = tx
        .map(
            "SELECT a.type, a.target_id, a.role_id, a.inherited FROM assignment a
              WHERE (a.type IN ('UserProject', 'UserDomain') AND a.actor_id = ?)
                 OR (a.type IN ('GroupProject', 'GroupDomain') AND a.actor_id IN
                       (SELECT group_id FROM user_group_membership WHERE user_id = ?))",
            args![user, user],
            |r| Ok((r.take()?, r.take()?, r.take()?, r.take()?)),
        )
        .await?;
    let implications = facts::implications(tx).await?;
    let of_domains: BTreeSet<String> =
        tx.column("SELECT id FROM role WHERE domain_id <> ?", args![NO_DOMAIN]).await?.into_iter().collect();
    let mut found = Places::default();
    let mut above = BTreeSet::new();
    for (kind, target, role, inherited) in grants {
        let role: RoleSet = [role].into_iter().collect();
        if implications.closure(&role).iter().all(|r| of_domains.contains(r)) {
            continue;
        }
        if inherited {
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
    Ok(places(tx, caller.user_id()).await?.projects)
}

/// The projects on which a user holds a role, including disabled ones.
///
/// # Errors
/// When the database fails.
pub async fn projects_of(tx: &mut Tx, user: &str) -> Result<Vec<Project>> {
    let ids: Vec<String> = places(tx, user).await?.projects.into_iter().collect();
    Ok(sql::by_ids(tx, &ids).await?)
}

/// Enabled projects or domains on which the caller's user holds a role, directly, by a group or
/// inherited: where they could get a token for.
///
/// # Errors
/// When the database fails.
pub async fn held_by(tx: &mut Tx, links: &Links, caller: &Caller, what: Held) -> Result<Vec<Value>> {
    let ids: Vec<String> = match what {
        Held::Projects => ids_of_caller(tx, caller).await?.into_iter().collect(),
        Held::Domains if caller.kind() != Kind::Login => Vec::new(),
        Held::Domains => places(tx, caller.user_id()).await?.domains.into_iter().collect(),
    };
    let found = sql::by_ids(tx, &ids).await?;
    let mut off = BTreeSet::new();
    if what == Held::Projects {
        let domains: BTreeSet<String> = found.iter().filter_map(|p| p.domain_id.clone()).collect();
        let domains: Vec<String> = domains.into_iter().collect();
        off.extend(sql::by_ids(tx, &domains).await?.into_iter().filter(|d| !d.enabled).map(|d| d.id));
    }
    Ok(found
        .iter()
        .filter(|p| p.enabled && p.domain_id.as_ref().is_none_or(|d| !off.contains(d)))
        .map(|p| match what {
            Held::Projects => p.to_project_json(links),
            Held::Domains => p.to_domain_json(links),
        })
        .collect())
}
