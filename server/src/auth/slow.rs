//! Slow work of a request: password hashes, mappings, tokens of identity providers, and questions to other servers. It is done between two runs of a handler, while nothing is held.
//!
//! A handler asks for a result. Where it is not there yet, the handler ends with [`Error::Pending`]; the work
//! is done, and the handler runs again from its beginning and finds the result. What the work rested on, a
//! stored hash, is part of the question: when it has changed meanwhile, the question is another one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use vicar_rules::Micros;
use vicar_rules::mapping::{Mapped, Mapping};

use crate::crypto::passwords::Passwords;
use crate::directory::{self, Service, Who};
use crate::error::{Error, Result};
use crate::ids;
use crate::oidc::{Bearer, Code, Providers, Refusal};
use crate::queue::Origin;
use crate::reason::Reason;
use crate::remote::{self, Remote};
use crate::store::Store;

/// A question whose answer takes long.
#[derive(Clone, PartialEq)]
enum Question {
    /// The hash of a new password.
    Hash(String),
    /// The same of a password that has a hash already: when there is time.
    HashAnew(String),
    /// Whether a password fits a stored hash, or none.
    Verify(String, Option<String>),
    /// Whom a mapping makes of what is said of somebody.
    Map(Box<Said>),
    /// What a provider, by a protocol of it, says of the bearer of a token.
    Bearer([String; 3]),
    /// Where a provider, by a protocol of it, logs people in.
    Door([String; 2]),
    /// What it says of whoever has brought a code.
    Code([String; 2], Code),
    /// Whether a password is that of a user in the directory of a domain; without one, who they are there.
    LogIn(String, Who, Option<String>),
}

/// What work is done with, and the instant at which it is.
#[derive(Debug, Clone, Copy)]
pub struct Workers<'a> {
    /// For hashes.
    pub passwords: &'a Passwords,
    /// For questions of the policy.
    pub remote: &'a Remote,
    /// For tokens of identity providers.
    pub providers: &'a Providers,
    /// The instant.
    pub now: Micros,
}

/// What is said of somebody, and the mapping by which it is read.
#[derive(Clone, PartialEq)]
pub(super) struct Said {
    pub(super) mapping: Mapping,
    pub(super) attributes: BTreeMap<String, String>,
}

impl Said {
    /// What the mapping makes of it, if it makes anything.
    pub(super) fn mapped(&self) -> Option<Mapped> {
        self.mapping.evaluate(&self.attributes).ok()
    }
}

#[derive(Clone)]
enum Answer {
    Hash(String),
    NotNow,
    Fits(bool),
    Mapped(Option<Box<Mapped>>),
    Bearer(std::result::Result<Bearer, Refusal>),
    Door(std::result::Result<String, Refusal>),
    LoggedIn(directory::Login),
}

/// Questions and answers of one request.
#[derive(Default)]
pub struct SlowWork {
    /// Who the client says they are: users and addresses take turns.
    claimed: String,
    answered: Vec<(Question, Answer)>,
    open: Option<Question>,
    made: Option<String>,
    /// Who has come with a code.
    came: Option<Bearer>,
    /// What the policy asks of other servers. It has only a look at this.
    policy: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    answered: Vec<(remote::Question, Option<bool>)>,
    open: Option<remote::Question>,
}

