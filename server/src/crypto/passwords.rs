//! Password hashes as Keystone keeps them. Hashing takes a good part of a second: it runs on threads
//! of its own, at most one per core at a time.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use fancy_regex::Regex;
use hmac::{KeyInit, Mac};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::pattern;

/// bcrypt reads no more of a password than this.
pub const BCRYPT_BYTES: usize = 72;

/// The hasher, and what a password must look like.
#[derive(Debug)]
pub struct Passwords {
    cost: u32,
    gate: Arc<Semaphore>,
    look: Option<Look>,
}

/// `[security_compliance] password_regex`
#[derive(Debug)]
struct Look {
    /// Nothing when the expression is wrong: then no password fits. The configuration refuses it before.
    expression: Option<Regex>,
    words: String,
}

impl Passwords {
    /// From the configuration.
    pub fn new(config: &Config) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let rules = &config.compliance;
        let look = rules.password_regex.as_deref().map(|expression| Look {
            expression: pattern::compile(expression).ok(),
            words: rules.password_regex_description.clone().unwrap_or_default(),
        });
        Self { cost: config.bcrypt_cost, gate: Arc::new(Semaphore::new(cores)), look }
    }

    /// May this become a password? Never an empty one: it would be no proof of anything.
    pub fn acceptable(&self, password: &str) -> Result<()> {
        if password.is_empty() {
            return Err(Error::field("password", "must not be empty"));
        }
        not_too_long(password)?;
        match &self.look {
            None => Ok(()),
            // An expression that gives up fits nothing.
            Some(look) if look.expression.as_ref().is_some_and(|e| e.is_match(password).unwrap_or(false)) => {
                Ok(())
            }
            Some(look) => Err(Error::BadRequest(format!(
                "The password does not match the requirements: {}.",
                look.words.trim_end_matches('.')
            ))),
        }
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let gate = Arc::clone(&self.gate);
        let permit = gate.acquire_owned().await.map_err(|e| Error::Internal(e.to_string()))?;
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        })
        .await
        .map_err(|e| Error::Internal(format!("hashing: {e}")))
    }

    /// Hashes with bcrypt. A password that bcrypt would truncate is refused, not truncated.
    pub async fn hash(&self, password: &str) -> Result<String> {
        not_too_long(password)?;
        let (password, cost) = (password.to_owned(), self.cost);
        // The crate's own check counts a closing NUL and so refuses a 72nd byte, which bcrypt does read.
        self.run(move || bcrypt::hash(password.as_bytes(), cost))
            .await?
            .map_err(|e| Error::Internal(format!("bcrypt: {e}")))
    }

    /// Does the password fit the hash? Takes about as long when there is no hash at all, so that the
    /// time does not tell whether an account exists.
    pub async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool> {
        let password = password.to_owned();
        let cost = self.cost;
        match hash.map(str::to_owned) {
            Some(hash) => self.run(move || verify(&password, &hash)).await,
            None => {
                self.run(move || {
                    let _ = bcrypt::hash(&password.as_bytes()[..password.len().min(BCRYPT_BYTES)], cost);
                    false
                })
                .await
            }
        }
    }
}

fn not_too_long(password: &str) -> Result<()> {
    if password.len() > BCRYPT_BYTES {
        return Err(Error::field(
            "password",
            "longer than 72 bytes, of which bcrypt would silently ignore the rest",
        ));
    }
    Ok(())
}

/// Checks a password against any hash that Keystone 30.0.0 can have written.
fn verify(password: &str, hash: &str) -> bool {
    let bytes = password.as_bytes();
    // Keystone cut longer ones before hashing, whatever the algorithm, in its default configuration.
    let cut = &bytes[..bytes.len().min(BCRYPT_BYTES)];
    let fits = |candidate: &[u8]| match hash.split('$').nth(1) {
        Some("2b" | "2a" | "2y") => bcrypt::verify(cut, hash).unwrap_or(false),
        Some("bcrypt-sha256") => bcrypt_sha256(candidate, hash).unwrap_or(false),
        Some("scrypt") => scrypt_verify(candidate, hash).unwrap_or(false),
        Some("pbkdf2-sha512") => pbkdf2_sha512(candidate, hash).unwrap_or(false),
        _ => false,
    };
    // Plain bcrypt cuts by itself: a second look would only tell, by its time, that there is a hash.
    let twice = bytes.len() > BCRYPT_BYTES && !hash.starts_with("$2");
    let ok = fits(bytes) || (twice && fits(cut));
    if ok && bytes.len() > BCRYPT_BYTES {
        tracing::warn!(
            "a password longer than 72 bytes was accepted by a hash that holds its first 72 bytes at most"
        );
    }
    ok
}

/// passlib's base64: no padding, and `.` for `+`.
fn ab64(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text.trim_end_matches('=').replace('.', "+")).ok()
}

/// `$bcrypt-sha256$v=2,t=2b,r=12$salt$digest`: bcrypt over a keyed SHA-256 of the password.
fn bcrypt_sha256(password: &[u8], hash: &str) -> Option<bool> {
    let mut parts = hash.split('$').skip(2);
    let (params, salt, digest) = (parts.next()?, parts.next()?, parts.next()?);
    let param = |name: &str| params.split(',').find_map(|p| p.strip_prefix(name)?.strip_prefix('='));
    let version = param("v").unwrap_or("1");
    let inner = if version == "2" {
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(salt.as_bytes()).ok()?;
        mac.update(password);
        mac.finalize().into_bytes().to_vec()
    } else {
        use sha2::Digest;
        sha2::Sha256::digest(password).to_vec()
    };
    let inner = base64::engine::general_purpose::STANDARD.encode(inner);
    let cost: u32 = param("r")?.parse().ok()?;
    let full = format!("${}${cost:02}${salt}{digest}", param("t")?);
    bcrypt::verify(inner, &full).ok()
}

/// `$scrypt$ln=16,r=8,p=1$salt$checksum`
fn scrypt_verify(password: &[u8], hash: &str) -> Option<bool> {
    let mut parts = hash.split('$').skip(2);
    let (params, salt, sum) = (parts.next()?, ab64(parts.next()?)?, ab64(parts.next()?)?);
    let param = |name: &str| -> Option<u32> {
        params.split(',').find_map(|p| p.strip_prefix(name)?.strip_prefix('='))?.parse().ok()
    };
    let log_n = u8::try_from(param("ln")?).ok().filter(|n| *n <= 22)?;
    let params = scrypt::Params::new(log_n, param("r")?, param("p")?).ok()?;
    let mut out = vec![0; sum.len()];
    scrypt::scrypt(password, &salt, &params, &mut out).ok()?;
    Some(out.ct_eq(&sum).into())
}

/// `$pbkdf2-sha512$25000$salt$checksum`
fn pbkdf2_sha512(password: &[u8], hash: &str) -> Option<bool> {
    let mut parts = hash.split('$').skip(2);
    let rounds: u32 = parts.next()?.parse().ok().filter(|r| *r <= 10_000_000)?;
    let (salt, sum) = (ab64(parts.next()?)?, ab64(parts.next()?)?);
    let mut out = vec![0; sum.len()];
    pbkdf2::pbkdf2_hmac::<sha2::Sha512>(password, &salt, rounds, &mut out);
    Some(out.ct_eq(&sum).into())
}
