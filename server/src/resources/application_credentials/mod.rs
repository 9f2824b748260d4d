//! Application credentials and access rules.

pub mod http;
pub mod sql;

use serde_json::{Value, json};
use vicar_rules::policy::{Fact, Facts};

use crate::authz::{Authorized, Caller, Object, Proposed};
use crate::clock;
use crate::error::Result;
use crate::extra;
use crate::facts::application_credentials::{StoredCredential, StoredRule};
use crate::facts::evidence::ATTRIBUTE;
use crate::http::Links;
use crate::resources::keypairs::EndsKeypairs;
use crate::resources::trusts::end::EndsTrusts;

/// An application credential that is to be made: whose it will be.
#[derive(Debug, Clone)]
pub struct NewCredential {
    /// Its owner.
    pub user_id: String,
}

impl Object for Proposed<NewCredential> {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none().with(Fact::PathUser, &self.user_id))
    }
}

impl Object for StoredCredential {
    /// The owner is that of the row, whatever user the path names.
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none().with(Fact::PathUser, &self.credential.user))
    }
}

// The trusts that it made end with it.
impl EndsTrusts for Authorized<StoredCredential> {}
impl EndsKeypairs for Authorized<StoredCredential> {}

impl Object for StoredRule {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none().with(Fact::UserId, &self.user))
    }
}

/// An application credential as clients see it, without its secret. `roles` are those of all that are shown.
fn to_json(stored: &StoredCredential, roles: &[Value], evidence: Value, links: &Links) -> Value {
    let own = &stored.credential;
    let roles: Vec<&Value> =
        roles.iter().filter(|role| role["id"].as_str().is_some_and(|id| own.roles.contains(id))).collect();
    let mut out = json!({
        "id": own.id,
        "name": stored.name,
        "description": stored.description,
        "user_id": own.user,
        "project_id": own.project,
        "system": null,
        "roles": roles,
        // Keystone says it without a `Z`; it is UTC.
        "expires_at": own.until.to_option().map(clock::iso_bare),
        "unrestricted": stored.unrestricted,
        "links": {"self": links.of(&["users", &own.user, "application_credentials", &own.id])},
    });
    if let Some(may) = &own.may_delegate {
        let roles: Vec<Value> = may.roles.iter().map(|id| json!({"id": id})).collect();
        let shown = json!({"trustees": may.trustees, "roles": roles, "max_depth": may.max_depth});
        extra::set(&mut out, "may_delegate", shown);
    }
    extra::set(&mut out, ATTRIBUTE, evidence);
    if let Some(map) = out.as_object_mut().filter(|_| !stored.access_rules.is_empty()) {
        map.insert("access_rules".into(), stored.access_rules.iter().map(StoredRule::to_json).collect());
    }
    out
}

/// An access rule as clients see it by itself.
fn rule_to_json(stored: &StoredRule, links: &Links) -> Value {
    let mut out = stored.to_json();
    let own = links.of(&["users", &stored.user, "access_rules", &stored.id]);
    extra::set(&mut out, "links", json!({"self": own}));
    out
}
