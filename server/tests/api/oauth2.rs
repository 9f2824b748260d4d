//! The token endpoint of OAuth 2.0.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use vicar::clock::{SECOND, iso};

use crate::support::{Answer, Cast, START, names};

const TOKEN: &str = "/v3/OS-OAUTH2/token";
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const GRANT: &str = "grant_type=client_credentials";

fn credential(c: &Cast, with: Value) -> (String, String) {
    let path = format!("/v3/users/{}/application_credentials", c.alice);
    let body = json!({"application_credential": with});
    let made = c.s.post(&c.s.on("alice", &c.p), &path, body).expect(201);
    let text = |name: &str| made.body["application_credential"][name].as_str().expect(name).to_owned();
    (text("id"), text("secret"))
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

fn ask(c: &Cast, authorization: Option<&str>, form: &str) -> Answer {
    let mut headers = vec![FORM];
    headers.extend(authorization.map(|value| ("Authorization", value)));
    c.s.call("POST", TOKEN, &headers, Some(form.as_bytes()))
}

/// An error as RFC 6749 writes it.
#[track_caller]
fn refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!((answer.status, answer.body["error"].as_str()), (status, Some(error)), "{}", answer.text);
    assert!(answer.body["error_description"].is_string());
    assert_eq!(answer.body.as_object().expect("an object").len(), 2);
    assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
}

#[test]
fn an_application_credential_is_a_client() {
    let c = Cast::new();
    let (id, secret) = credential(&c, json!({"name": "one", "roles": [{"name": "reader"}]}));
    for (header, form) in [
        (Some(basic(&id, &secret)), GRANT.to_owned()),
        // The header goes before the form.
        (Some(basic(&id, &secret)), format!("{GRANT}&client_id=x&client_secret=x")),
        (None, format!("{GRANT}&client_id={id}&client_secret={secret}")),
    ] {
        let given = ask(&c, header.as_deref(), &form).expect(200);
        assert_eq!((&given.body["token_type"], &given.body["expires_in"]), (&json!("Bearer"), &json!(3600)));
        assert_eq!(given.header("cache-control"), Some("no-store"));
        let shown = c.s.validate(given.body["access_token"].as_str().expect("a token")).expect(200);
        assert_eq!(shown.body["token"]["methods"], json!(["application_credential"]));
        assert_eq!(shown.body["token"]["application_credential"]["id"], id);
        assert_eq!(names(&shown.body["token"], "roles"), ["reader"]);
    }
    let (id, secret) = credential(&c, json!({"name": "two", "expires_at": iso(START + 60 * SECOND)}));
    let given = ask(&c, Some(&basic(&id, &secret)), GRANT).expect(200);
    assert_eq!(given.body["expires_in"], 60, "no longer than the credential");
    c.s.clock.advance(60 * SECOND);
    refused(&ask(&c, Some(&basic(&id, &secret)), GRANT), 401, "invalid_client");
}

#[test]
fn what_is_refused_is_told_as_the_standard_says() {
    let c = Cast::new();
    let (id, secret) = credential(&c, json!({"name": "one"}));
    let good = basic(&id, &secret);
    refused(&ask(&c, Some(&good), ""), 400, "invalid_request");
    refused(&ask(&c, Some(&good), "grant_type=password"), 400, "unsupported_grant_type");
    for header in [
        basic(&id, "x"),
        basic("x", &secret),
        basic(&id, ""),
        basic("", &secret),
        "Basic !".to_owned(),
        "Basic eA==".to_owned(),
        "Bearer x".to_owned(),
        "Basic".to_owned(),
    ] {
        refused(&ask(&c, Some(&header), GRANT), 401, "invalid_client");
    }
    refused(&ask(&c, None, GRANT), 401, "invalid_client");
    refused(&ask(&c, None, &format!("{GRANT}&client_id={id}")), 401, "invalid_client");
    refused(&ask(&c, None, &format!("{GRANT}&client_secret={secret}")), 401, "invalid_client");
    // No form at all.
    let headers = [("Authorization", good.as_str())];
    let json = json!({"grant_type": "client_credentials"}).to_string();
    refused(&c.s.call("POST", TOKEN, &headers, Some(json.as_bytes())), 400, "invalid_request");
    refused(&c.s.call("POST", TOKEN, &headers, None), 400, "invalid_request");
    for method in ["GET", "PUT", "PATCH", "DELETE"] {
        refused(&c.s.call(method, TOKEN, &[], None), 405, "other_error");
    }
    c.s.call("HEAD", TOKEN, &[], None).expect(405);
    // Elsewhere an error is what it was.
    assert_eq!(c.s.call("PUT", "/v3/auth/tokens", &[], None).expect(405).body["error"]["code"], 405);
}

#[test]
fn the_methods_of_clients_are_configured() {
    for ini in ["[oauth2]\noauth2_authn_methods = tls_client_auth\n", "[auth]\nmethods = password,token\n"] {
        let c = Cast::with(ini);
        let (id, secret) = credential(&c, json!({"name": "one"}));
        refused(&ask(&c, Some(&basic(&id, &secret)), GRANT), 401, "invalid_client");
    }
}
