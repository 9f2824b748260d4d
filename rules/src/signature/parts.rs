//! The parts of a signed request, read so that nothing can be taken in two ways.

use std::collections::BTreeMap;

use super::time::iso8601;
use super::{Outcome, SignatureError, SignedRequest};

/// The headers by lower-case name, with values trimmed. Two spellings of one name would leave it
/// open which of them was signed.
pub(super) fn lower_headers(req: &SignedRequest) -> Outcome<BTreeMap<String, &str>> {
    let mut headers = BTreeMap::new();
    for (name, value) in &req.headers {
        if headers.insert(name.trim().to_ascii_lowercase(), value.trim()).is_some() {
            return Err(SignatureError::Malformed("headers"));
        }
    }
    Ok(headers)
}

/// One header, by its lower-case name; an error if it is there twice.
pub(super) fn header<'a>(req: &'a SignedRequest, name: &str) -> Outcome<Option<&'a str>> {
    let mut found = req.headers.iter().filter(|(key, _)| key.trim().eq_ignore_ascii_case(name));
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(SignatureError::Malformed("headers")),
        (first, None) => Ok(first.map(|(_, value)| value.trim())),
    }
}

/// One parameter.
pub(super) fn param<'a>(req: &'a SignedRequest, name: &str) -> Option<&'a str> {
    req.params.get(name).map(String::as_str)
}

/// The parameters that a signature covers: all, except that a gateway may have left the signature
/// itself among them, and no signature covers itself.
pub(super) fn covered_params<'a>(
    req: &'a SignedRequest,
    own_name: &'a str,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    req.params
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(move |(name, value)| *name != own_name || *value != req.signature)
}

/// The time in a parameter, if the request has that.
pub(super) fn iso_param(req: &SignedRequest, name: &'static str) -> Outcome<Option<i64>> {
    param(req, name).map(|text| iso8601(text).ok_or(SignatureError::Malformed(name))).transpose()
}

pub(super) fn present(value: &str, name: &'static str) -> Outcome<()> {
    if value.is_empty() { Err(SignatureError::Missing(name)) } else { Ok(()) }
}

/// A line break inside a field would let it pass for several, as the schemes join fields by lines.
pub(super) fn one_line(value: &str, name: &'static str) -> Outcome<()> {
    if value.contains(['\n', '\r']) { Err(SignatureError::Malformed(name)) } else { Ok(()) }
}

/// The hosts a client may have signed for: some libraries leave the port out, and when it is
/// taken off here the name is also put in lower case, as Keystone does.
pub(super) fn hosts_to_try(host: &str) -> Vec<String> {
    let mut hosts = vec![host.to_owned()];
    if let Some(name) = without_port(host) {
        let lower = name.to_lowercase();
        let bare = lower.trim_matches(['[', ']']).to_owned();
        hosts.extend([name.to_owned(), lower, bare]);
        hosts.dedup();
    }
    hosts
}

/// A host by which two requests can be compared, whatever the port.
pub(super) fn bare_host(host: &str) -> String {
    without_port(host).unwrap_or(host).to_lowercase()
}

/// The host before its port, if it has one. An address of IPv6 keeps its brackets.
fn without_port(host: &str) -> Option<&str> {
    let (name, port) = host.rsplit_once(':')?;
    let whole = if name.starts_with('[') { name.ends_with(']') } else { !name.contains(':') };
    (whole && !name.is_empty() && port.bytes().all(|b| b.is_ascii_digit())).then_some(name)
}
