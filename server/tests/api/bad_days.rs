//! What a provider or somebody who pretends to be one shows, besides what is tested where it belongs: docs/bad-days.md lists all.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::json;

use crate::federation_oidc::Cloud;

/// Everybody has the public key, so that a signature of which it is the secret proves nothing.
#[test]
fn a_signature_that_the_public_key_makes_is_none() {
    let c = Cloud::new();
    let good = c.token(json!({}));
    c.bear(&good).expect(201);
    let (_, rest) = good.split_once('.').expect("parts");
    let (claims, _) = rest.split_once('.').expect("parts");
    let public = c.key.public();
    let part = |name: &str| URL_SAFE_NO_PAD.decode(public[name].as_str().expect("text")).expect("base64");
    let point = [vec![4], part("x"), part("y")].concat();
    // The header and footer of its PEM, around the structure that says which curve it is of.
    let der =
        [hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").expect("hex"), point.clone()]
            .concat();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64::engine::general_purpose::STANDARD.encode(&der)
    );
    for secret in [point, der, pem.into_bytes(), public.to_string().into_bytes()] {
        for (name, algorithm) in
            [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
        {
            let head = json!({"alg": name, "kid": "one", "typ": "at+jwt"});
            let signed = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(head.to_string()));
            let made = hmac::sign(&hmac::Key::new(algorithm, &secret), signed.as_bytes());
            let answer = c.bear(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(made))).expect(401);
            assert_eq!(answer.logged.request["reason"], "not-the-providers");
        }
    }
    // A key that the token brings along is none of the provider's either.
    let head = json!({"alg": "ES256", "jwk": public, "jku": "http://127.0.0.1:1/keys", "kid": "two"});
    c.bear(&format!("{}.{rest}", URL_SAFE_NO_PAD.encode(head.to_string()))).expect(401);
}