/// How many questions of the policy are answered for one request. To those beyond there is no answer.
const MOST_QUESTIONS: usize = 16;

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

    /// A new secret, the same one in every run of the handler: its hash is asked for in one, and found in the next.
    pub fn new_secret(&mut self) -> String {
        self.made.get_or_insert_with(ids::long_secret).clone()
    }

    /// The hash of a password that shall be stored.
    ///
    /// # Errors
    /// [`Error::Pending`] until it is computed.
    pub fn hash(&mut self, password: &str) -> Result<String> {
        match self.ask(Question::Hash(password.to_owned()))? {
            Answer::Hash(hash) => Ok(hash),
            _ => Err(Error::Internal("a hash was asked for".into())),
        }
    }

    /// Another hash of a password that has one. Nothing when too many wait for theirs, or when the password
    /// cannot be hashed so: what asks must not fail for it.
    ///
    /// # Errors
    /// [`Error::Pending`] until it is computed or given up.
    pub fn hash_anew(&mut self, password: &str) -> Result<Option<String>> {
        match self.ask(Question::HashAnew(password.to_owned()))? {
            Answer::Hash(hash) => Ok(Some(hash)),
            Answer::NotNow => Ok(None),
            _ => Err(Error::Internal("a hash was asked for".into())),
        }
    }

    /// Whether the password fits the stored hash; without a hash it takes as long and does not.
    ///
    /// # Errors
    /// [`Error::Pending`] until it is computed.
    pub fn verify(&mut self, password: &str, hash: Option<&str>) -> Result<bool> {
        match self.ask(Question::Verify(password.to_owned(), hash.map(str::to_owned)))? {
            Answer::Fits(fits) => Ok(fits),
            _ => Err(Error::Internal("a verification was asked for".into())),
        }
    }

    /// What a mapping makes of what is said of somebody, if it makes anything. Its regular expressions are compiled.
    ///
    /// # Errors
    /// [`Error::Pending`] until it is evaluated.
    pub(super) fn map(&mut self, said: Said) -> Result<Option<Mapped>> {
        match self.ask(Question::Map(Box::new(said)))? {
            Answer::Mapped(mapped) => Ok(mapped.map(|mapped| *mapped)),
            _ => Err(Error::Internal("a mapping was asked for".into())),
        }
    }

    /// What a provider says of the bearer of a token, by one of its protocols.
    ///
    /// # Errors
    /// 401 when the token is none of its, 503 when that cannot be told; [`Error::Pending`] until it is known.
    pub fn bearer(&mut self, (provider, protocol): (&str, &str), token: &str) -> Result<Bearer> {
        let question = [provider, protocol, token].map(str::to_owned);
        match self.ask(Question::Bearer(question))? {
            Answer::Bearer(said) => said.map_err(|refusal| refused(provider, refusal)),
            _ => Err(Error::Internal("a token of a provider was asked about".into())),
        }
    }

    /// Where a provider, by one of its protocols, logs people in.
    ///
    /// # Errors
    /// 503 when it does not say it; [`Error::Pending`] until it is known.
    pub fn door(&mut self, (provider, protocol): (&str, &str)) -> Result<String> {
        match self.ask(Question::Door([provider, protocol].map(str::to_owned)))? {
            Answer::Door(said) => said.map_err(|refusal| refused(provider, refusal)),
            _ => Err(Error::Internal("a provider's door was asked for".into())),
        }
    }

    /// Has the login of this request be that of whoever has brought a code from a provider.
    ///
    /// # Errors
    /// 401 when the code is good for nothing, 503 when that cannot be told; [`Error::Pending`] until it is known.
    pub fn come_with(&mut self, (provider, protocol): (&str, &str), code: Code) -> Result<()> {
        match self.ask(Question::Code([provider, protocol].map(str::to_owned), code))? {
            Answer::Bearer(said) => {
                self.came = Some(said.map_err(|refusal| refused(provider, refusal))?);
                Ok(())
            }
            _ => Err(Error::Internal("a code was asked about".into())),
        }
    }

    /// Who has come with a code, by [`Self::come_with`].
    pub fn came(&self) -> Option<Bearer> {
        self.came.clone()
    }

    /// What the directory of a domain says of a login; without a password, of whom somebody else has let in.
    ///
    /// # Errors
    /// [`Error::Pending`] until it is asked.
    pub(super) fn log_in(
        &mut self,
        domain: &str,
        who: Who,
        password: Option<&str>,
    ) -> Result<directory::Login> {
        match self.ask(Question::LogIn(domain.to_owned(), who, password.map(str::to_owned)))? {
            Answer::LoggedIn(said) => Ok(said),
            _ => Err(Error::Internal("a login was asked for".into())),
        }
    }

    /// Asks the directory, if the open question is one to it. Nothing may be held meanwhile.
    pub async fn perform_login(&mut self, directories: &Arc<Service>, store: &Store) -> bool {
        let Some(Question::LogIn(domain, who, password)) = &self.open else { return false };
        let said = directories.log_in(store, domain, who.clone(), password.as_deref()).await;
        self.answered.extend(self.open.take().map(|question| (question, Answer::LoggedIn(said))));
        true
    }

    /// What another server said; nothing when it is not asked yet, and nothing in something when it did not say.
    pub fn told(&self, question: &remote::Question) -> Option<Option<bool>> {
        let asked = self.policy.lock().unwrap_or_else(PoisonError::into_inner);
        match asked.answered.iter().find(|(q, _)| q == question) {
            Some((_, answer)) => Some(*answer),
            None if asked.answered.len() >= MOST_QUESTIONS => Some(None),
            None => None,
        }
    }

    /// Leaves a question to another server open, and returns what the handler ends with: [`Error::Pending`].
    pub fn ask_other(&self, question: remote::Question) -> Error {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner).open = Some(question);
        Error::Pending
    }

    /// Answers the open question. Nothing may be held meanwhile.
    ///
    /// # Errors
    /// 400 for a password that cannot be hashed, 503 when too many wait.
    pub async fn perform(&mut self, with: Workers<'_>) -> Result<()> {
        let Workers { passwords, remote, providers, now } = with;
        let asked = self.policy.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(question) = asked.open.take() {
            let answer = remote.ask(&question).await;
            asked.answered.push((question, answer));
            return Ok(());
        }
        let Some(question) = self.open.take() else {
            return Err(Error::Internal("nothing was asked".into()));
        };
        let answer = match &question {
            Question::Hash(password) => {
                Answer::Hash(passwords.hash_from(Origin::here(&self.claimed), password).await?)
            }
            Question::HashAnew(password) => {
                match passwords.hash_from(Origin::here(&self.claimed), password).await {
                    Ok(hash) => Answer::Hash(hash),
                    Err(_) => Answer::NotNow,
                }
            }
            Question::Verify(password, hash) => {
                let origin = Origin::here(&self.claimed);
                Answer::Fits(passwords.verify_from(origin, password, hash.as_deref()).await?)
            }
            Question::Bearer([provider, protocol, token]) => {
                Answer::Bearer(providers.bearer((provider, protocol), token, now).await)
            }
            Question::Door([provider, protocol]) => {
                Answer::Door(providers.door((provider, protocol), now).await)
            }
            Question::Code([provider, protocol], code) => {
                Answer::Bearer(providers.by_code((provider, protocol), code, now).await)
            }
            Question::Map(said) => {
                let said = said.clone();
                let mapped = tokio::task::spawn_blocking(move || said.mapped()).await;
                Answer::Mapped(mapped.map_err(|e| Error::Internal(e.to_string()))?.map(Box::new))
            }
            Question::LogIn(..) => return Err(Error::Internal("a directory is asked otherwise".into())),
        };
        self.answered.push((question, answer));
        Ok(())
    }
}

