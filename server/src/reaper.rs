//! What grows by itself is cut back by itself: every `[delegation] reap_interval` seconds, trusts that are
//! over are ended with all below them, what ended longer than `[delegation] retention` ago is removed, and
//! revocations, losses of roles and fingerprints go that can concern no token any more. Besides, it tells of trusts that give
//! nothing soon.
//!
//! Nothing depends on it: a trust that is over yields nothing from the instant on, reaped or not.

use std::sync::Arc;
use std::time::Duration;

use vicar_rules::Micros;

use crate::app::App;
use crate::clock::{self, SECOND};
use crate::error::{Error, Result};
use crate::line::cut;
use crate::notifications::{self, Notice, What};
use crate::resources::trusts::flush::{self, Part, Search, Which};
use crate::resources::trusts::lapse::{self, Lapse};
use crate::security::{self, Event, Outcome};
use crate::store::schema::Dialect;
use crate::store::{Backoff, DateTime, Delete, Tx, Value, WriteTx};
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
    /// Trusts of which it was told that they lapse with a membership.
    pub lapsing: usize,
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
                lapsing = done.lapsing,
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
    let ended = Search::Ended(Which::default(), now.saturating_sub(app.config.retention));
    let dead;
    (done.purged, dead) = all(app, &ended, by).await?;
    done.keypairs = remove_rest(app, by).await?;
    done.revocations = again(|| forget(app, Old::records(app, now), by)).await?;
    again(|| forget(app, Old::of_oauth1(app, now), by)).await?;
    again(|| async { Ok(app.store.trim_journal(&by).await?) }).await?;
    done.lapsing = tell_lapses(app, now, by).await?;
    app.metrics.dead_trusts.set(i64::try_from(dead).unwrap_or(i64::MAX));
    app.metrics.trusts_ended.inc_by(done.ended as u64);
    app.metrics.reaper_swept.set(app.clock.now() / SECOND);
    Ok(done)
}

/// Reads a thousand rows. SQLite works on the thread that asks: then it is one on which no request waits.
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

/// Does it, and again when another transaction was in its way.
async fn again<T, F: Future<Output = Result<T>>>(work: impl Fn() -> F) -> Result<T> {
    let mut backoff = Backoff::default();
    loop {
        match work().await {
            Err(Error::Retry(_)) if backoff.again().await => {}
            done => return done,
        }
    }
}

async fn look(app: &App, search: &Search, after: Option<&str>) -> Result<Part> {
    let (store, search, after) = (app.store.clone(), search.clone(), after.map(str::to_owned));
    aside(app, async move { search.look(&mut store.read().await?, after.as_deref()).await }).await
}

async fn settle(app: &App, search: &Search, found: &[String], by: System) -> Result<usize> {
    let mut tx = app.store.write().await?;
    let done = search.settle(&mut tx, &by, found).await?;
    tx.commit().await?;
    Ok(done)
}

/// Looks through a whole table, part by part, and takes the writer for what was found only. Returns how much was done,
/// and how many ended trusts there are besides.
async fn all(app: &App, search: &Search, by: System) -> Result<(usize, usize)> {
    let (mut done, mut kept, mut after) = (0, 0, None::<String>);
    loop {
        let part = again(|| look(app, search, after.as_deref())).await?;
        for some in part.found.chunks(flush::BATCH) {
            let settled = again(|| settle(app, search, some, by)).await?;
            if settled > 0 && matches!(search, Search::Over(..)) {
                security::server(Event::TrustReap, Outcome::Success, &cut(&some.join(" "), LONGEST_LIST));
            }
            done += settled;
        }
        kept += part.kept;
        after = part.upto;
        if after.is_none() {
            return Ok((done, kept));
        }
    }
}

/// The longest list of ids in an event: that of one batch.
const LONGEST_LIST: usize = 8 << 10;

/// Ends every trust that is over.
pub async fn end_all(app: &App, which: &Which, now: Micros, by: System) -> Result<usize> {
    Ok(all(app, &Search::Over(which.clone(), now), by).await?.0)
}

/// Removes every ended trust that ended at or before `cutoff`.
pub async fn purge_all(app: &App, which: &Which, cutoff: Micros, by: System) -> Result<usize> {
    Ok(all(app, &Search::Ended(which.clone(), cutoff), by).await?.0)
}

