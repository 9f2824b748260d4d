//! `/v3/endpoints`

use axum::response::Response;
use serde_json::{Map, Value, json};
use vicar_rules::policy::{Facts, Op};

use super::regions::{self, CreatesRegion};
use super::sql::{self, DeletesEndpoint};
use super::url;
use crate::args;
use crate::authz::{Authorized, Caller, NoObject, Object, Proposed, Reading, Writing};
use crate::error::{Error, Result};
use crate::http::request::{created, no_content, one, take_text};
use crate::http::{Links, bag};
use crate::store::{self, Row, Select, Tx, WriteTx};
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
    /// Its URL, with variable parts.
    pub url: String,
    /// Its region, if it is in one.
    pub region_id: Option<String>,
    /// Whether catalogs show it.
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

    fn to_json(&self, links: &Links) -> Value {
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
                "links": {"self": links.of(&["endpoints", &self.id])},
            }),
        )
    }

    /// Its URL can be filled in, its service is there, and its region too unless it is made with it.
    async fn check(&self, tx: &mut Tx, new_region: Option<&str>) -> Result<()> {
        if !url::is_sound(&self.url) {
            return Err(Error::field("url", "has a variable part that cannot be filled in"));
        }
        if !sql::service_exists(tx, &self.service_id).await? {
            return Err(Error::field("service_id", "there is no such service"));
        }
        match self.region_id.as_deref() {
            Some(id) if new_region != Some(id) && !regions::exists(tx, id).await? => {
                Err(Error::field("region_id", "there is no such region"))
            }
            _ => Ok(()),
        }
    }
}

impl Object for Endpoint {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }
}

impl Object for Proposed<Endpoint> {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }
}

impl CreatesRegion for Authorized<Proposed<Endpoint>> {}
impl CreatesRegion for Authorized<Endpoint> {}
impl DeletesEndpoint for Authorized<Endpoint> {}

async fn find(tx: &mut Tx, id: &str) -> Result<Endpoint> {
    let found = tx.first(&format!("{COLUMNS} WHERE id = ?"), args![id], Endpoint::read).await?;
    found.filter(|e| e.id == id).ok_or_else(|| Error::NotFound("endpoint", id.to_owned()))
}

/// What a body says of the region.
enum RegionChange {
    /// Nothing.
    Keep,
    /// `region_id`: it must be there, or is none.
    Set(Option<String>),
    /// `region`, the old way, which makes it.
    Ensure(String),
}

impl RegionChange {
    fn take(body: &mut Map<String, Value>) -> Self {
        let named = body.remove("region_id").map(|id| id.as_str().map(str::to_owned));
        let old = take_text(body, "region");
        match (named, old) {
            (Some(Some(id)), _) => Self::Set(Some(id)),
            (_, Some(old)) => Self::Ensure(old),
            (Some(None), None) => Self::Set(None),
            (None, None) => Self::Keep,
        }
    }

    fn over(&self, stored: Option<String>) -> Option<String> {
        match self {
            Self::Keep => stored,
            Self::Set(id) => id.clone(),
            Self::Ensure(id) => Some(id.clone()),
        }
    }

    /// The region that is made if it is not there.
    fn new_region(&self) -> Option<&str> {
        match self {
            Self::Ensure(id) => Some(id),
            Self::Keep | Self::Set(_) => None,
        }
    }
}

/// `POST /v3/endpoints`
pub async fn create(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(Op::CreateEndpoint, NoObject)?;
    let mut body = s.member("endpoint", &CREATE)?;
    let region = RegionChange::take(&mut body);
    let endpoint = Endpoint {
        id: ids::uuid(),
        interface: take_text(&mut body, "interface").unwrap_or_default(),
        service_id: take_text(&mut body, "service_id").unwrap_or_default(),
        url: take_text(&mut body, "url").unwrap_or_default(),
        region_id: region.over(None),
        enabled: body.remove("enabled").is_none_or(|e| e == true),
        extra: bag::rest(body, KNOWN),
    };
    let endpoint = s.authorize(Op::CreateEndpoint, Proposed(endpoint))?;
    endpoint.check(&mut s.tx, region.new_region()).await?;
    if let Some(id) = region.new_region() {
        regions::ensure(&mut s.tx, &endpoint, id).await?;
    }
    insert(&mut s.tx, &endpoint).await?;
    Ok(created("endpoint", endpoint.to_json(s.links())))
}

