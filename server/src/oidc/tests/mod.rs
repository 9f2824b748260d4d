use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair, RsaPublicKeyComponents};
use serde_json::json;

use super::*;

const NOW: Micros = 1_800_000_000 * SECOND;

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

type Sign = dyn Fn(&[u8]) -> Vec<u8>;

/// What signs, and its public half as a provider shows it.
struct Signer {
    sign: Box<Sign>,
    public: Value,
    algorithm: &'static str,
}

fn rsa(algorithm: &'static str) -> Signer {
    let pair = RsaKeyPair::from_pkcs8(include_bytes!("rsa.pk8")).expect("a key");
    let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
    let how: &'static dyn signature::RsaEncoding = match algorithm {
        "RS256" => &signature::RSA_PKCS1_SHA256,
        "RS384" => &signature::RSA_PKCS1_SHA384,
        "RS512" => &signature::RSA_PKCS1_SHA512,
        "PS256" => &signature::RSA_PSS_SHA256,
        "PS384" => &signature::RSA_PSS_SHA384,
        _ => &signature::RSA_PSS_SHA512,
    };
    let sign = move |message: &[u8]| {
        let mut made = vec![0; pair.public().modulus_len()];
        pair.sign(how, &SystemRandom::new(), message, &mut made).expect("signs");
        made
    };
    Signer { sign: Box::new(sign), public: json!({"kty": "RSA", "n": b64(n), "e": b64(e)}), algorithm }
}

fn ec(algorithm: &'static str) -> Signer {
    let (how, curve) = match algorithm {
        "ES256" => (&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
        _ => (&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
    };
    let random = SystemRandom::new();
    let made = EcdsaKeyPair::generate_pkcs8(how, &random).expect("a key");
    let pair = EcdsaKeyPair::from_pkcs8(how, made.as_ref(), &random).expect("reads");
    let point = pair.public_key().as_ref()[1..].to_vec();
    let (x, y) = point.split_at(point.len() / 2);
    let public = json!({"kty": "EC", "crv": curve, "x": b64(x), "y": b64(y)});
    let sign =
        move |message: &[u8]| pair.sign(&SystemRandom::new(), message).expect("signs").as_ref().to_vec();
    Signer { sign: Box::new(sign), public, algorithm }
}

fn ed() -> Signer {
    let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
    let pair = Ed25519KeyPair::from_pkcs8(made.as_ref()).expect("reads");
    let public = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key().as_ref())});
    Signer { sign: Box::new(move |message| pair.sign(message).as_ref().to_vec()), public, algorithm: "EdDSA" }
}

impl Signer {
    fn token(&self, head: Value, claims: &Value) -> String {
        let mut all = json!({"alg": self.algorithm});
        all.as_object_mut().expect("an object").extend(head.as_object().expect("an object").clone());
        let signed = format!("{}.{}", b64(all.to_string()), b64(claims.to_string()));
        let made = (self.sign)(signed.as_bytes());
        format!("{signed}.{}", b64(made))
    }

    fn set(&self, more: Value) -> Value {
        let mut key = self.public.clone();
        key.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({"keys": [key]})
    }

    fn keys(&self, more: Value) -> Vec<Key> {
        Key::all(&self.set(more), None).expect("a set")
    }
}

fn verified(token: &str, keys: &[Key]) -> Result<bool, Fault> {
    Ok(Unverified::read(token)?.verify(keys)?.is_some())
}

