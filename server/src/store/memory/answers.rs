//! Answers that are remembered as a whole: what was made of rows, with all that they rest on.
//!
//! Who makes one says where the making began ([`Tx::begin_answer`]); from then on the transaction notes the keys of every
//! statement, and until when what is read with the clock in mind stays so ([`Tx::holds_until`]). So what is made may
//! depend on nothing but its key and what is read in between.

use std::any::Any;
use std::sync::Arc;

use quick_cache::Weighter;
use vicar_rules::Micros;

use super::super::{Result, Tx};
use super::changed::Hash;
use super::{Basis, Stage, Weights};

/// Bytes that answers take at most.
pub(super) const SIZE: u64 = 64 << 20;

/// What is larger is not remembered.
const LARGEST: usize = 256 << 10;

/// What rests on more is not remembered.
const MOST_KEYS: usize = 2_000;

/// What an answer is found by: what kind of answer it is, and what it is an answer to. Where that is a secret, its keyed
/// hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AnswerKey {
    kind: &'static str,
    of: [u8; 32],
}

impl AnswerKey {
    /// The answer of a kind of which there is one.
    pub const fn only(kind: &'static str) -> Self {
        Self { kind, of: [0; 32] }
    }

    /// That of a kind to something.
    pub const fn new(kind: &'static str, of: [u8; 32]) -> Self {
        Self { kind, of }
    }

    /// That to a stored id, if it is as long as ids are.
    pub fn of_id(kind: &'static str, id: &str) -> Option<Self> {
        Some(Self { kind, of: id.as_bytes().try_into().ok()? })
    }
}

/// Something that was made of rows. It may hold secrets.
pub(super) struct Answer {
    basis: Basis,
    value: Arc<dyn Any + Send + Sync>,
    /// From then on it may be wrong though nothing changed.
    until: Micros,
    size: usize,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an answer of {} bytes", self.size)
    }
}

impl Weighter<AnswerKey, Arc<Answer>> for Weights {
    fn weight(&self, _: &AnswerKey, answer: &Arc<Answer>) -> u64 {
        (answer.size + size_of_val(&*answer.basis.keys) + 200) as u64
    }
}

/// What is noted while answers are made.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// How many are being made, one inside the other.
    open: usize,
    /// How many statements were read of which it is not known what they depend on.
    unknown: usize,
    /// Instants after which something that was read may be otherwise.
    ends: Vec<Micros>,
}

impl Notes {
    /// Whether an answer is being made.
    pub(super) fn is_open(&self) -> bool {
        self.open > 0
    }

    /// Adds keys to those that were noted, unless there are more than any answer may have.
    pub(super) fn add(&self, noted: &mut Vec<Hash>, keys: &[Hash]) -> bool {
        let fits = keys.len() <= MOST_KEYS && noted.len() <= 10 * MOST_KEYS;
        if fits {
            noted.extend(keys);
        }
        fits
    }

    /// A statement was read of which it is not known what it depends on.
    pub(super) fn unknown(&mut self) {
        self.unknown += 1;
    }
}

/// Where the making of an answer began.
#[derive(Debug)]
#[must_use]
pub struct Mark {
    keys: usize,
    unknown: usize,
    ends: usize,
}

impl Tx {
    /// An answer that is remembered, if it holds at this instant and nothing that it rests on has changed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn known<T: Any + Send + Sync>(
        &mut self,
        key: &AnswerKey,
        now: Micros,
    ) -> Result<Option<Arc<T>>> {
        self.sound()?;
        let Some(recall) = &self.recall else { return Ok(None) };
        let Some(answer) = recall.memory.answers.get(key).filter(|answer| now < answer.until) else {
            recall.memory.shared.counts.misses.inc();
            return Ok(None);
        };
        let asked = self.ask().await;
        if !self.note(asked)? {
            return Ok(None);
        }
        let Some(recall) = &mut self.recall else { return Ok(None) };
        if !recall.memory.holds(&answer.basis, recall.stamp) {
            return Ok(None);
        }
        recall.keys.extend(&answer.basis.keys);
        recall.notes.ends.push(answer.until);
        Ok(Arc::clone(&answer.value).downcast().ok())
    }

    /// Begins to note what an answer rests on; nothing when it would not be remembered.
    pub fn begin_answer(&mut self) -> Option<Mark> {
        let recall = self.recall.as_mut().filter(|recall| !recall.begins_at_once)?;
        recall.notes.open += 1;
        Some(Mark { keys: recall.keys.len(), unknown: recall.notes.unknown, ends: recall.notes.ends.len() })
    }

    /// Whether rows may be remembered that are read now: then it pays to ask for what others ask for too.
    pub fn remembers(&self) -> bool {
        self.recall.as_ref().is_some_and(|recall| !recall.begins_at_once)
    }

    /// Whether it is noted what is read, as an answer is being made of it.
    pub fn is_noting(&self) -> bool {
        self.recall.as_ref().is_some_and(|recall| recall.notes.is_open())
    }

    /// Notes that what was read now stays so until an instant at most, though nothing changes.
    pub fn holds_until(&mut self, at: Micros) {
        if let Some(recall) = self.recall.as_mut().filter(|recall| recall.notes.is_open()) {
            recall.notes.ends.push(at);
        }
    }

    /// Remembers an answer that was made since the mark, of about so many bytes.
    pub fn remember<T: Any + Send + Sync>(
        &mut self,
        mark: Option<Mark>,
        key: AnswerKey,
        (value, size): (&Arc<T>, usize),
    ) {
        let (Some(recall), Some(mark)) = (&mut self.recall, mark) else { return };
        recall.notes.open = recall.notes.open.saturating_sub(1);
        let mut keys: Vec<Hash> = recall.keys.get(mark.keys..).unwrap_or_default().to_vec();
        keys.sort_unstable();
        keys.dedup();
        let is_known = recall.notes.unknown == mark.unknown && recall.stage != Stage::New;
        if !is_known || size > LARGEST || keys.len() > MOST_KEYS {
            return;
        }
        let until = recall.notes.ends.get(mark.ends..).unwrap_or_default().iter().min();
        let answer = Answer {
            basis: Basis::new(recall.stamp, keys),
            value: Arc::clone(value) as _,
            until: until.copied().unwrap_or(Micros::MAX),
            size,
        };
        recall.memory.answers.insert(key, Arc::new(answer));
    }
}
