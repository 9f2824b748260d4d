//! What a request adds to its one log line: ids that the server knows, and fixed words. What a client sent is
//! there only where the server found it to be the name or id of something that exists, and cut to a bound.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Error;
use crate::reason::Reason;
use crate::security::Event;

/// The longest value of a field, in bytes.
pub const LONGEST: usize = 1024;

/// A value of bounded length: what is longer ends in `…`.
pub fn cut(value: &str, longest: usize) -> Cow<'_, str> {
    if value.len() <= longest {
        return value.into();
    }
    let end = (0..=longest).rev().find(|at| value.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", value.get(..end).unwrap_or_default()).into()
}

fn short(value: Option<String>) -> Option<String> {
    match value {
        Some(long) if long.len() > LONGEST => Some(cut(&long, LONGEST).into_owned()),
        usual => usual,
    }
}

/// Who is behind a token, in ids.
#[derive(Debug, Clone, Default)]
pub struct TokenIds {
    /// The user that the token speaks for.
    pub user: String,
    /// Its audit ids.
    pub audit_ids: String,
    /// Its project.
    pub project: Option<String>,
    /// `alice>solum(t1) alice>heat(t2)`: trustor, trustee and trust of each link, root first.
    pub chain: Option<String>,
    /// What is said of the beginning of the chain.
    pub origin: Option<String>,
    /// Whose doing it is: the trustee of the last link for a delegated token, otherwise its user.
    pub actor: String,
}

/// Whom or what a refused request tried to be. A name that is no user's is not kept: it may be a password.
#[derive(Debug, Clone, Default)]
pub struct Tried {
    /// The id of a user who exists.
    pub user: Option<String>,
    /// Their name, where the request named it.
    pub name: Option<String>,
    /// The id of a domain that exists.
    pub domain: Option<String>,
    /// Audit ids of a token that this server or one with its keys has made.
    pub audit_ids: Option<String>,
    /// A part of a keyed hash of a wrong password, where that is configured.
    pub password_hash: Option<String>,
}

impl Tried {
    /// With values of bounded length.
    fn cut(self) -> Self {
        Self {
            user: short(self.user),
            name: short(self.name),
            domain: short(self.domain),
            audit_ids: short(self.audit_ids),
            password_hash: short(self.password_hash),
        }
    }
}

/// What a password was good for that a request came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was right.
    Right,
    /// It was right, and has expired.
    Expired,
    /// It was wrong.
    Wrong,
    /// The account is locked.
    Locked,
    /// There is no such user.
    NoSuchUser,
}

/// A password that was looked at.
#[derive(Debug, Clone)]
pub struct Password {
    /// Whose, by id; nothing if there is no such user.
    pub user: Option<String>,
    /// The domain in which there is none.
    pub domain: Option<String>,
    /// What it was good for.
    pub verdict: Verdict,
}

/// Who came through an identity provider, or is one of those by a token.
#[derive(Debug, Clone, Default)]
pub struct Came {
    /// The identity provider.
    pub provider: String,
    /// The user, by id, where it is one of the provider's.
    pub user: Option<String>,
    /// The groups that their token names.
    pub groups: Vec<String>,
    /// The audit id of the token that they are known by.
    pub token: Option<String>,
    /// Whether they are let in.
    pub is_let_in: bool,
}

/// The fields of the line.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    /// The user that the token speaks for.
    pub user: Option<String>,
    /// Audit ids of the token.
    pub audit_ids: Option<String>,
    /// Its project.
    pub project: Option<String>,
    /// Who acts for whom.
    pub chain: Option<String>,
    /// What is said of the beginning of the chain.
    pub origin: Option<String>,
    /// Audit ids of the token that the call is about.
    pub subject: Option<String>,
    /// Whose doing it is.
    pub actor: Option<String>,
    /// The id of the credential that was to be exchanged.
    pub credential: Option<String>,
    /// Why it was refused.
    pub reason: Option<Reason>,
    /// The operation that was refused.
    pub operation: Option<&'static str>,
    /// Whom it tried to be, if it was refused.
    pub tried: Tried,
    /// What it is in the security log if it succeeds, and with which status it has.
    pub event: Option<(Event, [u16; 2])>,
    /// Ids of trusts that ended, the one that the path names among them.
    pub ended: Option<String>,
    /// The password that came along. It is in no line: notifications tell it.
    pub password: Option<Password>,
    /// Who came through an identity provider. Notifications tell it, too.
    pub came: Option<Came>,
    /// Whether the policy has allowed what is asked for. Neither is this.
    pub allowed: bool,
}

