//! EC2 requests of all versions.

use super::vectors::*;
use crate::signature::parts::hosts_to_try;
use crate::signature::time::MICROS;
use crate::signature::*;

#[test]
fn another_secret_or_signature_does_not_match() {
    for (_, mut req) in all_ec2() {
        assert_eq!(verify_ec2("other", &req), Err(SignatureError::Mismatch));
        assert_eq!(verify_ec2("", &req), Err(SignatureError::Missing("secret")));
        let first = if req.signature.starts_with('a') { "b" } else { "a" };
        req.signature.replace_range(..1, first);
        assert_eq!(verify_ec2(SECRET, &req), Err(SignatureError::Mismatch));
        req.signature.clear();
        assert_eq!(verify_ec2(SECRET, &req), Err(SignatureError::Missing("signature")));
    }
}

#[test]
fn every_covered_field_altered_is_a_mismatch() {
    for (version, req) in all_ec2() {
        let mismatch = |what: &str, altered: SignedRequest| {
            let verdict = verify_ec2(SECRET, &altered);
            assert!(verdict.is_err(), "{version} {what}: {verdict:?}");
            verdict.err()
        };
        for name in req.params.keys() {
            // What version 0 and a version 4 POST do not cover is tested apart.
            let covered = match version {
                SignatureVersion::V0 => ["Action", "Timestamp"].contains(&name.as_str()),
                SignatureVersion::V4 => req.verb != "POST",
                _ => true,
            };
            if covered {
                let mut altered = req.clone();
                altered.params.entry(name.clone()).or_default().push('1');
                mismatch(name, altered);
                let mut altered = req.clone();
                altered.params.remove(name);
                // An absent method means the one that was stated, and a signature among the
                // parameters is not covered by itself.
                if !["SignatureMethod", "Signature"].contains(&name.as_str()) {
                    mismatch(name, altered);
                }
            }
        }
        if matches!(version, SignatureVersion::V2 | SignatureVersion::V4) {
            for alter in [
                |r: &mut SignedRequest| r.verb = "PUT".into(),
                |r: &mut SignedRequest| r.path.push('x'),
                |r: &mut SignedRequest| r.host = "other.test:8773".into(),
            ] {
                let mut altered = req.clone();
                alter(&mut altered);
                let verdict = mismatch("verb, path or host", altered);
                assert_eq!(verdict, Some(SignatureError::Mismatch));
            }
            if req.verb == "GET" {
                let mut altered = req.clone();
                altered.params.insert("Extra".into(), "1".into());
                assert_eq!(mismatch("extra", altered), Some(SignatureError::Mismatch));
            }
        }
        if version == SignatureVersion::V4 {
            for name in req.headers.keys() {
                let mut altered = req.clone();
                altered.headers.entry(name.clone()).or_default().insert(0, '1');
                mismatch(name, altered);
            }
            let mut altered = req.clone();
            altered.body_hash = Some("0".repeat(64));
            assert_eq!(mismatch("body", altered), Some(SignatureError::Mismatch));
            let mut altered = req.clone();
            altered.body_hash = None;
            assert_eq!(verify_ec2(SECRET, &altered), Err(SignatureError::Missing("body_hash")));
            let mut altered = req.clone();
            altered.access = "AKSOMEONEELSE".into();
            assert_eq!(verify_ec2(SECRET, &altered), Err(SignatureError::AccessKey));
        }
    }
}

#[test]
fn the_port_may_be_left_out_of_the_signed_host() {
    // Made by the same signer from a client that leaves the port out.
    let mut req = v4_get();
    req.signature = "6bdc0012784ccb3ea4f44a13bfac53336967a0a92361febe2df4ee892d971754".into();
    assert_eq!(verify_ec2(SECRET, &req), Ok(SignatureVersion::V4));

    let mut req = v2_sha256();
    req.host = "[2001:db8::1]".into();
    req.signature = sign_v2(SECRET, &req).unwrap();
    req.host = "[2001:DB8::1]:8773".into();
    assert_eq!(verify_ec2(SECRET, &req), Ok(SignatureVersion::V2));
    // Another port is fine as well, but never another name.
    assert_eq!(hosts_to_try("::1"), ["::1"]);
    assert_eq!(hosts_to_try("Api:"), ["Api:", "Api", "api"]);
    assert_eq!(hosts_to_try("[::1]:80"), ["[::1]:80", "[::1]", "::1"]);
    assert_eq!(hosts_to_try("a:b"), ["a:b"]);
    assert_eq!(hosts_to_try(":80"), [":80"]);
}

