//! `/v3/services`

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
        "type": {"type": "string", "minLength": 1, "maxLength": 255},
        "name": {"type": "string", "minLength": 1, "maxLength": 255},
        "enabled": {"type": "boolean"},
    },
    "required": ["type"],
});

schema!(UPDATE, {
    "type": "object",
    "properties": {
        "type": {"type": "string", "minLength": 1, "maxLength": 255},
        "name": {"type": "string", "minLength": 1, "maxLength": 255},
        "enabled": {"type": "boolean"},
    },
    "minProperties": 1,
});

/// `name` has no column: Keystone keeps it, and a description, among the other attributes.
const KNOWN: &[&str] = &["id", "type", "enabled", "links"];

const COLUMNS: &str = "SELECT id, type, enabled, extra FROM service";

/// A service.
#[derive(Debug, Clone)]
struct Service {
    id: String,
    kind: Option<String>,
    enabled: bool,
    extra: Map<String, Value>,
}

impl Service {
    fn read(r: &mut Row) -> store::Result<Self> {
        Ok(Self { id: r.take()?, kind: r.take()?, enabled: r.take()?, extra: bag::read(r.take()?) })
    }

    fn shown(&self, req: &Req) -> Value {
        bag::shown(
            &self.extra,
            json!({
                "id": self.id,
                "type": self.kind,
                "enabled": self.enabled,
                "links": {"self": req.link(&format!("/services/{}", self.id))},
            }),
        )
    }
}

async fn look(tx: &mut Tx, id: &str) -> Result<Service> {
    let found = tx.first(&format!("{COLUMNS} WHERE id = ?"), args![id], Service::read).await?;
    found.filter(|s| s.id == id).ok_or_else(|| Error::NotFound("service", id.to_owned()))
}

/// Is there a service of this id?
pub async fn exists(tx: &mut Tx, id: &str) -> Result<bool> {
    Ok(tx.exists("SELECT id FROM service WHERE id = ?", args![id]).await?)
}

/// `POST /v3/services`
pub async fn create(req: Req) -> Result<Response> {
    let permit = req.permit(Op::CreateService, &Facts::none()).await?;
    let mut body = req.member("service", &CREATE)?;
    let mut service = Service {
        id: ids::uuid(),
        kind: take_text(&mut body, "type"),
        enabled: body.remove("enabled").is_none_or(|e| e == true),
        extra: bag::rest(body, KNOWN),
    };
    service.extra.entry("name").or_insert_with(|| "".into());
    let mut tx = req.write().await?;
    insert(&mut tx, &service, &permit).await?;
    tx.commit().await?;
    Ok(req.created("service", service.shown(&req)))
}

async fn insert(tx: &mut Tx, s: &Service, _permit: &Permit) -> Result<()> {
    tx.run(
        "INSERT INTO service (id, type, enabled, extra) VALUES (?, ?, ?, ?)",
        args![&s.id, &s.kind, s.enabled, bag::text(&s.extra)],
    )
    .await?;
    Ok(())
}

/// `GET /v3/services`
pub async fn list(req: Req) -> Result<Response> {
    req.permit(Op::ListServices, &Facts::none()).await?;
    let mut q = Select::new(COLUMNS);
    q.eq("type", req.query.get("type")).end("ORDER BY id");
    let mut tx = req.read().await?;
    let items = q.map(&mut tx, Service::read).await?.iter().map(|s| s.shown(&req)).collect();
    req.list("services", items, &["type", "name"])
}

/// `GET /v3/services/{id}`
pub async fn get(Path(id): Path<String>, req: Req) -> Result<Response> {
    req.permit(Op::GetService, &Facts::none()).await?;
    let mut tx = req.read().await?;
    Ok(req.one("service", look(&mut tx, &id).await?.shown(&req)))
}

/// `PATCH /v3/services/{id}`
pub async fn update(Path(id): Path<String>, req: Req) -> Result<Response> {
    let permit = req.permit(Op::UpdateService, &Facts::none()).await?;
    let mut body = req.member("service", &UPDATE)?;
    bag::same_id(&body, &id)?;
    let mut tx = req.write().await?;
    let mut service = look(&mut tx, &id).await?;
    service.kind = take_text(&mut body, "type").or(service.kind);
    service.enabled = body.remove("enabled").map_or(service.enabled, |e| e == true);
    bag::keep(&mut service.extra, body, KNOWN);
    save(&mut tx, &service, &permit).await?;
    tx.commit().await?;
    Ok(req.one("service", service.shown(&req)))
}

async fn save(tx: &mut Tx, s: &Service, _permit: &Permit) -> Result<()> {
    tx.run(
        "UPDATE service SET type = ?, enabled = ?, extra = ? WHERE id = ?",
        args![&s.kind, s.enabled, bag::text(&s.extra), &s.id],
    )
    .await?;
    Ok(())
}

/// `DELETE /v3/services/{id}`: with its endpoints.
pub async fn delete(Path(id): Path<String>, req: Req) -> Result<Response> {
    let permit = req.permit(Op::DeleteService, &Facts::none()).await?;
    let mut tx = req.write().await?;
    look(&mut tx, &id).await?;
    super::endpoints::remove_of_service(&mut tx, &id, &permit).await?;
    tx.run("DELETE FROM policy_association WHERE service_id = ?", args![&id]).await?;
    tx.run("DELETE FROM service WHERE id = ?", args![&id]).await?;
    tx.commit().await?;
    Ok(no_content())
}
