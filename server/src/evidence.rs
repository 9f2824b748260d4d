//! Who uses a delegation, and when, is noted in memory and written behind the answers: every `[delegation] evidence_interval`
//! seconds, and when the server stops. So nobody waits for it, and a server that is killed loses what it noted since the last time.
//!
//! Replicas add up what each of them noted. What is written is no part of what is remembered between requests (`store/memory`),
//! so it makes nobody forget anything.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use vicar_rules::Micros;

use crate::error::{Error, Result};
use crate::facts::evidence::{COLUMNS, Evidence, Kind, TABLE, WIDTH};
use crate::store::{Backoff, CHUNK, Delete, Insert, Select, Store, WriteTx};
use crate::system::System;

/// Parts with a lock each, so that threads rarely meet.
const PARTS: usize = 16;

/// So many delegations may have uses in a part that are not written yet. Uses of others are then not noted; the log says so.
const MOST: usize = 4_096;

/// So many are written in one transaction.
const BATCH: usize = CHUNK / WIDTH;

/// What was noted of one delegation.
#[derive(Debug, Clone, Default)]
struct Note {
    /// Of a keypair, if it is known: it is noted by its audit chain.
    id: Option<String>,
    uses: i64,
    used_at: Option<Micros>,
    validated_at: Option<Micros>,
    validated_by: String,
}

impl Note {
    fn validated(&mut self, by: &str, at: Micros) {
        if self.validated_at <= Some(at) {
            self.validated_at = Some(at);
            // Mostly it is the same service again.
            if self.validated_by != by {
                by.clone_into(&mut self.validated_by);
            }
        }
    }

    fn add(&mut self, other: &Self) {
        if self.id.is_none() {
            self.id.clone_from(&other.id);
        }
        self.uses = self.uses.saturating_add(other.uses);
        self.used_at = self.used_at.max(other.used_at);
        if let Some(at) = other.validated_at {
            self.validated(&other.validated_by, at);
        }
    }

    /// Adds it to what is stored.
    fn add_to(&self, stored: &mut Evidence) {
        if self.uses > 0 {
            stored.use_count = Some(stored.use_count.unwrap_or(0).saturating_add(self.uses));
        }
        stored.last_used_at = stored.last_used_at.max(self.used_at);
        if self.validated_at.is_some() && stored.validated_at <= self.validated_at {
            stored.validated_at = self.validated_at;
            stored.validated_by = Some(self.validated_by.clone());
        }
    }
}

/// A delegation: its kind and its id, of a keypair its audit chain.
type Key = (Kind, Box<str>);

#[derive(Debug, Default)]
struct Part {
    /// No two kinds have the same key.
    notes: HashMap<Box<str>, (Kind, Note)>,
    left_out: u64,
}

impl Part {
    fn note(&mut self, kind: Kind, key: &str, what: impl FnOnce(&mut Note)) {
        if let Some((_, note)) = self.notes.get_mut(key) {
            what(note);
        } else if self.notes.len() < MOST {
            let mut note = Note::default();
            what(&mut note);
            self.notes.insert(key.into(), (kind, note));
        } else {
            self.left_out += 1;
        }
    }
}

#[derive(Debug, Default)]
struct Parts {
    hash: RandomState,
    parts: [Mutex<Part>; PARTS],
}

/// What this process noted and has not written yet.
#[derive(Debug, Clone)]
pub struct Uses(Option<Arc<Parts>>);

impl Uses {
    /// Nothing is noted when it is off.
    pub fn new(is_on: bool) -> Self {
        Self(is_on.then(Arc::default))
    }

    fn note(&self, kind: Kind, key: &str, what: impl FnOnce(&mut Note)) {
        let Some(Parts { hash, parts }) = self.0.as_deref() else { return };
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are enough")]
        let part = hash.hash_one(key) as usize % PARTS;
        if let Some(part) = parts.get(part) {
            part.lock().unwrap_or_else(PoisonError::into_inner).note(kind, key, what);
        }
    }