/// The line of one request; handlers add to it.
#[derive(Debug, Clone, Default)]
pub struct Line(Arc<Mutex<Fields>>);

impl Line {
    fn lock(&self) -> MutexGuard<'_, Fields> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets who calls.
    pub fn caller(&self, token: TokenIds) {
        let mut f = self.lock();
        f.user = Some(token.user);
        f.audit_ids = Some(token.audit_ids);
        f.project = token.project;
        f.chain = token.chain;
        f.origin = token.origin;
        f.actor = Some(token.actor);
    }

    /// Sets that whoever calls has the configured admin token.
    pub fn admin_token(&self) {
        self.lock().actor = Some("admin_token".to_owned());
    }

    /// Sets which token the call is about or issued.
    pub fn subject(&self, token: TokenIds) {
        let mut f = self.lock();
        f.subject = Some(token.audit_ids);
        f.chain = f.chain.take().or(token.chain);
        f.origin = f.origin.take().or(token.origin);
        f.actor.get_or_insert(token.actor);
    }

    /// Sets which credential is to be exchanged. It exists.
    pub fn credential(&self, id: &str) {
        self.lock().credential = Some(id.to_owned());
    }

    /// Sets whom the request tries to be. It is shown if the request is refused.
    pub fn tried(&self, who: Tried) {
        self.lock().tried = who;
    }

    /// Sets the hash of a wrong password.
    pub fn wrong_password(&self, hash: String) {
        self.lock().tried.password_hash = Some(hash);
    }

    /// That part of the hash.
    pub fn wrong_password_hash(&self) -> Option<String> {
        self.lock().tried.password_hash.clone()
    }

    /// Sets what the request is in the security log, and with which status it has succeeded.
    pub fn event(&self, event: Event, success: [u16; 2]) {
        self.lock().event = Some((event, success));
    }

    /// The same for a request that is a little more than its route says.
    pub fn event_is(&self, event: Event) {
        let mut f = self.lock();
        f.event = f.event.map(|(_, success)| (event, success));
    }

    /// Sets which trusts end with the request.
    pub fn ended(&self, trusts: &[String]) {
        self.lock().ended = Some(trusts.join(" "));
    }

    /// Notes why the request is refused, if it is; `operation` is what the route asks for.
    pub fn refused(&self, error: &Error, operation: Option<&'static str>) {
        if let Some(reason) = error.reason() {
            let mut f = self.lock();
            f.reason = Some(reason);
            f.operation = match error {
                Error::NotPermitted(operation) => Some(operation),
                _ => operation,
            };
        }
    }

    /// Sets what the password was good for that came along.
    pub fn looked_at(&self, password: Password) {
        self.lock().password = Some(password);
    }

    /// The password that came along, if one was looked at.
    pub fn password(&self) -> Option<Password> {
        self.lock().password.clone()
    }

    /// Sets who came through an identity provider.
    pub fn came(&self, who: Came) {
        self.lock().came = Some(who);
    }

    /// Who came through an identity provider, if somebody did.
    pub fn arrival(&self) -> Option<Came> {
        self.lock().came.clone()
    }

    /// Notes that the policy allows what is asked for.
    pub fn allowed(&self) {
        self.lock().allowed = true;
    }

    /// Whether the policy has allowed it.
    pub fn was_allowed(&self) -> bool {
        self.lock().allowed
    }

    /// Who really calls, as far as is known by now.
    pub fn actor(&self) -> Option<String> {
        self.lock().actor.clone()
    }

    /// What is known in the end, each value of bounded length. Nothing is left in the line.
    pub fn take(&self) -> Fields {
        let f = std::mem::take(&mut *self.lock());
        Fields {
            audit_ids: short(f.audit_ids),
            chain: short(f.chain),
            origin: short(f.origin),
            subject: short(f.subject),
            ended: short(f.ended),
            tried: if f.reason.is_some() { f.tried.cut() } else { Tried::default() },
            ..f
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "abc…");
        assert_eq!(cut("aéé", 2), "a…");
        assert_eq!(cut("é", 0), "…");
    }
}
