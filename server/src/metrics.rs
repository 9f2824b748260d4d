//! Counters for Prometheus. `docs/metrics.md` lists them.

use std::sync::Mutex;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::http::limits;
use crate::queue;
use crate::store::{Gauges, memory};

/// Labels of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The method.
    pub method: &'static str,
    /// The route's pattern, never the path: ids do not belong into labels.
    pub route: &'static str,
    /// The status.
    pub status: u16,
}

/// What is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    /// Requests by method, route and status.
    pub requests: Family<RequestLabels, Counter>,
    /// How long they took, in seconds.
    pub duration: Histogram,
    /// Tokens issued.
    pub tokens_issued: Counter,
    /// Trusts that ended, with all below them.
    pub trusts_ended: Counter,
    /// Requests that were run again because of somebody else's transaction.
    pub database_retries: Counter,
    /// When the reaper last swept, in seconds of Unix time.
    pub reaper_swept: Gauge,
    /// Dead trusts that the reaper has still to remove.
    pub dead_trusts: Gauge,
    /// Connections of the public listener.
    pub connections: limits::Gauges,
    /// Keys by repository.
    keys: Family<RepositoryLabels, Gauge>,
    /// When the staged key of a repository was made, which is when it was last rotated, in seconds since the epoch.
    rotated_at: Family<RepositoryLabels, Gauge>,
    /// Spans of traces.
    pub spans: SpanCounters,
    /// Notifications.
    pub notifications: NotificationCounters,
}

/// What became of notifications.
#[derive(Debug, Clone, Default)]
pub struct NotificationCounters {
    /// Notifications that the broker took; without a broker, those that were logged.
    pub sent: Counter,
    /// Notifications that were dropped: too many waited, or they could not be sent.
    pub dropped: Counter,
    /// Notifications that wait in memory.
    pub waiting: Gauge,
    /// Whether there is a connection to a broker.
    pub connected: Gauge,
}

/// Labels of a key repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RepositoryLabels {
    repository: &'static str,
}

/// What a server is, for whoever watches it.
#[derive(Debug)]
pub struct About {
    /// When it started, in seconds since the epoch.
    pub started_at: i64,
    /// Where it listens.
    pub address: String,
    /// Where clients reach it, without `/v3`.
    pub url: String,
    /// Whether connections are encrypted.
    pub tls: bool,
    /// What the database is.
    pub engine: &'static str,
    /// The version of our own part of the schema.
    pub schema: i64,
}

/// What became of spans that were to be sent to a collector.
#[derive(Debug, Clone, Default)]
pub struct SpanCounters {
    /// Spans that the collector took.
    pub sent: Counter,
    /// Spans that were dropped: too many waited, or the collector did not take them.
    pub dropped: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("vicar");
        let requests = Family::<RequestLabels, Counter>::default();
        let duration = Histogram::new(exponential_buckets(0.0001, 4.0, 10));
        let tokens_issued = Counter::default();
        let trusts_ended = Counter::default();
        let database_retries = Counter::default();
        let reaper_swept = Gauge::default();
        let dead_trusts = Gauge::default();
        registry.register("http_requests", "Requests served", requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "How long requests took",
            Unit::Seconds,
            duration.clone(),
        );
        registry.register("tokens_issued", "Tokens issued", tokens_issued.clone());
        registry.register("trusts_ended", "Trusts that ended, descendants included", trusts_ended.clone());
        registry.register(
            "database_retries",
            "Requests run again because another transaction was in the way",
            database_retries.clone(),
        );
        registry.register_with_unit(
            "reaper_sweep_timestamp",
            "When the reaper last swept to the end, as Unix time; 0: not yet",
            Unit::Seconds,
            reaper_swept.clone(),
        );
        registry.register("dead_trusts", "Dead trusts that are still stored", dead_trusts.clone());
        let keys = Family::default();
        let rotated_at = Family::default();
        registry.register("keys", "Keys in a repository", keys.clone());
        registry.register_with_unit(
            "keys_rotated_timestamp",
            "When a repository was last rotated, as Unix time",
            Unit::Seconds,
            rotated_at.clone(),
        );
        let connections = limits::Gauges::default();
        registry.register("http_connections", "Connections that are open", connections.open.clone());
        registry.register(
            "http_connections_refused",
            "Connections beyond the limits",
            connections.refused.clone(),
        );
        let spans = SpanCounters::default();
        registry.register("spans_sent", "Spans that the traces' collector took", spans.sent.clone());
        registry.register(
            "spans_dropped",
            "Spans that were dropped, as too many waited or the collector did not take them",
            spans.dropped.clone(),
        );
        let notifications = NotificationCounters::default();
        let told = registry.sub_registry_with_prefix("notifications");
        told.register("sent", "Notifications that the broker took, or the log", notifications.sent.clone());
        told.register(
            "dropped",
            "Notifications that were dropped, as too many waited or they could not be sent",
            notifications.dropped.clone(),
        );
        told.register("waiting", "Notifications that wait", notifications.waiting.clone());
        told.register(
            "connected",
            "Whether there is a connection to the broker of notifications",
            notifications.connected.clone(),
        );
        Self {
            registry: Mutex::new(registry),
            requests,
            duration,
            tokens_issued,
            trusts_ended,
            database_retries,
            reaper_swept,
            dead_trusts,
            connections,
            keys,
            rotated_at,
            spans,
            notifications,
        }
    }
}

