//! Trusts in the database, beyond what judging them needs.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};
use vicar_rules::Micros;
use vicar_rules::delegation::{Granted, Trust};
use vicar_rules::policy::{Fact, Facts};
use vicar_rules::roles::RoleSet;

use crate::args;
use crate::clock;
use crate::error::{Error, Result};

use crate::authz::{Authorized, Caller, Object, Proposed};
use crate::http::{Links, bag};
use crate::resources::roles;
use crate::store::{CHUNK, DateTime, Id, Select, Tx, WriteTx};

/// Ids of the roles with these names; more than one for a name that domains have for their own.
///
/// # Errors
/// When the database fails.
pub async fn roles_named(tx: &mut Tx, names: &[&str]) -> Result<BTreeMap<String, Vec<String>>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in names.chunks(CHUNK) {
        let mut q = Select::new("SELECT name, id FROM role");
        q.is_in("name", part.iter().copied());
        for (name, id) in q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?))).await? {
            out.entry(name).or_default().push(id);
        }
    }
    Ok(out)
}

/// A trust that a client proposes: so much of it as the policy may know.
#[derive(Debug, Clone)]
pub struct NewTrust {
    /// The trustor, as the body says.
    pub trustor: String,
}

impl Object for Proposed<NewTrust> {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none().with(Fact::TrustTrustor, &self.trustor))
    }
}

/// Writes a trust that the rules granted. The same live trust makes it a conflict.
pub async fn insert(
    tx: &mut WriteTx,
    proof: &Authorized<Proposed<NewTrust>>,
    id: &str,
    granted: &Granted,
    extra: &Map<String, Json>,
) -> Result<()> {
    let t = granted.trust();
    let until = t.until.to_option();
    if let Some(until) = until {
        // Keystone's unique key counts dead trusts too. They keep their end in the exact column, so
        // clearing the legacy one takes nothing from them and makes room.
        tx.run(
            proof,
            "UPDATE trust SET expires_at = NULL
              WHERE trustor_user_id = ? AND trustee_user_id = ? AND project_id = ? AND impersonation = ?
                AND expires_at_int = ? AND (deleted_at IS NOT NULL OR remaining_uses = 0)",
            args![&t.trustor, &t.trustee, &t.project, t.impersonation, until],
        )
        .await?;
    }
    tx.run(
        proof,
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
        tx.run(proof, "INSERT INTO trust_role (trust_id, role_id) VALUES (?, ?)", args![id, role]).await?;
    }
    Ok(())
}

/// How many living trusts a user has given, as far as `limit`. Those below a trust of theirs count for whoever
/// passed it on.
///
/// # Errors
/// When the database fails.
pub async fn count_living(tx: &mut Tx, trustor: &str, limit: u32, now: Micros) -> Result<i64> {
    let n = tx
        .first(
            &format!(
                "SELECT COUNT(*) FROM (
                     SELECT t.id FROM trust t
                      WHERE t.trustor_user_id = ? AND t.deleted_at IS NULL
                        AND (COALESCE(t.expires_at_int, 0) = 0 OR t.expires_at_int > ?)
                      LIMIT {limit}) x"
            ),
            args![Id(trustor), now],
            |r| r.take(),
        )
        .await?;
    Ok(n.unwrap_or(0))
}

/// Reads an `extra` column of a trust. Attributes that are the server's are not taken from it.
fn read_extra(text: Option<String>) -> Map<String, Json> {
    let mut extra = bag::read(text);
    for own in OWN {
        extra.remove(own);
    }
    extra
}

/// Attributes that are the server's: a client's are ignored, and never shown.
pub const OWN: [&str; 8] =
    ["id", "redelegated_trust_id", "deleted_at", "links", "roles_links", "chain", "state", "reason"];

/// What trusts were made with besides what the rules know, by id.
///
/// # Errors
/// When the database fails.
pub async fn extras(tx: &mut Tx, ids: &[&str]) -> Result<BTreeMap<String, Map<String, Json>>> {
    let mut out = BTreeMap::new();
    for part in ids.chunks(CHUNK) {
        let mut q = Select::new("SELECT id, extra FROM trust");
        q.is_in("id", part.iter().copied());
        out.extend(q.map(tx, |r| Ok((r.take::<String>()?, read_extra(r.take()?)))).await?);
    }
    Ok(out)
}

/// The recorded reasons of ended trusts.
pub async fn reasons(tx: &mut Tx, ids: &[&str]) -> Result<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    for part in ids.chunks(CHUNK) {
        let mut q = Select::new("SELECT trust_id, reason FROM vicar_trust_state");
        q.is_in("trust_id", part.iter().copied()).and("reason IS NOT NULL", &[]);
        out.extend(q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?))).await?);
    }
    Ok(out)
}

/// Whole role objects, as the roles API shows them.
///
/// # Errors
/// When the database fails.
pub async fn role_objects(tx: &mut Tx, links: &Links, ids: &RoleSet) -> Result<Vec<Json>> {
    let roles = roles::sql::find(tx, |q| {
        q.is_in("r.id", ids);
    })
    .await?;
    Ok(roles.iter().map(|r| r.to_json(links)).collect())
}

/// A trust as clients see it, without its roles.
pub fn to_json(links: &Links, t: &Trust, extra: Map<String, Json>) -> Map<String, Json> {
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
        "links": {"self": links.of(&["OS-TRUST", "trusts", &t.id])},
    });
    if let Json::Object(own) = own {
        out.extend(own);
    }
    out
}

/// The same with whole roles and their link.
///
/// # Errors
/// When the database fails.
pub async fn to_json_with_roles(
    tx: &mut Tx,
    links: &Links,
    t: &Trust,
    extra: Map<String, Json>,
) -> Result<Json> {
    let mut out = to_json(links, t, extra);
    let roles = role_objects(tx, links, &t.roles).await?;
    out.insert("roles".into(), roles.into());
    let own = links.of(&["OS-TRUST", "trusts", &t.id, "roles"]);
    out.insert("roles_links".into(), json!({"self": own, "next": null, "previous": null}));
    Ok(Json::Object(out))
}
