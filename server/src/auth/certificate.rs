//! Clients of OAuth 2.0 that show a certificate (RFC 8705, `tls_client_auth`): the user that a mapping finds in what it says of
//! its subject and its issuer, and the token that is bound to it. Where the certificate comes from, and that somebody has
//! verified it, is decided where requests arrive.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use vicar_rules::Micros;
use vicar_rules::mapping::{Mapping, Version};
use vicar_rules::token::CERTIFICATE_METHOD;
use x509_cert::Certificate;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Tag, Tagged};
use x509_cert::name::Name;

use super::Parts;
use super::issue::{Identity, ScopeRequest};
use super::login::{self, Account};
use super::slow::{Said, SlowWork};
use super::token::Known;
use crate::error::{Error, Result};
use crate::facts::{self, UserFacts};
use crate::line::{Line, Tried};
use crate::reason::Reason;
use crate::store::{Tx, WriteTx};

/// What a client is told that is not who it says, whatever the reason.
const WORDS: &str = "Client authentication failed.";

const fn failed(reason: Reason) -> Error {
    Error::UnauthorizedBecause(reason, WORDS)
}

/// A client whose certificate is a user's.
#[derive(Debug)]
pub struct Passed {
    user: String,
    project: String,
    thumbprint: String,
    account: Option<Account>,
}

/// The client, if the certificate is that of the user with this id.
///
/// # Errors
/// 401 when it is not, or when that user has no default project; [`Error::Pending`] until the mapping is evaluated.
pub async fn login(
    tx: &mut Tx,
    parts: Parts<'_>,
    slow: &mut SlowWork,
    id: &str,
    der: &[u8],
    line: &Line,
) -> Result<Passed> {
    let attributes = attributes(der).ok_or(failed(Reason::WrongCertificate))?;
    let user = facts::user(tx, id).await?.ok_or(failed(Reason::NoSuchUser))?;
    line.tried(Tried { user: Some(user.id.clone()), ..Tried::default() });
    let project = user.default_project_id.clone().filter(|project| !project.is_empty());
    let project = project.ok_or(failed(Reason::NoSuchScope))?;
    let stored = facts::federation::mapping(tx, &parts.config.oauth2_mapping).await?;
    let (rules, version) = stored.ok_or(failed(Reason::WrongCertificate))?;
    let said = said(rules, &version, attributes).ok_or(failed(Reason::WrongCertificate))?;
    let mapped = slow.map(said)?.ok_or(failed(Reason::WrongCertificate))?;
    let email = facts::email(tx, &user.id).await?;
    if !is_of(&mapped.user, &user, email.as_deref()) {
        return Err(failed(Reason::WrongCertificate));
    }
    let account = login::account(tx, &user.id).await?;
    Ok(Passed { user: user.id, project, thumbprint: thumbprint(der), account })
}

impl Passed {
    /// The identity that gets the token.
    pub fn identity(&self) -> Identity {
        Identity {
            user: self.user.clone(),
            methods: vec![CERTIFICATE_METHOD.to_owned()],
            until: vicar_rules::delegation::Until::Never,
            root_audit_id: None,
            source: None,
            known: Known::default(),
            federated: None,
            logged_in: None,
            workload: None,
            certificate: None,
        }
    }

    /// The scope of its token: the user's default project, and bound to the certificate.
    pub fn scope(&self) -> ScopeRequest {
        ScopeRequest::Certificate { project: self.project.clone(), thumbprint: self.thumbprint.clone() }
    }

    /// Notes the login.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record(&self, tx: &mut WriteTx, parts: Parts<'_>, now: Micros) -> Result<()> {
        match &self.account {
            Some(account) => login::seen(tx, parts, account, now).await,
            None => Ok(()),
        }
    }
}

/// What the rules say of somebody with these attributes. A Keystone evaluates them as those of version 1.0, whatever
/// version they are of.
fn said(rules: Value, version: &str, attributes: BTreeMap<String, String>) -> Option<Said> {
    let version = Version::named(version).unwrap_or(Version::V1);
    let mapping = Mapping::of_rules(rules, version).ok()?.evaluated_as(Version::V1);
    Some(Said { mapping, attributes })
}

