//! `/v3/regions`

use axum::response::Response;
use serde_json::{Map, Value, json};
use vicar_rules::policy::{Facts, Op};

use crate::args;
use crate::authz::{Authorized, Caller, NoObject, Object, Proposed, Reading, Writing};
use crate::error::{Error, Result};
use crate::http::request::{created, no_content, one, take_text};
use crate::http::{Links, bag};
use crate::store::{self, Proof, Row, Select, Tx, WriteTx};
use crate::{ids, schema};

schema!(CREATE, {
    "type": "object",
    "properties": {
        "id": {"type": ["string", "null"], "maxLength": 255},
        "description": {"type": ["string", "null"], "maxLength": 255},
        "parent_region_id": {"type": ["string", "null"], "minLength": 1, "maxLength": 255},
    },
});

schema!(UPDATE, {
    "type": "object",
    "properties": {
        "description": {"type": ["string", "null"], "maxLength": 255},
        "parent_region_id": {"type": ["string", "null"], "minLength": 1, "maxLength": 255},
    },
    "minProperties": 1,
});

schema!(QUERY, {
    "type": "object",
    "properties": {"parent_region_id": {"minLength": 1, "maxLength": 255}},
});

const KNOWN: &[&str] = &["id", "description", "parent_region_id", "links"];

const COLUMNS: &str = "SELECT id, description, parent_region_id, extra FROM region";

/// A region.
#[derive(Debug, Clone)]
struct Region {
    id: String,
    description: String,
    parent_region_id: Option<String>,
    extra: Map<String, Value>,
}

impl Region {
    fn read(r: &mut Row) -> store::Result<Self> {
        Ok(Self {
            id: r.take()?,
            description: r.take()?,
            parent_region_id: r.take()?,
            extra: bag::read(r.take()?),
        })
    }

    fn to_json(&self, links: &Links) -> Value {
        bag::shown(
            &self.extra,
            json!({
                "id": self.id,
                "description": self.description,
                "parent_region_id": self.parent_region_id,
                "links": {"self": links.of(&["regions", &self.id])},
            }),
        )
    }
}

impl Object for Region {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }
}

impl Object for Proposed<Region> {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }
}

fn missing(id: &str) -> Error {
    Error::NotFound("region", id.to_owned())
}

async fn find(tx: &mut Tx, id: &str) -> Result<Region> {
    let found = tx.first(&format!("{COLUMNS} WHERE id = ?"), args![id], Region::read).await?;
    found.filter(|r| r.id == id).ok_or_else(|| missing(id))
}

/// Whether there is a region with this id.
///
/// # Errors
/// When the database fails.
pub async fn exists(tx: &mut Tx, id: &str) -> Result<bool> {
    Ok(tx.exists("SELECT id FROM region WHERE id = ?", args![id]).await?)
}

async fn insert(tx: &mut WriteTx, proof: &impl CreatesRegion, region: &Region) -> Result<()> {
    tx.run(
        proof,
        "INSERT INTO region (id, description, parent_region_id, extra) VALUES (?, ?, ?, ?)",
        args![&region.id, &region.description, &region.parent_region_id, bag::text(&region.extra)],
    )
    .await
    .map_err(|e| match e {
        store::Error::Duplicate => Error::taken("region", &format!("there is a region {}", region.id)),
        e => e.into(),
    })?;
    Ok(())
}

/// Proofs that cover the creation of a region: a region's own, and an endpoint's that names one.
pub trait CreatesRegion: Proof {}

impl CreatesRegion for Authorized<Proposed<Region>> {}

/// Creates a region with this id if there is none: older clients name regions without creating them.
///
/// # Errors
/// When the database fails.
pub async fn ensure(tx: &mut WriteTx, proof: &impl CreatesRegion, id: &str) -> Result<()> {
    if exists(tx, id).await? {
        return Ok(());
    }
    let region =
        Region { id: id.to_owned(), description: String::new(), parent_region_id: None, extra: Map::new() };
    insert(tx, proof, &region).await
}

/// `POST /v3/regions`: with the client's id, or a new one.
pub async fn create(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(Op::CreateRegion, NoObject)?;
    let mut body = s.member("region", &CREATE)?;
    let id = take_text(&mut body, "id").filter(|id| !id.is_empty()).unwrap_or_else(ids::uuid);
    store_new(s, id, body).await
}

/// `PUT /v3/regions/{id}`: creates one with that id; it never replaces one.
pub async fn put(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(Op::CreateRegion, NoObject)?;
    let body = s.member("region", &CREATE)?;
    let id = s.param("region_id")?;
    if id.chars().count() > 255 {
        return Err(Error::field("id", "is longer than 255 characters"));
    }
    if body.get("id").is_some_and(|given| *given != id) {
        return Err(Error::field("id", "differs from that of the URL"));
    }
    store_new(s, id.to_owned(), body).await
}

