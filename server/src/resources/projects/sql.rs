//! Rows of projects, with their tags and options.

use std::collections::{BTreeMap, BTreeSet};

use super::{ChangesProject, CreatesProject, DeletesProject, Project};
use crate::args;
use crate::extra;
use crate::store;
use crate::store::migrate::ROOT_DOMAIN;
use crate::store::{
    Batch, CHUNK, Delete, Id, Insert, Proof, Result, Row, Select, Tx, Update, Value, WriteTx, cascade,
};

/// `project_option` of the option `immutable`.
const IMMUTABLE: &str = "IMMU";

const COLUMNS: &str =
    "p.id, p.name, p.domain_id, p.description, p.enabled, p.parent_id, p.is_domain, p.extra";

/// So many tags are written by one statement.
const TAGS_AT_ONCE: usize = 50;

/// How deep a hierarchy is followed: far beyond any limit, so that a circle in the rows ends too.
pub const DEEPEST: i64 = 64;

/// What to look for by equality; what is absent does not matter.
#[derive(Debug, Default)]
pub struct Filter<'a> {
    /// In this domain.
    pub domain_id: Option<&'a str>,
    /// Right below this project or domain.
    pub parent_id: Option<&'a str>,
    /// Of this name.
    pub name: Option<&'a str>,
    /// Domains only, or no domains.
    pub is_domain: Option<bool>,
    /// Enabled, or not.
    pub enabled: Option<bool>,
}

/// How many of some tags a project has to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagCount {
    /// Every one.
    All,
    /// One at least.
    Any,
    /// Not every one.
    NotAll,
    /// None.
    NotAny,
}

/// Adds the condition that a project, `p`, has so many of these tags.
pub fn tagged(q: &mut Select, tags: &BTreeSet<&str>, how: TagCount) {
    let (n, places) = (tags.len(), store::placeholders(tags.len()));
    // No two tags of a project are the same, so counting them is enough.
    let counted =
        format!("(SELECT COUNT(*) FROM project_tag g WHERE g.project_id = p.id AND g.name IN ({places}))");
    let condition = match how {
        TagCount::All => format!(
            "p.id IN (SELECT g.project_id FROM project_tag g WHERE g.name IN ({places})
                       GROUP BY g.project_id HAVING COUNT(*) = {n})"
        ),
        TagCount::Any => {
            format!("p.id IN (SELECT g.project_id FROM project_tag g WHERE g.name IN ({places}))")
        }
        TagCount::NotAll => format!("{counted} <> {n}"),
        TagCount::NotAny => format!("{counted} = 0"),
    };
    let tags: Vec<Value> = tags.iter().map(|tag| Id(*tag).into()).collect();
    q.and(&condition, &tags);
}

fn read(r: &mut Row) -> Result<Project> {
    let (id, name) = (r.take()?, r.take()?);
    let domain_id: String = r.take()?;
    Ok(Project {
        id,
        name,
        domain_id: (domain_id != ROOT_DOMAIN).then_some(domain_id),
        description: r.take()?,
        // An unset flag is off, as in Keystone.
        enabled: r.take::<Option<bool>>()?.unwrap_or(false),
        parent_id: r.take()?,
        is_domain: r.take()?,
        extra: extra::read(r.take()?),
        tags: Vec::new(),
        immutable: None,
    })
}

/// Adds what is kept in other tables.
async fn whole(tx: &mut Tx, mut projects: Vec<Project>) -> Result<Vec<Project>> {
    for part in projects.chunks_mut(CHUNK) {
        add_parts(tx, part).await?;
    }
    Ok(projects)
}

