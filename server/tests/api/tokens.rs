//! Tokens: login, validation, exchange for another scope, revocation.

use serde_json::{Value, json};
use vicar::args;
use vicar::clock::{SECOND, iso};

use crate::support::scope::{on_domain, on_project, on_system};
use crate::support::{Answer, Cast, PASSWORD, START, Server, by_password, token};

/// A login with a token.
fn by_token(s: &Server, token: &str, scope: Value) -> Answer {
    let mut auth = json!({"identity": {"methods": ["token"], "token": {"id": token}}});
    if !scope.is_null() {
        auth["scope"] = scope;
    }
    s.auth(auth)
}

/// A call about a token.
fn about(s: &Server, method: &str, query: &str, caller: &str, subject: &str) -> Answer {
    let headers = [("X-Auth-Token", caller), ("X-Subject-Token", subject)];
    s.call(method, &format!("/v3/auth/tokens{query}"), &headers, None)
}

fn list(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|v| v.as_str().expect("a string")).collect()
}

#[test]
fn a_password_login_gives_a_token_that_validates() {
    let s = Server::start();
    let token = s.admin();
    let shown = s.validate(&token).expect(200);
    assert_eq!(shown.body["token"]["methods"], json!(["password"]));
    assert_eq!(shown.body["token"]["project"]["name"], "admin");
    assert_eq!(shown.body["token"]["catalog"][0]["type"], "identity");
    s.login("admin", "wrong", json!(null)).expect(401);
    s.login("nobody", "wrong", json!(null)).expect(401);
    assert_eq!(shown.header("vary"), Some("X-Auth-Token"));
}

#[test]
fn a_revoked_token_is_dead_and_a_new_one_lives() {
    let s = Server::start();
    let token = s.admin();
    s.clock.advance(1_000_000);
    let other = s.admin();
    let revoke = |t: &str| {
        s.call("DELETE", "/v3/auth/tokens", &[("X-Auth-Token", &other), ("X-Subject-Token", t)], None)
    };
    revoke(&token).expect(204);
    s.validate(&token).expect(404);
    s.get(&token, "/v3/auth/catalog").expect(401);
    s.validate(&other).expect(200);
    revoke(&token).expect(404);
}

/// Rule 24 for a login with two methods: the token's end and its chain stay in force.
#[test]
fn a_password_and_a_token_together_prove_one_user() {
    let c = Cast::new();
    let first = c.s.login("alice", "alice-pw", json!("unscoped")).expect(201);
    c.s.clock.advance(60 * SECOND);
    let both = |token: &str, user: &str, password: &str| {
        let auth = json!({"identity": {"methods": ["password", "token"], "token": {"id": token},
            "password": {"user": {"id": user, "password": password}}}, "scope": on_project(&c.p)});
        c.s.auth(auth)
    };
    let second = both(&first.token(), &c.alice, "alice-pw").expect(201).body["token"].clone();
    let mut methods = list(&second["methods"]);
    methods.sort_unstable();
    assert_eq!(methods, ["password", "token"]);
    assert_eq!(second["expires_at"], first.body["token"]["expires_at"]);
    assert_eq!(second["audit_ids"][1], first.body["token"]["audit_ids"][0]);
    // Each has to be right, and both have to be of one user.
    both(&first.token(), &c.alice, "wrong").expect(401);
    both("gAAAA", &c.alice, "alice-pw").expect(404);
    both(&first.token(), &c.bob, "bob-pw").expect(401);
    // A rule of several methods is satisfied by both and by neither alone.
    let rules = json!({"user": {"options": {"multi_factor_auth_enabled": true,
        "multi_factor_auth_rules": [["password", "token"]]}}});
    let before = c.s.unscoped("alice");
    c.s.patch(&c.s.admin(), &format!("/v3/users/{}", c.alice), rules).expect(200);
    c.s.login("alice", "alice-pw", json!("unscoped")).expect(401);
    both(&before, &c.alice, "alice-pw").expect(201);
}

/// A user with a role everywhere, and a trust that names them as trustee.
struct Traveller {
    c: Cast,
    trust: String,
}

const PLACES: [&str; 6] = ["default", "unscoped", "project", "domain", "system", "trust"];

impl Traveller {
    fn new(ini: &str) -> Self {
        let c = Cast::with(ini);
        c.s.grant(&c.bob, &c.q, "member");
        c.s.assign("UserDomain", &c.bob, "default", "reader", false);
        c.s.assign("UserSystem", &c.bob, "system", "reader", false);
        let trust = c.trust(json!({}));
        Self { c, trust }
    }

