//! `/v3/domains`

use axum::extract::Path;
use axum::response::Response;
use vicar_rules::policy::{Fact, Facts, Op, Scope};

use crate::error::{Error, Result};
use crate::http::Req;
use crate::http::request::{no_content, take_text};
use crate::ids;
use crate::resources::projects::{self, Filter, Project, Wanted, schemas};
use crate::schema;
use crate::store::Tx;

schema!(CREATE, {
    "type": "object",
    "properties": {
        "name": schemas::name(),
        "description": {"type": ["string", "null"], "maxLength": 255},
        "enabled": {"type": "boolean"},
        "tags": schemas::tags(),
        "options": schemas::options(),
        // What the server makes itself looks so too.
        "explicit_domain_id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    },
    "required": ["name"],
});

schema!(UPDATE, {
    "type": "object",
    "properties": {
        "name": schemas::name(),
        "description": {"type": ["string", "null"], "maxLength": 255},
        "enabled": {"type": "boolean"},
        "tags": schemas::tags(),
        "options": schemas::options(),
    },
    "minProperties": 1,
});

schema!(QUERY, {
    "type": "object",
    "properties": {"name": schemas::name(), "enabled": schemas::flag()},
});

async fn look(tx: &mut Tx, id: &str) -> Result<Option<Project>> {
    Ok(projects::get(tx, id).await?.filter(|p| p.is_domain))
}

fn facts(domain: Option<&Project>) -> Facts {
    Facts::none().with_opt(Fact::DomainId, domain.map(|d| d.id.as_str()))
}

fn found(id: String, domain: Option<Project>) -> Result<Project> {
    domain.ok_or(Error::NotFound("domain", id))
}

/// `POST /v3/domains`
pub async fn create(req: Req) -> Result<Response> {
    let permit = req.permit(Op::CreateDomain, &Facts::none()).await?;
    let mut body = req.member("domain", &CREATE)?;
    let id = take_text(&mut body, "explicit_domain_id").unwrap_or_else(ids::uuid);
    let new = Wanted::of(body).into_new(id, None);
    let mut tx = req.write().await?;
    let made = projects::create(&mut tx, &req.app, new, &permit).await?;
    tx.commit().await?;
    Ok(req.created("domain", made.as_domain(&req)))
}

/// `GET /v3/domains`
pub async fn list(req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    let own = match &caller.subject().scope {
        Scope::Domain(id) => Some(id.as_str()),
        Scope::Unscoped | Scope::Project { .. } | Scope::System => None,
    };
    caller.permit(&req.app, Op::ListDomains, &Facts::none().with_opt(Fact::DomainId, own))?;
    req.query.check(&QUERY)?;
    let filter = Filter { name: req.query.get("name"), is_domain: Some(true), ..Filter::default() };
    let mut tx = req.read().await?;
    let items = projects::list(&mut tx, &filter)
        .await?
        .iter()
        // Whoever administers a domain sees that one.
        .filter(|d| own.is_none_or(|own| d.id == own))
        .map(|d| d.as_domain(&req))
        .collect();
    req.list("domains", items, &["name", "enabled"])
}

/// `GET /v3/domains/{id}`
pub async fn get(Path(id): Path<String>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    let mut tx = req.read().await?;
    let domain = look(&mut tx, &id).await?;
    caller.permit(&req.app, Op::GetDomain, &facts(domain.as_ref()))?;
    Ok(req.one("domain", found(id, domain)?.as_domain(&req)))
}

/// `PATCH /v3/domains/{id}`
pub async fn update(Path(id): Path<String>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    let mut tx = req.write().await?;
    // Here Keystone says 404 before 403, and OpenStack's own tests want it.
    let domain = look(&mut tx, &id).await?;
    let old = found(id, domain)?;
    let permit = caller.permit(&req.app, Op::UpdateDomain, &facts(Some(&old)))?;
    let body = req.member("domain", &UPDATE)?;
    let now = req.app.clock.now();
    let new = projects::update(&mut tx, &old, Wanted::of(body), now, &permit).await?;
    tx.commit().await?;
    Ok(req.one("domain", new.as_domain(&req)))
}

/// `DELETE /v3/domains/{id}`: with everything in it.
pub async fn delete(Path(id): Path<String>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    let mut tx = req.write().await?;
    let domain = look(&mut tx, &id).await?;
    let domain = found(id, domain)?;
    let permit = caller.permit(&req.app, Op::DeleteDomain, &facts(Some(&domain)))?;
    projects::remove(&mut tx, &domain, req.app.clock.now(), &permit).await?;
    tx.commit().await?;
    Ok(no_content())
}
