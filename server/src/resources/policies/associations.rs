//! `/v3/policies/{policy_id}/OS-ENDPOINT-POLICY` and `/v3/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY`: which policy is
//! for which endpoints.

use axum::response::Response;

use super::Policy;
use super::sql::{self, Association, Places};
use crate::authz::{NoObject, Reading, Writing};
use crate::error::{Error, Result};
use crate::http::Request;
use crate::http::request::{no_content, one};
use crate::resource::{self, Record};
use crate::resources::catalog::endpoints::Endpoint;
use crate::resources::catalog::regions::Region;
use crate::resources::catalog::services::Service;
use crate::store::Tx;

/// The association that a path names.
fn named(request: &Request) -> Result<Association<'_>> {
    Ok(Association {
        policy_id: request.param("policy_id")?,
        endpoint_id: request.param_opt("endpoint_id"),
        service_id: request.param_opt("service_id"),
        region_id: request.param_opt("region_id"),
    })
}

/// Checks that everything is there that an association names.
async fn require(tx: &mut Tx, of: &Association<'_>) -> Result<()> {
    Record::<Policy>::require(tx, of.policy_id).await?;
    if let Some(id) = of.endpoint_id {
        Record::<Endpoint>::require(tx, id).await?;
    }
    if let Some(id) = of.service_id {
        Record::<Service>::require(tx, id).await?;
    }
    if let Some(id) = of.region_id {
        Record::<Region>::require(tx, id).await?;
    }
    Ok(())
}

/// `GET` of an association, and `HEAD`
pub async fn check(s: &mut Reading<'_>) -> Result<Response> {
    let of = s.authorize(s.op()?, named(s.request)?)?;
    require(&mut s.tx, &of).await?;
    if of.is_stored(&mut s.tx).await? {
        return Ok(no_content());
    }
    Err(Error::NotFoundBecause("Could not find policy association.".into()))
}

/// `PUT` of an association, in the place of any other policy for the same.
pub async fn create(s: &mut Writing<'_>) -> Result<Response> {
    let of = s.authorize(s.op()?, named(s.request)?)?;
    require(&mut s.tx, &of).await?;
    sql::replace(&mut s.tx, &of).await?;
    Ok(no_content())
}

/// `DELETE` of an association; as in Keystone, of one that is not there too.
pub async fn delete(s: &mut Writing<'_>) -> Result<Response> {
    let of = s.authorize(s.op()?, named(s.request)?)?;
    require(&mut s.tx, &of).await?;
    sql::delete(&mut s.tx, &of).await?;
    Ok(no_content())
}

/// `GET /v3/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints`
pub async fn endpoints(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let policy = Record::<Policy>::require(&mut s.tx, s.request.param("policy_id")?).await?;
    let places = Places::of(&mut s.tx, &policy.id).await?;
    let is_one = |e: &Record<Endpoint>| {
        places.have(&e.id, e.text("service_id").unwrap_or_default(), e.text("region_id"))
    };
    resource::list_those::<Endpoint>(s, |_| {}, is_one).await
}

/// `GET /v3/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY/policy`
pub async fn of_endpoint(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let endpoint = Record::<Endpoint>::require(&mut s.tx, s.request.param("endpoint_id")?).await?;
    let service = endpoint.text("service_id").unwrap_or_default();
    let id = sql::policy_of(&mut s.tx, &endpoint.id, service, endpoint.text("region_id")).await?;
    let id = id.ok_or_else(|| {
        Error::NotFoundBecause(format!("No policy is associated with endpoint {}.", endpoint.id))
    })?;
    let policy = Record::<Policy>::require(&mut s.tx, &id).await?;
    Ok(one("policy", policy.to_json(s.links())))
}