/// Whether a user is the one that a mapping says: all that it says of them has to be so, and it has to say who they are.
fn is_of(said: &Map<String, Value>, user: &UserFacts, email: Option<&str>) -> bool {
    let part = |of: Option<&Map<String, Value>>, name: &str| match of?.get(name)? {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        _ => None,
    };
    let own = |name: &str| part(Some(said), name);
    let domain = |name: &str| part(said.get("domain").and_then(Value::as_object), name);
    let (name, id, address) = (own("name"), own("id"), own("email"));
    if name.is_none() && id.is_none() && address.is_none() {
        return false;
    }
    let fits = |said: Option<String>, is: Option<&str>| said.is_none_or(|said| Some(&*said) == is);
    fits(name, Some(&user.name))
        && fits(id, Some(&user.id))
        && fits(address, email)
        && fits(domain("id"), Some(&user.domain_id))
        && fits(domain("name"), Some(&user.domain_name))
}

/// What tokens name the certificate by: Keystone's `x5t#S256`, which is of the PEM text and has padding. The one of
/// RFC 8705 is of the certificate itself; but this is what `oauth2_mtls_token` of keystonemiddleware compares with.
pub fn thumbprint(der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut pem = String::with_capacity(encoded.len() + encoded.len() / 64 + 64);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at_checked(64).unwrap_or((rest, ""));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    URL_SAFE.encode(Sha256::digest(pem))
}

/// What a certificate says of its subject and its issuer, by the names that a Keystone gives it: those of Apache's
/// variables. Of an attribute that appears more than once, the last one counts. Nothing when it cannot be read.
fn attributes(der: &[u8]) -> Option<BTreeMap<String, String>> {
    let certificate = Certificate::from_der(der).ok()?.tbs_certificate;
    let mut all = BTreeMap::new();
    for (whose, name) in [("SUBJECT", &certificate.subject), ("ISSUER", &certificate.issuer)] {
        for (attribute, value) in of_name(name)? {
            all.insert(format!("SSL_CLIENT_{whose}_DN_{}", attribute.to_ascii_uppercase()), value);
        }
    }
    Some(all)
}

/// The attributes of a name; nothing when one of them is none that a Keystone reads: it takes no `=` in a value.
fn of_name(name: &Name) -> Option<Vec<(String, String)>> {
    let each = name.0.iter().flat_map(|relative| relative.0.iter());
    each.map(|attribute| {
        let value = text(attribute)?;
        (!value.contains('=')).then(|| (short(attribute.oid), value))
    })
    .collect()
}

/// The name of an attribute's type: of RFC 4514 where it has one, else its numbers.
fn short(oid: ObjectIdentifier) -> String {
    let numbers = oid.to_string();
    let name = match numbers.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.6" => "C",
        "2.5.4.9" => "STREET",
        "0.9.2342.19200300.100.1.25" => "DC",
        "0.9.2342.19200300.100.1.1" => "UID",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return numbers,
    };
    name.to_owned()
}

/// A value as RFC 4514 writes it.
fn text(attribute: &AttributeTypeAndValue) -> Option<String> {
    let bytes = attribute.value.value();
    let plain = match attribute.value.tag() {
        Tag::BitString => return Some(format!("#{}", hex::encode(bytes))),
        Tag::BmpString => {
            let units = bytes.chunks(2).map(|two| Some(u16::from_be_bytes(two.try_into().ok()?)));
            String::from_utf16(&units.collect::<Option<Vec<_>>>()?).ok()?
        }
        _ => String::from_utf8(bytes.to_vec()).ok()?,
    };
    Some(escaped(&plain))
}

fn escaped(plain: &str) -> String {
    let mut out = String::with_capacity(plain.len());
    let last = plain.chars().count().saturating_sub(1);
    for (at, c) in plain.chars().enumerate() {
        match c {
            '\\' | '"' | '+' | ',' | ';' | '<' | '>' => out.extend(['\\', c]),
            '\0' => out.push_str("\\00"),
            '#' if at == 0 => out.push_str("\\#"),
            ' ' if (at == 0 && last > 0) || at == last => out.push_str("\\ "),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
