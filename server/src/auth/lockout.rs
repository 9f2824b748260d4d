//! Failed logins are counted in memory at once and written to the database behind the answer, many in one
//! transaction. So nobody who does not know a password ever waits for the one writer, or makes others wait.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vicar_rules::Micros;

use super::login::{self, Account, Lock};
use crate::args;
use crate::config::Compliance;
use crate::error::{Error, Result};
use crate::store::{DateTime, Patience, Store, Update};
use crate::system::System;

/// So many users may have failures that are not written yet. Failures of others are then not counted; the
/// log says so.
const MOST: usize = 10_000;

/// So many written counts are remembered, for logins that began before they were written.
const REMEMBERED: usize = 1_000;

/// Failures that the database may not show yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failed {
    /// How many.
    pub count: u32,
    /// When the last one was.
    pub at: Micros,
}

impl Failed {
    fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.at = self.at.max(other.at);
    }
}

#[derive(Debug, Default)]
struct State {
    /// How many transactions of failures were written.
    epoch: u64,
    waiting: BTreeMap<String, Failed>,
    /// Being written now.
    writing: BTreeMap<String, Failed>,
    /// Written, with the epoch from which on the database shows them.
    written: VecDeque<(u64, String, Failed)>,
    is_running: bool,
}

impl State {
    fn since(&self, epoch: Epoch, user: &str) -> Failed {
        let mut all = Failed::default();
        for failed in [self.waiting.get(user), self.writing.get(user)].into_iter().flatten() {
            all.add(*failed);
        }
        for (_, _, failed) in self.written.iter().filter(|(at, who, _)| *at > epoch.0 && who == user) {
            all.add(*failed);
        }
        all
    }
}

/// The failed logins of this process.
#[derive(Debug, Clone, Default)]
pub struct Failures(Arc<Mutex<State>>);

/// What was written before a snapshot: taken before it, so that each failure counts exactly once.
#[derive(Debug, Clone, Copy)]
pub struct Epoch(u64);

impl Failures {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be asked before the first statement of a login's transaction.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.state().epoch)
    }

    /// Failures of a user that a snapshot begun after `epoch` may not show.
    pub fn since(&self, epoch: Epoch, user: &str) -> Failed {
        self.state().since(epoch, user)
    }

    /// Forgets what is not written yet: the user has logged in.
    pub fn forget(&self, user: &str) {
        let mut state = self.state();
        state.waiting.remove(user);
        state.written.retain(|(_, who, _)| who != user);
    }

    /// Counts a failed login, unless the account is locked already: it stays locked no longer for it. The
    /// account was read in a snapshot begun after `epoch`. It is written behind the answer.
    pub fn count(&self, store: &Store, rules: &Compliance, account: &Account, epoch: Epoch, now: Micros) {
        let user = account.user();
        let mut state = self.state();
        // Here, where no other can count in between.
        if account.lock(rules, state.since(epoch, user), now) == Lock::Closed {
            return;
        }
        if state.waiting.len() >= MOST && !state.waiting.contains_key(user) {
            tracing::warn!("failed logins of too many users wait to be written; one is not counted");
            return;
        }
        state.waiting.entry(user.to_owned()).or_default().add(Failed { count: 1, at: now });
        if !std::mem::replace(&mut state.is_running, true) {
            let (failures, store, rules) = (self.clone(), store.clone(), rules.clone());
            tokio::spawn(async move { failures.write_all(&store, &rules).await });
        }
    }

    async fn write_all(&self, store: &Store, rules: &Compliance) {
        let mut patience = Patience::default();
        loop {
            {
                let mut state = self.state();
                if state.waiting.is_empty() {
                    state.is_running = false;
                    return;
                }
                state.writing = std::mem::take(&mut state.waiting);
            }
            let batch = self.state().writing.clone();
            let done = write(store, rules, &batch).await;
            {
                let mut state = self.state();
                let writing = std::mem::take(&mut state.writing);
                match &done {
                    Ok(()) => {
                        state.epoch += 1;
                        let epoch = state.epoch;
                        state.written.extend(writing.into_iter().map(|(user, failed)| (epoch, user, failed)));
                        let over = state.written.len().saturating_sub(REMEMBERED.max(batch.len()));
                        state.written.drain(..over);
                    }
                    Err(_) => {
                        for (user, failed) in writing {
                            state.waiting.entry(user).or_default().add(failed);
                        }
                    }
                }
            }
            match done {
                Ok(()) => patience = Patience::default(),
                Err(Error::Again(_)) if patience.again().await => {}
                Err(e) => {
                    let error = e.detail().unwrap_or("refused").to_owned();
                    tracing::warn!(error, "failed logins could not be counted in the database yet");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

async fn write(store: &Store, rules: &Compliance, batch: &BTreeMap<String, Failed>) -> Result<()> {
    let mut tx = store.write().await?;
    for (user, failed) in batch {
        let Some(account) = login::account(&mut tx, user).await? else { continue };
        let count = match account.lock(rules, Failed::default(), failed.at) {
            Lock::Closed => continue,
            Lock::Lapsed => "0 + ?",
            Lock::Open => "COALESCE(failed_auth_count, 0) + ?",
        };
        let counted = Update::of("local_user")
            .set_expr_with("failed_auth_count", count, args![failed.count])
            .set("failed_auth_at", DateTime(failed.at))
            .key("id", account.local());
        tx.execute(&System::Login, &counted).await?;
    }
    Ok(tx.commit().await?)
}