    fn scope(&self, place: &str) -> Value {
        match place {
            "default" => Value::Null,
            "unscoped" => json!("unscoped"),
            "project" => on_project(&self.c.q),
            "domain" => on_domain("default"),
            "system" => on_system(),
            "trust" => json!({"OS-TRUST:trust": {"id": self.trust}}),
            other => panic!("{other}"),
        }
    }

    /// Whether a token is where it was asked to be.
    fn is_there(&self, token: &Value, place: &str) -> bool {
        let has = |key: &str| token.get(key).is_some();
        match place {
            "default" | "unscoped" => {
                !["project", "domain", "system", "roles", "catalog", "OS-TRUST:trust"].iter().any(|k| has(k))
            }
            "project" => token["project"]["id"] == self.c.q.as_str() && !has("OS-TRUST:trust"),
            "domain" => token["domain"]["id"] == "default" && !has("project"),
            "system" => token["system"] == json!({"all": true}) && !has("project"),
            "trust" => {
                token["OS-TRUST:trust"]["id"] == self.trust.as_str()
                    && token["project"]["id"] == self.c.p.as_str()
                    && token["user"]["id"] == self.c.alice.as_str()
            }
            other => panic!("{other}"),
        }
    }
}

/// Every scope to every scope: where it leads, and what stays.
#[test]
fn what_a_token_of_each_scope_is_exchanged_for() {
    let t = Traveller::new("");
    let s = &t.c.s;
    for from in PLACES {
        let source = s.login("bob", "bob-pw", t.scope(from)).expect(201);
        assert!(t.is_there(&source.body["token"], from), "{from}: {}", source.text);
        let root = source.body["token"]["audit_ids"].clone();
        assert_eq!(list(&root).len(), 1);
        s.clock.advance(7 * SECOND);
        for to in PLACES {
            let answer = by_token(s, &source.token(), t.scope(to));
            let want = match (from, to) {
                // A delegated token is exchanged for nothing, and the system is no way down.
                ("trust", _) | ("system", "project" | "domain") => 403,
                _ => 201,
            };
            assert_eq!(answer.status, want, "{from} -> {to}: {}", answer.text);
            if want != 201 {
                continue;
            }
            let token = &answer.body["token"];
            assert!(t.is_there(token, to), "{from} -> {to}: {token}");
            assert_eq!(token["expires_at"], source.body["token"]["expires_at"], "{from} -> {to}");
            assert_eq!(token["methods"], json!(["token", "password"]), "{from} -> {to}");
            assert_eq!(list(&token["audit_ids"])[1..], list(&root)[..], "{from} -> {to}");
            assert_eq!(token["issued_at"], iso(s.clock.now()), "{from} -> {to}");
            // What is shown at the login is what is shown at a validation.
            let shown = s.validate(&answer.token()).expect(200);
            assert_eq!(&shown.body["token"], token, "{from} -> {to}");
        }
    }
}

#[test]
fn scoped_tokens_are_exchanged_for_nothing_where_that_is_switched_off() {
    let t = Traveller::new("[token]\nallow_rescope_scoped_token = false\n");
    for from in PLACES {
        let source = t.c.s.login("bob", "bob-pw", t.scope(from)).expect(201).token();
        for to in PLACES {
            let want = if ["default", "unscoped"].contains(&from) { 201 } else { 403 };
            let answer = by_token(&t.c.s, &source, t.scope(to));
            assert_eq!(answer.status, want, "{from} -> {to}: {}", answer.text);
        }
    }
}

/// Methods and audit ids through a row of exchanges: each method once, and the first id of all.
#[test]
fn exchanges_keep_the_methods_and_the_first_audit_id() {
    let t = Traveller::new("");
    let s = &t.c.s;
    let first = s.login("bob", "bob-pw", json!("unscoped")).expect(201);
    let root = list(&first.body["token"]["audit_ids"])[0].to_owned();
    let mut seen = vec![root.clone()];
    let mut token = first.token();
    for place in ["project", "domain", "unscoped", "system", "trust"] {
        let next = by_token(s, &token, t.scope(place)).expect(201);
        assert_eq!(next.body["token"]["methods"], json!(["token", "password"]), "{place}");
        let ids = list(&next.body["token"]["audit_ids"]);
        assert_eq!((ids.len(), ids[1]), (2, root.as_str()), "{place}");
        assert!(!seen.iter().any(|s| s == ids[0]), "{place}: an id of its own");
        seen.push(ids[0].to_owned());
        token = next.token();
    }
}

