//! How text is written down for signing, digested, and compared.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::{Outcome, SignatureError};

pub(super) type HmacSha1 = Hmac<Sha1>;
pub(super) type HmacSha256 = Hmac<Sha256>;
pub(super) type HmacSha512 = Hmac<Sha512>;

/// A MAC with this key.
pub(super) fn keyed<M: KeyInit>(key: &[u8]) -> Outcome<M> {
    // A key of any length will do, so this never fails; but a panic is not for this module.
    M::new_from_slice(key).map_err(|_| SignatureError::Malformed("secret"))
}

pub(super) fn hmac<M: KeyInit + Mac>(key: &[u8], text: &[u8]) -> Outcome<Vec<u8>> {
    let mut mac: M = keyed(key)?;
    mac.update(text);
    Ok(mac.finalize().into_bytes().to_vec())
}

/// A signature of the older schemes: keyed with the secret itself, in base64.
pub(super) fn base64_hmac<M: KeyInit + Mac>(secret: &str, text: &[u8]) -> Outcome<String> {
    Ok(STANDARD.encode(hmac::<M>(secret.as_bytes(), text)?))
}

pub(super) fn same(given: &str, expected: &str) -> bool {
    given.as_bytes().ct_eq(expected.as_bytes()).into()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.extend([byte >> 4, byte & 15].map(digit));
    }
    out
}

/// A hexadecimal digit, in lower case.
fn digit(value: u8) -> char {
    char::from(if value < 10 { b'0' + value } else { b'a' - 10 + value })
}

/// Names and values as they appear in a query, in the order given.
pub(super) fn encoded<'a>(params: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    params.into_iter().map(|(name, value)| (percent_encode(name), percent_encode(value))).collect()
}

/// Encoded names and values, joined to a query.
pub(super) fn joined(encoded: &[(String, String)]) -> String {
    let pairs: Vec<_> = encoded.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

pub(super) fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend([byte >> 4, byte & 15].map(|value| digit(value).to_ascii_uppercase()));
        }
    }
    out
}

/// The text that was encoded; nothing when that is no UTF-8, or a `%` stands for nothing.
pub(super) fn percent_decode(text: &str) -> Option<String> {
    let value = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => value(bytes.next())? * 16 + value(bytes.next())?,
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}
