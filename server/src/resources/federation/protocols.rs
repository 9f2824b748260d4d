//! `/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols`

use axum::response::Response;
use serde_json::{Map, Value, json};
use vicar_rules::policy::Facts;

use super::identity_providers::{self, missing as no_provider};
use super::{check_id, link, mappings, sql};
use crate::authz::{Authorized, Caller, NoObject, Object, Proposed, Reading, Writing};
use crate::error::{Error, Result};
use crate::http::request::{created, no_content, one, take_text};
use crate::http::{Links, schema};
use crate::schema;
use crate::store::{self, Insert, Row, Select, Tx, Update};

fn mapping_id() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 64, "pattern": schema::TEXT})
}

schema!(CREATE, {
    "type": "object",
    "properties": {
        "mapping_id": mapping_id(),
        "remote_id_attribute": {"type": ["string", "null"], "maxLength": 64, "pattern": schema::TEXT},
    },
    "required": ["mapping_id"],
    "additionalProperties": false,
});

schema!(UPDATE, {
    "type": "object",
    "properties": {
        "mapping_id": mapping_id(),
        "remote_id_attribute": {"type": "string", "maxLength": 64, "pattern": schema::TEXT},
    },
    "required": ["mapping_id"],
    "additionalProperties": false,
});

/// A protocol of an identity provider, and the mapping of who comes by it.
#[derive(Debug, Clone)]
pub struct Protocol {
    /// The id, unique with the provider.
    pub id: String,
    /// The provider's id.
    pub provider: String,
    mapping_id: String,
    remote_id_attribute: Option<String>,
}

impl Object for Protocol {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }
}

impl Object for Proposed<Protocol> {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }
}

impl Protocol {
    fn to_json(&self, links: &Links) -> Value {
        let provider = ["identity_providers", &self.provider];
        json!({
            "id": self.id,
            "mapping_id": self.mapping_id,
            "links": {
                "self": link(links, &[provider.as_slice(), &["protocols", &self.id]].concat()),
                "identity_provider": link(links, &provider),
            },
        })
    }

    /// As lists show it: with two attributes that Keystone shows there only.
    fn to_listed_json(&self, links: &Links) -> Value {
        let mut shown = self.to_json(links);
        crate::extra::set(&mut shown, "idp_id", self.provider.clone());
        crate::extra::set(&mut shown, "remote_id_attribute", self.remote_id_attribute.clone());
        shown
    }

    fn take(&mut self, body: &mut Map<String, Value>) {
        self.mapping_id = take_text(body, "mapping_id").unwrap_or_default();
        if body.contains_key("remote_id_attribute") {
            self.remote_id_attribute = take_text(body, "remote_id_attribute");
        }
    }
}

fn read(r: &mut Row) -> store::Result<Protocol> {
    Ok(Protocol { id: r.take()?, provider: r.take()?, mapping_id: r.take()?, remote_id_attribute: r.take()? })
}

fn select(provider: &str) -> Select {
    let mut q =
        Select::new("SELECT t.id, t.idp_id, t.mapping_id, t.remote_id_attribute FROM federation_protocol t");
    q.id("t.idp_id", Some(provider));
    q
}

async fn require(tx: &mut Tx, provider: &str, id: &str) -> Result<Protocol> {
    let mut q = select(provider);
    q.id("t.id", Some(id));
    q.map(tx, read).await?.pop().ok_or_else(|| {
        Error::NotFoundBecause(format!(
            "Could not find federated protocol {id} for Identity Provider: {provider}."
        ))
    })
}

async fn check_mapping(tx: &mut Tx, id: &str) -> Result<()> {
    if mappings::exists(tx, id).await? {
        return Ok(());
    }
    Err(Error::field("mapping_id", &format!("Invalid mapping id: {id}")))
}

/// `GET …/protocols`: of a provider that is not there, none.
pub async fn list(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let provider = s.param("idp_id")?;
    let mut paging = s.paging(&[], &[])?;
    while let Some(batch) = s.next_batch(&mut paging).await? {
        let mut q = select(provider);
        let found = q.batch("t.id", &batch).map(&mut s.tx, read).await?;
        paging.read(&batch, found.len(), found.last().map(|p| p.id.as_str()));
        found.iter().for_each(|p| paging.push(p.to_listed_json(s.links())));
    }
    Ok(s.page("protocols", paging))
}

/// `GET …/protocols/{protocol_id}`
pub async fn get(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let found = require(&mut s.tx, s.request.param("idp_id")?, s.request.param("protocol_id")?).await?;
    Ok(one("protocol", found.to_json(s.links())))
}

/// `PUT …/protocols/{protocol_id}`
pub async fn create(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let mut body = s.body()?;
    let (provider, id) = (s.param("idp_id")?, s.param("protocol_id")?);
    check_id("id", id)?;
    let mut protocol = Protocol {
        id: id.to_owned(),
        provider: provider.to_owned(),
        mapping_id: String::new(),
        remote_id_attribute: None,
    };
    protocol.take(&mut body);
    check_mapping(&mut s.tx, &protocol.mapping_id).await?;
    if identity_providers::load(&mut s.tx, provider).await?.is_none() {
        return Err(no_provider(provider));
    }
    let new = s.authorize(s.op()?, Proposed(protocol))?;
    let row = Insert::into("federation_protocol")
        .set("id", &new.id)
        .set("idp_id", &new.provider)
        .set("mapping_id", &new.mapping_id)
        .set("remote_id_attribute", &new.remote_id_attribute);
    s.tx.execute(&new, &row).await.map_err(|e| match e {
        store::Error::Duplicate => {
            Error::taken("federation_protocol", &format!("Duplicate entry found with ID {id}"))
        }
        other => other.into(),
    })?;
    Ok(created("protocol", new.to_json(s.links())))
}

async fn stored(s: &mut Writing<'_>) -> Result<Authorized<Protocol>> {
    let found = require(&mut s.tx, s.request.param("idp_id")?, s.request.param("protocol_id")?).await?;
    s.authorize(s.op()?, found)
}

/// `PATCH …/protocols/{protocol_id}`
pub async fn update(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let mut body = s.body()?;
    let mapping = body.get("mapping_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    check_mapping(&mut s.tx, &mapping).await?;
    let stored = stored(s).await?;
    let mut new = Protocol::clone(&stored);
    new.take(&mut body);
    let row = Update::of("federation_protocol")
        .set("mapping_id", &new.mapping_id)
        .set("remote_id_attribute", &new.remote_id_attribute)
        .key("id", &stored.id)
        .key("idp_id", &stored.provider);
    s.tx.execute(&stored, &row).await?;
    Ok(one("protocol", new.to_json(s.links())))
}

/// `DELETE …/protocols/{protocol_id}`
pub async fn delete(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let stored = stored(s).await?;
    let workloads_come = s.app.providers.may_come(&stored.provider, &stored.id);
    sql::delete_protocol(&mut s.tx, &stored, workloads_come, s.now).await?;
    Ok(no_content())
}
