//! `/v3/groups/{group_id}/users`

use axum::response::Response;
use vicar_rules::policy::Op;

use super::Group;
use super::sql::{self, Membership};
use crate::authz::{Reading, Writing};
use crate::error::{Error, Result};
use crate::http::request::no_content;
use crate::resource::Record;
use crate::resources::users;

/// `GET /v3/groups/{group_id}/users`
pub async fn users(s: &mut Reading<'_>) -> Result<Response> {
    let id = s.param("group_id")?;
    super::require_read(s, Op::ListUsersInGroup, id).await?;
    let group = Record::<Group>::load(&mut s.tx, id).await?;
    let group = s.authorize_found(Op::ListUsersInGroup, group, || Record::<Group>::missing(id))?;
    users::http::of_group(s, &group.id, group.text("domain_id")).await
}

fn not_in(of: &Membership<'_>) -> Error {
    Error::NotFoundBecause(format!("User '{}' not found in group '{}'", of.user_id, of.group_id))
}

/// `GET /v3/groups/{group_id}/users/{user_id}`, and `HEAD`
pub async fn check(s: &mut Reading<'_>) -> Result<Response> {
    let of = Membership::load(&mut s.tx, s.request.param("group_id")?, s.request.param("user_id")?).await?;
    let of = s.authorize(Op::CheckUserInGroup, of)?;
    of.check_ends()?;
    if sql::has_member(&mut s.tx, of.group_id, of.user_id).await?
        || sql::has_passing_member(&mut s.tx, of.group_id, of.user_id).await?
    {
        Ok(no_content())
    } else {
        Err(not_in(&of))
    }
}

/// `PUT /v3/groups/{group_id}/users/{user_id}`
pub async fn add(s: &mut Writing<'_>) -> Result<Response> {
    let of = Membership::load(&mut s.tx, s.request.param("group_id")?, s.request.param("user_id")?).await?;
    let of = s.authorize(Op::AddUserToGroup, of)?;
    of.check_ends()?;
    of.writable(&mut s.tx).await?;
    if !sql::has_member(&mut s.tx, of.group_id, of.user_id).await? {
        sql::add_member(&mut s.tx, &of).await?;
    }
    Ok(no_content())
}

/// `DELETE /v3/groups/{group_id}/users/{user_id}`
pub async fn remove(s: &mut Writing<'_>) -> Result<Response> {
    let of = Membership::load(&mut s.tx, s.request.param("group_id")?, s.request.param("user_id")?).await?;
    let of = s.authorize(Op::RemoveUserFromGroup, of)?;
    of.writable(&mut s.tx).await?;
    // A row that was left behind by a deleted user or group can be removed too.
    if !sql::has_member(&mut s.tx, of.group_id, of.user_id).await? {
        of.check_ends()?;
        return Err(not_in(&of));
    }
    sql::remove_member(&mut s.tx, &of).await?;
    Ok(no_content())
}
