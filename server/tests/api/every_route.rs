//! What must hold on every route, read off the route table itself: no route is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};
use vicar::dispatch::Route;
use vicar::http::oauth2::TOKEN;
use vicar::routes::ROUTES;
use vicar_rules::policy::OPERATIONS;

use crate::support::{Answer, Cast, id, ids, reviewed};

const WEBSSO: &str = "/v3/auth/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/websso";

/// Routes that serve without a token, with the reason.
const OPEN: [(&str, &str); 18] = [
    ("GET", "/"),                                // versions
    ("HEAD", "/"),                               // the same
    ("GET", "/v3"),                              // version document
    ("HEAD", "/v3"),                             // the same
    ("GET", "/v3/openapi.json"),                 // what is served
    ("HEAD", "/v3/openapi.json"),                // the same
    ("POST", "/v3/auth/tokens"),                 // login
    ("POST", TOKEN),                             // the same
    ("GET", "/v3/OS-SIMPLE-CERT/ca"),            // never has anything
    ("HEAD", "/v3/OS-SIMPLE-CERT/ca"),           // the same
    ("GET", "/v3/OS-SIMPLE-CERT/certificates"),  // the same
    ("HEAD", "/v3/OS-SIMPLE-CERT/certificates"), // the same
    ("GET", "/v3/auth/tokens/OS-PKI/revoked"),   // the same
    ("HEAD", "/v3/auth/tokens/OS-PKI/revoked"),  // the same
    ("GET", WEBSSO),                             // login, which first looks where the token shall go
    ("HEAD", WEBSSO),                            // the same
    ("POST", WEBSSO),                            // the same
    // proved by the old password, as an expired one can be changed by no token
    ("POST", "/v3/users/{user_id}/password"),
];

/// `(method, pattern)` of every route. `GET` serves `HEAD` too.
fn routes() -> Vec<(String, String)> {
    let listed = ROUTES.iter().map(|r| (r.method.to_string(), r.path.to_owned()));
    let mut all: BTreeSet<(String, String)> = listed.collect();
    let heads: Vec<_> =
        all.iter().filter(|(m, _)| m == "GET").map(|(_, p)| ("HEAD".to_owned(), p.clone())).collect();
    all.extend(heads);
    all.into_iter().collect()
}

/// The pattern with ids of alice's things, or of nothing.
fn fill(c: &Cast, pattern: &str, trust: &str, other: &str) -> String {
    let mut path = pattern.to_owned();
    for (name, id) in [
        ("{user_id}", c.alice.as_str()),
        ("{project_id}", &c.p),
        ("{domain_id}", "default"),
        ("{trust_id}", trust),
        ("{role_id}", other),
    ] {
        path = path.replace(name, id);
    }
    while let (Some(a), Some(b)) = (path.find('{'), path.find('}')) {
        path.replace_range(a..=b, other);
    }
    path
}

fn is_open(method: &str, path: &str) -> bool {
    OPEN.contains(&(method, path))
}

#[test]
fn without_a_token_it_is_401_even_with_a_bad_body() {
    let c = Cast::new();
    let trust = c.trust(json!({}));
    for (method, pattern) in routes() {
        if is_open(&method, &pattern) {
            continue;
        }
        let path = fill(&c, &pattern, &trust, "unknown");
        for body in [None, Some(b"{]" as &[u8]), Some(b"{}")] {
            let answer = c.s.call(&method, &path, &[], body);
            assert_eq!(answer.status, 401, "{method} {pattern}: {}", answer.text);
        }
        let junk = c.s.call(&method, &path, &[("X-Auth-Token", "gAAAAAjunk")], None);
        assert_eq!(junk.status, 401, "{method} {pattern}");
    }
}