async fn store_new(s: &mut Writing<'_>, id: String, mut body: Map<String, Value>) -> Result<Response> {
    let region = Region {
        description: take_text(&mut body, "description").unwrap_or_default(),
        parent_region_id: take_text(&mut body, "parent_region_id"),
        extra: bag::rest(body, KNOWN),
        id,
    };
    let region = s.authorize(Op::CreateRegion, Proposed(region))?;
    if let Some(parent) = &region.parent_region_id
        && !exists(&mut s.tx, parent).await?
    {
        return Err(missing(parent));
    }
    insert(&mut s.tx, &region, &region).await?;
    Ok(created("region", region.to_json(s.links())))
}

/// `GET /v3/regions`
pub async fn list(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::ListRegions, NoObject)?;
    s.request.query.check(&QUERY)?;
    let mut q = Select::new(COLUMNS);
    q.eq("parent_region_id", s.request.query.get("parent_region_id")).end("ORDER BY id");
    let items = q.map(&mut s.tx, Region::read).await?.iter().map(|r| r.to_json(s.links())).collect();
    s.list("regions", items, &["parent_region_id"])
}

/// `GET /v3/regions/{id}`
pub async fn get(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::GetRegion, NoObject)?;
    let region = find(&mut s.tx, s.request.param("region_id")?).await?;
    Ok(one("region", region.to_json(s.links())))
}

/// `PATCH /v3/regions/{id}`
pub async fn update(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(Op::UpdateRegion, NoObject)?;
    let id = s.param("region_id")?;
    let mut body = s.member("region", &UPDATE)?;
    bag::same_id(&body, id)?;
    let stored = find(&mut s.tx, id).await?;
    let stored = s.authorize(Op::UpdateRegion, stored)?;
    let mut region = stored.clone();
    if let Some(description) = body.remove("description") {
        region.description = description.as_str().unwrap_or_default().to_owned();
    }
    if let Some(parent) = body.remove("parent_region_id") {
        region.parent_region_id = parent.as_str().map(str::to_owned);
        check_parent(&mut s.tx, &region).await?;
    }
    bag::keep(&mut region.extra, body, KNOWN);
    save(&mut s.tx, &stored, &region).await?;
    Ok(one("region", region.to_json(s.links())))
}

/// The new parent is there, and not below the region itself.
async fn check_parent(tx: &mut Tx, region: &Region) -> Result<()> {
    let Some(parent) = &region.parent_region_id else {
        return Ok(());
    };
    if !exists(tx, parent).await? {
        return Err(missing(parent));
    }
    if below(tx, &region.id).await?.contains(parent) {
        return Err(Error::BadRequest(format!(
            "The specified parent region {parent} would create a circular region hierarchy."
        )));
    }
    Ok(())
}

/// A region and everything below it. `UNION` ends at what was seen already, so circles end too.
async fn below(tx: &mut Tx, id: &str) -> Result<Vec<String>> {
    let sql = "WITH RECURSIVE down(id) AS (
                   SELECT id FROM region WHERE id = ?
                   UNION
                   SELECT r.id FROM region r JOIN down ON r.parent_region_id = down.id)
               SELECT id FROM down";
    Ok(tx.column(sql, args![id]).await?)
}

async fn save(tx: &mut WriteTx, stored: &Authorized<Region>, region: &Region) -> Result<()> {
    tx.run(
        stored,
        "UPDATE region SET description = ?, parent_region_id = ?, extra = ? WHERE id = ?",
        args![&region.description, &region.parent_region_id, bag::text(&region.extra), &stored.id],
    )
    .await?;
    Ok(())
}

/// `DELETE /v3/regions/{id}`: with everything below it, unless an endpoint is in any of them.
pub async fn delete(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(Op::DeleteRegion, NoObject)?;
    let region = find(&mut s.tx, s.request.param("region_id")?).await?;
    let region = s.authorize(Op::DeleteRegion, region)?;
    let all = below(&mut s.tx, &region.id).await?;
    for id in &all {
        if s.tx.exists("SELECT id FROM endpoint WHERE region_id = ? LIMIT 1", args![id]).await? {
            return Err(Error::Forbidden(format!(
                "Unable to delete region {} because it or its child regions have associated endpoints.",
                region.id
            )));
        }
    }
    remove(&mut s.tx, &region, &all).await?;
    Ok(no_content())
}

/// Deletes a region, and with it those below it.
async fn remove(tx: &mut WriteTx, region: &Authorized<Region>, with: &[String]) -> Result<()> {
    for id in with {
        tx.run(region, "DELETE FROM policy_association WHERE region_id = ?", args![id]).await?;
        tx.run(region, "DELETE FROM region WHERE id = ?", args![id]).await?;
    }
    Ok(())
}
