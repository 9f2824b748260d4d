//! What a route tells those who listen to notifications: what a Keystone tells for the same call.

use axum::http::HeaderName;
use axum::http::header::USER_AGENT;
use axum::response::Response;
use serde_json::Value;
use vicar_rules::policy::Scope;

use super::events;
use super::follows::{self, Tells};
use super::route::{Auth, Route};
use crate::app::App;
use crate::authz::{Caller, Told};
use crate::error::Error;
use crate::http::Request;
use crate::http::request::Made;
use crate::line::{self, Password, Verdict, cut};
use crate::notifications::{Action, Actor, Came, Initiator, Notice, ObjectKind, Outcome, Reason, What};
use crate::peer::Peer;

/// The header with the id that a client gave to what it does in several services.
const GLOBAL_ID: HeaderName = HeaderName::from_static("x-openstack-request-id");

/// The longest name that a client gives itself, in bytes.
const LONGEST_AGENT: usize = 255;

/// A request that is over, or about to be refused.
pub(super) struct Done<'a> {
    /// The server's parts.
    pub app: &'a App,
    /// The route.
    pub route: &'a Route,
    /// The request.
    pub request: &'a Request,
    /// Who called.
    pub caller: Option<&'a Caller>,
}

impl Done<'_> {
    /// Leaves notices of what a request has done. Its transaction is committed.
    pub fn tell(&self, told: Vec<Told>, response: &Response) {
        if !self.app.notifications.is_on() {
            return;
        }
        self.tell_login();
        // What was only asked for (`?dry_run=true`) has another.
        if !events::successes(self.route).is_some_and(|s| s.contains(&response.status().as_u16())) {
            return;
        }
        for Told { kind, action, id, by_caller } in told {
            let what = What::Object { kind, action, id, actor: None };
            self.say(what, by_caller.then(|| self.initiator()), Outcome::Success, None);
        }
        if let Some(what) = self.what(response.extensions().get::<Made>().map(|made| &*made.id)) {
            self.say(what, Some(self.initiator()), Outcome::Success, None);
        }
    }

    /// Leaves notices of what a request has not done, as far as a Keystone does: logins, grants, and passwords that were refused.
    pub fn tell_refused(&self, error: &Error) {
        if !self.app.notifications.is_on() || !is_refusal(error) {
            return;
        }
        self.tell_login();
        let op = self.route.declared.ops.first().copied();
        match op.and_then(|op| follows::of(op).tells) {
            Some(Tells::Grant(_)) if self.request.line.was_allowed() => {
                if let Some(what) = self.what(None) {
                    self.say(what, Some(self.initiator()), Outcome::Failure, None);
                }
            }
            Some(Tells::Changed(ObjectKind::User)) if self.is_refused_password(error) => {
                let reason = Reason { text: error.to_string(), code: 400 };
                if let Some(what) = self.what(None) {
                    self.say(what, Some(self.initiator()), Outcome::Failure, Some(reason));
                }
            }
            _ => {}
        }
    }

    /// Whether the owner of a password wanted to change it to one that cannot be.
    fn is_refused_password(&self, error: &Error) -> bool {
        let verdict = self.request.line.password().map(|password| password.verdict);
        matches!(verdict, Some(Verdict::Right | Verdict::Expired)) && matches!(error, Error::BadRequest(_))
    }

    /// What the route has done; `made` is the id of what it made.
    fn what(&self, made: Option<&str>) -> Option<What> {
        let part = |name: &str| self.request.param_opt(name).map(str::to_owned);
        let object = |kind, action, id| What::Object { kind, action, id, actor: None };
        Some(match follows::of(*self.route.declared.ops.first()?).tells? {
            Tells::Made(kind) => object(kind, Action::Created, made?.to_owned()),
            Tells::Changed(kind) => object(kind, Action::Updated, self.request.parts().last()?.1.to_owned()),
            Tells::Gone(kind) => object(kind, Action::Deleted, self.request.parts().last()?.1.to_owned()),
            Tells::Member { came } => What::Object {
                kind: ObjectKind::Group,
                action: Action::Updated,
                id: part("group_id")?,
                actor: Some(Actor { user: part("user_id")?, came }),
            },
            Tells::Grant(action) => {
                const PARTS: [(&str, &str); 5] = [
                    ("project", "project_id"),
                    ("domain", "domain_id"),
                    ("user", "user_id"),
                    ("group", "group_id"),
                    ("role", "role_id"),
                ];
                let parts = PARTS.into_iter().filter_map(|(name, of)| Some((name, part(of)?))).collect();
                What::Grant { action, parts, inherited: self.route.path.contains("OS-INHERIT") }
            }
            Tells::ByHandler => return None,
        })
    }

    /// Leaves notices of the password that came along, and of who came through an identity provider.
    fn tell_login(&self) {
        if let Some(line::Came { provider, user, groups, token, is_let_in }) = self.request.line.arrival() {
            let outcome = if is_let_in { Outcome::Success } else { Outcome::Failure };
            let came = Came { provider, user, groups, token };
            let initiator = Initiator { tried: true, ..self.initiator() };
            self.say(What::Arrival(came), Some(initiator), outcome, None);
        }
        let Some(password) = self.request.line.password() else { return };
        let (outcome, reason) = judged(&password);
        let mut initiator = self.initiator();
        if self.route.auth == Auth::Login || password.user.is_some() {
            initiator.name = None;
        }
        initiator.tried = password.user.is_none();
        if initiator.tried {
            initiator.domain = password.domain;
        }
        initiator.user = password.user;
        self.say(What::Authenticate, Some(initiator), outcome, reason);
    }

    fn say(&self, what: What, initiator: Option<Initiator>, outcome: Outcome, reason: Option<Reason>) {
        let at = self.app.clock.now();
        let password_hash = match what {
            What::Authenticate if outcome == Outcome::Failure => self.request.line.wrong_password_hash(),
            _ => None,
        };
        self.app.notifications.tell(Notice { what, initiator, outcome, reason, password_hash, at });
    }

    /// Who called, as far as a Keystone tells it.
    fn initiator(&self) -> Initiator {
        let header = |name| self.request.header(name).ok().flatten();
        let mut initiator = Initiator {
            request: self.request.id.clone(),
            global_request: header(&GLOBAL_ID).filter(|id| is_request_id(id)).map(str::to_owned),
            address: Peer::current().map(|peer| peer.address.to_string()),
            agent: cut(header(&USER_AGENT).unwrap_or_default(), LONGEST_AGENT).into_owned(),
            ..Initiator::default()
        };
        if let Some(token) = self.caller.and_then(Caller::token) {
            initiator.user = Some(token.user.id.clone());
            initiator.name = Some(token.user.name.clone());
            initiator.delegation = self.caller.and_then(Caller::delegation).map(Value::Object);
            match &token.subject().scope {
                Scope::Project { id, .. } => initiator.project = Some(id.clone()),
                Scope::Domain(id) => initiator.domain = Some(id.clone()),
                Scope::Unscoped | Scope::System => {}
            }
        }
        initiator
    }
}

