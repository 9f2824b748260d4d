//! `/v3/OS-TRUST/services`: the trustees that the operator registered, with what each is for and the most that it is given.

use axum::response::Response;
use serde_json::{Value, json};
use vicar_rules::policy::{Facts, Op};

use super::{limits, sql, take, to_json};
use crate::args;
use crate::authz::{Authorized, Caller, NoObject, Object, Reading, Writing};
use crate::error::{Error, Result};
use crate::extra;
use crate::facts::ceilings::{self, Kind, Stored, names};
use crate::http::request::{no_content, one, take_text};
use crate::http::schema::{NAME, TEXT};
use crate::notifications::{Action, ObjectKind};
use crate::resources::users::sql::{self as users, User};
use crate::schema;
use crate::store::{Id, Select, Tx};

schema!(PUT, {
    "type": "object",
    "properties": with_name(),
    "required": ["name"],
    "additionalProperties": false,
});

fn with_name() -> Value {
    let mut all = limits();
    extra::set(
        &mut all,
        names::NAME,
        json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": NAME}),
    );
    extra::set(
        &mut all,
        names::DESCRIPTION,
        json!({"type": ["string", "null"], "maxLength": 255, "pattern": TEXT}),
    );
    all
}

/// A user who is, or is to be, a registered trustee.
#[derive(Debug)]
pub struct Trustee(User);

impl Object for Trustee {
    fn facts(&self, caller: &Caller) -> Result<Facts> {
        self.0.facts(caller)
    }
}

async fn shown(tx: &mut Tx, id: &str, stored: Option<Stored>) -> Result<Value> {
    let is_read = stored.is_some();
    let stored = stored.unwrap_or_default();
    let mut out = to_json(tx, &stored.ceiling).await?;
    extra::set(&mut out, "id", id);
    extra::set(&mut out, names::NAME, stored.name);
    extra::set(&mut out, names::DESCRIPTION, stored.description);
    // While it cannot be read there are no trusts to them.
    extra::set(&mut out, "unreadable", !is_read);
    Ok(out)
}

/// `GET /v3/OS-TRUST/services`: for everybody, so that users find whom they can delegate to.
pub async fn list(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::ListTrustServices, NoObject)?;
    let mut paging = s.paging(&[], &[])?;
    while let Some(batch) = s.next_batch(&mut paging).await? {
        let mut q = Select::new("SELECT p.holder_id, p.policy FROM vicar_delegation_policy p");
        q.and("p.kind = ?", args![Id(Kind::Trustee.word())]).batch("p.holder_id", &batch);
        let found = q.map(&mut s.tx, |r| Ok((r.take::<String>()?, r.take::<String>()?))).await?;
        paging.read(&batch, found.len(), found.last().map(|(id, _)| id.as_str()));
        for (id, text) in found {
            paging.push(shown(&mut s.tx, &id, ceilings::read(&text)).await?);
        }
    }
    Ok(s.page("services", paging))
}

async fn to_change(s: &mut Writing<'_>) -> Result<Authorized<Trustee>> {
    let id = s.param("user_id")?;
    let found = users::get(&mut s.tx, id).await?.map(Trustee);
    s.authorize_found(Op::SetTrustService, found, || Error::NotFound("user", id.to_owned()))
}

/// `PUT /v3/OS-TRUST/services/{user_id}`: registers a user as a trustee, or says anew what they are for.
pub async fn put(s: &mut Writing<'_>) -> Result<Response> {
    let trustee = to_change(s).await?;
    let mut body = s.body()?;
    let (name, description) = (take_text(&mut body, names::NAME), take_text(&mut body, names::DESCRIPTION));
    let stored = Stored { ceiling: take(&mut s.tx, &mut body).await?, name, description };
    let id = trustee.0.id.clone();
    sql::put(&mut s.tx, &trustee, Kind::Trustee, &id, &stored).await?;
    s.tell(ObjectKind::User, Action::Updated, &id);
    Ok(one("service", shown(&mut s.tx, &id, Some(stored)).await?))
}

/// `DELETE /v3/OS-TRUST/services/{user_id}`: registered no more; trusts to them stay.
pub async fn delete(s: &mut Writing<'_>) -> Result<Response> {
    let trustee = to_change(s).await?;
    let id = trustee.0.id.clone();
    if sql::get(&mut s.tx, Kind::Trustee, &id).await?.is_none() {
        return Err(Error::NotFound("registered trustee", id));
    }
    sql::remove(&mut s.tx, &trustee, Kind::Trustee, &id).await?;
    s.tell(ObjectKind::User, Action::Updated, &id);
    Ok(no_content())
}
