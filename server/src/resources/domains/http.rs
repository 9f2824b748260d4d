//! `/v3/domains`

use axum::response::Response;
use vicar_rules::policy::{Fact, Facts, Op};
use vicar_rules::token::Act;

use crate::authz::{NoObject, Proposed, Reading, Writing};
use crate::error::{Error, Result};
use crate::http::request::{created, no_content, one, take_text};
use crate::ids;
use crate::notifications::Action;
use crate::resources::projects::{self, Domain, Filter, ProjectPatch, schemas};
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

async fn find(tx: &mut Tx, id: &str) -> Result<Option<Domain>> {
    Ok(projects::get(tx, id).await?.filter(|p| p.is_domain).map(Domain))
}

/// Checks that there is such a domain.
///
/// # Errors
/// 404 when there is none.
pub async fn require(tx: &mut Tx, id: &str) -> Result<()> {
    find(tx, id).await?.map(drop).ok_or_else(|| no_domain(id))
}

fn no_domain(id: &str) -> Error {
    Error::NotFound("domain", id.to_owned())
}

/// `POST /v3/domains`
pub async fn create(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(Op::CreateDomain, NoObject)?;
    let mut body = s.member("domain", &CREATE)?;
    let id = take_text(&mut body, "explicit_domain_id").unwrap_or_else(ids::uuid);
    let domain = Domain(ProjectPatch::of(body).into_new(id, None));
    let domain = s.authorize(Op::CreateDomain, Proposed(domain))?;
    projects::create(&mut s.tx, s.app, &domain).await?;
    Ok(created("domain", domain.to_domain_json(s.links())))
}

/// `GET /v3/domains`
pub async fn list(s: &mut Reading<'_>) -> Result<Response> {
    let own = s.caller()?.domain_scope();
    s.authorize(Op::ListDomains, Facts::none().with_known(Fact::DomainId, own))?;
    let query = s.query()?;
    let enabled = query.has("enabled").then(|| query.flag("enabled"));
    let filter = Filter { name: query.get("name"), is_domain: Some(true), enabled, ..Filter::default() };
    let mut paging = s.paging(&["name"], &["enabled"])?;
    while let Some(batch) = s.next_batch(&mut paging).await? {
        let domains = projects::list_batch(&mut s.tx, &filter, &batch, |q| {
            // The administrator of a domain sees that one.
            q.id("p.id", own);
            projects::http::narrow(q, query);
        })
        .await?;
        paging.read(&batch, domains.len(), domains.last().map(|d| d.id.as_str()));
        domains.iter().for_each(|d| paging.push(d.to_domain_json(s.links())));
    }
    Ok(s.page("domains", paging))
}

/// `GET /v3/domains/{domain_id}`
pub async fn get(s: &mut Reading<'_>) -> Result<Response> {
    let id = s.param("domain_id")?;
    let domain = find(&mut s.tx, id).await?;
    let domain = s.authorize_found(Op::GetDomain, domain, || no_domain(id))?;
    Ok(one("domain", domain.to_domain_json(s.links())))
}

/// `PATCH /v3/domains/{domain_id}`
pub async fn update(s: &mut Writing<'_>) -> Result<Response> {
    let id = s.param("domain_id")?;
    // Here Keystone says 404 before 403, and OpenStack's own tests want it.
    let domain = find(&mut s.tx, id).await?.ok_or_else(|| no_domain(id))?;
    let domain = s.authorize(Op::UpdateDomain, domain)?;
    let body = s.member("domain", &UPDATE)?;
    if body.get("name").is_some_and(|name| name.as_str().map(str::trim) != Some(domain.name.trim())) {
        // Front servers and certificates know users by the names of their domains.
        s.may(Act::Password)?;
    }
    let new = projects::update(&mut s.tx, &domain, ProjectPatch::of(body)).await?;
    projects::tell(s, &new, Action::Updated);
    Ok(one("domain", new.to_domain_json(s.links())))
}

/// `DELETE /v3/domains/{domain_id}`: with its contents.
pub async fn delete(s: &mut Writing<'_>) -> Result<Response> {
    let id = s.param("domain_id")?;
    let domain = find(&mut s.tx, id).await?.ok_or_else(|| no_domain(id))?;
    let domain = s.authorize(Op::DeleteDomain, domain)?;
    let with_it = projects::delete(&mut s.tx, &domain, s.now).await?;
    s.tell_gone(with_it);
    projects::tell(s, &domain, Action::Deleted);
    Ok(no_content())
}
