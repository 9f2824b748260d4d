//! Endpoints that are named for a project, one by one or as a group (OS-EP-FILTER). A project for
//! which any are named sees no others.

use std::collections::BTreeSet;

use serde_json::Value;

use super::endpoints::Endpoint;
use crate::args;
use crate::error::Result;
use crate::http::bag;
use crate::resource::Record;
use crate::store::Tx;

/// Ids of the endpoints that a project may see; nothing when it may see all.
///
/// # Errors
/// When the database fails.
pub async fn of_project(
    tx: &mut Tx,
    project: &str,
    endpoints: &[Record<Endpoint>],
) -> Result<Option<BTreeSet<String>>> {
    let mut named: BTreeSet<String> = tx
        .column(
            "SELECT e.id FROM project_endpoint p JOIN endpoint e ON e.id = p.endpoint_id
              WHERE p.project_id = ?",
            args![project],
        )
        .await?
        .into_iter()
        .collect();
    let groups: Vec<Option<String>> = tx
        .column(
            "SELECT g.filters FROM endpoint_group g JOIN project_endpoint_group p ON p.endpoint_group_id = g.id
              WHERE p.project_id = ?",
            args![project],
        )
        .await?;
    for filters in groups {
        let filters = bag::read(filters);
        let fits = |e: &&Record<Endpoint>| filters.iter().all(|(name, wanted)| attribute(e, name) == wanted);
        named.extend(endpoints.iter().filter(fits).map(|e| e.id.clone()));
    }
    Ok((!named.is_empty()).then_some(named))
}

fn attribute<'e>(e: &'e Record<Endpoint>, name: &str) -> &'e Value {
    e.extra.get(name).unwrap_or_else(|| e.get(name))
}
