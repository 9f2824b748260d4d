//! What has changed, and when: the newest epoch in which each key was hit.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// A key, or a table as a whole, as a hash. Two that have the same are dropped together, which is no harm.
pub(super) type Hash = u64;

/// Keys are kept for so many; of what was changed before, it is only known that it may have been.
const KEPT: usize = 100_000;

/// The changes that the journal told of, each with its epoch.
#[derive(Debug, Default)]
pub(super) struct Changed {
    hasher: RandomState,
    epoch: AtomicU64,
    /// What is known from before this epoch is forgotten.
    floor: AtomicU64,
    keys: RwLock<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    newer: HashMap<Hash, u64>,
    older: HashMap<Hash, u64>,
    /// The epoch in which the newer ones began.
    since: u64,
}

impl Changed {
    /// The epoch of now.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// A key as it is in the journal. MariaDB joins ids that differ in the case of letters or in blanks at the end.
    pub(super) fn key(&self, kind: &str, value: &str) -> Hash {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(kind.as_bytes());
        hasher.write(b":");
        for byte in value.trim_end_matches(' ').bytes() {
            hasher.write_u8(byte.to_ascii_lowercase());
        }
        hasher.finish()
    }

    /// A table as a whole.
    pub(super) fn table(&self, name: &str) -> Hash {
        self.key("*", name)
    }

    /// Notes what rows of the journal say: the table and the key of each.
    pub(super) fn apply<'a>(&self, rows: impl Iterator<Item = (&'a str, &'a str)>) {
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return;
        }
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        // Who reads this epoch from now on has waited for the lock, or looks at what is there already.
        let epoch = self.epoch.load(Ordering::SeqCst) + 1;
        let mut all = false;
        for (table, key) in rows {
            all |= table == "*";
            keys.newer.insert(self.table(table), epoch);
            if let Some((kind, value)) = key.split_once(':') {
                keys.newer.insert(self.key(kind, value), epoch);
            }
        }
        if keys.newer.len() > KEPT {
            let newer = std::mem::take(&mut keys.newer);
            self.floor.fetch_max(keys.since, Ordering::SeqCst);
            keys.older = newer;
            keys.since = epoch;
        }
        if all {
            self.floor.fetch_max(epoch, Ordering::SeqCst);
        }
        self.epoch.store(epoch, Ordering::SeqCst);
    }

    /// Forgets everything.
    pub(super) fn forget(&self) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let epoch = self.epoch.load(Ordering::SeqCst) + 1;
        *keys = Keys { since: epoch, ..Keys::default() };
        self.floor.fetch_max(epoch, Ordering::SeqCst);
        self.epoch.store(epoch, Ordering::SeqCst);
    }

    /// Whether none of these was hit after an epoch.
    pub(super) fn none_since(&self, epoch: u64, of: &[Hash]) -> bool {
        if epoch == self.epoch() {
            return true;
        }
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        epoch >= self.floor.load(Ordering::SeqCst)
            && of
                .iter()
                .all(|key| keys.newer.get(key).or_else(|| keys.older.get(key)).is_none_or(|at| *at <= epoch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_hit_is_known_until_there_is_too_much() {
        let changed = Changed::default();
        let (a, b) = (changed.key("u", "a"), changed.key("u", "b"));
        let before = changed.epoch();
        changed.apply([("user", "u:a")].into_iter());
        assert!(!changed.none_since(before, &[a]) && changed.none_since(before, &[b]));
        assert!(!changed.none_since(before, &[b, changed.table("user")]));
        let after = changed.epoch();
        assert!(changed.none_since(after, &[a, b]));
        assert_eq!(changed.key("u", "A "), a);
        for round in 0..3 {
            let names: Vec<String> = (0..=KEPT).map(|n| format!("u:{round}-{n}")).collect();
            changed.apply(names.iter().map(|name| ("user", name.as_str())));
        }
        assert!(!changed.none_since(after, &[b]), "it is too long ago");
        let now = changed.epoch();
        changed.apply([("*", "")].into_iter());
        assert!(!changed.none_since(now, &[b]), "a table was emptied");
        let now = changed.epoch();
        changed.forget();
        assert!(!changed.none_since(now, &[b]) && changed.none_since(changed.epoch(), &[b]));
    }
}
