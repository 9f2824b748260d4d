//! `/v3/projects/{id}/tags`

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use vicar_rules::policy::Op;

use super::http::no_project;
use super::{Project, ProjectPatch, schemas, sql};
use crate::authz::{Authorized, Reading, Writing};
use crate::error::{Error, Result};
use crate::http::Links;
use crate::http::request::{no_content, ok, with_header};
use crate::notifications::{Action, ObjectKind};
use crate::schema;

schema!(TAG, schemas::tag());
schema!(TAGS, schemas::tags());

async fn to_read(s: &mut Reading<'_>, op: Op) -> Result<Authorized<Project>> {
    let id = s.param("project_id")?;
    let project = sql::get(&mut s.tx, id).await?;
    s.authorize_found(op, project, || no_project(id))
}

async fn to_change(s: &mut Writing<'_>, op: Op) -> Result<Authorized<Project>> {
    let id = s.param("project_id")?;
    let project = sql::get(&mut s.tx, id).await?;
    s.authorize_found(op, project, || no_project(id))
}

/// Stores the tags; an immutable project keeps those it has.
async fn store(s: &mut Writing<'_>, project: &Authorized<Project>, tags: Vec<String>) -> Result<()> {
    super::update(&mut s.tx, project, ProjectPatch::tags(tags)).await?;
    s.tell_followed(ObjectKind::Project, Action::Updated, [project.id.clone()]);
    Ok(())
}

fn no_tag(tag: &str) -> Error {
    Error::NotFound("project tag", tag.to_owned())
}

fn to_json(links: &Links, id: &str, tags: &[String]) -> Value {
    json!({"links": {"self": links.of(&["projects", id, "tags"])}, "tags": tags})
}

/// `GET /v3/projects/{project_id}/tags`
pub async fn list(s: &mut Reading<'_>) -> Result<Response> {
    let project = to_read(s, Op::ListProjectTags).await?;
    Ok(ok(to_json(s.links(), &project.id, &project.tags)))
}

/// `PUT /v3/projects/{project_id}/tags`: these and no others.
pub async fn replace(s: &mut Writing<'_>) -> Result<Response> {
    let project = to_change(s, Op::UpdateProjectTags).await?;
    let given = s.body_list()?;
    let tags: Value = given.iter().filter_map(Value::as_str).map(str::trim).collect();
    // Two that differ only in the whitespace around them are the same.
    TAGS.check("tags", &tags)?;
    let tags: Vec<String> =
        tags.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    store(s, &project, tags.clone()).await?;
    Ok(ok(to_json(s.links(), &project.id, &tags)))
}

/// `DELETE /v3/projects/{project_id}/tags`
pub async fn clear(s: &mut Writing<'_>) -> Result<Response> {
    let project = to_change(s, Op::DeleteProjectTags).await?;
    store(s, &project, Vec::new()).await?;
    Ok(no_content())
}

/// `GET /v3/projects/{project_id}/tags/{value}`
pub async fn get(s: &mut Reading<'_>) -> Result<Response> {
    let project = to_read(s, Op::GetProjectTag).await?;
    let tag = s.param("value")?;
    if project.tags.iter().any(|t| t == tag) { Ok(no_content()) } else { Err(no_tag(tag)) }
}

/// `PUT /v3/projects/{project_id}/tags/{value}`
pub async fn add(s: &mut Writing<'_>) -> Result<Response> {
    let project = to_change(s, Op::CreateProjectTag).await?;
    let tag = s.param("value")?.trim().to_owned();
    TAG.check("tag", &tag.clone().into())?;
    let mut tags = project.tags.clone();
    tags.push(tag.clone());
    // The tag may be there already, or be one too many.
    TAGS.check("tags", &json!(tags))?;
    store(s, &project, tags).await?;
    s.tell(ObjectKind::ProjectTag, Action::Created, &tag);
    let location = format!("{}{}", s.links().base(), s.request.path);
    Ok(with_header(StatusCode::CREATED.into_response(), header::LOCATION, &location))
}

/// `DELETE /v3/projects/{project_id}/tags/{value}`
pub async fn remove(s: &mut Writing<'_>) -> Result<Response> {
    let project = to_change(s, Op::DeleteProjectTag).await?;
    let tag = s.param("value")?;
    let mut tags = project.tags.clone();
    tags.retain(|t| t != tag);
    if tags.len() == project.tags.len() {
        return Err(no_tag(tag));
    }
    store(s, &project, tags).await?;
    s.tell_followed(ObjectKind::ProjectTag, Action::Deleted, [tag.to_owned()]);
    Ok(no_content())
}
