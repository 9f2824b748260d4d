//! What grows by itself is cut back by itself: every `[delegation] reap_interval` seconds, trusts that are
//! over are ended with all below them, what ended longer than `[delegation] retention` ago is removed, and
//! revocations, losses of roles and fingerprints go that can concern no token any more.
//!
//! Nothing depends on it: a trust that is over yields nothing from the instant on, reaped or not.

use std::sync::Arc;
use std::time::Duration;

use vicar_rules::Micros;

use crate::app::App;
use crate::args;
use crate::error::{Error, Result};
use crate::resources::trusts::flush::{self, Which};
use crate::store::schema::Dialect;
use crate::store::{Backoff, DateTime, Delete, WriteTx};
use crate::system::System;

/// What one sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Trusts that ended.
    pub ended: usize,
    /// Trusts that were removed.
    pub purged: usize,
    /// Keypairs without a trust that were removed.
    pub keypairs: usize,
    /// Revocations and losses of roles that were forgotten.
    pub revocations: u64,
}

/// Sweeps until it is dropped. A sweep that fails is logged, and the next one tries again.
pub async fn forever(app: Arc<App>) {
    let Ok(pause) = u64::try_from(app.config.reap_interval) else { return };
    if pause == 0 {
        return;
    }
    loop {
        match sweep(&app).await {
            Ok(done) if done == Sweep::default() => {}
            Ok(done) => tracing::info!(
                ended = done.ended,
                purged = done.purged,
                keypairs = done.keypairs,
                revocations = done.revocations,
                "reaped"
            ),
            Err(e) => tracing::warn!(
                error = e.detail().unwrap_or("refused"),
                "the reaper's sweep failed; the next one tries again"
            ),
        }
        tokio::time::sleep(Duration::from_micros(pause)).await;
    }
}

/// One sweep, in transactions of a size that keeps nobody waiting.
pub async fn sweep(app: &App) -> Result<Sweep> {
    let by = System::Reaper;
    let now = app.clock.now();
    let mut done = Sweep { ended: end_all(app, &Which::default(), now, by).await?, ..Sweep::default() };
    done.purged = purge_all(app, &Which::default(), now.saturating_sub(app.config.retention), by).await?;
    done.keypairs = remove_rest(app, by).await?;
    done.revocations = with_retry(app, Task::Forget(now), by).await? as u64;
    let store = app.store.clone();
    let dead = aside(app, async move { flush::count(&mut store.read().await?, now).await }).await?;
    app.metrics.dead_trusts.set(i64::try_from(dead.trusts()).unwrap_or(i64::MAX));
    app.metrics.trusts_ended.inc_by(done.ended as u64);
    Ok(done)
}

/// What is done in one transaction.
#[derive(Debug, Clone, Copy)]
enum Task<'a> {
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
async fn with_retry(app: &App, chore: Task<'_>, by: System) -> Result<usize> {
    let mut backoff = Backoff::default();
    loop {
        match once(app, chore, by).await {
            Err(Error::Retry(_)) if backoff.again().await => {}
            done => return done,
        }
    }
}

/// Reads what takes as long as the trusts are many. SQLite works on the thread that asks: then it is one on
/// which no request waits.
async fn aside<T: Send + 'static>(
    app: &App,
    read: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    if app.store.dialect() != Dialect::Sqlite {
        return read.await;
    }
    let here = tokio::runtime::Handle::current();
    let read = tokio::task::spawn_blocking(move || here.block_on(read));
    read.await.map_err(|e| Error::Internal(format!("the reaper's reading ended: {e}")))?
}

/// Finds what there is to do before it takes the writer, and looks at each once more when it has it.
async fn once(app: &App, chore: Task<'_>, by: System) -> Result<usize> {
    let store = app.store.clone();
    match chore {
        Task::End(which, now) => {
            let of = which.clone();
            let found =
                aside(app, async move { flush::over_some(&mut store.read().await?, &of, now).await }).await?;
            if found.is_empty() {
                return Ok(0);
            }
            let mut tx = app.store.write().await?;
            let found: Vec<&str> = found.iter().map(String::as_str).collect();
            let done = flush::end_those(&mut tx, &by, &found, now).await?;
            tx.commit().await?;
            Ok(done)
        }
        Task::Purge(which, cutoff) => {
            let of = which.clone();
            let found =
                aside(app, async move { flush::ended_some(&mut store.read().await?, &of, cutoff).await })
                    .await?;
            if found.is_empty() {
                return Ok(0);
            }
            let mut tx = app.store.write().await?;
            let done = flush::purge_those(&mut tx, &by, which, &found, cutoff).await?;
            tx.commit().await?;
            Ok(done)
        }
        Task::Rest => {
            let rest = aside(app, async move { flush::rest(&mut store.read().await?).await }).await?;
            if rest.is_empty() {
                return Ok(0);
            }
            let mut tx = app.store.write().await?;
            let done = flush::remove_rest(&mut tx, &by, &rest).await?;
            tx.commit().await?;
            Ok(done)
        }
        Task::Forget(now) => {
            let mut tx = app.store.write().await?;
            let done = prune(&mut tx, app, now, by).await?;
            tx.commit().await?;
            Ok(usize::try_from(done).unwrap_or(usize::MAX))
        }
    }
}

/// Does it until nothing is left to do.
async fn all(app: &App, chore: Task<'_>, by: System) -> Result<usize> {
    let mut done = 0;
    loop {
        match with_retry(app, chore, by).await? {
            0 => return Ok(done),
            some => done += some,
        }
    }
}

/// Ends every trust that is over.
pub async fn end_all(app: &App, which: &Which, now: Micros, by: System) -> Result<usize> {
    all(app, Task::End(which, now), by).await
}

/// Removes every ended trust that ended at or before `cutoff`.
pub async fn purge_all(app: &App, which: &Which, cutoff: Micros, by: System) -> Result<usize> {
    all(app, Task::Purge(which, cutoff), by).await
}

/// Removes what hangs on no trust any more; says how many keypairs that were.
pub async fn remove_rest(app: &App, by: System) -> Result<usize> {
    with_retry(app, Task::Rest, by).await
}

/// Forgets revocations, losses of roles and fingerprints that are of no use any more. Keystone forgets a revocation once
/// tokens from before it have expired; but for `[token] allow_expired_window` longer a service may still
/// ask about such a token, and a revoked one must be refused then too.
async fn prune(tx: &mut WriteTx, app: &App, now: Micros, by: System) -> Result<u64> {
    let c = &app.config;
    let needed = c
        .token_expiration
        .saturating_add(c.allow_expired_window.max(0))
        .saturating_add(c.revoke_buffer.max(0));
    let since = now.saturating_sub(needed);
    tx.execute(&by, &Delete::from("vicar_replay").and("seen_until < ?", args![now])).await?;
    let losses = Delete::from("vicar_role_loss").and("lost_at < ?", args![since]);
    let events = Delete::from("revocation_event").and("revoked_at < ?", args![DateTime(since)]);
    let gone = tx.execute(&by, &events).await?.saturating_add(tx.execute(&by, &losses).await?);
    Ok(gone)
}