#[test]
fn each_signature_is_verified_by_its_key_alone() {
    let claims = json!({"sub": "ann"});
    let mut all: Vec<Signer> =
        ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].into_iter().map(rsa).collect();
    all.extend([ec("ES256"), ec("ES384"), ed()]);
    let others = [ec("ES256"), ec("ES384"), ed()];
    for signer in &all {
        let of = signer.algorithm;
        let token = signer.token(json!({"kid": "k"}), &claims);
        assert_eq!(verified(&token, &signer.keys(json!({"kid": "k"}))), Ok(true), "{of}");
        assert_eq!(verified(&token, &signer.keys(json!({"kid": "k", "alg": of, "use": "sig"}))), Ok(true));
        // Another key's name, another use, another algorithm: not the key.
        for other in [
            json!({"kid": "l"}),
            json!({}),
            json!({"kid": "k", "use": "enc"}),
            json!({"kid": "k", "alg": "RS1"}),
        ] {
            assert_eq!(verified(&token, &signer.keys(other.clone())), Ok(false), "{of} {other}");
        }
        // Of a token that names none, any is tried.
        assert_eq!(verified(&signer.token(json!({}), &claims), &signer.keys(json!({"kid": "k"}))), Ok(true));
        let (signed, made) = token.rsplit_once('.').expect("two parts");
        let changed =
            format!("{}.{made}", signed.replace(&b64(claims.to_string()), &b64("{\"sub\":\"bob\"}")));
        assert_eq!(
            verified(&changed, &signer.keys(json!({"kid": "k"}))),
            Err("its signature is wrong"),
            "{of}"
        );
        assert!(verified(&format!("{signed}."), &signer.keys(json!({"kid": "k"}))).is_err());
        for other in others.iter().filter(|other| other.algorithm == of) {
            assert_eq!(verified(&token, &other.keys(json!({"kid": "k"}))), Err("its signature is wrong"));
        }
    }
}

#[test]
fn what_anybody_could_have_made_is_no_signature() {
    let signer = rsa("RS256");
    let keys = signer.keys(json!({}));
    let claims = json!({"sub": "ann"});
    let unsigned = format!("{}.{}.", b64("{\"alg\":\"none\"}"), b64(claims.to_string()));
    // HMAC with the public key, which everybody has.
    for head in
        [json!({"alg": "none"}), json!({"alg": "HS256"}), json!({"alg": "hs256"}), json!({"alg": null})]
    {
        assert!(verified(&signer.token(head.clone(), &claims), &keys).is_err(), "{head}");
    }
    let oct = Key::all(&json!({"keys": [{"kty": "oct", "k": b64("secret")}]}), None).expect("a set");
    assert_eq!(oct, []);
    let long = format!("a.b.{}", "c".repeat(20_000));
    for wrong in [&unsigned, "", "a", "a.b", "a.b.c", &long, &format!("{}..", b64("{}"))] {
        assert!(verified(wrong, &keys).is_err(), "{wrong:.40}");
    }
    for head in [json!({"crit": ["b64"]}), json!({"typ": "logout+jwt"}), json!({"typ": "dpop+jwt"})] {
        assert!(verified(&signer.token(head.clone(), &claims), &keys).is_err(), "{head}");
    }
    for head in [
        json!({"typ": "JOSE"}),
        json!({"typ": "at+jwt"}),
        json!({"typ": "application/at+JWT"}),
        json!({"typ": "JWT"}),
    ] {
        assert_eq!(verified(&signer.token(head.clone(), &claims), &keys), Ok(true), "{head}");
    }
    // A key that is too short is none.
    let short = Key::all(&json!({"keys": [{"kty": "RSA", "n": b64([0xff; 128]), "e": "AQAB"}]}), None)
        .expect("a set");
    assert!(verified(&signer.token(json!({}), &claims), &short).is_err());
    assert!(Key::all(&json!([]), None).is_err() && Key::all(&json!({"keys": 1}), None).is_err());
}

fn options() -> Oidc {
    let text = "[oidc.campus]\nissuer = https://id.example\naudience = cloud,other\nclock_skew = 60\n";
    let config = crate::config::Config::from_text(text, std::path::Path::new("/d")).expect("reads");
    config.oidc.into_iter().next().expect("one")
}