/// How a password is told. What did not name a user is not told: it may be a password in the wrong field.
fn judged(password: &Password) -> (Outcome, Option<Reason>) {
    let user = password.user.as_deref().unwrap_or_default();
    let reason = match password.verdict {
        Verdict::Right => return (Outcome::Success, None),
        Verdict::Wrong => None,
        Verdict::Locked => Some((format!("The account is locked for user: {user}."), 401)),
        Verdict::Expired => Some((Error::PasswordExpired(user.to_owned()).to_string(), 401)),
        Verdict::NoSuchUser => Some(("Could not find user.".to_owned(), 404)),
    };
    (Outcome::Failure, reason.map(|(text, code)| Reason { text, code }))
}

/// Whether it ends the request, and is the client's doing.
fn is_refusal(error: &Error) -> bool {
    !matches!(
        error,
        Error::NeedsWriter
            | Error::Pending
            | Error::TakesLong
            | Error::Unread(_)
            | Error::RevokedThisSecond
            | Error::Retry(_)
            | Error::Busy
            | Error::Internal(_)
    )
}

/// `req-` and a UUID in small letters.
fn is_request_id(text: &str) -> bool {
    let Some(id) = text.strip_prefix("req-") else { return false };
    let lengths: Vec<usize> = id.split('-').map(str::len).collect();
    let digits = id.bytes().all(|b| matches!(b, b'-' | b'0'..=b'9' | b'a'..=b'f'));
    digits && lengths == [8, 4, 4, 4, 12]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::Handler;
    use crate::routes::ROUTES;

    #[test]
    fn what_reads_tells_nothing_and_what_writes_does_or_is_named_here() {
        let mut quiet = Vec::new();
        for route in ROUTES {
            let tells = route.declared.ops.first().copied().and_then(|op| follows::of(op).tells);
            match (&route.handler, tells) {
                (Handler::Write(_), None) => quiet.push(route.path.split('/').nth(2).unwrap_or_default()),
                // The last part of the path is the id, and the answer has one that is made.
                (Handler::Write(_), Some(Tells::Changed(_) | Tells::Gone(_))) => {
                    assert!(route.path.ends_with('}') || route.path.ends_with("/password"), "{route:?}");
                }
                (Handler::Write(_), Some(_)) => {}
                (Handler::Read(_) | Handler::Plain(_), tells) => assert_eq!(tells, None, "{route:?}"),
            }
        }
        quiet.sort_unstable();
        quiet.dedup();
        let wanted = [
            "OS-EP-FILTER",
            "OS-FEDERATION",
            "OS-OAUTH1",
            "OS-OAUTH2",
            // The end of a trust's tokens, as that of others.
            "OS-TRUST",
            "auth",
            "credentials",
            "domains",
            "ec2tokens",
            "limits",
            "policies",
            "registered_limits",
            "roles",
            "s3tokens",
            "system",
            "users",
        ];
        assert_eq!(quiet, wanted);
    }

    #[test]
    fn each_kind_is_told_by_a_route_or_a_handler() {
        let of_routes: Vec<Tells> = ROUTES
            .iter()
            .filter_map(|route| route.declared.ops.first().copied().and_then(|op| follows::of(op).tells))
            .collect();
        for kind in ObjectKind::ALL {
            let told = of_routes.iter().any(
                |tells| matches!(tells, Tells::Made(of) | Tells::Changed(of) | Tells::Gone(of) if of == kind),
            );
            let by_handler =
                matches!(kind, ObjectKind::Project | ObjectKind::ProjectTag | ObjectKind::RequestToken);
            assert!(told != by_handler, "{}", kind.word());
        }
    }

    #[test]
    fn ids_that_clients_give() {
        assert!(is_request_id("req-01234567-89ab-cdef-0123-456789abcdef"));
        for odd in [
            "",
            "req-",
            "01234567-89ab-cdef-0123-456789abcdef",
            "req-01234567-89AB-cdef-0123-456789abcdef",
            "req-0123456789abcdef0123456789abcdef",
        ] {
            assert!(!is_request_id(odd), "{odd}");
        }
    }
}
