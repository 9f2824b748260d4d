use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::json;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use vicar_rules::delegation::Presence;

use super::*;

/// Names with everything that has to be escaped, in several encodings, and two values of one attribute.
const ANN: &str = "-----BEGIN CERTIFICATE-----
MIICOzCCAeGgAwIBAgIBATAKBggqhkjOPQQDAjAtMRAwDgYDVQQKDAdFeGFtcGxl
MRkwFwYDVQQDDBByb290LmV4YW1wbGUub3JnMB4XDTI2MDEwMTAwMDAwMFoXDTQ2
MDEwMTAwMDAwMFowggEfMRMwEQYKCZImiZPyLGQBGRYDb3JnMQswCQYDVQQGEwJE
RTEPMA0GA1UECAwGIGJvdGggMREwDwYDVQQHHggASwD2AGwAbjEXMBUGA1UECQwO
IzEgPGE+ICJiIiBjXGQxHzAdBgNVBAoMFldpZGdldHMsIEluYy4gKyBDbzsgS0cx
DjAMBgNVBAsMBWZpcnN0MRowCQYDVQQMDAJEcjANBgNVBAsMBnNlY29uZDEwMC4G
CgmSJomT8ixkAQEMIDAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMQww
CgYDVQQDDANhbm4xHjAcBgkqhkiG9w0BCQEWD2FubkBleGFtcGxlLm9yZzERMA8G
A1UEBAwITcO8bGxlciAwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAShPQ1fG8SZ
axdygNS3stpbyVaVY6C3trKgTEvK/NpYjTHPeGvSJzsSFTi1/3dfj41CveVA8SNk
Vx2OHLrHdxzyMAoGCCqGSM49BAMCA0gAMEUCICoVgNw2JzclCmrjTzLx3wMOqv77
jdtzkVaLj4lozqb4AiEAjjG8M3JJBIxW8roXFNKiUx2/L0BZv2MOf2DHHnV2LpY=
-----END CERTIFICATE-----
";

fn ann() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(ANN.as_bytes()).expect("a certificate")
}

/// What Keystone 30.0.0 reads in the same certificate.
#[test]
fn names_are_read_as_in_keystone() {
    let read = attributes(&ann()).expect("reads");
    let wanted = [
        ("SUBJECT", "DC", "org"),
        ("SUBJECT", "C", "DE"),
        ("SUBJECT", "ST", "\\ both\\ "),
        ("SUBJECT", "L", "Köln"),
        ("SUBJECT", "STREET", "\\#1 \\<a\\> \\\"b\\\" c\\\\d"),
        ("SUBJECT", "O", "Widgets\\, Inc. \\+ Co\\; KG"),
        ("SUBJECT", "OU", "second"),
        ("SUBJECT", "2.5.4.12", "Dr"),
        ("SUBJECT", "UID", "0123456789abcdef0123456789abcdef"),
        ("SUBJECT", "CN", "ann"),
        ("SUBJECT", "EMAILADDRESS", "ann@example.org"),
        ("SUBJECT", "2.5.4.4", "Müller\\ "),
        ("ISSUER", "O", "Example"),
        ("ISSUER", "CN", "root.example.org"),
    ];
    let wanted: BTreeMap<String, String> = wanted
        .iter()
        .map(|(whose, name, value)| (format!("SSL_CLIENT_{whose}_DN_{name}"), (*value).to_owned()))
        .collect();
    assert_eq!(read, wanted);
    assert_eq!(thumbprint(&ann()), "q-GGlV3fXSp7sW_9sofmTDiwFmN_TWwTKfd24qETsSg=");
}

fn named(name: &str) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().expect("a key");
    params.self_signed(&key).expect("a certificate").der().to_vec()
}

