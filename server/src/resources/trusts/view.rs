//! Trees of delegations as their owners see them. Reading never depends on liveness.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use vicar_rules::Micros;
use vicar_rules::delegation::{Standing, Trust};

use crate::args;
use crate::clock;
use crate::error::Result;
use crate::facts::{self, EvaluatedTrust};
use crate::resources::keypairs::sql::{self as keypairs, BoundTo};
use crate::store::Tx;

/// Evaluates stored trusts, each in its chain.
pub async fn evaluate(tx: &mut Tx, trusts: &[Trust], now: Micros) -> Result<Vec<EvaluatedTrust>> {
    let ids: Vec<&str> = trusts.iter().map(|t| t.id.as_str()).collect();
    let chains = facts::chains(tx, &ids).await?;
    let implications = facts::implications(tx).await?;
    Ok(facts::evaluate_all(tx, chains, now, &implications).await?)
}

/// The state's word. A trust that the reaper has ended shows why it ended, not that it was reaped.
pub fn word<'a>(standing: &Standing, recorded: Option<&'a str>) -> &'a str {
    match (standing.word(), recorded) {
        ("deleted", Some(r @ ("expired" | "exhausted" | "broken"))) => r,
        (w, _) => w,
    }
}

/// Roles of several trusts by id and name.
async fn role_names(tx: &mut Tx) -> Result<BTreeMap<String, String>> {
    Ok(tx.map("SELECT id, name FROM role", &[], |r| Ok((r.take()?, r.take()?))).await?.into_iter().collect())
}

/// One link as a tree shows it.
struct LineageView {
    roles: BTreeMap<String, String>,
    reasons: BTreeMap<String, String>,
    keypairs: Vec<BoundTo>,
}

impl LineageView {
    async fn over(tx: &mut Tx, ids: &[&str]) -> Result<Self> {
        Ok(Self {
            roles: role_names(tx).await?,
            reasons: super::sql::reasons(tx, ids).await?,
            keypairs: keypairs::of_trusts(tx, ids).await?,
        })
    }

    fn role(&self, id: &String) -> Value {
        json!({"id": id, "name": self.roles.get(id)})
    }

    fn keypair(&self, k: &BoundTo) -> Value {
        json!({
            "access": k.access,
            "expires_at": k.until.to_option().map(clock::iso),
            "roles": k.roles.as_ref().map(|r| r.iter().map(|id| self.role(id)).collect::<Vec<_>>()),
        })
    }

    fn link(&self, j: &EvaluatedTrust) -> Value {
        let t = j.chain().leaf();
        let recorded = self.reasons.get(&t.id).map(String::as_str);
        let roles: Vec<Value> = t.roles.iter().map(|id| self.role(id)).collect();
        let keypairs: Vec<Value> =
            self.keypairs.iter().filter(|k| k.trust_id == t.id).map(|k| self.keypair(k)).collect();
        json!({
            "id": t.id,
            "depth": j.chain().links().len() - 1,
            "trustor_user_id": t.trustor,
            "trustee_user_id": t.trustee,
            "project_id": t.project,
            "impersonation": t.impersonation,
            "roles": roles,
            "expires_at": t.until.to_option().map(clock::iso),
            "remaining_uses": t.remaining_uses,
            "redelegated_trust_id": t.parent,
            "redelegation_count": t.hops,
            "keypairs": keypairs,
            "state": word(j.standing(), recorded),
            "reason": j.standing().reason().or_else(|| recorded.map(str::to_owned)),
        })
    }
}