async fn insert(tx: &mut WriteTx, e: &Authorized<Proposed<Endpoint>>) -> Result<()> {
    tx.run(
        e,
        "INSERT INTO endpoint (id, interface, service_id, url, region_id, enabled, extra)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
        args![&e.id, &e.interface, &e.service_id, &e.url, &e.region_id, e.enabled, bag::text(&e.extra)],
    )
    .await?;
    Ok(())
}

/// `GET /v3/endpoints`
pub async fn list(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::ListEndpoints, NoObject)?;
    let query = &s.request.query;
    query.check(&QUERY)?;
    let mut q = Select::new(COLUMNS);
    q.eq("service_id", query.get("service_id"))
        .eq("interface", query.get("interface"))
        .eq("region_id", query.get("region_id"))
        .end("ORDER BY id");
    let items = q.map(&mut s.tx, Endpoint::read).await?.iter().map(|e| e.to_json(s.links())).collect();
    s.list("endpoints", items, &["interface", "service_id", "region_id", "enabled"])
}

/// `GET /v3/endpoints/{id}`
pub async fn get(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::GetEndpoint, NoObject)?;
    let endpoint = find(&mut s.tx, s.request.param("endpoint_id")?).await?;
    Ok(one("endpoint", endpoint.to_json(s.links())))
}

/// `PATCH /v3/endpoints/{id}`
pub async fn update(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(Op::UpdateEndpoint, NoObject)?;
    let id = s.param("endpoint_id")?;
    let mut body = s.member("endpoint", &UPDATE)?;
    bag::same_id(&body, id)?;
    let stored = find(&mut s.tx, id).await?;
    let stored = s.authorize(Op::UpdateEndpoint, stored)?;
    let region = RegionChange::take(&mut body);
    let mut e = stored.clone();
    e.interface = take_text(&mut body, "interface").unwrap_or(e.interface);
    e.service_id = take_text(&mut body, "service_id").unwrap_or(e.service_id);
    e.url = take_text(&mut body, "url").unwrap_or(e.url);
    e.region_id = region.over(e.region_id);
    e.enabled = body.remove("enabled").map_or(e.enabled, |v| v == true);
    bag::keep(&mut e.extra, body, KNOWN);
    e.check(&mut s.tx, region.new_region()).await?;
    if let Some(id) = region.new_region() {
        regions::ensure(&mut s.tx, &stored, id).await?;
    }
    save(&mut s.tx, &stored, &e).await?;
    Ok(one("endpoint", e.to_json(s.links())))
}

async fn save(tx: &mut WriteTx, stored: &Authorized<Endpoint>, e: &Endpoint) -> Result<()> {
    tx.run(
        stored,
        "UPDATE endpoint SET interface = ?, service_id = ?, url = ?, region_id = ?, enabled = ?, extra = ?
          WHERE id = ?",
        args![&e.interface, &e.service_id, &e.url, &e.region_id, e.enabled, bag::text(&e.extra), &stored.id],
    )
    .await?;
    Ok(())
}

/// `DELETE /v3/endpoints/{id}`
pub async fn delete(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(Op::DeleteEndpoint, NoObject)?;
    let endpoint = find(&mut s.tx, s.request.param("endpoint_id")?).await?;
    let endpoint = s.authorize(Op::DeleteEndpoint, endpoint)?;
    sql::delete_endpoint(&mut s.tx, &endpoint, &endpoint.id).await?;
    Ok(no_content())
}
