//! What the server logs of each request of each test: what must hold of it, whatever the request.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use vicar::dispatch::{Route, events};
use vicar::notifications;
use vicar::reason::Reason;
use vicar::security::{Event, TARGET};

use super::{Answer, told};

/// The lines of one request.
#[derive(Debug, Clone, Default)]
pub struct Logged {
    /// Its one line.
    pub request: Value,
    /// Its event in the security log.
    pub event: Option<Value>,
}

/// Lines by what they are of. Tests run beside each other, and the log is one.
pub struct Kept(Mutex<BTreeMap<String, Vec<Value>>>);

impl Kept {
    pub const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    pub fn all(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Value>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By request id, until somebody asks for them.
static LINES: Kept = Kept::new();

fn keep(line: Value) {
    let Some(id) = line["request_id"].as_str() else { return };
    let mut lines = LINES.all();
    if lines.len() > 50_000 {
        lines.clear();
    }
    lines.entry(id.to_owned()).or_default().push(line);
}

/// Where each line goes.
struct Lines(fn(Value));

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        assert!(line.len() < 16 << 10, "a long line: {} bytes", line.len());
        (self.0)(serde_json::from_slice(line).expect("one line of JSON"));
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Begins to look. Errors of the server belong to the test's output besides.
pub fn install() {
    let errors = layer().with_test_writer().with_filter(tracing_subscriber::filter::LevelFilter::ERROR);
    let ours = filter_fn(|m| m.is_event() && [TARGET, "vicar::dispatch::log"].contains(&m.target()));
    let captured = layer().json().flatten_event(true).with_writer(|| Lines(keep)).with_filter(ours);
    let notified = filter_fn(|m| m.is_event() && m.target() == notifications::log::TARGET);
    let told = layer().json().flatten_event(true).with_writer(|| Lines(told::keep)).with_filter(notified);
    let _ = tracing_subscriber::registry().with(errors).with(captured).with(told).try_init();
}

/// The lines of the request that was answered.
fn take(answer: &Answer) -> Logged {
    let id = answer.header("x-openstack-request-id").unwrap_or_default();
    let found = LINES.all().remove(id).unwrap_or_default();
    let (events, mut requests): (Vec<Value>, Vec<Value>) =
        found.into_iter().partition(|line| line["target"] == TARGET);
    assert!(requests.len() <= 1 && events.len() <= 1, "{requests:?} {events:?}");
    Logged { request: requests.pop().unwrap_or_default(), event: events.into_iter().next() }
}

/// Members of bodies that are secret.
pub const SECRET: [&str; 7] =
    ["password", "original_password", "passcode", "secret", "blob", "signature", "id_token"];

fn secrets(body: &Value, found: &mut Vec<String>) {
    match body {
        Value::Object(map) => {
            for (name, value) in map {
                match value {
                    Value::String(text) if SECRET.contains(&name.as_str()) => found.push(text.clone()),
                    other => secrets(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| secrets(item, found)),
        _ => {}
    }
}

/// Checks the lines of a request, and gives them.
#[track_caller]
pub fn check(
    route: Option<&Route>,
    headers: &[(&str, &str)],
    body: Option<&[u8]>,
    answer: &Answer,
) -> Logged {
    let logged = take(answer);
    let Logged { request, event } = &logged;
    if answer.header("x-openstack-request-id").is_none() {
        return logged;
    }
    let both = format!("{request} {}", event.as_ref().unwrap_or(&Value::Null));
    assert_eq!(request["status"], answer.status, "{both}");
    // A proxy may say whose request it is.
    let is_forwarded = headers.iter().any(|(name, _)| name.to_ascii_lowercase().contains("forwarded"));
    assert!(request["address"] == "127.0.0.1" || is_forwarded && request["address"].is_string(), "{both}");
    let reason = request["reason"].as_str();
    match answer.status {
        401 => assert!(reason.is_some(), "no reason: {both}"),
        403 => {
            // Some routes, a login's among them, ask for no operation.
            let asks_none = route.is_none_or(|r| r.declared.ops.is_empty());
            assert!(
                (asks_none || request["operation"].is_string()) && matches!(reason, Some("policy" | "rule")),
                "{both}"
            );
        }
        404 => {}
        _ => assert_eq!(reason, None, "{both}"),
    }
    assert!(reason.is_none_or(|word| Reason::ALL.iter().any(|r| r.word() == word)), "{both}");
    if reason.is_none() {
        assert!(!both.contains("\"tried_"), "{both}");
    }
    match (reason, route.and_then(events::of)) {
        (Some(reason), of_route) => {
            let event = event.as_ref().unwrap_or_else(|| panic!("no event: {both}"));
            let of_route = of_route.map_or(Event::Access, |(event, _)| event);
            let usual = event["event"] == of_route.word() || event["event"] == Event::PasswordReset.word();
            assert!(usual && event["outcome"] == "refused" && event["reason"] == reason, "{both}");
        }
        (None, Some((of_route, success))) if success.contains(&answer.status) => {
            let event = event.as_ref().unwrap_or_else(|| panic!("no event: {both}"));
            let usual = event["event"] == of_route.word() || event["event"] == Event::PasswordReset.word();
            assert!(usual && event["outcome"] == "success", "{both}");
            assert!(event["actor"].is_string() || request["path"] != "/v3/auth/tokens", "no actor: {both}");
        }
        _ => assert!(event.is_none(), "{both}"),
    }
    let mut hidden = Vec::new();
    for (name, value) in headers {
        if ["-token", "-receipt"].iter().any(|end| name.to_ascii_lowercase().ends_with(end)) {
            hidden.push((*value).to_owned());
        }
    }
    for name in ["x-subject-token", "openstack-auth-receipt"] {
        hidden.extend(answer.header(name).map(str::to_owned));
    }
    for json in
        [body.and_then(|b| serde_json::from_slice(b).ok()), Some(answer.body.clone())].iter().flatten()
    {
        secrets(json, &mut hidden);
    }
    // Shorter ones are words that lines have anyway.
    for secret in hidden.iter().filter(|s| s.len() >= 8) {
        assert!(!both.contains(secret.as_str()), "{secret} is in the log: {both}");
    }
    logged
}
