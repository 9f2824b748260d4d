//! How many connections are open, and how long they may take.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::oneshot;

use super::front::Front;
use crate::config::Config;
use crate::peer::{Proxies, network};

/// Raises the soft limit of file descriptors to the hard one. Returns how many this process may have open;
/// `None` means that there is no limit.
pub fn raise_descriptors() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(e) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(error = %e, "the limit of file descriptors could not be raised");
    }
    getrlimit(Resource::Nofile).current
}

/// A least rate: at least `bytes` in each `window`.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// How often the bytes are counted.
    pub window: Duration,
    /// How many there must be.
    pub bytes: usize,
}

/// Counters of connections, for the metrics.
#[derive(Debug, Clone, Default)]
pub struct Gauges {
    /// Connections that are open.
    pub open: Gauge,
    /// Connections that were beyond a limit.
    pub refused: Counter,
}

/// The limits of one listener.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections in all; 0 is no limit.
    pub connections: usize,
    /// Connections of one client address (of one /64 network with IPv6); 0 is no limit.
    pub per_address: usize,
    /// Connections beyond these limits that are accepted for health checks. Anything else that is asked
    /// there is answered with 503.
    pub reserved: usize,
    /// How long a client may take for TLS, and for each request's head. The time between two requests of one
    /// connection counts as well.
    pub head: Duration,
    /// The same on a reserved connection.
    pub reserved_head: Duration,
    /// How fast a request's body must arrive.
    pub body: Rate,
    /// How long a whole body may take.
    pub body_total: Duration,
    /// How fast an answer must be read, once the kernel's buffers are full.
    pub answer: Rate,
    /// How long requests under way may take once the server stops.
    pub grace: Duration,
    /// How long a client that has connected and not asked for anything yet may take to begin once the server
    /// stops: its request may be on its way.
    pub first: Duration,
    /// The proxies that are believed when they say who the client is.
    pub proxies: Proxies,
    /// Where health checks are.
    pub front: Front,
    /// What is counted.
    pub gauges: Gauges,
}

impl Default for Limits {
    fn default() -> Self {
        let rate = Rate { window: Duration::from_secs(20), bytes: 20 << 10 };
        Self {
            connections: 8192,
            per_address: 0,
            reserved: 16,
            head: Duration::from_secs(20),
            reserved_head: Duration::from_secs(2),
            body: rate,
            body_total: Duration::from_secs(300),
            answer: rate,
            grace: Duration::from_secs(10),
            first: Duration::from_millis(500),
            proxies: Proxies::default(),
            front: Front::default(),
            gauges: Gauges::default(),
        }
    }
}

impl Limits {
    /// Of the public listener. `descriptors` is how many files the process may open; a part of them is kept
    /// for the database, the keys and the other listener.
    pub fn public(config: &Config, descriptors: Option<u64>, gauges: Gauges) -> Self {
        let usual = Self::default();
        let room = descriptors.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let reserved = usual.reserved.min(room / 16).max(1);
        let most = room.saturating_sub((room / 4).clamp(32, 512) + reserved).max(1);
        let connections = match config.max_connections {
            0 => most,
            n if n > most => {
                tracing::warn!(
                    max_connections = n,
                    possible = most,
                    "the limit of file descriptors allows fewer connections"
                );
                most
            }
            n => n,
        };
        // One address never has all of them, unless it may: behind a proxy there is only one.
        let per_address = match config.max_connections_per_address {
            0 => 0,
            n => n.min((connections / 4 * 3).max(1)),
        };
        let (proxies, front) = (config.proxies.clone(), Front::new(config));
        Self { connections, per_address, reserved, proxies, front, gauges, ..usual }
    }

    /// Of the listener for monitoring.
    pub fn monitoring(descriptors: Option<u64>) -> Self {
        let room = descriptors.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        Self { connections: 64.min(room / 16).max(2), reserved: 2, ..Self::default() }
    }
}

/// How often refusals are logged.
const REPORT_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Counts {
    open: usize,
    by_network: HashMap<IpAddr, usize>,
    /// Reserved connections, oldest first; dropping the sender ends the connection.
    reserved: BTreeMap<u64, oneshot::Sender<()>>,
    number: u64,
    refused: u64,
    reported: Option<Instant>,
}

/// Counts the connections of one listener.
#[derive(Debug)]
pub(super) struct Door {
    limits: Limits,
    counts: Mutex<Counts>,
}

/// A place for one connection, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    door: Arc<Door>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Usual(IpAddr),
    Reserved(u64, Option<oneshot::Receiver<()>>),
}

