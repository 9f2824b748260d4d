//! `/v3/OS-FEDERATION/mappings`: see `vicar_rules::mapping`.

use axum::response::Response;
use serde_json::{Map, Value, json};
use vicar_rules::mapping::{self, Version};
use vicar_rules::policy::Facts;

use super::{check_id, link};
use crate::args;
use crate::authz::{Authorized, Caller, NoObject, Object, Proposed, Reading, Writing};
use crate::error::{Error, Result};
use crate::facts::federation;
use crate::http::Links;
use crate::http::request::{created, no_content, one};
use crate::schema;
use crate::store::{self, Delete, Id, Insert, Row, Select, Tx, Update};

// What is in the rules is checked by the rules themselves, which say more than a schema could.
schema!(BODY, {
    "type": "object",
    "properties": {
        "rules": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {"local": {"type": "array"}, "remote": {"type": "array", "minItems": 1}},
                "required": ["local", "remote"],
                "additionalProperties": false,
            },
        },
        "schema_version": {"enum": ["1.0", "2.0", "3.0", "", null]},
    },
    "required": ["rules"],
});

/// A mapping, as it is stored.
#[derive(Debug, Clone)]
pub struct Mapping {
    id: String,
    rules: Value,
    version: String,
}

impl Object for Mapping {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }
}

impl Object for Proposed<Mapping> {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }
}

impl Mapping {
    fn to_json(&self, links: &Links) -> Value {
        json!({
            "id": self.id,
            "rules": self.rules,
            "schema_version": self.version,
            "links": {"self": link(links, &["mappings", &self.id])},
        })
    }

    /// The rules as a Keystone stores them: JSON, which is a string in JSON.
    fn column(&self) -> String {
        Value::String(self.rules.to_string()).to_string()
    }

    /// Reads a body, whose rules are to be those of a mapping.
    fn of(id: &str, mut body: Map<String, Value>, default: Version) -> Result<Self> {
        let named = body.get("schema_version").and_then(Value::as_str).filter(|name| !name.is_empty());
        let version = named.map_or(Some(default), Version::named);
        let version =
            version.ok_or_else(|| Error::field("mapping.schema_version", "there is no such version"))?;
        let wrong = |at: mapping::Malformed| Error::BadRequest(format!("mapping.{at}"));
        mapping::Mapping::parse(&body, version).map_err(wrong)?.check_patterns().map_err(wrong)?;
        let rules = body.remove("rules").unwrap_or_default();
        Ok(Self { id: id.to_owned(), rules, version: version.name().to_owned() })
    }
}

fn missing(id: &str) -> Error {
    Error::NotFound("mapping", id.to_owned())
}

fn read(r: &mut Row) -> store::Result<Mapping> {
    let (id, rules): (String, String) = (r.take()?, r.take()?);
    Ok(Mapping { id, rules: federation::mapping_rules(&rules), version: r.take()? })
}

fn select() -> Select {
    Select::new("SELECT t.id, t.rules, t.schema_version FROM mapping t")
}

async fn require(tx: &mut Tx, id: &str) -> Result<Mapping> {
    let mut q = select();
    q.id("t.id", Some(id));
    q.map(tx, read).await?.pop().ok_or_else(|| missing(id))
}

/// Whether there is a mapping with this id.
///
/// # Errors
/// When the database fails.
pub async fn exists(tx: &mut Tx, id: &str) -> Result<bool> {
    Ok(tx.exists("SELECT 1 FROM mapping WHERE id = ?", args![Id(id)]).await?)
}

/// `GET /v3/OS-FEDERATION/mappings`
pub async fn list(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let mut paging = s.paging(&[], &[])?;
    while let Some(batch) = s.next_batch(&mut paging).await? {
        let found = select().batch("t.id", &batch).map(&mut s.tx, read).await?;
        paging.read(&batch, found.len(), found.last().map(|m| m.id.as_str()));
        found.iter().for_each(|m| paging.push(m.to_json(s.links())));
    }
    Ok(s.page("mappings", paging))
}

/// `GET /v3/OS-FEDERATION/mappings/{mapping_id}`
pub async fn get(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let found = require(&mut s.tx, s.request.param("mapping_id")?).await?;
    Ok(one("mapping", found.to_json(s.links())))
}

/// `PUT /v3/OS-FEDERATION/mappings/{mapping_id}`
pub async fn create(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let id = s.param("mapping_id")?;
    let new = Mapping::of(id, s.body()?, s.app.config.mapping_version)?;
    check_id("id", id)?;
    let new = s.authorize(s.op()?, Proposed(new))?;
    let row = Insert::into("mapping")
        .set("id", &new.id)
        .set("rules", new.column())
        .set("schema_version", &new.version);
    s.tx.execute(&new, &row).await.map_err(|e| match e {
        store::Error::Duplicate => Error::taken("mapping", "Duplicate entry"),
        other => other.into(),
    })?;
    Ok(created("mapping", new.to_json(s.links())))
}

async fn stored(s: &mut Writing<'_>) -> Result<Authorized<Mapping>> {
    let found = require(&mut s.tx, s.request.param("mapping_id")?).await?;
    s.authorize(s.op()?, found)
}

/// `PATCH /v3/OS-FEDERATION/mappings/{mapping_id}`: the rules are needed, and without a version it gets the default
/// one again.
pub async fn update(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let new = Mapping::of(s.param("mapping_id")?, s.body()?, s.app.config.mapping_version)?;
    let stored = stored(s).await?;
    let row = Update::of("mapping")
        .set("rules", new.column())
        .set("schema_version", &new.version)
        .key("id", &stored.id);
    s.tx.execute(&stored, &row).await?;
    Ok(one("mapping", new.to_json(s.links())))
}

/// `DELETE /v3/OS-FEDERATION/mappings/{mapping_id}`: protocols may still name it, and let nobody in then.
pub async fn delete(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let stored = stored(s).await?;
    s.tx.execute(&stored, &Delete::from("mapping").key("id", &stored.id)).await?;
    Ok(no_content())
}