/// Policy is decided by stored facts: a body or a query that claims otherwise changes nothing
/// (CVE-2026-42999).
#[test]
fn what_a_client_claims_changes_no_decision() {
    let c = Cast::new();
    let trust = c.trust(json!({}));
    c.s.grant(&c.carol, &c.q, "member");
    let carol = c.s.on("carol", &c.q);
    let claims = json!({
        "target": {"user": {"id": c.carol, "domain_id": "default"}, "trust": {"trustor_user_id": c.carol}},
        "user_id": c.carol, "trustor_user_id": c.carol, "project_id": c.q, "domain_id": "default",
        "credential": {"user_id": c.carol}, "trust": {"trustor_user_id": c.carol}, "roles": ["admin"],
        "is_admin": true, "token": {"user_id": c.carol},
    });
    let query = format!(
        "user_id={0}&target.user.id={0}&target.credential.user_id={0}&target.trust.trustor_user_id={0}&is_admin=1",
        c.carol
    );
    for (method, pattern) in routes() {
        // Bodies of these are not claims about an object: they make a new one.
        if is_open(&method, &pattern) || method == "POST" {
            continue;
        }
        for other in ["unknown", c.bob.as_str()] {
            let path = fill(&c, &pattern, &trust, other);
            let headers = [("X-Auth-Token", &*carol), ("X-Subject-Token", "gAAAA")];
            let plain = c.s.call(&method, &path, &headers, None);
            let claiming =
                c.s.call(&method, &format!("{path}?{query}"), &headers, Some(claims.to_string().as_bytes()));
            let refused = |status: u16| matches!(status, 401 | 403);
            assert_eq!(
                refused(plain.status),
                refused(claiming.status),
                "{method} {pattern}: {}",
                claiming.text
            );
            assert!(claiming.status < 500, "{method} {pattern}: {}", claiming.text);
        }
    }
}

/// Nothing that a client sends is a 5xx.
#[test]
fn bad_input_is_the_clients_fault_on_every_route() {
    let c = Cast::new();
    let trust = c.trust(json!({}));
    let admin = c.s.admin();
    let long = "x".repeat(3000);
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let members = [
        "user",
        "group",
        "project",
        "domain",
        "role",
        "trust",
        "credential",
        "region",
        "service",
        "endpoint",
        "tag",
        "tags",
        "auth",
        "credentials",
        "registered_limit",
        "registered_limits",
        "limit",
        "limits",
        "consumer",
        "endpoint_group",
        "policy",
    ];
    let of = |value: Value| -> Vec<u8> {
        let body: serde_json::Map<String, Value> =
            members.iter().map(|m| ((*m).to_owned(), value.clone())).collect();
        Value::Object(body).to_string().into_bytes()
    };
    let odd = json!({
        "id": 5, "name": {"a": 1}, "domain_id": [1], "enabled": "maybe", "description": 7, "password": false,
        "type": null, "blob": 1, "url": 3, "interface": "x", "service_id": 1, "identity": "x", "access": [],
        "trustor_user_id": 1, "roles": [[1]], "options": {"immutable": "x"}, "default_project_id": 9,
    });
    let strings = json!({
        "id": "\u{0}", "name": "\u{0}", "domain_id": long, "enabled": true, "description": long, "password": "\u{0}",
        "type": "\u{0}", "blob": "\u{0}", "url": "\u{0}", "interface": "public", "service_id": long, "user_id": long,
        "project_id": "\u{0}", "parent_id": "\u{0}", "region_id": long, "parent_region_id": long,
    });
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"{".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"\"x\"".to_vec(),
        b"{\"a\": \xff\xfe}".to_vec(),
        deep.into_bytes(),
        of(Value::Null),
        of(json!([])),
        of(json!("x")),
        of(json!({})),
        of(odd),
        of(strings),
    ];
    for (method, pattern) in routes() {
        for other in ["unknown", "%00", "%F0%9F%92%A9", &long] {
            let path = fill(&c, &pattern, &trust, other);
            let no_body = method == "GET" || method == "HEAD";
            for body in bodies.iter().take(if no_body { 1 } else { usize::MAX }) {
                let headers = [("X-Auth-Token", &*admin), ("X-Subject-Token", "gAAAA")];
                let answer = c.s.call(&method, &path, &headers, Some(body));
                let sent = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
                assert!(answer.status < 500, "{method} {pattern} {sent}: {}", answer.text);
                if pattern == TOKEN {
                    // A body that is too large is not read, whatever route it is for.
                    let unread = answer.body["error"]["code"] == 413;
                    assert!(
                        unread || answer.body["error"].is_string(),
                        "as RFC 6749 writes it: {}",
                        answer.text
                    );
                } else if answer.status >= 400 && method != "HEAD" {
                    assert_eq!(
                        answer.body["error"]["code"], answer.status,
                        "{method} {pattern}: {}",
                        answer.text
                    );
                    assert!(
                        answer.body["error"]["title"].is_string()
                            && answer.body["error"]["message"].is_string()
                    );
                }
            }
            if pattern.starts_with("/v3/auth/tokens") || method == "DELETE" || !pattern.contains('{') {
                break;
            }
        }
        if no_longer_alive(&c, &admin) {
            panic!("{method} {pattern} took the administrator's token away");
        }
    }
}

