//! Signed tokens of providers (RFC 7519): how they are read, and by which of a provider's keys they are verified.
//!
//! Only signatures that need a private key are known here: a token without one, or with one that whoever has the public key
//! could make, is none.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::{Map, Value};

/// The longest token that is looked at, in bytes.
const LONGEST: usize = 16 << 10;

/// So many keys of one provider are read.
const MOST_KEYS: usize = 100;

/// So many keys are tried of a token that names none.
const MOST_TRIED: usize = 8;

/// Why a token is none of the provider's, for the log.
pub type Fault = &'static str;

/// A token whose signature is not verified yet.
#[derive(Debug)]
pub struct Unverified<'t> {
    algorithm: Algorithm,
    key: Option<String>,
    signed: &'t str,
    signature: Vec<u8>,
    claims: Map<String, Value>,
}

/// A signature that is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Rsa(&'static str),
    P256,
    P384,
    Ed25519,
}

impl Algorithm {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rsa("RS256"),
            "RS384" => Self::Rsa("RS384"),
            "RS512" => Self::Rsa("RS512"),
            "PS256" => Self::Rsa("PS256"),
            "PS384" => Self::Rsa("PS384"),
            "PS512" => Self::Rsa("PS512"),
            "ES256" => Self::P256,
            "ES384" => Self::P384,
            "EdDSA" | "Ed25519" => Self::Ed25519,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rsa(name) => name,
            Self::P256 => "ES256",
            Self::P384 => "ES384",
            Self::Ed25519 => "EdDSA",
        }
    }
}

/// A public key of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    id: Option<String>,
    algorithm: Option<String>,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn object(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_slice(&decoded(text)?).ok()? {
        Value::Object(map) => Some(map),
        _ => None,
    }
}

impl<'t> Unverified<'t> {
    /// Reads a token.
    ///
    /// # Errors
    /// When it is none, is signed in no way that is known here, or is one for something else.
    pub fn read(token: &'t str) -> Result<Self, Fault> {
        if token.len() > LONGEST {
            return Err("it is longer than 16 KiB");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or("it is no JWT")?;
        let (head, claims) = signed.split_once('.').ok_or("it is no JWT")?;
        let head = object(head).ok_or("its header is no JSON")?;
        let text = |name: &str| head.get(name).and_then(Value::as_str);
        let algorithm =
            text("alg").and_then(Algorithm::named).ok_or("it is not signed in a way that counts here")?;
        if head.contains_key("crit") {
            return Err("it wants something that is not understood here");
        }
        let kind = text("typ").unwrap_or("JWT").to_ascii_lowercase();
        if !matches!(kind.strip_prefix("application/").unwrap_or(&kind), "jwt" | "at+jwt" | "jose") {
            return Err("it is a token for something else");
        }
        Ok(Self {
            algorithm,
            key: text("kid").map(str::to_owned),
            signed,
            signature: decoded(signature).ok_or("its signature is no base64")?,
            claims: object(claims).ok_or("its claims are no JSON")?,
        })
    }

    /// The claims, if one of these keys has signed them; nothing when none of them is the one that it names.
    ///
    /// # Errors
    /// When the key that it names has not signed it.
    pub fn verify(&self, keys: &[Key]) -> Result<Option<&Map<String, Value>>, Fault> {
        let named = keys.iter().filter(|key| self.key.is_none() || key.id == self.key);
        let mut named = named.filter(|key| key.fits(self.algorithm)).take(MOST_TRIED).peekable();
        if named.peek().is_none() {
            return Ok(None);
        }
        match named.any(|key| key.has_signed(self.algorithm, self.signed.as_bytes(), &self.signature)) {
            true => Ok(Some(&self.claims)),
            false => Err("its signature is wrong"),
        }
    }
}

impl Key {
    /// Reads a set of keys (RFC 7517). Those that sign nothing that is known here are left out, and those that are for something
    /// else: than signatures, or than the one use that there is.
    ///
    /// # Errors
    /// When it is none.
    pub fn all(set: &Value, only: Option<&str>) -> Result<Vec<Self>, Fault> {
        let keys = set.get("keys").and_then(Value::as_array).ok_or("it is no set of keys")?;
        Ok(keys.iter().take(MOST_KEYS).filter_map(|key| Self::read(key, only)).collect())
    }

    fn read(key: &Value, only: Option<&str>) -> Option<Self> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let bytes = |name: &str| decoded(text(name)?);
        let is_for_it = match (text("use"), only) {
            (marked, Some(only)) => marked == Some(only),
            (marked, None) => marked.is_none_or(|marked| marked == "sig"),
        };
        if !is_for_it {
            return None;
        }
        let point = |size: usize| {
            let (x, y) = (bytes("x")?, bytes("y")?);
            (x.len() == size && y.len() == size).then(|| [&[4], x.as_slice(), &y].concat())
        };
        let material = match (text("kty")?, text("crv")) {
            ("RSA", _) => Material::Rsa { n: bytes("n")?, e: bytes("e")? },
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x")?),
            _ => return None,
        };
        Some(Self { id: text("kid").map(str::to_owned), algorithm: text("alg").map(str::to_owned), material })
    }

    /// Whether the key is for signatures of this kind.
    fn fits(&self, algorithm: Algorithm) -> bool {
        let is_of_kind = matches!(
            (algorithm, &self.material),
            (Algorithm::Rsa(_), Material::Rsa { .. })
                | (Algorithm::P256, Material::P256(_))
                | (Algorithm::P384, Material::P384(_))
                | (Algorithm::Ed25519, Material::Ed25519(_))
        );
        let said =
            |name: &String| name == algorithm.name() || algorithm == Algorithm::Ed25519 && name == "Ed25519";
        is_of_kind && self.algorithm.as_ref().is_none_or(said)
    }

    fn has_signed(&self, algorithm: Algorithm, message: &[u8], made: &[u8]) -> bool {
        let plain = |how: &'static dyn signature::VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(how, key).verify(message, made).is_ok()
        };
        match (&self.material, algorithm) {
            // Keys of less than 2,048 bits are none.
            (Material::Rsa { n, e }, Algorithm::Rsa(name)) => {
                let how = match name {
                    "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                    "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
                    "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
                    _ => &signature::RSA_PSS_2048_8192_SHA512,
                };
                RsaPublicKeyComponents { n, e }.verify(how, message, made).is_ok()
            }
            (Material::P256(point), Algorithm::P256) => plain(&signature::ECDSA_P256_SHA256_FIXED, point),
            (Material::P384(point), Algorithm::P384) => plain(&signature::ECDSA_P384_SHA384_FIXED, point),
            (Material::Ed25519(point), Algorithm::Ed25519) => plain(&signature::ED25519, point),
            _ => false,
        }
    }
}
