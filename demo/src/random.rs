//! The one place that draws randomness.

/// 32 hexadecimal digits.
pub(crate) fn hex() -> String {
    let mut bytes = [0_u8; 16];
    #[expect(clippy::disallowed_methods, reason = "this program has no other source")]
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    hex::encode(bytes)
}
