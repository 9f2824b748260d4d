//! `GET /v3/projects/{id}/delegations` and `/v3/domains/{id}/delegations`: all that lets somebody act there for somebody else, for those
//! who manage the place.

use std::collections::BTreeMap;

use axum::response::Response;
use serde_json::{Value, json};
use vicar_rules::policy::{Fact, Facts, Op};
use vicar_rules::refusal::Refusal;
use vicar_rules::token::{Act, Kind};

use super::view;
use crate::authz::{Caller, Object, Reading};
use crate::error::{Error, Result};
use crate::extra;
use crate::facts::{self, ProjectFacts, application_credentials};
use crate::living;
use crate::resources::keypairs::sql as keypairs;
use crate::store::{Batch, Id, Select, Tx};

/// A project, or a domain, as a place of delegations.
#[derive(Debug)]
struct Place(ProjectFacts);

impl Object for Place {
    fn facts(&self, caller: &Caller) -> Result<Facts> {
        if caller.kind() != Kind::Login {
            return Err(Refusal::DelegatedToken("see delegations outside its own chain").into());
        }
        Ok(if self.0.is_domain {
            Facts::none().with(Fact::DomainId, &self.0.id)
        } else {
            Facts::none()
                .with(Fact::ProjectId, &self.0.id)
                .with_opt(Fact::ProjectDomain, self.0.domain_id.as_deref())
        })
    }
}

/// `GET /v3/projects/{id}/delegations`
pub async fn of_project(s: &mut Reading<'_>) -> Result<Response> {
    s.may(Act::Trusts)?;
    let id = s.param("project_id")?;
    let project = facts::project(&mut s.tx, id).await?.filter(|project| !project.is_domain);
    s.authorize_found(Op::ListProjectDelegations, project.map(Place), || {
        Error::NotFound("project", id.to_owned())
    })?;
    list(s, "project_id = ?", id).await
}

/// `GET /v3/domains/{id}/delegations`: those on all its projects, and on the domain itself, which acts as one.
pub async fn of_domain(s: &mut Reading<'_>) -> Result<Response> {
    s.may(Act::Trusts)?;
    let id = s.param("domain_id")?;
    let domain = facts::domain(&mut s.tx, id).await?;
    s.authorize_found(Op::ListDomainDelegations, domain.map(Place), || {
        Error::NotFound("domain", id.to_owned())
    })?;
    // Whatever is on any of its projects is looked through.
    s.take_long().await?;
    list(s, "project_id IN (SELECT p.id FROM project p WHERE p.domain_id = ? OR p.id = ?)", id).await
}

const TRUST: &str = "trust";
const CREDENTIAL: &str = "application_credential";
const KEYPAIR: &str = "keypair";

/// The ids of a batch with what each is; `there` says where it is, by this one id.
async fn ids(tx: &mut Tx, there: &str, id: &str, batch: &Batch) -> Result<Vec<(String, String)>> {
    let sql = format!(
        "SELECT d.id, d.what FROM (
             SELECT t.id AS id, '{TRUST}' AS what FROM trust t WHERE t.{there} AND {}
             UNION ALL
             SELECT c.id, '{CREDENTIAL}' FROM application_credential c WHERE c.{there}
             UNION ALL
             SELECT k.id, '{KEYPAIR}' FROM credential k WHERE k.{there} AND k.type = ?) d",
        living!("t")
    );
    let mut values = vec![Id(id).into(); 3 * there.matches('?').count()];
    values.push(Id(keypairs::PLAIN).into());
    let mut q = Select::with(&sql, &values);
    q.batch("d.id", batch);
    Ok(q.map(tx, |r| Ok((r.take()?, r.take()?))).await?)
}

async fn list(s: &mut Reading<'_>, there: &str, id: &str) -> Result<Response> {
    let mut paging = s.paging(&[], &[])?;
    while let Some(batch) = s.next_batch(&mut paging).await? {
        let found = ids(&mut s.tx, there, id, &batch).await?;
        paging.read(&batch, found.len(), found.last().map(|(id, _)| id.as_str()));
        let these = |what: &str| -> Vec<String> {
            found.iter().filter(|(_, is)| is == what).map(|(id, _)| id.clone()).collect()
        };
        let mut shown: BTreeMap<String, Value> = BTreeMap::new();
        let mut show = |what: &str, id: &str, mut item: Value| {
            extra::set(&mut item, "type", what);
            shown.insert(id.to_owned(), item);
        };
        for (id, item) in view::living(s, &these(TRUST)).await? {
            show(TRUST, &id, item);
        }
        let stored = application_credentials::find(&mut s.tx, |q| {
            q.id_in("c.id", these(CREDENTIAL));
        })
        .await?;
        for (c, item) in stored.iter().zip(view::of_credentials(s, &stored).await?) {
            show(CREDENTIAL, &c.credential.id, item);
        }
        let plain = keypairs::find(&mut s.tx, |q| {
            q.id_in("c.id", these(KEYPAIR));
        })
        .await?;
        for c in plain {
            show(KEYPAIR, &c.id, json!({"id": c.id, "user_id": c.user_id, "project_id": c.project_id}));
        }
        for (id, _) in &found {
            if let Some(item) = shown.remove(id) {
                paging.push(item);
            }
        }
    }
    Ok(s.page("delegations", paging))
}