impl Metrics {
    /// Adds the counts of the pool of connections.
    pub fn with_pool(self, pool: &Gauges) -> Self {
        let mut registry = self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let database = registry.sub_registry_with_prefix("database");
        database.register("connections_open", "Connections to the database", pool.open.clone());
        database.register("connections_used", "Connections that a request uses", pool.used.clone());
        database.register("waiting", "Requests that wait for a connection or to write", pool.waiting.clone());
        database.register("connections_made", "Connections that were made", pool.made.clone());
        database.register("connections_refused", "Connections that could not be made", pool.refused.clone());
        database.register("connections_lost", "Connections that were lost in use", pool.lost.clone());
        drop(registry);
        self
    }

    /// Adds the counts of the memory.
    #[must_use]
    pub fn with_memory(self, memory: &memory::Counts) -> Self {
        let mut registry = self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let counts = registry.sub_registry_with_prefix("memory");
        counts.register("hits", "Rows and answers that were given from memory", memory.hits.clone());
        counts.register(
            "misses",
            "Rows and answers that were not there or had changed",
            memory.misses.clone(),
        );
        counts.register(
            "questions",
            "Questions to the database whether anything has changed",
            memory.questions.clone(),
        );
        counts.register("changes", "Changes that the journal told of", memory.changes.clone());
        counts.register("forgotten", "How often everything was forgotten", memory.forgotten.clone());
        drop(registry);
        self
    }

    /// Adds the counts of the queues before password hashing and before long reads.
    pub fn watch_queues(&self, passwords: &queue::Gauges, long_reads: &queue::Gauges) {
        let mut registry = self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (name, what, queue) in
            [("passwords", "Passwords to be hashed", passwords), ("long_reads", "Long reads", long_reads)]
        {
            let counts = registry.sub_registry_with_prefix(name);
            counts.register("waiting", format!("{what} that wait"), queue.waiting.clone());
            counts.register(
                "refused",
                format!("{what} that were refused, as too many waited"),
                queue.refused.clone(),
            );
        }
    }

    /// Adds the count of log lines that were dropped.
    pub fn watch_log(&self, dropped: &Counter) {
        let mut registry = self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        registry.register(
            "log_lines_dropped",
            "Log lines that were dropped, as too many waited or they could not be written",
            dropped.clone(),
        );
    }

    /// Registers what the server is.
    pub fn describe(&self, about: &About) {
        let mut registry = self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        registry.register("build", "The program", Info::new(vec![("version", version)]));
        let labels = vec![
            ("address", about.address.clone()),
            ("url", about.url.clone()),
            ("tls", about.tls.to_string()),
            ("engine", about.engine.to_owned()),
            ("schema", about.schema.to_string()),
        ];
        registry.register("server", "Where it serves, from which database", Info::new(labels));
        let started_at: Gauge = Gauge::default();
        started_at.set(about.started_at);
        registry.register_with_unit(
            "start_time",
            "When the server started, as Unix time",
            Unit::Seconds,
            started_at,
        );
    }

    /// Notes the keys of a repository: how many, and when it was rotated, in seconds since the epoch.
    pub fn note_keys(&self, repository: &'static str, count: i64, rotated_at: i64) {
        let labels = RepositoryLabels { repository };
        self.keys.get_or_create(&labels).set(count);
        self.rotated_at.get_or_create(&labels).set(rotated_at);
    }

    /// The text that Prometheus reads.
    pub fn render(&self) -> String {
        let mut out = String::new();
        let registry = self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Writing into a String does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut out, &registry);
        out
    }
}
