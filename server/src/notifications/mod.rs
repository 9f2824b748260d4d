//! Notifications: what was done, told to whoever listens on a message bus, as a Keystone tells it.
//!
//! A request leaves its notices here after its transaction has committed, and goes on: it never waits for a broker.
//! What waits is in memory and bounded; what comes beyond is dropped and counted.

mod broker;
mod cadf;
mod envelope;
pub mod log;
mod notice;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use self::notice::{Action, Actor, Came, Gone, Initiator, Notice, ObjectKind, Outcome, Reason, What};
use crate::args;
use crate::config::messaging::{Driver, Format, Messaging};
use crate::metrics::NotificationCounters;
use crate::store::{self, Id, Store};

/// How many notices are worked on at once.
const BATCH: usize = 64;

/// How long names may be looked for. A notice without them is better than none.
const LOOKING: Duration = Duration::from_secs(2);

/// How long a server that stops waits for what is still to be sent.
const DEADLINE: Duration = Duration::from_secs(5);

/// Where requests leave what they did.
#[derive(Debug)]
pub struct Notifications {
    config: Messaging,
    counters: NotificationCounters,
    queue: OnceLock<Queue>,
}

#[derive(Debug)]
struct Queue {
    /// Nothing once the server stops.
    sender: Mutex<Option<mpsc::Sender<Notice>>>,
    overflow: Arc<Overflow>,
}

/// What the log has once when too many wait, and once when that is over.
#[derive(Debug, Default)]
struct Overflow(Mutex<u64>);

impl Overflow {
    fn lock(&self) -> std::sync::MutexGuard<'_, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dropped(&self, counters: &NotificationCounters) {
        counters.dropped.inc();
        let mut since = self.lock();
        if *since == 0 {
            tracing::warn!("notifications are dropped, as too many wait");
        }
        *since += 1;
    }

    fn is_over(&self) {
        let number = std::mem::take(&mut *self.lock());
        if number > 0 {
            tracing::warn!(dropped = number, "notifications are sent again");
        }
    }
}