fn no_longer_alive(c: &Cast, admin: &str) -> bool {
    c.s.get(admin, "/v3/auth/catalog").status != 200
}

#[test]
fn a_huge_body_is_413_and_an_unknown_path_404() {
    let c = Cast::new();
    let huge = vec![b' '; 200_000];
    let answer = c.s.call("POST", "/v3/auth/tokens", &[], Some(&huge)).expect(413);
    assert_eq!(answer.body["error"]["code"], 413);
    let answer = c.s.get("x", "/v3/no/such/thing").expect(404);
    assert_eq!(answer.body["error"]["title"], "Not Found");
    assert_eq!(c.s.call("PUT", "/v3/auth/tokens", &[], None).expect(405).body["error"]["code"], 405);
}

#[test]
fn forged_truncated_reencoded_and_foreign_tokens() {
    let c = Cast::new();
    let token = c.s.on("alice", &c.p);
    let other = Cast::new().s.admin();
    let mut flipped = token.clone().into_bytes();
    flipped[40] = if flipped[40] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).expect("text");
    for bad in [
        &token[..token.len() - 4],
        &flipped,
        &other,
        &token.to_lowercase(),
        "",
        "\u{e9}",
        &"A".repeat(60_000),
    ] {
        c.s.call("GET", "/v3/auth/catalog", &[("X-Auth-Token", bad)], None).expect(401);
        // Middleware takes 404 for a bad token, and every other refusal for an outage of ours.
        let headers = [("X-Auth-Token", &*token), ("X-Subject-Token", bad)];
        c.s.call("GET", "/v3/auth/tokens", &headers, None).expect(404);
    }
    // The same token with padding is the same token: revoking one revokes the other.
    let padded = format!("{token}{}", "=".repeat((4 - token.len() % 4) % 4));
    c.s.get(&padded, "/v3/auth/catalog").expect(200);
    c.s.call("DELETE", "/v3/auth/tokens", &[("X-Auth-Token", &token), ("X-Subject-Token", &padded)], None)
        .expect(204);
    c.s.get(&token, "/v3/auth/catalog").expect(401);
    c.s.get(&padded, "/v3/auth/catalog").expect(401);
    // A header that appears twice is ambiguous.
    let token = c.s.admin();
    let twice = [("X-Auth-Token", &*token), ("X-Auth-Token", &*token)];
    c.s.call("GET", "/v3/auth/catalog", &twice, None).expect(400);
}

/// Which routes ask for an operation, as a page for who writes policy files.
#[test]
fn every_operation_is_asked_for_by_a_route() {
    let mut page = String::from(
        "# Operations\n\n\
         What a policy file can change: each operation with its default rule, the scopes of tokens that may ask\n\
         for it, and the routes that do. `GET` stands for `HEAD` too.\n\n\
         This page is generated from the table of operations and the list of routes. A test compares it;\n\
         `VICAR_BLESS=1 cargo test -p vicar --test api every_operation` writes it anew.\n",
    );
    for row in OPERATIONS {
        let asking: Vec<&Route> = ROUTES.iter().filter(|r| r.declared.ops.contains(&row.op)).collect();
        assert!(!asking.is_empty(), "no route asks for {}", row.name);
        let scopes: Vec<&str> = [("s", "system"), ("d", "domain"), ("p", "project or none")]
            .iter()
            .filter(|(letter, _)| row.scopes.is_empty() || row.scopes.contains(letter))
            .map(|(_, scope)| *scope)
            .collect();
        let _ =
            write!(page, "\n## {}\n\n- rule: `{}`\n- scopes: {}\n", row.name, row.rule, scopes.join(", "));
        for route in asking {
            let _ = writeln!(page, "- `{route:?}`");
        }
    }
    reviewed("docs/policy.md", &page);
}

