//! A process that remembers, and its requests.

use super::database::{Database, Found, KEYS, Position, Values, Wrong};
use super::{Fault, Memory, State};

/// What a process knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Process {
    /// How often something was found to have changed.
    epoch: u8,
    /// What is from before this epoch is forgotten.
    floor: u8,
    /// The epochs in which keys were hit: the newer ones, and those before.
    newer: [Option<u8>; KEYS],
    older: [Option<u8>; KEYS],
    /// The epoch in which the newer ones began.
    since: u8,
    position: Option<Position>,
    /// What is remembered, each with its stamp.
    entries: [Option<(u8, u8)>; KEYS],
    answer: Option<(Values, u8)>,
    /// The connections for questions that there were.
    connection: u8,
    /// Whether the last of them is there.
    pub is_connected: bool,
    /// Shared questions under way.
    pub questions: Vec<Question>,
}

/// A shared question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    connection: u8,
    /// The epoch before it was sent.
    stamp: u8,
    /// From where it asks.
    pub since: Option<Position>,
    /// Those who wait for it.
    requests: Vec<usize>,
    /// The answer.
    pub found: Option<Found>,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Request {
    /// How far it is.
    pub phase: Phase,
    /// What the database said at some moment since it arrived.
    seen: Vec<Values>,
    /// What it has taken from memory or read.
    used: [Option<u8>; KEYS],
    /// The run of the server that its connection is to, where that matters.
    run: u8,
}

/// How far a request is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Phase {
    /// It has not arrived.
    #[default]
    New,
    /// It waits for a question to be sent.
    Waiting,
    /// It waits for the answer.
    Asked,
    /// It takes values from memory.
    Recalling {
        /// The epoch before the question was sent.
        stamp: u8,
    },
    /// It is about to begin a snapshot.
    Beginning {
        /// Of what was used; nothing was, when there is none.
        stamp: Option<u8>,
        /// The epoch of now.
        next: u8,
        /// From where it will ask.
        since: Option<Position>,
    },
    /// The question was answered in its snapshot.
    Begun {
        /// As before.
        stamp: Option<u8>,
        /// As before.
        next: u8,
        /// The answer, if there was a place to ask from.
        found: Option<Found>,
        /// What the snapshot shows.
        snapshot: Values,
    },
    /// It reads in its snapshot what is not in memory.
    Reading {
        /// The epoch before the snapshot was begun; without it nothing is remembered or taken from memory.
        stamp: Option<u8>,
        /// What the snapshot shows.
        snapshot: Values,
        /// How many values were read.
        read: u8,
    },
    /// It was answered.
    Answered {
        /// Whether nothing in it was replaced before the request arrived.
        is_current: bool,
        /// Whether it is of one state.
        is_whole: bool,
        /// How many values were read and not remembered.
        read: u8,
    },
}

impl Process {
    /// What a process knows at the beginning.
    pub fn new(position: Position, is_warm: bool, answers: bool) -> Self {
        Self {
            epoch: 0,
            floor: 0,
            newer: [None; KEYS],
            older: [None; KEYS],
            since: 0,
            position: Some(position),
            entries: [is_warm.then_some((0, 0)); KEYS],
            answer: (is_warm && answers).then_some(([0; KEYS], 0)),
            connection: 0,
            is_connected: true,
            questions: Vec::new(),
        }
    }

    fn forget(&mut self) {
        self.epoch += 1;
        self.floor = self.epoch;
        self.since = self.epoch;
        (self.newer, self.older) = ([None; KEYS], [None; KEYS]);
    }

    fn apply(&mut self, changed: [bool; KEYS], model: &Memory) {
        if changed == [false; KEYS] {
            return;
        }
        self.epoch += 1;
        for (newer, changed) in self.newer.iter_mut().zip(changed) {
            if changed {
                *newer = Some(self.epoch);
            }
        }
        if self.newer.iter().flatten().count() > model.capacity {
            if !model.has(Fault::NoFloor) {
                self.floor = self.floor.max(self.since);
            }
            self.older = std::mem::take(&mut self.newer);
            self.since = self.epoch;
        }
    }

