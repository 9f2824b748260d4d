//! What is written of a trust after it was made: that it is suspended, resumed, or rests on somebody else.
//!
//! A Keystone on the same database must give no more than we do, so a trust of which such a thing is recorded is apart, with all below
//! it: see `facts/terms.rs`. What is apart for nothing else comes back when a suspension is over.

use std::collections::BTreeMap;

use vicar_rules::Micros;
use vicar_rules::delegation::{Adoption, Adopts, Chain, Name, Resumes, Suspends, Trust};

use super::end::EndsTrusts;
use super::sql::is_apart;
use crate::error::{Error, Result};
use crate::facts::{self, EvaluatedTrust, terms};
use crate::resources::keypairs;
use crate::store::{DateTime, Delete, Insert, Update, Value, WriteTx};

/// So many rows are written by one statement.
const AT_ONCE: usize = 100;

/// Records a suspension, and ends all tokens of the trust and of what is below it.
///
/// # Errors
/// 409 when the trust's terms cannot be read, otherwise when the database fails.
pub async fn suspend(
    tx: &mut WriteTx,
    proof: &impl EndsTrusts,
    trust: &EvaluatedTrust,
    done: &Suspends,
) -> Result<()> {
    let suspension = Some(done.suspension().clone());
    let all = lasting(tx, trust.chain()).await?;
    rewrite(tx, proof, trust.chain(), &all, |trust| trust.suspension = suspension).await?;
    end_tokens(tx, proof, &all)
}

/// Takes a suspension back.
///
/// # Errors
/// As [`suspend`].
pub async fn resume(
    tx: &mut WriteTx,
    proof: &impl EndsTrusts,
    trust: &EvaluatedTrust,
    _done: Resumes,
) -> Result<()> {
    let all = lasting(tx, trust.chain()).await?;
    rewrite(tx, proof, trust.chain(), &all, |trust| trust.suspension = None).await
}

/// Records that a trust rests on somebody else, and ends all tokens and keypairs of the trust and of what is below it: the trustor may
/// know secrets of theirs, and new ones are made within the ceilings that hold now.
///
/// # Errors
/// As [`suspend`].
pub async fn adopt(
    tx: &mut WriteTx,
    proof: &impl EndsTrusts,
    trust: &EvaluatedTrust,
    done: &Adopts,
    now: Micros,
) -> Result<()> {
    let root = trust.chain().leaf();
    let trustor = match (&root.adoption, trust.users.get(&root.trustor)) {
        (Some(before), _) => before.trustor.clone(),
        (None, Some(user)) => Name {
            name: user.name.clone(),
            domain_id: user.domain_id.clone(),
            domain_name: user.domain_name.clone(),
        },
        (None, None) => return Err(Error::NotFound("user", root.trustor.clone())),
    };
    let adopter = done.adopter();
    let adoption = Adoption { by: adopter.to_owned(), at: now, trustor };
    let all = lasting(tx, trust.chain()).await?;
    // By impersonation all along the trustor's name is passed on, at any depth.
    let (mut named, mut owned) = (Vec::<String>::new(), Vec::new());
    for trust in &all {
        if trust.id == root.id || trust.parent.as_ref().is_some_and(|above| named.contains(above)) {
            owned.push(trust.id.as_str());
            if trust.impersonation {
                named.push(trust.id.clone());
            }
        }
    }
    let ids: Vec<String> = all.iter().map(|trust| trust.id.clone()).collect();
    let keypairs = keypairs::sql::ids_of_trusts(tx, &ids).await?;
    rewrite(tx, proof, trust.chain(), &all, |trust| trust.adoption = Some(adoption)).await?;
    for some in owned.chunks(AT_ONCE) {
        tx.execute(proof, &Delete::from("vicar_adoption").key_in("trust_id", some.iter().copied())).await?;
        let rows = some.iter().fold(Insert::into("vicar_adoption"), |rows, id| {
            rows.row().set("trust_id", *id).set("user_id", adopter)
        });
        tx.execute(proof, &rows).await?;
    }
    keypairs::sql::delete_bound(tx, proof, &keypairs).await?;
    end_tokens(tx, proof, &all)
}

fn end_tokens(tx: &mut WriteTx, proof: &impl EndsTrusts, all: &[Trust]) -> Result<()> {
    let ids: Vec<String> = all.iter().map(|trust| trust.id.clone()).collect();
    Ok(facts::revoke_trusts(tx, proof, &ids)?)
}

/// The last trust of a chain and those below that nobody has deleted, parents first.
async fn lasting(tx: &mut WriteTx, chain: &Chain) -> Result<Vec<Trust>> {
    let all = facts::subtree(tx, &chain.leaf().id).await?;
    Ok(all.into_iter().filter(|trust| trust.deleted_at.is_none()).collect())
}

/// Changes what is recorded of the last trust of a chain, and brings `all` below it to the same form.
async fn rewrite(
    tx: &mut WriteTx,
    proof: &impl EndsTrusts,
    chain: &Chain,
    all: &[Trust],
    change: impl FnOnce(&mut Trust),
) -> Result<()> {
    let id = &chain.leaf().id;
    let Some(own) = all.first().filter(|trust| trust.id == *id) else {
        return Err(Error::NotFound("trust", id.clone()));
    };
    // What a newer version recorded would be lost.
    if own.terms.is_none() {
        return Err(Error::Conflict("the terms of the trust cannot be read by this version".into()));
    }
    let mut changed = own.clone();
    change(&mut changed);
    let above = chain.links().iter().rev().skip(1);
    let was_below = above.clone().any(is_apart);
    tx.execute(proof, &Delete::from("vicar_trust_terms").key("trust_id", id)).await?;
    if let Some(text) = terms::write(&changed, was_below) {
        let row = Insert::into("vicar_trust_terms").set("trust_id", id).set("terms", text);
        tx.execute(proof, &row).await?;
    }
    let is_now = was_below || is_apart(&changed);
    mark(tx, proof, &[id.as_str()], is_now).await?;
    // Those below that have nothing of their own, and nothing between.
    let was = was_below || is_apart(own);
    if was != is_now {
        let mut plain: BTreeMap<&str, bool> = [(id.as_str(), true)].into();
        for trust in all.iter().skip(1) {
            let is_plain_above = trust.parent.as_deref().is_some_and(|p| plain.get(p) == Some(&true));
            plain.insert(&trust.id, is_plain_above && !is_apart(trust));
        }
        plain.remove(id.as_str());
        let ids: Vec<&str> = plain.into_iter().filter_map(|(id, is_plain)| is_plain.then_some(id)).collect();
        for some in ids.chunks(AT_ONCE) {
            tx.execute(proof, &Delete::from("vicar_trust_terms").key_in("trust_id", some.iter().copied()))
                .await?;
            if is_now {
                let rows = some.iter().fold(Insert::into("vicar_trust_terms"), |rows, id| {
                    rows.row().set("trust_id", *id).set("terms", "{}")
                });
                tx.execute(proof, &rows).await?;
            }
            mark(tx, proof, some, is_now).await?;
        }
    }
    Ok(())
}

/// Sets whether some trusts are deleted to a Keystone.
async fn mark(tx: &mut WriteTx, proof: &impl EndsTrusts, ids: &[&str], apart: bool) -> Result<()> {
    let at: Value = if apart { DateTime(terms::APART).into() } else { Value::Null };
    let row = Update::of("trust").set("deleted_at", at).key_in("id", ids.iter().copied());
    tx.execute(proof, &row).await?;
    Ok(())
}
