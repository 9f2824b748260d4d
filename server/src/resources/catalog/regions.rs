//! `/v3/regions`

use axum::response::Response;

use crate::args;
use crate::authz::{Authorized, NoObject, Writing};
use crate::error::{Error, Result};
use crate::resource::{self, Creates, Field, Plain, Record, Resource};
use crate::store::tree::REGIONS;
use crate::store::{Id, Tx, WriteTx};

/// Regions.
#[derive(Debug)]
pub struct Region;

static REGION: Resource = Resource::new(
    "region",
    "regions",
    &[
        Field::id().set_once(),
        Field::of("description").null_means(""),
        Field::of("parent_region_id").not_empty().filters_checked(),
    ],
);

impl Plain for Region {
    fn of() -> &'static Resource {
        &REGION
    }

    /// The parent is there, and not below the region itself.
    async fn prepare(
        s: &mut Writing<'_>,
        before: Option<&Record<Self>>,
        after: &mut Record<Self>,
    ) -> Result<()> {
        let Some(parent) = after.text("parent_region_id") else { return Ok(()) };
        if before.is_some_and(|b| b.text("parent_region_id") == Some(parent)) {
            return Ok(());
        }
        if !exists(&mut s.tx, parent).await? {
            return Err(Record::<Self>::missing(parent));
        }
        if before.is_some() && REGIONS.ids_below(&mut s.tx, &after.id).await?.iter().any(|id| id == parent) {
            return Err(Error::BadRequest(format!(
                "The specified parent region {parent} would create a circular region hierarchy."
            )));
        }
        Ok(())
    }

    /// With everything below it, unless an endpoint is in any of them.
    async fn delete(s: &mut Writing<'_>, region: &Authorized<Record<Self>>) -> Result<()> {
        let all = REGIONS.ids_below(&mut s.tx, &region.id).await?;
        for id in &all {
            if s.tx.exists("SELECT id FROM endpoint WHERE region_id = ? LIMIT 1", args![Id(id)]).await? {
                return Err(Error::Forbidden(format!(
                    "Unable to delete region {} because it or its child regions have associated endpoints.",
                    region.id
                )));
            }
        }
        for id in &all {
            Record::<Self>::delete(&mut s.tx, region, id).await?;
        }
        Ok(())
    }
}

/// Whether there is a region with this id.
///
/// # Errors
/// When the database fails.
pub async fn exists(tx: &mut Tx, id: &str) -> Result<bool> {
    Ok(Record::<Region>::load(tx, id).await?.is_some())
}

/// Creates a region with this id if there is none: older clients name regions without creating them. Returns whether
/// it did.
///
/// # Errors
/// When the database fails.
pub async fn ensure(tx: &mut WriteTx, proof: &impl Creates<Region>, id: &str) -> Result<bool> {
    if exists(tx, id).await? {
        return Ok(false);
    }
    Record::<Region>::new(id.to_owned()).insert(tx, proof).await?;
    Ok(true)
}

/// `PUT /v3/regions/{id}`: creates one with that id; it never replaces one.
pub async fn put(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let mut body = resource::new_body::<Region>(s)?;
    let id = s.param("region_id")?;
    if id.chars().count() > 255 {
        return Err(Error::field("id", "is longer than 255 characters"));
    }
    if body.get("id").is_some_and(|given| *given != id) {
        return Err(Error::field("id", "differs from that of the URL"));
    }
    body.insert("id".into(), id.into());
    resource::create_from::<Region>(s, body).await
}
