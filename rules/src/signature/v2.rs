//! EC2 versions 0, 1 and 2, which sign parameters with the secret itself.

use std::collections::BTreeMap;

use super::encode::{HmacSha1, HmacSha256, base64_hmac, encoded, joined};
use super::parts::{covered_params, hosts_to_try, iso_param, one_line, param, present};
use super::{Outcome, SignatureError, SignedRequest};

/// Signs a request under EC2 version 2, with the hash that `SignatureMethod` names (SHA-256 where
/// it names none), and returns the signature.
pub fn sign_v2(secret: &str, req: &SignedRequest) -> Result<String, SignatureError> {
    v2_signature(secret, req, &req.host)
}

pub(super) fn v0_signature(secret: &str, req: &SignedRequest) -> Outcome<String> {
    let [action, timestamp] = ["Action", "Timestamp"].map(|name| param(req, name).unwrap_or_default());
    present(action, "Action")?;
    present(timestamp, "Timestamp")?;
    // The two run together, so the same signature fits another split of the same text; that the
    // second part must be a whole time leaves one split only.
    iso_param(req, "Timestamp")?;
    base64_hmac::<HmacSha1>(secret, format!("{action}{timestamp}").as_bytes())
}

pub(super) fn v1_signature(secret: &str, req: &SignedRequest) -> Outcome<String> {
    // Names and values run together too, so a request that states a time could be regrouped into
    // one that states none. Such requests are therefore not accepted.
    if iso_param(req, "Timestamp")?.is_none() && iso_param(req, "Expires")?.is_none() {
        return Err(SignatureError::Missing("Timestamp"));
    }
    let mut pairs: Vec<_> = covered_params(req, "Signature").collect();
    pairs.sort_by_cached_key(|(name, _)| name.to_lowercase());
    let text: String = pairs.into_iter().flat_map(|(name, value)| [name, value]).collect();
    base64_hmac::<HmacSha1>(secret, text.as_bytes())
}

/// All signatures that a request of version 2 may bear.
pub(super) fn v2_signatures(secret: &str, req: &SignedRequest) -> Outcome<Vec<String>> {
    hosts_to_try(&req.host).iter().map(|host| v2_signature(secret, req, host)).collect()
}

fn v2_signature(secret: &str, req: &SignedRequest, host: &str) -> Outcome<String> {
    one_line(&req.verb, "verb")?;
    one_line(host, "host")?;
    one_line(&req.path, "path")?;
    let mut params: BTreeMap<_, _> = covered_params(req, "Signature").collect();
    // Signers that leave the method to the verifier sign as if they had stated the default.
    let method = *params.entry("SignatureMethod").or_insert("HmacSHA256");
    let text = format!("{}\n{host}\n{}\n{}", req.verb, req.path, joined(&encoded(params)));
    match method {
        "HmacSHA256" => base64_hmac::<HmacSha256>(secret, text.as_bytes()),
        "HmacSHA1" => base64_hmac::<HmacSha1>(secret, text.as_bytes()),
        _ => Err(SignatureError::UnknownMethod),
    }
}
