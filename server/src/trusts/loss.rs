//! Roles that are taken away. A trust whose roles are no longer held is suspended, and revives when
//! they come back; its tokens must not. So a change that can take roles away is framed by
//! [`before`] and [`Before::after`], which record what fell silent in between as revoked.

use vicar_rules::Micros;
use vicar_rules::revocation::Event;

use crate::authority;
use crate::error::Result;
use crate::store::Tx;

/// Whose roles a change can touch.
#[derive(Debug, Clone, Copy)]
pub enum Affected<'a> {
    /// Those of these users.
    Users(&'a [String]),
    /// Possibly everybody's: a role, an implication, a group of many.
    Everybody,
}

/// The trusts that were live before a change.
#[derive(Debug)]
pub struct Before(Vec<String>);

/// Looks which trusts of the affected trustors are live, at any depth.
pub async fn before(tx: &mut Tx, affected: Affected<'_>, now: Micros) -> Result<Before> {
    let roots = authority::trusts_where(tx, |q| {
        q.and("t.deleted_at IS NULL AND t.redelegated_trust_id IS NULL", &[]);
        match affected {
            Affected::Users(ids) => {
                q.is_in("t.trustor_user_id", ids.iter().map(String::as_str));
            }
            Affected::Everybody => {}
        }
    })
    .await?;
    let mut ids = Vec::new();
    for root in roots {
        let below = authority::subtree(tx, &root.id).await?;
        ids.extend(below.into_iter().filter(|t| t.deleted_at.is_none()).map(|t| t.id));
    }
    Ok(Before(live(tx, &ids, now).await?))
}

async fn live(tx: &mut Tx, ids: &[String], now: Micros) -> Result<Vec<String>> {
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let chains = authority::chains(tx, &ids).await?;
    let implications = authority::implications(tx).await?;
    let judged = authority::judge_all(tx, chains, now, &implications).await?;
    Ok(judged
        .into_iter()
        .filter(|j| j.standing.live().is_some())
        .map(|j| j.chain.leaf().id.clone())
        .collect())
}

impl Before {
    /// Looks again, and revokes the tokens of every trust that fell silent.
    pub async fn after(self, tx: &mut Tx, now: Micros) -> Result<()> {
        let still = live(tx, &self.0, now).await?;
        for trust in self.0.into_iter().filter(|id| !still.contains(id)) {
            let event = Event { trust: Some(trust), issued_before: now, ..Event::default() };
            authority::revoke(tx, &event, now).await?;
        }
        Ok(())
    }
}
