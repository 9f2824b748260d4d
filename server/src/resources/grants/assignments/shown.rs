//! How assignments are shown.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::{Actor, Target};
use super::Assignment;
use crate::error::Result;
use crate::extra;
use crate::facts::NO_DOMAIN;
use crate::http::Links;
use crate::store::migrate::ROOT_DOMAIN;
use crate::store::{CHUNK, Select, Tx};

/// A name, with the domain's id and name.
#[derive(Debug, Clone, Default)]
struct Name {
    name: String,
    domain: Option<(String, String)>,
}

/// Names of everything in a list.
#[derive(Debug, Default)]
pub(super) struct Names {
    users: BTreeMap<String, Name>,
    groups: BTreeMap<String, Name>,
    projects: BTreeMap<String, Name>,
    roles: BTreeMap<String, Name>,
}

async fn names(tx: &mut Tx, sql: &str, ids: &BTreeSet<&str>) -> Result<BTreeMap<String, Name>> {
    let ids: Vec<&str> = ids.iter().copied().collect();
    let mut out = BTreeMap::new();
    for batch in ids.chunks(CHUNK) {
        let mut q = Select::new(sql);
        q.id_in("x.id", batch.iter().copied());
        let found = q
            .map(tx, |r| {
                let (id, name): (String, Option<String>) = (r.take()?, r.take()?);
                let (domain, domain_name): (Option<String>, Option<String>) = (r.take()?, r.take()?);
                let domain = domain.filter(|d| d != NO_DOMAIN && d != ROOT_DOMAIN);
                let domain = domain.map(|d| (d, domain_name.unwrap_or_default()));
                Ok((id, Name { name: name.unwrap_or_default(), domain }))
            })
            .await?;
        out.extend(found);
    }
    Ok(out)
}

impl Names {
    pub(super) async fn of(tx: &mut Tx, found: &[Assignment]) -> Result<Self> {
        let (mut users, mut groups, mut projects, mut roles) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for a in found {
            roles.insert(a.role.as_str());
            match &a.actor {
                Actor::User(id) => users.insert(id.as_str()),
                Actor::Group(id) => groups.insert(id.as_str()),
            };
            if let Target::Project(id) | Target::Domain(id) = &a.target {
                projects.insert(id.as_str());
            }
        }
        let of = |table: &str| {
            format!(
                "SELECT x.id, x.name, x.domain_id, d.name FROM \"{table}\" x
                   LEFT JOIN project d ON d.id = x.domain_id"
            )
        };
        Ok(Self {
            users: names(
                tx,
                "SELECT x.id, COALESCE(l.name, n.name), x.domain_id, d.name FROM \"user\" x
                   LEFT JOIN local_user l ON l.user_id = x.id LEFT JOIN nonlocal_user n ON n.user_id = x.id
                   LEFT JOIN project d ON d.id = x.domain_id",
                &users,
            )
            .await?,
            groups: names(tx, &of("group"), &groups).await?,
            projects: names(tx, &of("project"), &projects).await?,
            roles: names(tx, &of("role"), &roles).await?,
        })
    }
}

/// Something by its id; with names also by name and domain. What is gone has empty names.
fn named(id: &str, names: Option<&BTreeMap<String, Name>>) -> Value {
    let Some(names) = names else {
        return json!({"id": id});
    };
    let found = names.get(id).cloned().unwrap_or_default();
    let (domain, domain_name) = found.domain.unwrap_or_default();
    json!({"id": id, "name": found.name, "domain": {"id": domain, "name": domain_name}})
}

/// The same for what has no domain of its own to show.
fn plain(id: &str, names: Option<&BTreeMap<String, Name>>) -> Value {
    match names {
        None => json!({"id": id}),
        Some(names) => json!({"id": id, "name": names.get(id).map_or("", |n| n.name.as_str())}),
    }
}

fn role_json(id: &str, names: Option<&BTreeMap<String, Name>>) -> Value {
    match names.and_then(|n| n.get(id)) {
        Some(Name { domain: Some(_), .. }) => named(id, names),
        Some(Name { domain: None, .. }) | None => plain(id, names),
    }
}

/// An assignment as Keystone shows it; its link is the grant that it comes from.
pub(super) fn to_json(a: &Assignment, links: &Links, names: Option<&Names>) -> Value {
    let mut scope = match &a.target {
        Target::Project(id) => json!({"project": named(id, names.map(|n| &n.projects))}),
        Target::Domain(id) => json!({"domain": plain(id, names.map(|n| &n.projects))}),
        Target::System => json!({"system": {"all": true}}),
    };
    let inherited = a.inherited || a.source.above.is_some();
    if inherited {
        extra::set(&mut scope, "OS-INHERIT:inherited_to", "projects");
    }
    let mut own_links = json!({"assignment": links.to(&grant_path(a, inherited))});
    let (kind, actor) = match &a.actor {
        Actor::User(id) => ("user", named(id, names.map(|n| &n.users))),
        Actor::Group(id) => ("group", named(id, names.map(|n| &n.groups))),
    };
    if let Some(group) = &a.source.group {
        let membership = links.of(&["groups", group, "users", a.actor.id()]);
        extra::set(&mut own_links, "membership", membership);
    }
    if let Some(prior) = &a.source.role {
        // Keystone's own words, the order of the two included.
        let prior = links.of(&["prior_role", &a.role, "implies", prior]);
        extra::set(&mut own_links, "prior_role", prior);
    }
    json!({
        "scope": scope,
        kind: actor,
        "role": role_json(&a.role, names.map(|n| &n.roles)),
        "links": own_links,
    })
}

fn grant_path(a: &Assignment, inherited: bool) -> String {
    let target = match a.source.above.as_ref().unwrap_or(&a.target) {
        Target::Project(id) => format!("/projects/{id}"),
        Target::Domain(id) => format!("/domains/{id}"),
        Target::System => "/system".to_owned(),
    };
    let actor = match (&a.source.group, &a.actor) {
        (Some(group), _) => format!("/groups/{group}"),
        (None, Actor::User(id)) => format!("/users/{id}"),
        (None, Actor::Group(id)) => format!("/groups/{id}"),
    };
    let role = a.source.role.as_ref().unwrap_or(&a.role);
    if inherited {
        format!("/OS-INHERIT{target}{actor}/roles/{role}/inherited_to_projects")
    } else {
        format!("{target}{actor}/roles/{role}")
    }
}
