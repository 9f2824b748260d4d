//! Version 4, with the signature in a header or, presigned, among the parameters.

use std::fmt;

use hmac::Mac;
use sha2::{Digest, Sha256};

use super::encode::{HmacSha256, encoded, hex, hmac, joined, keyed, same};
use super::parts::{
    bare_host, covered_params, header, hosts_to_try, lower_headers, one_line, param, present,
};
use super::{Outcome, SignatureError, SignatureVersion, SignedRequest, version};

/// The algorithm label that every version 4 request carries.
pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The fixed end of every version 4 credential scope.
pub(super) const TERMINATOR: &str = "aws4_request";
/// The longest life, in seconds, that a presigned request may ask for.
const LONGEST_EXPIRY: i64 = 604_800;

/// Signs a request under version 4 in the header form.
///
/// `at` is the time in the basic form that [`amz_date`](super::amz_date) gives. All headers present
/// are signed. `Host`, `X-Amz-Date` and `Authorization` are put among the headers, an absent body
/// hash becomes that of an empty body, and the signature is stored. Returns the `Authorization`
/// header.
pub fn sign_v4(
    secret: &str,
    req: &mut SignedRequest,
    at: &str,
    region: &str,
    service: &str,
) -> Result<String, SignatureError> {
    remove_header(req, "authorization");
    remove_header(req, "x-amz-date");
    req.headers.insert("X-Amz-Date".to_owned(), at.to_owned());
    ensure_host(req)?;
    let names: Vec<String> = lower_headers(req)?.into_keys().collect();
    let unsigned = format!(
        "{ALGORITHM} Credential={}, SignedHeaders={}",
        credential(&req.access, at, region, service),
        names.join(";")
    );
    req.headers.insert("Authorization".to_owned(), unsigned.clone());
    sign_in_place(secret, req)?;
    let authorization = format!("{unsigned}, Signature={}", req.signature);
    req.headers.insert("Authorization".to_owned(), authorization.clone());
    Ok(authorization)
}

/// Signs a request under version 4 in the presigned form, valid for `seconds` from `at`.
///
/// Only the host is signed. The `X-Amz-*` parameters, apart from the signature itself, are put
/// among the parameters, and the signature is stored and returned.
pub fn presign_v4(
    secret: &str,
    req: &mut SignedRequest,
    at: &str,
    region: &str,
    service: &str,
    seconds: u32,
) -> Result<String, SignatureError> {
    remove_header(req, "authorization");
    ensure_host(req)?;
    req.params.remove("X-Amz-Signature");
    for (name, value) in [
        ("X-Amz-Algorithm", ALGORITHM.to_owned()),
        ("X-Amz-Credential", credential(&req.access, at, region, service)),
        ("X-Amz-Date", at.to_owned()),
        ("X-Amz-Expires", seconds.to_string()),
        ("X-Amz-SignedHeaders", "host".to_owned()),
    ] {
        req.params.insert(name.to_owned(), value);
    }
    sign_in_place(secret, req)?;
    Ok(req.signature.clone())
}

fn sign_in_place(secret: &str, req: &mut SignedRequest) -> Outcome<()> {
    if version(req)? != SignatureVersion::V4 {
        return Err(SignatureError::Malformed("SignatureVersion"));
    }
    req.body_hash.get_or_insert_with(|| hex(&Sha256::digest(b"")));
    let v4 = V4::read(req)?;
    req.signature = v4.signature(secret, v4.host, Reading::Aws)?;
    Ok(())
}

fn remove_header(req: &mut SignedRequest, lower: &str) {
    req.headers.retain(|name, _| !name.trim().eq_ignore_ascii_case(lower));
}

fn ensure_host(req: &mut SignedRequest) -> Outcome<()> {
    if header(req, "host")?.is_none() {
        req.headers.insert("Host".to_owned(), req.host.clone());
    }
    Ok(())
}

fn credential(access: &str, at: &str, region: &str, service: &str) -> String {
    let day = at.get(..8).unwrap_or(at);
    format!("{access}/{day}/{region}/{service}/{TERMINATOR}")
}

/// Whether a request says that it follows version 4.
pub(super) fn is_claimed(req: &SignedRequest) -> Outcome<bool> {
    // An Authorization header of another scheme is not looked past: the request would then state
    // two credentials.
    Ok(match header(req, "authorization")? {
        Some(text) => authorization_fields(text).is_some(),
        None => param(req, "X-Amz-Algorithm") == Some(ALGORITHM),
    })
}

/// The date that goes into the string to sign. It may be given in two places, which must agree.
pub(super) fn date(req: &SignedRequest) -> Outcome<&str> {
    let date = match (header(req, "x-amz-date")?, param(req, "X-Amz-Date")) {
        (Some(header), Some(param)) if header != param => {
            return Err(SignatureError::Malformed("X-Amz-Date"));
        }
        (header, param) => header.or(param).unwrap_or_default(),
    };
    present(date, "X-Amz-Date")?;
    one_line(date, "X-Amz-Date")?;
    Ok(date)
}