/// No later than the source's end, the configured time, and the trust's; in whole seconds.
#[test]
fn no_exchange_moves_an_end_later() {
    let c = Cast::with("[token]\nexpiration = 600\n");
    let trust = c.trust(json!({"expires_at": iso(START + 300 * SECOND + 900_000)}));
    let scope = json!({"OS-TRUST:trust": {"id": trust}});
    let end = |answer: &Answer| answer.body["token"]["expires_at"].clone();
    c.s.clock.advance(1_500_000);
    let source = c.s.login("bob", "bob-pw", json!("unscoped")).expect(201);
    assert_eq!(end(&source), iso(START + 601 * SECOND));
    assert_eq!(end(&by_token(&c.s, &source.token(), scope.clone()).expect(201)), iso(START + 300 * SECOND));
    c.s.clock.advance(200 * SECOND);
    assert_eq!(end(&by_token(&c.s, &source.token(), Value::Null).expect(201)), end(&source));
    c.s.clock.advance(99 * SECOND);
    // Less than a second is left of the trust: nothing that would be born dead is issued.
    c.s.login("bob", "bob-pw", scope).expect(401);
    c.s.clock.advance(300 * SECOND);
    by_token(&c.s, &source.token(), Value::Null).expect(201);
    c.s.clock.advance(SECOND);
    by_token(&c.s, &source.token(), Value::Null).expect(404);
}

#[test]
fn nocatalog_leaves_the_catalog_out_and_nothing_else() {
    let s = Server::start();
    let auth = json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": {
            "name": "admin", "domain": {"id": "default"}, "password": PASSWORD}}},
        "scope": {"project": {"name": "admin", "domain": {"name": "Default"}}}}});
    let body = auth.to_string();
    let whole = s.call("POST", "/v3/auth/tokens", &[], Some(body.as_bytes())).expect(201);
    assert!(!whole.body["token"]["catalog"].as_array().expect("a catalog").is_empty());
    for query in ["?nocatalog", "?nocatalog=", "?nocatalog=1"] {
        let path = format!("/v3/auth/tokens{query}");
        let short = s.call("POST", &path, &[], Some(body.as_bytes())).expect(201);
        assert!(short.body["token"].get("catalog").is_none(), "{query}");
        assert_eq!(short.body["token"]["roles"], whole.body["token"]["roles"]);
        let token = whole.token();
        let shown = about(&s, "GET", query, &token, &token).expect(200);
        let mut expected = whole.body.clone();
        expected["token"].as_object_mut().expect("an object").remove("catalog");
        assert_eq!(shown.body, expected, "{query}");
    }
}

/// Without a scope in the request: the default project, if that works, else no scope.
#[test]
fn the_default_project_is_taken_when_it_gives_a_role() {
    let c = Cast::new();
    let elsewhere = c.s.domain("elsewhere");
    let off = c.s.project_below("off", "default", None);
    let inside = c.s.project_below("inside", &elsewhere, None);
    c.s.grant(&c.alice, &off, "member");
    c.s.grant(&c.alice, &inside, "member");
    c.s.sql_run("UPDATE project SET enabled = ? WHERE id IN (?, ?)", args![false, &off, &elsewhere]);
    let nothing_held = c.s.project("nothing held");
    let login = |project: Option<&str>, scope: Value| {
        c.s.sql_run("UPDATE \"user\" SET default_project_id = ? WHERE id = ?", args![project, &c.alice]);
        let token = c.s.login("alice", "alice-pw", scope).expect(201).body["token"].clone();
        token["project"]["id"].as_str().map(str::to_owned)
    };
    assert_eq!(login(Some(&c.p), Value::Null), Some(c.p.clone()));
    assert_eq!(login(Some(&c.p), json!("unscoped")), None);
    assert_eq!(login(Some(&c.p), json!({"unscoped": {}})), None);
    assert_eq!(login(Some(&c.p), on_project(&c.q)), Some(c.q.clone()));
    for no_use in [off.as_str(), &inside, &nothing_held, "not there", "default"] {
        assert_eq!(login(Some(no_use), Value::Null), None, "{no_use}");
    }
    assert_eq!(login(None, Value::Null), None);
}