async fn add_parts(tx: &mut Tx, projects: &mut [Project]) -> Result<()> {
    let mut q = Select::new("SELECT project_id, name FROM project_tag");
    q.id_in("project_id", projects.iter().map(|p| p.id.as_str()));
    q.end("ORDER BY project_id, name");
    let mut tags: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (id, tag) in q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?))).await? {
        tags.entry(id).or_default().push(tag);
    }
    let mut q = Select::new("SELECT project_id, option_value FROM project_option");
    q.id("option_id", Some(IMMUTABLE));
    q.id_in("project_id", projects.iter().map(|p| p.id.as_str()));
    let options: BTreeMap<String, Option<String>> =
        q.map(tx, |r| Ok((r.take()?, r.take()?))).await?.into_iter().collect();
    for p in projects {
        p.tags = tags.remove(&p.id).unwrap_or_default();
        p.immutable = options.get(&p.id).and_then(|v| match v.as_deref() {
            Some("true" | "1") => Some(true),
            Some("false" | "0") => Some(false),
            _ => None,
        });
    }
    Ok(())
}

/// A project or a domain.
///
/// # Errors
/// When the database fails.
pub async fn get(tx: &mut Tx, id: &str) -> Result<Option<Project>> {
    let found = by_ids(tx, &[id]).await?;
    // Some databases compare without case.
    Ok(found.into_iter().find(|p| p.id == id))
}

/// Those with these ids.
///
/// # Errors
/// When the database fails.
pub async fn by_ids<S: AsRef<str>>(tx: &mut Tx, ids: &[S]) -> Result<Vec<Project>> {
    let mut found = Vec::new();
    for some in ids.chunks(CHUNK) {
        let mut q = Select::new(&format!("SELECT {COLUMNS} FROM project p"));
        q.and("p.id <> ?", args![Id(ROOT_DOMAIN)]).id_in("p.id", some.iter().map(AsRef::as_ref));
        found.extend(q.map(tx, read).await?);
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    whole(tx, found).await
}

/// Those of a batch that match, and fit a condition on `p`.
///
/// # Errors
/// When the database fails.
pub async fn list_batch(
    tx: &mut Tx,
    filter: &Filter<'_>,
    batch: &Batch,
    build: impl FnOnce(&mut Select),
) -> Result<Vec<Project>> {
    let mut q = Select::new(&format!("SELECT {COLUMNS} FROM project p"));
    q.and("p.id <> ?", args![Id(ROOT_DOMAIN)])
        .id("p.domain_id", filter.domain_id)
        .id("p.parent_id", filter.parent_id)
        .eq("p.name", filter.name)
        .eq("p.is_domain", filter.is_domain);
    match filter.enabled {
        None => {}
        Some(true) => drop(q.eq("p.enabled", Some(true))),
        // An unset flag is off.
        Some(false) => drop(q.and("(p.enabled = ? OR p.enabled IS NULL)", args![false])),
    }
    if filter.is_domain == Some(true) {
        // Where domains are: they are few among the projects.
        q.id("p.domain_id", Some(ROOT_DOMAIN));
    }
    build(&mut q);
    let found = q.batch("p.id", batch).map(tx, read).await?;
    whole(tx, found).await
}

/// What is above a project, nearest first, its domain last.
///
/// # Errors
/// When the database fails.
pub async fn parents(tx: &mut Tx, id: &str) -> Result<Vec<Project>> {
    let found = tx
        .map(
            &format!(
                "WITH RECURSIVE up(id, depth) AS (
                     SELECT parent_id, 1 FROM project WHERE id = ?
                     UNION
                     SELECT p.parent_id, up.depth + 1 FROM project p JOIN up ON p.id = up.id
                      WHERE up.depth < {DEEPEST})
                 SELECT {COLUMNS} FROM project p JOIN up ON p.id = up.id ORDER BY up.depth"
            ),
            args![Id(id)],
            read,
        )
        .await?;
    whole(tx, found).await
}