/// Removes what hangs on no trust any more; says how many keypairs that were.
pub async fn remove_rest(app: &App, by: System) -> Result<usize> {
    let mut done = 0;
    for search in Search::REST {
        done += all(app, &search, by).await?.0;
    }
    Ok(done)
}

/// Leaves notices of trusts that give nothing soon, as a membership ends that came with a login. Returns how many there were. While
/// nobody is told, nothing is noted either.
async fn tell_lapses(app: &App, now: Micros, by: System) -> Result<usize> {
    let clock = lapse::Clock { now, notice: app.config.lapse_notice };
    if clock.notice == 0 || !app.notifications.is_on() {
        return Ok(0);
    }
    let (mut told, mut after) = (0, None::<String>);
    loop {
        let (trusts, last) = again(|| {
            let (store, after) = (app.store.clone(), after.clone());
            aside(
                app,
                async move { lapse::candidates(&mut store.read().await?, clock, after.as_deref()).await },
            )
        })
        .await?;
        for some in trusts.chunks(lapse::BATCH) {
            told += tell_some(app, clock, some, by).await?;
        }
        after = last;
        if after.is_none() {
            return Ok(told);
        }
    }
}

async fn tell_some(app: &App, clock: lapse::Clock, trusts: &[String], by: System) -> Result<usize> {
    let due = again(|| {
        let (store, trusts) = (app.store.clone(), trusts.to_vec());
        aside(app, async move { lapse::due(&mut store.read().await?, clock, &trusts).await })
    })
    .await?;
    let due: Vec<String> = due.into_iter().map(|lapse| lapse.trust).collect();
    if due.is_empty() {
        return Ok(0);
    }
    // Of several servers one notes it, and tells it.
    let lapses = again(|| async {
        let mut tx = app.store.write().await?;
        let lapses = lapse::settle(&mut tx, &by, clock, &due).await?;
        tx.commit().await?;
        Ok(lapses)
    })
    .await?;
    let told = lapses.len();
    for Lapse { trust, user, project, at } in lapses {
        app.notifications.tell(Notice {
            what: What::Lapse { trust, user, project, at },
            initiator: None,
            outcome: notifications::Outcome::Success,
            reason: None,
            password_hash: None,
            at: clock.now,
        });
    }
    Ok(told)
}

/// Rows that are of no use any more, by table and condition.
struct Old(Vec<(&'static str, &'static str, Value)>);

impl Old {
    /// Records that can concern no token any more.
    fn records(app: &App, now: Micros) -> Self {
        let since = now.saturating_sub(app.config.oldest_token());
        Self(vec![
            ("vicar_replay", "seen_until < ?", now.into()),
            ("vicar_workload", "ends_at < ?", now.into()),
            ("vicar_role_loss", "lost_at < ?", since.into()),
            ("revocation_event", "revoked_at < ?", DateTime(since).into()),
        ])
    }

    /// OAuth1's tokens that ended as long ago as trusts that are removed.
    fn of_oauth1(app: &App, now: Micros) -> Self {
        let end = clock::iso(now.saturating_sub(app.config.retention));
        let is_old = "expires_at < ?";
        Self(vec![("request_token", is_old, end.as_str().into()), ("access_token", is_old, end.into())])
    }

    /// Whether there are any.
    async fn are_there(&self, tx: &mut Tx) -> Result<bool> {
        for (table, is_old, at) in &self.0 {
            let sql = format!("SELECT 1 FROM {table} WHERE {is_old} LIMIT 1");
            if tx.exists(&sql, std::slice::from_ref(at)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletes them; returns how many revocations and losses of roles that were.
    async fn delete(&self, tx: &mut WriteTx, by: System) -> Result<u64> {
        let mut gone = 0_u64;
        for (table, is_old, at) in &self.0 {
            let n = tx.execute(&by, &Delete::from(table).and(is_old, std::slice::from_ref(at))).await?;
            if matches!(*table, "vicar_role_loss" | "revocation_event") {
                gone = gone.saturating_add(n);
            }
        }
        Ok(gone)
    }
}

/// Deletes what is of no use any more; returns how many revocations and losses of roles were among it.
async fn forget(app: &App, old: Old, by: System) -> Result<u64> {
    let store = app.store.clone();
    let sought = Old(old.0.clone());
    let is_there = aside(app, async move { sought.are_there(&mut store.read().await?).await }).await?;
    if !is_there {
        return Ok(0);
    }
    let mut tx = app.store.write().await?;
    let gone = old.delete(&mut tx, by).await?;
    tx.commit().await?;
    Ok(gone)
}
