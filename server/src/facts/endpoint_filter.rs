//! Which endpoints are named for a project, one by one or by what a group of them has in common (OS-EP-FILTER).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::args;
use crate::extra;
use crate::store::{Id, Result, Tx};

/// What the endpoints of a group have in common: attributes with their values.
#[derive(Debug, Clone, Default)]
pub struct Filters(Map<String, Value>);

impl Filters {
    /// As they are stored.
    pub fn of(stored: Map<String, Value>) -> Self {
        Self(stored)
    }

    /// Whether an endpoint with these attributes is in the group.
    pub fn fit(&self, attribute: impl Fn(&str) -> Value) -> bool {
        self.0.iter().all(|(name, wanted)| attribute(name) == *wanted)
    }
}

/// The endpoints that are named for a project.
#[derive(Debug, Clone, Default)]
pub struct Named {
    ids: BTreeSet<String>,
    groups: Vec<Filters>,
}

impl Named {
    /// Those of a project.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load(tx: &mut Tx, project: &str) -> Result<Self> {
        // No index begins with the project, and there are few endpoints.
        let sql = "SELECT e.id FROM endpoint e WHERE EXISTS
                     (SELECT 1 FROM project_endpoint p WHERE p.endpoint_id = e.id AND p.project_id = ?)";
        let ids: Vec<String> = tx.column(sql, args![Id(project)]).await?;
        let sql = "SELECT g.filters FROM endpoint_group g
                     JOIN project_endpoint_group p ON p.endpoint_group_id = g.id
                    WHERE p.project_id = ?";
        let groups: Vec<Option<String>> = tx.column(sql, args![Id(project)]).await?;
        let groups = groups.into_iter().map(|filters| Filters::of(extra::read(filters))).collect();
        Ok(Self { ids: ids.into_iter().collect(), groups })
    }

    /// Whether the endpoint with this id and these attributes is among them.
    pub fn has(&self, id: &str, attribute: impl Fn(&str) -> Value) -> bool {
        self.ids.contains(id) || self.groups.iter().any(|group| group.fit(&attribute))
    }
}
