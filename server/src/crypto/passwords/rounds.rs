//! bcrypt, which lets others have the core between its rounds.
//!
//! A hash takes a core for a good part of a second. A request that arrives meanwhile would wait until the scheduler
//! takes it away again, some milliseconds, however low the priority of hashing is; so it is given back every
//! tenth of a millisecond, and taken again at once when nobody waits.
//!
//! The algorithm is that of Provos and Mazières, "A Future-Adaptable Password Scheme" (1999), over the key schedules of
//! the crate `blowfish`, as the crate `bcrypt` has it in one call. The format, `$2b$12$…`, is that crate's.

use base64::Engine;
use base64::alphabet::BCRYPT;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use bcrypt::HashParts;
use blowfish::Blowfish;
use subtle::ConstantTimeEq;

use super::BCRYPT_BYTES;
use crate::ids;

/// base64 in the order of bcrypt's own alphabet.
const BASE_64: GeneralPurpose = GeneralPurpose::new(&BCRYPT, NO_PAD);

/// The costs that bcrypt has.
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;

/// Bytes of the digest that are kept: the last one is not, by a mistake as old as the format.
const KEPT: usize = 23;

/// After so many rounds others have their turn. One takes some 50 µs.
const TURN: u64 = 2;

/// What is encrypted: `OrpheanBeholderScryDoubt`.
const TEXT: [[u32; 2]; 3] =
    [[0x4f72_7068, 0x6561_6e42], [0x6568_6f6c, 0x6465_7253], [0x6372_7944, 0x6f75_6274]];

/// The digest of a key of 1 to 72 bytes: 2 to the power of `cost` rounds.
pub(super) fn digest(cost: u32, salt: [u8; 16], key: &[u8]) -> Vec<u8> {
    let mut state = Blowfish::bc_init_state();
    state.salted_expand_key(&salt, key);
    for round in 1..=1_u64 << cost.min(31) {
        state.bc_expand_key(key);
        state.bc_expand_key(&salt);
        if round % TURN == 0 {
            std::thread::yield_now();
        }
    }
    let blocks = TEXT.map(|block| (0..64).fold(block, |block, _| state.bc_encrypt(block)));
    blocks.as_flattened().iter().flat_map(|half| half.to_be_bytes()).collect()
}

/// The same of a password, with a NUL at its end and cut to 72 bytes, in base64.
fn of_password(cost: u32, salt: [u8; 16], password: &[u8]) -> String {
    let key: Vec<u8> = password.iter().copied().chain([0]).take(BCRYPT_BYTES).collect();
    BASE_64.encode(digest(cost, salt, &key).get(..KEPT).unwrap_or_default())
}

/// A hash of a password, with a salt of chance; nothing for a cost that bcrypt has not.
pub(super) fn hash(password: &[u8], cost: u32) -> Option<String> {
    if !COSTS.contains(&cost) {
        return None;
    }
    let salt = ids::salt();
    Some(format!("$2b${cost:02}${}{}", BASE_64.encode(salt), of_password(cost, salt, password)))
}

/// Whether a password fits a hash; nothing when it is none of bcrypt.
pub(super) fn verify(password: &[u8], hash: &str) -> Option<bool> {
    let parts: HashParts = hash.parse().ok()?;
    if !COSTS.contains(&parts.get_cost()) {
        return None;
    }
    let found = of_password(parts.get_cost(), parts.get_salt_raw(), password);
    let stored = hash.as_bytes().get(hash.len().checked_sub(found.len())?..)?;
    Some(found.as_bytes().ct_eq(stored).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_is_bcrypt(
            password in proptest::collection::vec(any::<u8>(), 0..100),
            other in proptest::collection::vec(any::<u8>(), 0..100),
            salt: [u8; 16],
            cost in 4_u32..6,
        ) {
            let key = if password.is_empty() { &[0][..] } else { &password[..password.len().min(72)] };
            prop_assert_eq!(digest(cost, salt, key), bcrypt::bcrypt(cost, salt, key));
            let theirs = bcrypt::hash_with_salt(&password, cost, salt).expect("a hash").to_string();
            prop_assert_eq!(verify(&password, &theirs), Some(true));
            prop_assert_eq!(verify(&other, &theirs), bcrypt::verify(&other, &theirs).ok());
            let ours = hash(&password, cost).expect("a hash");
            prop_assert!(bcrypt::verify(&password, &ours).expect("a hash of bcrypt"));
        }
    }

    #[test]
    fn what_is_no_hash_of_bcrypt_fits_nothing() {
        let good = hash(b"secret", 4).expect("a hash");
        assert_eq!(verify(b"secret", &good), Some(true));
        assert_eq!(verify(b"Secret", &good), Some(false));
        for bad in
            ["", "$2b$04$", &good[1..], &good[..59], &good.replace("$04$", "$03$"), &format!("{good}x")]
        {
            assert_eq!(verify(b"secret", bad), None, "{bad}");
        }
        assert_eq!((hash(b"secret", 3), hash(b"secret", 32)), (None, None));
    }
}
