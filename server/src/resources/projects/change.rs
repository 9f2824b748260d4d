//! The rules by which projects and domains come, change and go. Both APIs go through here.

use serde_json::{Map, Value};
use vicar_rules::Micros;
use vicar_rules::revocation::Event;

use super::{KNOWN, Project, sql};
use crate::app::App;
use crate::args;
use crate::error::{Error, Result};
use crate::facts;
use crate::http::{Permit, bag};
use crate::resources::trusts;
use crate::store::{self, Tx};

/// No domain may be called so: it stands for users of other identity providers.
const FEDERATED: &str = "federated";

/// What a client may set, out of a body that its schema allows.
#[derive(Debug)]
pub struct Wanted {
    name: Option<String>,
    description: Option<Option<String>>,
    enabled: Option<bool>,
    tags: Option<Vec<String>>,
    immutable: Option<Option<bool>>,
    body: Map<String, Value>,
    /// Nothing but the option `immutable` is named, and it is to end.
    only_thaws: bool,
}

impl Wanted {
    /// Takes a checked body apart.
    pub fn of(mut body: Map<String, Value>) -> Self {
        let named = body.len();
        let immutable = match body.remove("options") {
            Some(Value::Object(o)) => o.get("immutable").map(Value::as_bool),
            _ => None,
        };
        Self {
            name: body.remove("name").and_then(|n| n.as_str().map(|n| n.trim().to_owned())),
            description: body.remove("description").map(|d| d.as_str().map(str::to_owned)),
            enabled: body.remove("enabled").and_then(|e| e.as_bool()),
            tags: body.remove("tags").and_then(|t| t.as_array().map(|list| texts(list))),
            only_thaws: named == 1 && matches!(immutable, Some(None | Some(false))),
            immutable,
            body,
        }
    }

    /// A new one with these attributes: a domain, or a project at its place.
    pub fn into_new(self, id: String, place: Option<(String, String)>) -> Project {
        let is_domain = place.is_none();
        let (domain_id, parent_id) = place.unzip();
        Project {
            id,
            name: self.name.unwrap_or_default(),
            is_domain,
            domain_id,
            parent_id,
            description: self.description.unwrap_or_else(|| Some(String::new())),
            enabled: self.enabled.unwrap_or(true),
            tags: self.tags.unwrap_or_default(),
            immutable: self.immutable.flatten(),
            extra: bag::rest(self.body, KNOWN),
        }
    }

    /// Only tags.
    pub fn tags(tags: Vec<String>) -> Self {
        Self { tags: Some(tags), ..Self::of(Map::new()) }
    }

    fn applied(self, old: &Project) -> Project {
        let mut new = old.clone();
        if let Some(name) = self.name {
            new.name = name;
        }
        if let Some(description) = self.description {
            new.description = description;
        }
        new.enabled = self.enabled.unwrap_or(old.enabled);
        if let Some(tags) = self.tags {
            new.tags = tags;
        }
        if let Some(immutable) = self.immutable {
            new.immutable = immutable;
        }
        bag::keep(&mut new.extra, self.body, KNOWN);
        new
    }
}

