//! The catalog that tokens show: enabled services with their enabled endpoints.
//!
//! Endpoints can be named for a project, one by one or as a group (OS-EP-FILTER). A project for which any are
//! named sees no others.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::endpoint_url::{Values, fill};
use crate::args;
use crate::extra;
use crate::store::{Id, Result, Row, Tx};

/// A service of a catalog.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its id.
    pub id: String,
    /// Its type.
    pub kind: Option<String>,
    /// Its name; of whatever type clients have stored.
    pub name: Value,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// An endpoint of a catalog.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its id.
    pub id: String,
    /// `public`, `internal` or `admin`.
    pub interface: String,
    /// Its region, if it is in one.
    pub region_id: Option<String>,
    /// Its URL; the variable parts are filled in.
    pub url: String,
    /// All other attributes.
    pub extra: Map<String, Value>,
    service_id: String,
}

fn read(r: &mut Row) -> Result<Endpoint> {
    Ok(Endpoint {
        id: r.take()?,
        interface: r.take()?,
        service_id: r.take()?,
        url: r.take()?,
        region_id: r.take()?,
        extra: extra::read(r.take()?),
    })
}

/// The catalog for somebody, on a project if there is one: limited to the endpoints that are named for the
/// project, if any are.
///
/// # Errors
/// When the database fails.
pub async fn catalog(tx: &mut Tx, user: &str, project: Option<&str>) -> Result<Vec<Service>> {
    let mut services = tx
        .map("SELECT id, type, extra FROM service WHERE enabled = ? ORDER BY id", args![true], |r| {
            let (id, kind) = (r.take()?, r.take()?);
            let name = extra::read(r.take()?).remove("name").unwrap_or_else(|| "".into());
            Ok(Service { id, kind, name, endpoints: Vec::new() })
        })
        .await?;
    let endpoints = tx
        .map(
            "SELECT id, interface, service_id, url, region_id, extra FROM endpoint WHERE enabled = ? ORDER BY id",
            args![true],
            read,
        )
        .await?;
    let named = match project {
        Some(project) => named_for(tx, project, &endpoints).await?,
        None => None,
    };
    let values = Values { project, user };
    for mut endpoint in endpoints {
        if named.as_ref().is_some_and(|named| !named.contains(&endpoint.id)) {
            continue;
        }
        // An endpoint whose URL needs a project is no use without one.
        let Some(url) = fill(&endpoint.url, &values) else { continue };
        endpoint.url = url;
        if let Some(service) = services.iter_mut().find(|s| s.id == endpoint.service_id) {
            service.endpoints.push(endpoint);
        }
    }
    if named.is_some() {
        services.retain(|s| !s.endpoints.is_empty());
    }
    Ok(services)
}

/// Ids of the endpoints that a project may see; nothing when it may see all.
async fn named_for(tx: &mut Tx, project: &str, endpoints: &[Endpoint]) -> Result<Option<BTreeSet<String>>> {
    let mut named: BTreeSet<String> = tx
        .column(
            "SELECT e.id FROM project_endpoint p JOIN endpoint e ON e.id = p.endpoint_id
              WHERE p.project_id = ?",
            args![Id(project)],
        )
        .await?
        .into_iter()
        .collect();
    let groups: Vec<Option<String>> = tx
        .column(
            "SELECT g.filters FROM endpoint_group g JOIN project_endpoint_group p ON p.endpoint_group_id = g.id
              WHERE p.project_id = ?",
            args![Id(project)],
        )
        .await?;
    for filters in groups {
        let filters = extra::read(filters);
        let fits = |e: &&Endpoint| filters.iter().all(|(name, wanted)| attribute(e, name) == *wanted);
        named.extend(endpoints.iter().filter(fits).map(|e| e.id.clone()));
    }
    Ok((!named.is_empty()).then_some(named))
}

/// An attribute as stored, for the filters of a group.
fn attribute(e: &Endpoint, name: &str) -> Value {
    match name {
        "interface" => e.interface.as_str().into(),
        "service_id" => e.service_id.as_str().into(),
        "region_id" => e.region_id.clone().into(),
        "url" => e.url.as_str().into(),
        "enabled" => true.into(),
        other => e.extra.get(other).cloned().unwrap_or_default(),
    }
}
