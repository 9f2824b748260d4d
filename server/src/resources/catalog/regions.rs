//! `/v3/regions`

use axum::extract::Path;
use axum::response::Response;
use serde_json::{Map, Value, json};
use vicar_rules::policy::{Facts, Op};

use crate::args;
use crate::error::{Error, Result};
use crate::http::request::{no_content, take_text};
use crate::http::{Permit, Req, bag};
use crate::store::{self, Row, Select, Tx};
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

    fn shown(&self, req: &Req) -> Value {
        bag::shown(
            &self.extra,
            json!({
                "id": self.id,
                "description": self.description,
                "parent_region_id": self.parent_region_id,
                "links": {"self": req.link(&format!("/regions/{}", self.id))},
            }),
        )
    }
}

fn missing(id: &str) -> Error {
    Error::NotFound("region", id.to_owned())
}

async fn look(tx: &mut Tx, id: &str) -> Result<Region> {
    let found = tx.first(&format!("{COLUMNS} WHERE id = ?"), args![id], Region::read).await?;
    found.filter(|r| r.id == id).ok_or_else(|| missing(id))
}

/// Is there a region of this id?
pub async fn exists(tx: &mut Tx, id: &str) -> Result<bool> {
    Ok(tx.exists("SELECT id FROM region WHERE id = ?", args![id]).await?)
}

async fn insert(tx: &mut Tx, region: &Region, _permit: &Permit) -> Result<()> {
    tx.run(
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

/// Makes a region of this id if there is none: clients of old times name regions without making them.
pub async fn ensure(tx: &mut Tx, id: &str, permit: &Permit) -> Result<()> {
    if exists(tx, id).await? {
        return Ok(());
    }
    let region =
        Region { id: id.to_owned(), description: String::new(), parent_region_id: None, extra: Map::new() };
    insert(tx, &region, permit).await
}

/// `POST /v3/regions`: with the client's id, or a new one.
pub async fn create(req: Req) -> Result<Response> {
    let permit = req.permit(Op::CreateRegion, &Facts::none()).await?;
    let mut body = req.member("region", &CREATE)?;
    let id = take_text(&mut body, "id").filter(|id| !id.is_empty()).unwrap_or_else(ids::uuid);
    store_new(&req, id, body, &permit).await
}

/// `PUT /v3/regions/{id}`: makes one of that id; it never replaces one.
pub async fn put(Path(id): Path<String>, req: Req) -> Result<Response> {
    let permit = req.permit(Op::CreateRegion, &Facts::none()).await?;
    let body = req.member("region", &CREATE)?;
    if id.chars().count() > 255 {
        return Err(Error::field("id", "is longer than 255 characters"));
    }
    if body.get("id").is_some_and(|given| *given != id.as_str()) {
        return Err(Error::field("id", "is another than that of the URL"));
    }
    store_new(&req, id, body, &permit).await
}

async fn store_new(req: &Req, id: String, mut body: Map<String, Value>, permit: &Permit) -> Result<Response> {
    let region = Region {
        description: take_text(&mut body, "description").unwrap_or_default(),
        parent_region_id: take_text(&mut body, "parent_region_id"),
        extra: bag::rest(body, KNOWN),
        id,
    };
    let mut tx = req.write().await?;
    if let Some(parent) = &region.parent_region_id
        && !exists(&mut tx, parent).await?
    {
        return Err(missing(parent));
    }
    insert(&mut tx, &region, permit).await?;
    tx.commit().await?;
    Ok(req.created("region", region.shown(req)))
}

/// `GET /v3/regions`
pub async fn list(req: Req) -> Result<Response> {
    req.permit(Op::ListRegions, &Facts::none()).await?;
    req.query.check(&QUERY)?;
    let mut q = Select::new(COLUMNS);
    q.eq("parent_region_id", req.query.get("parent_region_id")).end("ORDER BY id");
    let mut tx = req.read().await?;
    let items = q.map(&mut tx, Region::read).await?.iter().map(|r| r.shown(&req)).collect();
    req.list("regions", items, &["parent_region_id"])
}

/// `GET /v3/regions/{id}`
pub async fn get(Path(id): Path<String>, req: Req) -> Result<Response> {
    req.permit(Op::GetRegion, &Facts::none()).await?;
    let mut tx = req.read().await?;
    Ok(req.one("region", look(&mut tx, &id).await?.shown(&req)))
}

/// `PATCH /v3/regions/{id}`
pub async fn update(Path(id): Path<String>, req: Req) -> Result<Response> {
    let permit = req.permit(Op::UpdateRegion, &Facts::none()).await?;
    let mut body = req.member("region", &UPDATE)?;
    bag::same_id(&body, &id)?;
    let mut tx = req.write().await?;
    let mut region = look(&mut tx, &id).await?;
    if let Some(description) = body.remove("description") {
        region.description = description.as_str().unwrap_or_default().to_owned();
    }
    if let Some(parent) = body.remove("parent_region_id") {
        region.parent_region_id = parent.as_str().map(str::to_owned);
        check_parent(&mut tx, &region).await?;
    }
    bag::keep(&mut region.extra, body, KNOWN);
    save(&mut tx, &region, &permit).await?;
    tx.commit().await?;
    Ok(req.one("region", region.shown(&req)))
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

async fn save(tx: &mut Tx, region: &Region, _permit: &Permit) -> Result<()> {
    tx.run(
        "UPDATE region SET description = ?, parent_region_id = ?, extra = ? WHERE id = ?",
        args![&region.description, &region.parent_region_id, bag::text(&region.extra), &region.id],
    )
    .await?;
    Ok(())
}

/// `DELETE /v3/regions/{id}`: with everything below it, unless an endpoint is in any of them.
pub async fn delete(Path(id): Path<String>, req: Req) -> Result<Response> {
    let permit = req.permit(Op::DeleteRegion, &Facts::none()).await?;
    let mut tx = req.write().await?;
    look(&mut tx, &id).await?;
    let all = below(&mut tx, &id).await?;
    for region in &all {
        if tx.exists("SELECT id FROM endpoint WHERE region_id = ? LIMIT 1", args![region]).await? {
            return Err(Error::Forbidden(format!(
                "Unable to delete region {id} because it or its child regions have associated endpoints."
            )));
        }
    }
    for region in &all {
        remove(&mut tx, region, &permit).await?;
    }
    tx.commit().await?;
    Ok(no_content())
}

async fn remove(tx: &mut Tx, id: &str, _permit: &Permit) -> Result<()> {
    tx.run("DELETE FROM policy_association WHERE region_id = ?", args![id]).await?;
    tx.run("DELETE FROM region WHERE id = ?", args![id]).await?;
    Ok(())
}
