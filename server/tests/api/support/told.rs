//! What a server with `driver = log` tells, by its publisher.

use serde_json::{Value, json};

use super::Server;
use super::logged::Kept;
use crate::hardening::until;

/// By publisher.
static TOLD: Kept = Kept::new();

pub fn keep(line: Value) {
    let text = line["notification"].as_str().expect("a notification");
    let notification: Value = serde_json::from_str(text).expect("JSON in a string");
    assert_eq!(line["event_type"], notification["event_type"]);
    let publisher = notification["publisher_id"].as_str().expect("a publisher").to_owned();
    TOLD.all().entry(publisher).or_default().push(notification);
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
        TOLD.all().get(&self.publisher).cloned().unwrap_or_default()
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
