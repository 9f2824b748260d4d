//! What requests read and write of application credentials and access rules; how they are read whole is in
//! `facts::application_credentials`.

use vicar_rules::access_rule::AccessRule;
use vicar_rules::application_credential::GrantedCredential;

use super::NewCredential;
use crate::args;
use crate::authz::{Authorized, Proposed};
use crate::error::{Error, Result};
use crate::facts::application_credentials::{StoredCredential, StoredRule, write_may_delegate};
use crate::facts::evidence::{self, Evidence, Kind};
use crate::store::{self, Delete, Id, Insert, Tx, WriteTx};

/// How many application credentials a user has.
///
/// # Errors
/// When the database fails.
pub async fn count_of_user(tx: &mut Tx, user: &str) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM application_credential WHERE user_id = ?";
    Ok(tx.first(sql, args![Id(user)], |r| r.take()).await?.unwrap_or(0))
}

/// How many access rules a user has.
///
/// # Errors
/// When the database fails.
pub async fn count_rules_of_user(tx: &mut Tx, user: &str) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM access_rule WHERE user_id = ?";
    Ok(tx.first(sql, args![Id(user)], |r| r.take()).await?.unwrap_or(0))
}

/// What is written of a new application credential besides what the rules granted.
#[derive(Debug)]
pub struct New<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// What it is for.
    pub description: Option<&'a str>,
    /// The hash of its secret.
    pub secret_hash: &'a str,
    /// Its project.
    pub project: &'a str,
    /// Whether it is unrestricted, as it was asked: null when nothing was said.
    pub unrestricted: Option<bool>,
}

/// Writes an application credential of the user whom the proof names, with its roles. Returns the key of its row.
///
/// # Errors
/// 409 when the user has one of that name.
pub async fn insert(
    tx: &mut WriteTx,
    proof: &Authorized<Proposed<NewCredential>>,
    new: &New<'_>,
    granted: &GrantedCredential,
    made: &Evidence,
) -> Result<i64> {
    let row = Insert::into("application_credential")
        .set("id", new.id)
        .set("name", new.name)
        .set("secret_hash", new.secret_hash)
        .set("description", new.description)
        .set("user_id", &proof.user_id)
        .set("project_id", new.project)
        .set("expires_at", granted.until().to_option())
        .set("unrestricted", new.unrestricted);
    tx.execute(proof, &row).await.map_err(|e| match e {
        store::Error::Duplicate => {
            Error::taken("application_credential", &format!("Duplicate entry found with name {}", new.name))
        }
        other => other.into(),
    })?;
    let key = "SELECT internal_id FROM application_credential WHERE id = ?";
    let internal: Option<i64> = tx.first(key, args![Id(new.id)], |r| r.take()).await?;
    let internal = internal.ok_or_else(|| {
        Error::Internal("an application credential is gone right after its insertion".into())
    })?;
    let roles = granted.roles().iter().fold(Insert::into("application_credential_role"), |rows, role| {
        rows.row().set("application_credential_id", internal).set("role_id", role)
    });
    tx.execute(proof, &roles).await?;
    if let Some(may) = granted.may_delegate() {
        let row = Insert::into("vicar_may_delegate")
            .set("application_credential_id", new.id)
            .set("terms", write_may_delegate(may));
        tx.execute(proof, &row).await?;
    }
    tx.execute(proof, &made.row(Kind::ApplicationCredential, new.id)).await?;
    Ok(internal)
}

/// Writes a new access rule of the user whom the proof names. Returns the key of its row.
///
/// # Errors
/// When the database fails.
pub async fn insert_rule(
    tx: &mut WriteTx,
    proof: &Authorized<Proposed<NewCredential>>,
    id: &str,
    rule: &AccessRule,
) -> Result<i64> {
    let row = Insert::into("access_rule")
        .set("external_id", id)
        .set("user_id", &proof.user_id)
        .set("service", &rule.service)
        .set("path", &rule.path)
        .set("method", &rule.method);
    tx.execute(proof, &row).await?;
    let key = "SELECT id FROM access_rule WHERE external_id = ? AND user_id = ?";
    let internal: Option<i64> = tx.first(key, args![Id(id), Id(&proof.user_id)], |r| r.take()).await?;
    internal.ok_or_else(|| Error::Internal("an access rule is gone right after its insertion".into()))
}

/// Limits an application credential to access rules, by the keys of their rows.
///
/// # Errors
/// When the database fails.
pub async fn limit_to(
    tx: &mut WriteTx,
    proof: &Authorized<Proposed<NewCredential>>,
    credential: i64,
    rules: &[i64],
) -> Result<()> {
    let table = "application_credential_access_rule";
    let rows = rules.iter().fold(Insert::into(table), |rows, rule| {
        rows.row().set("application_credential_id", credential).set("access_rule_id", *rule)
    });
    if !rows.is_empty() {
        tx.execute(proof, &rows).await?;
    }
    Ok(())
}

/// Deletes an application credential. Its access rules stay, as in Keystone: they are the user's.
///
/// # Errors
/// When the database fails.
pub async fn delete(tx: &mut WriteTx, proof: &Authorized<StoredCredential>) -> Result<()> {
    for table in ["application_credential_role", "application_credential_access_rule"] {
        let rows = Delete::from(table).key("application_credential_id", proof.internal);
        tx.execute(proof, &rows).await?;
    }
    let may = Delete::from("vicar_may_delegate").key("application_credential_id", &proof.credential.id);
    tx.execute(proof, &may).await?;
    let seen = Delete::from(evidence::TABLE)
        .key("id", &proof.credential.id)
        .key("type", Kind::ApplicationCredential.word());
    tx.execute(proof, &seen).await?;
    let row = Delete::from("application_credential").key("internal_id", proof.internal);
    tx.execute(proof, &row).await?;
    Ok(())
}

/// Deletes an access rule.
///
/// # Errors
/// 403 when an application credential is limited to it.
pub async fn delete_rule(tx: &mut WriteTx, proof: &Authorized<StoredRule>) -> Result<()> {
    let used =
        "SELECT application_credential_id FROM application_credential_access_rule WHERE access_rule_id = ?";
    if tx.exists(used, args![proof.internal]).await? {
        return Err(Error::Forbidden("May not delete access rule in use".into()));
    }
    tx.execute(proof, &Delete::from("access_rule").key("id", proof.internal)).await?;
    Ok(())
}
