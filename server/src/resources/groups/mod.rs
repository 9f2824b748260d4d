//! `/v3/groups`, and who is in them.

pub mod members;
pub mod sql;

use axum::response::Response;
use vicar_rules::policy::{Fact, Facts, Op};

use crate::authz::{Authorized, Caller, Reading, Writing};
use crate::error::{Error, Result};
use crate::facts::{self, Holders, RoleLossGuard};
use crate::http::schema;
use crate::resource::{self, Deletes, Field, Look, Order, Plain, Record, Resource};
use crate::resources::projects::{Domain, Project};
use crate::resources::users::http as users;
use crate::resources::users::http::trimmed;
use crate::store::{Select, WriteTx};

/// Groups.
#[derive(Debug)]
pub struct Group;

static GROUP: Resource = Resource::new(
    "group",
    "groups",
    &[
        Field::of("name").required().not_empty().matching(schema::NAME).filters(),
        Field::of("domain_id").set_once().not_empty().matching(schema::ID).filters(),
        Field::of("description").matching(schema::TEXT).default_text(""),
    ],
)
.reserves(&["extra"])
.takes_sort_dir()
// Keystone looks before it asks when it deletes, and not before.
.looks(Order { create: Look::First, get: Look::Quietly, update: Look::Quietly, delete: Look::First });

impl Deletes<Group> for Authorized<Project> {}
impl Deletes<Group> for Authorized<Domain> {}

impl Record<Group> {
    /// What rules may know of a stored group.
    pub fn policy_facts(&self) -> Facts {
        Facts::none()
            .with(Fact::GroupId, &self.id)
            .with_known(Fact::GroupName, self.text("name"))
            .with_opt(Fact::GroupDomain, self.text("domain_id"))
    }
}

impl Plain for Group {
    fn of() -> &'static Resource {
        &GROUP
    }

    fn facts(group: &Record<Self>, _caller: &Caller) -> Result<Facts> {
        Ok(group.policy_facts())
    }

    fn narrow(s: &Reading<'_>, found: &mut Select) -> Result<()> {
        let scope = s.caller()?.domain_scope();
        s.authorize(Op::ListGroups, Facts::none().with_known(Fact::GroupDomain, scope))?;
        found.id("t.domain_id", s.listed_domain()?);
        Ok(())
    }

    async fn longest(s: &mut Reading<'_>) -> Result<Option<u32>> {
        let domain = s.listed_domain()?.or(s.request.query.get("domain_id"));
        if let Some(domain) = domain {
            facts::directories::require_whole(&mut s.tx, domain).await?;
        }
        longest(s, domain).await
    }

    async fn prepare(
        s: &mut Writing<'_>,
        before: Option<&Record<Self>>,
        after: &mut Record<Self>,
    ) -> Result<()> {
        if before.is_none_or(|b| b.get("name") != after.get("name")) {
            let name = trimmed(after.text("name").unwrap_or_default())?;
            after.set("name", name);
        }
        if let Some(before) = before {
            return users::writable(&mut s.tx, before.text("domain_id").unwrap_or_default()).await;
        }
        let domain = match after.text("domain_id") {
            Some(id) => id.to_owned(),
            None => s.caller()?.home_domain(s.app)?,
        };
        if facts::domain(&mut s.tx, &domain).await?.is_none() {
            return Err(Error::NotFound("domain", domain));
        }
        users::writable(&mut s.tx, &domain).await?;
        after.set("domain_id", domain);
        Ok(())
    }

    async fn delete(s: &mut Writing<'_>, group: &Authorized<Record<Self>>) -> Result<()> {
        users::writable(&mut s.tx, group.text("domain_id").unwrap_or_default()).await?;
        delete(&mut s.tx, group, &group.id).await
    }

    fn taken(group: &Record<Self>) -> String {
        let text = |name| group.text(name).unwrap_or_default();
        format!("Duplicate entry found with name {} at domain ID {}", text("name"), text("domain_id"))
    }
}

/// `GET /v3/groups/{group_id}`
///
/// # Errors
/// 403 or 404.
pub async fn get(s: &mut Reading<'_>) -> Result<Response> {
    let id = s.param("group_id")?;
    require_read(s, Op::GetGroup, id).await?;
    resource::get::<Group>(s).await
}

/// Has a group of a directory known, with its members, for whoever may look at it by what is known of it already: all of the
/// directory is read for it.
///
/// # Errors
/// 403, or 503 when the directory is away.
async fn require_read(s: &mut Reading<'_>, op: Op, id: &str) -> Result<()> {
    let Some(domain) = facts::directories::domain_of_group(&mut s.tx, id).await? else { return Ok(()) };
    let facts = match Record::<Group>::load(&mut s.tx, id).await? {
        Some(group) => group.policy_facts(),
        None => Facts::none().with(Fact::GroupId, id).with(Fact::GroupDomain, &domain),
    };
    s.authorize(op, facts)?;
    Ok(facts::directories::require_whole(&mut s.tx, &domain).await?)
}

/// The longest list of users or groups that is stored for a domain, where what is stored has an effect.
///
/// # Errors
/// When the database fails.
pub async fn longest(s: &mut Reading<'_>, domain: Option<&str>) -> Result<Option<u32>> {
    match domain.filter(|_| s.app.config.stored_domain_options) {
        Some(domain) => {
            let stored = facts::domain_options::list_limit(&mut s.tx, domain).await?;
            Ok(stored.map(|limit| s.app.config.list_limits.most.map_or(limit, |most| limit.min(most))))
        }
        None => Ok(None),
    }
}

/// Deletes a group with its grants. What its members lose by it ends the tokens that carried it.
///
/// # Errors
/// When the database fails.
pub async fn delete(tx: &mut WriteTx, proof: &impl Deletes<Group>, group: &str) -> Result<()> {
    let holders = Holders::group(tx, group).await?;
    let guard = RoleLossGuard::begin_for(tx, holders).await?;
    Record::<Group>::delete(tx, proof, group).await?;
    Ok(guard.finish(tx, proof).await?)
}