/// A provider that lets nobody in, as the client sees it.
fn refused(provider: &str, refusal: Refusal) -> Error {
    match refusal {
        Refusal::NotTheirs => Error::Unauthorized(Reason::NotTheProviders),
        Refusal::Unknown(seconds) => {
            Error::Unavailable(format!("identity provider {provider} cannot be asked"), seconds)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[tokio::test]
    async fn who_must_not_fail_for_a_hash_does_without_it() {
        let text = "[identity]\npassword_hash_rounds = 4\n";
        let config = Config::from_text(text, std::path::Path::new("/d")).expect("reads");
        let passwords = Passwords::new(&config);
        let remote = Remote::new(&config.policy.remote, false).expect("nothing is read");
        let providers = Providers::new(&[]).expect("none");
        let with = Workers { passwords: &passwords, remote: &remote, providers: &providers, now: 0 };
        let mut slow = SlowWork::default();
        assert!(matches!(slow.hash_anew("secret"), Err(Error::Pending)));
        slow.perform(with).await.expect("done");
        let hash = slow.hash_anew("secret").expect("answered").expect("a hash");
        assert!(passwords.is_current(&hash));
        // bcrypt does not take it.
        let long = "x".repeat(100);
        assert!(matches!(slow.hash_anew(&long), Err(Error::Pending)));
        slow.perform(with).await.expect("done");
        assert_eq!(slow.hash_anew(&long).expect("answered"), None);
        assert!(matches!(slow.hash(&long), Err(Error::Pending)));
        assert!(matches!(slow.perform(with).await, Err(Error::BadRequest(_))));
    }
}