#[test]
fn header_names_are_found_in_any_case_but_only_once() {
    let mut req = v4_get();
    req.headers = req.headers.into_iter().map(|(k, v)| (k.to_uppercase(), v)).collect();
    assert_eq!(verify_ec2(SECRET, &req), Ok(SignatureVersion::V4));
    assert_eq!(stated_time(&req), Ok(Some(TIME)));
    req.headers.insert("x-amz-date".into(), "20990101T000000Z".into());
    assert_eq!(verify_ec2(SECRET, &req), Err(SignatureError::Malformed("headers")));
    assert_eq!(stated_time(&req), Err(SignatureError::Malformed("headers")));
}

#[test]
fn spaces_inside_a_header_are_made_one_as_aws_does() {
    let mut req = v4_post();
    req.headers.insert("Content-Type".into(), " application/x-www-form-urlencoded;   charset=utf-8 ".into());
    assert_eq!(verify_ec2(SECRET, &req), Ok(SignatureVersion::V4));
}

#[test]
fn only_what_is_signed_counts_as_the_stated_time() {
    let mut req = v4_post();
    req.params.insert("Timestamp".into(), "2099-01-01T00:00:00Z".into());
    req.headers.insert("Date".into(), "Thu, 01 Jan 2099 00:00:00 GMT".into());
    assert_eq!(verify_ec2(SECRET, &req), Ok(SignatureVersion::V4));
    assert_eq!(stated_time(&req), Ok(Some(TIME)));
    // A second date, which must be the one in the string to sign.
    req.params.insert("X-Amz-Date".into(), "20260304T050607Z".into());
    assert_eq!(verify_ec2(SECRET, &req), Ok(SignatureVersion::V4));
    req.params.insert("X-Amz-Date".into(), "20260304T235959Z".into());
    assert_eq!(verify_ec2(SECRET, &req), Err(SignatureError::Malformed("X-Amz-Date")));

    let mut req = v2_sha256();
    req.headers.insert("X-Amz-Date".into(), "20990101T000000Z".into());
    assert_eq!(stated_time(&req), Ok(Some(TIME)));
    req.params.remove("Timestamp");
    assert_eq!(stated_time(&req), Ok(None));
}

#[test]
fn the_older_schemes_cannot_be_regrouped_to_hide_their_time() {
    let mut req = v1();
    req.params.remove("Timestamp");
    req.params.insert("Timestamp2".into(), "026-03-04T05:06:07Z".into());
    assert_eq!(verify_ec2(SECRET, &req), Err(SignatureError::Missing("Timestamp")));
    let mut req = v0();
    req.params.insert("Action".into(), "DescribeInstances2026".into());
    req.params.insert("Timestamp".into(), "-03-04T05:06:07Z".into());
    assert_eq!(verify_ec2(SECRET, &req), Err(SignatureError::Malformed("Timestamp")));
    assert!(!SignatureVersion::V0.covers_whole_request());
    assert!(!SignatureVersion::V1.covers_whole_request());
}

#[test]
fn a_line_break_cannot_shift_the_fields() {
    // The same joined text, from other fields.
    let mut req = v2_sha256();
    req.verb = "GET\nec2.vicar.test:8773".into();
    req.host = "/services".into();
    assert_eq!(verify_ec2(SECRET, &req), Err(SignatureError::Malformed("verb")));
    let mut req = v4_get();
    req.path = "/\nx".into();
    assert_eq!(verify_ec2(SECRET, &req), Err(SignatureError::Malformed("path")));
}

#[test]
fn the_host_must_be_signed_and_signed_headers_present() {
    let resigned = |signed: &str| {
        let req = v4("00", signed, &[]);
        verify_ec2(SECRET, &req)
    };
    assert_eq!(resigned("x-amz-date"), Err(SignatureError::HostNotSigned));
    assert_eq!(resigned("host;x-amz-target"), Err(SignatureError::SignedHeaderAbsent));
    for bad in ["", "host;", "Host", "host;host", "host x-amz-date"] {
        assert_eq!(resigned(bad), Err(SignatureError::Malformed("SignedHeaders")), "{bad}");
    }
    // A gateway that drops the Host header still says which host it was.
    let mut req = v4_get();
    req.headers.remove("Host");
    assert_eq!(verify_ec2(SECRET, &req), Ok(SignatureVersion::V4));
}

