//! Trusts in the database, beyond what judging them needs.

use serde_json::{Map, Value as Json, json};
use vicar_rules::delegation::{Granted, Trust};
use vicar_rules::roles::RoleSet;

use crate::args;
use crate::clock;
use crate::error::{Error, Result};

use crate::http::{Permit, Req};
use crate::resources::roles;
use crate::store::{CHUNK, DateTime, Select, Tx};

/// Ids of the roles with this name; more than one when domains have their own.
pub async fn roles_named(tx: &mut Tx, name: &str) -> Result<Vec<String>> {
    Ok(tx.column("SELECT id FROM role WHERE name = ?", args![name]).await?)
}

/// Writes a trust that the rules granted. The same live trust makes it a conflict.
pub async fn insert(
    tx: &mut Tx,
    id: &str,
    granted: &Granted,
    extra: &Map<String, Json>,
    _permit: &Permit,
) -> Result<()> {
    let t = granted.trust();
    let until = t.until.to_option();
    if let Some(until) = until {
        // Keystone's unique key counts dead trusts too. They keep their end in the exact column, so
        // clearing the legacy one takes nothing from them and makes room.
        tx.run(
            "UPDATE trust SET expires_at = NULL
              WHERE trustor_user_id = ? AND trustee_user_id = ? AND project_id = ? AND impersonation = ?
                AND expires_at_int = ? AND (deleted_at IS NOT NULL OR remaining_uses = 0)",
            args![&t.trustor, &t.trustee, &t.project, t.impersonation, until],
        )
        .await?;
    }
    tx.run(
        "INSERT INTO trust (id, trustor_user_id, trustee_user_id, project_id, impersonation, expires_at,
             expires_at_int, remaining_uses, extra, redelegated_trust_id, redelegation_count)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        args![
            id,
            &t.trustor,
            &t.trustee,
            &t.project,
            t.impersonation,
            until.map(DateTime),
            until,
            t.remaining_uses,
            Json::Object(extra.clone()).to_string(),
            &t.parent,
            t.hops,
        ],
    )
    .await
    .map_err(|e| match e {
        crate::store::Error::Duplicate => Error::from(vicar_rules::refusal::Refusal::Duplicate),
        other => other.into(),
    })?;
    for role in &t.roles {
        tx.run("INSERT INTO trust_role (trust_id, role_id) VALUES (?, ?)", args![id, role]).await?;
    }
    Ok(())
}

/// What a trust was made with besides what the rules know, and why it ended, by trust.
pub async fn extras(tx: &mut Tx, id: &str) -> Result<(Map<String, Json>, Option<String>)> {
    let found = tx
        .first(
            "SELECT t.extra, s.reason FROM trust t LEFT JOIN vicar_trust_state s ON s.trust_id = t.id
              WHERE t.id = ?",
            args![id],
            |r| Ok((r.take::<Option<String>>()?, r.take::<Option<String>>()?)),
        )
        .await?;
    let (extra, reason) = found.unwrap_or_default();
    let extra = extra.and_then(|e| serde_json::from_str(&e).ok()).unwrap_or_default();
    Ok((extra, reason))
}

/// The recorded reasons of ended trusts.
pub async fn reasons(tx: &mut Tx, ids: &[&str]) -> Result<std::collections::BTreeMap<String, String>> {
    let mut out = std::collections::BTreeMap::new();
    for part in ids.chunks(CHUNK) {
        let mut q = Select::new("SELECT trust_id, reason FROM vicar_trust_state");
        q.is_in("trust_id", part.iter().copied()).and("reason IS NOT NULL", &[]);
        out.extend(q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?))).await?);
    }
    Ok(out)
}

/// Whole role objects, as the roles API shows them.
pub async fn role_objects(tx: &mut Tx, req: &Req, ids: &RoleSet) -> Result<Vec<Json>> {
    let roles = roles::sql::find(tx, |q| {
        q.is_in("r.id", ids);
    })
    .await?;
    Ok(roles.iter().map(|r| r.body(req)).collect())
}

/// A trust as clients see it, without its roles.
pub fn body(req: &Req, t: &Trust, extra: Map<String, Json>) -> Map<String, Json> {
    let mut out = extra;
    let own = json!({
        "id": t.id,
        "trustor_user_id": t.trustor,
        "trustee_user_id": t.trustee,
        "project_id": t.project,
        "impersonation": t.impersonation,
        "expires_at": t.until.to_option().map(clock::iso),
        "remaining_uses": t.remaining_uses,
        "deleted_at": t.deleted_at.map(clock::iso),
        "redelegated_trust_id": t.parent,
        "redelegation_count": t.hops,
        "allow_redelegation": t.hops > 0,
        "links": {"self": req.link(&format!("/OS-TRUST/trusts/{}", t.id))},
    });
    if let Json::Object(own) = own {
        out.extend(own);
    }
    out
}

/// The same with whole roles and their link.
pub async fn body_with_roles(tx: &mut Tx, req: &Req, t: &Trust, extra: Map<String, Json>) -> Result<Json> {
    let mut out = body(req, t, extra);
    let roles = role_objects(tx, req, &t.roles).await?;
    out.insert("roles".into(), roles.into());
    let own = req.link(&format!("/OS-TRUST/trusts/{}/roles", t.id));
    out.insert("roles_links".into(), json!({"self": own, "next": null, "previous": null}));
    Ok(Json::Object(out))
}