#[test]
fn head_tells_what_get_tells_without_a_body() {
    let c = Cast::new();
    let (admin, alice, bob) = (c.s.admin(), c.s.on("alice", &c.p), c.s.unscoped("bob"));
    for (caller, subject, status) in [
        (&*admin, &*alice, 200),
        (&alice, &alice, 200),
        (&bob, &bob, 200),
        (&bob, &alice, 403),
        (&admin, "gAAAA", 404),
        (&bob, "gAAAA", 404),
        ("gAAAA", &alice, 401),
    ] {
        let got = about(&c.s, "GET", "", caller, subject).expect(status);
        let head = about(&c.s, "HEAD", "", caller, subject).expect(status);
        assert!(!got.text.is_empty() && head.text.is_empty());
        for name in ["x-subject-token", "content-type", "vary", "www-authenticate"] {
            assert_eq!(got.header(name), head.header(name), "{name}");
        }
        if status == 200 {
            assert_eq!(head.header("x-subject-token"), Some(subject));
        }
    }
}

/// One token may be caller and subject; each header is needed once.
#[test]
fn a_token_in_both_headers_shows_and_ends_itself() {
    let c = Cast::new();
    for token in [c.s.unscoped("alice"), c.s.on("alice", &c.p)] {
        let shown = about(&c.s, "GET", "", &token, &token).expect(200);
        assert_eq!(shown.body["token"]["user"]["id"], c.alice.as_str());
        for method in ["GET", "HEAD", "DELETE"] {
            c.s.call(method, "/v3/auth/tokens", &[("X-Subject-Token", &token)], None).expect(401);
            let missing = c.s.call(method, "/v3/auth/tokens", &[("X-Auth-Token", &token)], None).expect(400);
            assert!(method == "HEAD" || missing.text.contains("X-Subject-Token"), "{}", missing.text);
            let twice = [("X-Auth-Token", &*token), ("X-Subject-Token", &token), ("X-Subject-Token", &token)];
            c.s.call(method, "/v3/auth/tokens", &twice, None).expect(400);
        }
        about(&c.s, "DELETE", "", &token, &token).expect(204);
        about(&c.s, "GET", "", &token, &token).expect(401);
        c.s.validate(&token).expect(404);
    }
}

/// Services that finish a long operation see a login's token after its end, for a while.
#[test]
fn allow_expired_shows_a_login_until_its_window_ends() {
    let c = Cast::with("[token]\nexpiration = 60\nallow_expired_window = 100\n");
    let token = c.s.on("alice", &c.p);
    let revoked = c.s.on("alice", &c.p);
    about(&c.s, "DELETE", "?cascade=false", &revoked, &revoked).expect(204);
    let see = |token: &str, query: &str| {
        let admin = c.s.admin();
        let (get, head) =
            (about(&c.s, "GET", query, &admin, token), about(&c.s, "HEAD", query, &admin, token));
        assert_eq!(get.status, head.status);
        get.status
    };
    c.s.clock.advance(59 * SECOND);
    assert_eq!((see(&token, ""), see(&token, "?allow_expired=1")), (200, 200));
    c.s.clock.advance(SECOND);
    assert_eq!((see(&token, ""), see(&token, "?allow_expired=0")), (404, 404));
    for query in ["?allow_expired=1", "?allow_expired=true"] {
        assert_eq!(see(&token, query), 200, "{query}");
        assert_eq!(see(&revoked, query), 404, "{query}");
    }
    // It is shown, and does nothing.
    about(&c.s, "GET", "?allow_expired=1", &token, &token).expect(401);
    about(&c.s, "DELETE", "?allow_expired=1", &c.s.admin(), &token).expect(404);
    by_token(&c.s, &token, Value::Null).expect(404);
    c.s.clock.advance(100 * SECOND - 1);
    assert_eq!(see(&token, "?allow_expired=1"), 200);
    c.s.clock.advance(1);
    assert_eq!(see(&token, "?allow_expired=1"), 404);
}

