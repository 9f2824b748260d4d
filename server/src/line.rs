//! What a request adds to its one log line. Built from ids and from nothing that a client sent.

use std::sync::{Arc, Mutex, PoisonError};

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
    /// Whose doing it is: the trustee of the last link for a delegated token, otherwise its user.
    pub actor: String,
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
    /// Audit ids of the token that the call is about.
    pub subject: Option<String>,
    /// Whose doing it is.
    pub actor: Option<String>,
}

/// The line of one request; handlers add to it.
#[derive(Debug, Clone, Default)]
pub struct Line(Arc<Mutex<Fields>>);

impl Line {
    /// Sets who calls.
    pub fn caller(&self, token: TokenIds) {
        let mut f = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f.user = Some(token.user);
        f.audit_ids = Some(token.audit_ids);
        f.project = token.project;
        f.chain = token.chain;
        f.actor = Some(token.actor);
    }

    /// Sets which token the call is about or issued.
    pub fn subject(&self, token: TokenIds) {
        let mut f = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f.subject = Some(token.audit_ids);
        f.chain = f.chain.take().or(token.chain);
        f.actor.get_or_insert(token.actor);
    }

    /// What is known by now.
    pub fn fields(&self) -> Fields {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