    /// Whether a key was not hit after an epoch.
    fn is_unchanged(&self, key: usize, since: u8, with_floor: bool) -> bool {
        (!with_floor || since >= self.floor)
            && self.newer[key].or(self.older[key]).is_none_or(|epoch| epoch <= since)
    }

    /// A remembered value that can be taken. As it has not changed until now, it is as if it were read now.
    fn entry(&mut self, key: usize, stamp: u8, model: &Memory) -> Option<u8> {
        let (value, own) = self.entries[key]?;
        let since = if model.has(Fault::NoMinimum) { own } else { own.min(stamp) };
        let is_unchanged = self.is_unchanged(key, since, true);
        if is_unchanged || model.has(Fault::AdvancesWithoutLooking) {
            self.entries[key] = Some((value, own.max(self.epoch)));
        }
        is_unchanged.then_some(value)
    }

    /// A remembered answer that can be given; likewise.
    fn answer(&mut self, stamp: u8, model: &Memory) -> Option<Values> {
        let (values, own) = self.answer?;
        let since = if model.has(Fault::NoMinimum) { own } else { own.min(stamp) };
        let is_unchanged = (0..KEYS).all(|key| self.is_unchanged(key, since, true));
        if is_unchanged {
            self.answer = Some((values, own.max(self.epoch)));
        }
        is_unchanged.then_some(values)
    }
}

impl Request {
    /// Whether it waits for a question to be sent.
    pub fn waits(&self) -> bool {
        self.phase == Phase::Waiting
    }

    /// What the database says now.
    pub fn see(&mut self, now: Values) {
        if !matches!(self.phase, Phase::New | Phase::Answered { .. }) && !self.seen.contains(&now) {
            self.seen.push(now);
            self.seen.sort_unstable();
        }
    }

    /// Its connection is lost: if it reads, it begins again.
    pub fn lose(&mut self) {
        if matches!(self.phase, Phase::Begun { .. } | Phase::Reading { .. }) {
            self.again();
        }
    }

    fn again(&mut self) {
        self.phase = Phase::Waiting;
        self.used = [None; KEYS];
    }

    /// P1.
    pub fn is_current(&self) -> bool {
        !matches!(self.phase, Phase::Answered { is_current: false, .. })
    }

    /// P2.
    pub fn is_whole(&self) -> bool {
        !matches!(self.phase, Phase::Answered { is_whole: false, .. })
    }

    /// The next value that it needs.
    fn next(&self, reads: [usize; KEYS]) -> Option<usize> {
        reads.into_iter().find(|key| self.used[*key].is_none())
    }

    /// Answers, if it has all.
    fn answer(&mut self, read: u8) -> Option<Values> {
        let mut values = [0; KEYS];
        for (value, used) in values.iter_mut().zip(self.used) {
            *value = used?;
        }
        let is_current = (0..KEYS).all(|key| self.seen.iter().any(|seen| seen[key] == values[key]));
        self.phase = Phase::Answered { is_current, is_whole: self.seen.contains(&values), read };
        self.used = [None; KEYS];
        self.seen.clear();
        self.run = 0;
        Some(values)
    }
}

impl Memory {
    /// The connection for questions is lost, with those that were not answered.
    pub(super) fn lose(&self, state: &mut State, i: usize) {
        let process = &mut state.processes[i];
        process.is_connected = false;
        process.questions.retain(|question| {
            if question.found.is_none() {
                for r in &question.requests {
                    state.requests[*r].again();
                }
            }
            question.found.is_some()
        });
    }

    pub(super) fn arrive(&self, state: &mut State, i: usize) {
        let reader = &self.readers[i];
        let process = &mut state.processes[reader.process];
        let request = &mut state.requests[i];
        request.phase = if reader.begins_at_once {
            Phase::Beginning { stamp: None, next: process.epoch, since: process.position }
        } else {
            Phase::Waiting
        };
        if self.has(Fault::SharesOlderQuestion)
            && let Some(question) = process.questions.last_mut()
        {
            question.requests.push(i);
            request.phase = Phase::Asked;
        }
        request.see(state.database.values(&self.plans, state.database.log.len()));
        if !self.has_runs {
            request.run = state.database.run;
        }
    }