/// Where the policy refuses everything, every route refuses, and names an operation that it declares. What a
/// route declares is what it asks for.
#[test]
fn every_route_asks_for_what_it_declares() {
    let declared: BTreeSet<Asked> = ROUTES
        .iter()
        .flat_map(|route| route.declared.ops.iter().map(move |op| (format!("{route:?}"), op.row().name)))
        .filter(|(route, op)| !UNSAID.contains(&(route.as_str(), op)))
        .collect();
    let missing = asked_where_refused(&declared, &[]);
    // What is asked second is seen where what is asked first is allowed.
    let missing =
        asked_where_refused(&missing, &["identity:check_implied_role", "identity:create_credential"]);
    assert!(missing.is_empty(), "never asked: {missing:#?}");
}

/// What is asked for where a refusal does not say it.
const UNSAID: [(&str, &str); 4] = [
    // It says whether others' are explained; one's own are to everybody.
    ("POST /v3/auth/explain", "vicar:explain_others"),
    // The list leaves out what the policy refuses.
    ("GET /v3/credentials", "identity:get_credential"),
    // After Keystone's own rule, whose refusal is the answer.
    ("DELETE /v3/OS-TRUST/trusts/{trust_id}", "vicar:end_trust_on_project"),
    // Whether it was left behind is what the refusal says.
    ("POST /v3/OS-TRUST/trusts/{trust_id}/adopt", "vicar:adopt_any_trust"),
];

/// A route, and an operation that it asks for.
type Asked = (String, &'static str);

/// Calls the routes in `expected` as somebody whom the policy refuses everything but what is `allowed`; what of
/// the expected was not asked.
fn asked_where_refused(expected: &BTreeSet<Asked>, allowed: &[&str]) -> BTreeSet<Asked> {
    let rules: BTreeMap<&str, &str> = OPERATIONS
        .iter()
        .map(|row| match allowed.contains(&row.name) {
            true => (row.name, "@"),
            // Alice makes what the routes are called with.
            false => (row.name, "role:admin or role:heat_stack_owner"),
        })
        .collect();
    let file = std::env::temp_dir().join(format!("vicar-policy-{}.json", vicar::ids::uuid()));
    std::fs::write(&file, json!(rules).to_string()).expect("writes");
    let c = Cast::with(&format!("[oslo_policy]\npolicy_file = {}\n", file.display()));
    let _ = std::fs::remove_file(&file);
    let calls = Calls::on(&c);
    let mut missing = expected.clone();
    for route in ROUTES {
        let of_route: Vec<&Asked> = expected.iter().filter(|(r, _)| *r == format!("{route:?}")).collect();
        // One call finds the only operation of a route; several are found by what they differ in.
        let variants = match of_route.len() {
            0 => continue,
            1 if route.declared.ops.len() == 1 => 1,
            _ => usize::MAX,
        };
        for answer in calls.of(route).take(variants) {
            assert!(answer.status < 500, "{route:?}: {}", answer.text);
            assert!(answer.status >= 400 || !allowed.is_empty(), "{route:?}: {}", answer.text);
            if let Some(op) = refused(&answer, route, allowed) {
                missing.remove(&(format!("{route:?}"), op));
            }
        }
    }
    missing
}

/// The operation that an answer refuses. One to `HEAD` does not name it; there it is the first that is refused.
fn refused(answer: &Answer, route: &Route, allowed: &[&str]) -> Option<&'static str> {
    let mut declared = route.declared.ops.iter().map(|op| op.row().name);
    match answer.status {
        403 if answer.text.is_empty() => declared.find(|op| !allowed.contains(op)),
        403 => declared.find(|op| answer.text.contains(&format!("action: {op}."))),
        _ => None,
    }
}

