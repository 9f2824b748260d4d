//! The queue before what takes long (hashing, long reads): bounded, fair between clients and users, and those
//! who have gone come last.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::peer::{Peer, network};

/// For whom something is done.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The client's address, where a client asked.
    pub address: Option<IpAddr>,
    /// The user, as the client named them: whether they exist must not make a difference.
    pub user: &'a str,
}

impl<'a> Origin<'a> {
    /// For a user, on behalf of the client of the current request.
    pub fn here(user: &'a str) -> Self {
        Self { address: Peer::current().map(|peer| peer.address), user }
    }
}

/// Counters of the queue, for the metrics.
#[derive(Debug, Clone, Default)]
pub struct Gauges {
    /// How many wait.
    pub waiting: Gauge,
    /// How many were refused, because too many waited.
    pub refused: Counter,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    address: Option<IpAddr>,
    user: u64,
    peer: Option<Peer>,
    turn: oneshot::Sender<Turn>,
}

impl Waiting {
    /// Whether the client seems to have hung up.
    fn is_gone(&self) -> bool {
        self.peer.as_ref().is_some_and(Peer::is_half_closed)
    }

    /// Whose turn it is: the address, and there the user, whose last turn is the longest ago. Those who seem
    /// to have gone come last: most have, and the others have time.
    fn place(&self, turns: &Turns) -> (bool, u64, u64, u64) {
        let of_address = turns.of_address.get(&self.address).copied().unwrap_or(0);
        let of_user = turns.of_user.get(&(self.address, self.user)).copied().unwrap_or(0);
        (self.is_gone(), of_address, of_user, self.number)
    }
}

/// When each address, and each user of an address, had its last turn, or else began to wait.
#[derive(Debug, Default)]
struct Turns {
    number: u64,
    of_address: HashMap<Option<IpAddr>, u64>,
    of_user: HashMap<(Option<IpAddr>, u64), u64>,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    number: u64,
    /// In the order of arrival.
    waiting: Vec<Waiting>,
    turns: Turns,
}

impl State {
    fn push(&mut self, waiting: Waiting) {
        let turns = &mut self.turns;
        turns.number += 1;
        turns.of_address.entry(waiting.address).or_insert(turns.number);
        turns.of_user.entry((waiting.address, waiting.user)).or_insert(turns.number);
        self.waiting.push(waiting);
    }

    fn remove(&mut self, at: usize) -> Waiting {
        let gone = self.waiting.remove(at);
        if !self.waiting.iter().any(|w| w.address == gone.address) {
            self.turns.of_address.remove(&gone.address);
        }
        if !self.waiting.iter().any(|w| (w.address, w.user) == (gone.address, gone.user)) {
            self.turns.of_user.remove(&(gone.address, gone.user));
        }
        gone
    }

    /// Takes out whose turn it is.
    fn take_next(&mut self) -> Option<Waiting> {
        let places = self.waiting.iter().map(|w| w.place(&self.turns)).enumerate();
        let (first, _) = places.min_by_key(|(_, place)| *place)?;
        let next = self.remove(first);
        self.turns.number += 1;
        if let Some(last) = self.turns.of_address.get_mut(&next.address) {
            *last = self.turns.number;
        }
        if let Some(last) = self.turns.of_user.get_mut(&(next.address, next.user)) {
            *last = self.turns.number;
        }
        Some(next)
    }

    /// Takes out who must go when too many wait: one who seems to have gone, or else the newest of whoever has
    /// most of the queue, by address and then by user.
    fn refuse(&mut self) {
        let (mut of_address, mut of_user) = (HashMap::new(), HashMap::new());
        for w in &self.waiting {
            *of_address.entry(w.address).or_insert(0_usize) += 1;
            *of_user.entry(w.user).or_insert(0_usize) += 1;
        }
        let shares = self.waiting.iter().map(|w| {
            (w.is_gone(), of_address.get(&w.address).copied(), of_user.get(&w.user).copied(), w.number)
        });
        if let Some((last, _)) = shares.enumerate().max_by_key(|(_, share)| *share) {
            self.remove(last);
        }
    }
}

/// A queue of one process.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    /// How many run at a time.
    at_once: usize,
    /// How many may wait.
    most: usize,
    keys: RandomState,
    /// What is counted.
    pub gauges: Gauges,
}

/// The right to run, until it is dropped.
#[derive(Debug)]
pub struct Turn(Option<Arc<Queue>>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(queue) = self.0.take() {
            queue.next();
        }
    }
}

/// Leaves the queue when its future is dropped.
struct Leave<'a>(&'a Queue, u64);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if let Some(at) = state.waiting.iter().position(|w| w.number == self.1) {
            state.remove(at);
            self.0.count(&state);
        }
    }
}

impl Queue {
    /// So many run at once, and so many may wait.
    pub fn new(at_once: usize, most: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            at_once,
            most,
            keys: RandomState::new(),
            gauges: Gauges::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, state: &State) {
        self.gauges.waiting.set(i64::try_from(state.waiting.len()).unwrap_or(i64::MAX));
    }

    /// Whether somebody waits.
    pub fn has_waiting(&self) -> bool {
        !self.state().waiting.is_empty()
    }

