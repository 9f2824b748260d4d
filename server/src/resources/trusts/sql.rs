//! Trusts in the database, beyond what judging them needs.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use vicar_rules::Micros;
use vicar_rules::delegation::{Granted, Trust};
use vicar_rules::policy::{Fact, Facts};
use vicar_rules::terms::Terms;

use crate::args;
use crate::authz::{Authorized, Caller, Object, Proposed};
use crate::clock::SECOND;
use crate::error::{Error, Result};
use crate::extra;
use crate::facts::evidence::{self, Evidence, Kind};
use crate::facts::{EvaluatedTrust, origin, terms};
use crate::store::{self, CHUNK, DateTime, Id, Insert, Select, Tx, Update, Value, WriteTx};
use crate::{deleted, living};

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
    parent: Option<&EvaluatedTrust>,
    made: &Evidence,
) -> Result<()> {
    let t = granted.trust();
    let until = t.until.to_option();
    let holder = parent.map_or(t.trustor.as_str(), |parent| parent.chain().holder());
    if let Some(until) = until {
        // Keystone's unique key counts dead trusts too, and on MariaDB it has ends of whole seconds. They keep
        // theirs in the exact column, so clearing the legacy one takes nothing from them and makes room. It counts
        // adopted ones too, which are another's.
        let second = until.div_euclid(SECOND) * SECOND;
        let last = second + SECOND - 1;
        let dead = Update::of("trust")
            .set("expires_at", Value::Null)
            .key("trustor_user_id", &t.trustor)
            .key("trustee_user_id", &t.trustee)
            .key("project_id", &t.project)
            .key("impersonation", t.impersonation)
            // By the key's own column they are found without looking at all others between the same two.
            .and("expires_at BETWEEN ? AND ?", args![DateTime(second), DateTime(last)])
            .and("expires_at_int BETWEEN ? AND ?", args![second, last])
            .and(
                concat!(
                    "(",
                    deleted!("trust"),
                    " OR remaining_uses = 0
                      OR EXISTS (SELECT 1 FROM vicar_adoption a WHERE a.trust_id = trust.id AND a.user_id <> ?))"
                ),
                args![Id(holder)],
            );
        tx.execute(proof, &dead).await?;
    }
    let is_below = parent.is_some_and(|parent| parent.chain().links().iter().any(is_apart));
    let terms = terms::write(t, is_below);
    let mut extra = extra.clone();
    extra.extend(origin::to_json(&t.origin));
    let row = Insert::into("trust")
        .set("id", id)
        .set("trustor_user_id", &t.trustor)
        .set("trustee_user_id", &t.trustee)
        .set("project_id", &t.project)
        .set("impersonation", t.impersonation)
        .set("expires_at", until.map(DateTime))
        .set("expires_at_int", until)
        .set("remaining_uses", t.remaining_uses)
        .set("extra", Json::Object(extra).to_string())
        .set("redelegated_trust_id", &t.parent)
        .set("redelegation_count", t.hops)
        .set("deleted_at", terms.as_ref().map(|_| DateTime(terms::APART)));
    tx.execute(proof, &row).await.map_err(|e| match e {
        store::Error::Duplicate => Error::from(vicar_rules::refusal::Refusal::Duplicate),
        other => other.into(),
    })?;
    tx.execute(proof, &made.row(Kind::Trust, id)).await?;
    if let Some(text) = terms {
        let row = Insert::into("vicar_trust_terms").set("trust_id", id).set("terms", text);
        tx.execute(proof, &row).await?;
    }
    // The same name below one that was adopted.
    if let Some(above) = parent.map(|parent| parent.chain()).filter(|above| above.shows_name()) {
        let row = Insert::into("vicar_adoption").set("trust_id", id).set("user_id", above.holder());
        tx.execute(proof, &row).await?;
    }
    if let Some(credential) = &t.credential {
        let row = Insert::into("vicar_trust_credential")
            .set("trust_id", id)
            .set("application_credential_id", credential);
        tx.execute(proof, &row).await?;
    }
    let roles: Vec<&String> = t.roles.iter().collect();
    for some in roles.chunks(CHUNK / 2) {
        let rows = some.iter().fold(Insert::into("trust_role"), |rows, role| {
            rows.row().set("trust_id", id).set("role_id", *role)
        });
        tx.execute(proof, &rows).await?;
    }
    Ok(())
}

