//! Failed logins are counted in memory at once and written to the database behind the answer, many in one
//! transaction. So nobody who does not know a password ever waits for the one writer, or makes others wait.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vicar_rules::Micros;

use super::login::{self, Account, Lock};
use crate::clock::SECOND;
use crate::config::Compliance;
use crate::error::{Error, Result};
use crate::store::{Backoff, DateTime, Store, Update};
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
    /// When the first one was.
    pub first: Micros,
    /// When the last one was.
    pub at: Micros,
}

impl Failed {
    fn add(&mut self, other: Self) {
        self.first = if self.count == 0 { other.first } else { self.first.min(other.first) };
        self.count = self.count.saturating_add(other.count);
        self.at = self.at.max(other.at);
    }
}

/// Failures of one user in one transaction.
#[derive(Debug, Clone, Copy, Default)]
struct Batch {
    failed: Failed,
    /// The count of the user's row that includes them.
    count: Option<i64>,
}

impl Batch {
    /// Whether an account was read when its row showed these failures already.
    fn is_in(&self, account: &Account) -> bool {
        // Some engines keep whole seconds.
        let second = |at: Micros| at.div_euclid(SECOND);
        let (failures, at) = account.failed();
        self.count.is_some_and(|count| failures >= count)
            && at.is_some_and(|at| second(at) >= second(self.failed.at))
    }
}

#[derive(Debug, Default)]
struct State {
    /// How many transactions of failures were written.
    epoch: u64,
    waiting: BTreeMap<String, Failed>,
    /// Being written now.
    writing: BTreeMap<String, Batch>,
    /// Written, with the epoch from which on the database shows them.
    written: VecDeque<(u64, String, Batch)>,
    is_running: bool,
}

