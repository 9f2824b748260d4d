//! The exact memory: processes that give values from memory after they asked whether these have changed, on a database into
//! which anybody writes.

mod database;
mod process;

use stateright::{Model, Property};

pub use self::database::{Database, Entry, Found, KEYS, Order, Plan, Position, Tx, Values, Wrong};
pub use self::process::{Phase, Process, Question, Request};

/// A mistake that the protocol could have. With each the checker finds an answer that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A request takes the answer of a question that was sent before it arrived.
    SharesOlderQuestion,
    /// The stamp is the epoch after the snapshot was begun and the question was answered.
    StampAfterSnapshot,
    /// An entry is compared from its own stamp on, though it may be newer than what was asked.
    NoMinimum,
    /// An entry that was looked at gets the epoch of now as its stamp, though it has changed.
    AdvancesWithoutLooking,
    /// What was used is not compared again after the question in the snapshot.
    NoSecondLook,
    /// What was used is compared by its keys alone, though they are forgotten below a floor.
    SecondLookWithoutFloor,
    /// Keys are forgotten and entries from before are still given.
    NoFloor,
    /// Everything is forgotten when a question on a new connection is sent, not when it was answered; and what is read
    /// meanwhile, without a position, is remembered. (Each of the two alone is harmless.)
    ForgetsAtStart,
    /// A question of an older connection sets the position, and positions have no run.
    OlderConnectionSetsPosition,
    /// Removed rows are not noticed.
    NoGap,
    /// The mark of the removal goes down when two remove at once.
    MarkGoesDown,
    /// Another run of the server is not noticed.
    NoRun,
    /// A snapshot that is older than the position is not noticed.
    NoOlder,
    /// What is remembered is read after the question, not in its snapshot.
    ReadsLater,
    /// In a snapshot of which the question could not be asked, what was used before is kept.
    KeepsWithoutPosition,
}

/// A request that will come.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    /// At which process.
    pub process: usize,
    /// The order in which it reads.
    pub reads: [usize; KEYS],
    /// It begins its snapshot before it takes anything from memory: the caller of a writer, which has the guard.
    pub begins_at_once: bool,
}

/// What is modelled.
#[derive(Debug, Clone)]
pub struct Memory {
    /// The engine.
    pub order: Order,
    /// What is wrong, if something is.
    pub fault: Option<Fault>,
    /// The transactions, of whomever.
    pub plans: Vec<Plan>,
    /// Whether transactions may be aborted.
    pub aborts: bool,
    /// The requests.
    pub readers: Vec<Reader>,
    /// How many processes there are.
    pub processes: usize,
    /// How many shared questions a process has under way at once.
    pub questions: usize,
    /// How often old rows are removed, each by somebody else.
    pub trims: usize,
    /// How often the connection for questions is lost.
    pub losses: usize,
    /// How often another server takes the place, without the last that was committed.
    pub fail_overs: usize,
    /// Whether a position has the run of its server. Without it a request takes its connection when it arrives, and asks the
    /// shared question after that.
    pub has_runs: bool,
    /// Requests read on a second node, which shows commits later.
    pub second_node: bool,
    /// So many keys are known to have changed before older ones are forgotten.
    pub capacity: usize,
    /// Whether all is in memory at the beginning.
    pub is_warm: bool,
    /// Whether answers are remembered beside what they are made of.
    pub answers: bool,
}

/// The state of all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The database.
    pub database: Database,
    /// Those who remove rows: the mark that they read, when they have.
    pub trimmers: Vec<Trimmer>,
    /// The processes.
    pub processes: Vec<Process>,
    /// The requests.
    pub requests: Vec<Request>,
    /// Losses that are left.
    pub losses: usize,
    /// The same of other servers.
    pub fail_overs: usize,
}

