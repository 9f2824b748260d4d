//! The rules by which projects and domains come, change and go. Both APIs go through here.

use serde_json::{Map, Value};
use vicar_rules::Micros;
use vicar_rules::revocation::Event;

use super::{Domain, KNOWN, Project, sql};
use crate::app::App;
use crate::args;
use crate::authz::{Authorized, Proposed, Writing};
use crate::error::{Error, Result};
use crate::extra;
use crate::facts::{self, RoleLossGuard};
use crate::notifications::{Action, Gone, ObjectKind};
use crate::resource::Deletes;
use crate::resources::domains::contents;
use crate::resources::groups::Group;
use crate::resources::keypairs::EndsKeypairs;
use crate::resources::roles::Role;
use crate::resources::trusts::end::EndsTrusts;
use crate::resources::{trusts, users};
use crate::store::{self, Id, Proof, Tx, WriteTx};
use crate::system::Provided;

/// Proofs that cover the creation of a project or a domain, with the new object.
pub trait CreatesProject: Proof {
    /// The object.
    fn project(&self) -> &Project;
}

impl CreatesProject for Authorized<Proposed<Project>> {
    fn project(&self) -> &Project {
        self
    }
}

impl CreatesProject for Authorized<Proposed<Domain>> {
    fn project(&self) -> &Project {
        self
    }
}

impl CreatesProject for Provided<Project> {
    fn project(&self) -> &Project {
        &self.0
    }
}

/// Proofs that cover a change of a project or a domain, with the stored object.
pub trait ChangesProject: Proof {
    /// The object.
    fn project(&self) -> &Project;
}

impl ChangesProject for Authorized<Project> {
    fn project(&self) -> &Project {
        self
    }
}

impl ChangesProject for Authorized<Domain> {
    fn project(&self) -> &Project {
        self
    }
}

/// Proofs that cover the deletion of a project, or of a domain with its contents.
pub trait DeletesProject: ChangesProject + users::sql::DeletesUser + Deletes<Group> + Deletes<Role> {}

impl DeletesProject for Authorized<Project> {}
impl DeletesProject for Authorized<Domain> {}
impl EndsTrusts for Authorized<Project> {}
impl EndsTrusts for Authorized<Domain> {}
impl EndsKeypairs for Authorized<Project> {}
impl EndsKeypairs for Authorized<Domain> {}

/// No domain may have this name: it stands for users of other identity providers.
const FEDERATED: &str = "federated";

/// The attributes that a client sets, from a checked body.
#[derive(Debug)]
pub struct ProjectPatch {
    name: Option<String>,
    description: Option<Option<String>>,
    enabled: Option<bool>,
    tags: Option<Vec<String>>,
    immutable: Option<Option<bool>>,
    body: Map<String, Value>,
    /// Whether the option `immutable` is switched off and nothing else is named.
    only_unlocks: bool,
}

impl ProjectPatch {
    /// Parses a checked body.
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
            tags: body.remove("tags").and_then(|t| t.as_array().map(|list| strings(list))),
            only_unlocks: named == 1 && matches!(immutable, Some(None | Some(false))),
            immutable,
            body,
        }
    }

    /// A new object with these attributes: a project with the ids of its domain and parent, or a domain.
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
            extra: extra::from_body(self.body, KNOWN),
        }
    }

    /// Only tags.
    pub fn tags(tags: Vec<String>) -> Self {
        Self { tags: Some(tags), ..Self::of(Map::new()) }
    }

    fn apply_to(self, old: &Project) -> Project {
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
        extra::merge(&mut new.extra, self.body, KNOWN);
        new
    }
}