/// Calls by a user without rights.
struct Calls<'c> {
    c: &'c Cast,
    carol: String,
    subject: String,
    names: Vec<(&'static str, String)>,
    domain_role: String,
}

impl<'c> Calls<'c> {
    fn on(c: &'c Cast) -> Self {
        let admin = c.s.admin();
        c.s.grant(&c.carol, &c.q, "member");
        let domain_role = json!({"role": {"name": "tester", "domain_id": "default"}});
        let domain_role = id(&c.s.post(&admin, "/v3/roles", domain_role).expect(201), "role");
        let role = |name: &str| {
            ids(&c.s.get(&admin, &format!("/v3/roles?name={name}")).expect(200), "roles").remove(0)
        };
        let keypair = c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201);
        let access = keypair.body["credential"]["access"].as_str().expect("an access id").to_owned();
        let names = vec![
            ("{credential_id}", access),
            ("{user_id}", c.alice.clone()),
            ("{group_id}", c.s.group("g", "default", &[])),
            ("{project_id}", c.p.clone()),
            ("{domain_id}", "default".to_owned()),
            ("{trust_id}", c.trust(json!({}))),
            ("{role_id}", role("member")),
            ("{prior_role_id}", role("member")),
            ("{implied_role_id}", role("reader")),
        ];
        let (carol, subject) = (c.s.on("carol", &c.q), c.s.on("alice", &c.p));
        Self { c, carol, subject, names, domain_role }
    }

    /// The answers to calls of a route that differ in what decides which operation it asks for.
    fn of(&self, route: &Route) -> impl Iterator<Item = Answer> {
        let queries = [
            String::new(),
            "?domain_id=default".to_owned(),
            format!("?scope.project.id={}&include_subtree", self.c.p),
            format!("?trustor_user_id={}", self.c.alice),
            format!("?trustee_user_id={}", self.c.alice),
            "?renounce=true".to_owned(),
        ];
        let of_a_domain = route.path.replace("{role_id}", &self.domain_role);
        let of_passwords = route.path.replace("{group}", "security_compliance");
        let mut calls: Vec<(String, Option<Value>)> = Vec::new();
        for path in [route.path, &of_a_domain, &of_passwords] {
            let path = self.names.iter().fold(path.to_owned(), |path, (name, id)| path.replace(name, id));
            let path = path.replace(['{', '}'], "");
            for query in &queries {
                for body in self.bodies(route) {
                    calls.push((format!("{path}{query}"), body));
                }
            }
        }
        let method = route.method.to_string();
        calls.into_iter().map(move |(path, body)| {
            let headers = [("X-Auth-Token", &*self.carol), ("X-Subject-Token", &*self.subject)];
            let body = body.map(|body| body.to_string());
            self.c.s.call(&method, &path, &headers, body.as_deref().map(str::as_bytes))
        })
    }

    /// Bodies that the route takes.
    fn bodies(&self, route: &Route) -> Vec<Option<Value>> {
        let c = self.c;
        let Some(declared) = &route.declared.body else { return vec![None] };
        let blob = json!({"access": "a", "secret": "s"}).to_string();
        let bodies = match declared.member {
            Some("trust") => vec![c.ask(json!({}))],
            Some("credential") => vec![
                json!({"credential": {"blob": "x", "type": "cert", "user_id": c.alice}}),
                json!({"credential": {"blob": blob, "type": "ec2", "user_id": c.alice, "project_id": c.p}}),
            ],
            Some("role") => {
                vec![json!({"role": {"name": "x"}}), json!({"role": {"name": "x", "domain_id": "default"}})]
            }
            Some("tags") => vec![json!({"tags": []})],
            Some(name) => vec![json!({name: {"name": "x"}})],
            None => vec![json!({"tenant_id": c.p, "roles": [{"name": "member"}]})],
        };
        bodies.into_iter().map(Some).collect()
    }
}
