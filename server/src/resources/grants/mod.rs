//! Grants: who holds which role where. One form serves users and groups, on projects, domains and the
//! system, inherited or not.

pub mod assignments;
pub mod http;
pub mod sql;

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

/// Who holds roles where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Who.
    pub actor: Actor,
    /// Where.
    pub target: Target,
    /// On everything below the target instead of the target itself?
    pub inherited: bool,
}