#[test]
fn what_a_keystone_does_not_read_is_nobodys() {
    let cn = |name: &str| attributes(&named(name)).map(|read| read["SSL_CLIENT_SUBJECT_DN_CN"].clone());
    for (name, read) in [
        ("", Some("")),
        (" ", Some("\\ ")),
        ("  ", Some("\\ \\ ")),
        ("#", Some("\\#")),
        ("a#b c", Some("a#b c")),
        ("a\0b", Some("a\\00b")),
        ("a=b", None),
    ] {
        assert_eq!(cn(name).as_deref(), read, "{name:?}");
    }
    assert_eq!(attributes(b""), None);
    assert_eq!(attributes(ANN.as_bytes()), None);
    let whole = ann();
    for end in [1, 20, whole.len() - 1] {
        assert_eq!(attributes(&whole[..end]), None);
    }
    assert_eq!(attributes(&[&whole, &b"x"[..]].concat()), None);
}

/// A mapping that has a user's attributes from the certificate's, as Keystone's guide has it.
fn rules() -> Value {
    let of = |name: &str| json!({"type": format!("SSL_CLIENT_SUBJECT_DN_{name}")});
    json!([{
        "local": [{"user": {"name": "{0}", "id": "{1}", "email": "{2}", "domain": {"name": "{3}", "id": "{4}"}}}],
        "remote": [of("CN"), of("UID"), of("EMAILADDRESS"), of("2.5.4.12"), of("DC"),
            {"type": "SSL_CLIENT_ISSUER_DN_CN", "any_one_of": ["root.example.org"]}],
    }])
}

#[test]
fn a_mapping_says_whose_a_certificate_is() {
    let attributes = attributes(&ann()).expect("reads");
    let map = |rules: Value, version: &str| said(rules, version, attributes.clone())?.mapped();
    let said = map(rules(), "1.0").expect("maps").user;
    assert_eq!(
        Value::Object(said),
        json!({"name": "ann", "id": "0123456789abcdef0123456789abcdef", "email": "ann@example.org",
            "domain": {"name": "Dr", "id": "org"}, "type": "ephemeral"})
    );
    let other = rules().to_string().replace("root.example.org", "another.example.org");
    assert_eq!(map(serde_json::from_str(&other).expect("JSON"), "1.0"), None);
    assert_eq!(map(Value::Null, "1.0"), None);
    // Of whatever version it is, a Keystone evaluates it as one of 1.0: the domain beside the user is not the user's.
    let later = json!([{
        "local": [{"user": {"name": "{0}"}, "domain": {"id": "elsewhere"},
            "projects": [{"name": "p", "domain": {"id": "d"}, "roles": [{"name": "r"}]}]}],
        "remote": [{"type": "SSL_CLIENT_SUBJECT_DN_CN"}],
    }]);
    let said = map(later.clone(), "2.0").expect("maps").user;
    assert_eq!(Value::Object(said), json!({"name": "ann", "type": "ephemeral"}));
    assert_eq!(map(later, "1.0"), None, "no mapping of that version");
}

#[test]
fn all_that_is_said_of_a_user_has_to_be_so() {
    let user = UserFacts {
        id: "u".into(),
        name: "ann".into(),
        domain_id: "d".into(),
        domain_name: "there".into(),
        presence: Presence::Active,
        default_project_id: None,
        password_expires_at: None,
        is_unknown: false,
    };
    let is = |said: Value, email: Option<&str>| is_of(said.as_object().expect("an object"), &user, email);
    let mail = Some("ann@example.org");
    let whole =
        json!({"name": "ann", "id": "u", "email": "ann@example.org", "domain": {"id": "d", "name": "there"}});
    assert!(is(whole.clone(), mail) && !is(whole.clone(), None) && !is(whole.clone(), Some("x")));
    for (pointer, part) in
        [("/name", "Ann"), ("/id", "v"), ("/email", "a"), ("/domain/id", "there"), ("/domain/name", "d")]
    {
        let mut other = whole.clone();
        *other.pointer_mut(pointer).expect("it is there") = json!(part);
        assert!(!is(other, mail), "{pointer}");
    }
    // One of them is enough; what is empty says nothing.
    assert!(
        is(json!({"name": "ann"}), None) && is(json!({"id": "u", "name": "", "domain": {"id": ""}}), None)
    );
    assert!(is(json!({"email": "ann@example.org"}), mail));
    // A domain is nobody, and whoever is not named would be anybody.
    for nobody in
        [json!({}), json!({"name": ""}), json!({"domain": {"id": "d"}}), json!({"type": "ephemeral"})]
    {
        assert!(!is(nobody, mail));
    }
}
