//! Slow work of a request: password hashes. It is done between two runs of a handler, while nothing is held.
//!
//! A handler asks for a result. Where it is not there yet, the handler ends with [`Error::Pending`]; the work
//! is done, and the handler runs again from its beginning and finds the result. What the work rested on, a
//! stored hash, is part of the question: when it has changed meanwhile, the question is another one.

use crate::crypto::passwords::{Origin, Passwords};
use crate::error::{Error, Result};

/// A question whose answer takes long.
#[derive(Clone, PartialEq, Eq)]
enum Question {
    /// The hash of a new password.
    Hash(String),
    /// Whether a password fits a stored hash, or none.
    Verify(String, Option<String>),
}

#[derive(Clone)]
enum Answer {
    Hash(String),
    Fits(bool),
}

/// Questions and answers of one request.
#[derive(Default)]
pub struct SlowWork {
    /// Who the client says they are: users and addresses take turns.
    claimed: String,
    answered: Vec<(Question, Answer)>,
    open: Option<Question>,
}

impl std::fmt::Debug for SlowWork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Passwords are in it.
        f.debug_struct("SlowWork").field("answered", &self.answered.len()).finish_non_exhaustive()
    }
}

impl SlowWork {
    fn ask(&mut self, question: Question) -> Result<Answer> {
        match self.answered.iter().find(|(q, _)| *q == question) {
            Some((_, answer)) => Ok(answer.clone()),
            None => {
                self.open = Some(question);
                Err(Error::Pending)
            }
        }
    }

    /// Sets who asks for the work: as the client wrote it, whether there is such a user or not.
    pub fn claim(&mut self, who: &str) {
        who.clone_into(&mut self.claimed);
    }

    /// The hash of a password that shall be stored.
    ///
    /// # Errors
    /// [`Error::Pending`] until it is computed.
    pub fn hash(&mut self, password: &str) -> Result<String> {
        match self.ask(Question::Hash(password.to_owned()))? {
            Answer::Hash(hash) => Ok(hash),
            Answer::Fits(_) => Err(Error::Internal("a hash was asked for".into())),
        }
    }

    /// Whether the password fits the stored hash; without a hash it takes as long and does not.
    ///
    /// # Errors
    /// [`Error::Pending`] until it is computed.
    pub fn verify(&mut self, password: &str, hash: Option<&str>) -> Result<bool> {
        match self.ask(Question::Verify(password.to_owned(), hash.map(str::to_owned)))? {
            Answer::Fits(fits) => Ok(fits),
            Answer::Hash(_) => Err(Error::Internal("a verification was asked for".into())),
        }
    }

    /// Answers the open question. Nothing may be held meanwhile.
    ///
    /// # Errors
    /// 400 for a password that cannot be hashed, 503 when too many wait.
    pub async fn perform(&mut self, passwords: &Passwords) -> Result<()> {
        let Some(question) = self.open.take() else {
            return Err(Error::Internal("nothing was asked".into()));
        };
        let answer = match &question {
            Question::Hash(password) => {
                Answer::Hash(passwords.hash_from(Origin::here(&self.claimed), password).await?)
            }
            Question::Verify(password, hash) => {
                let origin = Origin::here(&self.claimed);
                Answer::Fits(passwords.verify_from(origin, password, hash.as_deref()).await?)
            }
        };
        self.answered.push((question, answer));
        Ok(())
    }
}
