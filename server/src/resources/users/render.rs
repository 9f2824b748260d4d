//! Users as clients see them.

use serde_json::{Value, json};

use super::sql::{self, User};
use crate::clock;
use crate::error::Result;
use crate::http::Links;
use crate::store::Tx;

impl User {
    /// The user as clients see it.
    pub fn to_json(&self, links: &Links) -> Value {
        let mut out = self.extra.clone();
        out.insert("id".into(), json!(self.id));
        out.insert("name".into(), json!(self.name));
        out.insert("domain_id".into(), json!(self.domain_id));
        out.insert("enabled".into(), json!(self.is_enabled()));
        if let Some(project) = &self.default_project_id {
            out.insert("default_project_id".into(), json!(project));
        }
        out.insert("password_expires_at".into(), json!(self.password_expires_at.map(clock::iso_bare)));
        out.insert("options".into(), Value::Object(self.options.all().clone()));
        out.insert("links".into(), json!({"self": links.of(&["users", &self.id])}));
        Value::Object(out)
    }
}

/// Links to identity providers, as clients see them: `[{"idp_id", "protocols": […]}]`.
///
/// # Errors
/// When the database fails.
pub async fn federated(tx: &mut Tx, user: &str) -> Result<Vec<Value>> {
    let protocol = |(id, unique): &(String, String)| json!({"protocol_id": id, "unique_id": unique});
    let links = sql::federated(tx, user).await?;
    Ok(links
        .iter()
        .map(|(idp, all)| json!({"idp_id": idp, "protocols": all.iter().map(protocol).collect::<Vec<_>>()}))
        .collect())
}