#[test]
fn a_token_is_of_the_issuer_for_this_service_and_good_now() {
    let seconds = NOW / SECOND;
    let good = || json!({"iss": "https://id.example", "aud": "cloud", "sub": "ann", "exp": seconds + 10});
    let with = |name: &str, value: Value| {
        let mut claims = good();
        claims[name] = value;
        check(claims.as_object().expect("an object"), &options(), NOW)
    };
    let workload = with("aud", json!(["x", "other", 1])).expect("a good one");
    assert_eq!((workload.issuer.as_str(), workload.subject.as_str()), ("https://id.example", "ann"));
    assert_eq!(workload.audiences, ["other".to_owned(), "x".to_owned()].into());
    assert!(with("x", json!(1)).is_ok());
    for (name, value) in [
        ("aud", json!(["x", "other"])),
        ("exp", json!(seconds - 59)),
        ("exp", json!(0.5 + 2e9)),
        ("nbf", json!(seconds + 60)),
        ("iat", json!(seconds)),
    ] {
        assert!(with(name, value.clone()).is_ok(), "{name} {value}");
    }
    for (name, value) in [
        ("iss", json!("https://id.example/")),
        ("iss", json!(["https://id.example"])),
        ("aud", json!("Cloud")),
        ("aud", json!([])),
        ("aud", Value::Null),
        ("exp", json!(seconds - 60)),
        ("exp", json!("2000000000000")),
        ("exp", Value::Null),
        ("nbf", json!(seconds + 61)),
        ("iat", json!(seconds + 61)),
        ("sub", json!("")),
        ("sub", json!(1)),
        ("cnf", json!({"jkt": "x"})),
    ] {
        assert!(with(name, value.clone()).is_err(), "{name} {value}");
    }
    for name in ["iss", "aud", "exp", "sub"] {
        let mut claims = good();
        claims.as_object_mut().expect("an object").remove(name);
        assert!(check(claims.as_object().expect("an object"), &options(), NOW).is_err(), "{name}");
    }
}

#[test]
fn claims_have_the_names_and_forms_of_the_module_for_apache() {
    let claims = json!({
        "sub": "ann", "email_verified": true, "level": 3, "none": null, "address": {"city": "x"},
        "groups": ["a", "b;admins", 1], "a-b": "1", "A_B": "2",
        "ref": "refs/heads/x;refs/heads/main", "object": {"x": "y;z"},
    });
    let all = attributes(claims.as_object().expect("an object"), "OIDC-");
    let of = |name: &str| all.get(name).map(String::as_str);
    assert_eq!((of("OIDC-sub"), of("HTTP_OIDC_SUB"), of("sub")), (Some("ann"), Some("ann"), None));
    assert_eq!((of("OIDC-email_verified"), of("HTTP_OIDC_EMAIL_VERIFIED")), (Some("1"), Some("1")));
    assert_eq!((of("OIDC-level"), of("OIDC-none")), (Some("3"), None));
    assert_eq!(of("OIDC-address"), Some("{\"city\":\"x\"}"));
    assert_eq!(of("OIDC-groups"), Some("a;1"));
    // A mapping would take one value for several.
    assert_eq!((of("OIDC-ref"), of("OIDC-object")), (None, None));
    // Two claims that would be one header are none.
    assert_eq!((of("OIDC-a-b"), of("OIDC-A_B"), of("HTTP_OIDC_A_B")), (Some("1"), Some("2"), None));
}

fn pinned(issuer: &str, jwks: &str) -> Oidc {
    let text = format!("[oidc.pods]\nissuer = {issuer}\naudience = cloud\njwks = {jwks}\n");
    let config = crate::config::Config::from_text(&text, std::path::Path::new("/d")).expect("reads");
    config.oidc.into_iter().next().expect("one")
}

