//! The memory: rows and answers that are given again only after asking whether anything that they rest on has changed.
//!
//! The argument for its correctness is docs/decisions/0002-exact-memory.md, in whose words this is written. In short:
//! triggers write every change down, whoever makes it (`journal`); one question, shared by all requests that
//! arrived before it was sent, finds what became visible since the last one (`question`, `asker`), and notes the epoch
//! in which each key was hit (`changed`); what is remembered knows the keys that it was read with, which
//! are found in the texts of the statements themselves (`reads`).
//!
//! Time is no change. What ends with time is compared with the clock by whoever reads the rows, and an answer that was made of
//! them carries its end (`answers`). A statement that compares times itself has one among its arguments, and is not remembered.

mod answers;
mod asker;
mod changed;
mod journal;
mod question;
mod reads;
mod triggers;
mod trim;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus_client::metrics::counter::Counter;
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};

use self::answers::{Answer, Notes};
use self::asker::Asker;
use self::changed::{Changed, Hash};
use self::question::Asks;
use self::reads::Read;
use super::{Engine, Error, Inner, Result, Row, Tx, Value};

pub use answers::{AnswerKey, Mark};
pub use triggers::{Journal, install, is_written, remove};

/// Bytes that rows take at most.
const SIZE: u64 = 32 << 20;

/// What is larger is not remembered.
const LARGEST: usize = 64 << 10;

/// Texts of statements that are known. They are written in the program; the lengths of lists and the limits vary.
const TEXTS: usize = 4096;

/// What the memory counts.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Rows and answers that were given from memory.
    pub hits: Counter,
    /// Those that were not there, or had changed.
    pub misses: Counter,
    /// Questions that were asked.
    pub questions: Counter,
    /// Changes that the journal told of.
    pub changes: Counter,
    /// How often everything was forgotten.
    pub forgotten: Counter,
}

/// The memory of a store.
#[derive(Debug)]
pub(super) struct Memory {
    shared: Arc<Shared>,
    asker: Asker,
    plans: Cache<String, Arc<Plan>>,
    plans_made: AtomicUsize,
    rows: Cache<RowsKey, Arc<Rows>, Weights>,
    answers: Cache<AnswerKey, Arc<Answer>, Weights>,
}

/// What the asker and the requests share.
#[derive(Debug, Default)]
struct Shared {
    changed: Changed,
    counts: Counts,
}

/// What is known of a statement's text.
#[derive(Debug)]
struct Plan {
    number: usize,
    reads: Option<Vec<Read>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct RowsKey {
    plan: usize,
    args: Box<[Value]>,
}

struct SoughtRows<'a> {
    plan: usize,
    args: &'a [Value],
}

impl std::hash::Hash for SoughtRows<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.plan.hash(state);
        self.args.hash(state);
    }
}

impl Equivalent<RowsKey> for SoughtRows<'_> {
    fn equivalent(&self, key: &RowsKey) -> bool {
        self.plan == key.plan && *self.args == *key.args
    }
}

/// What something that is remembered rests on.
#[derive(Debug)]
struct Basis {
    /// Everything that was changed later has hit a key in a later epoch. When nothing was hit until an epoch, it is that one
    /// from then on: there is less to look at.
    stamp: AtomicU64,
    keys: Box<[Hash]>,
}

impl Basis {
    fn new(stamp: u64, keys: Vec<Hash>) -> Self {
        Self { stamp: AtomicU64::new(stamp), keys: keys.into() }
    }
}

/// Rows of a statement.
struct Rows {
    basis: Basis,
    rows: Box<[Box<[Value]>]>,
    size: usize,
}

// Their values may be secrets.
impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} rows", self.rows.len())
    }
}

impl std::fmt::Debug for RowsKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "statement {} with {} arguments", self.plan, self.args.len())
    }
}

#[derive(Debug, Clone, Copy)]
struct Weights;

impl Weighter<RowsKey, Arc<Rows>> for Weights {
    fn weight(&self, key: &RowsKey, rows: &Arc<Rows>) -> u64 {
        (rows.size + key.args.iter().map(size).sum::<usize>() + 8 * rows.basis.keys.len() + 200) as u64
    }
}

/// About how many bytes a value takes.
fn size(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Text(text) | Value::Id(text) | Value::Date(text) => text.len(),
            Value::Null | Value::Int(_) | Value::Bool(_) | Value::DateTime(_) => 0,
        }
}

/// How far a transaction is with what it remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was asked.
    New,
    /// The shared question was answered. All is from memory until now.
    Asked,
    /// A snapshot of the database was begun.
    Reading,
}

