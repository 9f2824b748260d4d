//! What is alive and nobody has used for long, for operators: `vicar trust unused`.

use vicar_rules::Micros;
use vicar_rules::application_credential::ApplicationCredential;

use crate::args;
use crate::error::Result;
use crate::facts::evidence::{Evidence, Evidences, Kind, unused};
use crate::facts::{self, application_credentials};
use crate::living;
use crate::resources::keypairs;
use crate::resources::keypairs::sql::{BOUND, PLAIN, find};
use crate::store::{Batch, Select, Tx};

/// One that was not used.
#[derive(Debug, Clone)]
pub struct Unused {
    /// What it is.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// Who delegates: of keypairs and application credentials the owner.
    pub trustor: String,
    /// Who acts with it: of a trust, or a trust's keypair, the trustee.
    pub trustee: Option<String>,
    /// Its project.
    pub project: Option<String>,
    /// What is known of it.
    pub evidence: Evidence,
}

/// Those of a kind among so many rows after the one with this id, and the last of these if more may follow.
///
/// # Errors
/// When the database fails.
pub async fn page(
    tx: &mut Tx,
    kind: Kind,
    (since, now): (Micros, Micros),
    after: Option<String>,
) -> Result<(Vec<Unused>, Option<String>)> {
    let batch = Batch::after(after, ROWS);
    let mut q = Select::new(&format!("SELECT x.id FROM {} x", kind.table()));
    match kind {
        Kind::Trust => q.and(living!("x"), &[]),
        Kind::Keypair => q.id_in("x.type", [PLAIN, BOUND]),
        Kind::ApplicationCredential => q.and("(x.expires_at IS NULL OR x.expires_at > ?)", args![now]),
    };
    unused(&mut q, kind, "x.id", since);
    let ids: Vec<String> = q.batch("x.id", &batch).map(tx, |r| r.take()).await?;
    let last = ids.last().filter(|_| ids.len() >= batch.rows()).cloned();
    let evidence = Evidences::of(tx, kind, &ids).await?;
    let mut found = match kind {
        Kind::Trust => trusts(tx, &ids, now).await?,
        Kind::Keypair => of_keypairs(tx, &ids, now).await?,
        Kind::ApplicationCredential => credentials(tx, &ids).await?,
    };
    for one in &mut found {
        one.evidence = evidence.get(&one.id).cloned().unwrap_or_default();
    }
    Ok((found, last))
}

/// So many rows are read at once.
const ROWS: usize = 200;

async fn trusts(tx: &mut Tx, ids: &[String], now: Micros) -> Result<Vec<Unused>> {
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let implications = facts::implications(tx).await?;
    let chains = facts::chains(tx, &ids).await?;
    let all = facts::evaluate_all(tx, chains, now, &implications).await?;
    let living = all.iter().filter(|trust| !trust.status().ended()).map(|trust| trust.chain().leaf());
    let shown = living.map(|trust| Unused {
        kind: Kind::Trust,
        id: trust.id.clone(),
        trustor: trust.trustor.clone(),
        trustee: Some(trust.trustee.clone()),
        project: trust.project.clone(),
        evidence: Evidence::default(),
    });
    Ok(shown.collect())
}

async fn of_keypairs(tx: &mut Tx, ids: &[String], now: Micros) -> Result<Vec<Unused>> {
    let all = find(tx, |q| {
        q.id_in("c.id", ids);
    })
    .await?;
    let all = keypairs::with_trusts(tx, all, now).await?;
    let living = all.into_iter().filter(|keypair| !keypair.is_dead(now));
    let shown = living.map(|keypair| Unused {
        kind: Kind::Keypair,
        trustee: keypair.trustee().map(str::to_owned),
        id: keypair.credential.id,
        trustor: keypair.credential.user_id,
        project: keypair.credential.project_id,
        evidence: Evidence::default(),
    });
    Ok(shown.collect())
}

async fn credentials(tx: &mut Tx, ids: &[String]) -> Result<Vec<Unused>> {
    let all = application_credentials::find(tx, |q| {
        q.id_in("c.id", ids).end("ORDER BY c.id");
    })
    .await?;
    let shown = all.into_iter().map(|stored| {
        let ApplicationCredential { id, user, project, .. } = stored.credential;
        Unused {
            kind: Kind::ApplicationCredential,
            id,
            trustor: user,
            trustee: None,
            project,
            evidence: Evidence::default(),
        }
    });
    Ok(shown.collect())
}