impl Door {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, counts: Mutex::default() })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a client at this address. Beyond the limits it is a reserved one, for which the oldest
    /// reserved connection has to go: a health check is over long before that. `None` when there are no
    /// reserved ones either.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let network = network(address);
        let mut counts = self.counts();
        let of_network = counts.by_network.get(&network).copied().unwrap_or(0);
        let within = |count: usize, limit: usize| limit == 0 || count < limit;
        if within(counts.open, self.limits.connections) && within(of_network, self.limits.per_address) {
            counts.open += 1;
            counts.by_network.insert(network, of_network + 1);
            drop(counts);
            self.limits.gauges.open.inc();
            return Some(Place { door: Arc::clone(self), kind: Kind::Usual(network) });
        }
        self.limits.gauges.refused.inc();
        counts.refused += 1;
        if counts.reported.is_none_or(|at| at.elapsed() >= REPORT_EVERY) {
            counts.reported = Some(Instant::now());
            let (open, refused) = (counts.open, std::mem::take(&mut counts.refused));
            tracing::warn!(open, %network, of_network, refused, "too many connections");
        }
        if self.limits.reserved == 0 {
            return None;
        }
        while counts.reserved.len() >= self.limits.reserved {
            counts.reserved.pop_first();
        }
        let (keep, ended) = oneshot::channel();
        counts.number += 1;
        let number = counts.number;
        counts.reserved.insert(number, keep);
        drop(counts);
        self.limits.gauges.open.inc();
        Some(Place { door: Arc::clone(self), kind: Kind::Reserved(number, Some(ended)) })
    }
}

impl Place {
    /// Whether only health checks are answered here.
    pub(super) fn is_reserved(&self) -> bool {
        matches!(self.kind, Kind::Reserved(..))
    }

    /// Waits until somebody else needs this place. A usual one is never taken away.
    pub(super) async fn taken(&mut self) {
        match &mut self.kind {
            Kind::Reserved(_, ended) => {
                if let Some(ended) = ended.take() {
                    let _ = ended.await;
                }
            }
            Kind::Usual(_) => std::future::pending().await,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.door.counts();
        match &self.kind {
            Kind::Usual(network) => {
                counts.open = counts.open.saturating_sub(1);
                if let Some(n) = counts.by_network.get_mut(network) {
                    *n -= 1;
                    if *n == 0 {
                        counts.by_network.remove(network);
                    }
                }
            }
            Kind::Reserved(number, _) => {
                counts.reserved.remove(number);
            }
        }
        self.door.limits.gauges.open.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(connections: usize, per_address: usize, reserved: usize) -> Arc<Door> {
        Door::new(Limits { connections, per_address, reserved, ..Limits::default() })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn places_are_counted_in_all_and_per_address() {
        let door = door(3, 2, 1);
        let usual = |address: &str| door.admit(ip(address)).filter(|place| !place.is_reserved());
        let first = usual("192.0.2.1").expect("a place");
        let _second = usual("::ffff:192.0.2.1").expect("a place");
        assert!(usual("192.0.2.1").is_none(), "the address has its share");
        let _third = usual("2001:db8::1").expect("a place");
        assert!(usual("198.51.100.1").is_none(), "all are taken");
        drop(first);
        assert!(usual("192.0.2.1").is_some());
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let door = door(0, 1, 1);
        let _held = door.admit(ip("2001:db8::1")).expect("a place");
        assert!(door.admit(ip("2001:db8::ffff:1")).is_some_and(|place| place.is_reserved()));
        assert!(door.admit(ip("2001:db8:0:1::1")).is_some_and(|place| !place.is_reserved()));
    }

    #[tokio::test]
    async fn the_newest_takes_the_place_of_the_oldest_reserved_one() {
        let door = door(1, 0, 2);
        let _held = door.admit(ip("192.0.2.1")).expect("a place");
        let mut reserved: Vec<Place> =
            (0..3).map(|_| door.admit(ip("192.0.2.1")).expect("a reserved place")).collect();
        assert!(reserved.iter().all(Place::is_reserved));
        reserved[0].taken().await;
        let kept = tokio::time::timeout(Duration::ZERO, reserved[1].taken()).await;
        assert!(kept.is_err(), "only the oldest has to go");
    }

    #[test]
    fn few_descriptors_leave_room_for_the_rest() {
        let config = Config::defaults(std::path::Path::new("/d")).expect("defaults");
        let limits = Limits::public(&config, Some(256), Gauges::default());
        assert!(limits.connections + limits.reserved <= 192, "{limits:?}");
        assert!(limits.per_address < limits.connections, "{limits:?}");
        let limits = Limits::public(&config, None, Gauges::default());
        assert_eq!(limits.connections, config.max_connections);
    }
}
