//! Strings to sign of S3.

use super::vectors::*;
use crate::signature::time::MICROS;
use crate::signature::*;

#[test]
fn altered_s3_requests_are_refused() {
    for req in [s3_v4(), s3_v2(), s3_v2_presigned(), s3_v2_amz_date()] {
        for at in 0..req.string_to_sign.len() {
            let mut altered = req.clone();
            altered.string_to_sign[at] ^= 1;
            assert!(verify_s3(SECRET, &altered).is_err(), "byte {at}");
        }
        assert_eq!(verify_s3("other", &req), Err(SignatureError::Mismatch));
        let mut altered = req.clone();
        altered.signature.push('=');
        assert_eq!(verify_s3(SECRET, &altered), Err(SignatureError::Mismatch));
    }
    let scoped = |from: &str, to: &str| {
        let text = String::from_utf8(s3_v4().string_to_sign).unwrap();
        let text = text.replace(from, to);
        let signature = sign_s3(SECRET, text.as_bytes());
        (signature, verify_s3(SECRET, &s3("00", &text)))
    };
    let (signed, verdict) = scoped("/s3/", "/ec2/");
    assert_eq!(signed, Err(SignatureError::ScopeService));
    assert_eq!(verdict, Err(SignatureError::ScopeService));
    let (_, verdict) = scoped("aws4_request", "aws4_other");
    assert_eq!(verdict, Err(SignatureError::Malformed("credential scope")));
    let (_, verdict) = scoped("20260304/", "20260305/");
    assert_eq!(verdict, Err(SignatureError::ScopeDate));
    let (_, verdict) = scoped("SHA256\n", "SHA256-PAYLOAD\n");
    assert_eq!(verdict, Err(SignatureError::Malformed("string to sign")));
    assert!(scoped("/s3/", "/sts/").0.is_ok());
}

#[test]
fn s3_strings_state_a_time_or_an_expiry() {
    for req in [s3_v4(), s3_v4_presigned(), s3_v2(), s3_v2_amz_date()] {
        assert_eq!(stated_time_s3(&req), Ok(Some(TIME)));
        assert_eq!(expires_at_s3(&req), Ok(None));
    }
    let req = s3_v2_presigned();
    assert_eq!(stated_time_s3(&req), Ok(None));
    assert_eq!(expires_at_s3(&req), Ok(Some(TIME + 900 * MICROS)));
    let amz = s3("", "GET\n\n\n\nx-amz-date:Wed, 04 Mar 2026 05:06:07 GMT\n/");
    assert_eq!(stated_time_s3(&amz), Ok(Some(TIME)));
    assert_eq!(stated_time_s3(&s3("", "GET\n\n\n\n/")), Ok(None));
    assert_eq!(stated_time_s3(&s3("", "opaque")), Ok(None));
    assert!(stated_time_s3(&s3("", "GET\n\n\nsoon\n/")).is_err());
}

#[test]
fn a_token_is_read_in_either_alphabet() {
    let bytes: Vec<u8> = vec![0xfb, 0xff, 0xfe, 0x41];
    for token in ["-__-QQ==", "+//+QQ==", "-__-QQ", "-__-\nQQ==\n"] {
        let req = S3Request::from_token("a", "s", token).unwrap();
        assert_eq!(req.string_to_sign, bytes, "{token}");
    }
    for token in ["A", "é", "QQ==QQ==", "Q*=="] {
        assert_eq!(S3Request::from_token("a", "s", token), Err(SignatureError::Malformed("token")));
    }
    let empty = S3Request::from_token("a", "s", "").unwrap();
    assert_eq!(verify_s3(SECRET, &empty), Err(SignatureError::Missing("string to sign")));
}
