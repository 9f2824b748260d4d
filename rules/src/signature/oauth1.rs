//! OAuth 1.0a (RFC 5849): requests that a consumer signs with its secret and that of a token.

use std::fmt;

use super::encode::{
    HmacSha1, HmacSha256, HmacSha512, base64_hmac, encoded, joined, percent_decode, percent_encode, same,
};
use super::parts::present;
use super::time::MICROS;
use super::{Outcome, SignatureError};

/// What verifiers are made of: letters and digits that nobody takes for others.
pub const VERIFIER_CHARACTERS: &str = "abcdefghkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// How long a verifier is.
pub const VERIFIER_LENGTH: usize = 8;

/// Names and values, decoded.
pub type Params = Vec<(String, String)>;

/// A request as a server got it.
#[derive(Clone, PartialEq, Eq)]
pub struct OAuthRequest {
    verb: String,
    urls: Vec<String>,
    header: Params,
    realm: Option<String>,
    others: Vec<Params>,
}

// By hand: whoever holds the header can replay the request, and PLAINTEXT's signature is the secrets.
impl fmt::Debug for OAuthRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthRequest")
            .field("verb", &self.verb)
            .field("urls", &self.urls)
            .finish_non_exhaustive()
    }
}

impl OAuthRequest {
    /// Reads the `Authorization` header of a request.
    ///
    /// `urls` are those that the client may have asked for, without a query: a proxy may have changed it on the way.
    /// `others` are the sets of parameters of query and body that it may have signed, as clients differ in what they
    /// leave out; where it is empty, none.
    ///
    /// # Errors
    /// When the header cannot be read in one way only, or query and body have parameters that belong into it.
    pub fn read(verb: &str, urls: Vec<String>, authorization: &str, others: Vec<Params>) -> Outcome<Self> {
        let mut header = list(authorization)?;
        let mut realm = None;
        header.retain(|(name, value)| {
            let is_realm = name == "realm";
            if is_realm {
                realm = Some(value.clone());
            }
            !is_realm
        });
        if others.iter().flatten().any(|(name, _)| name.starts_with("oauth_")) {
            return Err(SignatureError::Malformed("query: oauth_ parameters belong into the header"));
        }
        let others = if others.is_empty() { vec![Params::new()] } else { others };
        Ok(Self { verb: verb.to_owned(), urls, header, realm, others })
    }

    /// A parameter of the header; nothing when it is empty.
    pub fn param(&self, name: &str) -> Option<&str> {
        let found = self.header.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        found.filter(|value| !value.is_empty())
    }

    /// The realm, if one is named.
    pub fn realm(&self) -> Option<&str> {
        self.realm.as_deref().filter(|realm| !realm.is_empty())
    }

    /// Whether everything is there that a signed request needs, in its form, by the rules of Keystone.
    ///
    /// # Errors
    /// What is missing or malformed, or another method.
    pub fn check(&self) -> Outcome<()> {
        for name in [
            "oauth_signature",
            "oauth_consumer_key",
            "oauth_nonce",
            "oauth_timestamp",
            "oauth_signature_method",
        ] {
            present(self.param(name).unwrap_or_default(), name)?;
        }
        self.method()?;
        if self.param("oauth_version").is_some_and(|version| version != "1.0") {
            return Err(SignatureError::Malformed("oauth_version"));
        }
        self.stated_time()?;
        if !self.param("oauth_nonce").is_some_and(is_hex) {
            return Err(SignatureError::Malformed("oauth_nonce"));
        }
        for name in ["oauth_consumer_key", "oauth_token"] {
            if self.param(name).is_some_and(|id| !is_hex(id) || id.len() != 32) {
                return Err(SignatureError::Malformed(name));
            }
        }
        match self.param("oauth_verifier") {
            Some(verifier) if !is_verifier(verifier) => Err(SignatureError::Malformed("oauth_verifier")),
            _ => Ok(()),
        }
    }

