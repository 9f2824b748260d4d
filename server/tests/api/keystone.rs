//! Details in which clients and operators expect what a Keystone 30.0.0 does.

use serde_json::{Value, json};
use vicar::args;
use vicar::store::schema::Dialect;

use crate::support::{Cast, Server, names};

/// Rule 43: Ceph's gateway tells an unknown key from a wrong signature by the status; heat-api-cfn does not
/// catch a 404.
#[test]
fn an_unknown_access_id_is_404_at_s3tokens_and_401_at_ec2tokens() {
    let c = Cast::new();
    let svc = c.svc();
    let s3 = |access: &str, signature: &str| {
        let credentials = json!({"access": access, "signature": signature, "token": "R0VU"});
        c.s.post(&svc, "/v3/s3tokens", json!({"credentials": credentials}))
    };
    let unknown = c.signed(&json!({"access": "unknown", "secret": "s"}));
    c.s.post(&svc, "/v3/ec2tokens", unknown).expect(401);
    s3("unknown", "c2ln").expect(404);
    // A known id with a wrong signature is something else.
    let keypair =
        c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201).body["credential"].clone();
    let access = keypair["access"].as_str().expect("an access id");
    s3(access, "c2ln").expect(401);
    // Nor does a dead owner say that the id is unknown.
    c.s.sql_run("UPDATE \"user\" SET enabled = ? WHERE id = ?", args![false, &c.alice]);
    s3(access, "c2ln").expect(401);
}

#[test]
fn options_lists_the_methods_of_a_route() {
    let s = Server::start();
    for (path, methods) in [
        ("/v3/auth/tokens", &["DELETE", "GET", "HEAD", "OPTIONS", "POST"][..]),
        ("/v3/users", &["GET", "HEAD", "OPTIONS", "POST"]),
        ("/v3/users/any", &["DELETE", "GET", "HEAD", "OPTIONS", "PATCH"]),
    ] {
        let answer = s.call("OPTIONS", path, &[], None).expect(200);
        let mut allowed: Vec<&str> =
            answer.header("allow").expect("Allow").split(',').map(str::trim).collect();
        allowed.sort_unstable();
        assert_eq!(allowed, methods, "{path}");
        assert!(answer.text.is_empty());
    }
}

/// A Keystone serves what has more slashes at the ends, and redirects (308) what has more inside.
#[test]
fn slashes_that_are_doubled_are_forgiven() {
    let s = Server::start();
    let admin = s.admin();
    for path in ["//v3/users", "/v3/users//", "///v3/users///"] {
        let found = s.get(&admin, path).expect(200);
        assert_eq!(names(&found.body, "users"), ["admin"], "{path}");
        s.get("gAAAA", path).expect(401);
    }
    let user = s.user("alice");
    for (path, merged) in [
        ("/v3//users".to_owned(), "/v3/users".to_owned()),
        ("//v3///users/".to_owned(), "/v3/users".to_owned()),
        (format!("/v3/users//{user}?x=//"), format!("/v3/users/{user}?x=//")),
    ] {
        let found = s.get(&admin, &path);
        match found.status {
            200 => assert_eq!(found.body, s.get(&admin, &merged).expect(200).body, "{path}"),
            308 => assert!(found.header("location").is_some_and(|l| l.ends_with(&merged)), "{path}"),
            status => panic!("{path}: {status} {}", found.text),
        }
    }
}

#[test]
fn the_challenge_of_a_401_names_an_absolute_url() {
    let s = Server::start();
    let challenge = |s: &Server| {
        let answer = s.get("gAAAA", "/v3/users").expect(401);
        answer.header("www-authenticate").expect("a challenge").to_owned()
    };
    assert_eq!(challenge(&s), format!("Keystone uri=\"{}/v3\"", s.url));
    let s = Server::with("[DEFAULT]\npublic_endpoint = https://identity.example:5000\n");
    assert_eq!(challenge(&s), "Keystone uri=\"https://identity.example:5000/v3\"");
    let failed = s.login("admin", "wrong", Value::Null).expect(401);
    assert_eq!(failed.header("www-authenticate"), Some(&*challenge(&s)));
}

#[test]
fn a_user_has_no_more_credentials_than_the_limit() {
    let c = Cast::with("[credential]\nuser_limit = 2\n");
    let alice = c.s.on("alice", &c.p);
    let totp = |user: &str, blob: &str| json!({"credential": {"type": "totp", "user_id": user, "project_id": c.p, "blob": blob}});
    let first = c.s.post(&alice, "/v3/credentials", totp(&c.alice, "A")).expect(201);
    c.keypair(&alice, &c.alice, json!({})).expect(201);
    // Both doors count everything, whoever asks.
    c.s.post(&alice, "/v3/credentials", totp(&c.alice, "B")).expect(403);
    c.keypair(&alice, &c.alice, json!({})).expect(403);
    c.s.post(&c.s.admin(), "/v3/credentials", totp(&c.alice, "B")).expect(403);
    // Others have a limit of their own, and what was deleted does not count.
    c.s.post(&c.s.admin(), "/v3/credentials", totp(&c.bob, "B")).expect(201);
    let path = format!("/v3/credentials/{}", first.body["credential"]["id"].as_str().expect("an id"));
    c.s.delete(&alice, &path).expect(204);
    c.keypair(&alice, &c.alice, json!({})).expect(201);
}

/// A Keystone leaves it to the database how names are compared (R17).
#[test]
fn a_filter_by_name_compares_as_the_database_does() {
    let s = Server::start();
    let admin = s.admin();
    s.user("ann");
    s.group("crew", "default", &[]);
    s.project("stage");
    let ignores_case = s.engine() == Some(Dialect::Mysql);
    for (list, name) in [("users", "ann"), ("groups", "crew"), ("projects", "stage"), ("roles", "member")] {
        let found =
            |name: &str| names(&s.get(&admin, &format!("/v3/{list}?name={name}")).expect(200).body, list);
        assert_eq!(found(name), [name], "{list}");
        let expected: Vec<&str> = if ignores_case { vec![name] } else { vec![] };
        assert_eq!(found(&name.to_uppercase()), expected, "{list}");
    }
}
