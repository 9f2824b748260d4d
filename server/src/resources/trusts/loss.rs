//! Roles that are taken away. A trust whose roles are no longer held is suspended, and revives when
//! they come back; its tokens must not. So a change that can take roles away is framed by
//! [`before`] and [`Before::after`], which record what fell silent in between as revoked.

use std::collections::BTreeMap;

use vicar_rules::Micros;
use vicar_rules::revocation::Event;
use vicar_rules::roles::RoleSet;

use crate::error::Result;
use crate::facts;
use crate::store::{Proof, Tx, WriteTx};

/// Whose roles a change can touch.
#[derive(Debug, Clone, Copy)]
pub enum Affected<'a> {
    /// Those of these users.
    Users(&'a [String]),
    /// Possibly everybody's: a role, an implication, a group of many.
    Everybody,
}

/// The trusts that were live before a change, with what they gave.
#[derive(Debug)]
pub struct Before {
    live: BTreeMap<String, RoleSet>,
    now: Micros,
}

/// Looks which trusts of the affected trustors are live, at any depth.
pub async fn before(tx: &mut Tx, affected: Affected<'_>, now: Micros) -> Result<Before> {
    let roots = facts::trusts_where(tx, |q| {
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
        let below = facts::subtree(tx, &root.id).await?;
        ids.extend(below.into_iter().filter(|t| t.deleted_at.is_none()).map(|t| t.id));
    }
    Ok(Before { live: live(tx, &ids, now).await?, now })
}

async fn live(tx: &mut Tx, ids: &[String], now: Micros) -> Result<BTreeMap<String, RoleSet>> {
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let chains = facts::chains(tx, &ids).await?;
    let implications = facts::implications(tx).await?;
    let evaluated = facts::evaluate_all(tx, chains, now, &implications).await?;
    Ok(evaluated
        .into_iter()
        .filter_map(|j| Some((j.chain().leaf().id.clone(), j.standing().live()?.roles.clone())))
        .collect())
}

impl Before {
    /// Looks again, and revokes the tokens of every trust that fell silent or gives less: a keypair of
    /// it may have rested on just that.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn after(self, tx: &mut WriteTx, proof: &impl Proof) -> Result<()> {
        let ids: Vec<String> = self.live.keys().cloned().collect();
        let still = live(tx, &ids, self.now).await?;
        let lost = |id: &String, roles: &RoleSet| still.get(id).is_none_or(|now| !roles.is_subset(now));
        for (trust, _) in self.live.iter().filter(|(id, roles)| lost(id, roles)) {
            facts::revoke(tx, proof, Event { trust: Some(trust.clone()), ..Event::default() }).await?;
        }
        Ok(())
    }
}