    /// The time that the consumer states, in microseconds since the epoch. The signature covers it, unless the method
    /// is PLAINTEXT.
    ///
    /// # Errors
    /// When it is no number of ten digits.
    pub fn stated_time(&self) -> Outcome<i64> {
        let text = self.param("oauth_timestamp").unwrap_or_default();
        let is_number = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit());
        let seconds: Option<i64> = text.parse().ok().filter(|_| is_number);
        seconds.map(|s| s * MICROS).ok_or(SignatureError::Malformed("oauth_timestamp"))
    }

    /// Whether the signature is that of this request under these secrets. Without a token there is no secret of one.
    ///
    /// # Errors
    /// [`SignatureError::Mismatch`], or another method.
    pub fn verify(&self, consumer_secret: &str, token_secret: Option<&str>) -> Outcome<()> {
        present(consumer_secret, "secret")?;
        let given = self.param("oauth_signature").unwrap_or_default();
        present(given, "oauth_signature")?;
        let mut fits = false;
        for url in &self.urls {
            for others in &self.others {
                fits |= same(given, &self.sign(url, others, consumer_secret, token_secret)?);
            }
        }
        if fits { Ok(()) } else { Err(SignatureError::Mismatch) }
    }

    /// The signature of the request, as a client makes it: of the first of the URLs and of the sets of parameters.
    ///
    /// # Errors
    /// For another method.
    pub fn signature(&self, consumer_secret: &str, token_secret: Option<&str>) -> Outcome<String> {
        let url = self.urls.first().map(String::as_str).unwrap_or_default();
        let none = Params::new();
        self.sign(url, self.others.first().unwrap_or(&none), consumer_secret, token_secret)
    }

    /// What tells this request from any other of the same consumer and token, by §3.3: a nonce is used once in each
    /// second.
    pub fn identity(&self) -> String {
        let of = |name| self.param(name).unwrap_or_default();
        let who = format!("oauth1 {} {}", of("oauth_consumer_key"), of("oauth_token"));
        super::identity(&who, &format!("{} {}", of("oauth_timestamp"), of("oauth_nonce")))
    }

    fn method(&self) -> Outcome<Method> {
        match self.param("oauth_signature_method") {
            Some("HMAC-SHA1") => Ok(Method::Sha1),
            Some("HMAC-SHA256") => Ok(Method::Sha256),
            Some("HMAC-SHA512") => Ok(Method::Sha512),
            Some("PLAINTEXT") => Ok(Method::Plaintext),
            // Consumers have no RSA key here, nor in Keystone.
            _ => Err(SignatureError::UnknownMethod),
        }
    }

    fn sign(&self, url: &str, others: &Params, consumer: &str, token: Option<&str>) -> Outcome<String> {
        let key = format!("{}&{}", percent_encode(consumer), percent_encode(token.unwrap_or_default()));
        let text = self.base_string(url, others);
        match self.method()? {
            Method::Sha1 => base64_hmac::<HmacSha1>(&key, text.as_bytes()),
            Method::Sha256 => base64_hmac::<HmacSha256>(&key, text.as_bytes()),
            Method::Sha512 => base64_hmac::<HmacSha512>(&key, text.as_bytes()),
            Method::Plaintext => Ok(key),
        }
    }

    /// §3.4.1
    pub(super) fn base_string(&self, url: &str, others: &Params) -> String {
        let header = self.header.iter().filter(|(name, _)| name != "oauth_signature");
        let all = header.chain(others).map(|(name, value)| (name.as_str(), value.as_str()));
        let mut params = encoded(all);
        params.sort();
        let parts = [self.verb.to_uppercase(), base_url(url), joined(&params)];
        parts.map(|part| percent_encode(&part)).join("&")
    }
}

#[derive(Clone, Copy)]
enum Method {
    Sha1,
    Sha256,
    Sha512,
    Plaintext,
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_verifier(text: &str) -> bool {
    text.len() == VERIFIER_LENGTH && text.chars().all(|c| VERIFIER_CHARACTERS.contains(c))
}

/// §3.4.1.2: scheme and host in lower case, without the scheme's own port.
fn base_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let scheme = scheme.to_ascii_lowercase();
    let host = host.to_ascii_lowercase();
    let own = if scheme == "https" { ":443" } else { ":80" };
    format!("{scheme}://{}{path}", host.strip_suffix(own).unwrap_or(&host))
}

/// How many parameters a header can have: RFC 5849 knows nine.
const MOST_PARAMS: usize = 32;

/// The parameters of an `Authorization` header (§3.5.1), each of which can be there once.
fn list(header: &str) -> Outcome<Params> {
    const HEADER: SignatureError = SignatureError::Malformed("Authorization header");
    let (scheme, mut rest) = header.trim().split_once(' ').ok_or(HEADER)?;
    if !scheme.eq_ignore_ascii_case("OAuth") {
        return Err(HEADER);
    }
    let mut params = Params::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Ok(params);
        }
        let (name, after) =
            rest.split_once('=').map(|(name, after)| (name.trim(), after.trim_start())).ok_or(HEADER)?;
        let value;
        (value, rest) = match after.strip_prefix('"') {
            // Values are encoded, so that no quotation mark is in them.
            Some(quoted) => quoted.split_once('"').ok_or(HEADER)?,
            None => after.split_at(after.find([',', ' ', '"']).unwrap_or(after.len())),
        };
        rest = rest.trim_start();
        if !rest.is_empty() && !rest.starts_with(',') {
            return Err(HEADER);
        }
        let name = percent_decode(name).ok_or(HEADER)?;
        let value = percent_decode(value).ok_or(HEADER)?;
        if params.len() == MOST_PARAMS || params.iter().any(|(known, _)| *known == name) {
            return Err(HEADER);
        }
        params.push((name, value));
    }
}
