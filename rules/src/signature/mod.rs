//! Requests signed with an access key, as `ec2tokens` and `s3tokens` receive them, and those of OAuth 1.0a.
//!
//! A gateway that speaks an AWS dialect cannot check a signature itself, since it never sees the
//! secret; it hands over what the client signed, and this module recomputes the signature.
//! Everything here is a pure function of its arguments: whether a stated time is too old, and
//! whether a request has been seen before, is for the caller to decide, with [`stated_time`],
//! [`expires_at`] and [`SignedRequest::identity`] as the material.
//!
//! Where Keystone and the published AWS schemes read a request differently, both readings are
//! tried: each is a faithful encoding of the whole request, so trying both widens what clients
//! may send without widening what a signature covers.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest, Sha256};

mod encode;
mod oauth1;
mod parts;
mod s3;
#[cfg(test)]
mod tests;
mod time;
mod v2;
mod v4;

pub use oauth1::{OAuthRequest, Params, VERIFIER_CHARACTERS, VERIFIER_LENGTH};
pub use s3::{S3Request, expires_at_s3, sign_s3, stated_time_s3, verify_s3, verify_s3_again};
pub use time::amz_date;
pub use v2::sign_v2;
pub use v4::{DerivedKey, presign_v4, sign_v4};

use encode::{hex, same};
use parts::{header, iso_param, param, present};
use time::{MICROS, iso8601};

/// Which scheme a signature follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureVersion {
    /// EC2 version 0: only the action and the timestamp are signed.
    V0,
    /// EC2 version 1: names and values run together without separators.
    V1,
    /// EC2 version 2, and the older of the two S3 schemes.
    V2,
    /// Version 4, with a key derived for one day, region and service.
    V4,
}

impl SignatureVersion {
    /// Whether the scheme signs the request in full and without ambiguity. Versions 0 and 1 do
    /// not, which is why an operator may wish to refuse them.
    pub fn covers_whole_request(self) -> bool {
        matches!(self, Self::V2 | Self::V4)
    }
}

impl fmt::Display for SignatureVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V0 => "0",
            Self::V1 => "1",
            Self::V2 => "2",
            Self::V4 => "4",
        })
    }
}

/// A request as the client signed it, with the fields of an `ec2tokens` body.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SignedRequest {
    /// The access key that the client names.
    pub access: String,
    /// The signature, base64 for versions 0 to 2 and lower-case hex for version 4.
    pub signature: String,
    /// The host the request was sent to, possibly with a port.
    pub host: String,
    /// The HTTP method.
    pub verb: String,
    /// The path, as it stood in the request line.
    pub path: String,
    /// Query and form parameters, decoded.
    pub params: BTreeMap<String, String>,
    /// Headers, with names in any case.
    pub headers: BTreeMap<String, String>,
    /// SHA-256 of the body in hex; version 4 needs it.
    pub body_hash: Option<String>,
}

impl SignedRequest {
    /// A stable identity of this signed request, in hex, by which a replay can be recognised.
    pub fn identity(&self) -> String {
        identity(&self.access, &self.signature)
    }
}

// By hand: whoever holds the signature and the headers can replay the request.
impl fmt::Debug for SignedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedRequest")
            .field("access", &self.access)
            .field("host", &self.host)
            .field("verb", &self.verb)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Why a signed request was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureError {
    /// Something that the scheme needs is absent or empty.
    Missing(&'static str),
    /// The request follows no known scheme.
    UnknownVersion,
    /// A version 2 request names a hash other than SHA-1 and SHA-256.
    UnknownMethod,
    /// Something is present, but not in a form that can be read in one way only.
    Malformed(&'static str),
    /// A version 4 request names a header as signed that it does not carry.
    SignedHeaderAbsent,
    /// A version 4 request does not sign the host, so it could be sent to any other.
    HostNotSigned,
    /// The day in the credential scope is not the day of the request.
    ScopeDate,
    /// The credential scope names a service that may not be used here.
    ScopeService,
    /// The credential scope names another access key than the request does.
    AccessKey,
    /// The signature is not that of this request under this secret.
    Mismatch,
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(what) => write!(f, "the signed request lacks {what}"),
            Self::UnknownVersion => f.write_str("the signature follows no known scheme"),
            Self::UnknownMethod => f.write_str("the signature method is not known"),
            Self::Malformed(what) => write!(f, "the signed request has a malformed {what}"),
            Self::SignedHeaderAbsent => f.write_str("a header named as signed is absent"),
            Self::HostNotSigned => f.write_str("the host is not among the signed headers"),
            Self::ScopeDate => f.write_str("the credential scope is for another day"),
            Self::ScopeService => f.write_str("the credential scope is for another service"),
            Self::AccessKey => f.write_str("the credential scope is for another access key"),
            Self::Mismatch => f.write_str("the signature does not match"),
        }
    }
}

