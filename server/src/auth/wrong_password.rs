//! Hashes of wrong passwords, as a Keystone 30.0.0 reports them: many different ones are guesses, and always the same
//! one is a program that has an old password.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha224, Sha256, Sha384, Sha512};

use crate::config::{HashFunction, WrongPasswords};

/// What Keystone personalises hashes of the users in its database with.
const SALT: &[u8] = b"keystone.identity.backends.sql.Identity";

/// The part of the hash that is shown.
pub fn hash(report: &WrongPasswords, password: &str) -> String {
    let (key, password) = (report.key.0.as_bytes(), password.as_bytes());
    let mut shown = match report.function {
        HashFunction::Sha1 => keyed::<Hmac<sha1::Sha1>>(key, password),
        HashFunction::Sha224 => keyed::<Hmac<Sha224>>(key, password),
        HashFunction::Sha256 => keyed::<Hmac<Sha256>>(key, password),
        HashFunction::Sha384 => keyed::<Hmac<Sha384>>(key, password),
        HashFunction::Sha512 => keyed::<Hmac<Sha512>>(key, password),
    };
    shown.truncate(report.most.unwrap_or(usize::MAX));
    shown
}

/// The password under the salt, and that under the key, in letters that can be read.
fn keyed<M: KeyInit + Mac>(key: &[u8], password: &[u8]) -> String {
    let under = |key: &[u8], text: &[u8]| {
        // Keys of any length do.
        let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
        mac.update(text);
        Some(mac.finalize().into_bytes().to_vec())
    };
    let hash = under(SALT, password).and_then(|salted| under(key, &salted));
    STANDARD_NO_PAD.encode(hash.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    /// Those of a Keystone 30.0.0.
    #[test]
    fn hashes_are_a_keystones() {
        for (function, most, wanted) in [
            (HashFunction::Sha256, None, "yFzeKxsCMufYYAVtU2LHbN/Gmfpqjf1QauyereXSofk"),
            (HashFunction::Sha256, Some(5), "yFzeK"),
            (HashFunction::Sha1, None, "ktN0aST/nwqgptr/4+mDgLZPH/s"),
            (HashFunction::Sha224, None, "AxNBPv3KOJNXwNtUom3loP0HzfPl9AB3zcEfVQ"),
            (HashFunction::Sha384, Some(10), "4UTjAzO559"),
            (
                HashFunction::Sha512,
                None,
                "bDq2VTdOvslwGYFHMFosgHaijG5waz2Jc6pT6pcdU62Qdpq9H9irTZ8dFcor8HKPzV/iMczorycxpnqhIrzToA",
            ),
        ] {
            let report = WrongPasswords { key: Secret("s3cret".into()), function, most };
            assert_eq!(hash(&report, "wrong pässword"), wanted);
        }
    }
}
