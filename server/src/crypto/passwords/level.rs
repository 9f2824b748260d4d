//! Checks a password against any hash that Keystone 30.0.0 can have written, in a time that does not tell
//! which it is, or whether there is one.
//!
//! The unit is a round of bcrypt: two key schedules, of which bcrypt of cost n has 2ⁿ. Every check is filled up
//! with such rounds to one common sum. What a hash of another algorithm costs in rounds is measured in the same
//! check, on the same thread, by its CPU time: so it holds on a busy machine as well. The sum is what
//! bcrypt of the configured cost has; if stored hashes cost more, it is what the dearest of them costs, up to
//! four times as much.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hmac::{KeyInit, Mac};
use rustix::time::{ClockId, clock_gettime};
use subtle::ConstantTimeEq;

use super::{BCRYPT_BYTES, rounds};

/// How much dearer than the configured cost the sum becomes, at most.
const DEAREST: u64 = 4;
/// How many kinds of hashes are remembered.
const KINDS: usize = 32;

/// Checks passwords.
#[derive(Debug)]
pub(super) struct Level {
    /// Rounds of bcrypt of the configured cost.
    usual: u64,
    cost: u32,
    /// Rounds of the other kinds that were seen, by algorithm and parameters.
    kinds: Mutex<HashMap<String, u64>>,
}

/// What a hash cost, once or twice.
enum Spent {
    /// So many rounds of bcrypt.
    Rounds(u64),
    /// As long as these many calls of something else took.
    Calls(u32),
}

/// Algorithm and parameters of a hash, without salt and digest.
pub(super) fn kind(hash: &str) -> Option<&str> {
    hash.match_indices('$').nth(2).map(|(end, _)| &hash[..end])
}

/// How long this thread has worked.
fn worked() -> Duration {
    let at = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(at.tv_sec).unwrap_or(0), u32::try_from(at.tv_nsec).unwrap_or(0))
}

/// Works for so many rounds of bcrypt: by bcrypt itself, for each power of two.
fn work(rounds: u64) {
    for cost in (0..u64::BITS).filter(|cost| rounds >> cost & 1 == 1) {
        std::hint::black_box(rounds::digest(cost, [0x5a; 16], b"as long as a usual password"));
    }
}

impl Level {
    pub(super) fn new(cost: u32) -> Self {
        Self { usual: 1 << cost, cost, kinds: Mutex::default() }
    }

    /// Whether the password fits the hash. Never fits none.
    pub(super) fn check(&self, password: &str, hash: Option<&str>) -> bool {
        let long = password.len() > BCRYPT_BYTES;
        let began = worked();
        let (fits, spent) = match hash {
            Some(hash) => verify(password, hash),
            None => {
                let _ = rounds::hash(cut(password), self.cost);
                (false, Spent::Rounds(self.usual))
            }
        };
        let took = worked().saturating_sub(began);
        let sum = self.sum(long);
        match spent {
            Spent::Rounds(rounds) => {
                work(sum.saturating_sub(rounds));
                if let Some(hash) = hash
                    && rounds > self.usual
                {
                    self.learn(hash, rounds);
                }
            }
            Spent::Calls(0) => work(sum),
            Spent::Calls(calls) => {
                let rounds = fill(sum, took) / u64::from(calls);
                // What was measured is not exact: a little more covers it.
                if let Some(hash) = hash {
                    self.learn(hash, rounds + rounds / 16);
                }
            }
        }
        fits
    }

    /// How many rounds each check has.
    pub(super) fn sum(&self, long: bool) -> u64 {
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let dearest = kinds.values().copied().max().unwrap_or(0);
        let sum = self.usual.max(dearest).min(self.usual * DEAREST);
        // Hashes of other kinds are tried twice with a long password.
        if long && !kinds.is_empty() { sum * 2 } else { sum }
    }

