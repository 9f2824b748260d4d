//! Projects and domains, as far as authority depends on them.

use std::collections::BTreeMap;

use vicar_rules::delegation::Presence;

use super::presence;
use crate::args;
use crate::store::migrate::ROOT_DOMAIN;
use crate::store::{CHUNK, Id, Result, Row, Select, Tx};

/// A project (or a domain, which is one), as far as authority cares.
#[derive(Debug, Clone)]
pub struct ProjectFacts {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its domain; nothing for a domain.
    pub domain_id: Option<String>,
    /// Its domain's name.
    pub domain_name: Option<String>,
    /// Whether it is enabled, with its domain.
    pub presence: Presence,
    /// Whether it acts as a domain.
    pub is_domain: bool,
}

fn read_project(r: &mut Row) -> Result<ProjectFacts> {
    let (id, name): (String, String) = (r.take()?, r.take()?);
    let is_domain: bool = r.take()?;
    let domain_id: String = r.take()?;
    let domain_name: Option<String> = r.take()?;
    let (enabled, domain_enabled): (Option<bool>, Option<bool>) = (r.take()?, r.take()?);
    Ok(ProjectFacts {
        // A domain's own domain is the root row, which is always disabled and stands for "none".
        presence: presence(enabled, if is_domain { None } else { domain_enabled }),
        domain_name: if is_domain { None } else { domain_name },
        domain_id: (!is_domain).then_some(domain_id),
        id,
        name,
        is_domain,
    })
}

const PROJECT: &str = "SELECT p.id, p.name, p.is_domain, p.domain_id, d.name, p.enabled, d.enabled
                         FROM project p LEFT JOIN project d ON d.id = p.domain_id";

/// A project by id.
pub async fn project(tx: &mut Tx, id: &str) -> Result<Option<ProjectFacts>> {
    tx.first(&format!("{PROJECT} WHERE p.id = ?"), args![Id(id)], read_project).await
}

/// The projects with these ids; one that is missing is missing.
///
/// # Errors
/// When the database fails.
pub async fn projects<'a>(
    tx: &mut Tx,
    ids: impl IntoIterator<Item = &'a str>,
) -> Result<BTreeMap<String, ProjectFacts>> {
    let ids: Vec<&str> = ids.into_iter().collect();
    let mut out = BTreeMap::new();
    for part in ids.chunks(CHUNK) {
        let mut q = Select::new(PROJECT);
        q.id_in("p.id", part.iter().copied());
        out.extend(q.map(tx, read_project).await?.into_iter().map(|p| (p.id.clone(), p)));
    }
    Ok(out)
}

/// A domain by id.
pub async fn domain(tx: &mut Tx, id: &str) -> Result<Option<ProjectFacts>> {
    if id == ROOT_DOMAIN {
        return Ok(None);
    }
    Ok(project(tx, id).await?.filter(|p| p.is_domain))
}

/// A domain by name.
pub async fn domain_named(tx: &mut Tx, name: &str) -> Result<Option<ProjectFacts>> {
    tx.first(
        &format!("{PROJECT} WHERE p.name = ? AND p.is_domain = ? AND p.domain_id = ?"),
        args![name, true, Id(ROOT_DOMAIN)],
        read_project,
    )
    .await
}

/// A project by name and domain.
pub async fn project_named(tx: &mut Tx, name: &str, domain: &str) -> Result<Option<ProjectFacts>> {
    tx.first(
        &format!("{PROJECT} WHERE p.name = ? AND p.domain_id = ? AND p.is_domain = ?"),
        args![name, Id(domain), false],
        read_project,
    )
    .await
}