/// Whether something is recorded of a trust that a Keystone does not know, so that it is deleted there.
pub fn is_apart(t: &Trust) -> bool {
    t.external_id.is_some()
        || t.binding.is_some()
        || t.suspension.is_some()
        || t.adoption.is_some()
        || t.credential.is_some()
        || t.terms.as_ref().is_none_or(Terms::is_limited)
}

/// Whether a user has given so many living trusts. Those below a trust of theirs count for whoever passed it on.
///
/// # Errors
/// When the database fails.
pub async fn has_given(tx: &mut Tx, trustor: &str, limit: u32, now: Micros) -> Result<bool> {
    let Some(rest) = limit.checked_sub(1) else { return Ok(true) };
    // Nearly everybody has fewer with the dead ones too, and these an index counts without their rows.
    let any = format!("SELECT id FROM trust WHERE trustor_user_id = ? LIMIT 1 OFFSET {rest}");
    if !tx.exists(&any, args![Id(trustor)]).await? {
        return Ok(false);
    }
    let living = format!(
        "SELECT t.id FROM trust t
          WHERE t.trustor_user_id = ? AND {}
            AND (COALESCE(t.expires_at_int, 0) = 0 OR t.expires_at_int > ?)
          LIMIT 1 OFFSET {rest}",
        living!("t")
    );
    Ok(tx.exists(&living, args![Id(trustor), now]).await?)
}

/// The first trusts that rest on a user: of which they are the trustor, unless somebody has adopted them, and those that they adopted.
///
/// # Errors
/// When the database fails.
pub async fn resting_on(tx: &mut Tx, user: &str) -> Result<Vec<String>> {
    let sql = concat!(
        "SELECT t.id FROM trust t
          WHERE t.redelegated_trust_id IS NULL AND t.trustor_user_id = ? AND ",
        living!("t"),
        " AND NOT EXISTS (SELECT 1 FROM vicar_adoption a WHERE a.trust_id = t.id)
         UNION
         SELECT t.id FROM vicar_adoption a JOIN trust t ON t.id = a.trust_id
          WHERE t.redelegated_trust_id IS NULL AND a.user_id = ? AND ",
        living!("t")
    );
    Ok(tx.column(sql, args![Id(user), Id(user)]).await?)
}

/// Reads an `extra` column of a trust. Attributes that are the server's are not taken from it.
fn read_extra(text: Option<String>) -> Map<String, Json> {
    let mut extra = extra::read(text);
    for own in OWN {
        extra.remove(own);
    }
    extra
}

/// Attributes that are the server's: a client's are ignored, and never shown.
pub const OWN: [&str; 21] = [
    "id",
    "redelegated_trust_id",
    "deleted_at",
    "links",
    "roles_links",
    "chain",
    "state",
    "reason",
    "access_rules",
    "not_before",
    "max_token_ttl",
    "max_login_age",
    "required_methods",
    "external_id",
    "trustee_binding",
    "source_identity",
    "labels",
    "suspension",
    "adopted_by",
    "application_credential_id",
    evidence::ATTRIBUTE,
];

/// What trusts were made with besides what the rules know, by id.
///
/// # Errors
/// When the database fails.
pub async fn extras(tx: &mut Tx, ids: &[&str]) -> Result<BTreeMap<String, Map<String, Json>>> {
    let mut out = BTreeMap::new();
    for part in ids.chunks(CHUNK) {
        let mut q = Select::new("SELECT id, extra FROM trust");
        q.id_in("id", part.iter().copied());
        out.extend(q.map(tx, |r| Ok((r.take::<String>()?, read_extra(r.take()?)))).await?);
    }
    Ok(out)
}

/// The recorded reasons of ended trusts.
pub async fn reasons(tx: &mut Tx, ids: &[&str]) -> Result<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    for part in ids.chunks(CHUNK) {
        let mut q = Select::new("SELECT trust_id, reason FROM vicar_trust_state");
        q.id_in("trust_id", part.iter().copied()).and("reason IS NOT NULL", &[]);
        out.extend(q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?))).await?);
    }
    Ok(out)
}