    fn learn(&self, hash: &str, rounds: u64) {
        let Some(kind) = kind(hash) else { return };
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kinds.get_mut(kind) {
            *known = (*known * 7 + rounds) / 8;
        } else if kinds.len() < KINDS {
            if rounds > self.usual * DEAREST {
                tracing::warn!(
                    kind,
                    "hashes of this kind take so long that their users can be told from others, until they log in"
                );
            }
            kinds.insert(kind.to_owned(), rounds);
        }
    }
}

/// Fills up to `sum` rounds what took so long already; returns how many rounds that was worth.
fn fill(sum: u64, took: Duration) -> u64 {
    let step = (sum / 64).max(1);
    let began = worked();
    let mut run = 0;
    loop {
        work(step);
        run += step;
        let nanos = worked().saturating_sub(began).as_nanos().max(1);
        let worth = u64::try_from(took.as_nanos() * u128::from(run) / nanos).unwrap_or(u64::MAX);
        // Less would be no measure of a round.
        if run >= step * 4 && worth.saturating_add(run) >= sum {
            return worth;
        }
    }
}

/// What Keystone kept of a password, whatever the algorithm, in its default configuration.
fn cut(password: &str) -> &[u8] {
    let whole = password.as_bytes();
    whole.get(..BCRYPT_BYTES).unwrap_or(whole)
}

/// Whether the password fits, and what it cost to know that.
fn verify(password: &str, hash: &str) -> (bool, Spent) {
    let whole = password.as_bytes();
    let cut = cut(password);
    let algorithm = hash.split('$').nth(1).unwrap_or_default();
    let count = |parameter: Option<&str>| {
        parameter.and_then(|cost| cost.parse().ok()).and_then(|cost| 1_u64.checked_shl(cost)).unwrap_or(0)
    };
    let once = |candidate: &[u8]| match algorithm {
        "2b" | "2a" | "2y" => rounds::verify(candidate, hash),
        "bcrypt-sha256" => bcrypt_sha256(candidate, hash),
        "scrypt" => scrypt_verify(candidate, hash),
        "pbkdf2-sha512" => pbkdf2_sha512(candidate, hash),
        _ => None,
    };
    // Plain bcrypt cuts by itself.
    let plain = matches!(algorithm, "2b" | "2a" | "2y");
    let Some(fits) = once(if plain { cut } else { whole }) else {
        return (false, Spent::Calls(0));
    };
    let twice = !fits && !plain && whole.len() > BCRYPT_BYTES;
    let fits = fits || (twice && once(cut).unwrap_or(false));
    if fits && whole.len() > BCRYPT_BYTES {
        tracing::warn!(
            "a password longer than 72 bytes was accepted by a hash that holds its first 72 bytes at most"
        );
    }
    let calls = 1 + u32::from(twice);
    let spent = match algorithm {
        "bcrypt-sha256" => {
            let cost = hash.split('$').nth(2).and_then(|params| parameter(params, "r"));
            Spent::Rounds(count(cost).saturating_mul(u64::from(calls)))
        }
        _ if plain => Spent::Rounds(count(hash.split('$').nth(2))),
        _ => Spent::Calls(calls),
    };
    (fits, spent)
}

fn parameter<'a>(params: &'a str, name: &str) -> Option<&'a str> {
    params.split(',').find_map(|p| p.strip_prefix(name)?.strip_prefix('='))
}

/// passlib's base64: no padding, and `.` for `+`.
fn ab64(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text.trim_end_matches('=').replace('.', "+")).ok()
}

/// `$bcrypt-sha256$v=2,t=2b,r=12$salt$digest`: bcrypt over a keyed SHA-256 of the password.
fn bcrypt_sha256(password: &[u8], hash: &str) -> Option<bool> {
    let mut parts = hash.split('$').skip(2);
    let (params, salt, digest) = (parts.next()?, parts.next()?, parts.next()?);
    let inner = if parameter(params, "v") == Some("2") {
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(salt.as_bytes()).ok()?;
        mac.update(password);
        mac.finalize().into_bytes().to_vec()
    } else {
        use sha2::Digest;
        sha2::Sha256::digest(password).to_vec()
    };
    let inner = base64::engine::general_purpose::STANDARD.encode(inner);
    let cost: u32 = parameter(params, "r")?.parse().ok()?;
    let full = format!("${}${cost:02}${salt}{digest}", parameter(params, "t")?);
    rounds::verify(inner.as_bytes(), &full)
}

