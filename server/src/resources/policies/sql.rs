//! Rows that say for which endpoints a policy is.

use std::collections::{BTreeMap, BTreeSet};

use vicar_rules::policy::Facts;

use crate::args;
use crate::authz::{Authorized, Caller, Object};
use crate::error::Result;
use crate::ids;
use crate::store::tree::REGIONS;
use crate::store::{Delete, Id, Insert, Select, Tx, WriteTx};

/// That a policy is for one endpoint, for a service in a region and all below it, or for a service.
#[derive(Debug, Clone, Copy)]
pub struct Association<'r> {
    /// The policy.
    pub policy_id: &'r str,
    /// The endpoint, and nothing else.
    pub endpoint_id: Option<&'r str>,
    /// The service.
    pub service_id: Option<&'r str>,
    /// The region, with a service.
    pub region_id: Option<&'r str>,
}

impl Object for Association<'_> {
    /// The ids are in the path.
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }
}

impl<'r> Association<'r> {
    /// What the policy is for, by column.
    fn place(&self) -> [(&'static str, Option<&'r str>); 3] {
        [("endpoint_id", self.endpoint_id), ("service_id", self.service_id), ("region_id", self.region_id)]
    }

    /// Whether it is stored.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_stored(&self, tx: &mut Tx) -> Result<bool> {
        let mut q = Select::new("SELECT a.id FROM policy_association a");
        q.id("a.policy_id", Some(self.policy_id));
        for (column, id) in self.place() {
            let column = format!("a.{column}");
            match id {
                Some(id) => q.id(&column, Some(id)),
                None => q.and(&format!("{column} IS NULL"), &[]),
            };
        }
        Ok(!q.map(tx, |r| r.take::<String>()).await?.is_empty())
    }

    fn rows(&self) -> Delete {
        self.place().into_iter().fold(Delete::from("policy_association"), |delete, (column, id)| match id {
            Some(id) => delete.key(column, id),
            None => delete.and(&format!("{column} IS NULL"), &[]),
        })
    }
}

/// Stores it in the place of any other policy for the same.
///
/// # Errors
/// When the database fails.
pub async fn replace(tx: &mut WriteTx, new: &Authorized<Association<'_>>) -> Result<()> {
    tx.execute(new, &new.rows()).await?;
    let mut insert =
        Insert::into("policy_association").set("id", ids::uuid()).set("policy_id", new.policy_id);
    for (column, id) in new.place() {
        insert = insert.set(column, id);
    }
    tx.execute(new, &insert).await?;
    Ok(())
}

/// Removes it, if it is stored.
///
/// # Errors
/// When the database fails.
pub async fn delete(tx: &mut WriteTx, of: &Authorized<Association<'_>>) -> Result<()> {
    tx.execute(of, &of.rows().key("policy_id", of.policy_id)).await?;
    Ok(())
}

/// What a policy is for.
#[derive(Debug, Default)]
pub struct Places {
    endpoints: BTreeSet<String>,
    services: BTreeSet<String>,
    /// Services with the regions that are named and all below these.
    regions: BTreeMap<String, BTreeSet<String>>,
}

impl Places {
    /// Those of a policy.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn of(tx: &mut Tx, policy: &str) -> Result<Self> {
        let sql = "SELECT endpoint_id, service_id, region_id FROM policy_association WHERE policy_id = ?";
        let rows = tx
            .map(sql, args![Id(policy)], |r| {
                Ok((r.take::<Option<String>>()?, r.take::<Option<String>>()?, r.take::<Option<String>>()?))
            })
            .await?;
        let mut below: BTreeMap<String, Vec<String>> = BTreeMap::new();
        if rows.iter().any(|row| row.2.is_some()) {
            let sql = "SELECT id, parent_region_id FROM region WHERE parent_region_id IS NOT NULL";
            for (id, parent) in tx.map(sql, &[], |r| Ok((r.take()?, r.take()?))).await? {
                below.entry(parent).or_default().push(id);
            }
        }
        let mut found = Self::default();
        for row in rows {
            match row {
                (Some(endpoint), _, _) => drop(found.endpoints.insert(endpoint)),
                (None, Some(service), None) => drop(found.services.insert(service)),
                (None, Some(service), Some(region)) => {
                    let regions = found.regions.entry(service).or_default();
                    let mut next = vec![region];
                    while let Some(region) = next.pop() {
                        // With one that is there, so is what is below it.
                        if !regions.contains(&region) {
                            next.extend(below.get(&region).into_iter().flatten().cloned());
                            regions.insert(region);
                        }
                    }
                }
                (None, None, _) => {}
            }
        }
        Ok(found)
    }

    /// Whether the policy is for this endpoint.
    pub fn have(&self, endpoint: &str, service: &str, region: Option<&str>) -> bool {
        self.endpoints.contains(endpoint)
            || self.services.contains(service)
            || region.is_some_and(|r| self.regions.get(service).is_some_and(|regions| regions.contains(r)))
    }
}

/// The id of the policy that an endpoint has: its own, or that of its service in the nearest region upwards, or that
/// of its service. A policy that is gone is none: a Keystone leaves such rows behind.
///
/// # Errors
/// When the database fails.
pub async fn policy_of(
    tx: &mut Tx,
    endpoint: &str,
    service: &str,
    region: Option<&str>,
) -> Result<Option<String>> {
    let sql = "SELECT a.endpoint_id, a.region_id, a.policy_id FROM policy_association a
                 JOIN policy p ON p.id = a.policy_id
                WHERE a.endpoint_id = ? AND a.service_id IS NULL AND a.region_id IS NULL
                   OR a.service_id = ? AND a.endpoint_id IS NULL
                ORDER BY a.id";
    let (mut own, mut of_service) = (None, None);
    let mut of_regions: BTreeMap<String, String> = BTreeMap::new();
    for (of_endpoint, region, policy) in tx
        .map(sql, args![Id(endpoint), Id(service)], |r| {
            Ok((r.take::<Option<String>>()?, r.take::<Option<String>>()?, r.take::<String>()?))
        })
        .await?
    {
        match (of_endpoint, region) {
            (Some(_), _) => own = own.or(Some(policy)),
            (None, Some(region)) => drop(of_regions.entry(region).or_insert(policy)),
            (None, None) => of_service = of_service.or(Some(policy)),
        }
    }
    if own.is_some() || of_regions.is_empty() {
        return Ok(own.or(of_service));
    }
    let sql = REGIONS.above("id = ?") + "SELECT id, parent FROM above";
    let mut parents: BTreeMap<String, Option<String>> =
        tx.map(&sql, args![Id(region)], |r| Ok((r.take()?, r.take()?))).await?.into_iter().collect();
    let mut at = region.map(str::to_owned);
    while let Some(region) = at {
        if let Some(policy) = of_regions.remove(&region) {
            return Ok(Some(policy));
        }
        // Taken out, so that a circle ends.
        at = parents.remove(&region).flatten();
    }
    Ok(of_service)
}
