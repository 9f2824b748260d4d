//! `/v3/projects/{id}/tags`

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use vicar_rules::policy::Op;

use super::http::{facts, found};
use super::{Project, Wanted, schemas, sql};
use crate::error::{Error, Result};
use crate::http::request::{no_content, with_header};
use crate::http::{Permit, Req};
use crate::schema;
use crate::store::Tx;

schema!(TAG, schemas::tag());
schema!(TAGS, schemas::tags());

/// The project with the permission for `op`, in a transaction that may write.
async fn to_change(req: &Req, op: Op, id: String) -> Result<(Tx, Project, Permit)> {
    let caller = req.caller().await?;
    let mut tx = req.write().await?;
    let project = sql::get(&mut tx, &id).await?;
    let permit = caller.permit(&req.app, op, &facts(project.as_ref()))?;
    Ok((tx, found(id, project)?, permit))
}

async fn to_read(req: &Req, op: Op, id: String) -> Result<Project> {
    let caller = req.caller().await?;
    let mut tx = req.read().await?;
    let project = sql::get(&mut tx, &id).await?;
    caller.permit(&req.app, op, &facts(project.as_ref()))?;
    found(id, project)
}

/// Stores the tags; an immutable project keeps those it has.
async fn store(req: &Req, mut tx: Tx, project: &Project, tags: Vec<String>, permit: &Permit) -> Result<()> {
    super::update(&mut tx, project, Wanted::tags(tags), req.app.clock.now(), permit).await?;
    tx.commit().await?;
    Ok(())
}

fn no_such(tag: String) -> Error {
    Error::NotFound("project tag", tag)
}

fn shown(req: &Req, id: &str, tags: &[String]) -> Response {
    let body = json!({"links": {"self": req.link(&format!("/projects/{id}/tags"))}, "tags": tags});
    axum::Json(body).into_response()
}

/// `GET /v3/projects/{id}/tags`
pub async fn list(Path(id): Path<String>, req: Req) -> Result<Response> {
    let project = to_read(&req, Op::ListProjectTags, id).await?;
    Ok(shown(&req, &project.id, &project.tags))
}

/// `PUT /v3/projects/{id}/tags`: these and no others.
pub async fn replace(Path(id): Path<String>, req: Req) -> Result<Response> {
    let (tx, project, permit) = to_change(&req, Op::UpdateProjectTags, id).await?;
    let given = req.json()?.remove("tags").unwrap_or_default();
    TAGS.check("tags", &given)?;
    let tags: Value =
        given.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::trim).collect();
    // Two that differ in spaces only are the same.
    TAGS.check("tags", &tags)?;
    let tags: Vec<String> =
        tags.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    store(&req, tx, &project, tags.clone(), &permit).await?;
    Ok(shown(&req, &project.id, &tags))
}

/// `DELETE /v3/projects/{id}/tags`
pub async fn clear(Path(id): Path<String>, req: Req) -> Result<Response> {
    let (tx, project, permit) = to_change(&req, Op::DeleteProjectTags, id).await?;
    store(&req, tx, &project, Vec::new(), &permit).await?;
    Ok(no_content())
}

/// `GET /v3/projects/{id}/tags/{tag}`
pub async fn get(Path((id, tag)): Path<(String, String)>, req: Req) -> Result<Response> {
    let project = to_read(&req, Op::GetProjectTag, id).await?;
    if project.tags.contains(&tag) { Ok(no_content()) } else { Err(no_such(tag)) }
}

/// `PUT /v3/projects/{id}/tags/{tag}`
pub async fn add(Path((id, tag)): Path<(String, String)>, req: Req) -> Result<Response> {
    let (tx, project, permit) = to_change(&req, Op::CreateProjectTag, id).await?;
    let tag = tag.trim().to_owned();
    TAG.check("tag", &tag.clone().into())?;
    let mut tags = project.tags.clone();
    tags.push(tag);
    // One that is there already, or one too many.
    TAGS.check("tags", &json!(tags))?;
    let place = format!("{}{}", req.base, req.path);
    store(&req, tx, &project, tags, &permit).await?;
    Ok(with_header(StatusCode::CREATED.into_response(), header::LOCATION, &place))
}

/// `DELETE /v3/projects/{id}/tags/{tag}`
pub async fn remove(Path((id, tag)): Path<(String, String)>, req: Req) -> Result<Response> {
    let (tx, project, permit) = to_change(&req, Op::DeleteProjectTag, id).await?;
    let mut tags = project.tags.clone();
    tags.retain(|t| *t != tag);
    if tags.len() == project.tags.len() {
        return Err(no_such(tag));
    }
    store(&req, tx, &project, tags, &permit).await?;
    Ok(no_content())
}