/// What is below a project or a domain, upper levels first.
pub async fn subtree(tx: &mut Tx, id: &str) -> Result<Vec<Project>> {
    let found = tx
        .map(
            &format!(
                "WITH RECURSIVE down(id, depth) AS (
                     SELECT id, 1 FROM project WHERE parent_id = ?
                     UNION
                     SELECT p.id, down.depth + 1 FROM project p JOIN down ON p.parent_id = down.id
                      WHERE down.depth < {DEEPEST})
                 SELECT {COLUMNS} FROM project p JOIN down ON p.id = down.id ORDER BY down.depth, p.id"
            ),
            args![Id(id)],
            read,
        )
        .await?;
    whole(tx, found).await
}

/// Ids of what is below any of these.
///
/// # Errors
/// When the database fails.
pub async fn ids_below(tx: &mut Tx, roots: &[String]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for some in roots.chunks(CHUNK) {
        let placeholders = store::placeholders(some.len());
        let args: Vec<Value> = some.iter().map(|id| Id(id).into()).collect();
        let sql = format!(
            "WITH RECURSIVE down(id, depth) AS (
                 SELECT id, 1 FROM project WHERE parent_id IN ({placeholders})
                 UNION
                 SELECT p.id, down.depth + 1 FROM project p JOIN down ON p.parent_id = down.id
                  WHERE down.depth < {DEEPEST})
             SELECT DISTINCT id FROM down"
        );
        found.extend(tx.column::<String>(&sql, &args).await?);
    }
    Ok(found)
}

/// Whether it has children.
///
/// # Errors
/// When the database fails.
pub async fn has_children(tx: &mut Tx, id: &str) -> Result<bool> {
    tx.exists("SELECT id FROM project WHERE parent_id = ? LIMIT 1", args![Id(id)]).await
}

/// Stores a new one.
///
/// # Errors
/// [`store::Error::Duplicate`] when the name is taken.
pub async fn insert(tx: &mut WriteTx, proposed: &impl CreatesProject) -> Result<()> {
    let p = proposed.project();
    let row = Insert::into("project")
        .set("id", &p.id)
        .set("name", &p.name)
        .set("extra", extra::to_column(&p.extra))
        .set("description", &p.description)
        .set("enabled", p.enabled)
        .set("domain_id", p.domain_id.as_deref().unwrap_or(ROOT_DOMAIN))
        .set("parent_id", &p.parent_id)
        .set("is_domain", p.is_domain);
    tx.execute(proposed, &row).await?;
    write_parts(tx, proposed, p).await
}

/// Stores what can change of one.
///
/// # Errors
/// [`store::Error::Duplicate`] when the name is taken.
pub async fn save(tx: &mut WriteTx, stored: &impl ChangesProject, p: &Project) -> Result<()> {
    let changed = Update::of("project")
        .set("name", &p.name)
        .set("extra", extra::to_column(&p.extra))
        .set("description", &p.description)
        .set("enabled", p.enabled)
        .key("id", &stored.project().id);
    tx.execute(stored, &changed).await?;
    write_parts(tx, stored, p).await
}

async fn write_parts(tx: &mut WriteTx, proof: &impl Proof, p: &Project) -> Result<()> {
    tx.execute(proof, &Delete::from("project_tag").key("project_id", &p.id)).await?;
    for some in p.tags.chunks(TAGS_AT_ONCE) {
        let rows = some.iter().fold(Insert::into("project_tag"), |rows, tag| {
            rows.row().set("project_id", &p.id).set("name", tag)
        });
        tx.execute(proof, &rows).await?;
    }
    tx.execute(proof, &Delete::from("project_option").key("project_id", &p.id)).await?;
    if let Some(immutable) = p.immutable {
        let option = Insert::into("project_option")
            .set("project_id", &p.id)
            .set("option_id", IMMUTABLE)
            .set("option_value", if immutable { "true" } else { "false" });
        tx.execute(proof, &option).await?;
    }
    Ok(())
}

/// Deletes a project and what falls with it, its credentials included. Trusts on it have ended before.
///
/// # Errors
/// When the database fails.
pub async fn delete(tx: &mut WriteTx, proof: &impl DeletesProject, id: &str) -> Result<()> {
    cascade::delete(tx, proof, "project", id).await
}
