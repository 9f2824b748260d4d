//! Application credentials, as far as tokens that a Keystone issued with them need.

use vicar_rules::Micros;
use vicar_rules::roles::RoleSet;

use crate::args;
use crate::store::{Id, Result, Tx};

/// What a token shows of its application credential.
#[derive(Debug, Clone)]
pub struct ApplicationCredential {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it may make further delegations.
    pub unrestricted: bool,
    /// Its access rules, if it is limited to some.
    pub access_rules: Option<serde_json::Value>,
}

/// The credential with the roles that it gives; nothing when it is gone, over, somebody else's or on
/// another project.
pub async fn load(
    tx: &mut Tx,
    id: &str,
    user: &str,
    project: &str,
    now: Micros,
) -> Result<Option<(ApplicationCredential, RoleSet)>> {
    let found = tx
        .first(
            "SELECT internal_id, name, unrestricted FROM application_credential
              WHERE id = ? AND user_id = ? AND project_id = ? AND (expires_at IS NULL OR expires_at > ?)",
            args![Id(id), Id(user), Id(project), now],
            |r| Ok((r.take::<i64>()?, r.take::<String>()?, r.take::<Option<bool>>()?.unwrap_or(false))),
        )
        .await?;
    let Some((internal, name, unrestricted)) = found else {
        return Ok(None);
    };
    let roles: Vec<String> = tx
        .column(
            "SELECT role_id FROM application_credential_role WHERE application_credential_id = ?",
            args![internal],
        )
        .await?;
    let rules = tx
        .map(
            "SELECT a.external_id, a.service, a.path, a.method FROM access_rule a
               JOIN application_credential_access_rule x ON x.access_rule_id = a.id
              WHERE x.application_credential_id = ?",
            args![internal],
            |r| {
                let (id, service): (Option<String>, Option<String>) = (r.take()?, r.take()?);
                let (path, method): (Option<String>, Option<String>) = (r.take()?, r.take()?);
                Ok(serde_json::json!({"id": id, "service": service, "path": path, "method": method}))
            },
        )
        .await?;
    let access_rules = (!rules.is_empty()).then(|| rules.into());
    let shown = ApplicationCredential { id: id.to_owned(), name, unrestricted, access_rules };
    Ok(Some((shown, roles.into_iter().collect())))
}
