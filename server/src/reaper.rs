//! What grows by itself is cut back by itself: every `[delegation] reap_interval` seconds, trusts that are
//! over are ended with all below them, what ended longer than `[delegation] retention` ago is removed, and
//! revocations and fingerprints go that can concern no token any more.
//!
//! Nothing depends on it: a trust that is over yields nothing from the instant on, reaped or not.

use std::sync::Arc;
use std::time::Duration;

use vicar_rules::Micros;

use crate::app::App;
use crate::args;
use crate::error::{Error, Result};
use crate::http::Permit;
use crate::resources::trusts::flush::{self, Which};
use crate::store::{DateTime, Patience, Tx};

/// What one round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Round {
    /// Trusts that ended.
    pub ended: usize,
    /// Trusts that were removed.
    pub purged: usize,
    /// Keypairs without a trust that were removed.
    pub keypairs: usize,
    /// Revocations that were forgotten.
    pub revocations: u64,
}

/// Goes round until it is dropped. A round that fails is logged, and the next one tries again.
pub async fn forever(app: Arc<App>) {
    let Ok(pause) = u64::try_from(app.config.reap_interval) else { return };
    if pause == 0 {
        return;
    }
    loop {
        match round(&app).await {
            Ok(done) if done == Round::default() => {}
            Ok(done) => tracing::info!(
                ended = done.ended,
                purged = done.purged,
                keypairs = done.keypairs,
                revocations = done.revocations,
                "reaped"
            ),
            Err(e) => tracing::warn!(
                error = e.detail().unwrap_or("refused"),
                "the reaper's round failed; the next one tries again"
            ),
        }
        tokio::time::sleep(Duration::from_micros(pause)).await;
    }
}

/// One round, in transactions of a size that keeps nobody waiting.
pub async fn round(app: &App) -> Result<Round> {
    let permit = Permit::own("the reaper ends what is over by its own terms");
    let now = app.clock.now();
    let mut done = Round { ended: end_all(app, &Which::default(), now, &permit).await?, ..Round::default() };
    done.purged =
        purge_all(app, &Which::default(), now.saturating_sub(app.config.retention), &permit).await?;
    done.keypairs = remove_rest(app, &permit).await?;
    done.revocations = patiently(app, Chore::Forget(now), &permit).await? as u64;
    let dead = flush::count(&mut app.store.read().await?, now).await?;
    app.metrics.dead_trusts.set(i64::try_from(dead.trusts()).unwrap_or(i64::MAX));
    app.metrics.trusts_ended.inc_by(done.ended as u64);
    Ok(done)
}

/// What is done in one transaction.
#[derive(Debug, Clone, Copy)]
enum Chore<'a> {
    /// Ends some trusts that are over.
    End(&'a Which, Micros),
    /// Removes some that ended long enough ago.
    Purge(&'a Which, Micros),
    /// Removes what hangs on no trust any more.
    Rest,
    /// Forgets revocations.
    Forget(Micros),
}

/// Does it, and again when another transaction was in its way; says how much was done.
async fn patiently(app: &App, chore: Chore<'_>, permit: &Permit) -> Result<usize> {
    let mut patience = Patience::default();
    loop {
        match once(app, chore, permit).await {
            Err(Error::Again(_)) if patience.again().await => {}
            done => return done,
        }
    }
}

async fn once(app: &App, chore: Chore<'_>, permit: &Permit) -> Result<usize> {
    let mut tx = app.store.write().await?;
    let done = match chore {
        Chore::End(which, now) => flush::end_some(&mut tx, which, now, permit).await?,
        Chore::Purge(which, cutoff) => flush::purge_some(&mut tx, which, cutoff, permit).await?,
        Chore::Rest => {
            flush::remove_leftovers(&mut tx, permit).await?;
            flush::remove_orphaned_keypairs(&mut tx, permit).await?
        }
        Chore::Forget(now) => usize::try_from(prune(&mut tx, app, now, permit).await?).unwrap_or(usize::MAX),
    };
    tx.commit().await?;
    Ok(done)
}

/// Does it until nothing is left to do.
async fn all(app: &App, chore: Chore<'_>, permit: &Permit) -> Result<usize> {
    let mut done = 0;
    loop {
        match patiently(app, chore, permit).await? {
            0 => return Ok(done),
            some => done += some,
        }
    }
}

/// Ends every trust that is over.
pub async fn end_all(app: &App, which: &Which, now: Micros, permit: &Permit) -> Result<usize> {
    all(app, Chore::End(which, now), permit).await
}

/// Removes every ended trust that ended at or before `cutoff`.
pub async fn purge_all(app: &App, which: &Which, cutoff: Micros, permit: &Permit) -> Result<usize> {
    all(app, Chore::Purge(which, cutoff), permit).await
}

/// Removes what hangs on no trust any more; says how many keypairs that were.
pub async fn remove_rest(app: &App, permit: &Permit) -> Result<usize> {
    patiently(app, Chore::Rest, permit).await
}

/// Forgets revocations and fingerprints that are of no use any more. Keystone forgets a revocation once
/// tokens from before it have expired; but for `[token] allow_expired_window` longer a service may still
/// ask about such a token, and a revoked one must be refused then too.
async fn prune(tx: &mut Tx, app: &App, now: Micros, _permit: &Permit) -> Result<u64> {
    let c = &app.config;
    let needed = c
        .token_expiration
        .saturating_add(c.allow_expired_window.max(0))
        .saturating_add(c.revoke_buffer.max(0));
    tx.run("DELETE FROM vicar_replay WHERE seen_until < ?", args![now]).await?;
    let gone = tx
        .run("DELETE FROM revocation_event WHERE revoked_at < ?", args![DateTime(now.saturating_sub(needed))])
        .await?;
    Ok(gone)
}