/// What a transaction has to do with the memory.
#[derive(Debug)]
pub(super) struct Recall {
    memory: Arc<Memory>,
    stage: Stage,
    /// Whether the snapshot is begun before anything is remembered: a writer's, which has its turn by then. What it reads
    /// is not kept: on SQLite it may be of others whose commit is still under way.
    begins_at_once: bool,
    stamp: u64,
    /// The keys of all that was taken from memory and, while an answer is made, of all that was read.
    keys: Vec<Hash>,
    notes: Notes,
}

impl Memory {
    pub(super) fn new(engine: Engine) -> Self {
        let shared = Arc::<Shared>::default();
        Self {
            asker: Asker::new(engine, Arc::clone(&shared)),
            shared,
            plans: Cache::new(TEXTS),
            plans_made: AtomicUsize::new(0),
            rows: Cache::with_weighter(50_000, SIZE, Weights),
            answers: Cache::with_weighter(20_000, answers::SIZE, Weights),
        }
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// What is known of a statement's text.
    fn plan(&self, sql: &str) -> Arc<Plan> {
        if let Some(known) = self.plans.get(sql) {
            return known;
        }
        // One that was forgotten gets another number: what is remembered for the old one is not found any more.
        let number = self.plans_made.fetch_add(1, Ordering::Relaxed);
        let plan = Arc::new(Plan { number, reads: reads::reads(sql) });
        self.plans.insert(sql.to_owned(), Arc::clone(&plan));
        plan
    }

    fn holds(&self, basis: &Basis, stamp: u64) -> bool {
        // Before it is looked: what is applied meanwhile may not have been seen.
        let epoch = self.shared.changed.epoch();
        let since = basis.stamp.load(Ordering::SeqCst).min(stamp);
        let holds = self.shared.changed.none_since(since, &basis.keys);
        let counts = &self.shared.counts;
        if holds {
            basis.stamp.fetch_max(epoch, Ordering::SeqCst);
            counts.hits.inc()
        } else {
            counts.misses.inc()
        };
        holds
    }
}

impl Plan {
    /// The keys that these rows rest on, for these arguments.
    fn keys(&self, args: &[Value], rows: &[Row], changed: &Changed) -> Option<Vec<Hash>> {
        let mut keys = Vec::new();
        let mut add = |kind, value: Option<&Value>| match value {
            // Null is equal to nothing.
            Some(Value::Null) => Some(()),
            Some(Value::Text(text) | Value::Id(text)) => {
                keys.push(changed.key(kind, text));
                Some(())
            }
            Some(Value::Int(n)) => {
                keys.push(changed.key(kind, &n.to_string()));
                Some(())
            }
            _ => None,
        };
        for read in self.reads.as_ref()? {
            match read {
                Read::Table(name) => add("*", Some(&Value::Text((*name).to_owned())))?,
                Read::Kind(kind) => add(kind, Some(&Value::Text(String::new())))?,
                Read::Argument(kind, n) => add(kind, args.get(*n))?,
                Read::Column(kind, n) => {
                    for row in rows {
                        add(kind, row.values().get(*n))?;
                    }
                }
            }
        }
        Some(keys)
    }
}

/// Whether it is asked with a time. What is asked with that of now is asked once.
fn has_time(args: &[Value]) -> bool {
    args.iter().any(|arg| matches!(arg, Value::DateTime(_) | Value::Date(_)))
}

/// What times among the arguments of a statement are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    /// They may be of now: the same may find something else later.
    Any,
    /// They are always the same.
    Fixed,
}

impl Recall {
    pub(super) fn new(memory: &Arc<Memory>, begins_at_once: bool) -> Self {
        Self {
            memory: Arc::clone(memory),
            stage: Stage::New,
            begins_at_once,
            stamp: 0,
            keys: Vec::new(),
            notes: Notes::default(),
        }
    }

    fn changed(&self) -> &Changed {
        &self.memory.shared.changed
    }

    /// Whether all that was used until now is as it was.
    fn is_sound(&self) -> bool {
        self.keys.is_empty() || self.changed().none_since(self.stamp, &self.keys)
    }
}

/// What was used has changed before all was read: the same again, from the beginning.
fn changed_meanwhile() -> Error {
    Error::Retry("what was remembered has changed meanwhile".into())
}

impl Asks for Inner {
    async fn rows(&mut self, sql: &str, args: &[Value]) -> Result<Vec<Row>> {
        self.query(sql, args).await
    }
}

#[cfg(debug_assertions)]
impl super::Store {
    /// How many statements a question takes that finds nothing, for tests.
    ///
    /// # Errors
    /// When the database is away.
    #[doc(hidden)]
    pub async fn statements_of_a_question(&self) -> Result<usize> {
        question::statements(self.dialect(), &mut self.read().await?.inner).await
    }
}

