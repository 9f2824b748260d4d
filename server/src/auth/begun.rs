//! A login through a browser that has begun here and goes on at an identity provider: what is kept of it until the browser
//! comes back, sealed in a cookie.

use serde_json::json;
use vicar_rules::Micros;

use crate::clock::SECOND;
use crate::crypto::keys::Keys;
use crate::ids;
use crate::oidc::Code;

/// How long somebody may take at the provider.
pub const LONGEST: Micros = 600 * SECOND;

/// How a cookie's text begins: no token's does, whose first byte says that a list follows.
const PURPOSE: &[u8] = b"login by OpenID Connect\n";

/// A login that has begun.
#[derive(PartialEq, Eq)]
pub struct Begun {
    /// What the provider gives back with its answer.
    pub state: String,
    /// What proves that a code is of this login (PKCE).
    pub verifier: String,
    /// What the ID token has to have.
    pub nonce: String,
    /// Where the token shall go.
    pub origin: String,
    /// The identity provider.
    pub provider: String,
    /// The protocol.
    pub protocol: String,
    /// When it is over.
    pub ends: Micros,
}

impl std::fmt::Debug for Begun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Begun").field("provider", &self.provider).finish_non_exhaustive()
    }
}

impl Begun {
    /// One that begins now, by a protocol of a provider.
    pub fn new((provider, protocol): (&str, &str), origin: String, now: Micros) -> Self {
        Self {
            state: ids::long_secret(),
            verifier: ids::long_secret(),
            nonce: ids::long_secret(),
            origin,
            provider: provider.to_owned(),
            protocol: protocol.to_owned(),
            ends: now.saturating_add(LONGEST),
        }
    }

    /// A code that has come for it, with what belongs to it.
    pub fn code(&self, code: String, redirect: &str) -> Code {
        let (verifier, nonce) = (self.verifier.clone(), self.nonce.clone());
        Code { code, verifier, nonce, redirect: redirect.to_owned() }
    }

    /// As a text that only who has these keys can read; nothing without any.
    pub fn seal(&self, keys: &Keys, now: Micros) -> Option<String> {
        let texts = json!([
            self.state,
            self.verifier,
            self.nonce,
            self.origin,
            self.provider,
            self.protocol,
            self.ends
        ]);
        let plain = [PURPOSE, texts.to_string().as_bytes()].concat();
        keys.encrypt(&plain, u64::try_from(now / SECOND).ok()?)
    }

    /// Reads such a text. Nothing for any other, and for what is over.
    pub fn open(keys: &Keys, text: &str, now: Micros) -> Option<Self> {
        let plain = keys.decrypt(text)?;
        let texts = serde_json::from_slice(plain.strip_prefix(PURPOSE)?).ok()?;
        let (state, verifier, nonce, origin, provider, protocol, ends) =
            serde_json::from_value(texts).ok()?;
        Some(Self { state, verifier, nonce, origin, provider, protocol, ends })
            .filter(|begun| begun.ends > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::keys::KeyRing;

    #[test]
    fn what_a_browser_carries_is_read_by_who_has_the_keys_for_ten_minutes() {
        let dir = std::env::temp_dir().join(format!("vicar-browser-{}", ids::uuid()));
        std::fs::create_dir(&dir).expect("a directory");
        for name in ["0", "1"] {
            std::fs::write(dir.join(name), ids::fernet_key()).expect("a key");
        }
        let keys = KeyRing::new(dir.clone(), false).current().expect("keys");
        std::fs::remove_dir_all(dir).expect("it was there");
        let text = |text: &str| text.to_owned();
        let begun = Begun {
            state: text("s"),
            verifier: text("v"),
            nonce: text("n"),
            origin: text("https://d/é\"]"),
            provider: text("p"),
            protocol: text("o"),
            ends: 700 * SECOND,
        };
        let sealed = begun.seal(&keys, 100 * SECOND).expect("a key");
        assert_eq!(Begun::open(&keys, &sealed, 699 * SECOND), Some(begun));
        assert_eq!(Begun::open(&keys, &sealed, 700 * SECOND), None);
        // Of another purpose, or of none.
        for plain in
            [b"[]".as_slice(), b"login by OpenID Connect\n[]", b"login by OpenID Connect\n[1,2,3,4,5,6,7]"]
        {
            let other = keys.encrypt(plain, 100).expect("a key");
            assert_eq!(Begun::open(&keys, &other, 0), None);
        }
        let nobody = crate::auth::fernet::Payload::decode(&sealed, &keys, &[]);
        assert!(nobody.is_none());
    }
}
