//! What holds of any request.

use proptest::prelude::*;

use crate::signature::time::{MICROS, iso8601};
use crate::signature::*;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,40}",
        "[0-9TZ:+.,/ -]{0,30}",
        "AWS4-HMAC-SHA256( |\n)(Credential=[a/0-9]{0,20})?,? ?(SignedHeaders=[a-z;,]{0,12})?",
        "(AWS4-HMAC-SHA256\n)?[0-9TZ]{0,9}\n[0-9a-z/]{0,20}\n[a-z0-9]{0,6}(\n.{0,9})?",
        Just("AKX/20260304/r/ec2/aws4_request".to_owned()),
        Just("20260304T050607Z".to_owned()),
    ]
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        proptest::sample::select(vec![
            "SignatureVersion",
            "SignatureMethod",
            "Timestamp",
            "Action",
            "Expires",
            "X-Amz-Algorithm",
            "X-Amz-Credential",
            "X-Amz-Date",
            "X-Amz-Expires",
            "X-Amz-SignedHeaders",
            "Authorization",
            "Host",
        ])
        .prop_map(str::to_owned),
    ]
}

proptest! {
    #[test]
    fn nothing_panics(
        secret in any::<String>(),
        fields in proptest::collection::vec(text(), 6),
        params in proptest::collection::btree_map(names(), text(), 0..8),
        headers in proptest::collection::btree_map(names(), text(), 0..6),
        version in proptest::sample::select(vec!["", "0", "1", "2", "4"]),
        presigned in any::<bool>(),
        bytes in any::<Vec<u8>>(),
    ) {
        let mut req = SignedRequest {
            access: fields[0].clone(),
            signature: fields[1].clone(),
            host: fields[2].clone(),
            verb: fields[3].clone(),
            path: fields[4].clone(),
            params,
            headers,
            body_hash: Some(fields[5].clone()),
        };
        if !version.is_empty() {
            req.params.insert("SignatureVersion".into(), version.into());
        }
        if presigned {
            req.headers.remove("Authorization");
            req.params.insert("X-Amz-Algorithm".into(), v4::ALGORITHM.into());
        }
        prop_assert!(verify_ec2(&secret, &req).is_err());
        let _ = (stated_time(&req), expires_in(&req), expires_at(&req), req.identity());
        let _ = sign_v2(&secret, &req);
        let _ = presign_v4(&secret, &mut req.clone(), &fields[0], &fields[1], &fields[2], 9);
        let _ = sign_v4(&secret, &mut req, &fields[0], &fields[1], &fields[2]);
        let _ = S3Request::from_token(&fields[0], &fields[1], &fields[2]);
        for string_to_sign in [bytes, fields[3].clone().into_bytes()] {
            let s3 = S3Request {
                access: fields[0].clone(),
                signature: fields[1].clone(),
                string_to_sign,
            };
            prop_assert!(verify_s3(&secret, &s3).is_err());
            let _ = (stated_time_s3(&s3), expires_at_s3(&s3), s3.identity());
        }
    }

    #[test]
    fn what_is_signed_verifies(
        secret in ".{1,20}",
        access in "[a-z0-9/]{1,20}",
        verb in "GET|PUT|POST|get",
        path in "[^\r\n]{0,12}",
        params in proptest::collection::btree_map("[^X].{0,6}", any::<String>(), 0..5),
        micros in 0..253_402_300_800_000_000_i64,
    ) {
        let mut params = params;
        params.remove("SignatureVersion");
        let at = amz_date(micros);
        prop_assert_eq!(iso8601(&at), Some(micros / MICROS * MICROS));
        let mut req = SignedRequest {
            access, verb, path, params, host: "h.test:1".into(), ..Default::default()
        };
        let mut presigned = req.clone();
        sign_v4(&secret, &mut req, &at, "r", "ec2").unwrap();
        prop_assert_eq!(verify_ec2(&secret, &req), Ok(SignatureVersion::V4));
        prop_assert_eq!(stated_time(&req), Ok(Some(micros / MICROS * MICROS)));
        presign_v4(&secret, &mut presigned, &at, "r", "ec2", 5).unwrap();
        prop_assert_eq!(verify_ec2(&secret, &presigned), Ok(SignatureVersion::V4));
    }

    #[test]
    fn amz_date_never_panics(micros in any::<i64>()) {
        let _ = amz_date(micros);
    }
}
