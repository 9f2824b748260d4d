//! `/v3/OS-FEDERATION/identity_providers`

use std::collections::BTreeMap;

use axum::response::Response;
use serde_json::{Map, Value, json};
use vicar_rules::policy::Facts;

use super::{check_id, link, sql};
use crate::authz::{Authorized, Caller, NoObject, Object, Proposed, Reading, Writing};
use crate::error::{Error, Result};
use crate::http::request::{created, no_content, one, take_text};
use crate::http::{Links, schema};
use crate::ids;
use crate::resources::projects::{self, CreatesProject, Project, ProjectPatch};
use crate::schema;
use crate::store::{self, Delete, Insert, Proof, Row, Select, Tx, Update, WriteTx};

fn properties() -> Value {
    json!({
        "enabled": {"type": "boolean"},
        "description": {"type": ["string", "null"], "pattern": schema::TEXT},
        "authorization_ttl": {"type": ["integer", "null"], "minimum": 0, "maximum": i32::MAX},
        "remote_ids": {
            "type": ["array", "null"],
            "uniqueItems": true,
            "maxItems": 1000,
            "items": {"type": "string", "maxLength": 64, "pattern": schema::TEXT},
        },
    })
}

fn new_properties() -> Value {
    let mut properties = properties();
    let domain = json!({"type": ["string", "null"], "minLength": 1, "maxLength": 64, "pattern": schema::ID});
    crate::extra::set(&mut properties, "domain_id", domain);
    properties
}

// The whole body: everything in it may be left out, and so may the body itself.
schema!(CREATE, {
    "type": ["object", "null"],
    "properties": {
        "identity_provider": {"type": "object", "properties": new_properties(), "additionalProperties": false},
    },
    "additionalProperties": false,
});
schema!(UPDATE, {"type": "object", "minProperties": 1, "properties": properties(), "additionalProperties": false});
schema!(QUERY, {"type": "object", "properties": {"id": {"type": "string"}, "enabled": schema::flag()}});

/// An identity provider.
#[derive(Debug, Clone)]
pub struct IdentityProvider {
    /// The id, which an operator chooses.
    pub id: String,
    domain_id: String,
    enabled: bool,
    description: Option<String>,
    /// For how many minutes memberships live that came with a login.
    authorization_ttl: Option<i64>,
    /// By which names it calls itself.
    remote_ids: Vec<String>,
}

impl Object for IdentityProvider {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }
}

/// A new one, and the domain that is made for it if it names none.
#[derive(Debug)]
pub struct New {
    provider: IdentityProvider,
    domain: Project,
}

impl Object for Proposed<New> {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }
}

impl CreatesProject for Authorized<Proposed<New>> {
    fn project(&self) -> &Project {
        &self.domain
    }
}

impl IdentityProvider {
    fn to_json(&self, links: &Links) -> Value {
        json!({
            "id": self.id,
            "domain_id": self.domain_id,
            "enabled": self.enabled,
            "description": self.description,
            "authorization_ttl": self.authorization_ttl,
            "remote_ids": self.remote_ids,
            "links": {
                "self": link(links, &["identity_providers", &self.id]),
                "protocols": link(links, &["identity_providers", &self.id, "protocols"]),
            },
        })
    }

    fn take(&mut self, body: &mut Map<String, Value>) {
        if let Some(enabled) = body.get("enabled").and_then(Value::as_bool) {
            self.enabled = enabled;
        }
        if body.contains_key("description") {
            self.description = take_text(body, "description");
        }
        if let Some(minutes) = body.get("authorization_ttl") {
            self.authorization_ttl = minutes.as_i64();
        }
        if let Some(ids) = body.get("remote_ids") {
            let ids = ids.as_array().into_iter().flatten();
            self.remote_ids = ids.filter_map(Value::as_str).map(str::to_owned).collect();
        }
    }
}

pub(super) fn missing(id: &str) -> Error {
    Error::NotFound("Identity Provider", id.to_owned())
}

fn taken(what: &'static str) -> impl FnOnce(store::Error) -> Error {
    move |e| match e {
        store::Error::Duplicate => Error::taken("identity_provider", what),
        other => other.into(),
    }
}

fn read(r: &mut Row) -> store::Result<IdentityProvider> {
    Ok(IdentityProvider {
        id: r.take()?,
        domain_id: r.take()?,
        enabled: r.take()?,
        description: r.take()?,
        authorization_ttl: r.take()?,
        remote_ids: Vec::new(),
    })
}

async fn find(tx: &mut Tx, build: impl FnOnce(&mut Select)) -> Result<Vec<IdentityProvider>> {
    let mut q = Select::new(
        "SELECT t.id, t.domain_id, t.enabled, t.description, t.authorization_ttl FROM identity_provider t",
    );
    build(&mut q);
    let mut found = q.map(tx, read).await?;
    for some in found.chunks_mut(store::CHUNK) {
        let mut q = Select::new("SELECT idp_id, remote_id FROM idp_remote_ids");
        q.id_in("idp_id", some.iter().map(|p| p.id.as_str())).end("ORDER BY remote_id");
        let mut of: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (provider, id) in q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?))).await? {
            of.entry(provider).or_default().push(id);
        }
        for provider in some {
            provider.remote_ids = of.remove(&provider.id).unwrap_or_default();
        }
    }
    Ok(found)
}

