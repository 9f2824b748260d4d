//! Strings to sign of S3, as `s3tokens` receives them.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::encode::{HmacSha1, base64_hmac};
use super::time::{MICROS, iso8601, rfc1123};
use super::v4::{self, DerivedKey, Scope};
use super::{Outcome, SignatureError, SignatureVersion, identity, judge, required};

/// The services whose strings to sign are accepted.
const SERVICES: [&str; 3] = ["s3", "iam", "sts"];
const BAD_DATE: SignatureError = SignatureError::Malformed("date in the string to sign");

/// Reads the `token` of an `s3tokens` body: padding and leftover bits do not matter to anyone.
const TOKEN_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A signed string as an `s3tokens` body carries it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct S3Request {
    /// The access key that the client names.
    pub access: String,
    /// The signature: base64 for version 2, lower-case hex for version 4.
    pub signature: String,
    /// What the client signed, as the gateway rebuilt it.
    pub string_to_sign: Vec<u8>,
}

impl S3Request {
    /// Builds a request from the three fields of the body; `token` is the string to sign in
    /// base64, of either alphabet, with or without padding.
    pub fn from_token(access: &str, signature: &str, token: &str) -> Result<Self, SignatureError> {
        let token: String = token
            .chars()
            .filter(|c| !c.is_ascii_whitespace())
            .map(|c| match c {
                '+' => '-',
                '/' => '_',
                other => other,
            })
            .collect();
        let string_to_sign = TOKEN_BASE64.decode(token).map_err(|_| SignatureError::Malformed("token"))?;
        Ok(Self { access: access.to_owned(), signature: signature.to_owned(), string_to_sign })
    }

    /// A stable identity of this signed request, in hex, by which a replay can be recognised.
    pub fn identity(&self) -> String {
        identity(&self.access, &self.signature)
    }
}

// By hand, for the same reason as that of a signed request.
impl fmt::Debug for S3Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Request").field("access", &self.access).finish_non_exhaustive()
    }
}

/// Checks the signature of an `s3tokens` request, and says which scheme it follows.
///
/// Under version 2 the string to sign is taken as opaque; a gateway vouches for its shape.
pub fn verify_s3(secret: &str, req: &S3Request) -> Result<SignatureVersion, SignatureError> {
    verify_s3_again(secret, &mut None, req)
}

/// The same, with the key that was derived last from this secret.
pub fn verify_s3_again(
    secret: &str,
    derived: &mut Option<DerivedKey>,
    req: &S3Request,
) -> Result<SignatureVersion, SignatureError> {
    required(secret, &req.access, &req.signature)?;
    let (version, expected) = signature(secret, derived, &req.string_to_sign)?;
    judge(&req.signature, &[expected], version)
}

/// Signs an S3 string, under version 4 if it begins as such strings do and otherwise under
/// version 2.
pub fn sign_s3(secret: &str, string_to_sign: &[u8]) -> Result<String, SignatureError> {
    signature(secret, &mut None, string_to_sign).map(|(_, signature)| signature)
}

/// The time stated in an S3 string to sign, in microseconds since the epoch, if there is one.
///
/// Under version 2 that is an `x-amz-date` line or else the date line; a presigned URL has an
/// expiry there instead, for which see [`expires_at_s3`].
pub fn stated_time_s3(req: &S3Request) -> Result<Option<i64>, SignatureError> {
    if is_v4(&req.string_to_sign) {
        return iso8601(v4_scope(&req.string_to_sign)?.date_time).map(Some).ok_or(BAD_DATE);
    }
    Ok(v2_times(&req.string_to_sign)?.stated)
}

/// The instant, in microseconds since the epoch, at which a version 2 presigned S3 URL expires.
///
/// Under version 4 the expiry of a presigned URL lies inside a hash, and only the gateway can
/// know it.
pub fn expires_at_s3(req: &S3Request) -> Result<Option<i64>, SignatureError> {
    if is_v4(&req.string_to_sign) {
        return Ok(None);
    }
    Ok(v2_times(&req.string_to_sign)?.expires)
}

fn signature(
    secret: &str,
    derived: &mut Option<DerivedKey>,
    string_to_sign: &[u8],
) -> Outcome<(SignatureVersion, String)> {
    if string_to_sign.is_empty() {
        return Err(SignatureError::Missing("string to sign"));
    }
    if is_v4(string_to_sign) {
        Ok((SignatureVersion::V4, v4_scope(string_to_sign)?.sign(secret, derived, string_to_sign)?))
    } else {
        Ok((SignatureVersion::V2, base64_hmac::<HmacSha1>(secret, string_to_sign)?))
    }
}

fn is_v4(string_to_sign: &[u8]) -> bool {
    string_to_sign.starts_with(b"AWS4")
}

/// What a version 4 string to sign says of itself.
fn v4_scope(string_to_sign: &[u8]) -> Outcome<Scope<'_>> {
    let bad = SignatureError::Malformed("string to sign");
    let text = std::str::from_utf8(string_to_sign).map_err(|_| bad)?;
    let lines: Vec<&str> = text.split('\n').collect();
    let &[v4::ALGORITHM, date_time, scope, _] = lines.as_slice() else {
        return Err(bad);
    };
    let parts: Vec<&str> = scope.split('/').collect();
    let &[day, region, service, v4::TERMINATOR] = parts.as_slice() else {
        return Err(SignatureError::Malformed("credential scope"));
    };
    if !SERVICES.contains(&service) {
        return Err(SignatureError::ScopeService);
    }
    Scope::new(date_time, [day, region, service])
}

/// What a version 2 string to sign says of time: one of the two at most.
#[derive(Default)]
struct Times {
    stated: Option<i64>,
    expires: Option<i64>,
}

fn v2_times(string_to_sign: &[u8]) -> Outcome<Times> {
    let lines: Vec<&[u8]> = string_to_sign.split(|b| *b == b'\n').collect();
    // The last line is the resource; a string without one is opaque and states nothing.
    let [_, _, _, line, rest @ ..] = lines.as_slice() else {
        return Ok(Times::default());
    };
    if rest.is_empty() {
        return Ok(Times::default());
    }
    let amz_date =
        rest.iter().take_while(|l| l.starts_with(b"x-amz-")).find_map(|l| l.strip_prefix(b"x-amz-date:"));
    let text = std::str::from_utf8(amz_date.unwrap_or(line)).map_err(|_| BAD_DATE)?.trim();
    if amz_date.is_none() {
        if text.is_empty() {
            return Ok(Times::default());
        }
        if text.bytes().all(|b| b.is_ascii_digit()) {
            let seconds: i64 = text.parse().map_err(|_| BAD_DATE)?;
            return Ok(Times { expires: Some(seconds.saturating_mul(MICROS)), stated: None });
        }
    }
    let time = rfc1123(text).or_else(|| iso8601(text)).ok_or(BAD_DATE)?;
    Ok(Times { stated: Some(time), expires: None })
}