fn strings(list: &[Value]) -> Vec<String> {
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn name_taken(p: &Project, e: store::Error) -> Error {
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

fn check_not_reserved(p: &Project) -> Result<()> {
    if p.is_domain && (p.name.to_lowercase() == FEDERATED || p.id.to_lowercase() == FEDERATED) {
        return Err(Error::field("name", "is reserved for users of other identity providers"));
    }
    Ok(())
}

/// Stores a new domain, or a new project at its place in the hierarchy.
///
/// # Errors
/// 400 or 403 when it cannot be at that place, 409 when the name is taken.
pub async fn create(tx: &mut WriteTx, app: &App, proposed: &impl CreatesProject) -> Result<()> {
    let new = proposed.project();
    check_not_reserved(new)?;
    if !new.is_domain {
        check_place(tx, app, new).await?;
    }
    sql::insert(tx, proposed).await.map_err(|e| name_taken(new, e))
}

/// Checks that a project's domain and parent exist, agree, are enabled, and not too deep.
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

/// Changes a project or domain. Disabling ends the tokens on it for good.
///
/// # Errors
/// 403 when it is immutable, or when its parents or children do not allow the change; 409 when the name is
/// taken.
pub async fn update(tx: &mut WriteTx, stored: &impl ChangesProject, patch: ProjectPatch) -> Result<Project> {
    let old = stored.project();
    if old.immutable == Some(true) && !patch.only_unlocks {
        return Err(immutable("update", old));
    }
    let new = patch.apply_to(old);
    check_not_reserved(&new)?;
    let (enables, disables) = (new.enabled && !old.enabled, old.enabled && !new.enabled);
    if enables && sql::parents(tx, &old.id).await?.iter().any(|p| !p.enabled) {
        return Err(Error::Forbidden(format!(
            "Cannot enable project {} since it has disabled parents.",
            old.id
        )));
    }
    // A disabled domain takes its projects along; a project must be the last of its branch.
    if disables && !old.is_domain && sql::subtree(tx, &old.id).await?.iter().any(|p| p.enabled) {
        return Err(Error::Forbidden(format!(
            "Cannot disable project {} since its subtree contains enabled projects.",
            old.id
        )));
    }
    sql::save(tx, stored, &new).await.map_err(|e| name_taken(&new, e))?;
    if disables {
        revoke(tx, stored, old).await?;
    }
    Ok(new)
}

/// Ends the tokens on a project; of a domain also those of its users and on its projects.
async fn revoke(tx: &mut WriteTx, proof: &impl Proof, p: &Project) -> Result<()> {
    let on_it = Event { project: Some(p.id.clone()), ..Event::default() };
    facts::revoke(tx, proof, on_it).await?;
    if p.is_domain {
        let in_it = Event { domain: Some(p.id.clone()), ..Event::default() };
        facts::revoke(tx, proof, in_it).await?;
        // A Keystone on the same database does not ask for the domain of a token's project.
        let projects = tx.column("SELECT id FROM project WHERE domain_id = ?", args![Id(&p.id)]).await?;
        for id in projects {
            let on_it = Event { project: Some(id), ..Event::default() };
            facts::revoke(tx, proof, on_it).await?;
        }
    }
    Ok(())
}

/// Leaves a notification of a project that was changed or deleted; of a domain, as both.
pub fn tell(s: &mut Writing<'_>, p: &Project, action: Action) {
    s.tell(ObjectKind::Project, action, &p.id);
    if p.is_domain {
        s.tell(ObjectKind::Domain, action, &p.id);
    }
}

fn immutable(action: &str, p: &Project) -> Error {
    Error::Forbidden(format!(
        "Unable to {action} immutable {} resource: {}. Set resource option \"immutable\" to false first.",
        p.kind(),
        p.id
    ))
}

/// Deletes a project that has nothing below it, or a disabled domain with its contents: with their trusts,
/// grants, credentials and tokens. Returns what went with it and is told of.
///
/// # Errors
/// 403 when it is immutable, has children, or is an enabled domain.
pub async fn delete(tx: &mut WriteTx, stored: &impl DeletesProject, now: Micros) -> Result<Vec<Gone>> {
    let p = stored.project();
    if p.immutable == Some(true) {
        return Err(immutable("delete", p));
    }
    if p.is_domain {
        return delete_domain(tx, stored, now).await;
    }
    if sql::has_children(tx, &p.id).await? {
        return Err(Error::Forbidden(format!(
            "Cannot delete the project {} since it is not a leaf in the hierarchy.",
            p.id
        )));
    }
    delete_one(tx, stored, p, now).await?;
    Ok(Vec::new())
}

async fn delete_domain(tx: &mut WriteTx, stored: &impl DeletesProject, now: Micros) -> Result<Vec<Gone>> {
    let domain = stored.project();
    // Nobody deletes the domain that they are in: disabling it has ended their token.
    if domain.enabled {
        return Err(Error::Forbidden(
            "Cannot delete a domain that is enabled, please disable it first.".into(),
        ));
    }
    let projects = sql::subtree(tx, &domain.id).await?;
    if let Some(inside) = projects.iter().rev().find(|p| p.immutable == Some(true)) {
        return Err(immutable("delete", inside));
    }
    // Roles of the domain may be held in other places.
    let roles = tx.column("SELECT id FROM role WHERE domain_id = ?", args![Id(&domain.id)]).await?;
    let granting = facts::implications(tx).await?.with_priors(&roles);
    let holders = facts::holders_of(tx, &granting).await?;
    let guard = RoleLossGuard::begin_for(tx, holders).await?;
    let mut gone = Vec::new();
    for inside in projects.iter().rev() {
        delete_one(tx, stored, inside, now).await?;
        gone.push((ObjectKind::Project, inside.id.clone()));
    }
    gone.extend(contents::delete(tx, stored, &domain.id, now).await?);
    delete_one(tx, stored, domain, now).await?;
    guard.finish(tx, stored).await?;
    Ok(gone)
}

async fn delete_one(tx: &mut WriteTx, proof: &impl DeletesProject, p: &Project, now: Micros) -> Result<()> {
    trusts::end::project_gone(tx, proof, &p.id, now).await?;
    sql::delete(tx, proof, &p.id).await?;
    revoke(tx, proof, p).await
}
