//! Password hashes as Keystone keeps them. Hashing takes a good part of a second: it runs on threads
//! of its own, at most one per core at a time, after a bounded queue.

mod level;
mod rounds;

use std::collections::BTreeSet;
use std::sync::Arc;

use fancy_regex::Regex;
use tokio::sync::oneshot;

use self::level::Level;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::pattern;
use crate::queue::{Gauges, Origin, Queue};

/// bcrypt reads no more of a password than this.
pub const BCRYPT_BYTES: usize = 72;

/// How many wait at most, for each core: with bcrypt's usual cost, the last of them waits for about 15 seconds.
const WAITING_PER_CORE: usize = 64;
/// How many kinds of stored hashes are tried at the start.
const KINDS: usize = 16;

/// The hasher, and what a password must look like.
#[derive(Debug)]
pub struct Passwords {
    cost: u32,
    level: Arc<Level>,
    queue: Arc<Queue>,
    policy: Option<PasswordPolicy>,
}

/// `[security_compliance] password_regex`
#[derive(Debug)]
struct PasswordPolicy {
    /// Nothing when the expression is wrong: then no password fits. The configuration refuses it before.
    expression: Option<Regex>,
    words: String,
}

impl Passwords {
    /// From the configuration.
    pub fn new(config: &Config) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let rules = &config.compliance;
        let policy = rules.password_regex.as_deref().map(|expression| PasswordPolicy {
            expression: pattern::compile(expression).ok(),
            words: rules.password_regex_description.clone().unwrap_or_default(),
        });
        Self {
            cost: config.bcrypt_cost,
            level: Arc::new(Level::new(config.bcrypt_cost)),
            queue: Queue::new(cores, cores * WAITING_PER_CORE),
            policy,
        }
    }

    /// Whether this may become a password. Never an empty one: it would be no proof of anything.
    pub fn acceptable(&self, password: &str) -> Result<()> {
        if password.is_empty() {
            return Err(Error::field("password", "must not be empty"));
        }
        not_too_long(password)?;
        match &self.policy {
            None => Ok(()),
            // An expression that gives up fits nothing.
            Some(policy)
                if policy.expression.as_ref().is_some_and(|e| e.is_match(password).unwrap_or(false)) =>
            {
                Ok(())
            }
            Some(policy) => Err(Error::BadRequest(format!(
                "The password does not match the requirements: {}.",
                policy.words.trim_end_matches('.')
            ))),
        }
    }

    /// What is counted of the queue.
    pub fn gauges(&self) -> &Gauges {
        &self.queue.gauges
    }

    async fn run<T: Send + 'static>(
        &self,
        origin: Origin<'_>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let turn = self.queue.enter(origin).await?;
        let (done, result) = oneshot::channel();
        let thread = move || {
            yield_to_requests();
            let _ = done.send(work());
            drop(turn);
        };
        std::thread::Builder::new()
            .name("hashing".into())
            .spawn(thread)
            .map_err(|e| Error::Unavailable(format!("a thread for hashing: {e}"), 1))?;
        result.await.map_err(|_| Error::Internal("hashing: it has panicked".into()))
    }

    /// Hashes with bcrypt. A password that bcrypt would truncate is refused, not truncated.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for a password that is too long, [`Error::Busy`] when too many wait.
    pub async fn hash(&self, password: &str) -> Result<String> {
        self.hash_from(Origin::here(""), password).await
    }

    /// The same for somebody in particular.
    ///
    /// # Errors
    /// As [`Self::hash`].
    pub async fn hash_from(&self, origin: Origin<'_>, password: &str) -> Result<String> {
        not_too_long(password)?;
        let (password, cost) = (password.to_owned(), self.cost);
        self.run(origin, move || rounds::hash(password.as_bytes(), cost))
            .await?
            .ok_or_else(|| Error::Internal(format!("bcrypt has no cost {cost}")))
    }

    /// Whether the password fits the hash. Takes about as long whatever hash it is, and when there is no hash
    /// at all, so that the time does not tell whether an account exists.
    ///
    /// # Errors
    /// [`Error::Busy`] when too many wait.
    pub async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool> {
        self.verify_from(Origin::here(""), password, hash).await
    }

    /// The same for somebody in particular, whose share of the queue it counts to.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub async fn verify_from(&self, origin: Origin<'_>, password: &str, hash: Option<&str>) -> Result<bool> {
        let (password, hash) = (password.to_owned(), hash.map(str::to_owned));
        let level = Arc::clone(&self.level);
        self.run(origin, move || level.check(&password, hash.as_deref())).await
    }

    /// Whether a hash is what [`Self::hash`] would make today. When a password has fitted one that is not, it
    /// should be hashed anew.
    pub fn is_current(&self, hash: &str) -> bool {
        hash.starts_with(&self.current_prefix())
    }

    /// How a current hash begins.
    pub fn current_prefix(&self) -> String {
        format!("$2b${:02}$", self.cost)
    }

    /// Learns what stored hashes of other kinds cost, from examples, so that no client has to be the first.
    ///
    /// # Errors
    /// [`Error::Busy`] when too many wait.
    pub async fn learn(&self, examples: &[String]) -> Result<()> {
        let mut seen = BTreeSet::new();
        for hash in examples {
            if seen.len() < KINDS && level::kind(hash).is_some_and(|kind| seen.insert(kind)) {
                self.verify("learning", Some(hash)).await?;
            }
        }
        Ok(())
    }
}

/// Requests that hash nothing go before, where there are not cores enough for both.
fn yield_to_requests() {
    #[cfg(target_os = "linux")]
    {
        // Of this thread alone. It is only a wish: nothing depends on it.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 10);
    }
}

/// Whether bcrypt takes all of a password.
///
/// # Errors
/// [`Error::BadRequest`] when it does not.
pub fn not_too_long(password: &str) -> Result<()> {
    if password.len() > BCRYPT_BYTES {
        return Err(Error::field(
            "password",
            "longer than 72 bytes, of which bcrypt would silently ignore the rest",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_of_another_kind_or_cost_is_not_current() {
        let text = "[identity]\npassword_hash_rounds = 5\n";
        let config = Config::from_text(text, std::path::Path::new("/d")).expect("reads");
        let passwords = Passwords::new(&config);
        let is_current = |hash: &str| passwords.is_current(hash);
        assert!(is_current(&bcrypt::hash("secret", 5).expect("a hash")));
        assert!(!is_current(&bcrypt::hash("secret", 4).expect("a hash")));
        assert!(!is_current("$2a$05$saltanddigest"));
        assert!(!is_current("$scrypt$ln=16,r=8,p=1$salt$sum"));
        assert!(!is_current(""));
    }

    #[tokio::test]
    async fn kinds_are_learnt_from_examples() {
        let text = "[identity]\npassword_hash_rounds = 5\n";
        let config = Config::from_text(text, std::path::Path::new("/d")).expect("reads");
        let passwords = Passwords::new(&config);
        assert_eq!(passwords.level.sum(false), 32);
        let examples = [4, 6, 4, 6].map(|cost| bcrypt::hash("secret", cost).expect("a hash"));
        passwords.learn(&examples).await.expect("learnt");
        assert_eq!(passwords.level.sum(false), 64);
        assert!(passwords.verify("secret", Some(&examples[0])).await.expect("checked"));
        assert!(!passwords.verify("secret", None).await.expect("checked"));
    }
}
