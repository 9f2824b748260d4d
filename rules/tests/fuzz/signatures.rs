//! Signed requests: what this file signs itself, by the published schemes, is accepted; with a byte changed it is refused; and
//! whatever else arrives is refused without a panic.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use hmac::{Hmac, KeyInit, Mac};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use vicar_rules::signature::{
    OAuthRequest, Params, S3Request, SignatureVersion, SignedRequest, expires_at, expires_at_s3, stated_time,
    stated_time_s3, verify_ec2, verify_s3,
};

use crate::drive::{Cases, drive};

/// A signature as hex and as base64.
struct Code(Vec<u8>);

impl Code {
    fn hex(&self) -> String {
        self.0.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn base64(&self) -> String {
        STANDARD.encode(&self.0)
    }
}

fn hmac<M: KeyInit + Mac>(key: &[u8], text: &[u8]) -> Code {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("any key");
    mac.update(text);
    Code(mac.finalize().into_bytes().to_vec())
}

fn escaped(text: &str) -> String {
    let one = |b: u8| match b {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
        _ => format!("%{b:02X}"),
    };
    text.bytes().map(one).collect()
}

fn pairs(params: &BTreeMap<String, String>) -> Vec<String> {
    params.iter().map(|(n, v)| format!("{}={}", escaped(n), escaped(v))).collect()
}

const DAY: &str = "20260304";
const AT: &str = "20260304T050607Z";

fn v4_key(secret: &str, region: &str, service: &str) -> Vec<u8> {
    [DAY, region, service, "aws4_request"]
        .iter()
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| hmac::<Hmac<Sha256>>(&key, part.as_bytes()).0)
}

/// What a client of this scheme sends; it has a word where its signature is still to come.
#[derive(Debug, Clone)]
struct Plain {
    secret: String,
    access: String,
    host: String,
    verb: String,
    path: String,
    params: BTreeMap<String, String>,
    header: String,
    region: String,
    scheme: Scheme,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    V1,
    V2(bool),
    V4Header,
    V4Query,
}

fn request() -> impl Strategy<Value = Plain> {
    let scheme =
        select(&[Scheme::V1, Scheme::V2(true), Scheme::V2(false), Scheme::V4Header, Scheme::V4Query][..]);
    let verb = select(&["GET", "POST", "DELETE", "HEAD"][..]);
    let host = select(&["ec2.example", "ec2.example:8773", "192.0.2.1:80", "[2001:db8::1]:8773", "h"][..]);
    let texts =
        ("[a-z0-9/]{1,32}", ".{1,20}", "/[a-zA-Z0-9/_.~%-]{0,12}", "[ -~]{0,12}[!-~]", "[a-zA-Z0-9-]{1,9}");
    let params = btree_map("[a-zA-Z][a-zA-Z0-9. é]{0,8}", ".{0,12}", 0..5);
    (scheme, verb, host, texts, params).prop_map(|(scheme, verb, host, texts, mut params)| {
        let (access, secret, path, header, region) = texts;
        params.retain(|name, _| {
            !matches!(name.as_str(), "Signature" | "SignatureVersion" | "Timestamp" | "Expires")
        });
        let (verb, host) = (verb.to_owned(), host.to_owned());
        Plain { secret, access, host, verb, path, params, header, region, scheme }
    })
}

impl Plain {
    fn signed(&self) -> SignedRequest {
        let mut r = SignedRequest {
            access: self.access.clone(),
            host: self.host.clone(),
            verb: self.verb.clone(),
            path: self.path.clone(),
            params: self.params.clone(),
            ..SignedRequest::default()
        };
        let mut put = |name: &str, value: &str| r.params.insert(name.to_owned(), value.to_owned());
        match self.scheme {
            Scheme::V1 => {
                put("SignatureVersion", "1");
                put("Timestamp", "2026-03-04T05:06:07Z");
                let mut pairs: Vec<_> = r.params.iter().collect();
                pairs.sort_by_key(|(name, _)| name.to_lowercase());
                let text: String = pairs.into_iter().flat_map(|(n, v)| [n.as_str(), v]).collect();
                r.signature = hmac::<Hmac<Sha1>>(self.secret.as_bytes(), text.as_bytes()).base64();
            }
            Scheme::V2(strong) => {
                put("SignatureVersion", "2");
                put("SignatureMethod", if strong { "HmacSHA256" } else { "HmacSHA1" });
                put("Timestamp", "2026-03-04T05:06:07Z");
                let text = format!("{}\n{}\n{}\n{}", r.verb, r.host, r.path, pairs(&r.params).join("&"));
                let (key, text) = (self.secret.as_bytes(), text.as_bytes());
                let mac =
                    if strong { hmac::<Hmac<Sha256>>(key, text) } else { hmac::<Hmac<Sha1>>(key, text) };
                r.signature = mac.base64();
            }
            Scheme::V4Header | Scheme::V4Query => self.sign_v4(&mut r),
        }
        r
    }