/// `$scrypt$ln=16,r=8,p=1$salt$checksum`
fn scrypt_verify(password: &[u8], hash: &str) -> Option<bool> {
    let mut parts = hash.split('$').skip(2);
    let (params, salt, sum) = (parts.next()?, ab64(parts.next()?)?, ab64(parts.next()?)?);
    let number = |name: &str| -> Option<u32> { parameter(params, name)?.parse().ok() };
    let log_n = u8::try_from(number("ln")?).ok().filter(|n| *n <= 22)?;
    let params = scrypt::Params::new(log_n, number("r")?, number("p")?).ok()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    // "secret", by Python's hashlib, salt "0123456789abcdef".
    const PBKDF2: &str = "$pbkdf2-sha512$1000$MDEyMzQ1Njc4OWFiY2RlZg$vgFvU7zWIDgDAUi7d8ayt.cfRiPWVVWfv8iQRsGZaZviWzsSNgWYXEE5PmvI/VELMsOmEbqLz0PKuePNjOk41A";
    const SCRYPT: &str =
        "$scrypt$ln=4,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$gEeb/KeWbm5g+kBQOFr1yJbkjBxxxDOkhSmrSXFFwOg";

    #[test]
    fn hashes_of_other_kinds_are_checked() {
        let level = Level::new(4);
        for hash in [PBKDF2, SCRYPT] {
            assert!(level.check("secret", Some(hash)), "{hash}");
            assert!(!level.check("Secret", Some(hash)), "{hash}");
        }
        assert!(!level.check("secret", None));
        assert!(!level.check("secret", Some("$unknown$x$y")));
        assert!(!level.check("secret", Some("damaged")));
    }

    #[test]
    fn a_long_password_fits_what_its_first_72_bytes_fit() {
        let level = Level::new(4);
        let long = "x".repeat(100);
        let hash = bcrypt::hash(&long.as_bytes()[..BCRYPT_BYTES], 4).expect("a hash");
        assert!(level.check(&long, Some(&hash)));
    }

    #[test]
    fn what_is_dearer_than_usual_is_remembered_and_bounded() {
        let level = Level::new(6);
        assert_eq!((level.sum(false), level.sum(true)), (64, 64));
        let dear = bcrypt::hash("secret", 7).expect("a hash");
        assert!(level.check("secret", Some(&dear)));
        assert_eq!((level.sum(false), level.sum(true)), (128, 256));
        let dearest = bcrypt::hash("secret", 10).expect("a hash");
        assert!(!level.check("other", Some(&dearest)));
        assert_eq!(level.sum(false), 256);
        assert!(!level.check("other", None));
    }

    #[test]
    fn what_is_cheaper_than_usual_raises_nothing() {
        let level = Level::new(9);
        let cheap = bcrypt::hash("secret", 4).expect("a hash");
        assert!(level.check("secret", Some(&cheap)));
        assert_eq!(level.sum(true), 512);
    }

    #[test]
    fn other_kinds_are_filled_up_to_the_same_sum() {
        // Filled up from nothing it is all rounds; from more than the sum, a few to measure by.
        assert_eq!(fill(6400, Duration::ZERO), 0);
        assert!(fill(64, Duration::from_secs(1)) > 64);
    }

    #[test]
    fn a_kind_is_algorithm_and_parameters() {
        assert_eq!(kind("$2b$12$saltanddigest"), Some("$2b$12"));
        assert_eq!(kind("$scrypt$ln=16,r=8,p=1$salt$sum"), Some("$scrypt$ln=16,r=8,p=1"));
        assert_eq!(kind("damaged"), None);
    }
}
