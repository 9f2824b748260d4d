//! Trees of delegations as their owners see them. Reading never depends on liveness.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use vicar_rules::Micros;
use vicar_rules::delegation::{Trust, TrustStatus};

use crate::args;
use crate::authority::{self, Judged};
use crate::clock;
use crate::error::Result;
use crate::http::Req;
use crate::keypairs::sql::{self as keypairs, BoundTo};
use crate::store::Tx;

/// Judges stored trusts, each in its chain.
pub async fn judge(tx: &mut Tx, trusts: &[Trust], now: Micros) -> Result<Vec<Judged>> {
    let ids: Vec<&str> = trusts.iter().map(|t| t.id.as_str()).collect();
    let chains = authority::chains(tx, &ids).await?;
    let implications = authority::implications(tx).await?;
    Ok(authority::judge_all(tx, chains, now, &implications).await?)
}

/// The state's word. A trust that the reaper has ended shows why it ended, not that it was reaped.
pub fn word<'a>(status: &TrustStatus, recorded: Option<&'a str>) -> &'a str {
    match (status.word(), recorded) {
        ("deleted", Some(r @ ("expired" | "exhausted" | "broken"))) => r,
        (w, _) => w,
    }
}

/// Roles of several trusts by id and name.
async fn role_names(tx: &mut Tx) -> Result<BTreeMap<String, String>> {
    Ok(tx.map("SELECT id, name FROM role", &[], |r| Ok((r.take()?, r.take()?))).await?.into_iter().collect())
}

/// One link as a tree shows it.
struct Painter {
    roles: BTreeMap<String, String>,
    reasons: BTreeMap<String, String>,
    keypairs: Vec<BoundTo>,
}

impl Painter {
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

    fn link(&self, j: &Judged) -> Value {
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
            "state": word(j.status(), recorded),
            "reason": j.status().reason().or_else(|| recorded.map(str::to_owned)),
        })
    }
}

/// Ancestors up to the root, the trust itself, and the subtree below, in the order of depth.
pub async fn lineage(tx: &mut Tx, req: &Req, of: &Judged) -> Result<Value> {
    let now = req.app.clock.now();
    let id = &of.chain().leaf().id;
    let below: Vec<Trust> = authority::subtree(tx, id).await?.into_iter().filter(|t| t.id != *id).collect();
    let above = judge(tx, of.chain().links(), now).await?;
    let mut below = judge(tx, &below, now).await?;
    below.sort_by_key(|j| (j.chain().links().len(), j.chain().leaf().id.clone()));
    let ids: Vec<&str> = above.iter().chain(&below).map(|j| j.chain().leaf().id.as_str()).collect();
    let painter = Painter::over(tx, &ids).await?;
    let paint = |all: &[Judged]| all.iter().map(|j| painter.link(j)).collect::<Vec<_>>();
    Ok(json!({
        "trust_id": id,
        "ancestors": paint(&above[..above.len().saturating_sub(1)]),
        "trust": painter.link(of),
        "subtree": paint(&below),
    }))
}

/// What a deletion would end.
pub async fn would_end(tx: &mut Tx, id: &str) -> Result<Value> {
    let falls: Vec<Trust> =
        authority::subtree(tx, id).await?.into_iter().filter(|t| t.deleted_at.is_none()).collect();
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

/// Both sides of a user: what acts for him at any depth, and for whom he acts.
pub async fn delegations(tx: &mut Tx, req: &Req, user: &str) -> Result<Map<String, Value>> {
    let now = req.app.clock.now();
    let roots = authority::trusts_where(tx, |q| {
        q.and("t.trustor_user_id = ?", args![user]);
    })
    .await?;
    let mut seen = BTreeSet::new();
    let mut acting = Vec::new();
    for root in roots {
        for t in authority::subtree(tx, &root.id).await? {
            if seen.insert(t.id.clone()) {
                acting.push(t);
            }
        }
    }
    let acts = authority::trusts_where(tx, |q| {
        q.and("t.trustee_user_id = ?", args![user]);
    })
    .await?;
    let living = |all: Vec<Judged>| all.into_iter().filter(|j| !j.status().ended()).collect::<Vec<_>>();
    let acting = living(judge(tx, &acting, now).await?);
    let acts = living(judge(tx, &acts, now).await?);
    let ids: Vec<&str> = acting.iter().chain(&acts).map(|j| j.chain().leaf().id.as_str()).collect();
    let painter = Painter::over(tx, &ids).await?;
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
    let paint = |all: &[Judged]| Value::from(all.iter().map(|j| painter.link(j)).collect::<Vec<_>>());
    out.insert("acting_for_user".into(), paint(&acting));
    out.insert("user_acts_for".into(), paint(&acts));
    let plain: Vec<Value> =
        own.iter().map(|c| json!({"credential_id": c.id, "project_id": c.project_id})).collect();
    out.insert("keypairs".into(), plain.into());
    out.insert("application_credentials".into(), application_credentials.into());
    Ok(out)
}