    /// Notes that a delegation was used: of a keypair `key` is its audit chain, and `id` its own.
    pub fn used(&self, kind: Kind, key: &str, id: Option<&str>, at: Micros) {
        self.note(kind, key, |note| {
            if note.id.is_none() {
                note.id = id.map(str::to_owned);
            }
            note.uses = note.uses.saturating_add(1);
            note.used_at = note.used_at.max(Some(at));
        });
    }

    /// Notes that a user validated a token of a delegation.
    pub fn validated(&self, kind: Kind, key: &str, by: &str, at: Micros) {
        self.note(kind, key, |note| note.validated(by, at));
    }

    /// Takes all that was noted, by kind; how many uses were left out is logged.
    fn take(&self) -> BTreeMap<Key, Note> {
        let mut all = BTreeMap::new();
        let mut left_out = 0;
        for part in self.0.iter().flat_map(|all| &all.parts) {
            let part = std::mem::take(&mut *part.lock().unwrap_or_else(PoisonError::into_inner));
            left_out += part.left_out;
            all.extend(part.notes.into_iter().map(|(key, (kind, note))| ((kind, key), note)));
        }
        if left_out > 0 {
            tracing::warn!(left_out, "too many delegations were used at once to note the use of each");
        }
        all
    }

    /// Writes what was noted; returns of how many delegations. What could not be written is kept for the next time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn write(&self, store: &Store) -> Result<usize> {
        let mut taken = Taken { uses: self, rest: self.take() };
        let all = taken.rest.len();
        while let Some(((kind, _), _)) = taken.rest.first_key_value() {
            let kind = *kind;
            let some = taken.rest.iter().take_while(|((of, _), _)| *of == kind).take(BATCH);
            let some: Vec<(Box<str>, Note)> =
                some.map(|((_, key), note)| (key.clone(), note.clone())).collect();
            let mut backoff = Backoff::default();
            loop {
                match write(store, kind, &some).await {
                    Err(Error::Retry(_)) if backoff.again().await => {}
                    done => break done?,
                }
            }
            for (key, _) in some {
                taken.rest.remove(&(kind, key));
            }
        }
        Ok(all)
    }
}

/// What is being written. What is left of it goes back.
struct Taken<'a> {
    uses: &'a Uses,
    rest: BTreeMap<Key, Note>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for ((kind, key), note) in &self.rest {
            self.uses.note(*kind, key, |kept| kept.add(note));
        }
    }
}

/// Writes some of a kind in one transaction, after all others who write.
async fn write(store: &Store, kind: Kind, some: &[(Box<str>, Note)]) -> Result<()> {
    let by = System::Evidence;
    let mut tx = store.write().await?;
    let mut notes: BTreeMap<String, (&str, &Note)> = BTreeMap::new();
    let ids = ids_of(&mut tx, kind, some).await?;
    for (key, note) in some {
        if let Some(id) = ids.get(&**key) {
            notes.insert(id.clone(), (key, note));
        }
    }
    let mut q = Select::new(&format!("SELECT u.id, {COLUMNS} FROM {TABLE} u"));
    q.id_in("u.id", notes.keys()).id("u.type", Some(kind.word()));
    let stored: BTreeMap<String, Evidence> =
        q.map(&mut tx, |r| Ok((r.take::<String>()?, Evidence::read(r)?))).await?.into_iter().collect();
    // Of what is gone meanwhile there is no row, and none is made.
    let mut q = Select::new(&format!("SELECT x.id FROM {} x", kind.table()));
    q.id_in("x.id", notes.keys().filter(|id| !stored.contains_key(*id)));
    let unknown: BTreeSet<String> = q.map(&mut tx, |r| r.take()).await?.into_iter().collect();
    let mut rows = Insert::into(TABLE);
    for (id, (key, note)) in &notes {
        let mut row = match stored.get(id) {
            Some(stored) => stored.clone(),
            None if unknown.contains(id) => Evidence::default(),
            None => continue,
        };
        if kind == Kind::Keypair {
            row.audit_chain = Some((*key).to_owned());
        }
        note.add_to(&mut row);
        rows = row.insert(rows, kind, id);
    }
    if rows.is_empty() {
        return Ok(());
    }
    if !stored.is_empty() {
        let old = Delete::from(TABLE).key("type", kind.word()).key_in("id", stored.keys().cloned());
        tx.execute(&by, &old).await?;
    }
    tx.execute(&by, &rows).await?;
    Ok(tx.commit().await?)
}