    fn sign_v4(&self, r: &mut SignedRequest) {
        let scope = format!("{DAY}/{}/ec2/aws4_request", self.region);
        let credential = format!("{}/{scope}", self.access);
        let hash = "ab".repeat(32);
        r.body_hash = Some(hash.clone());
        let names = if self.scheme == Scheme::V4Header {
            r.headers.insert("X-Amz-Date".into(), AT.into());
            r.headers.insert("X-Custom".into(), self.header.clone());
            "host;x-amz-date;x-custom"
        } else {
            for (name, value) in [
                ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
                ("X-Amz-Credential", credential.as_str()),
                ("X-Amz-Date", AT),
                ("X-Amz-Expires", "60"),
                ("X-Amz-SignedHeaders", "host"),
            ] {
                r.params.insert(name.into(), value.into());
            }
            "host"
        };
        r.headers.insert("Host".into(), self.host.clone());
        let values: BTreeMap<String, &str> =
            r.headers.iter().map(|(n, v)| (n.to_lowercase(), v.trim())).collect();
        let headers: String = names.split(';').map(|name| format!("{name}:{}\n", values[name])).collect();
        let mut params = if self.verb == "POST" { Vec::new() } else { pairs(&r.params) };
        // Version 2 sorts names as they are, version 4 as they are encoded.
        params.sort_by_key(|pair| pair.split('=').next().unwrap_or_default().to_owned());
        let params = params.join("&");
        let canonical = format!("{}\n{}\n{params}\n{headers}\n{names}\n{hash}", self.verb, self.path);
        let digest = Code(Sha256::digest(canonical.as_bytes()).to_vec()).hex();
        let text = format!("AWS4-HMAC-SHA256\n{AT}\n{scope}\n{digest}");
        r.signature = hmac::<Hmac<Sha256>>(&v4_key(&self.secret, &self.region, "ec2"), text.as_bytes()).hex();
        if self.scheme == Scheme::V4Header {
            let stated = format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}");
            r.headers.insert("Authorization".into(), format!("{stated}, Signature={}", r.signature));
        }
    }

    fn version(&self) -> SignatureVersion {
        match self.scheme {
            Scheme::V1 => SignatureVersion::V1,
            Scheme::V2(_) => SignatureVersion::V2,
            _ => SignatureVersion::V4,
        }
    }

    /// The parts that its signature covers, by name.
    fn covered(&self) -> Vec<&'static str> {
        let mut parts = vec!["secret", "signature"];
        if self.scheme != Scheme::V1 {
            parts.extend(["verb", "path", "host"]);
        }
        let has_params = self.scheme != Scheme::V4Header || !self.params.is_empty();
        if has_params && !(self.version() == SignatureVersion::V4 && self.verb == "POST") {
            parts.push("params");
        }
        match self.scheme {
            Scheme::V4Header => parts.extend(["header", "date", "hash", "region"]),
            Scheme::V4Query => parts.push("hash"),
            _ => {}
        }
        parts
    }
}

/// Another text: with one of its characters replaced by one that nobody takes for it.
fn changed(text: &str, at: Index) -> String {
    let mut all: Vec<char> = text.chars().collect();
    if all.is_empty() {
        return "x".into();
    }
    let at = at.index(all.len());
    all[at] = if all[at] == 'x' || all[at] == 'X' { 'y' } else { 'x' };
    all.into_iter().collect()
}