/// How far one is who removes rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trimmer {
    /// Nothing was done.
    New,
    /// All transactions below were over when it looked.
    Looked(u8),
    /// Rows were removed.
    Over,
}

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A transaction writes, and its triggers do.
    Write(usize),
    /// It is committed.
    Commit(usize),
    /// It is aborted.
    Abort(usize),
    /// The second node shows one more commit.
    Show,
    /// One looks up to where rows may be removed.
    LookToTrim(usize),
    /// It removes them.
    Trim(usize),
    /// The connection for questions of a process is lost.
    Lose(usize),
    /// Another server takes the place, without so many of the last commits.
    FailOver(usize),
    /// A request arrives.
    Arrive(usize),
    /// A process sends a question for all that wait.
    Send(usize),
    /// The database answers the question of a process.
    Ask(usize, usize),
    /// The process notes the answer.
    Note(usize, usize),
    /// A request takes a value from memory, or finds that it has to read.
    Recall(usize),
    /// A request begins its snapshot, in which the question is answered.
    Begin(usize),
    /// It notes what the question found.
    Judge(usize),
    /// It takes or reads the next value.
    Read(usize),
}

impl Memory {
    /// A small one: two requests at one process, three transactions.
    pub fn new(order: Order) -> Self {
        let plan = |a, b, slot| Plan { writes: [a, b], slot };
        let reader = |reads| Reader { process: 0, reads, begins_at_once: false };
        Self {
            order,
            fault: None,
            plans: vec![plan(true, false, 0), plan(false, true, 0), plan(true, true, 1)],
            aborts: false,
            readers: vec![reader([0, 1]), reader([1, 0])],
            processes: 1,
            questions: 1,
            trims: 0,
            losses: 0,
            fail_overs: 0,
            has_runs: true,
            second_node: false,
            capacity: KEYS,
            is_warm: true,
            answers: false,
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// How much of the log a request sees that begins to read now.
    fn shown(&self, database: &Database) -> usize {
        if self.second_node { database.second } else { database.log.len() }
    }

    /// What the database says to a question.
    fn ask(&self, database: &Database, length: usize, since: Option<Position>) -> Found {
        let mut found = database.ask(self.order, &self.plans, length, since, !self.has(Fault::MarkGoesDown));
        let has_runs =
            self.has_runs && !self.has(Fault::NoRun) && !self.has(Fault::OlderConnectionSetsPosition);
        let is_missed = match found.wrong {
            Some(Wrong::Gap) => self.has(Fault::NoGap),
            Some(Wrong::Older) => self.has(Fault::NoOlder) || !has_runs,
            Some(Wrong::Run) => !has_runs,
            None => false,
        };
        if is_missed {
            found.wrong = None;
        }
        found
    }

    /// All who have arrived see what the database says now.
    fn show(&self, state: &mut State) {
        let now = state.database.values(&self.plans, state.database.log.len());
        for request in &mut state.requests {
            request.see(now);
        }
    }
}

impl Model for Memory {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let database = Database::new(self.plans.len());
        let position = self.ask(&database, 0, None).position;
        vec![State {
            trimmers: vec![Trimmer::New; self.trims],
            processes: vec![Process::new(position, self.is_warm, self.answers); self.processes],
            requests: vec![Request::default(); self.readers.len()],
            losses: self.losses,
            fail_overs: self.fail_overs,
            database,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let database = &state.database;
        for (i, tx) in database.txs.iter().enumerate() {
            match tx {
                Tx::New if database.can_write(self.order, &self.plans, i) => actions.push(Action::Write(i)),
                Tx::Active(_) => {
                    actions.push(Action::Commit(i));
                    if self.aborts {
                        actions.push(Action::Abort(i));
                    }
                }
                _ => {}
            }
        }
        if self.second_node && database.second < database.log.len() {
            actions.push(Action::Show);
        }
        for (i, trimmer) in state.trimmers.iter().enumerate() {
            match trimmer {
                Trimmer::New => actions.push(Action::LookToTrim(i)),
                Trimmer::Looked(_) if self.order != Order::Sqlite || !database.is_written() => {
                    actions.push(Action::Trim(i));
                }
                _ => {}
            }
        }
        for (i, process) in state.processes.iter().enumerate() {
            if state.losses > 0 && process.is_connected {
                actions.push(Action::Lose(i));
            }
            let waits = |(request, reader): (&Request, &Reader)| reader.process == i && request.waits();
            if process.questions.len() < self.questions && state.requests.iter().zip(&self.readers).any(waits)
            {
                actions.push(Action::Send(i));
            }
            for (q, question) in process.questions.iter().enumerate() {
                actions.push(if question.found.is_none() { Action::Ask(i, q) } else { Action::Note(i, q) });
            }
        }
        if state.fail_overs > 0 {
            actions.extend((0..=database.log.len().min(1)).map(Action::FailOver));
        }
        for (i, request) in state.requests.iter().enumerate() {
            match request.phase {
                Phase::New => actions.push(Action::Arrive(i)),
                Phase::Recalling { .. } => actions.push(Action::Recall(i)),
                Phase::Beginning { .. } => actions.push(Action::Begin(i)),
                Phase::Begun { .. } => actions.push(Action::Judge(i)),
                Phase::Reading { .. } => actions.push(Action::Read(i)),
                Phase::Waiting | Phase::Asked | Phase::Answered { .. } => {}
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Write(i) => state.database.write(self.order, &self.plans, i),
            Action::Commit(i) => {
                state.database.commit(i);
                self.show(&mut state);
            }
            Action::Abort(i) => state.database.txs[i] = Tx::Over,
            Action::Show => state.database.second += 1,
            Action::LookToTrim(i) => state.trimmers[i] = Trimmer::Looked(state.database.oldest()),
            Action::Trim(i) => {
                if let Trimmer::Looked(below) = state.trimmers[i] {
                    state.database.log.push(Entry::Trim(below));
                }
                state.trimmers[i] = Trimmer::Over;
            }
            Action::Lose(i) => {
                state.losses -= 1;
                self.lose(&mut state, i);
            }
            Action::FailOver(lost) => {
                state.fail_overs -= 1;
                state.database.fail_over(self.order, &self.plans, lost);
                for i in 0..self.processes {
                    self.lose(&mut state, i);
                }
                state.requests.iter_mut().for_each(Request::lose);
                self.show(&mut state);
            }
            Action::Arrive(i) => self.arrive(&mut state, i),
            Action::Send(i) => self.send(&mut state, i),
            Action::Ask(i, q) => {
                let length = state.database.log.len();
                let question = &mut state.processes[i].questions[q];
                question.found = Some(self.ask(&state.database, length, question.since));
            }
            Action::Note(i, q) => self.note(&mut state, i, q),
            Action::Recall(i) => self.recall(&mut state, i),
            Action::Begin(i) => self.begin(&mut state, i),
            Action::Judge(i) => self.judge(&mut state, i),
            Action::Read(i) => self.read(&mut state, i),
        }
        for i in 0..self.processes {
            self.compress(&mut state, i);
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(CURRENT, |_, state: &State| state.requests.iter().all(Request::is_current)),
            Property::always(WHOLE, |_, state: &State| state.requests.iter().all(Request::is_whole)),
            Property::sometimes(REMEMBERED, |_, state: &State| {
                let is_new = state.database.log.iter().any(|entry| matches!(entry, Entry::Commit(..)));
                is_new
                    && state
                        .requests
                        .iter()
                        .any(|request| matches!(request.phase, Phase::Answered { read: 0, .. }))
            }),
            Property::sometimes(MIXED, |_, state: &State| {
                state.requests.iter().any(|request| matches!(request.phase, Phase::Answered { read: 1, .. }))
            }),
        ]
    }
}

/// P1.
pub const CURRENT: &str = "no answer shows what was replaced before the request arrived";
/// P2.
pub const WHOLE: &str = "each answer is of one state of the database, not older than the request";
/// P3.
pub const REMEMBERED: &str = "an answer is from memory though something was committed";
/// P3.
pub const MIXED: &str = "an answer is partly from memory, partly from the database";
