//! Ends of trusts. Whatever the reason, a subtree ends in the caller's transaction: its trusts, the
//! keypairs born from them, and every token of either.

use vicar_rules::Micros;
use vicar_rules::revocation::Event;

use crate::args;
use crate::error::Result;
use crate::facts;
use crate::http::Permit;
use crate::resources::keypairs;
use crate::store::{DateTime, Select, Tx};

/// Why a trust ended, as it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
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
}

impl Why {
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
        }
    }
}

/// Ends a trust with everything below it; gives the ids that ended now. What was deleted before stays
/// as it was. The tokens die by a revocation event for each trust, which a Keystone honours too.
pub async fn subtree(
    tx: &mut Tx,
    trust: &str,
    why: Why,
    now: Micros,
    permit: &Permit,
) -> Result<Vec<String>> {
    let all: Vec<String> = facts::subtree(tx, trust)
        .await?
        .into_iter()
        .filter(|t| t.deleted_at.is_none())
        .map(|t| t.id)
        .collect();
    for id in &all {
        tx.run("UPDATE trust SET deleted_at = ? WHERE id = ?", args![DateTime(now), id]).await?;
        let reason = if id == trust { why.word() } else { "ended above" };
        tx.run("DELETE FROM vicar_trust_state WHERE trust_id = ?", args![id]).await?;
        tx.run(
            "INSERT INTO vicar_trust_state (trust_id, ended_at, reason) VALUES (?, ?, ?)",
            args![id, now, reason],
        )
        .await?;
        let event = Event { trust: Some(id.clone()), issued_before: now, ..Event::default() };
        facts::revoke(tx, &event, now).await?;
        keypairs::sql::delete_of_trust(tx, id, permit).await?;
    }
    Ok(all)
}

/// Ends every trust that fits a condition on `t`, each with what is below it.
async fn all_where(
    tx: &mut Tx,
    build: impl FnOnce(&mut Select),
    why: Why,
    now: Micros,
    permit: &Permit,
) -> Result<()> {
    let found = facts::trusts_where(tx, |q| {
        q.and("t.deleted_at IS NULL", &[]);
        build(q);
    })
    .await?;
    for trust in found {
        subtree(tx, &trust.id, why, now, permit).await?;
    }
    Ok(())
}

/// A user is about to be deleted: ends every trust in which he takes part, with all below, and
/// removes his credentials.
pub async fn user_gone(tx: &mut Tx, user: &str, now: Micros, permit: &Permit) -> Result<()> {
    let takes_part = |q: &mut Select| {
        q.and("(t.trustor_user_id = ? OR t.trustee_user_id = ?)", args![user, user]);
    };
    all_where(tx, takes_part, Why::AgentGone, now, permit).await?;
    keypairs::sql::delete_credentials(tx, "user_id", user, permit).await
}

/// A project is about to be deleted: ends every trust on it and removes its credentials.
pub async fn project_gone(tx: &mut Tx, project: &str, now: Micros, permit: &Permit) -> Result<()> {
    let on_it = |q: &mut Select| {
        q.and("t.project_id = ?", args![project]);
    };
    all_where(tx, on_it, Why::ProjectGone, now, permit).await?;
    keypairs::sql::delete_credentials(tx, "project_id", project, permit).await
}