/// The ids of some by their keys. A keypair that nobody here has exchanged is known by its audit chain alone, and found if
/// it was made here or exchanged before.
async fn ids_of(tx: &mut WriteTx, kind: Kind, some: &[(Box<str>, Note)]) -> Result<BTreeMap<String, String>> {
    let own = some.iter().filter_map(|(key, note)| {
        let id = if kind == Kind::Keypair { note.id.as_deref()? } else { key };
        Some((key.to_string(), id.to_owned()))
    });
    let mut ids: BTreeMap<String, String> = own.collect();
    let chains: Vec<&str> =
        some.iter().map(|(key, _)| &**key).filter(|key| !ids.contains_key(*key)).collect();
    if !chains.is_empty() {
        let mut q = Select::new(&format!("SELECT u.audit_chain_id, u.id FROM {TABLE} u"));
        q.id_in("u.audit_chain_id", chains).id("u.type", Some(kind.word()));
        ids.extend(q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?))).await?);
    }
    Ok(ids)
}

/// Writes at every pause, and once more when `stop` says so or is dropped. What fails is logged and tried again at the next.
pub async fn forever(uses: Uses, store: Store, pause: Duration, mut stop: oneshot::Receiver<()>) {
    if uses.0.is_none() {
        return;
    }
    loop {
        let is_last = tokio::select! {
            () = tokio::time::sleep(pause) => false,
            _ = &mut stop => true,
        };
        if let Err(e) = uses.write(&store).await {
            let error = e.detail().unwrap_or("refused");
            tracing::warn!(error, "who used delegations could not be written yet");
        }
        if is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_bounded_and_what_is_known_goes_on() {
        let mut part = Part::default();
        for n in 0..=MOST {
            part.note(Kind::Trust, &n.to_string(), |note| note.uses += 1);
        }
        part.note(Kind::Trust, "0", |note| note.uses += 1);
        assert_eq!((part.notes.len(), part.left_out), (MOST, 1));
        assert_eq!(part.notes.get("0").map(|(_, note)| note.uses), Some(2));
    }

    #[test]
    fn what_could_not_be_written_is_added_to_what_came_meanwhile() {
        let uses = Uses::new(true);
        uses.used(Kind::Keypair, "k", Some("id"), 1);
        uses.validated(Kind::Keypair, "k", "nova", 5);
        let taken = Taken { uses: &uses, rest: uses.take() };
        uses.used(Kind::Keypair, "k", None, 3);
        uses.validated(Kind::Keypair, "k", "glance", 4);
        drop(taken);
        let all = uses.take();
        let note = all.get(&(Kind::Keypair, "k".into())).expect("is kept");
        assert_eq!((note.uses, note.used_at, note.id.as_deref()), (2, Some(3), Some("id")));
        assert_eq!((note.validated_at, note.validated_by.as_str()), (Some(5), "nova"));
        assert!(uses.take().is_empty());
    }

    #[test]
    fn what_is_off_notes_nothing() {
        let uses = Uses::new(false);
        uses.used(Kind::Trust, "t", None, 1);
        assert!(uses.take().is_empty());
    }

    #[test]
    fn what_another_server_wrote_later_stays() {
        let note = Note {
            uses: 2,
            used_at: Some(4),
            validated_at: Some(4),
            validated_by: "ann".into(),
            ..Note::default()
        };
        let mut stored = Evidence {
            use_count: Some(3),
            last_used_at: Some(9),
            validated_at: Some(9),
            validated_by: Some("bob".into()),
            ..Evidence::default()
        };
        note.add_to(&mut stored);
        assert_eq!((stored.use_count, stored.last_used_at), (Some(5), Some(9)));
        assert_eq!((stored.validated_at, stored.validated_by.as_deref()), (Some(9), Some("bob")));
    }
}
