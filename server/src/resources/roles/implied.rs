//! `/v3/roles/{prior}/implies` and `/v3/role_inferences`.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use vicar_rules::policy::Op;

use super::{Implication, Role, before_loss_of, sql};
use crate::authz::{NoObject, Reading, Writing};
use crate::error::{Error, Result};
use crate::facts;
use crate::http::request::{no_content, ok};
use crate::http::{Links, Request};
use crate::resource::Record;
use crate::store::Tx;

/// The two roles that the path names.
async fn pair(tx: &mut Tx, request: &Request) -> Result<Implication> {
    let prior = Record::require(tx, request.param("prior_role_id")?).await?;
    let implied = Record::require(tx, request.param("implied_role_id")?).await?;
    Ok(Implication { prior, implied })
}

/// Checks that one role implies the other directly.
async fn check_implies(tx: &mut Tx, of: &Implication) -> Result<()> {
    if sql::implies(tx, &of.prior.id, &of.implied.id).await? {
        return Ok(());
    }
    Err(Error::NotFoundBecause(format!("Role {} does not imply role {}.", of.prior.id, of.implied.id)))
}

fn inference(links: &Links, prior: &Record<Role>, implies: Value, path: &str) -> Value {
    json!({
        "role_inference": {"prior_role": prior.to_reference_json(links), "implies": implies},
        "links": {"self": links.to(path)},
    })
}

impl Implication {
    fn to_json(&self, links: &Links) -> Value {
        let path = format!("/roles/{}/implies/{}", self.prior.id, self.implied.id);
        inference(links, &self.prior, self.implied.to_reference_json(links), &path)
    }
}

/// `GET /v3/roles/{prior_role_id}/implies`
pub async fn list_implied(s: &mut Reading<'_>) -> Result<Response> {
    let prior = Record::<Role>::require(&mut s.tx, s.request.param("prior_role_id")?).await?;
    let prior = s.authorize(Op::ListImpliedRoles, prior)?;
    let implied = sql::implied_by(&mut s.tx, &prior.id).await?;
    let implied: Value = implied.iter().map(|r| r.to_reference_json(s.links())).collect();
    let path = format!("/roles/{}/implies", prior.id);
    Ok(ok(inference(s.links(), &prior, implied, &path)))
}

/// `GET /v3/roles/{prior_role_id}/implies/{implied_role_id}`
pub async fn get_implied(s: &mut Reading<'_>) -> Result<Response> {
    let of = pair(&mut s.tx, s.request).await?;
    let of = s.authorize(Op::GetImpliedRole, of)?;
    check_implies(&mut s.tx, &of).await?;
    Ok(ok(of.to_json(s.links())))
}

/// `HEAD /v3/roles/{prior_role_id}/implies/{implied_role_id}`: 204, unlike other `HEAD`s.
pub async fn check_implied(s: &mut Reading<'_>) -> Result<Response> {
    let of = pair(&mut s.tx, s.request).await?;
    let of = s.authorize(Op::CheckImpliedRole, of)?.into_inner();
    let of = s.authorize(Op::GetImpliedRole, of)?;
    check_implies(&mut s.tx, &of).await?;
    Ok(no_content())
}

/// `PUT /v3/roles/{prior_role_id}/implies/{implied_role_id}`. Circles are allowed, as in Keystone; whatever
/// follows implications ends on them.
pub async fn imply(s: &mut Writing<'_>) -> Result<Response> {
    let of = pair(&mut s.tx, s.request).await?;
    let of = s.authorize(Op::CreateImpliedRole, of)?;
    let (prior, implied) = (&of.prior, &of.implied);
    if s.app.config.prohibited_implied_roles.iter().any(|name| name == implied.name()) {
        return Err(Error::Forbidden(format!("Role {} may not be implied by any other.", implied.id)));
    }
    if prior.domain_id().is_none() && implied.domain_id().is_some() {
        return Err(Error::Forbidden(format!(
            "Role {} belongs to a domain and may not be implied by a global role.",
            implied.id
        )));
    }
    sql::imply(&mut s.tx, &of).await?;
    Ok((StatusCode::CREATED, ok(of.to_json(s.links()))).into_response())
}

/// `DELETE /v3/roles/{prior_role_id}/implies/{implied_role_id}`
pub async fn delete_implication(s: &mut Writing<'_>) -> Result<Response> {
    let of = pair(&mut s.tx, s.request).await?;
    let of = s.authorize(Op::DeleteImpliedRole, of)?;
    check_implies(&mut s.tx, &of).await?;
    let guard = before_loss_of(&mut s.tx, &of.prior.id).await?;
    sql::delete_implication(&mut s.tx, &of).await?;
    guard.finish(&mut s.tx, &of).await?;
    Ok(no_content())
}

/// `GET /v3/role_inferences`
pub async fn inferences(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::ListRoleInferenceRules, NoObject)?;
    let relation = facts::implications(&mut s.tx).await?;
    let roles = Record::<Role>::find(&mut s.tx, |q| {
        q.and(
            "(t.id IN (SELECT prior_role_id FROM implied_role)
              OR t.id IN (SELECT implied_role_id FROM implied_role))",
            &[],
        );
    })
    .await?;
    // All of them in the order of their names.
    let places: BTreeMap<&str, usize> = roles.iter().enumerate().map(|(at, r)| (r.id.as_str(), at)).collect();
    let links = s.links();
    let mut out = Vec::new();
    for prior in &roles {
        let implied: BTreeSet<usize> =
            relation.of(&prior.id).iter().filter_map(|id| places.get(id.as_str()).copied()).collect();
        let implies: Vec<Value> =
            implied.iter().filter_map(|at| roles.get(*at)).map(|r| r.to_reference_json(links)).collect();
        if !implies.is_empty() {
            out.push(json!({"prior_role": prior.to_reference_json(links), "implies": implies}));
        }
    }
    Ok(ok(json!({"role_inferences": out})))
}