fn ec2(plain: Plain, part: Index, at: Index) -> Result<(), TestCaseError> {
    let good = plain.signed();
    prop_assert_eq!(verify_ec2(&plain.secret, &good), Ok(plain.version()));
    prop_assert!(stated_time(&good).is_ok_and(|at| at.is_some()));
    let _ = expires_at(&good);
    let (mut secret, mut bad) = (plain.secret.clone(), good.clone());
    let parts = plain.covered();
    let part = parts[part.index(parts.len())];
    match part {
        "secret" => secret = changed(&secret, at),
        "signature" => bad.signature = changed(&bad.signature, at),
        "verb" => bad.verb = changed(&bad.verb, at),
        "path" => bad.path = changed(&bad.path, at),
        // With and without a port a host is the same, and 80 may be left out.
        "host" => {
            let host = changed(bad.host.split(':').next().unwrap_or_default(), at);
            bad.host = host.clone();
            if bad.headers.contains_key("Host") {
                bad.headers.insert("Host".into(), host);
            }
        }
        "hash" => bad.body_hash = bad.body_hash.map(|hash| changed(&hash, at)),
        "header" => {
            bad.headers.insert("X-Custom".into(), changed(plain.header.trim(), at));
        }
        "date" => {
            bad.headers.insert("X-Amz-Date".into(), AT.replace("07Z", "08Z"));
        }
        "region" => {
            let other = good.headers["Authorization"]
                .replace(&format!("/{}/ec2/", plain.region), "/elsewhere-1/ec2/");
            bad.headers.insert("Authorization".into(), other);
        }
        _ => {
            let names: Vec<&String> = good.params.keys().collect();
            let name = names[at.index(names.len())].clone();
            let value = changed(&good.params[&name], at);
            bad.params.insert(name, value);
        }
    }
    prop_assume!(bad != good || secret != plain.secret);
    prop_assert!(verify_ec2(&secret, &bad).is_err(), "{} can be changed: {:?}", part, bad);
    Ok(())
}

/// A string to sign of S3, of both schemes, with a time in it.
fn s3(secret: &str, region: &str, resource: &str, is_v4: bool, at: Index) -> Result<(), TestCaseError> {
    let text = if is_v4 {
        format!("AWS4-HMAC-SHA256\n{AT}\n{DAY}/{region}/s3/aws4_request\n{}", "cd".repeat(32))
    } else {
        format!("GET\n\n\nWed, 04 Mar 2026 05:06:07 GMT\n/{resource}")
    };
    let mac = if is_v4 {
        hmac::<Hmac<Sha256>>(&v4_key(secret, region, "s3"), text.as_bytes()).hex()
    } else {
        hmac::<Hmac<Sha1>>(secret.as_bytes(), text.as_bytes()).base64()
    };
    let read = |text: &[u8]| S3Request::from_token("access", &mac, &URL_SAFE.encode(text));
    let good = read(text.as_bytes()).expect("base64");
    let version = if is_v4 { SignatureVersion::V4 } else { SignatureVersion::V2 };
    prop_assert_eq!(verify_s3(secret, &good), Ok(version));
    prop_assert!(stated_time_s3(&good).is_ok_and(|at| at.is_some()));
    let mut bytes = text.into_bytes();
    let at = at.index(bytes.len());
    bytes[at] ^= 1;
    let bad = read(&bytes).expect("base64");
    prop_assert!(verify_s3(secret, &bad).is_err(), "byte {} can be changed", at);
    let other = format!("{secret}x");
    prop_assert!(verify_s3(&other, &good).is_err());
    let _ = (stated_time_s3(&bad), expires_at_s3(&bad));
    Ok(())
}

#[derive(Debug, Clone)]
struct OAuth {
    verb: String,
    url: String,
    secrets: (String, Option<String>),
    method: &'static str,
    realm: Option<String>,
    others: Params,
}

fn oauth() -> impl Strategy<Value = OAuth> {
    let method = select(&["HMAC-SHA1", "HMAC-SHA256", "HMAC-SHA512", "PLAINTEXT"][..]);
    let url = select(&["http://h:80", "https://H.example:443", "https://h:5000"][..]);
    let others = vec(("[a-z ]{1,6}", ".{0,8}"), 0..4);
    let all = (
        select(&["GET", "POST"][..]),
        url,
        "/[a-z0-9/]{0,12}",
        (".{1,12}", prop::option::of(".{0,12}")),
        method,
    );
    (all, prop::option::of("[a-z /]{0,9}"), others).prop_map(
        |((verb, url, path, secrets, method), realm, others)| OAuth {
            verb: verb.into(),
            url: format!("{url}{path}"),
            secrets,
            method,
            realm,
            others,
        },
    )
}

