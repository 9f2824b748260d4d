//! Ends of trusts. Whatever the reason, a subtree ends in the caller's transaction: its trusts, the
//! keypairs born from them, and every token of either.

use vicar_rules::Micros;

use crate::args;
use crate::authz::Authorized;
use crate::error::Result;
use crate::facts::{self, EvaluatedTrust};
use crate::living;
use crate::resources::keypairs::{self, EndsKeypairs};
use crate::store::{DateTime, Delete, Id, Insert, Select, Update, WriteTx};
use crate::system::System;

/// Why a trust ended, as it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// Its trustor, one above, or an administrator deleted it.
    Deleted,
    /// Its trustee gave it back.
    Renounced,
    /// Its time was over.
    Expired,
    /// Its uses were consumed.
    Exhausted,
    /// What it stood on was gone.
    Broken,
    /// A user who took part in it was deleted.
    AgentGone,
    /// Its project was deleted.
    ProjectGone,
    /// The application credential that made it was deleted.
    CredentialGone,
}

impl EndReason {
    /// The recorded word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Renounced => "renounced",
            Self::Expired => "expired",
            Self::Exhausted => "exhausted",
            Self::Broken => "broken",
            Self::AgentGone => "user deleted",
            Self::ProjectGone => "project deleted",
            Self::CredentialGone => "credential deleted",
        }
    }
}

/// Proofs that cover the end of trusts: a trust's own, and those of users and projects that go.
pub trait EndsTrusts: EndsKeypairs {}

impl EndsTrusts for Authorized<EvaluatedTrust> {}
impl EndsKeypairs for Authorized<EvaluatedTrust> {}
impl EndsTrusts for System {}

/// So many trusts end by one statement.
const AT_ONCE: usize = 100;

/// Ends a trust with everything below it; returns the ids that ended now. What was deleted before stays
/// as it was. The tokens die by a revocation event for each trust, which a Keystone honours too.
///
/// # Errors
/// When the database fails.
pub async fn subtree(
    tx: &mut WriteTx,
    proof: &impl EndsTrusts,
    trust: &str,
    why: EndReason,
    now: Micros,
) -> Result<Vec<String>> {
    let all: Vec<String> = facts::subtree(tx, trust)
        .await?
        .into_iter()
        .filter(|t| t.deleted_at.is_none())
        .map(|t| t.id)
        .collect();
    let bound = keypairs::sql::ids_of_trusts(tx, &all).await?;
    for some in all.chunks(AT_ONCE) {
        let deleted = Update::of("trust").set("deleted_at", DateTime(now)).key_in("id", some);
        tx.execute(proof, &deleted).await?;
        tx.execute(proof, &Delete::from("vicar_trust_state").key_in("trust_id", some)).await?;
        let states = some.iter().fold(Insert::into("vicar_trust_state"), |rows, id| {
            let reason = if id == trust { why.word() } else { "ended above" };
            rows.row().set("trust_id", id).set("ended_at", now).set("reason", reason)
        });
        tx.execute(proof, &states).await?;
    }
    keypairs::sql::delete_bound(tx, proof, &bound).await?;
    facts::revoke_trusts(tx, proof, &all)?;
    Ok(all)
}

/// Ends every trust that fits a condition on `t`, each with what is below it.
async fn all_where(
    tx: &mut WriteTx,
    proof: &impl EndsTrusts,
    build: impl FnOnce(&mut Select),
    why: EndReason,
    now: Micros,
) -> Result<()> {
    let found = facts::trusts_where(tx, |q| {
        q.and(living!("t"), &[]);
        build(q);
    })
    .await?;
    for trust in found {
        subtree(tx, proof, &trust.id, why, now).await?;
    }
    Ok(())
}

/// A user is about to be deleted: ends every trust in which they take part, with all below.
///
/// # Errors
/// When the database fails.
pub async fn user_gone(tx: &mut WriteTx, proof: &impl EndsTrusts, user: &str, now: Micros) -> Result<()> {
    let is_trustee = |q: &mut Select| {
        q.id("t.trustee_user_id", Some(user));
    };
    // Where they are no more than a name, as it was adopted, they take no part.
    let is_trustor = |q: &mut Select| {
        q.id("t.trustor_user_id", Some(user))
            .and("NOT EXISTS (SELECT 1 FROM vicar_adoption a WHERE a.trust_id = t.id)", &[]);
    };
    let is_adopter = |q: &mut Select| {
        q.and("t.id IN (SELECT a.trust_id FROM vicar_adoption a WHERE a.user_id = ?)", args![Id(user)]);
    };
    all_where(tx, proof, is_trustee, EndReason::AgentGone, now).await?;
    all_where(tx, proof, is_trustor, EndReason::AgentGone, now).await?;
    all_where(tx, proof, is_adopter, EndReason::AgentGone, now).await?;
    tx.execute(proof, &Delete::from("vicar_adoption").key("user_id", user)).await?;
    Ok(())
}

/// An application credential is about to be deleted: ends every trust that it made. Returns the ids of all that ended.
///
/// # Errors
/// When the database fails.
pub async fn credential_gone(
    tx: &mut WriteTx,
    proof: &impl EndsTrusts,
    credential: &str,
    now: Micros,
) -> Result<Vec<String>> {
    let made = facts::trust_ids(tx, |q| {
        q.and(living!("t"), &[]).and(
            "t.id IN (SELECT b.trust_id FROM vicar_trust_credential b WHERE b.application_credential_id = ?)",
            args![Id(credential)],
        );
    })
    .await?;
    let mut ended = Vec::new();
    for trust in made {
        ended.extend(subtree(tx, proof, &trust, EndReason::CredentialGone, now).await?);
    }
    Ok(ended)
}

/// A project is about to be deleted: ends every trust on it.
///
/// # Errors
/// When the database fails.
pub async fn project_gone(
    tx: &mut WriteTx,
    proof: &impl EndsTrusts,
    project: &str,
    now: Micros,
) -> Result<()> {
    let on_it = |q: &mut Select| {
        q.and("t.project_id = ?", args![Id(project)]);
    };
    all_where(tx, proof, on_it, EndReason::ProjectGone, now).await
}
