//! What a server with `driver = log` tells, by its publisher.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use super::Server;
use crate::hardening::until;

/// Notifications by publisher.
static TOLD: Mutex<Option<HashMap<String, Vec<Value>>>> = Mutex::new(None);

fn all() -> MutexGuard<'static, Option<HashMap<String, Vec<Value>>>> {
    TOLD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where log lines of notifications go.
pub struct Capture;

impl Write for Capture {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let parsed: Value = serde_json::from_slice(line).expect("one line of JSON");
        let text = parsed["notification"].as_str().expect("a notification");
        let notification: Value = serde_json::from_str(text).expect("JSON in a string");
        assert_eq!(parsed["event_type"], notification["event_type"]);
        let publisher = notification["publisher_id"].as_str().expect("a publisher").to_owned();
        all().get_or_insert_default().entry(publisher).or_default().push(notification);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Capture {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

/// A server that tells what it does into the log.
pub struct Teller {
    pub s: Server,
    pub admin: String,
    publisher: String,
    seen: usize,
}

impl Teller {
    pub fn with(default: &str, more: &str) -> Self {
        let publisher = vicar::ids::uuid();
        let s = Server::with(&format!(
            "[DEFAULT]\ndefault_publisher_id = {publisher}\n{default}\n\
             [oslo_messaging_notifications]\ndriver = log\n{more}"
        ));
        let admin = s.admin();
        Self { s, admin, publisher: format!("identity.{publisher}"), seen: 0 }
    }

    fn heard(&self) -> Vec<Value> {
        all().as_ref().and_then(|told| told.get(&self.publisher).cloned()).unwrap_or_default()
    }

    /// What was told since the last time. What is told is told in its order: when a last event is there, all are.
    pub fn told(&mut self) -> Vec<Value> {
        let last = vicar::ids::uuid();
        self.s.post(&self.admin, "/v3/regions", json!({"region": {"id": last}})).expect(201);
        until("the last event", || {
            self.heard().iter().any(|n| n["payload"]["resource_info"] == last.as_str())
        });
        let mut all = self.heard().split_off(self.seen);
        self.seen += all.len();
        all.pop();
        all
    }

    /// The same: event types with what is told of.
    pub fn types(&mut self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.told().iter().map(|n| (text(&n["event_type"]), text(&n["payload"]["resource_info"]))).collect()
    }
}
