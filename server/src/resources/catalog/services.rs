//! `/v3/services`

use axum::response::Response;
use serde_json::{Map, Value, json};
use vicar_rules::policy::{Facts, Op};

use super::sql::{self, DeletesEndpoint};
use crate::args;
use crate::authz::{Authorized, Caller, NoObject, Object, Proposed, Reading, Writing};
use crate::error::{Error, Result};
use crate::http::request::{created, no_content, one, take_text};
use crate::http::{Links, bag};
use crate::store::{self, Row, Select, Tx, WriteTx};
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

    fn to_json(&self, links: &Links) -> Value {
        bag::shown(
            &self.extra,
            json!({
                "id": self.id,
                "type": self.kind,
                "enabled": self.enabled,
                "links": {"self": links.of(&["services", &self.id])},
            }),
        )
    }
}

impl Object for Service {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }
}

impl Object for Proposed<Service> {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }
}

impl DeletesEndpoint for Authorized<Service> {}

async fn find(tx: &mut Tx, id: &str) -> Result<Service> {
    let found = tx.first(&format!("{COLUMNS} WHERE id = ?"), args![id], Service::read).await?;
    found.filter(|s| s.id == id).ok_or_else(|| Error::NotFound("service", id.to_owned()))
}

/// `POST /v3/services`
pub async fn create(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(Op::CreateService, NoObject)?;
    let mut body = s.member("service", &CREATE)?;
    let mut service = Service {
        id: ids::uuid(),
        kind: take_text(&mut body, "type"),
        enabled: body.remove("enabled").is_none_or(|e| e == true),
        extra: bag::rest(body, KNOWN),
    };
    service.extra.entry("name").or_insert_with(|| "".into());
    let service = s.authorize(Op::CreateService, Proposed(service))?;
    insert(&mut s.tx, &service).await?;
    Ok(created("service", service.to_json(s.links())))
}

async fn insert(tx: &mut WriteTx, s: &Authorized<Proposed<Service>>) -> Result<()> {
    tx.run(
        s,
        "INSERT INTO service (id, type, enabled, extra) VALUES (?, ?, ?, ?)",
        args![&s.id, &s.kind, s.enabled, bag::text(&s.extra)],
    )
    .await?;
    Ok(())
}

/// `GET /v3/services`
pub async fn list(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::ListServices, NoObject)?;
    let mut q = Select::new(COLUMNS);
    q.eq("type", s.request.query.get("type")).end("ORDER BY id");
    let found = q.map(&mut s.tx, Service::read).await?;
    let items = found.iter().map(|service| service.to_json(s.links())).collect();
    s.list("services", items, &["type", "name"])
}

/// `GET /v3/services/{id}`
pub async fn get(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::GetService, NoObject)?;
    let service = find(&mut s.tx, s.request.param("service_id")?).await?;
    Ok(one("service", service.to_json(s.links())))
}

/// `PATCH /v3/services/{id}`
pub async fn update(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(Op::UpdateService, NoObject)?;
    let id = s.param("service_id")?;
    let mut body = s.member("service", &UPDATE)?;
    bag::same_id(&body, id)?;
    let stored = find(&mut s.tx, id).await?;
    let stored = s.authorize(Op::UpdateService, stored)?;
    let mut service = stored.clone();
    service.kind = take_text(&mut body, "type").or(service.kind);
    service.enabled = body.remove("enabled").map_or(service.enabled, |e| e == true);
    bag::keep(&mut service.extra, body, KNOWN);
    save(&mut s.tx, &stored, &service).await?;
    Ok(one("service", service.to_json(s.links())))
}

async fn save(tx: &mut WriteTx, stored: &Authorized<Service>, s: &Service) -> Result<()> {
    tx.run(
        stored,
        "UPDATE service SET type = ?, enabled = ?, extra = ? WHERE id = ?",
        args![&s.kind, s.enabled, bag::text(&s.extra), &stored.id],
    )
    .await?;
    Ok(())
}

/// `DELETE /v3/services/{id}`: with its endpoints.
pub async fn delete(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(Op::DeleteService, NoObject)?;
    let service = find(&mut s.tx, s.request.param("service_id")?).await?;
    let service = s.authorize(Op::DeleteService, service)?;
    sql::delete_endpoints_of(&mut s.tx, &service, &service.id).await?;
    remove(&mut s.tx, &service).await?;
    Ok(no_content())
}

async fn remove(tx: &mut WriteTx, service: &Authorized<Service>) -> Result<()> {
    tx.run(service, "DELETE FROM policy_association WHERE service_id = ?", args![&service.id]).await?;
    tx.run(service, "DELETE FROM service WHERE id = ?", args![&service.id]).await?;
    Ok(())
}