impl State {
    fn since(&self, epoch: Epoch, account: &Account) -> Failed {
        let user = account.user();
        let written = self.written.iter().filter(|(at, who, _)| *at > epoch.0 && who == user);
        let mut all = self.waiting.get(user).copied().unwrap_or_default();
        for batch in written.map(|(_, _, batch)| batch).chain(self.writing.get(user)) {
            if !batch.is_in(account) {
                all.add(batch.failed);
            }
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

    /// Failures that an account does not show, read in a snapshot that was taken after `epoch`. What was
    /// committed about that time is told by the account itself.
    pub fn since(&self, epoch: Epoch, account: &Account) -> Failed {
        self.state().since(epoch, account)
    }

    /// Forgets what is not written yet: the user has logged in. To be called in the writer's transaction, so
    /// that what waits for its turn to be written is not written after it.
    pub fn forget(&self, user: &str) {
        let mut state = self.state();
        state.waiting.remove(user);
        state.writing.remove(user);
        state.written.retain(|(_, who, _)| who != user);
    }

    /// Counts a failed login of an account that was read in a snapshot taken after `epoch`, unless it is locked
    /// already: it stays locked no longer for it. It is written behind the answer.
    pub fn count(&self, store: &Store, rules: &Compliance, account: &Account, epoch: Epoch, now: Micros) {
        let user = account.user();
        let mut state = self.state();
        // Asked where no other can count in between.
        if account.lock(rules, state.since(epoch, account), now) == Lock::Closed {
            return;
        }
        if state.waiting.len() >= MOST && !state.waiting.contains_key(user) {
            tracing::warn!("failed logins of too many users wait to be written; one is not counted");
            return;
        }
        state.waiting.entry(user.to_owned()).or_default().add(Failed { count: 1, first: now, at: now });
        if !std::mem::replace(&mut state.is_running, true) {
            let (failures, store, rules) = (self.clone(), store.clone(), rules.clone());
            tokio::spawn(async move { failures.write_all(&store, &rules).await });
        }
    }

    async fn write_all(&self, store: &Store, rules: &Compliance) {
        let mut backoff = Backoff::default();
        loop {
            {
                let mut state = self.state();
                if state.waiting.is_empty() {
                    state.is_running = false;
                    return;
                }
                let waiting = std::mem::take(&mut state.waiting).into_iter();
                state.writing = waiting.map(|(user, failed)| (user, Batch { failed, count: None })).collect();
            }
            let done = self.write(store, rules).await;
            {
                let mut state = self.state();
                let writing = std::mem::take(&mut state.writing);
                match &done {
                    Ok(()) => {
                        state.epoch += 1;
                        let epoch = state.epoch;
                        let most = REMEMBERED.max(writing.len());
                        state.written.extend(writing.into_iter().map(|(user, batch)| (epoch, user, batch)));
                        let over = state.written.len().saturating_sub(most);
                        state.written.drain(..over);
                    }
                    Err(_) => {
                        for (user, batch) in writing {
                            state.waiting.entry(user).or_default().add(batch.failed);
                        }
                    }
                }
            }
            match done {
                Ok(()) => backoff = Backoff::default(),
                Err(Error::Retry(_)) if backoff.again().await => {}
                Err(e) => {
                    let error = e.detail().unwrap_or("refused").to_owned();
                    tracing::warn!(error, "failed logins could not be counted in the database yet");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Writes one batch in one transaction.
    async fn write(&self, store: &Store, rules: &Compliance) -> Result<()> {
        let mut tx = store.write().await?;
        // Looked at now: who logged in while this waited for its turn is forgotten.
        let batch = self.state().writing.clone();
        for (user, Batch { failed, .. }) in batch {
            let Some(account) = login::account(&mut tx, &user).await? else { continue };
            let before = match account.lock(rules, Failed::default(), failed.first) {
                Lock::Closed => continue,
                Lock::Lapsed => 0,
                Lock::Open => account.failed().0,
            };
            let count = before.saturating_add(i64::from(failed.count));
            if let Some(batch) = self.state().writing.get_mut(&user) {
                batch.count = Some(count);
            }
            let counted = Update::of("local_user")
                .set("failed_auth_count", count)
                .set("failed_auth_at", DateTime(failed.at))
                .key("id", account.local());
            tx.execute(&System::Login, &counted).await?;
        }
        Ok(tx.commit().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(failures: i64, at: Option<Micros>) -> Account {
        Account::with_failures("ann", failures, at)
    }

    fn one_batch(count: Option<i64>) -> Failures {
        let failures = Failures::default();
        let failed = Failed { count: 2, first: 7 * SECOND, at: 7 * SECOND };
        failures.state().writing.insert("ann".into(), Batch { failed, count });
        failures
    }

    #[test]
    fn what_a_row_shows_is_not_counted_again() {
        let (failures, before) = (one_batch(Some(2)), Epoch(0));
        assert_eq!(failures.since(before, &account(0, None)).count, 2);
        assert_eq!(failures.since(before, &account(2, Some(7 * SECOND))).count, 0);
        // As many failures, but of long ago: the lock has lapsed, and these begin anew.
        assert_eq!(failures.since(before, &account(3, Some(SECOND))).count, 2);
        // Committed between the epoch and the snapshot.
        let batch = failures.state().writing.remove("ann").expect("a batch");
        failures.state().written.push_back((1, "ann".into(), batch));
        assert_eq!(failures.since(before, &account(0, None)).count, 2);
        assert_eq!(failures.since(before, &account(2, Some(7 * SECOND))).count, 0);
        assert_eq!(failures.since(Epoch(1), &account(0, None)).count, 0);
    }

    #[test]
    fn a_login_forgets_what_waits_for_its_turn_to_be_written() {
        let failures = one_batch(None);
        assert_eq!(failures.since(Epoch(0), &account(0, None)).count, 2);
        failures.forget("ann");
        assert_eq!(failures.since(Epoch(0), &account(0, None)).count, 0);
        assert!(failures.state().writing.is_empty());
    }
}