#[test]
fn a_trust_domain_says_who_signs_and_its_subjects_are_its_own() {
    let options = pinned("spiffe://example.org", "/k.json");
    let claims = |sub: &str, iss: Option<&str>| {
        let mut claims = json!({"aud": ["cloud"], "sub": sub, "exp": NOW / SECOND + 10});
        if let Some(iss) = iss {
            claims["iss"] = iss.into();
        }
        claims.as_object().expect("an object").clone()
    };
    let verdict = |claims: &Map<String, Value>| check(&pinned::named(claims, &options), &options, NOW);
    for iss in [None, Some("https://spire.example.org"), Some("spiffe://other.org")] {
        let claims = claims("spiffe://example.org/ns/web/sa/front", iss);
        let workload = verdict(&claims).expect("one of its own");
        assert_eq!(
            (&*workload.issuer, &*workload.subject),
            (&*options.issuer, "spiffe://example.org/ns/web/sa/front")
        );
        let shown = attributes(&pinned::named(&claims, &options), "OIDC-");
        assert_eq!(shown.get("HTTP_OIDC_ISS"), Some(&options.issuer));
    }
    for sub in [
        "",
        "spiffe://example.org",
        "spiffe://example.org/",
        "spiffe://example.org//a",
        "spiffe://example.org/a/",
        "spiffe://example.org/a/../b",
        "spiffe://example.org/a%2fb",
        "spiffe://example.organ/a",
        "spiffe://example.org.evil/a",
        "spiffe://other.org/a",
        "spiffe://EXAMPLE.org/a",
        "https://example.org/a",
        "/a",
    ] {
        assert!(verdict(&claims(sub, None)).is_err(), "{sub}");
    }
    // Of any other provider the issuer is a claim.
    let cluster = pinned("https://cluster", "/k.json");
    let of = claims("system:serviceaccount:a:b", Some("https://cluster"));
    assert!(check(&pinned::named(&of, &cluster), &cluster, NOW).is_ok());
    for iss in [None, Some("https://other")] {
        let of = claims("system:serviceaccount:a:b", iss);
        assert!(check(&pinned::named(&of, &cluster), &cluster, NOW).is_err(), "{iss:?}");
    }
}

#[test]
fn keys_in_a_file_are_those_of_the_provider_until_it_has_others() {
    let [one, two] = [rsa("RS256"), ec("ES256")];
    let dir = std::env::temp_dir().join(format!("vicar-oidc-keys-{}", std::process::id()));
    std::fs::create_dir(&dir).expect("a directory");
    let file = dir.join("keys.json");
    let has = |text: &str| std::fs::write(&file, text).expect("written");
    let path = file.display().to_string();
    let (plain, spiffe) = (pinned("https://cluster", &path), pinned("spiffe://example.org", &path));
    let why = |options: &Oidc| Providers::new(std::slice::from_ref(options)).err().unwrap_or_default();
    assert!(why(&plain).contains("keys.json: "));
    let unused = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "use": "enc"});
    for (text, wrong) in [
        ("{", "is no JSON".to_owned()),
        ("[]", "no set of keys".to_owned()),
        (&json!({"keys": [unused]}).to_string(), "holds no key".to_owned()),
        (&" ".repeat(600_000), "longer".to_owned()),
    ] {
        has(text);
        assert!(why(&plain).contains(&wrong), "{}", why(&plain));
    }
    let set = |signer: &Signer, of: Value| signer.set(of).to_string();
    // Keys for certificates sign no tokens, and those of SPIFFE do so for a trust domain alone.
    has(&set(&one, json!({"use": "x509-svid"})));
    assert!(why(&spiffe).contains("holds no key") && why(&plain).contains("holds no key"));
    has(&set(&one, json!({"use": "jwt-svid"})));
    assert!(why(&plain).contains("holds no key"));
    assert_eq!(why(&spiffe), "");
    has(&set(&one, json!({"use": "sig"})));
    let providers = Providers::new(&[plain]).expect("reads");
    assert_eq!(providers.files().collect::<Vec<_>>(), [file.as_path()]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let seconds = NOW / SECOND;
    let claims = json!({"iss": "https://cluster", "aud": "cloud", "sub": "pod", "exp": seconds + 10});
    let by = |signer: &Signer, now: Micros| {
        let token = signer.token(json!({}), &claims);
        runtime.block_on(providers.bearer(("pods", "openid"), &token, now)).map(|said| said.workload.subject)
    };
    assert_eq!(by(&one, NOW), Ok("pod".to_owned()));
    // Nobody is asked: not for a key that is not there, and not after any time.
    assert_eq!(by(&two, NOW), Err(Refusal::NotTheirs));
    has("{");
    assert_eq!(providers.reload().expect_err("no JSON").len(), 1);
    assert_eq!(by(&one, NOW), Ok("pod".to_owned()));
    has(&set(&two, json!({})));
    providers.reload().expect("reads");
    assert_eq!((by(&one, NOW), by(&two, NOW)), (Err(Refusal::NotTheirs), Ok("pod".to_owned())));
    std::fs::remove_dir_all(&dir).expect("removed");
}