pub(super) async fn load(tx: &mut Tx, id: &str) -> Result<Option<IdentityProvider>> {
    let one = |q: &mut Select| {
        q.id("t.id", Some(id));
    };
    Ok(find(tx, one).await?.pop())
}

async fn write_remote_ids(tx: &mut WriteTx, proof: &impl Proof, provider: &IdentityProvider) -> Result<()> {
    for some in provider.remote_ids.chunks(store::CHUNK) {
        let rows = some.iter().fold(Insert::into("idp_remote_ids"), |rows, id| {
            rows.row().set("idp_id", &provider.id).set("remote_id", id)
        });
        tx.execute(proof, &rows).await.map_err(taken("Duplicate remote ID"))?;
    }
    Ok(())
}

/// `GET /v3/OS-FEDERATION/identity_providers`
pub async fn list(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let query = s.query()?;
    let enabled = query.has("enabled").then(|| query.flag("enabled"));
    let mut paging = s.paging(&["id"], &["enabled"])?;
    while let Some(batch) = s.next_batch(&mut paging).await? {
        let found = find(&mut s.tx, |q| {
            q.id("t.id", query.get("id")).eq("t.enabled", enabled).batch("t.id", &batch);
        })
        .await?;
        paging.read(&batch, found.len(), found.last().map(|p| p.id.as_str()));
        found.iter().for_each(|p| paging.push(p.to_json(s.links())));
    }
    Ok(s.page("identity_providers", paging))
}

/// `GET /v3/OS-FEDERATION/identity_providers/{idp_id}`
pub async fn get(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let id = s.param("idp_id")?;
    let found = load(&mut s.tx, id).await?.ok_or_else(|| missing(id))?;
    Ok(one("identity_provider", found.to_json(s.links())))
}

/// `PUT /v3/OS-FEDERATION/identity_providers/{idp_id}`: with a domain of its own, unless it names one.
pub async fn create(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let mut whole = if s.request.has_body() { s.body()? } else { Map::new() };
    let mut body = match whole.remove("identity_provider") {
        Some(Value::Object(body)) => body,
        _ => Map::new(),
    };
    let id = s.param("idp_id")?;
    check_id("id", id)?;
    let named = take_text(&mut body, "domain_id");
    let domain_id = named.clone().unwrap_or_else(ids::uuid);
    let mut provider = IdentityProvider {
        id: id.to_owned(),
        domain_id: domain_id.clone(),
        enabled: false,
        description: None,
        authorization_ttl: None,
        remote_ids: Vec::new(),
    };
    provider.take(&mut body);
    let of_domain = [
        ("name", domain_id.clone()),
        ("description", format!("Auto generated federated domain for Identity Provider: {id}")),
    ];
    let of_domain = of_domain.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
    let domain = ProjectPatch::of(of_domain).into_new(domain_id, None);
    let new = s.authorize(s.op()?, Proposed(New { provider, domain }))?;
    match named {
        Some(id) if crate::facts::domain(&mut s.tx, &id).await?.is_none() => {
            return Err(Error::NotFound("domain", id));
        }
        Some(_) => {}
        None => projects::create(&mut s.tx, s.app, &new).await?,
    }
    let provider = &new.provider;
    let row = Insert::into("identity_provider")
        .set("id", &provider.id)
        .set("domain_id", &provider.domain_id)
        .set("enabled", provider.enabled)
        .set("description", &provider.description)
        .set("authorization_ttl", provider.authorization_ttl);
    s.tx.execute(&new, &row).await.map_err(taken("Duplicate entry"))?;
    write_remote_ids(&mut s.tx, &new, provider).await?;
    Ok(created("identity_provider", provider.to_json(s.links())))
}

async fn stored(s: &mut Writing<'_>) -> Result<Authorized<IdentityProvider>> {
    let id = s.param("idp_id")?;
    let found = load(&mut s.tx, id).await?.ok_or_else(|| missing(id))?;
    s.authorize(s.op()?, found)
}

/// `PATCH /v3/OS-FEDERATION/identity_providers/{idp_id}`
pub async fn update(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let mut body = s.body()?;
    let stored = stored(s).await?;
    let mut new = IdentityProvider::clone(&stored);
    new.take(&mut body);
    let row = Update::of("identity_provider")
        .set("enabled", new.enabled)
        .set("description", &new.description)
        .set("authorization_ttl", new.authorization_ttl)
        .key("id", &stored.id);
    // A shorter time takes from those whose time is over by it.
    let guard = if new.authorization_ttl == stored.authorization_ttl {
        None
    } else {
        Some(sql::guard_members(&mut s.tx, &stored.id).await?)
    };
    s.tx.execute(&stored, &row).await?;
    if let Some(guard) = guard {
        guard.finish(&mut s.tx, &stored).await?;
    }
    if new.remote_ids != stored.remote_ids {
        s.tx.execute(&stored, &Delete::from("idp_remote_ids").key("idp_id", &stored.id)).await?;
        write_remote_ids(&mut s.tx, &stored, &new).await?;
    }
    new.remote_ids.sort();
    Ok(one("identity_provider", new.to_json(s.links())))
}

/// `DELETE /v3/OS-FEDERATION/identity_providers/{idp_id}`
pub async fn delete(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let stored = stored(s).await?;
    sql::delete_provider(&mut s.tx, &stored, &stored.id, s.now).await?;
    Ok(no_content())
}
