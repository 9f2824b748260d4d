//! Roles, and the roles that they imply.

pub mod http;
pub mod sql;

use serde_json::{Map, Value, json};
use vicar_rules::policy::{Fact, Facts};

use crate::authz::{Caller, Object, Proposed};
use crate::error::Result;
use crate::http::{Links, bag};

/// A role.
#[derive(Debug, Clone)]
pub struct Role {
    /// The id.
    pub id: String,
    /// The name, unique in the role's domain or among the global roles.
    pub name: String,
    /// The domain that the role belongs to; `None`: a global role, the only kind that tokens show.
    pub domain_id: Option<String>,
    /// The description.
    pub description: Option<String>,
    /// `options.immutable`; `None`: it was never set.
    pub immutable: Option<bool>,
    /// Attributes that clients keep with the role.
    pub extra: Map<String, Value>,
}

impl Object for Role {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none()
            .with(Fact::RoleName, &self.name)
            .with_opt(Fact::RoleDomain, self.domain_id.as_deref()))
    }
}

impl Object for Proposed<Role> {
    fn facts(&self, caller: &Caller) -> Result<Facts> {
        self.0.facts(caller)
    }
}

/// Two roles, of which one implies the other, or shall.
#[derive(Debug)]
pub struct Implication {
    /// The role that implies.
    pub prior: Role,
    /// The role that is implied.
    pub implied: Role,
}

impl Object for Implication {
    fn facts(&self, caller: &Caller) -> Result<Facts> {
        self.prior.facts(caller)
    }
}

impl Role {
    /// The role as clients see it.
    pub fn to_json(&self, links: &Links) -> Value {
        let mut options = Map::new();
        if let Some(immutable) = self.immutable {
            options.insert("immutable".into(), immutable.into());
        }
        let known = json!({
            "id": self.id,
            "name": self.name,
            "domain_id": self.domain_id,
            "description": self.description,
            "options": options,
            "links": {"self": self.link(links)},
        });
        bag::shown(&self.extra, known)
    }

    /// The short form that implications show.
    pub fn to_reference_json(&self, links: &Links) -> Value {
        json!({"id": self.id, "name": self.name, "links": {"self": self.link(links)}})
    }

    fn link(&self, links: &Links) -> String {
        links.of(&["roles", &self.id])
    }
}