impl std::error::Error for SignatureError {}

type Outcome<T> = Result<T, SignatureError>;

/// A stable identity of whatever was signed, in hex.
///
/// The signature alone stands for the signed content. What was signed is left out on purpose:
/// under the older schemes the same bytes can be presented as a different request (another
/// version, or as an S3 string), and such a disguise must not make a replay look new.
pub fn identity(access: &str, signature: &str) -> String {
    let mut hash = Sha256::new();
    for part in [access, signature] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex(&hash.finalize())
}

/// Which scheme a request claims to follow.
pub fn version(req: &SignedRequest) -> Result<SignatureVersion, SignatureError> {
    match param(req, "SignatureVersion") {
        Some("0") => Ok(SignatureVersion::V0),
        Some("1") => Ok(SignatureVersion::V1),
        Some("2") => Ok(SignatureVersion::V2),
        _ if v4::is_claimed(req)? => Ok(SignatureVersion::V4),
        _ => Err(SignatureError::UnknownVersion),
    }
}

/// Checks the signature of an `ec2tokens` request, and says which scheme it follows.
///
/// Neither age nor expiry is judged here; see [`stated_time`] and [`expires_at`].
pub fn verify_ec2(secret: &str, req: &SignedRequest) -> Result<SignatureVersion, SignatureError> {
    verify_ec2_again(secret, &mut None, req)
}

/// The same, with the key that was derived last from this secret.
pub fn verify_ec2_again(
    secret: &str,
    derived: &mut Option<DerivedKey>,
    req: &SignedRequest,
) -> Result<SignatureVersion, SignatureError> {
    required(secret, &req.access, &req.signature)?;
    let version = version(req)?;
    let expected = match version {
        SignatureVersion::V0 => vec![v2::v0_signature(secret, req)?],
        SignatureVersion::V1 => vec![v2::v1_signature(secret, req)?],
        SignatureVersion::V2 => v2::v2_signatures(secret, req)?,
        SignatureVersion::V4 if v4::is_signed(secret, derived, req)? => return Ok(version),
        SignatureVersion::V4 => return Err(SignatureError::Mismatch),
    };
    judge(&req.signature, &expected, version)
}

/// What no check can do without.
fn required(secret: &str, access: &str, signature: &str) -> Outcome<()> {
    present(secret, "secret")?;
    present(access, "access")?;
    present(signature, "signature")
}

/// Accepts a signature that is one of those expected.
fn judge(signature: &str, expected: &[String], version: SignatureVersion) -> Outcome<SignatureVersion> {
    if expected.iter().any(|e| same(signature, e)) { Ok(version) } else { Err(SignatureError::Mismatch) }
}

/// The time that the signer stated, in microseconds since the epoch, if the scheme has one that
/// the signature covers.
///
/// Only meaningful once [`verify_ec2`] has accepted the request. Versions 0 to 2 state it in
/// `Timestamp`; version 4 in the `X-Amz-Date` that went into the string to sign, and nowhere
/// else, so a `Timestamp` or `Date` beside it counts for nothing.
pub fn stated_time(req: &SignedRequest) -> Result<Option<i64>, SignatureError> {
    match version(req)? {
        SignatureVersion::V4 => {
            iso8601(v4::date(req)?).map(Some).ok_or(SignatureError::Malformed("X-Amz-Date"))
        }
        _ => iso_param(req, "Timestamp"),
    }
}

/// How many seconds after [`stated_time`] a presigned version 4 request stops being valid.
///
/// `None` where nothing that the signature covers says so; in particular, the parameters of a
/// version 4 `POST` are not covered. An unreadable value gives `Some(0)`, and [`verify_ec2`]
/// refuses it. This can only shorten a life: it is no reason to accept an older request.
pub fn expires_in(req: &SignedRequest) -> Option<i64> {
    if version(req) != Ok(SignatureVersion::V4)
        || !matches!(header(req, "authorization"), Ok(None))
        || req.verb.eq_ignore_ascii_case("POST")
    {
        return None;
    }
    let text = param(req, "X-Amz-Expires")?;
    Some(v4::expiry(text).unwrap_or(0))
}

/// The instant, in microseconds since the epoch, after which the signer wants the request
/// refused: `Expires` under versions 1 and 2, the stated time plus [`expires_in`] under version 4.
pub fn expires_at(req: &SignedRequest) -> Result<Option<i64>, SignatureError> {
    match version(req)? {
        // Version 0 does not sign it.
        SignatureVersion::V0 => Ok(None),
        SignatureVersion::V1 | SignatureVersion::V2 => iso_param(req, "Expires"),
        SignatureVersion::V4 => {
            let life = stated_time(req)?.zip(expires_in(req));
            Ok(life.map(|(stated, seconds)| stated.saturating_add(seconds * MICROS)))
        }
    }
}
