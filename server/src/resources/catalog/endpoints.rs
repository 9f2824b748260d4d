//! `/v3/endpoints`

use axum::extract::Path;
use axum::response::Response;
use serde_json::{Map, Value, json};
use vicar_rules::policy::{Facts, Op};

use super::{regions, services, url};
use crate::args;
use crate::error::{Error, Result};
use crate::http::request::{no_content, take_text};
use crate::http::{Permit, Req, bag};
use crate::store::{self, Row, Select, Tx};
use crate::{ids, schema};

fn properties() -> Value {
    json!({
        "interface": {"enum": ["admin", "internal", "public"]},
        "service_id": {"type": "string"},
        "url": {"type": "string", "maxLength": 225, "pattern": "^[a-zA-Z0-9+.-]+:."},
        "region_id": {"type": ["string", "null"], "maxLength": 255},
        "region": {"type": ["string", "null"], "minLength": 1, "maxLength": 255},
        "enabled": {"type": "boolean"},
        "name": {"type": "string"},
        "description": {"type": ["string", "null"]},
    })
}

schema!(CREATE, {
    "type": "object",
    "properties": properties(),
    "required": ["interface", "service_id", "url"],
});

schema!(UPDATE, {
    "type": "object",
    "properties": properties(),
    "minProperties": 1,
});

schema!(QUERY, {
    "type": "object",
    "properties": {"interface": {"enum": ["admin", "internal", "public"]}},
});

/// `legacy_endpoint_id` is the one that three endpoints had in common in version 2; it is never shown.
const KNOWN: &[&str] = &[
    "id",
    "interface",
    "service_id",
    "url",
    "region_id",
    "region",
    "enabled",
    "legacy_endpoint_id",
    "links",
];

const COLUMNS: &str = "SELECT id, interface, service_id, url, region_id, enabled, extra FROM endpoint";

/// An endpoint.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its id.
    pub id: String,
    /// `public`, `internal` or `admin`.
    pub interface: String,
    /// Its service.
    pub service_id: String,
    /// Its URL, with gaps.
    pub url: String,
    /// Its region, if it is in one.
    pub region_id: Option<String>,
    /// Do catalogs show it?
    pub enabled: bool,
    /// All other attributes.
    pub extra: Map<String, Value>,
}

impl Endpoint {
    fn read(r: &mut Row) -> store::Result<Self> {
        Ok(Self {
            id: r.take()?,
            interface: r.take()?,
            service_id: r.take()?,
            url: r.take()?,
            region_id: r.take()?,
            enabled: r.take()?,
            extra: bag::read(r.take()?),
        })
    }

    fn shown(&self, req: &Req) -> Value {
        bag::shown(
            &self.extra,
            json!({
                "id": self.id,
                "interface": self.interface,
                "service_id": self.service_id,
                "url": self.url,
                "region_id": self.region_id,
                "region": self.region_id,
                "enabled": self.enabled,
                "links": {"self": req.link(&format!("/endpoints/{}", self.id))},
            }),
        )
    }

    /// Its URL can be filled in, its service and its region are there.
    async fn check(&self, tx: &mut Tx) -> Result<()> {
        if !url::is_sound(&self.url) {
            return Err(Error::field("url", "has a gap that cannot be filled in"));
        }
        if !services::exists(tx, &self.service_id).await? {
            return Err(Error::field("service_id", "there is no such service"));
        }
        match &self.region_id {
            Some(id) if !regions::exists(tx, id).await? => {
                Err(Error::field("region_id", "there is no such region"))
            }
            _ => Ok(()),
        }
    }
}

/// Every enabled endpoint, for catalogs.
pub(super) async fn enabled(tx: &mut Tx) -> Result<Vec<Endpoint>> {
    let mut q = Select::new(COLUMNS);
    q.eq("enabled", Some(true)).end("ORDER BY id");
    Ok(q.map(tx, Endpoint::read).await?)
}

async fn look(tx: &mut Tx, id: &str) -> Result<Endpoint> {
    let found = tx.first(&format!("{COLUMNS} WHERE id = ?"), args![id], Endpoint::read).await?;
    found.filter(|e| e.id == id).ok_or_else(|| Error::NotFound("endpoint", id.to_owned()))
}

/// The region that a body names: `region_id` must be there; `region` is the old way, which makes it.
/// Nothing when the body names none.
async fn region(
    tx: &mut Tx,
    body: &mut Map<String, Value>,
    permit: &Permit,
) -> Result<Option<Option<String>>> {
    let named = body.remove("region_id").map(|id| id.as_str().map(str::to_owned));
    let old = take_text(body, "region");
    match (named, old) {
        (Some(Some(id)), _) => Ok(Some(Some(id))),
        (_, Some(old)) => {
            regions::ensure(tx, &old, permit).await?;
            Ok(Some(Some(old)))
        }
        (named, None) => Ok(named),
    }
}

