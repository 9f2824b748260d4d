//! The signatures below were made with keystoneclient's `Ec2Signer` and with botocore 1.44.5,
//! over keys invented for the purpose.

use std::collections::BTreeMap;

use crate::signature::time::MICROS;
use crate::signature::{S3Request, SignatureVersion, SignedRequest};

pub(super) const SECRET: &str = "wicked-secret/EXAMPLE+key";
pub(super) const ACCESS: &str = "AKVICARTESTKEY0001";
pub(super) const EMPTY_HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
pub(super) const FORM_HASH: &str = "f4b8b700e9158035f34ad58db5bd8ee25f32906835c7e1c0638556d85089a15d";
/// 2026-03-04T05:06:07Z.
pub(super) const TIME: i64 = 1_772_600_767 * MICROS;

pub(super) fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn query(version: &str, signature: &str, more: &[(&str, &str)]) -> SignedRequest {
    let mut params = map(&[
        ("SignatureVersion", version),
        ("AWSAccessKeyId", ACCESS),
        ("Action", "DescribeInstances"),
        ("Timestamp", "2026-03-04T05:06:07Z"),
        ("Version", "2010-08-31"),
    ]);
    params.extend(map(more));
    SignedRequest {
        access: ACCESS.into(),
        signature: signature.into(),
        host: "ec2.vicar.test:8773".into(),
        verb: "GET".into(),
        path: "/services/Cloud".into(),
        params,
        ..Default::default()
    }
}

pub(super) fn v0() -> SignedRequest {
    query("0", "oyTlGpQU9Rh/r+esYVQgu6BSrK0=", &[])
}

pub(super) fn v1() -> SignedRequest {
    let more = [("filter.1.Name", "état"), ("Zone", "b"), ("aaa", "1")];
    query("1", "RbBU98EdVuqVx1iO30rqqGzRSGM=", &more)
}

pub(super) fn v2_sha256() -> SignedRequest {
    let more = [("Filter.1.Value", "a b/c~d*é+=&"), ("SignatureMethod", "HmacSHA256")];
    query("2", "IEl/t4IVPox9G1vXiHoz+j1GDy559ULx8K8SQFyxOYQ=", &more)
}

pub(super) fn v2_sha1() -> SignedRequest {
    let more = [("Filter.1.Value", "a b/c~d*é+=&"), ("SignatureMethod", "HmacSHA1")];
    query("2", "DzGE7m6m2JNxtwJhNgn+7/V/vUc=", &more)
}

/// Signed for `ec2.vicar.test`, received at `ec2.vicar.test:8773`, no method stated.
pub(super) fn v2_no_port() -> SignedRequest {
    query("2", "2E3YiD0CcUATd3AbOPIfhw84ge2E4osc7gkHbwB+Yws=", &[])
}

/// From botocore, as are those below with the word in their name.
pub(super) fn v2_botocore() -> SignedRequest {
    let more = [
        ("Filter.1.Value", "a b/c~d*é"),
        ("SignatureMethod", "HmacSHA256"),
        ("Signature", "9pGZSTmEZ/2GX/LVJqiiUpjsOKS5Z427KxJcwcUfvss="),
    ];
    let mut req = query("2", "9pGZSTmEZ/2GX/LVJqiiUpjsOKS5Z427KxJcwcUfvss=", &more);
    req.verb = "POST".into();
    req
}

pub(super) fn v4(signature: &str, signed: &str, headers: &[(&str, &str)]) -> SignedRequest {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={ACCESS}/20260304/vicar-1/ec2/aws4_request, \
         SignedHeaders={signed}, Signature={signature}"
    );
    let mut all = map(&[
        ("Host", "ec2.vicar.test:8773"),
        ("X-Amz-Date", "20260304T050607Z"),
        ("Authorization", &authorization),
    ]);
    all.extend(map(headers));
    SignedRequest {
        access: ACCESS.into(),
        signature: signature.into(),
        host: "ec2.vicar.test:8773".into(),
        verb: "GET".into(),
        path: "/".into(),
        headers: all,
        body_hash: Some(EMPTY_HASH.into()),
        ..Default::default()
    }
}

