//! The routes of `/v3/OS-EP-FILTER` besides those of the groups themselves.

use axum::response::Response;
use serde_json::{Value, json};

use super::EndpointGroup;
use super::sql::{self, Naming, What};
use crate::args;
use crate::authz::{NoObject, Reading, Writing};
use crate::error::{Error, Result};
use crate::facts::endpoint_filter::Named;
use crate::http::request::{no_content, one};
use crate::resource::{self, Record};
use crate::resources::catalog::endpoints::Endpoint;
use crate::resources::projects;
use crate::store::{Id, Select, Tx};

async fn require_project(tx: &mut Tx, id: &str) -> Result<()> {
    match projects::get(tx, id).await? {
        Some(_) => Ok(()),
        None => Err(Error::NotFound("project", id.to_owned())),
    }
}

/// An attribute of an endpoint, for the filters of a group.
fn attribute(endpoint: &Record<Endpoint>, name: &str) -> Value {
    match endpoint.get(name) {
        Value::Null => endpoint.extra.get(name).cloned().unwrap_or_default(),
        value => value.clone(),
    }
}

/// The projects for which something is named.
async fn projects_of(s: &mut Reading<'_>, what: What, id: &str) -> Result<Response> {
    let condition =
        format!("p.id IN (SELECT n.project_id FROM {} n WHERE n.{} = ?)", what.table(), what.column());
    let mut paging = s.paging(&[], &[])?;
    while let Some(batch) = s.next_batch(&mut paging).await? {
        let all = projects::Filter::default();
        let found = projects::list_batch(&mut s.tx, &all, &batch, |q| {
            q.and(&condition, args![Id(id)]);
        });
        let found = found.await?;
        paging.read(&batch, found.len(), found.last().map(|p| p.id.as_str()));
        for project in &found {
            paging.push(project.to_project_json(s.links()));
        }
    }
    Ok(s.page("projects", paging))
}

/// `GET /v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/endpoints`
pub async fn endpoints_of_group(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let group = Record::<EndpointGroup>::require(&mut s.tx, s.request.param("endpoint_group_id")?).await?;
    let filters = group.filters();
    resource::list_those::<Endpoint>(s, |_| {}, |e| filters.fit(|name| attribute(e, name))).await
}

/// `GET /v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects`. As in Keystone, what is no group has no
/// projects.
pub async fn projects_of_group(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    projects_of(s, What::Group, s.request.param("endpoint_group_id")?).await
}

/// `GET /v3/OS-EP-FILTER/endpoints/{endpoint_id}/projects`
pub async fn projects_of_endpoint(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let id = s.request.param("endpoint_id")?;
    Record::<Endpoint>::require(&mut s.tx, id).await?;
    projects_of(s, What::Endpoint, id).await
}

/// `GET /v3/OS-EP-FILTER/projects/{project_id}/endpoint_groups`
pub async fn groups_of_project(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let id = s.request.param("project_id")?;
    require_project(&mut s.tx, id).await?;
    let its = "t.id IN (SELECT n.endpoint_group_id FROM project_endpoint_group n WHERE n.project_id = ?)";
    let build = |q: &mut Select| {
        q.and(its, args![Id(id)]);
    };
    resource::list_those::<EndpointGroup>(s, build, |_| true).await
}

/// `GET /v3/OS-EP-FILTER/projects/{project_id}/endpoints`: named one by one, or in groups.
pub async fn endpoints_of_project(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let id = s.request.param("project_id")?;
    require_project(&mut s.tx, id).await?;
    let named = Named::load(&mut s.tx, id).await?;
    resource::list_those::<Endpoint>(s, |_| {}, |e| named.has(&e.id, |name| attribute(e, name))).await
}

/// `GET /v3/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}`, and `HEAD`
pub async fn check(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let (id, project_id) = (s.request.param("endpoint_id")?, s.request.param("project_id")?);
    Record::<Endpoint>::require(&mut s.tx, id).await?;
    require_project(&mut s.tx, project_id).await?;
    let naming = Naming { what: What::Endpoint, id, project_id };
    if naming.is_stored(&mut s.tx).await? { Ok(no_content()) } else { Err(naming.missing()) }
}

/// `PUT /v3/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}`
pub async fn add(s: &mut Writing<'_>) -> Result<Response> {
    let (id, project_id) = (s.request.param("endpoint_id")?, s.request.param("project_id")?);
    let naming = s.authorize(s.op()?, Naming { what: What::Endpoint, id, project_id })?;
    Record::<Endpoint>::require(&mut s.tx, id).await?;
    require_project(&mut s.tx, project_id).await?;
    sql::insert(&mut s.tx, &naming).await?;
    Ok(no_content())
}

/// `DELETE /v3/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}`. What a deleted project or endpoint left
/// behind can be removed too.
pub async fn remove(s: &mut Writing<'_>) -> Result<Response> {
    let (id, project_id) = (s.request.param("endpoint_id")?, s.request.param("project_id")?);
    let naming = s.authorize(s.op()?, Naming { what: What::Endpoint, id, project_id })?;
    sql::delete(&mut s.tx, &naming).await?;
    Ok(no_content())
}

/// The project and the group that a path names, which are there.
async fn require_both(tx: &mut Tx, of: &Naming<'_>) -> Result<()> {
    require_project(tx, of.project_id).await?;
    Record::<EndpointGroup>::require(tx, of.id).await?;
    Ok(())
}

/// `GET /v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects/{project_id}`, and `HEAD`
pub async fn get_group(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(s.op()?, NoObject)?;
    let (id, project_id) = (s.request.param("endpoint_group_id")?, s.request.param("project_id")?);
    let naming = Naming { what: What::Group, id, project_id };
    require_both(&mut s.tx, &naming).await?;
    if !naming.is_stored(&mut s.tx).await? {
        return Err(naming.missing());
    }
    let link = s.links().of(&["OS-EP-FILTER", "endpoint_groups", id, "projects", project_id]);
    let shown = json!({"endpoint_group_id": id, "project_id": project_id, "links": {"self": link}});
    Ok(one("project_endpoint_group", shown))
}

/// `PUT /v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects/{project_id}`
pub async fn add_group(s: &mut Writing<'_>) -> Result<Response> {
    let (id, project_id) = (s.request.param("endpoint_group_id")?, s.request.param("project_id")?);
    let naming = s.authorize(s.op()?, Naming { what: What::Group, id, project_id })?;
    require_both(&mut s.tx, &naming).await?;
    sql::insert(&mut s.tx, &naming).await?;
    Ok(no_content())
}

/// `DELETE /v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects/{project_id}`
pub async fn remove_group(s: &mut Writing<'_>) -> Result<Response> {
    let (id, project_id) = (s.request.param("endpoint_group_id")?, s.request.param("project_id")?);
    let naming = s.authorize(s.op()?, Naming { what: What::Group, id, project_id })?;
    require_both(&mut s.tx, &naming).await?;
    sql::delete(&mut s.tx, &naming).await?;
    Ok(no_content())
}
