//! The one place that draws randomness: ids, secrets, keys.

use std::cell::RefCell;
use std::ops::Range;

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
    String::from_utf8_lossy(&hex_of_uuid(bytes())).into_owned()
}

/// The hex digits of a UUID4 of these random bytes.
fn hex_of_uuid(mut b: [u8; 16]) -> [u8; 32] {
    b[6] = b[6] & 0x0f | 0x40;
    b[8] = b[8] & 0x3f | 0x80;
    let mut hex = [b'0'; 32];
    // Twice as long: it fits.
    let _ = hex::encode_to_slice(b, &mut hex);
    hex
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

/// A salt for a hash.
pub fn salt() -> [u8; 16] {
    bytes()
}

/// Any number below a limit, for pauses.
pub fn below(limit: u64) -> u64 {
    u64::from_le_bytes(bytes::<8>()).checked_rem(limit).unwrap_or(0)
}

/// A password for people: 22 characters.
pub fn password() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<16>())
}

/// A request id as OpenStack's logs have it: a UUID4 behind `req-`. It only has to be another one each time, so the
/// randomness for many is drawn at once.
pub fn request() -> String {
    const AT_ONCE: usize = 32;
    thread_local! {
        static DRAWN: RefCell<Vec<[u8; 16]>> = const { RefCell::new(Vec::new()) };
    }
    let b = DRAWN.with_borrow_mut(|drawn| {
        if drawn.is_empty() {
            drawn.extend(bytes::<{ 16 * AT_ONCE }>().as_chunks().0);
        }
        drawn.pop().unwrap_or_else(bytes)
    });
    let hex = hex_of_uuid(b);
    let part =
        |range: Range<usize>| hex.get(range).and_then(|part| str::from_utf8(part).ok()).unwrap_or_default();
    ["req-", part(0..8), "-", part(8..12), "-", part(12..16), "-", part(16..20), "-", part(20..32)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_requests_are_uuids_and_differ() {
        let ids: std::collections::BTreeSet<String> = (0..1000).map(|_| request()).collect();
        assert_eq!(ids.len(), 1000);
        for id in &ids {
            let parts: Vec<&str> = id.split('-').collect();
            let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
            assert_eq!((parts[0], lengths), ("req", vec![3, 8, 4, 4, 4, 12]), "{id}");
            assert!(parts[1..].iter().all(|part| part.bytes().all(|b| b.is_ascii_hexdigit())), "{id}");
            assert!(parts[3].starts_with('4') && parts[4].starts_with(['8', '9', 'a', 'b']), "{id}");
        }
    }
}