/// Reads the `X-Amz-Expires` of a presigned request.
pub(super) fn expiry(text: &str) -> Option<i64> {
    if text.len() > 6 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|seconds| *seconds <= LONGEST_EXPIRY)
}

/// Whether a request bears one of the signatures that it may.
pub(super) fn is_signed(
    secret: &str,
    derived: &mut Option<DerivedKey>,
    req: &SignedRequest,
) -> Outcome<bool> {
    let v4 = V4::read(req)?;
    let key = v4.scope.key(secret, derived)?;
    let mut tried: Vec<String> = Vec::new();
    for host in hosts_to_try(v4.host) {
        for reading in [Reading::Keystone, Reading::Aws] {
            let text = v4.text(&host, reading);
            // The readings agree on nearly all requests.
            if tried.contains(&text) {
                continue;
            }
            if same(&req.signature, &key.sign(text.as_bytes())) {
                return Ok(true);
            }
            tried.push(text);
        }
    }
    Ok(false)
}

/// A key that was derived from a secret, and for what it is good. Whoever has many requests under one secret keeps it
/// beside that, if it [is small](Self::is_small).
#[derive(Clone)]
pub struct DerivedKey {
    scope: String,
    key: HmacSha256,
}

// By hand: it signs for its day.
impl fmt::Debug for DerivedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DerivedKey").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl DerivedKey {
    /// Whether it takes as little as those of real clients. A region may be of any length.
    pub fn is_small(&self) -> bool {
        self.scope.len() <= 128
    }

    fn sign(&self, text: &[u8]) -> String {
        let mut mac = self.key.clone();
        mac.update(text);
        hex(&mac.finalize().into_bytes())
    }
}

/// What a derived key is good for, with the moment of signing.
pub(super) struct Scope<'a> {
    pub(super) date_time: &'a str,
    day: &'a str,
    region: &'a str,
    service: &'a str,
}

impl<'a> Scope<'a> {
    /// A derived key is good for one day; without the check made here it would be good for any.
    pub(super) fn new(date_time: &'a str, [day, region, service]: [&'a str; 3]) -> Outcome<Self> {
        if day.len() != 8 || !day.bytes().all(|b| b.is_ascii_digit()) {
            Err(SignatureError::Malformed("credential scope"))
        } else if !date_time.starts_with(day) {
            Err(SignatureError::ScopeDate)
        } else {
            Ok(Self { date_time, day, region, service })
        }
    }

    /// `20150830/us-east-1/ec2/aws4_request`
    fn text(&self) -> String {
        format!("{}/{}/{}/{TERMINATOR}", self.day, self.region, self.service)
    }

    /// The key of the secret for this scope: the one that was derived last, if it is that.
    fn key<'k>(&self, secret: &str, derived: &'k mut Option<DerivedKey>) -> Outcome<&'k DerivedKey> {
        let scope = self.text();
        let known = derived.take().filter(|known| known.scope == scope);
        let key = match known {
            Some(known) => known,
            None => {
                let mut key = format!("AWS4{secret}").into_bytes();
                for part in [self.day, self.region, self.service, TERMINATOR] {
                    key = hmac::<HmacSha256>(&key, part.as_bytes())?;
                }
                DerivedKey { scope, key: keyed(&key)? }
            }
        };
        Ok(derived.insert(key))
    }

    /// Derives the key and signs with it.
    pub(super) fn sign(
        &self,
        secret: &str,
        derived: &mut Option<DerivedKey>,
        string_to_sign: &[u8],
    ) -> Outcome<String> {
        Ok(self.key(secret, derived)?.sign(string_to_sign))
    }
}

/// The two ways of writing down a request; they agree on all but rare input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Parameters sorted before encoding, header values only trimmed, the path as it is.
    Keystone,
    /// Parameters sorted after encoding, runs of space in header values made one, no path as `/`.
    Aws,
}

/// The parts of a request, from wherever it states them.
struct V4<'a> {
    req: &'a SignedRequest,
    signed_headers: &'a str,
    /// The same, one by one and with their values.
    headers: Vec<(&'a str, &'a str)>,
    host: &'a str,
    body_hash: &'a str,
    scope: Scope<'a>,
}