fn oauth1(o: OAuth, part: Index, at: Index) -> Result<(), TestCaseError> {
    let (consumer, token) = (&o.secrets.0, &o.secrets.1);
    let mut header: Params = [
        ("oauth_consumer_key", "c".repeat(32)),
        ("oauth_nonce", "0a1b".into()),
        ("oauth_timestamp", "1772600767".into()),
        ("oauth_signature_method", o.method.into()),
        ("oauth_version", "1.0".into()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec();
    let mut signed: Vec<(String, String)> =
        header.iter().chain(&o.others).map(|(n, v)| (escaped(n), escaped(v))).collect();
    signed.sort();
    let params: Vec<String> = signed.iter().map(|(n, v)| format!("{n}={v}")).collect();
    let url = o.url.to_lowercase().replace("http://h:80/", "http://h/").replace(":443/", "/");
    let text = format!("{}&{}&{}", o.verb, escaped(&url), escaped(&params.join("&")));
    let key = format!("{}&{}", escaped(consumer), escaped(token.as_deref().unwrap_or_default()));
    let (k, t) = (key.as_bytes(), text.as_bytes());
    let signature = match o.method {
        "HMAC-SHA1" => hmac::<Hmac<Sha1>>(k, t).base64(),
        "HMAC-SHA256" => hmac::<Hmac<Sha256>>(k, t).base64(),
        "HMAC-SHA512" => hmac::<Hmac<Sha512>>(k, t).base64(),
        _ => key.clone(),
    };
    header.push(("oauth_signature".into(), signature));
    let write = |header: &Params| {
        let realm = o.realm.iter().map(|realm| format!("realm=\"{}\"", escaped(realm)));
        let all = header.iter().map(|(n, v)| format!("{}=\"{}\"", escaped(n), escaped(v)));
        format!("OAuth {}", realm.chain(all).collect::<Vec<_>>().join(", "))
    };
    let read = |verb: &str, url: &str, header: &Params, others: &Params| {
        OAuthRequest::read(verb, vec![url.to_owned()], &write(header), vec![others.clone()])
    };
    let good = read(&o.verb, &o.url, &header, &o.others).expect("a header");
    prop_assert_eq!(good.check(), Ok(()));
    prop_assert_eq!(good.verify(consumer, token.as_deref()), Ok(()));
    prop_assert_eq!(good.realm(), o.realm.as_deref().filter(|realm| !realm.is_empty()));
    let (mut verb, mut url, mut others, mut consumer) =
        (o.verb.clone(), o.url.clone(), o.others.clone(), consumer.clone());
    let covers_all = o.method != "PLAINTEXT";
    let last = header.len() - 1;
    match part.index(if covers_all { 7 } else { 2 }) {
        0 => consumer = changed(&consumer, at),
        1 => header[last].1 = changed(&header[last].1, at),
        2 => verb = changed(&verb, at),
        3 => url.push('x'),
        4 => header[1].1.push('0'),
        5 => header[2].1 = "1772600768".into(),
        _ if others.is_empty() => others.push(("x".into(), String::new())),
        _ => {
            let n = at.index(others.len());
            others[n].1 = changed(&others[n].1, at);
        }
    }
    let bad = read(&verb, &url, &header, &others).expect("a header");
    prop_assert!(bad.verify(&consumer, token.as_deref()).is_err(), "it can be changed: {:?}", header);
    Ok(())
}

/// Words of which forged requests are made.
const WORDS: &[&str] = &[
    "",
    "AWS4-HMAC-SHA256",
    "AWS4-HMAC-SHA256 ",
    "Credential=a/20260304/r/ec2/aws4_request",
    "SignedHeaders=host",
    ", ",
    "host",
    "Signature=0",
    "20260304",
    "T050607Z",
    "20260304T050607Z",
    "2026-03-04T05:06:07Z",
    "0000-00-00T99:99:99Z",
    "\n",
    "/",
    ";",
    "é",
    "\0",
    "=",
    "\"",
    "%",
    "%4",
    "%zz",
    "%41",
    "OAuth ",
    "oauth_nonce=\"1\"",
    "oauth_signature_method",
    "HMAC-SHA1",
    ",",
    " ",
    "a",
    "s3",
    "iam",
    "x-amz-date:",
    "GET",
    "Wed, 04 Mar 2026 05:06:07 GMT",
    "+05:00",
    "-2399",
    "99999999999999999999",
    ":",
    "[",
    "]",
];
/// Names that mean something.
const NAMES: &[&str] = &[
    "Authorization",
    "authorization ",
    "X-Amz-Date",
    "x-amz-date",
    "Host",
    "host",
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-SignedHeaders",
    "X-Amz-Expires",
    "X-Amz-Signature",
    "SignatureVersion",
    "SignatureMethod",
    "Timestamp",
    "Expires",
    "Action",
    "Signature",
];

fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => vec(select(WORDS), 0..8).prop_map(|words| words.concat()),
        1 => ".{0,30}",
        1 => select(&["0", "1", "2", "4", "AWS4-HMAC-SHA256", "60", "-1", "604801"][..]).prop_map(str::to_owned),
    ]
}

