//! Roles, and the roles that they imply.

pub mod http;
pub mod sql;

use serde_json::{Map, Value, json};

use crate::http::{Req, bag};

/// A role.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its id.
    pub id: String,
    /// Its name, unique in its domain or among the global ones.
    pub name: String,
    /// The domain whose it is; nothing for a global role, the only kind that tokens show.
    pub domain_id: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// `options.immutable`; nothing when it was never set.
    pub immutable: Option<bool>,
    /// What else it was made with.
    pub extra: Map<String, Value>,
}

impl Role {
    /// As clients see it.
    pub fn body(&self, req: &Req) -> Value {
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
            "links": {"self": self.link(req)},
        });
        bag::shown(&self.extra, known)
    }

    /// The short form in which implications name it.
    pub fn brief(&self, req: &Req) -> Value {
        json!({"id": self.id, "name": self.name, "links": {"self": self.link(req)}})
    }

    fn link(&self, req: &Req) -> String {
        req.link(&format!("/roles/{}", self.id))
    }
}