pub(super) fn v4_post() -> SignedRequest {
    let mut req = v4(
        "3afb6901b6b1811d1964f3cbcc69213287bf5092a6464eb8bee8b94d01d57b8f",
        "content-type;host;x-amz-date",
        &[("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")],
    );
    req.verb = "POST".into();
    req.params = map(&[("Action", "DescribeInstances"), ("Version", "2010-08-31")]);
    req.body_hash = Some(FORM_HASH.into());
    req
}

pub(super) fn v4_get() -> SignedRequest {
    let mut req = v4(
        "4b1b5209e9260b162bd1bb542c5d9331675693e8b334bf19d89151624670dada",
        "content-type;host;x-amz-date",
        &[("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")],
    );
    // Two names whose order depends on whether they are sorted before or after encoding.
    req.params = map(&[("Action", "Describe Instances"), ("Filter.1", "a/b"), ("k0", "1"), ("k:", "2")]);
    req
}

pub(super) fn v4_botocore_get() -> SignedRequest {
    let mut req =
        v4("64d40709321c931a13afdd8cf02d5a0078a7c32c440654c0cf6c4c0bd3ed0fbb", "host;x-amz-date", &[]);
    req.params = map(&[("Action", "Describe Instances"), ("k0", "1"), ("k:", "2")]);
    req
}

/// The same from keystoneclient and botocore.
pub(super) fn v4_presigned() -> SignedRequest {
    let mut req = v4("35b44d4387f550799d3a813c8f8e124a63d113ada00758b294cae909b3874854", "", &[]);
    req.headers = map(&[("Host", "ec2.vicar.test:8773")]);
    req.params = map(&[
        ("Action", "DescribeInstances"),
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Credential", "AKVICARTESTKEY0001/20260304/vicar-1/ec2/aws4_request"),
        ("X-Amz-Date", "20260304T050607Z"),
        ("X-Amz-Expires", "60"),
        ("X-Amz-SignedHeaders", "host"),
    ]);
    req
}

pub(super) fn all_ec2() -> Vec<(SignatureVersion, SignedRequest)> {
    use SignatureVersion::{V0, V1, V2, V4};
    vec![
        (V0, v0()),
        (V1, v1()),
        (V2, v2_sha256()),
        (V2, v2_sha1()),
        (V2, v2_no_port()),
        (V2, v2_botocore()),
        (V4, v4_post()),
        (V4, v4_get()),
        (V4, v4_botocore_get()),
        (V4, v4_presigned()),
    ]
}

pub(super) fn s3(signature: &str, string_to_sign: &str) -> S3Request {
    S3Request { access: ACCESS.into(), signature: signature.into(), string_to_sign: string_to_sign.into() }
}

pub(super) fn s3_v4() -> S3Request {
    s3(
        "3dcc75c9bd652cb93dc27c72f3696dbf454d4b433f481d7129f2c5401f0aaec1",
        "AWS4-HMAC-SHA256\n20260304T050607Z\n20260304/vicar-1/s3/aws4_request\n\
         1669df9c06ad025c7d649fa294ef68fbe179bf7286d8a621a7ab6d4679758cd3",
    )
}

pub(super) fn s3_v4_presigned() -> S3Request {
    s3(
        "ce0b3f8cf65da9dab13b05ec25fc1510ed43e2d9b4d22712b577104969f18431",
        "AWS4-HMAC-SHA256\n20260304T050607Z\n20260304/vicar-1/s3/aws4_request\n\
         0ca9e2a5953158a400977253850e0bb08ca149707c91446aac698d71f27cb075",
    )
}

pub(super) fn s3_v2() -> S3Request {
    s3(
        "CozbRiH1GQzI1+S5DFEuPZugGmk=",
        "PUT\n\ntext/plain\nWed, 04 Mar 2026 05:06:07 GMT\nx-amz-meta-colour:red\n/bucket/key",
    )
}

pub(super) fn s3_v2_presigned() -> S3Request {
    s3("+JINqeYC6AsTiqxNMvtlyrFc4s8=", "GET\n\n\n1772601667\n/bucket/key")
}

pub(super) fn s3_v2_amz_date() -> S3Request {
    s3(
        "EHIPKC1EGxjBOTA5ho+xKdmKhcg=",
        "GET\n\n\nWed, 04 Mar 2026 05:06:07 GMT\n\
         x-amz-date:Wed, 04 Mar 2026 05:06:07 GMT\n/bucket/key",
    )
}