fn forged() -> impl Strategy<Value = (SignedRequest, String, Vec<u8>)> {
    let named =
        || btree_map(prop_oneof![4 => select(NAMES).prop_map(str::to_owned), 1 => words()], words(), 0..8);
    let texts = [words(), words(), words(), words(), words()];
    (texts, named(), named(), prop::option::of(words()), words(), vec(any::<u8>(), 0..60)).prop_map(
        |([access, signature, host, verb, path], params, headers, body_hash, secret, bytes)| {
            (SignedRequest { access, signature, host, verb, path, params, headers, body_hash }, secret, bytes)
        },
    )
}

fn refuses(r: SignedRequest, secret: String, bytes: Vec<u8>) -> Result<(), TestCaseError> {
    prop_assert!(verify_ec2(&secret, &r).is_err());
    let _ = (stated_time(&r), expires_at(&r), r.identity());
    for token in [r.path.clone(), URL_SAFE.encode(r.path.as_bytes()), URL_SAFE.encode(&bytes)] {
        let Ok(s3) = S3Request::from_token(&r.access, &r.signature, &token) else { continue };
        prop_assert!(verify_s3(&secret, &s3).is_err());
        let _ = (stated_time_s3(&s3), expires_at_s3(&s3));
    }
    let others = vec![r.params.clone().into_iter().collect()];
    for header in [&r.host, &format!("OAuth {}", r.path), &r.verb] {
        let Ok(request) = OAuthRequest::read(&r.verb, vec![r.host.clone()], header, others.clone()) else {
            continue;
        };
        let _ = (request.check(), request.stated_time(), request.realm().is_some(), request.identity());
        prop_assert!(request.verify(&secret, None).is_err());
    }
    Ok(())
}

#[derive(Debug, Clone)]
enum Case {
    Ec2(Plain, Index, Index),
    S3([String; 3], bool, Index),
    OAuth(OAuth, Index, Index),
    Forged(Box<(SignedRequest, String, Vec<u8>)>),
}

fn case() -> impl Strategy<Value = Case> {
    let at = || any::<Index>();
    let texts = [".{1,20}", "[a-z0-9-]{1,9}", "[a-zA-Z0-9/]{0,20}"];
    prop_oneof![
        3 => (request(), at(), at()).prop_map(|(plain, part, at)| Case::Ec2(plain, part, at)),
        1 => (texts, any::<bool>(), at()).prop_map(|(texts, is_v4, at)| Case::S3(texts, is_v4, at)),
        2 => (oauth(), at(), at()).prop_map(|(oauth, part, at)| Case::OAuth(oauth, part, at)),
        2 => forged().prop_map(|all| Case::Forged(Box::new(all))),
    ]
}

#[test]
fn signatures() {
    drive(
        "signatures",
        Cases { short: 1_500, batch: 2_000 },
        &case(),
        || (),
        |(), case| match case {
            Case::Ec2(plain, part, at) => ec2(plain, part, at),
            Case::S3([secret, region, resource], is_v4, at) => s3(&secret, &region, &resource, is_v4, at),
            Case::OAuth(oauth, part, at) => oauth1(oauth, part, at),
            Case::Forged(all) => refuses(all.0, all.1, all.2),
        },
    );
}
