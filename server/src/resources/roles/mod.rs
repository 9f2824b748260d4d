//! `/v3/roles`, and the roles that they imply.

pub mod implied;
pub mod named;
pub mod sql;

use serde_json::{Value, json};
use vicar_rules::policy::{Fact, Facts, Op};

use crate::args;
use crate::authz::{Authorized, Caller, NoObject, Object, Reading, Writing};
use crate::error::Result;
use crate::facts::{self, NO_DOMAIN, RoleLossGuard};
use crate::http::Links;
use crate::resource::{Deletes, Field, Look, Order, Plain, Record, Resource};
use crate::resources::projects::{Domain, Project};
use crate::store::{Id, Select, Tx};

/// Roles.
#[derive(Debug)]
pub struct Role;

static ROLE: Resource = Resource::new(
    "role",
    "roles",
    &[
        Field::of("name").required().not_empty().matching(r"\S").filters_checked(),
        // None: a global role, the only kind that tokens show.
        Field::of("domain_id")
            .null_kept_as(NO_DOMAIN)
            .set_once()
            .matching("^[a-zA-Z0-9-]+$")
            .filters_checked(),
        Field::of("description"),
        Field::options(),
    ],
)
.looks(Order::always(Look::First))
.sorted_by("name");

impl Deletes<Role> for Authorized<Project> {}
impl Deletes<Role> for Authorized<Domain> {}

impl Plain for Role {
    fn of() -> &'static Resource {
        &ROLE
    }

    fn facts(role: &Record<Self>, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none()
            .with(Fact::RoleId, &role.id)
            .with(Fact::RoleName, role.name())
            .with_opt(Fact::RoleDomain, role.domain_id()))
    }

    /// Roles of a domain have their own operations, the second ones of the routes.
    fn op(ops: &'static [Op], role: &Record<Self>) -> Option<Op> {
        ops.get(usize::from(role.domain_id().is_some())).copied()
    }

    /// The global roles, or with `domain_id` those of that domain.
    fn narrow(s: &Reading<'_>, found: &mut Select) -> Result<()> {
        let query = s.query()?;
        match query.get("domain_id") {
            Some(_) => s.authorize(Op::ListDomainRoles, NoObject)?,
            None => {
                found.and("t.domain_id = ?", args![Id(NO_DOMAIN)]);
                s.authorize(Op::ListRoles, NoObject)?
            }
        };
        Ok(())
    }

    async fn delete(s: &mut Writing<'_>, role: &Authorized<Record<Self>>) -> Result<()> {
        let guard = before_loss_of(&mut s.tx, &role.id).await?;
        Record::<Self>::delete(&mut s.tx, role, &role.id).await?;
        Ok(guard.finish(&mut s.tx, role).await?)
    }

    fn taken(role: &Record<Self>) -> String {
        let place = role.domain_id().map_or_else(String::new, |d| format!(" in domain {d}"));
        format!("the name {} is taken{place}", role.name())
    }
}

/// What everybody holds who can lose something when this role goes, or what it implies does.
async fn before_loss_of(tx: &mut Tx, role: &String) -> Result<RoleLossGuard> {
    let granting = facts::implications(tx).await?.with_priors([role]);
    let holders = facts::holders_of(tx, &granting).await?;
    Ok(RoleLossGuard::begin_for(tx, holders).await?)
}

impl Record<Role> {
    /// The name, unique in the role's domain or among the global roles.
    pub fn name(&self) -> &str {
        self.text("name").unwrap_or_default()
    }

    /// The domain that the role belongs to.
    pub fn domain_id(&self) -> Option<&str> {
        self.text("domain_id")
    }

    /// The short form that implications show.
    fn to_reference_json(&self, links: &Links) -> Value {
        json!({"id": self.id, "name": self.name(), "links": {"self": self.link(links)}})
    }
}

/// Two roles, of which one implies the other, or shall.
#[derive(Debug)]
pub struct Implication {
    /// The role that implies.
    pub prior: Record<Role>,
    /// The role that is implied.
    pub implied: Record<Role>,
}

impl Object for Implication {
    fn facts(&self, caller: &Caller) -> Result<Facts> {
        Ok(self
            .prior
            .facts(caller)?
            .with(Fact::PriorRoleId, &self.prior.id)
            .with(Fact::PriorRoleName, self.prior.name())
            .with_opt(Fact::PriorRoleDomain, self.prior.domain_id())
            .with(Fact::ImpliedRoleId, &self.implied.id)
            .with(Fact::ImpliedRoleName, self.implied.name())
            .with_opt(Fact::ImpliedRoleDomain, self.implied.domain_id()))
    }
}
