//! Grants: who holds which role where. One form serves users and groups, on projects, domains and the
//! system, inherited or not.

pub mod assignments;
pub mod http;
pub mod sql;

use vicar_rules::policy::Facts;

use super::roles::Role;
use crate::authz::{Caller, Object};
use crate::error::{Error, Result};
use crate::facts::ProjectFacts;
use crate::resource::Record;

/// Who holds a role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// A user.
    User(String),
    /// A group.
    Group(String),
}

impl Actor {
    /// The id.
    pub fn id(&self) -> &str {
        let (Self::User(id) | Self::Group(id)) = self;
        id
    }
}

/// Where a role is held.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A project.
    Project(String),
    /// A domain.
    Domain(String),
    /// The system.
    System,
}

impl Target {
    /// The id, as the database has it.
    pub fn id(&self) -> &str {
        match self {
            Self::Project(id) | Self::Domain(id) => id,
            Self::System => "system",
        }
    }
}

/// The value of the column `type` in a grant's row.
pub fn kind(actor: &Actor, target: &Target) -> &'static str {
    match (actor, target) {
        (Actor::User(_), Target::Project(_)) => "UserProject",
        (Actor::User(_), Target::Domain(_)) => "UserDomain",
        (Actor::User(_), Target::System) => "UserSystem",
        (Actor::Group(_), Target::Project(_)) => "GroupProject",
        (Actor::Group(_), Target::Domain(_)) => "GroupDomain",
        (Actor::Group(_), Target::System) => "GroupSystem",
    }
}

/// Who holds roles where: what a grant's path says beside the role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantPath {
    /// Who.
    pub actor: Actor,
    /// Where.
    pub target: Target,
    /// Whether on everything below the target instead of the target itself.
    pub inherited: bool,
}

/// A grant, with what it names as far as that is stored.
#[derive(Debug)]
pub struct Grant {
    /// Who holds it where.
    pub path: GrantPath,
    role_id: Option<String>,
    role: Option<Record<Role>>,
    project: Option<ProjectFacts>,
    facts: Facts,
}

impl Grant {
    /// The role's id, which all routes but the lists have.
    ///
    /// # Errors
    /// Ours: the route has no role.
    pub fn role_id(&self) -> Result<&str> {
        self.role_id.as_deref().ok_or_else(|| Error::Internal("a grant's route without a role".into()))
    }
}

impl Object for Grant {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(self.facts.clone())
    }
}
