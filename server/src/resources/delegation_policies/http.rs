//! `/v3/{domains,projects,users}/{id}/delegation_policy`

use axum::response::Response;
use serde_json::{Value, json};
use vicar_rules::policy::Op;

use super::{MOST, effective, limits, sql, take, to_json, user_refs};
use crate::authz::{Authorized, Object, Reading, Writing};
use crate::error::{Error, Result};
use crate::extra;
use crate::facts::ceilings::{Kind, Known, Stored, names};
use crate::facts::{self, ProjectFacts, UserFacts};
use crate::http::request::{no_content, one};
use crate::notifications::{Action, ObjectKind};
use crate::resources::projects::{self, Domain, Project};
use crate::resources::users::sql::{self as users, User};
use crate::schema;
use crate::store::Tx;

schema!(PUT, {
    "type": "object",
    "properties": with_trustees(),
    "additionalProperties": false,
});

fn with_trustees() -> Value {
    let user = json!({
        "type": "object",
        "properties": {"id": {"type": "string", "minLength": 1, "maxLength": 64}},
        "required": ["id"],
        "additionalProperties": false,
    });
    let mut all = limits();
    extra::set(
        &mut all,
        names::ALLOWED_TRUSTEES,
        json!({"type": ["array", "null"], "maxItems": MOST, "items": user}),
    );
    all
}

/// What can have a ceiling: a domain, a project, a user.
pub trait Holds: Object + Sized + Send + Sync {
    /// What it is, in the table.
    const KIND: Kind;
    /// The part of the path with its id.
    const PARAM: &'static str;
    /// The operation of reading it.
    const READ: Op;
    /// The operation of changing it.
    const CHANGE: Op;
    /// What listeners hear of.
    const TOLD: ObjectKind;

    /// The one with this id.
    ///
    /// # Errors
    /// When the database fails.
    fn load(tx: &mut Tx, id: &str) -> impl Future<Output = Result<Option<Self>>> + Send;

    /// Its id.
    fn id(&self) -> &str;
}

impl Holds for Domain {
    const KIND: Kind = Kind::Domain;
    const PARAM: &'static str = "domain_id";
    const READ: Op = Op::GetDomainDelegationPolicy;
    const CHANGE: Op = Op::SetDomainDelegationPolicy;
    const TOLD: ObjectKind = ObjectKind::Domain;

    async fn load(tx: &mut Tx, id: &str) -> Result<Option<Self>> {
        Ok(projects::get(tx, id).await?.filter(|p| p.is_domain).map(Domain))
    }

    fn id(&self) -> &str {
        &self.id
    }
}

impl Holds for Project {
    const KIND: Kind = Kind::Project;
    const PARAM: &'static str = "project_id";
    const READ: Op = Op::GetProjectDelegationPolicy;
    const CHANGE: Op = Op::SetProjectDelegationPolicy;
    const TOLD: ObjectKind = ObjectKind::Project;

    async fn load(tx: &mut Tx, id: &str) -> Result<Option<Self>> {
        // That of a domain is the domain's, for whatever is on it.
        Ok(projects::get(tx, id).await?.filter(|p| !p.is_domain))
    }

    fn id(&self) -> &str {
        &self.id
    }
}

impl Holds for User {
    const KIND: Kind = Kind::User;
    const PARAM: &'static str = "user_id";
    const READ: Op = Op::GetUserDelegationPolicy;
    const CHANGE: Op = Op::SetUserDelegationPolicy;
    const TOLD: ObjectKind = ObjectKind::User;

    async fn load(tx: &mut Tx, id: &str) -> Result<Option<Self>> {
        users::get(tx, id).await
    }

    fn id(&self) -> &str {
        &self.id
    }
}

/// The answer: its own, and what holds with those above it.
async fn shown(tx: &mut Tx, kind: Kind, id: &str) -> Result<Response> {
    let own = sql::get(tx, kind, id).await?.flatten().unwrap_or_default();
    let (project, user): (Option<ProjectFacts>, Option<UserFacts>) = match kind {
        Kind::Domain | Kind::Project => (facts::project(tx, id).await?, None),
        Kind::User | Kind::Trustee => (None, facts::user(tx, id).await?),
    };
    let known = Known::load(tx, &project, &user).await?;
    let holding = known.holding(project.as_ref(), user.as_ref());
    let mut out = to_json(tx, &own.ceiling).await?;
    extra::set(&mut out, names::ALLOWED_TRUSTEES, user_refs(&own.ceiling));
    extra::set(&mut out, "effective", effective(tx, &holding).await?);
    Ok(one("delegation_policy", out))
}

/// `GET …/delegation_policy`: where none is set nothing is limited by it.
pub async fn get<H: Holds>(s: &mut Reading<'_>) -> Result<Response> {
    let id = s.param(H::PARAM)?;
    let found = H::load(&mut s.tx, id).await?;
    let holder = s.authorize_found(H::READ, found, || Error::NotFound(H::KIND.word(), id.to_owned()))?;
    shown(&mut s.tx, H::KIND, holder.id()).await
}

async fn to_change<H: Holds>(s: &mut Writing<'_>) -> Result<Authorized<H>> {
    let id = s.param(H::PARAM)?;
    let found = H::load(&mut s.tx, id).await?;
    s.authorize_found(H::CHANGE, found, || Error::NotFound(H::KIND.word(), id.to_owned()))
}

/// `PUT …/delegation_policy`: these limits and no others.
pub async fn put<H: Holds>(s: &mut Writing<'_>) -> Result<Response> {
    let holder = to_change::<H>(s).await?;
    let mut body = s.body()?;
    let ceiling = take(&mut s.tx, &mut body).await?;
    let stored = Stored { ceiling, ..Stored::default() };
    sql::put(&mut s.tx, &holder, H::KIND, holder.id(), &stored).await?;
    s.tell(H::TOLD, Action::Updated, holder.id());
    shown(&mut s.tx, H::KIND, holder.id()).await
}

/// `DELETE …/delegation_policy`: it limits nothing any more.
pub async fn delete<H: Holds>(s: &mut Writing<'_>) -> Result<Response> {
    let holder = to_change::<H>(s).await?;
    if sql::get(&mut s.tx, H::KIND, holder.id()).await?.is_none() {
        return Err(Error::NotFound("delegation policy", holder.id().to_owned()));
    }
    sql::remove(&mut s.tx, &holder, H::KIND, holder.id()).await?;
    s.tell(H::TOLD, Action::Updated, holder.id());
    Ok(no_content())
}