#[test]
fn presigned_requests_say_when_they_expire() {
    let mut req = v4_presigned();
    assert_eq!(expires_in(&req), Some(60));
    assert_eq!(expires_at(&req), Ok(Some(TIME + 60 * MICROS)));
    req.params.insert("X-Amz-Expires".into(), "604800".into());
    assert_eq!(expires_in(&req), Some(604_800));
    for bad in ["", "-1", "604801", "1e3", "99999999999999999999", "+60", "0000060"] {
        req.params.insert("X-Amz-Expires".into(), bad.into());
        assert_eq!(expires_in(&req), Some(0), "{bad}");
        assert_eq!(verify_ec2(SECRET, &req), Err(SignatureError::Malformed("X-Amz-Expires")));
    }
    req.verb = "POST".into();
    assert_eq!(expires_in(&req), None);
    // Not signed, or not by a scheme that knows it.
    for mut req in [v4_get(), v2_sha256(), v0()] {
        req.params.insert("X-Amz-Expires".into(), "60".into());
        assert_eq!(expires_in(&req), None, "{req:?}");
    }
    let mut req = v2_sha256();
    req.params.insert("Expires".into(), "2026-03-04T05:07:07Z".into());
    assert_eq!(expires_at(&req), Ok(Some(TIME + 60 * MICROS)));
    assert_eq!(expires_at(&v0()), Ok(None));
}

#[test]
fn schemes_that_are_not_known_are_refused() {
    let mut req = v2_sha256();
    req.params.insert("SignatureVersion".into(), "3".into());
    assert_eq!(verify_ec2(SECRET, &req), Err(SignatureError::UnknownVersion));
    req.params.insert("SignatureVersion".into(), "2".into());
    req.params.insert("SignatureMethod".into(), "HmacMD5".into());
    assert_eq!(verify_ec2(SECRET, &req), Err(SignatureError::UnknownMethod));
    let mut req = v4_presigned();
    req.headers.insert("Authorization".into(), "Bearer abc".into());
    assert_eq!(verify_ec2(SECRET, &req), Err(SignatureError::UnknownVersion));
    let mut req = v4_get();
    req.headers.insert("Authorization".into(), "AWS4-HMAC-SHA256X a=b".into());
    assert_eq!(verify_ec2(SECRET, &req), Err(SignatureError::UnknownVersion));
}

#[test]
fn the_signature_parameter_is_passed_over_only_if_it_is_the_signature() {
    let mut req = v4_presigned();
    req.params.insert("X-Amz-Signature".into(), req.signature.clone());
    assert_eq!(verify_ec2(SECRET, &req), Ok(SignatureVersion::V4));
    req.params.insert("X-Amz-Signature".into(), "something else".into());
    assert_eq!(verify_ec2(SECRET, &req), Err(SignatureError::Mismatch));
}

#[test]
fn our_own_signatures_are_the_signers() {
    assert_eq!(sign_v2(SECRET, &v2_sha1()), Ok(v2_sha1().signature));
    let mut req = v4_botocore_get();
    let known = req.signature.clone();
    req.signature.clear();
    req.headers.clear();
    let at = amz_date(TIME);
    let header = sign_v4(SECRET, &mut req, &at, "vicar-1", "ec2").unwrap();
    assert_eq!(req.signature, known);
    assert!(header.ends_with(&format!("Signature={known}")));
    assert_eq!(verify_ec2(SECRET, &req), Ok(SignatureVersion::V4));

    let mut req = v4_presigned();
    let known = std::mem::take(&mut req.signature);
    req.params = map(&[("Action", "DescribeInstances")]);
    let signature = presign_v4(SECRET, &mut req, &at, "vicar-1", "ec2", 60);
    assert_eq!(signature, Ok(known));
    assert_eq!(req.params, v4_presigned().params);
    assert_eq!(sign_s3(SECRET, &s3_v2().string_to_sign), Ok(s3_v2().signature));
}

#[test]
fn an_access_key_may_contain_a_slash() {
    let mut req = v4_get();
    req.access = "a/b".into();
    let header = sign_v4(SECRET, &mut req, "20260304T050607Z", "r", "ec2").unwrap();
    assert_eq!(verify_ec2(SECRET, &req), Ok(SignatureVersion::V4));
    // All headers are signed.
    assert!(header.contains("SignedHeaders=content-type;host;x-amz-date,"), "{header}");
}

#[test]
fn no_path_is_the_root() {
    let mut req = v4_get();
    sign_v4(SECRET, &mut req, "20260304T050607Z", "r", "ec2").unwrap();
    req.path.clear();
    assert_eq!(verify_ec2(SECRET, &req), Ok(SignatureVersion::V4));
    assert_eq!(v4_get().path, "/");
}