impl Tx {
    /// The rows of a statement, from memory if they are there and have not changed.
    pub(super) async fn remembered(&mut self, sql: &str, args: &[Value], times: Times) -> Result<Vec<Row>> {
        let plan = match &self.recall {
            Some(recall) => recall.memory.plan(sql),
            None => return self.query(sql, args).await,
        };
        let is_of_now = times == Times::Any && has_time(args);
        let kept = Some(&plan).filter(|plan| plan.reads.is_some() && !is_of_now);
        if let Some(plan) = kept
            && self.ask().await?
            && let Some(recall) = &mut self.recall
        {
            let sought = SoughtRows { plan: plan.number, args };
            match recall.memory.rows.get(&sought) {
                Some(known) if recall.memory.holds(&known.basis, recall.stamp) => {
                    recall.keys.extend(&known.basis.keys);
                    return Ok(known.rows.iter().map(|row| Row::new(row.to_vec())).collect());
                }
                Some(_) => {}
                None => {
                    recall.memory.shared.counts.misses.inc();
                }
            }
        }
        self.begin_reading().await?;
        let rows = self.query(sql, args).await?;
        let Some(recall) = &mut self.recall else { return Ok(rows) };
        let size = rows.iter().flat_map(Row::values).map(size).sum::<usize>();
        let kept = kept.filter(|_| size < LARGEST && !recall.begins_at_once);
        if kept.is_none() && !recall.notes.is_open() {
            return Ok(rows);
        }
        let keys = plan.keys(args, &rows, recall.changed());
        if keys.is_none() || is_of_now {
            recall.notes.unknown();
        }
        let Some(keys) = keys else { return Ok(rows) };
        if recall.notes.is_open() && !recall.notes.add(&mut recall.keys, &keys) {
            recall.notes.unknown();
        }
        if kept.is_some() {
            let key = RowsKey { plan: plan.number, args: args.into() };
            let basis = Basis::new(recall.stamp, keys);
            let rows_of = rows.iter().map(|row| row.values().into()).collect();
            recall.memory.rows.insert(key, Arc::new(Rows { basis, rows: rows_of, size }));
        }
        Ok(rows)
    }

    /// Asks whether anything has changed, once. Returns false when nothing may be remembered.
    async fn ask(&mut self) -> Result<bool> {
        let Some(recall) = &mut self.recall else { return Ok(false) };
        if recall.stage != Stage::New {
            return Ok(true);
        }
        if recall.begins_at_once {
            self.begin_reading().await?;
            return Ok(self.recall.is_some());
        }
        match recall.memory.asker.ask().await {
            Some(stamp) => {
                (recall.stamp, recall.stage) = (stamp, Stage::Asked);
                Ok(true)
            }
            None => {
                self.recall = None;
                Ok(false)
            }
        }
    }

    /// Begins the snapshot in the database, unless it was. The first thing that is read in it is what has changed until
    /// then, so that what was remembered and what is read are of one moment.
    async fn begin_reading(&mut self) -> Result<()> {
        let Some(recall) = &mut self.recall else { return Ok(()) };
        if recall.stage == Stage::Reading {
            return Ok(());
        }
        // A writer's connection may lead to another server than the last question. This one is asked after it was made.
        if recall.begins_at_once && recall.memory.asker.ask().await.is_none() {
            return self.go_without();
        }
        let stamp = recall.changed().epoch();
        let since = recall.memory.asker.position();
        if !recall.is_sound() {
            return Err(changed_meanwhile());
        }
        let Some(since) = since else {
            // Nothing is known of the journal.
            return self.go_without();
        };
        #[cfg(debug_assertions)]
        if matches!(self.inner, Inner::Later(_)) {
            self.watch.note("BEGIN");
        }
        let found = question::ask(&since, &mut self.inner).await?;
        recall.memory.shared.counts.questions.inc();
        if found.position.is_none() {
            recall.memory.asker.forget();
            return self.go_without();
        }
        recall.changed().apply(found.changes.iter().map(|(table, key)| (table.as_str(), key.as_str())));
        if !recall.is_sound() {
            return Err(changed_meanwhile());
        }
        (recall.stamp, recall.stage) = (stamp, Stage::Reading);
        Ok(())
    }

    /// Goes on without memory, if nothing was taken from it yet.
    fn go_without(&mut self) -> Result<()> {
        match self.recall.take() {
            Some(recall) if recall.stage != Stage::New => Err(changed_meanwhile()),
            _ => Ok(()),
        }
    }
}
