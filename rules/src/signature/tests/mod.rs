//! Tests of signed requests; those here concern every scheme.

mod ec2;
mod oauth1;
mod properties;
mod s3;
mod time;
mod vectors;

use super::*;
use vectors::*;

#[test]
fn signatures_of_real_signers_are_accepted() {
    for (version, req) in all_ec2() {
        assert_eq!(verify_ec2(SECRET, &req), Ok(version), "{req:?}");
        assert_eq!(stated_time(&req), Ok(Some(TIME)), "{req:?}");
    }
    for (version, req) in [
        (SignatureVersion::V4, s3_v4()),
        (SignatureVersion::V4, s3_v4_presigned()),
        (SignatureVersion::V2, s3_v2()),
        (SignatureVersion::V2, s3_v2_presigned()),
        (SignatureVersion::V2, s3_v2_amz_date()),
    ] {
        assert_eq!(verify_s3(SECRET, &req), Ok(version));
    }
}

#[test]
fn the_identity_depends_on_key_and_signature_alone() {
    let req = v2_sha1();
    let mut disguised = v0();
    disguised.signature.clone_from(&req.signature);
    assert_eq!(req.identity(), disguised.identity());
    assert_eq!(req.identity(), s3(&req.signature, "x").identity());
    assert_ne!(req.identity(), v2_sha256().identity());
    assert_ne!(identity("ab", "c"), identity("a", "bc"));
    assert_eq!(req.identity().len(), 64);
}

#[test]
fn debug_output_shows_no_signature() {
    for (_, req) in all_ec2() {
        let shown = format!("{req:?}");
        assert!(!shown.contains(&req.signature) && !shown.contains("Signature="));
        assert!(shown.contains(ACCESS) && shown.contains(&req.path), "{shown}");
    }
    let shown = format!("{:?}", s3_v2());
    assert!(!shown.contains(&s3_v2().signature) && shown.contains(ACCESS), "{shown}");
}

#[test]
fn versions_and_errors_have_words() {
    use SignatureVersion::{V0, V1, V2, V4};
    let shown = [V0, V1, V2, V4].map(|v| (v.to_string(), v.covers_whole_request()));
    let words = ["0", "1", "2", "4"].map(str::to_owned);
    assert_eq!(shown, std::array::from_fn(|i| (words[i].clone(), i > 1)));
    for (error, words) in [
        (SignatureError::Missing("secret"), "lacks secret"),
        (SignatureError::UnknownVersion, "no known scheme"),
        (SignatureError::UnknownMethod, "method is not known"),
        (SignatureError::Malformed("headers"), "malformed headers"),
        (SignatureError::SignedHeaderAbsent, "signed is absent"),
        (SignatureError::HostNotSigned, "host is not among"),
        (SignatureError::ScopeDate, "another day"),
        (SignatureError::ScopeService, "another service"),
        (SignatureError::AccessKey, "another access key"),
        (SignatureError::Mismatch, "does not match"),
    ] {
        assert!(error.to_string().contains(words), "{error}");
    }
}