/// Ancestors up to the root, the trust itself, and the subtree below, in the order of depth.
pub async fn lineage(tx: &mut Tx, now: Micros, of: &EvaluatedTrust) -> Result<Value> {
    let id = &of.chain().leaf().id;
    let below: Vec<Trust> = facts::subtree(tx, id).await?.into_iter().filter(|t| t.id != *id).collect();
    let above = evaluate(tx, of.chain().links(), now).await?;
    let mut below = evaluate(tx, &below, now).await?;
    below.sort_by_key(|j| (j.chain().links().len(), j.chain().leaf().id.clone()));
    let ids: Vec<&str> = above.iter().chain(&below).map(|j| j.chain().leaf().id.as_str()).collect();
    let view = LineageView::over(tx, &ids).await?;
    let show = |all: &[EvaluatedTrust]| all.iter().map(|j| view.link(j)).collect::<Vec<_>>();
    Ok(json!({
        "trust_id": id,
        "ancestors": show(&above[..above.len().saturating_sub(1)]),
        "trust": view.link(of),
        "subtree": show(&below),
    }))
}

/// What a deletion would end.
pub async fn would_end(tx: &mut Tx, id: &str) -> Result<Value> {
    let falls: Vec<Trust> =
        facts::subtree(tx, id).await?.into_iter().filter(|t| t.deleted_at.is_none()).collect();
    let ids: Vec<&str> = falls.iter().map(|t| t.id.as_str()).collect();
    let keypairs: Vec<Value> = keypairs::of_trusts(tx, &ids)
        .await?
        .iter()
        .map(|k| json!({"access": k.access, "trust_id": k.trust_id}))
        .collect();
    let trusts: Vec<Value> = falls
        .iter()
        .map(|t| {
            json!({
                "id": t.id,
                "trustor_user_id": t.trustor,
                "trustee_user_id": t.trustee,
                "redelegated_trust_id": t.parent,
            })
        })
        .collect();
    Ok(json!({"trusts": trusts, "keypairs": keypairs}))
}

/// Both sides of a user: what acts for them at any depth, and for whom they act.
pub async fn delegations(tx: &mut Tx, now: Micros, user: &str) -> Result<Map<String, Value>> {
    let roots = facts::trusts_where(tx, |q| {
        q.and("t.trustor_user_id = ?", args![user]);
    })
    .await?;
    let mut seen = BTreeSet::new();
    let mut acting = Vec::new();
    for root in roots {
        for t in facts::subtree(tx, &root.id).await? {
            if seen.insert(t.id.clone()) {
                acting.push(t);
            }
        }
    }
    let acts = facts::trusts_where(tx, |q| {
        q.and("t.trustee_user_id = ?", args![user]);
    })
    .await?;
    let living =
        |all: Vec<EvaluatedTrust>| all.into_iter().filter(|j| !j.standing().ended()).collect::<Vec<_>>();
    let acting = living(evaluate(tx, &acting, now).await?);
    let acts = living(evaluate(tx, &acts, now).await?);
    let ids: Vec<&str> = acting.iter().chain(&acts).map(|j| j.chain().leaf().id.as_str()).collect();
    let view = LineageView::over(tx, &ids).await?;
    let own = keypairs::find(tx, |q| {
        q.and("c.user_id = ? AND c.type = ?", args![user, keypairs::PLAIN]);
    })
    .await?;
    let application_credentials = tx
        .map(
            "SELECT id, name, project_id, expires_at FROM application_credential WHERE user_id = ?",
            args![user],
            |r| {
                let (id, name): (String, String) = (r.take()?, r.take()?);
                let (project, until): (Option<String>, Option<i64>) = (r.take()?, r.take()?);
                Ok(json!({
                    "id": id, "name": name, "project_id": project, "expires_at": until.map(clock::iso),
                }))
            },
        )
        .await?;
    let mut out = Map::new();
    let show = |all: &[EvaluatedTrust]| Value::from(all.iter().map(|j| view.link(j)).collect::<Vec<_>>());
    out.insert("acting_for_user".into(), show(&acting));
    out.insert("user_acts_for".into(), show(&acts));
    let plain: Vec<Value> =
        own.iter().map(|c| json!({"credential_id": c.id, "project_id": c.project_id})).collect();
    out.insert("keypairs".into(), plain.into());
    out.insert("application_credentials".into(), application_credentials.into());
    Ok(out)
}
