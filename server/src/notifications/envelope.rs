//! Messages of oslo.messaging: a notification, bare or in the envelope of version 2.

use serde_json::{Value, json};

use super::cadf;
use super::notice::Notice;
use crate::clock;
use crate::config::messaging::Format;
use crate::ids;

/// A notification that can be written down.
pub struct Event {
    /// Its event type.
    pub event_type: String,
    message: Value,
}

impl Event {
    /// The notification of a notice.
    pub fn new(notice: &Notice, format: Format, publisher: &str, observer: Option<&str>) -> Self {
        let basic = if format == Format::Basic { cadf::basic(notice) } else { None };
        let event_type = notice.event_type();
        let message = json!({
            "message_id": cadf::new_id(),
            "publisher_id": publisher,
            "event_type": event_type,
            "priority": "INFO",
            "payload": basic.unwrap_or_else(|| cadf::event(notice, observer)),
            "timestamp": clock::iso_bare(notice.at).replace('T', " "),
            "_unique_id": ids::uuid(),
        });
        Self { event_type, message }
    }

    /// Without envelope.
    pub fn bare(&self) -> String {
        self.message.to_string()
    }

    /// In the envelope.
    pub fn enveloped(&self) -> String {
        json!({"oslo.version": "2.0", "oslo.message": self.bare()}).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notifications::{Action, Actor, Initiator, ObjectKind, Outcome, Reason, What};

    fn notice(what: What) -> Notice {
        let initiator = Initiator {
            user: Some("0123456789abcdef0123456789abcdef".into()),
            name: Some("alice".into()),
            project: Some("p".into()),
            request: "req-1".into(),
            address: Some("192.0.2.1".into()),
            agent: "curl".into(),
            ..Initiator::default()
        };
        let at = 1_800_000_000_000_001;
        Notice {
            what,
            initiator: Some(initiator),
            outcome: Outcome::Success,
            reason: None,
            password_hash: None,
            at,
        }
    }

    fn object(kind: ObjectKind, action: Action, actor: Option<Actor>) -> Notice {
        notice(What::Object { kind, action, id: "x1".into(), actor })
    }

    #[test]
    fn the_envelope_has_the_message_as_a_string() {
        let event = Event::new(
            &object(ObjectKind::Project, Action::Deleted, None),
            Format::Basic,
            "identity.h",
            None,
        );
        let outer: Value = serde_json::from_str(&event.enveloped()).expect("JSON");
        assert_eq!(outer["oslo.version"], "2.0");
        let inner: Value =
            serde_json::from_str(outer["oslo.message"].as_str().expect("a string")).expect("JSON");
        assert_eq!(inner["event_type"], "identity.project.deleted");
        assert_eq!(inner["publisher_id"], "identity.h");
        assert_eq!(inner["priority"], "INFO");
        assert_eq!(inner["timestamp"], "2027-01-15 08:00:00.000001");
        assert_eq!(inner["payload"], json!({"resource_info": "x1", "request_id": "req-1"}));
        let ids = [&inner["message_id"], &inner["_unique_id"]].map(|id| id.as_str().map(str::len));
        assert_eq!(ids, [Some(36), Some(32)]);
        assert_eq!(serde_json::from_str::<Value>(&event.bare()).expect("JSON"), inner);
    }

    #[test]
    fn cadf_says_who_did_what_to_which() {
        let one = object(ObjectKind::Trust, Action::Created, None);
        let event = cadf::event(&one, Some("the service"));
        assert_eq!(event["action"], "created.OS-TRUST:trust");
        assert_eq!(one.event_type(), "identity.OS-TRUST:trust.created");
        assert_eq!(event["eventTime"], "2027-01-15T08:00:00.000001+0000");
        assert_eq!(event["target"], json!({"typeURI": "data/security/trust", "id": "x1"}));
        assert_eq!(event["observer"], json!({"typeURI": "service/security", "id": "the service"}));
        assert_eq!(event["resource_info"], "x1");
        assert_eq!(
            event["initiator"],
            json!({
                "typeURI": "service/security/account/user",
                "id": "0123456789abcdef0123456789abcdef",
                "user_id": "0123456789abcdef0123456789abcdef",
                "host": {"agent": "curl", "address": "192.0.2.1"},
                "name": "alice",
                "username": "alice",
                "project_id": "p",
                "request_id": "req-1",
            })
        );
    }

    #[test]
    fn logins_and_grants_are_cadf_in_either_format() {
        let parts = vec![("role", "r".to_owned()), ("user", "u".to_owned()), ("project", "p".to_owned())];
        let grant = notice(What::Grant { action: Action::Created, parts, inherited: false });
        let payload =
            |notice: &Notice| Event::new(notice, Format::Basic, "i", None).message["payload"].clone();
        let event = payload(&grant);
        assert_eq!(event["action"], "created.role_assignment");
        assert_eq!(
            (&event["role"], &event["user"], &event["project"]),
            (&"r".into(), &"u".into(), &"p".into())
        );
        assert_eq!(event["inherited_to_projects"], false);
        let mut login = notice(What::Authenticate);
        login.outcome = Outcome::Failure;
        login.reason = Some(Reason { text: "locked".into(), code: 401 });
        assert_eq!(login.opted_out_as(), "identity.authenticate.failure");
        assert_eq!(payload(&login)["reason"], json!({"reasonType": "locked", "reasonCode": "401"}));
        let came = object(ObjectKind::Group, Action::Updated, Some(Actor { user: "u".into(), came: true }));
        assert_eq!(
            payload(&came),
            json!({"resource_info": "x1", "actor_id": "u", "actor_type": "user", "actor_operation": "added",
                "request_id": "req-1"})
        );
    }

    #[test]
    fn a_change_that_was_refused_is_none_in_the_basic_format() {
        let mut refused = object(ObjectKind::User, Action::Updated, None);
        assert!(refused.is_told(Format::Basic));
        refused.reason = Some(Reason { text: "too short".into(), code: 400 });
        assert!(!refused.is_told(Format::Basic) && refused.is_told(Format::Cadf));
    }
}