    /// Waits for a turn. When too many wait, one of whoever has most of the queue is
    /// refused, which may be somebody else.
    ///
    /// # Errors
    /// [`Error::Busy`] for whoever is refused.
    pub async fn enter(self: &Arc<Self>, origin: Origin<'_>) -> Result<Turn> {
        let (number, turn) = {
            let mut state = self.state();
            // Nobody waits while fewer run than may.
            if state.running < self.at_once {
                state.running += 1;
                return Ok(Turn(Some(Arc::clone(self))));
            }
            state.number += 1;
            let (sender, turn) = oneshot::channel();
            let waiting = Waiting {
                number: state.number,
                address: origin.address.map(network),
                user: self.keys.hash_one(origin.user),
                peer: Peer::current(),
                turn: sender,
            };
            state.push(waiting);
            if state.waiting.len() > self.most {
                state.refuse();
                self.gauges.refused.inc();
            }
            self.count(&state);
            (state.number, turn)
        };
        let _leave = Leave(self, number);
        turn.await.map_err(|_| Error::Busy)
    }

    /// Passes a turn that is over to the next.
    fn next(self: Arc<Self>) {
        let mut turn = Turn(Some(Arc::clone(&self)));
        loop {
            let next = {
                let mut state = self.state();
                let Some(next) = state.take_next() else {
                    state.running -= 1;
                    turn.0 = None;
                    return;
                };
                self.count(&state);
                next
            };
            match next.turn.send(turn) {
                Ok(()) => return,
                // Gone a moment ago.
                Err(back) => turn = back,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    type Entering<'a> = Pin<Box<dyn Future<Output = Result<Turn>> + 'a>>;

    /// Enters, and waits if it has to.
    fn enter<'a>(queue: &'a Arc<Queue>, address: u8, user: &'a str) -> Entering<'a> {
        let address = Some(IpAddr::from([192, 0, 2, address]));
        let mut entering: Entering<'a> = Box::pin(queue.enter(Origin { address, user }));
        assert!(poll(&mut entering).is_pending());
        entering
    }

    fn poll(entering: &mut Entering<'_>) -> Poll<Result<Turn>> {
        entering.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    /// A queue for one at a time, whose turn is taken.
    fn taken(most: usize) -> (Arc<Queue>, Turn) {
        let queue = Queue::new(1, most);
        let mut entering: Entering<'_> = Box::pin(queue.enter(Origin { address: None, user: "" }));
        let Poll::Ready(Ok(turn)) = poll(&mut entering) else { panic!("nobody is before") };
        drop(entering);
        (queue, turn)
    }

    /// Lets all run one after the other; returns their order.
    fn order(turn: Turn, mut all: Vec<(&'static str, Entering<'_>)>) -> Vec<&'static str> {
        let mut order = Vec::new();
        let mut turn = Some(turn);
        while !all.is_empty() {
            drop(turn.take());
            let polled: Vec<_> = all.iter_mut().map(|(_, entering)| poll(entering)).collect();
            let at = polled.iter().position(Poll::is_ready).expect("one has its turn");
            assert_eq!(polled.iter().filter(|p| p.is_ready()).count(), 1, "one at a time");
            order.push(all.remove(at).0);
        }
        order
    }

    #[test]
    fn whoever_waits_for_one_answer_is_next() {
        let (queue, turn) = taken(10);
        let all = vec![
            ("crowd 1", enter(&queue, 1, "nobody")),
            ("crowd 2", enter(&queue, 1, "nobody")),
            ("crowd 3", enter(&queue, 1, "nobody")),
            ("another user there", enter(&queue, 1, "ann")),
            ("another address", enter(&queue, 2, "bob")),
            ("that user elsewhere", enter(&queue, 3, "nobody")),
        ];
        let expected =
            ["crowd 1", "another address", "that user elsewhere", "another user there", "crowd 2", "crowd 3"];
        assert_eq!(order(turn, all), expected);
        assert_eq!(queue.state().running, 0);
    }

    #[test]
    fn a_full_queue_refuses_the_last_of_the_crowd() {
        let (queue, turn) = taken(3);
        let mut crowd: Vec<_> = (0..3).map(|_| enter(&queue, 1, "nobody")).collect();
        let mut more: Entering<'_> =
            Box::pin(queue.enter(Origin { address: Some([192, 0, 2, 1].into()), user: "nobody" }));
        assert!(matches!(poll(&mut more), Poll::Ready(Err(Error::Busy))), "the crowd has its share");
        let other = enter(&queue, 2, "ann");
        assert!(matches!(poll(&mut crowd[2]), Poll::Ready(Err(Error::Busy))), "the crowd makes room");
        crowd.truncate(2);
        let mut all: Vec<_> = crowd.into_iter().map(|c| ("crowd", c)).collect();
        all.push(("other", other));
        assert_eq!(order(turn, all), ["crowd", "other", "crowd"]);
        assert_eq!(queue.gauges.refused.get(), 2);
    }

    #[test]
    fn work_of_those_who_have_gone_is_not_done() {
        let (queue, turn) = taken(10);
        let (gone, stays) = (enter(&queue, 1, "ann"), enter(&queue, 1, "ann"));
        drop(gone);
        assert_eq!(queue.state().waiting.len(), 1);
        assert_eq!(order(turn, vec![("stays", stays)]), ["stays"]);
    }

    #[test]
    fn a_turn_that_nobody_takes_is_passed_on() {
        let (queue, turn) = taken(10);
        let (given, next) = (enter(&queue, 1, "ann"), enter(&queue, 2, "bob"));
        // Ann is given the turn, and has gone before she takes it.
        drop(turn);
        drop(given);
        let mut next = next;
        assert!(poll(&mut next).is_ready());
        assert_eq!(queue.state().running, 0);
    }
}