    pub(super) fn send(&self, state: &mut State, i: usize) {
        let process = &mut state.processes[i];
        if !process.is_connected {
            process.is_connected = true;
            process.connection += 1;
            process.position = None;
            if self.has(Fault::ForgetsAtStart) {
                process.forget();
            }
        }
        let mut requests = Vec::new();
        for (r, request) in state.requests.iter_mut().enumerate() {
            if request.waits() && self.readers[r].process == i {
                request.phase = Phase::Asked;
                requests.push(r);
            }
        }
        process.questions.push(Question {
            connection: process.connection,
            stamp: process.epoch,
            since: process.position,
            requests,
            found: None,
        });
    }

    pub(super) fn note(&self, state: &mut State, i: usize, q: usize) {
        let process = &mut state.processes[i];
        let question = process.questions.remove(q);
        let Some(found) = question.found else { return };
        let is_last =
            question.connection == process.connection || self.has(Fault::OlderConnectionSetsPosition);
        match found.wrong {
            None => process.apply(found.changed, self),
            Some(_) => process.forget(),
        }
        if question.since.is_none() && !self.has(Fault::ForgetsAtStart) {
            process.forget();
        }
        if is_last {
            process.position = Some(found.position);
        }
        for r in question.requests {
            state.requests[r].phase = Phase::Recalling { stamp: question.stamp };
        }
    }

    pub(super) fn recall(&self, state: &mut State, i: usize) {
        let reader = &self.readers[i];
        let process = &mut state.processes[reader.process];
        let request = &mut state.requests[i];
        let Phase::Recalling { stamp } = request.phase else { return };
        if request.used == [None; KEYS]
            && let Some(values) = process.answer(stamp, self)
        {
            request.used = values.map(Some);
            request.answer(0);
            return;
        }
        let Some(key) = request.next(reader.reads) else { return };
        match process.entry(key, stamp, self) {
            Some(value) => {
                request.used[key] = Some(value);
                if let Some(values) = request.answer(0)
                    && self.answers
                {
                    process.answer = Some((values, stamp));
                }
            }
            None if self.is_sound(process, request, stamp) => {
                request.phase =
                    Phase::Beginning { stamp: Some(stamp), next: process.epoch, since: process.position };
            }
            None => request.again(),
        }
    }

    /// Whether all that a request has used is as it was.
    fn is_sound(&self, process: &Process, request: &Request, stamp: u8) -> bool {
        let used = |key: &usize| request.used[*key].is_some();
        let with_floor = !self.has(Fault::SecondLookWithoutFloor);
        (0..KEYS).filter(used).all(|key| process.is_unchanged(key, stamp, with_floor))
    }

    pub(super) fn begin(&self, state: &mut State, i: usize) {
        let request = &mut state.requests[i];
        let Phase::Beginning { stamp, next, since } = request.phase else { return };
        if !self.has_runs && request.run != state.database.run {
            // Its connection is lost.
            request.run = state.database.run;
            return request.again();
        }
        let length = self.shown(&state.database);
        let snapshot = state.database.values(&self.plans, length);
        let found = since.map(|since| self.ask(&state.database, length, Some(since)));
        request.phase = Phase::Begun { stamp, next, found, snapshot };
    }

