//! The catalog that tokens show: enabled services with their enabled endpoints.
//!
//! Endpoints can be named for a project, one by one or as a group (OS-EP-FILTER). A project for which any are
//! named sees no others.

use serde_json::{Map, Value};

use super::endpoint_filter::Named;
use super::endpoint_url::{Values, fill};
use crate::args;
use crate::extra;
use crate::store::{Result, Row, Tx};

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
    names_user: bool,
}

impl Service {
    /// Whether a URL of it is another for each user.
    pub fn names_user(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.names_user)
    }
}

fn read(r: &mut Row) -> Result<Endpoint> {
    let (id, interface, service_id) = (r.take()?, r.take()?, r.take()?);
    let url: String = r.take()?;
    Ok(Endpoint {
        id,
        interface,
        service_id,
        names_user: url.contains("user_id"),
        url,
        region_id: r.take()?,
        extra: extra::read(r.take()?),
    })
}

/// The catalog for somebody, on a project if there is one: limited to the endpoints that are named for the
/// project, if any are. If none are, it is whole with `all_unless_named`, and otherwise empty.
///
/// # Errors
/// When the database fails.
pub async fn catalog(
    tx: &mut Tx,
    user: &str,
    project: Option<&str>,
    all_unless_named: bool,
) -> Result<Vec<Service>> {
    let mut services = tx
        .map("SELECT id, type, extra FROM service WHERE enabled = ? ORDER BY id", args![true], |r| {
            let (id, kind) = (r.take()?, r.take()?);
            let name = extra::read(r.take()?).remove("name").unwrap_or_else(|| "".into());
            Ok(Service { id, kind, name, endpoints: Vec::new() })
        })
        .await?;
    // Those that are not enabled count as named.
    let sql = "SELECT id, interface, service_id, url, region_id, extra, enabled FROM endpoint ORDER BY id";
    let endpoints = tx.map(sql, &[], |r| Ok((read(r)?, r.take::<bool>()?))).await?;
    let named = match project {
        Some(project) => Named::load(tx, project).await?,
        None => Named::default(),
    };
    let is_named = |(e, enabled): &(Endpoint, bool)| named.has(&e.id, |name| attribute(e, *enabled, name));
    let is_limited = endpoints.iter().any(is_named);
    if !is_limited && !all_unless_named {
        return Ok(Vec::new());
    }
    let values = Values { project, user };
    for found in endpoints {
        if !found.1 || is_limited && !is_named(&found) {
            continue;
        }
        let mut endpoint = found.0;
        // An endpoint whose URL needs a project is no use without one.
        let Some(url) = fill(&endpoint.url, &values) else { continue };
        endpoint.url = url;
        if let Some(service) = services.iter_mut().find(|s| s.id == endpoint.service_id) {
            service.endpoints.push(endpoint);
        }
    }
    if is_limited {
        services.retain(|s| !s.endpoints.is_empty());
    }
    Ok(services)
}

/// An attribute as stored, for the filters of a group.
fn attribute(e: &Endpoint, enabled: bool, name: &str) -> Value {
    match name {
        "interface" => e.interface.as_str().into(),
        "service_id" => e.service_id.as_str().into(),
        "region_id" => e.region_id.clone().into(),
        "url" => e.url.as_str().into(),
        "enabled" => enabled.into(),
        other => e.extra.get(other).cloned().unwrap_or_default(),
    }
}
