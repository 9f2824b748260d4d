//! Projects, and domains, which are projects too.

mod change;
mod held;
pub mod http;
mod sql;
pub mod tags;

use serde_json::{Map, Value, json};

pub use change::{
    ChangesProject, CreatesProject, DeletesProject, ProjectPatch, create, delete, tell, update,
};
pub use held::{Held, list_held};
pub use sql::{Filter, get, list_batch};

use vicar_rules::policy::{Fact, Facts};

use crate::authz::{Caller, Object, Proposed};
use crate::error::Result;
use crate::extra;
use crate::http::Links;

/// A project or a domain.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    /// The id.
    pub id: String,
    /// The name: unique in the project's domain, or among domains.
    pub name: String,
    /// The id of the domain that a project is in; a domain has none.
    pub domain_id: Option<String>,
    /// The description.
    pub description: Option<String>,
    /// Whether it is enabled.
    pub enabled: bool,
    /// The id of the project or domain above it; a domain has none.
    pub parent_id: Option<String>,
    /// Whether it acts as a domain.
    pub is_domain: bool,
    /// The tags.
    pub tags: Vec<String>,
    /// The option `immutable`, if it is set.
    pub immutable: Option<bool>,
    /// All other attributes.
    pub extra: Map<String, Value>,
}

/// A domain: a project that acts as one. Policy judges it by other facts when `/v3/domains` is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Domain(pub Project);

impl std::ops::Deref for Domain {
    type Target = Project;

    fn deref(&self) -> &Project {
        &self.0
    }
}

impl Object for Project {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none()
            .with(Fact::ProjectId, &self.id)
            .with(Fact::ProjectName, &self.name)
            .with_opt(Fact::ProjectDomain, self.domain_id.as_deref())
            .with_opt(Fact::ProjectParent, self.parent_id.as_deref())
            .with_flag(Fact::ProjectEnabled, self.enabled)
            .with_flag(Fact::ProjectIsDomain, self.is_domain))
    }
}

impl Object for Proposed<Project> {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none().with_opt(Fact::ProjectDomain, self.domain_id.as_deref()))
    }
}

impl Object for Domain {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none()
            .with(Fact::DomainId, &self.id)
            .with(Fact::DomainName, &self.name)
            .with_flag(Fact::DomainEnabled, self.enabled))
    }
}

impl Object for Proposed<Domain> {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }
}

/// Attributes that are no `extra`.
const KNOWN: &[&str] = &[
    "id",
    "name",
    "domain_id",
    "description",
    "enabled",
    "parent_id",
    "is_domain",
    "tags",
    "options",
    "links",
    "explicit_domain_id",
];

impl Project {
    /// The word for it in messages.
    fn kind(&self) -> &'static str {
        if self.is_domain { "domain" } else { "project" }
    }

    fn options(&self) -> Value {
        self.immutable.map_or_else(|| json!({}), |immutable| json!({"immutable": immutable}))
    }

    /// As `/v3/projects` shows it.
    pub fn to_project_json(&self, links: &Links) -> Value {
        extra::overlay(
            &self.extra,
            json!({
                "id": self.id,
                "name": self.name,
                "domain_id": self.domain_id,
                "description": self.description,
                "enabled": self.enabled,
                "parent_id": self.parent_id,
                "is_domain": self.is_domain,
                "tags": self.tags,
                "options": self.options(),
                "links": {"self": links.of(&["projects", &self.id])},
            }),
        )
    }

    /// As `/v3/domains` shows it.
    pub fn to_domain_json(&self, links: &Links) -> Value {
        extra::overlay(
            &self.extra,
            json!({
                "id": self.id,
                "name": self.name,
                "description": self.description,
                "enabled": self.enabled,
                "tags": self.tags,
                "options": self.options(),
                "links": {"self": links.of(&["domains", &self.id])},
            }),
        )
    }
}

/// Parts of schemas that projects and domains share.
pub mod schemas {
    use serde_json::{Value, json};

    /// A name.
    pub fn name() -> Value {
        json!({"type": "string", "minLength": 1, "maxLength": 64, "pattern": "\\S"})
    }

    /// An id that may be absent.
    pub fn id() -> Value {
        json!({"type": ["string", "null"], "minLength": 1, "maxLength": 64, "pattern": "^[a-zA-Z0-9-]+$"})
    }

    /// One tag.
    pub fn tag() -> Value {
        json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[^,/]*$"})
    }

    /// All tags of an object.
    pub fn tags() -> Value {
        json!({"type": "array", "items": tag(), "maxItems": 80, "uniqueItems": true})
    }

    /// Options.
    pub fn options() -> Value {
        json!({
            "type": "object",
            "properties": {"immutable": {"type": ["boolean", "null"]}},
            "additionalProperties": false,
        })
    }

    pub use crate::http::schema::flag;
}
