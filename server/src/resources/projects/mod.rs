//! Projects, and domains, which are projects too.

mod change;
mod held;
pub mod http;
mod sql;
pub mod tags;

use serde_json::{Map, Value, json};

pub use change::{Wanted, create, remove, update};
pub use held::{Held, held_by};
pub use sql::{Filter, get, list};

use crate::http::{Req, bag};

/// A project or a domain.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    /// Its id.
    pub id: String,
    /// Its name: unique in its domain, or among domains.
    pub name: String,
    /// Its domain; a domain has none.
    pub domain_id: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// Is it switched on?
    pub enabled: bool,
    /// The project or domain above it; a domain has none.
    pub parent_id: Option<String>,
    /// Does it act as a domain?
    pub is_domain: bool,
    /// Its tags.
    pub tags: Vec<String>,
    /// The option `immutable`, if it is set.
    pub immutable: Option<bool>,
    /// All other attributes.
    pub extra: Map<String, Value>,
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
    /// What it is called in messages.
    fn kind(&self) -> &'static str {
        if self.is_domain { "domain" } else { "project" }
    }

    fn options(&self) -> Value {
        self.immutable.map_or_else(|| json!({}), |immutable| json!({"immutable": immutable}))
    }

    /// As `/v3/projects` shows it.
    pub fn as_project(&self, req: &Req) -> Value {
        bag::shown(
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
                "links": {"self": req.link(&format!("/projects/{}", self.id))},
            }),
        )
    }

    /// As `/v3/domains` shows it.
    pub fn as_domain(&self, req: &Req) -> Value {
        bag::shown(
            &self.extra,
            json!({
                "id": self.id,
                "name": self.name,
                "description": self.description,
                "enabled": self.enabled,
                "tags": self.tags,
                "options": self.options(),
                "links": {"self": req.link(&format!("/domains/{}", self.id))},
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

    /// A truth value in a query.
    pub fn flag() -> Value {
        json!({"enum": [
            "True", "TRUE", "true", "False", "FALSE", "false", "", "1", "0", "y", "Y", "n", "N", "on", "ON",
            "off", "OFF", "yes", "no",
        ]})
    }
}