    pub(super) fn judge(&self, state: &mut State, i: usize) {
        let process = &mut state.processes[self.readers[i].process];
        let request = &mut state.requests[i];
        let Phase::Begun { stamp, next, found, snapshot } = request.phase else { return };
        let used_any = request.used != [None; KEYS];
        let mut remembers = None;
        match found {
            None => {
                if used_any && !self.has(Fault::KeepsWithoutPosition) {
                    return request.again();
                }
                remembers = self.has(Fault::ForgetsAtStart).then_some(next);
            }
            Some(Found { wrong: Some(wrong), .. }) => {
                // What is older is no fault of the journal.
                if wrong != Wrong::Older {
                    process.forget();
                    process.position = None;
                }
                // On a node that is behind not even what was read can be given.
                if used_any || wrong == Wrong::Older {
                    return request.again();
                }
            }
            Some(found) => {
                process.apply(found.changed, self);
                let is_sound = stamp.is_none_or(|stamp| self.is_sound(process, request, stamp));
                if !is_sound && !self.has(Fault::NoSecondLook) {
                    return request.again();
                }
                remembers = Some(if self.has(Fault::StampAfterSnapshot) { process.epoch } else { next });
            }
        }
        request.phase = Phase::Reading { stamp: remembers, snapshot, read: 0 };
    }

    pub(super) fn read(&self, state: &mut State, i: usize) {
        let reader = &self.readers[i];
        let process = &mut state.processes[reader.process];
        let request = &mut state.requests[i];
        let Phase::Reading { stamp, mut snapshot, read } = request.phase else { return };
        if self.has(Fault::ReadsLater) {
            snapshot = state.database.values(&self.plans, self.shown(&state.database));
        }
        let Some(key) = request.next(reader.reads) else { return };
        let known = stamp.and_then(|stamp| process.entry(key, stamp, self));
        let read = if known.is_some() { read } else { read + 1 };
        request.used[key] = Some(known.unwrap_or(snapshot[key]));
        request.phase = Phase::Reading { stamp, snapshot, read };
        if let (Some(stamp), None) = (stamp, known) {
            process.entries[key] = Some((snapshot[key], stamp));
        }
        if let Some(values) = request.answer(read)
            && let Some(stamp) = stamp.filter(|_| self.answers)
        {
            process.answer = Some((values, stamp));
        }
    }

    /// Only the order of epochs matters: they are numbered anew, so that there are fewer states.
    pub(super) fn compress(&self, state: &mut State, i: usize) {
        let mut all: u64 = 0;
        let mut note = |epoch: &mut u8| all |= 1 << *epoch;
        self.epochs(state, i, &mut note);
        let mut rank = |epoch: &mut u8| *epoch = (all & ((1 << *epoch) - 1)).count_ones() as u8;
        self.epochs(state, i, &mut rank);
    }

    /// All epochs that are known at a process.
    fn epochs(&self, state: &mut State, i: usize, each: &mut impl FnMut(&mut u8)) {
        let process = &mut state.processes[i];
        each(&mut process.epoch);
        each(&mut process.floor);
        each(&mut process.since);
        process.newer.iter_mut().chain(&mut process.older).flatten().for_each(&mut *each);
        process.entries.iter_mut().flatten().for_each(|(_, stamp)| each(stamp));
        process.answer.iter_mut().for_each(|(_, stamp)| each(stamp));
        process.questions.iter_mut().for_each(|question| each(&mut question.stamp));
        for (request, reader) in state.requests.iter_mut().zip(&self.readers) {
            if reader.process != i {
                continue;
            }
            match &mut request.phase {
                Phase::Recalling { stamp } => each(stamp),
                Phase::Beginning { stamp, next, .. } | Phase::Begun { stamp, next, .. } => {
                    stamp.iter_mut().for_each(&mut *each);
                    each(next);
                }
                Phase::Reading { stamp, .. } => stamp.iter_mut().for_each(&mut *each),
                Phase::New | Phase::Waiting | Phase::Asked | Phase::Answered { .. } => {}
            }
        }
    }
}

impl Database {
    /// A transaction is committed.
    pub fn commit(&mut self, i: usize) {
        if let super::Tx::Active(first) = self.txs[i] {
            self.log.push(super::Entry::Commit(i as u8, first));
        }
        self.txs[i] = super::Tx::Over;
    }

    /// Whether somebody writes.
    pub fn is_written(&self) -> bool {
        self.txs.iter().any(|tx| matches!(tx, super::Tx::Active(_)))
    }
}