/// `POST /v3/endpoints`
pub async fn create(req: Req) -> Result<Response> {
    let permit = req.permit(Op::CreateEndpoint, &Facts::none()).await?;
    let mut body = req.member("endpoint", &CREATE)?;
    let mut tx = req.write().await?;
    let endpoint = Endpoint {
        id: ids::uuid(),
        interface: take_text(&mut body, "interface").unwrap_or_default(),
        service_id: take_text(&mut body, "service_id").unwrap_or_default(),
        url: take_text(&mut body, "url").unwrap_or_default(),
        region_id: region(&mut tx, &mut body, &permit).await?.flatten(),
        enabled: body.remove("enabled").is_none_or(|e| e == true),
        extra: bag::rest(body, KNOWN),
    };
    endpoint.check(&mut tx).await?;
    insert(&mut tx, &endpoint, &permit).await?;
    tx.commit().await?;
    Ok(req.created("endpoint", endpoint.shown(&req)))
}

async fn insert(tx: &mut Tx, e: &Endpoint, _permit: &Permit) -> Result<()> {
    tx.run(
        "INSERT INTO endpoint (id, interface, service_id, url, region_id, enabled, extra)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
        args![&e.id, &e.interface, &e.service_id, &e.url, &e.region_id, e.enabled, bag::text(&e.extra)],
    )
    .await?;
    Ok(())
}

/// `GET /v3/endpoints`
pub async fn list(req: Req) -> Result<Response> {
    req.permit(Op::ListEndpoints, &Facts::none()).await?;
    req.query.check(&QUERY)?;
    let mut q = Select::new(COLUMNS);
    q.eq("service_id", req.query.get("service_id"))
        .eq("interface", req.query.get("interface"))
        .eq("region_id", req.query.get("region_id"))
        .end("ORDER BY id");
    let mut tx = req.read().await?;
    let items = q.map(&mut tx, Endpoint::read).await?.iter().map(|e| e.shown(&req)).collect();
    req.list("endpoints", items, &["interface", "service_id", "region_id", "enabled"])
}

/// `GET /v3/endpoints/{id}`
pub async fn get(Path(id): Path<String>, req: Req) -> Result<Response> {
    req.permit(Op::GetEndpoint, &Facts::none()).await?;
    let mut tx = req.read().await?;
    Ok(req.one("endpoint", look(&mut tx, &id).await?.shown(&req)))
}

/// `PATCH /v3/endpoints/{id}`
pub async fn update(Path(id): Path<String>, req: Req) -> Result<Response> {
    let permit = req.permit(Op::UpdateEndpoint, &Facts::none()).await?;
    let mut body = req.member("endpoint", &UPDATE)?;
    bag::same_id(&body, &id)?;
    let mut tx = req.write().await?;
    let mut e = look(&mut tx, &id).await?;
    e.interface = take_text(&mut body, "interface").unwrap_or(e.interface);
    e.service_id = take_text(&mut body, "service_id").unwrap_or(e.service_id);
    e.url = take_text(&mut body, "url").unwrap_or(e.url);
    e.region_id = region(&mut tx, &mut body, &permit).await?.unwrap_or(e.region_id);
    e.enabled = body.remove("enabled").map_or(e.enabled, |v| v == true);
    bag::keep(&mut e.extra, body, KNOWN);
    e.check(&mut tx).await?;
    save(&mut tx, &e, &permit).await?;
    tx.commit().await?;
    Ok(req.one("endpoint", e.shown(&req)))
}

async fn save(tx: &mut Tx, e: &Endpoint, _permit: &Permit) -> Result<()> {
    tx.run(
        "UPDATE endpoint SET interface = ?, service_id = ?, url = ?, region_id = ?, enabled = ?, extra = ?
          WHERE id = ?",
        args![&e.interface, &e.service_id, &e.url, &e.region_id, e.enabled, bag::text(&e.extra), &e.id],
    )
    .await?;
    Ok(())
}

/// `DELETE /v3/endpoints/{id}`
pub async fn delete(Path(id): Path<String>, req: Req) -> Result<Response> {
    let permit = req.permit(Op::DeleteEndpoint, &Facts::none()).await?;
    let mut tx = req.write().await?;
    look(&mut tx, &id).await?;
    remove(&mut tx, &id, &permit).await?;
    tx.commit().await?;
    Ok(no_content())
}

async fn remove(tx: &mut Tx, id: &str, _permit: &Permit) -> Result<()> {
    tx.run("DELETE FROM project_endpoint WHERE endpoint_id = ?", args![id]).await?;
    tx.run("DELETE FROM policy_association WHERE endpoint_id = ?", args![id]).await?;
    tx.run("DELETE FROM endpoint WHERE id = ?", args![id]).await?;
    Ok(())
}

/// A service is about to go: so do its endpoints.
pub(super) async fn remove_of_service(tx: &mut Tx, service: &str, permit: &Permit) -> Result<()> {
    let all: Vec<String> = tx.column("SELECT id FROM endpoint WHERE service_id = ?", args![service]).await?;
    for id in &all {
        remove(tx, id, permit).await?;
    }
    Ok(())
}
