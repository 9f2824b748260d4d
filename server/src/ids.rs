//! The one place that draws randomness: ids, secrets, keys.

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};

/// So many random bytes. The operating system's generator does not fail once it is seeded; if it
/// ever did, going on with guessable secrets would be worse than stopping.
fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    getrandom::fill(&mut out).expect("the operating system gives randomness");
    out
}

/// A UUID4 as 32 hex digits, as Keystone writes ids.
pub fn uuid() -> String {
    let mut b = bytes::<16>();
    b[6] = b[6] & 0x0f | 0x40;
    b[8] = b[8] & 0x3f | 0x80;
    hex::encode(b)
}

/// An audit id: 16 random bytes, base64 without padding.
pub fn audit() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<16>())
}

/// A Fernet key: 32 random bytes, base64 with padding.
pub fn fernet_key() -> String {
    URL_SAFE.encode(bytes::<32>())
}

/// A secret or access id of a keypair: 32 hex digits.
pub fn secret() -> String {
    hex::encode(bytes::<16>())
}

/// The secret of an application credential: 72 characters, which is all that bcrypt reads.
pub fn long_secret() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<54>())
}

/// Any number below a limit, for pauses.
pub fn below(limit: u64) -> u64 {
    u64::from_le_bytes(bytes::<8>()).checked_rem(limit).unwrap_or(0)
}

/// A password for people: 22 characters.
pub fn password() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<16>())
}

/// A request id as OpenStack's logs have it.
pub fn request() -> String {
    let h = uuid();
    format!("req-{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}
