//! Requests of OAuth 1.0a.

use super::*;
use crate::signature::{OAuthRequest, Params};

const KEY: &str = "11111111111111111111111111111111";
const TOKEN: &str = "22222222222222222222222222222222";

fn params(pairs: &[(&str, &str)]) -> Params {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read(verb: &str, url: &str, header: &str, others: &[(&str, &str)]) -> OAuthRequest {
    OAuthRequest::read(verb, vec![url.to_owned()], header, vec![params(others)]).expect("reads")
}

/// A header as oauthlib writes it.
fn header(method: &str, more: &str, signature: &str) -> String {
    format!(
        "OAuth oauth_nonce=\"0123abcd\", oauth_timestamp=\"1772600767\", oauth_version=\"1.0\", \
         oauth_signature_method=\"{method}\", oauth_consumer_key=\"{KEY}\", {more}oauth_signature=\"{signature}\""
    )
}

fn with_token(method: &str, signature: &str) -> String {
    header(method, &format!("oauth_token=\"{TOKEN}\", "), signature)
}

#[test]
fn the_examples_of_rfc_5849() {
    // §3.4.1.1
    let header = r#"OAuth realm="Example", oauth_consumer_key="9djdj82h48djs9d2",
        oauth_token="kkk9d7dh3k39sjv7", oauth_signature_method="HMAC-SHA1",
        oauth_timestamp="137131201", oauth_nonce="7d8f3e4a", oauth_signature="r6%2FTJjbCOr97%2F%2BUU0NsvSne7s5g%3D""#;
    let sent = [("b5", "=%3D"), ("a3", "a"), ("c@", ""), ("a2", "r b"), ("c2", ""), ("a3", "2 q")];
    let url = "http://EXAMPLE.COM:80/request";
    let request = read("POST", url, header, &sent);
    assert_eq!(
        request.base_string(url, &params(&sent)),
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540\
         %3D%26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3D\
         HMAC-SHA1%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    );
    assert_eq!(request.realm(), Some("Example"));
    assert_eq!(request.verify("j49sk3j29djd", Some("dh893hdasih9")), Ok(()), "as corrected by its errata");
    // §1.2
    let token = r#"OAuth realm="Photos", oauth_consumer_key="dpf43f3p2l4k3l03", oauth_token="hh5s93j4hdidpola",
        oauth_signature_method="HMAC-SHA1", oauth_timestamp="137131201", oauth_nonce="walatlh",
        oauth_verifier="hfdp7dh39dks9884", oauth_signature="gKgrFCywp7rO0OXSjdot%2FIHF7IU%3D""#;
    let request = read("POST", "https://photos.example.net/token", token, &[]);
    assert_eq!(request.verify("kd94hf93k423kf44", Some("hdhd0244k9j7ao03")), Ok(()));
    let photos = r#"OAuth realm="Photos", oauth_consumer_key="dpf43f3p2l4k3l03", oauth_token="nnch734d00sl2jdk",
        oauth_signature_method="HMAC-SHA1", oauth_timestamp="137131202", oauth_nonce="chapoH",
        oauth_signature="MdpQcU8iPSUjWoN%2FUDMsK2sui9I%3D""#;
    let sent = [("file", "vacation.jpg"), ("size", "original")];
    let request = read("GET", "http://photos.example.net/photos", photos, &sent);
    assert_eq!(request.verify("kd94hf93k423kf44", Some("pfkkdhi9sl3r4s00")), Ok(()));
}

#[test]
fn what_oauthlib_signs_is_accepted() {
    let tokens = "http://Id.Example:5000/v3/auth/tokens";
    for (method, signature) in [
        ("HMAC-SHA1", "Hwvo3MgLick5TJUvf1NLwLoqk70%3D"),
        ("HMAC-SHA256", "vjoCxwe%2F5CNaN2z0gNZeeaQXSMqK8EbMx5xEdyy%2FScA%3D"),
        (
            "HMAC-SHA512",
            "msLjfWoH%2Byt5KIBY4ASZheOErTSgbHyz%2BZNyY6cBV8kbsPOJcgtccPs92ip9SMQ%2FY0BiuCpsewSmJbPq%2BbEPcA%3D%3D",
        ),
        ("PLAINTEXT", "s%2525c%252Bret%26t%2526oken"),
    ] {
        let request = read("POST", tokens, &with_token(method, signature), &[]);
        assert_eq!(
            (request.check(), request.verify("s%c+ret", Some("t&oken"))),
            (Ok(()), Ok(())),
            "{method}"
        );
        for (consumer, token) in [("s%c+ret", None), ("s%c+ret", Some("other")), ("other", Some("t&oken"))] {
            assert_eq!(request.verify(consumer, token), Err(SignatureError::Mismatch), "{method}");
        }
        assert_eq!(request.stated_time(), Ok(1_772_600_767_000_000));
    }
    let callback = "oauth_callback=\"oob\", ";
    let of = "https://id.example/v3/OS-OAUTH1/request_token";
    let signed = header("HMAC-SHA1", callback, "rxnjb2x7mGgOg57sQcEVt0E%2B%2B5o%3D");
    for url in [of, "https://id.example:443/v3/OS-OAUTH1/request_token"] {
        assert_eq!(read("POST", url, &signed, &[]).verify("consumer-secret", None), Ok(()));
    }
    for url in
        ["http://id.example/v3/OS-OAUTH1/request_token", "https://id.example:80/v3/OS-OAUTH1/request_token"]
    {
        assert!(read("POST", url, &signed, &[]).verify("consumer-secret", None).is_err());
    }
    assert!(read("PUT", of, &signed, &[]).verify("consumer-secret", None).is_err());
    let signed = header("HMAC-SHA1", callback, "huqdsfQzA4hvWonBhP0b63XARCE%3D");
    let sent = [("b", " c"), ("a", "1"), ("a", "é"), ("e", "")];
    let url = "https://id.example/identity/v3/OS-OAUTH1/request_token";
    assert_eq!(read("POST", url, &signed, &sent).verify("consumer-secret", None), Ok(()));
    assert!(read("POST", url, &signed, &sent[..3]).verify("consumer-secret", None).is_err());
    let more = format!("oauth_token=\"{TOKEN}\", oauth_verifier=\"abcdEFGH\", ");
    let signed = header("HMAC-SHA1", &more, "h3o5B8Gfa7EJa3YV7FoHTsqNRJQ%3D");
    let url = "https://id.example/v3/OS-OAUTH1/access_token";
    let request = read("POST", url, &signed, &[("x", "1 2"), ("y", "+")]);
    assert_eq!((request.check(), request.verify("consumer-secret", Some("token-secret"))), (Ok(()), Ok(())));
    let signed = with_token("HMAC-SHA1", "6ONA2MrVONt524GaHYS1CAcZQbw%3D");
    let request = read("POST", "http://[2001:DB8::1]:80/v3/auth/tokens", &signed, &[]);
    assert_eq!(request.verify("consumer-secret", Some("token-secret")), Ok(()));
    let signed = with_token("HMAC-SHA1", "3AJ277ZKRlu8BwIz9LFL25X71OM%3D");
    let signed = signed.replace("OAuth ", "oauth realm=\"r,e=a\",");
    let request = read("POST", "https://id.example/v3/auth/tokens", &signed, &[]);
    assert_eq!(request.verify("consumer-secret", Some("token-secret")), Ok(()));
    assert_eq!(request.realm(), Some("r,e=a"));
}

#[test]
fn any_of_the_readings_will_do() {
    let signed = with_token("HMAC-SHA1", "3AJ277ZKRlu8BwIz9LFL25X71OM%3D");
    let of = |urls: &[&str], others: Vec<Params>| {
        let urls = urls.iter().map(|u| (*u).to_owned()).collect();
        let request = OAuthRequest::read("POST", urls, &signed, others).expect("reads");
        request.verify("consumer-secret", Some("token-secret"))
    };
    let url = "https://id.example/v3/auth/tokens";
    let query = || params(&[("nocatalog", "")]);
    assert_eq!(of(&["http://inside:5000/v3/auth/tokens", url], vec![]), Ok(()));
    assert_eq!(of(&[url], vec![query(), params(&[])]), Ok(()));
    assert_eq!(of(&[url], vec![query()]), Err(SignatureError::Mismatch));
    assert_eq!(of(&[], vec![]), Err(SignatureError::Mismatch));
}

#[test]
fn what_is_missing_or_malformed_is_named() {
    let whole = with_token("HMAC-SHA1", "x");
    let check = |from: &str, to: &str| {
        assert!(whole.contains(from), "{from}");
        read("POST", "http://h/", &whole.replace(from, to), &[]).check()
    };
    assert_eq!(check("x", "x"), Ok(()));
    use SignatureError::{Malformed, Missing, UnknownMethod};
    for name in
        ["oauth_nonce", "oauth_timestamp", "oauth_signature_method", "oauth_consumer_key", "oauth_signature"]
    {
        assert_eq!(check(&format!("{name}=\""), &format!("{name}=\"\", z=\"")), Err(Missing(name)));
    }
    assert_eq!(check("oauth_version=\"1.0\", ", ""), Ok(()));
    assert_eq!(check("\"1.0\"", "\"2.0\""), Err(Malformed("oauth_version")));
    for method in ["RSA-SHA1", "hmac-sha1", "MD5"] {
        assert_eq!(check("HMAC-SHA1", method), Err(UnknownMethod));
    }
    for time in ["177260076", "17726007671", "-177260076", "+177260076", "17726007x7", "177260076\u{664}"] {
        assert_eq!(check("1772600767", time), Err(Malformed("oauth_timestamp")), "{time}");
    }
    assert_eq!(check("0123abcd", "0123ABCD"), Err(Malformed("oauth_nonce")));
    assert_eq!(check(KEY, &KEY[1..]), Err(Malformed("oauth_consumer_key")));
    assert_eq!(check(TOKEN, "zz"), Err(Malformed("oauth_token")));
    for verifier in ["abcdEFG", "abcdEFGHJ", "abcdEFG1", "abcdEFG%C3%A9"] {
        let with = format!("{TOKEN}\", oauth_verifier=\"{verifier}");
        assert_eq!(check(TOKEN, &with), Err(Malformed("oauth_verifier")), "{verifier}");
    }
}

#[test]
fn a_header_is_read_in_one_way_or_not_at_all() {
    let read = |header: &str, others: &[(&str, &str)]| {
        OAuthRequest::read("POST", vec![], header, vec![params(others)])
            .map(|r| r.param("a").map(str::to_owned))
    };
    let a = || Ok(Some("1".to_owned()));
    for header in
        ["OAuth a=1", "oauth  a=\"1\",", " OAuth b=\"x,y=z\" ,a = 1 ,, c=", "OAUTH a=%31,realm=\"\""]
    {
        assert_eq!(read(header, &[("b", "2")]), a(), "{header}");
    }
    assert_eq!(read("OAuth a=", &[]), Ok(None));
    for header in [
        "",
        "OAuth",
        "Basic a=1",
        "OAuth a",
        "OAuth a=\"1",
        "OAuth a=\"1\"2",
        "OAuth a=1, a=1",
        "OAuth a=1, %61=1",
        "OAuth a=%3",
        "OAuth a=%zz",
        "OAuth a=%ff",
        "OAuth a=1 \"b\"=\"2\" x",
    ] {
        assert!(read(header, &[]).is_err(), "{header}");
    }
    assert!(read("OAuth a=1", &[("oauth_token", "2")]).is_err());
    let many = |n: usize| format!("OAuth a=1{}", (1..n).map(|i| format!(",x{i}=1")).collect::<String>());
    assert_eq!(read(&many(32), &[]), a());
    assert!(read(&many(33), &[]).is_err(), "each is compared with all others");
}

#[test]
fn a_nonce_tells_two_requests_of_one_second_apart() {
    let of = |from: &str, to: &str| {
        read("POST", "http://h/", &with_token("HMAC-SHA1", "x").replace(from, to), &[])
    };
    let one = of("x", "x").identity();
    assert_eq!((one.len(), &one), (64, &of("\"x\"", "\"y\"").identity()));
    for (from, to) in [("0123abcd", "0123abce"), ("1772600767", "1772600768"), (KEY, TOKEN), (TOKEN, KEY)] {
        assert_ne!(one, of(from, to).identity(), "{from}");
    }
}

#[test]
fn debug_output_shows_no_header() {
    let shown = format!("{:?}", read("POST", "http://h/", &with_token("PLAINTEXT", "secret%26secret"), &[]));
    assert!(!shown.contains("secret") && shown.contains("http://h/"), "{shown}");
}