impl<'a> V4<'a> {
    fn read(req: &'a SignedRequest) -> Outcome<Self> {
        one_line(&req.verb, "verb")?;
        one_line(&req.path, "path")?;
        let mut headers = lower_headers(req)?;
        let stated = Stated::read(req, headers.get("authorization").copied())?;
        let credential = stated.credential.ok_or(SignatureError::Missing("Credential"))?;
        let signed_headers = stated.signed_headers.ok_or(SignatureError::Missing("SignedHeaders"))?;

        one_line(credential, "Credential")?;
        // From the right, since an access key may itself contain a slash.
        let parts: Vec<&str> = credential.rsplitn(5, '/').collect();
        let &[TERMINATOR, service, region, day, access] = parts.as_slice() else {
            return Err(SignatureError::Malformed("Credential"));
        };
        if access != req.access {
            return Err(SignatureError::AccessKey);
        }
        let scope = Scope::new(date(req)?, [day, region, service])?;

        // A gateway that drops the header still says which host it was.
        let host = *headers.entry("host".to_owned()).or_insert(&req.host);
        let headers = signed(signed_headers, |name| headers.get(name).copied())?;
        // The caller may go by `host`, so it must say what the signed header says.
        if !req.host.is_empty() && bare_host(host) != bare_host(&req.host) {
            return Err(SignatureError::Mismatch);
        }
        let body_hash = req.body_hash.as_deref().unwrap_or_default();
        present(body_hash, "body_hash")?;
        one_line(body_hash, "body_hash")?;
        Ok(Self { req, signed_headers, headers, host, body_hash, scope })
    }

    fn signature(&self, secret: &str, host: &str, reading: Reading) -> Outcome<String> {
        self.scope.sign(secret, &mut None, self.text(host, reading).as_bytes())
    }

    /// The string to sign.
    fn text(&self, host: &str, reading: Reading) -> String {
        let digest = hex(&Sha256::digest(self.canonical(host, reading).as_bytes()));
        format!("{ALGORITHM}\n{}\n{}\n{digest}", self.scope.date_time, self.scope.text())
    }

    fn canonical(&self, host: &str, reading: Reading) -> String {
        let verb = self.req.verb.to_uppercase();
        let path = match reading {
            Reading::Aws if self.req.path.is_empty() => "/",
            _ => &self.req.path,
        };
        // A POST carries its parameters in the body, which the body hash covers.
        let mut params = Vec::new();
        if verb != "POST" {
            params = encoded(covered_params(self.req, "X-Amz-Signature"));
        }
        // They come sorted by plain name.
        if reading == Reading::Aws {
            params.sort();
        }
        let mut lines = format!("{verb}\n{path}\n{}\n", joined(&params));
        for &(name, value) in &self.headers {
            let value = if name == "host" { host } else { value };
            let value = match reading {
                Reading::Keystone => value.to_owned(),
                Reading::Aws => value.split_ascii_whitespace().collect::<Vec<_>>().join(" "),
            };
            lines.push_str(&format!("{name}:{value}\n"));
        }
        format!("{lines}\n{}\n{}", self.signed_headers, self.body_hash)
    }
}

/// The headers that a request names as signed, in the order named.
fn signed<'a>(
    names: &'a str,
    value_of: impl Fn(&str) -> Option<&'a str>,
) -> Outcome<Vec<(&'a str, &'a str)>> {
    let mut signed: Vec<(&str, &str)> = Vec::new();
    for name in names.split(';') {
        if name.is_empty()
            || signed.iter().any(|(seen, _)| *seen == name)
            || name.contains(|c: char| c.is_uppercase() || c.is_whitespace() || c == ':')
        {
            return Err(SignatureError::Malformed("SignedHeaders"));
        }
        signed.push((name, value_of(name).ok_or(SignatureError::SignedHeaderAbsent)?));
    }
    if !signed.iter().any(|(name, _)| *name == "host") {
        return Err(SignatureError::HostNotSigned);
    }
    for (_, value) in &signed {
        one_line(value, "signed header")?;
    }
    Ok(signed)
}

/// What a request states of its signature.
#[derive(Default)]
struct Stated<'a> {
    credential: Option<&'a str>,
    signed_headers: Option<&'a str>,
}

impl<'a> Stated<'a> {
    /// From the `Authorization` header if there is one, or else from the parameters.
    fn read(req: &'a SignedRequest, authorization: Option<&'a str>) -> Outcome<Self> {
        let Some(text) = authorization else {
            if let Some(text) = param(req, "X-Amz-Expires") {
                expiry(text).ok_or(SignatureError::Malformed("X-Amz-Expires"))?;
            }
            return Ok(Self {
                credential: param(req, "X-Amz-Credential"),
                signed_headers: param(req, "X-Amz-SignedHeaders"),
            });
        };
        let mut stated = Self::default();
        for field in authorization_fields(text).ok_or(SignatureError::UnknownVersion)?.split(',') {
            // Unknown fields, and the signature, which the caller has apart, are passed over.
            let (slot, value) = match field.trim().split_once('=') {
                Some(("Credential", value)) => (&mut stated.credential, value),
                Some(("SignedHeaders", value)) => (&mut stated.signed_headers, value),
                _ => continue,
            };
            if slot.replace(value.trim()).is_some() {
                return Err(SignatureError::Malformed("Authorization"));
            }
        }
        Ok(stated)
    }
}

/// What follows the algorithm in an `Authorization` header; `None` if it is of another scheme.
fn authorization_fields(text: &str) -> Option<&str> {
    let rest = text.trim().strip_prefix(ALGORITHM)?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then_some(rest)
}