/// What is of the wrong type is the client's fault, and the answer names it.
#[test]
fn a_wrong_type_at_any_level_of_auth_is_400_and_named() {
    let s = Server::start();
    let admin = json!({"methods": ["password"], "password": {"user": {
        "name": "admin", "domain": {"id": "default"}, "password": PASSWORD}}});
    let refused = |body: Value, field: &str| {
        let answer = s.call("POST", "/v3/auth/tokens", &[], Some(body.to_string().as_bytes()));
        assert_eq!(answer.status, 400, "{body}: {}", answer.text);
        let message = answer.body["error"]["message"].as_str().expect("a message");
        assert!(message.starts_with(&format!("{field}: ")), "{body}: {message}");
    };
    let not_objects = || [json!(null), json!(1), json!("x"), json!([]), json!(true)];
    refused(json!({}), "auth");
    for no in not_objects() {
        refused(json!({"auth": no}), "auth");
        refused(json!({"auth": {"identity": no}}), "auth.identity");
        let identity = |value: Value| json!({"auth": {"identity": value}});
        refused(identity(json!({"methods": ["password"], "password": no})), "auth.identity.password");
        let user = json!({"methods": ["password"], "password": {"user": no}});
        refused(identity(user), "auth.identity.password.user");
        refused(identity(json!({"methods": ["token"], "token": no})), "auth.identity.token");
        let domain = json!({"methods": ["password"], "password": {"user": {
            "name": "admin", "password": "x", "domain": no}}});
        refused(identity(domain), "auth.identity.password.user.domain");
        for kind in ["project", "domain", "system", "OS-TRUST:trust", "unscoped"] {
            let body = json!({"auth": {"identity": admin, "scope": {kind: no}}});
            refused(body, &format!("auth.scope.{kind}"));
        }
        let project = json!({"project": {"name": "admin", "domain": no}});
        refused(json!({"auth": {"identity": admin, "scope": project}}), "auth.scope.project.domain");
    }
    refused(json!({"auth": {}}), "auth.identity");
    for no in [json!(null), json!(1), json!("password"), json!({}), json!([1]), json!([null]), json!([["x"]])]
    {
        refused(json!({"auth": {"identity": {"methods": no}}}), "auth.identity.methods");
    }
    for no in [json!(1), json!([]), json!({}), json!(false)] {
        let named = |part: Value| json!({"auth": {"identity": {"methods": ["password"], "password": part}}});
        let user = "auth.identity.password.user";
        refused(named(json!({"user": {"id": "x", "password": no}})), &format!("{user}.password"));
        refused(named(json!({"user": {"id": no, "password": "x"}})), user);
        refused(named(json!({"user": {"name": no, "password": "x"}})), user);
        for key in ["id", "name"] {
            let body = json!({"user": {"name": "admin", "password": "x", "domain": {key: no}}});
            refused(named(body), &format!("{user}.domain"));
        }
        let token = json!({"auth": {"identity": {"methods": ["token"], "token": {"id": no}}}});
        refused(token, "auth.identity.token.id");
        let scoped = |scope: Value| json!({"auth": {"identity": admin, "scope": scope}});
        refused(scoped(no.clone()), "auth.scope");
        for key in ["id", "name"] {
            refused(scoped(json!({"project": {key: no}})), &format!("auth.scope.project.{key}"));
            refused(scoped(json!({"domain": {key: no}})), "auth.scope.domain");
            let project = json!({"project": {"name": "admin", "domain": {key: no}}});
            refused(scoped(project), "auth.scope.project.domain");
        }
        refused(scoped(json!({"system": {"all": no}})), "auth.scope.system.all");
        refused(scoped(json!({"OS-TRUST:trust": {"id": no}})), "auth.scope.OS-TRUST:trust.id");
    }
    for (scope, field) in [
        (json!("project"), "auth.scope"),
        (json!({"other": {}}), "auth.scope"),
        (json!({"project": {"id": "x"}, "domain": {"id": "x"}}), "auth.scope"),
        (json!({"project": {"id": "x"}, "OS-TRUST:trust": {"id": "x"}}), "auth.scope"),
        (json!({"project": {}}), "auth.scope.project"),
        (json!({"project": {"name": "x"}}), "auth.scope.project.domain"),
        (json!({"domain": {}}), "auth.scope.domain"),
        (json!({"system": {}}), "auth.scope.system.all"),
        (json!({"OS-TRUST:trust": {}}), "auth.scope.OS-TRUST:trust.id"),
    ] {
        refused(json!({"auth": {"identity": admin, "scope": scope}}), field);
    }
}

/// A place that nobody has is a login that fails, whatever its id looks like (fault B2).
#[test]
fn an_id_of_any_length_in_the_scope_is_401() {
    let s = Server::start();
    let admin = token(&s, &s.user_with("u", "default", "pw"), Value::Null);
    let user = s.sql_text("SELECT user_id FROM local_user WHERE name = 'u'", args![]).expect("the user");
    for length in [1, 64, 65, 255, 256, 640, 647, 648, 649, 2000, 65_536] {
        let id = "a".repeat(length);
        for scope in [on_project(&id), on_domain(&id), json!({"OS-TRUST:trust": {"id": id}})] {
            let by_password = s.auth(by_password(&user, "pw", scope.clone()));
            assert_eq!(by_password.status, 401, "{length} bytes: {}", by_password.text);
            let by_token = by_token(&s, &admin, scope);
            assert_eq!(by_token.status, 401, "{length} bytes: {}", by_token.text);
        }
    }
}