/// Who tells events, unless the configuration says it.
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl Notifications {
    /// As configured. Nothing is told before [`Notifications::start`].
    pub fn new(config: &Messaging, counters: NotificationCounters) -> Self {
        Self { config: config.clone(), counters, queue: OnceLock::new() }
    }

    /// Whether anybody is told: then notices are worth being made.
    pub fn is_on(&self) -> bool {
        self.queue.get().is_some()
    }

    /// Begins to tell, if a driver is configured. Returns the task.
    ///
    /// # Errors
    /// In words for the operator, when certificates for the broker cannot be used.
    pub fn start(&self, store: Store) -> Result<Option<JoinHandle<()>>, String> {
        let config = &self.config;
        let broker = match &config.broker {
            Some(broker) => Some(broker::Link::new(broker, config, self.counters.clone())?),
            None => None,
        };
        let to_log = config.drivers.contains(&Driver::Log);
        if broker.is_none() && !to_log {
            return Ok(None);
        }
        let (sender, notices) = mpsc::channel(config.waiting);
        let overflow = Arc::new(Overflow::default());
        let queue = Queue { sender: Mutex::new(Some(sender)), overflow: Arc::clone(&overflow) };
        if self.queue.set(queue).is_err() {
            return Err("notifications: started twice".to_owned());
        }
        let (out, link) = match broker {
            Some(link) => {
                let (out, messages) = mpsc::channel(config.waiting);
                (Some(out), Some(tokio::spawn(link.run(messages))))
            }
            None => (None, None),
        };
        let name = config.publisher.clone().unwrap_or_else(host);
        let teller = Teller {
            publisher: format!("identity.{name}"),
            format: config.format,
            drivers: config.drivers.clone(),
            to_log,
            out,
            counters: self.counters.clone(),
            overflow,
            store,
            service: None,
        };
        Ok(Some(tokio::spawn(async move {
            // Ends with the way to it.
            let mut link = link.map(Ending);
            teller.run(notices).await;
            if let Some(link) = &mut link {
                let _ = (&mut link.0).await;
            }
        })))
    }

    /// Leaves a notice. It is told soon, or dropped and counted; nobody waits here.
    pub fn tell(&self, notice: Notice) {
        let Some(queue) = self.queue.get() else { return };
        if !notice.is_told(self.config.format) || self.config.opt_out.contains(&notice.opted_out_as()) {
            return;
        }
        let sender = queue.sender.lock().unwrap_or_else(PoisonError::into_inner);
        self.counters.waiting.inc();
        if sender.as_ref().is_none_or(|sender| sender.try_send(notice).is_err()) {
            self.counters.waiting.dec();
            queue.overflow.dropped(&self.counters);
        }
    }

    /// Sends what waits, within a deadline; what is left later is dropped.
    pub async fn finish(&self, telling: JoinHandle<()>) {
        if let Some(queue) = self.queue.get() {
            queue.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        let mut telling = Ending(telling);
        if tokio::time::timeout(DEADLINE, &mut telling.0).await.is_err() {
            let left = self.counters.waiting.get();
            tracing::warn!(dropped = left, "the server stops before all notifications were sent");
        }
    }
}

/// A task that ends with whoever waits for it.
struct Ending(JoinHandle<()>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Makes messages of notices.
struct Teller {
    publisher: String,
    format: Format,
    drivers: Vec<Driver>,
    to_log: bool,
    out: Option<mpsc::Sender<broker::Message>>,
    counters: NotificationCounters,
    overflow: Arc<Overflow>,
    store: Store,
    /// The catalog's identity service, as it was found last.
    service: Option<String>,
}

impl Teller {
    async fn run(mut self, mut notices: mpsc::Receiver<Notice>) {
        let mut batch = Vec::with_capacity(BATCH);
        while notices.recv_many(&mut batch, BATCH).await > 0 {
            match tokio::time::timeout(LOOKING, look(&self.store, &mut batch)).await {
                Ok(Ok(service)) => self.service = service,
                Ok(Err(e)) => tracing::debug!(error = ?e, "names for notifications could not be read"),
                Err(_) => tracing::debug!("names for notifications could not be read in time"),
            }
            for notice in batch.drain(..) {
                self.hand_over(&notice);
            }
        }
    }

    fn hand_over(&self, notice: &Notice) {
        let event = envelope::Event::new(notice, self.format, &self.publisher, self.service.as_deref());
        if self.to_log {
            log::write(&event);
        }
        let Some(out) = &self.out else {
            self.counters.waiting.dec();
            self.counters.sent.inc();
            self.overflow.is_over();
            return;
        };
        let bodies = self.drivers.iter().filter_map(|driver| match driver {
            Driver::Messaging => Some(event.enveloped()),
            Driver::Bare => Some(event.bare()),
            Driver::Log => None,
        });
        if out.try_send(bodies.map(String::into_bytes).collect()).is_ok() {
            // Not at the first place that is free: then it would be said again and again.
            if out.capacity() > out.max_capacity() / 2 {
                self.overflow.is_over();
            }
        } else {
            self.counters.waiting.dec();
            self.overflow.dropped(&self.counters);
        }
    }
}

/// Adds the names that notices lack, and finds the catalog's identity service.
async fn look(store: &Store, notices: &mut [Notice]) -> Result<Option<String>, store::Error> {
    let mut tx = store.read().await?;
    for initiator in notices.iter_mut().filter_map(|notice| notice.initiator.as_mut()) {
        if let (Some(id), None) = (&initiator.user, &initiator.name) {
            let by_id = "SELECT name FROM local_user WHERE user_id = ?";
            initiator.name = tx.column(by_id, args![Id(id)]).await?.pop();
        }
        if let (Some(id), true, None) = (&initiator.domain, initiator.tried, &initiator.domain_name) {
            let by_id = "SELECT name FROM project WHERE id = ?";
            initiator.domain_name = tx.column(by_id, args![Id(id)]).await?.pop();
        }
    }
    let of_identity = "SELECT id FROM service WHERE type = 'identity' ORDER BY id LIMIT 1";
    Ok(tx.column(of_identity, args![]).await?.pop())
}