fn texts(list: &[Value]) -> Vec<String> {
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn taken(p: &Project, e: store::Error) -> Error {
    match e {
        store::Error::Duplicate if p.is_domain => {
            Error::taken("project", &format!("there is a domain with the name {} or the same id", p.name))
        }
        store::Error::Duplicate => Error::taken(
            "project",
            &format!("there is a project with the name {} or the same id in this domain", p.name),
        ),
        e => e.into(),
    }
}

fn not_reserved(p: &Project) -> Result<()> {
    if p.is_domain && (p.name.to_lowercase() == FEDERATED || p.id.to_lowercase() == FEDERATED) {
        return Err(Error::field("name", "is reserved for users of other identity providers"));
    }
    Ok(())
}

/// Stores a new domain, or a new project at its place in the hierarchy.
pub async fn create(tx: &mut Tx, app: &App, new: Project, permit: &Permit) -> Result<Project> {
    not_reserved(&new)?;
    if !new.is_domain {
        check_place(tx, app, &new).await?;
    }
    sql::insert(tx, &new, permit).await.map_err(|e| taken(&new, e))?;
    Ok(new)
}

/// A project's domain and parent are there, agree, are enabled, and not too deep.
async fn check_place(tx: &mut Tx, app: &App, new: &Project) -> Result<()> {
    let missing = |kind: &str, id: &str| Error::BadRequest(format!("Could not find {kind}: {id}."));
    let domain_id = new.domain_id.as_deref().unwrap_or_default();
    let parent_id = new.parent_id.as_deref().unwrap_or_default();
    let domain = sql::get(tx, domain_id).await?.filter(|d| d.is_domain);
    let domain = domain.ok_or_else(|| missing("domain", domain_id))?;
    let parent = sql::get(tx, parent_id).await?.ok_or_else(|| missing("project", parent_id))?;
    let parents_domain = if parent.is_domain { Some(&parent.id) } else { parent.domain_id.as_ref() };
    if parents_domain != Some(&domain.id) {
        return Err(Error::field("parent_id", "the parent is in another domain than the project"));
    }
    let mut above = sql::parents(tx, parent_id).await?;
    above.push(parent);
    if let Some(off) = above.iter().find(|p| !p.enabled) {
        return Err(Error::BadRequest(format!("parent_id: {} is above it and disabled", off.id)));
    }
    // The domain on top is no level of its own.
    if above.len() > app.config.max_project_tree_depth as usize {
        return Err(Error::Forbidden(format!("Max hierarchy depth reached for {parent_id} branch.")));
    }
    Ok(())
}

/// Changes a project or domain. Switching off ends the tokens on it, for good.
pub async fn update(
    tx: &mut Tx,
    old: &Project,
    wanted: Wanted,
    now: Micros,
    permit: &Permit,
) -> Result<Project> {
    if old.immutable == Some(true) && !wanted.only_thaws {
        return Err(frozen("update", old));
    }
    let new = wanted.applied(old);
    not_reserved(&new)?;
    if new.enabled && !old.enabled && sql::parents(tx, &old.id).await?.iter().any(|p| !p.enabled) {
        return Err(Error::Forbidden(format!(
            "Cannot enable project {} since it has disabled parents.",
            old.id
        )));
    }
    if old.enabled && !new.enabled {
        switch_off(tx, old, now).await?;
    }
    sql::save(tx, &new, permit).await.map_err(|e| taken(&new, e))?;
    Ok(new)
}

async fn switch_off(tx: &mut Tx, old: &Project, now: Micros) -> Result<()> {
    // A domain takes what is in it along; a project must be the last of its branch.
    if !old.is_domain && sql::subtree(tx, &old.id).await?.iter().any(|p| p.enabled) {
        return Err(Error::Forbidden(format!(
            "Cannot disable project {} since its subtree contains enabled projects.",
            old.id
        )));
    }
    revoke(tx, old, now).await
}

/// Ends the tokens on a project; of a domain also those of its users and on its projects.
async fn revoke(tx: &mut Tx, p: &Project, now: Micros) -> Result<()> {
    let on_it = Event { project: Some(p.id.clone()), issued_before: now, ..Event::default() };
    facts::revoke(tx, &on_it, now).await?;
    if p.is_domain {
        let in_it = Event { domain: Some(p.id.clone()), issued_before: now, ..Event::default() };
        facts::revoke(tx, &in_it, now).await?;
        // A Keystone on the same database does not ask for the domain of a token's project.
        let projects = tx.column("SELECT id FROM project WHERE domain_id = ?", args![&p.id]).await?;
        for id in projects {
            let on_it = Event { project: Some(id), issued_before: now, ..Event::default() };
            facts::revoke(tx, &on_it, now).await?;
        }
    }
    Ok(())
}

fn frozen(what: &str, p: &Project) -> Error {
    Error::Forbidden(format!(
        "Unable to {what} immutable {} resource: {}. Set resource option \"immutable\" to false first.",
        p.kind(),
        p.id
    ))
}

/// Removes a project that has nothing below it, or a disabled domain with all that is in it: trusts,
/// grants, credentials and tokens go along.
pub async fn remove(tx: &mut Tx, p: &Project, now: Micros, permit: &Permit) -> Result<()> {
    if p.immutable == Some(true) {
        return Err(frozen("delete", p));
    }
    if p.is_domain {
        // Whoever deletes a domain must not be in it: disabling it has ended his token.
        if p.enabled {
            return Err(Error::Forbidden(
                "Cannot delete a domain that is enabled, please disable it first.".into(),
            ));
        }
        let losses = trusts::loss::before(tx, trusts::loss::Affected::Everybody, now).await?;
        for inside in sql::subtree(tx, &p.id).await?.iter().rev() {
            if inside.immutable == Some(true) {
                return Err(frozen("delete", inside));
            }
            remove_one(tx, inside, now, permit).await?;
        }
        crate::resources::domains::contents::remove(tx, &p.id, now, permit).await?;
        remove_one(tx, p, now, permit).await?;
        losses.after(tx, now).await?;
        return Ok(());
    }
    if sql::has_children(tx, &p.id).await? {
        return Err(Error::Forbidden(format!(
            "Cannot delete the project {} since it is not a leaf in the hierarchy.",
            p.id
        )));
    }
    remove_one(tx, p, now, permit).await
}

async fn remove_one(tx: &mut Tx, p: &Project, now: Micros, permit: &Permit) -> Result<()> {
    trusts::end::project_gone(tx, &p.id, now, permit).await?;
    sql::delete(tx, &p.id, permit).await?;
    revoke(tx, p, now).await
}
