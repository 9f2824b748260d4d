//! Application credentials and access rules: making them, logging in with them, and what their tokens may do.

use serde_json::{Value, json};
use vicar::auth::application_credential::audit_chain;
use vicar::clock::{SECOND, iso, iso_bare};

use crate::support::{Answer, Cast, START, Server, count, ids, names, on_project, one};

/// A path below a user.
fn of(user: &str, rest: &str) -> String {
    format!("/v3/users/{user}/{rest}")
}

impl Cast {
    /// Makes one for alice with a token.
    fn make_credential(&self, token: &str, with: Value) -> Answer {
        let path = of(&self.alice, "application_credentials");
        self.s.post(token, &path, json!({"application_credential": with}))
    }

    /// One of alice's on P; the whole object, with its secret.
    #[track_caller]
    fn credential(&self, with: Value) -> Value {
        let token = self.s.on("alice", &self.p);
        self.make_credential(&token, with).expect(201).body["application_credential"].take()
    }

    /// A login with one.
    fn log_in(&self, credential: &Value) -> Answer {
        self.s.auth(by_id(&credential["id"], &credential["secret"]))
    }

    /// Its token.
    #[track_caller]
    fn token_of(&self, credential: &Value) -> String {
        self.log_in(credential).expect(201).token()
    }
}

fn by_id(id: &Value, secret: &Value) -> Value {
    json!({"identity": {"methods": ["application_credential"],
        "application_credential": {"id": id, "secret": secret}}})
}

fn by(named: Value) -> Value {
    json!({"identity": {"methods": ["application_credential"], "application_credential": named}})
}

fn rule(method: &str, path: &str) -> Value {
    json!({"service": "identity", "method": method, "path": path})
}

/// How many rows there are, of a table and a condition.
fn left(s: &Server, table: &str) -> usize {
    count(s, &format!("SELECT 1 FROM {table}"), &[])
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

#[test]
fn one_is_made_shown_listed_and_deleted() {
    let c = Cast::new();
    let token = c.s.on("alice", &c.p);
    let made = c.credential(json!({"name": "one", "description": "for tests"}));
    assert_eq!(text(&made["secret"]).len(), 72);
    let mut shown = made.clone();
    shown.as_object_mut().expect("an object").remove("secret");
    let path = of(&c.alice, &format!("application_credentials/{}", text(&made["id"])));
    let link = format!("{}{path}", c.s.url);
    for (field, value) in [
        ("name", json!("one")),
        ("description", json!("for tests")),
        ("user_id", json!(c.alice)),
        ("project_id", json!(c.p)),
        ("system", json!(null)),
        ("expires_at", json!(null)),
        ("unrestricted", json!(null)),
        ("links", json!({"self": link})),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    assert!(shown.get("access_rules").is_none());
    assert_eq!(names(&shown, "roles"), ["heat_stack_owner", "member", "reader"]);
    let role = shown["roles"].as_array().expect("roles").iter().find(|r| r["name"] == "member");
    let role = role.expect("member").as_object().expect("an object");
    let mut fields: Vec<&String> = role.keys().collect();
    fields.sort();
    assert_eq!(fields, ["description", "domain_id", "id", "name", "options"]);

    assert_eq!(c.s.get(&token, &path).expect(200).body["application_credential"], shown);
    assert_eq!(c.s.head(&token, &path).expect(200).text, "");
    let all = of(&c.alice, "application_credentials");
    assert_eq!(c.s.get(&token, &all).expect(200).body["application_credentials"], json!([shown]));
    c.s.head(&token, &all).expect(200);
    let found =
        |query: &str| ids(&c.s.get(&token, &format!("{all}{query}")), "application_credentials").len();
    c.credential(json!({"name": "two"}));
    assert_eq!((found(""), found("?name=two"), found("?name=three")), (2, 1, 0));
    assert_eq!((found("?name__contains=t"), found("?limit=1")), (1, 1));

    c.s.delete(&token, &path).expect(204);
    assert_eq!(
        c.s.get(&token, &path).expect(404).body["error"]["message"],
        format!("Could not find Application Credential: {}.", text(&made["id"]))
    );
    c.s.delete(&token, &path).expect(404);
    assert_eq!(found(""), 1);
    for method in ["PATCH", "PUT", "POST"] {
        c.s.call(method, &path, &[("X-Auth-Token", &token)], Some(b"{}")).expect(405);
    }
}

#[test]
fn its_secret_is_shown_once_and_not_stored() {
    let c = Cast::new();
    let made = c.credential(json!({"name": "one"}));
    let given = c.credential(json!({"name": "two", "secret": "mine"}));
    assert_eq!(given["secret"], "mine");
    c.log_in(&given).expect(201);
    // Without one, or with an empty one, the server makes it.
    for secret in [json!(null), json!("")] {
        let own = c.credential(json!({"name": vicar::ids::uuid(), "secret": secret}));
        assert_eq!(text(&own["secret"]).len(), 72);
        c.log_in(&own).expect(201);
    }
    let stored =
        one(&c.s, "SELECT secret_hash FROM application_credential WHERE name = 'one'").expect("a hash");
    assert!(stored.starts_with("$2b$04$"), "{stored}");
    assert!(!made.to_string().contains(&stored));
    // What bcrypt would cut off is refused.
    c.credential(json!({"name": "72", "secret": "x".repeat(72)}));
    let token = c.s.on("alice", &c.p);
    let long = c.make_credential(&token, json!({"name": "73", "secret": "x".repeat(73)})).expect(400);
    assert!(text(&long.body["error"]["message"]).starts_with("secret: "), "{}", long.text);
}

#[test]
fn it_is_its_owners() {
    let c = Cast::new();
    let made = c.credential(json!({"name": "one", "access_rules": [rule("GET", "/v3/users")]}));
    let rule_id = text(&made["access_rules"][0]["id"]).to_owned();
    let (alice, admin) = (c.s.on("alice", &c.p), c.s.admin());
    c.s.grant(&c.bob, &c.p, "member");
    let bob = c.s.on("bob", &c.p);
    let system = json!({"system": {"all": true}});
    let system_admin = c.s.login("admin", crate::support::PASSWORD, system).expect(201).token();
    let system_reader = c.s.persona("reader", "default", json!({"system": {"all": true}}));
    let unscoped = c.s.unscoped("alice");
    c.s.assign("UserDomain", &c.alice, "default", "member", false);
    let scope = json!({"domain": {"id": "default"}});
    let on_domain = c.s.login("alice", "alice-pw", scope).expect(201).token();

    let all = of(&c.alice, "application_credentials");
    let one = format!("{all}/{}", text(&made["id"]));
    let none = format!("{all}/nothing");
    let rules = of(&c.alice, "access_rules");
    let a_rule = format!("{rules}/{rule_id}");
    let no_rule = format!("{rules}/nothing");
    let statuses =
        |token: &str| [&all, &one, &none, &rules, &a_rule, &no_rule].map(|path| c.s.get(token, path).status);
    assert_eq!(statuses(&alice), [200, 200, 404, 200, 200, 404]);
    assert_eq!(statuses(&unscoped), [200, 200, 404, 200, 200, 404]);
    assert_eq!(statuses(&on_domain), [403; 6]);
    assert_eq!(statuses(&bob), [403; 6]);
    // As in Keystone: access rules are for the system's.
    assert_eq!(statuses(&admin), [200, 200, 404, 403, 403, 403]);
    assert_eq!(statuses(&system_admin), [200, 200, 404, 200, 200, 404]);
    assert_eq!(statuses(&system_reader), [200, 200, 404, 200, 200, 404]);
    c.s.call("GET", &all, &[], None).expect(401);

    // The owner is that of the row, whatever user the path names.
    let theirs = of(&c.bob, &format!("application_credentials/{}", text(&made["id"])));
    c.s.get(&bob, &theirs).expect(403);
    c.s.delete(&bob, &theirs).expect(403);
    c.s.get(&alice, &theirs).expect(200);
    c.s.get(&admin, &theirs).expect(200);
    c.s.get(&bob, &of(&c.bob, &format!("access_rules/{rule_id}"))).expect(404);
    c.s.delete(&bob, &of(&c.bob, &format!("access_rules/{rule_id}"))).expect(404);

    let delete = |token: &str, path: &str| c.s.delete(token, path).status;
    for token in [&bob, &on_domain] {
        assert_eq!([&one, &none, &a_rule, &no_rule].map(|path| delete(token, path)), [403; 4]);
    }
    assert_eq!([&one, &none, &a_rule, &no_rule].map(|path| delete(&system_reader, path)), [403; 4]);
    assert_eq!([&none, &a_rule, &no_rule].map(|path| delete(&admin, path)), [404, 403, 403]);
    assert_eq!([&none, &no_rule].map(|path| delete(&system_admin, path)), [404, 404]);
    assert_eq!(delete(&system_admin, &a_rule), 403, "it is in use");
    assert_eq!(delete(&admin, &one), 204);
    assert_eq!(delete(&system_admin, &a_rule), 204);

    // Nobody makes one for somebody else, or without a project.
    for token in [&bob, &admin, &system_admin, &unscoped, &on_domain] {
        c.make_credential(token, json!({"name": "x"})).expect(403);
    }
    let nobody = of("nobody", "application_credentials");
    c.s.post(&admin, &nobody, json!({"application_credential": {"name": "x"}})).expect(403);
    c.s.get(&admin, &nobody).expect(200);
    // What is wrong with the body is told first, as in Keystone; without a token nothing is.
    c.make_credential(&bob, json!({})).expect(400);
    c.s.call("POST", &all, &[], Some(b"{}")).expect(401);
}

#[test]
fn what_is_wrong_with_a_body_is_named() {
    let c = Cast::new();
    let token = c.s.on("alice", &c.p);
    let later = iso(START + 60 * SECOND);
    for (with, field) in [
        (json!({}), "name"),
        (json!({"name": ""}), "name"),
        (json!({"name": "  "}), "name"),
        (json!({"name": "x".repeat(256)}), "name"),
        (json!({"name": 5}), "name"),
        (json!({"name": "a\u{0}b"}), "name"),
        (json!({"name": "x", "other": 1}), "other"),
        (json!({"name": "x", "user_id": c.alice}), "user_id"),
        (json!({"name": "x", "unrestricted": "true"}), "unrestricted"),
        (json!({"name": "x", "expires_at": 5}), "expires_at"),
        (json!({"name": "x", "expires_at": ""}), "expires_at"),
        (json!({"name": "x", "expires_at": "soon"}), "expires_at"),
        (json!({"name": "x", "expires_at": later.replace('Z', "+01:00")}), "expires_at"),
        (json!({"name": "x", "expires_at": iso(START)}), "expires_at"),
        (json!({"name": "x", "roles": null}), "roles"),
        (json!({"name": "x", "roles": [{"id": "a", "name": "b"}]}), "roles.0"),
        (json!({"name": "x", "access_rules": null}), "access_rules"),
        (json!({"name": "x", "access_rules": [{}]}), "access_rules.0"),
        (json!({"name": "x", "access_rules": [{"path": "/x"}]}), "access_rules.0"),
        (json!({"name": "x", "access_rules": [rule("get", "/x")]}), "access_rules.0.method"),
        (json!({"name": "x", "access_rules": [rule("FOO", "/x")]}), "access_rules.0.method"),
        (json!({"name": "x", "access_rules": [rule("GET", "x")]}), "access_rules.0.path"),
        (
            json!({"name": "x", "access_rules": [rule("GET", &format!("/{}", "x".repeat(128)))]}),
            "access_rules.0.path",
        ),
        (
            json!({"name": "x", "access_rules": [{"service": "a b", "method": "GET", "path": "/"}]}),
            "access_rules.0.service",
        ),
        (json!({"name": "x", "access_rules": vec![rule("GET", "/x"); 201]}), "access_rules"),
    ] {
        let refused = c.make_credential(&token, with.clone()).expect(400);
        assert!(text(&refused.body["error"]["message"]).contains(field), "{with}: {}", refused.text);
    }
    c.s.post(&token, &of(&c.alice, "application_credentials"), json!({})).expect(400);
    // What the server says itself is not looked at.
    let own = c.credential(json!({"name": "x", "id": "mine", "project_id": c.q, "system": "all"}));
    assert_ne!(own["id"], "mine");
    assert_eq!((&own["project_id"], &own["system"]), (&json!(c.p), &json!(null)));
    let taken = c.make_credential(&token, json!({"name": "x"})).expect(409);
    assert!(text(&taken.body["error"]["message"]).contains("Duplicate entry found with name x"));
    // The name is one of the user's, on whichever project.
    c.make_credential(&c.s.on("alice", &c.q), json!({"name": "x"})).expect(409);
    c.s.grant(&c.bob, &c.p, "member");
    let body = json!({"application_credential": {"name": "x"}});
    c.s.post(&c.s.on("bob", &c.p), &of(&c.bob, "application_credentials"), body).expect(201);
}

#[test]
fn its_roles_are_the_tokens_or_some_of_them() {
    let c = Cast::new();
    let token = c.s.on("alice", &c.p);
    let with = |roles: Value| c.make_credential(&token, json!({"name": vicar::ids::uuid(), "roles": roles}));
    let made = |roles: Value| names(&with(roles).expect(201).body["application_credential"], "roles");
    let (member, admin) = (c.s.role("member"), c.s.role("admin"));
    assert_eq!(made(json!([])), ["heat_stack_owner", "member", "reader"]);
    assert_eq!(made(json!([{"id": member}])), ["member", "reader"], "with what it implies");
    assert_eq!(made(json!([{"name": "reader"}, {"name": "reader"}])), ["reader"]);
    for unassigned in
        [json!([{"id": admin}]), json!([{"name": "reader"}, {"name": "admin"}]), json!([{"id": "x"}])]
    {
        let refused = with(unassigned).expect(400);
        assert!(text(&refused.body["error"]["message"]).contains("Invalid application credential"));
    }
    with(json!([{"name": "nothing"}])).expect(404);
    // A name that several roles have.
    let domain = c.s.domain("d");
    let admin = c.s.admin();
    for body in [json!({"name": "twice"}), json!({"name": "twice", "domain_id": domain})] {
        c.s.post(&admin, "/v3/roles", json!({"role": body})).expect(201);
    }
    with(json!([{"name": "twice"}])).expect(400);
}

#[test]
fn its_end_is_in_the_future_and_shown_as_keystone_shows_it() {
    let c = Cast::new();
    let end = START + 90 * SECOND + 7;
    for asked in [iso(end), iso_bare(end)] {
        let made = c.credential(json!({"name": vicar::ids::uuid(), "expires_at": asked}));
        assert_eq!(made["expires_at"], iso_bare(end));
        let login = c.log_in(&made).expect(201);
        assert_eq!(login.body["token"]["expires_at"], iso(START + 90 * SECOND), "no later than it");
        let token = login.token();
        c.s.validate(&token).expect(200);
        c.s.clock.advance(89 * SECOND);
        c.s.validate(&token).expect(200);
        c.log_in(&made).expect(201);
        c.s.clock.advance(SECOND + 7);
        c.s.validate(&token).expect(404);
        c.log_in(&made).expect(401);
        // It is still there to be seen.
        let path = of(&c.alice, &format!("application_credentials/{}", text(&made["id"])));
        c.s.get(&c.s.on("alice", &c.p), &path).expect(200);
        c.s.clock.advance(-(90 * SECOND + 7));
    }
}

#[test]
fn access_rules_are_the_users_and_shared() {
    let c = Cast::new();
    let token = c.s.on("alice", &c.p);
    let servers = json!({"service": "compute", "method": "GET", "path": "/v2.1/servers"});
    let first = c.credential(json!({"name": "1", "access_rules": [servers, rule("GET", "/v3/*")]}));
    let rules = first["access_rules"].as_array().expect("rules").clone();
    assert_eq!(rules.len(), 2);
    for (stored, asked) in rules.iter().zip([&servers, &rule("GET", "/v3/*")]) {
        for field in ["service", "method", "path"] {
            assert_eq!(stored[field], asked[field]);
        }
    }
    let of_credential = |with: Value| {
        let made = c.credential(json!({"name": vicar::ids::uuid(), "access_rules": with}));
        made.get("access_rules").cloned()
    };
    // The same again, twice, by its id, and by its id with something else beside it.
    let id = &rules[0]["id"];
    for same in [
        json!([servers]),
        json!([servers, servers]),
        json!([{"id": id}]),
        json!([{"id": id, "path": "/other", "method": "GET", "service": "compute"}]),
    ] {
        assert_eq!(of_credential(same), Some(json!([rules[0]])));
    }
    assert_eq!(of_credential(json!([])), None, "no rules are no limits, as in Keystone");
    // A new one may bring its id; one that is unknown must be whole.
    let mut own = servers.clone();
    own["id"] = json!("my-own");
    own["path"] = json!("/z");
    assert_eq!(of_credential(json!([own])), Some(json!([own])));
    let refused = |with: Value| c.make_credential(&token, json!({"name": "x", "access_rules": with})).status;
    assert_eq!(refused(json!([{"id": "unknown"}])), 404);
    // Of somebody else it is not there.
    c.s.grant(&c.bob, &c.p, "member");
    let bob = c.s.on("bob", &c.p);
    let body = json!({"application_credential": {"name": "b", "access_rules": [rule("GET", "/b")]}});
    let bobs = c.s.post(&bob, &of(&c.bob, "application_credentials"), body).expect(201);
    let bobs = bobs.body["application_credential"]["access_rules"][0].clone();
    assert_eq!(refused(json!([bobs])), 404);

    let all = of(&c.alice, "access_rules");
    let listed = |query: &str| ids(&c.s.get(&token, &format!("{all}{query}")).expect(200), "access_rules");
    assert_eq!(listed("").len(), 3);
    assert_eq!(listed("?path=/z"), ["my-own"]);
    assert_eq!(listed("?service=identity"), [text(&rules[1]["id"])]);
    assert_eq!(listed("?method=POST"), [] as [&str; 0]);
    assert_eq!(listed("?limit=1").len(), 1);
    let one = format!("{all}/my-own");
    let mut shown = c.s.get(&token, &one).expect(200).body["access_rule"].take();
    assert_eq!(shown["links"]["self"], format!("{}{one}", c.s.url));
    shown.as_object_mut().expect("an object").remove("links");
    assert_eq!(shown, own);
    c.s.head(&token, &one).expect(200);

    // One that is used stays; the others go, and stay until then.
    let used = c.s.delete(&token, &format!("{all}/{}", text(id))).expect(403);
    assert_eq!(used.body["error"]["message"], "May not delete access rule in use");
    for name in ids(&c.s.get(&token, &of(&c.alice, "application_credentials")), "application_credentials") {
        c.s.delete(&token, &of(&c.alice, &format!("application_credentials/{name}"))).expect(204);
    }
    assert_eq!(listed("").len(), 3);
    for id in listed("") {
        c.s.delete(&token, &format!("{all}/{id}")).expect(204);
        c.s.delete(&token, &format!("{all}/{id}")).expect(404);
    }
    assert_eq!(listed(""), [] as [&str; 0]);
}

#[test]
fn a_login_names_it_by_id_or_by_its_owner_and_name() {
    let c = Cast::new();
    let made = c.credential(json!({"name": "one", "roles": [{"name": "reader"}]}));
    let (credential, secret) = (&made["id"], &made["secret"]);
    for user in [
        json!({"id": c.alice}),
        json!({"name": "alice", "domain": {"id": "default"}}),
        json!({"name": "alice", "domain": {"name": "Default"}}),
    ] {
        c.s.auth(by(json!({"name": "one", "user": user, "secret": secret}))).expect(201);
    }
    // Its owner is stored.
    let owner = json!({"id": credential, "user": {"id": c.bob}, "secret": secret});
    let login = c.s.auth(by(owner)).expect(201);
    let token = &login.body["token"];
    assert_eq!(token["user"]["id"], c.alice);
    assert_eq!(token["methods"], json!(["application_credential"]));
    assert_eq!((&token["project"]["id"], &token["is_domain"]), (&json!(c.p), &json!(false)));
    assert_eq!(names(token, "roles"), ["reader"]);
    assert_eq!(token["application_credential"], json!({"id": credential, "name": "one", "restricted": true}));
    assert!(token["catalog"].is_array());
    let shown = c.s.validate(&login.token()).expect(200);
    assert_eq!(shown.body["token"]["application_credential"], token["application_credential"]);
    // Its tokens have one audit chain.
    assert_eq!(token["audit_ids"][1], audit_chain(text(credential)));

    let user = json!({"id": c.alice});
    for (named, status) in [
        (json!({"name": "one", "secret": secret}), 400),
        (json!({"name": "one", "user": {"name": "alice"}, "secret": secret}), 400),
        (json!({"name": "one", "user": {}, "secret": secret}), 400),
        (json!({"secret": secret}), 400),
        (json!({"id": 5, "secret": secret}), 400),
        (json!({"id": credential, "secret": 5}), 400),
        (json!({"id": credential}), 401),
        (json!({"id": credential, "secret": null}), 401),
        (json!({"id": credential, "secret": ""}), 401),
        (json!({"id": credential, "secret": "x"}), 401),
        (json!({"id": "x", "secret": secret}), 401),
        (json!({"name": "two", "user": user, "secret": secret}), 401),
        (json!({"name": "one", "user": {"id": c.bob}, "secret": secret}), 401),
        (json!({"name": "one", "user": {"id": "x"}, "secret": secret}), 401),
        (json!({"name": "one", "user": {"name": "x", "domain": {"id": "default"}}, "secret": secret}), 401),
        (json!({"name": "one", "user": {"name": "alice", "domain": {"id": "x"}}, "secret": secret}), 401),
    ] {
        let refused = c.s.auth(by(named.clone()));
        assert_eq!(refused.status, status, "{named}: {}", refused.text);
        if status == 401 {
            assert_eq!(
                refused.body["error"]["message"], "The request you have made requires authentication.",
                "{named}"
            );
        }
    }
    c.s.auth(json!({"identity": {"methods": ["application_credential"]}})).expect(400);
}

#[test]
fn its_scope_is_its_own() {
    let c = Cast::new();
    let made = c.credential(json!({"name": "one"}));
    for scope in
        [json!({"project": {"id": c.p}}), json!({"project": {"id": c.q}}), json!("unscoped"), json!({})]
    {
        for secret in [&made["secret"], &json!("wrong")] {
            let mut auth = by_id(&made["id"], secret);
            auth["scope"] = scope.clone();
            let refused = c.s.auth(auth).expect(401);
            assert!(text(&refused.body["error"]["message"]).contains("cannot request a scope"));
        }
    }
    // The default project of its owner is none of its business.
    let admin = c.s.admin();
    let default = json!({"user": {"default_project_id": c.q}});
    c.s.patch(&admin, &format!("/v3/users/{}", c.alice), default).expect(200);
    assert_eq!(c.log_in(&made).expect(201).body["token"]["project"]["id"], c.p);
}

#[test]
fn another_method_beside_it_proves_the_same_user() {
    let c = Cast::new();
    let made = c.credential(json!({"name": "one"}));
    let login = |method: &str, data: Value| {
        let mut auth = by_id(&made["id"], &made["secret"]);
        auth["identity"]["methods"].as_array_mut().expect("a list").push(json!(method));
        auth["identity"][method] = data;
        c.s.auth(auth)
    };
    let password = |user: &str, password: &str| json!({"user": {"id": user, "password": password}});
    let both = login("password", password(&c.alice, "alice-pw")).expect(201);
    assert_eq!(both.body["token"]["methods"], json!(["application_credential", "password"]));
    assert_eq!(both.body["token"]["application_credential"]["id"], made["id"]);
    login("password", password(&c.alice, "x")).expect(401);
    login("password", password(&c.bob, "bob-pw")).expect(401);
    let own = c.s.on("alice", &c.q);
    c.s.clock.advance(60 * SECOND);
    let token = login("token", json!({"id": own})).expect(201);
    assert_eq!(token.body["token"]["expires_at"], iso(START + 3600 * SECOND), "that of the token");
    assert_eq!(token.body["token"]["project"]["id"], c.p);
    login("token", json!({"id": c.s.unscoped("bob")})).expect(401);
    // A delegated token gets no other.
    login("token", json!({"id": both.token()})).expect(403);
    // The tokens of all of these end with it.
    let path = of(&c.alice, &format!("application_credentials/{}", text(&made["id"])));
    c.s.delete(&c.s.on("alice", &c.p), &path).expect(204);
    for token in [both.token(), token.token()] {
        c.s.validate(&token).expect(404);
    }
}

#[test]
fn it_gives_what_its_owner_still_holds() {
    let c = Cast::new();
    let made = c.credential(json!({"name": "one"}));
    let admin = c.s.admin();
    let grant = |role: &str| format!("/v3/projects/{}/users/{}/roles/{}", c.p, c.alice, c.s.role(role));
    let token = c.token_of(&made);
    c.s.delete(&admin, &grant("heat_stack_owner")).expect(204);
    // What it carried and is lost ends it for good; the next one carries the rest.
    c.s.validate(&token).expect(404);
    c.s.clock.advance(SECOND);
    let next = c.log_in(&made).expect(201);
    assert_eq!(names(&next.body["token"], "roles"), ["member", "reader"]);
    c.s.delete(&admin, &grant("member")).expect(204);
    c.s.validate(&next.token()).expect(404);
    c.log_in(&made).expect(401);
    c.s.put(&admin, &grant("member")).expect(204);
    c.s.validate(&next.token()).expect(404);
    c.s.clock.advance(SECOND);
    c.log_in(&made).expect(201);
    // What is given later is not its own.
    c.s.put(&admin, &grant("admin")).expect(204);
    assert_eq!(names(&c.log_in(&made).body["token"], "roles"), ["member", "reader"]);
}

#[test]
fn it_sleeps_while_its_owner_or_project_is_disabled() {
    let c = Cast::new();
    let made = c.credential(json!({"name": "one"}));
    let admin = c.s.admin();
    for (path, member) in [
        (format!("/v3/users/{}", c.alice), "user"),
        (format!("/v3/projects/{}", c.p), "project"),
        ("/v3/domains/default".to_owned(), "domain"),
    ] {
        let token = c.token_of(&made);
        let enable = |on: bool| c.s.patch(&admin, &path, json!({ member: {"enabled": on} }));
        if member == "domain" {
            // The administrator is in it too.
            c.s.sql_run("UPDATE project SET enabled = ? WHERE id = 'default'", vicar::args![false]);
            c.log_in(&made).expect(401);
            c.s.sql_run("UPDATE project SET enabled = ? WHERE id = 'default'", vicar::args![true]);
        } else {
            enable(false).expect(200);
            c.log_in(&made).expect(401);
            c.s.validate(&token).expect(404);
            enable(true).expect(200);
            c.s.validate(&token).expect(404);
        }
        c.s.clock.advance(SECOND);
        c.log_in(&made).expect(201);
    }
}

#[test]
fn its_tokens_end_with_it() {
    let c = Cast::new();
    let (made, other) = (c.credential(json!({"name": "one"})), c.credential(json!({"name": "two"})));
    let (token, others) = (c.token_of(&made), c.token_of(&other));
    c.s.get(&token, &of(&c.alice, "application_credentials")).expect(200);
    let path = of(&c.alice, &format!("application_credentials/{}", text(&made["id"])));
    c.s.delete(&c.s.on("alice", &c.p), &path).expect(204);
    c.s.validate(&token).expect(404);
    c.s.get(&token, &of(&c.alice, "application_credentials")).expect(401);
    c.log_in(&made).expect(401);
    c.s.validate(&others).expect(200);
    // A Keystone beside us that remembers the credential is told by an event.
    let chain = audit_chain(text(&made["id"]));
    let events = c.s.get(&c.s.admin(), "/v3/OS-REVOKE/events").expect(200);
    let told = events.body["events"].as_array().expect("events").iter().any(|e| e["audit_chain_id"] == chain);
    assert!(told, "{}", events.text);
    let orphans = "application_credential_role WHERE application_credential_id NOT IN
        (SELECT internal_id FROM application_credential)";
    assert_eq!(left(&c.s, orphans), 0);
}

#[test]
fn what_its_tokens_may_do_here() {
    let c = Cast::new();
    let restricted = c.credential(json!({"name": "r", "unrestricted": false}));
    let unrestricted = c.credential(json!({"name": "u", "unrestricted": true}));
    let victims: Vec<Value> = (0..2).map(|n| c.credential(json!({"name": format!("v{n}")}))).collect();
    for ((credential, makes), victim) in [(&restricted, 403), (&unrestricted, 201)].into_iter().zip(&victims)
    {
        let login = c.log_in(credential).expect(201);
        assert_eq!(login.body["token"]["application_credential"]["restricted"], makes == 403);
        let token = login.token();
        c.s.get(&token, &of(&c.alice, "application_credentials")).expect(200);
        c.s.get(&token, &of(&c.alice, &format!("application_credentials/{}", text(&credential["id"]))))
            .expect(200);
        c.s.get(&token, &of(&c.alice, "access_rules")).expect(200);
        c.s.delete(&token, &of(&c.alice, "access_rules/nothing")).expect(404);
        // A rule goes only when no credential has it: so nothing is taken from any.
        let ruled =
            c.credential(json!({"name": format!("ruled-{makes}"), "access_rules": [rule("GET", "/x")]}));
        let unused = of(&c.alice, &format!("access_rules/{}", text(&ruled["access_rules"][0]["id"])));
        c.s.delete(&token, &unused).expect(403);
        let path = of(&c.alice, &format!("application_credentials/{}", text(&ruled["id"])));
        c.s.delete(&c.s.on("alice", &c.p), &path).expect(204);
        c.s.delete(&token, &unused).expect(204);
        c.make_credential(&token, json!({"name": format!("below-{makes}")})).expect(makes);
        let path = of(&c.alice, &format!("application_credentials/{}", text(&victim["id"])));
        c.s.delete(&token, &path).expect(if makes == 201 { 204 } else { 403 });
        // Whether there is one, a restricted one does not learn by deleting.
        let none = of(&c.alice, "application_credentials/nothing");
        c.s.delete(&token, &none).expect(if makes == 201 { 404 } else { 403 });
        // No other delegations, no other tokens, no password.
        c.s.post(&token, "/v3/OS-TRUST/trusts", c.ask(json!({}))).expect(403);
        c.s.get(&token, "/v3/OS-TRUST/trusts").expect(403);
        c.keypair(&token, &c.alice, json!({})).expect(403);
        assert_eq!(c.s.get(&token, "/v3/credentials").expect(200).body["credentials"], json!([]));
        let again = json!({"identity": {"methods": ["token"], "token": {"id": token}}, "scope": {"project": {"id": c.p}}});
        c.s.auth(again).expect(403);
        let password = json!({"user": {"original_password": "alice-pw", "password": "another"}});
        c.s.post(&token, &of(&c.alice, "password"), password).expect(403);
        c.s.delete(&token, &of(&c.alice, "tokens")).expect(403);
        // Itself it may see and end.
        let headers = [("X-Auth-Token", token.as_str()), ("X-Subject-Token", token.as_str())];
        c.s.call("GET", "/v3/auth/tokens", &headers, None).expect(200);
        c.s.call("DELETE", "/v3/auth/tokens", &headers, None).expect(204);
        c.s.validate(&token).expect(404);
    }
}

#[test]
fn no_other_delegated_token_has_a_part_in_them() {
    let c = Cast::new();
    let made = c.credential(json!({"name": "one"}));
    let trust = c.trust(json!({}));
    let token = c.s.consume("bob", &trust).expect(201).token();
    let keypair = c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201);
    let exchanged = c.exchange(c.signed(&keypair.body["credential"])).expect(200).token();
    let all = of(&c.alice, "application_credentials");
    let one = format!("{all}/{}", text(&made["id"]));
    let rules = of(&c.alice, "access_rules");
    for token in [token, exchanged] {
        for path in [&all, &one, &rules, &format!("{rules}/x")] {
            c.s.get(&token, path).expect(403);
        }
        c.make_credential(&token, json!({"name": "two"})).expect(403);
        c.s.delete(&token, &one).expect(403);
        c.s.delete(&token, &format!("{rules}/x")).expect(403);
    }
}

#[test]
fn what_it_makes_is_never_more_than_itself() {
    let c = Cast::new();
    let end = START + 600 * SECOND;
    let rules = json!([rule("POST", "/v3/users/*/application_credentials"), rule("GET", "/v3/**")]);
    let parent = c.credential(json!({
        "name": "parent", "unrestricted": true, "roles": [{"name": "member"}], "expires_at": iso(end),
        "access_rules": rules,
    }));
    let token = c.token_of(&parent);
    let below = |with: Value| {
        let mut with = with;
        with["name"] = json!(vicar::ids::uuid());
        c.make_credential(&token, with)
    };
    // Whatever is not said is the parent's.
    let child = below(json!({"unrestricted": true})).expect(201).body["application_credential"].take();
    assert_eq!(names(&child, "roles"), ["member", "reader"]);
    assert_eq!(child["expires_at"], iso_bare(end));
    assert_eq!(child["access_rules"], parent["access_rules"]);
    below(json!({"access_rules": []})).expect(201);
    below(json!({"expires_at": iso(end), "roles": [{"name": "reader"}]})).expect(201);
    below(json!({"access_rules": [rule("GET", "/v3/users"), rule("GET", "/v3/**")]})).expect(201);
    for (more, status) in [
        (json!({"roles": [{"name": "heat_stack_owner"}]}), 400),
        (json!({"expires_at": iso(end + 1)}), 403),
        (json!({"access_rules": [rule("DELETE", "/v3/users")]}), 403),
        (json!({"access_rules": [rule("GET", "/**")]}), 403),
        (json!({"access_rules": [{"service": "compute", "method": "GET", "path": "/v3/x"}]}), 403),
    ] {
        below(more).expect(status);
    }
    // And so on below.
    let token = c.token_of(&child);
    let wide = json!({"name": "wide", "access_rules": [rule("GET", "/**")]});
    c.make_credential(&token, wide).expect(403);
    let grandchild = c.make_credential(&token, json!({"name": "last"})).expect(201);
    let grandchild = grandchild.body["application_credential"].clone();
    assert_eq!(grandchild["access_rules"], parent["access_rules"]);
    c.make_credential(&c.token_of(&grandchild), json!({"name": "more"})).expect(403);
}

#[test]
fn access_rules_hold_on_this_server_too() {
    let c = Cast::new();
    let all = of(&c.alice, "application_credentials");
    let made = c.credential(json!({"name": "one", "unrestricted": true, "access_rules": [
        rule("GET", "/v3/users/{user_id}/application_credentials"),
        {"service": "compute", "method": "GET", "path": "/**"},
    ]}));
    let login = c.log_in(&made).expect(201);
    assert_eq!(login.body["token"]["application_credential"]["access_rules"], made["access_rules"]);
    let token = login.token();
    c.s.get(&token, &all).expect(200);
    // Another method, another path, a longer one; what compute may do is none of ours.
    c.s.head(&token, &all).expect(401);
    c.make_credential(&token, json!({"name": "two"})).expect(401);
    c.s.get(&token, &format!("{all}/{}", text(&made["id"]))).expect(401);
    for path in ["/v3/auth/projects", "/v3/auth/catalog", "/v3/users"] {
        c.s.get(&token, path).expect(401);
    }
    // Tokens are shown to those only who say that they enforce the rules.
    let headers = [("X-Auth-Token", token.as_str()), ("X-Subject-Token", token.as_str())];
    c.s.call("GET", "/v3/auth/tokens", &headers, None).expect(404);
    let with = |version| [headers[0], headers[1], ("OpenStack-Identity-Access-Rules", version)];
    let shown = c.s.call("GET", "/v3/auth/tokens", &with("1.0"), None).expect(200);
    assert_eq!(shown.body["token"]["application_credential"]["access_rules"], made["access_rules"]);
    for version in ["0.9", "x"] {
        c.s.call("GET", "/v3/auth/tokens", &with(version), None).expect(404);
    }
    c.s.call("DELETE", "/v3/auth/tokens", &headers, None).expect(401);
    c.s.validate(&token).expect(404);
    // A service may go on for it, with a token of its own that has the role.
    let svc = c.svc();
    let beside = |service: &str| {
        let headers = [("X-Auth-Token", token.as_str()), ("X-Service-Token", service)];
        c.s.call("GET", "/v3/auth/projects", &headers, None).status
    };
    assert_eq!(beside(&svc), 200);
    for other in [&c.s.on("alice", &c.p), &token, "nothing", ""] {
        assert_eq!(beside(other), 401);
    }
}

#[test]
fn access_rules_are_compared_with_the_path_that_clients_ask_for() {
    let s = Server::with("[DEFAULT]\npublic_endpoint = https://cloud.example/identity\n");
    let (alice, p) = (s.user("alice"), s.project("P"));
    s.grant(&alice, &p, "member");
    let all = of(&alice, "application_credentials");
    for (path, status) in
        [("/v3/auth/projects", 200), ("/identity/v3/auth/projects", 200), ("/other/v3/auth/projects", 401)]
    {
        let body = json!({"application_credential": {"name": path, "access_rules": [rule("GET", path)]}});
        let made = s.post(&s.on("alice", &p), &all, body).expect(201).body["application_credential"].take();
        let token = s.auth(by_id(&made["id"], &made["secret"])).expect(201).token();
        assert_eq!(s.get(&token, "/v3/auth/projects").status, status, "{path}");
    }
}

#[test]
fn a_header_does_not_say_which_path_access_rules_are_about() {
    let s = Server::with("[oslo_middleware]\nenable_proxy_headers_parsing = true\n");
    let (alice, p) = (s.user("alice"), s.project("P"));
    s.grant(&alice, &p, "member");
    let endpoints = s.get(&s.admin(), "/v3/endpoints").expect(200).body["endpoints"].take();
    let endpoint = format!("/v3/endpoints/{}", text(&endpoints[0]["id"]));
    let url = json!({"endpoint": {"url": "http://cloud.example/below/v3"}});
    s.patch(&s.admin(), &endpoint, url).expect(200);
    let rules = json!([rule("GET", "/v3/projects/**"), rule("GET", "/below/v3/auth/projects")]);
    let body = json!({"application_credential": {"name": "one", "access_rules": rules}});
    let made = s.post(&s.on("alice", &p), &of(&alice, "application_credentials"), body).expect(201);
    let made = &made.body["application_credential"];
    let token = s.auth(by_id(&made["id"], &made["secret"])).expect(201).token();
    let own = format!("/v3/users/{alice}");
    for prefix in ["/v3/projects", "/below"] {
        let headers = [("X-Auth-Token", token.as_str()), ("X-Forwarded-Prefix", prefix)];
        s.call("GET", &own, &headers, None).expect(401);
    }
    // What the catalog says is what clients ask for.
    s.get(&token, "/v3/auth/projects").expect(200);
}

#[test]
fn many_rules_and_a_long_path_are_refused_in_no_time() {
    let c = Cast::new();
    let hostile: Vec<Value> =
        (0..200).map(|n| rule("GET", &format!("/v3/projects/{n:03}{}", "*a".repeat(50)))).collect();
    let made = c.credential(json!({"name": "one", "access_rules": hostile}));
    let token = c.log_in(&made).expect(201).token();
    c.s.get(&token, &format!("/v3/projects/{}", "a".repeat(2_000))).expect(401);
}

#[test]
fn a_user_has_no_more_of_them_than_is_configured() {
    let c = Cast::with("[application_credential]\nuser_limit = 2\n");
    c.credential(json!({"name": "1"}));
    let second = c.credential(json!({"name": "2"}));
    let token = c.s.on("alice", &c.p);
    let refused = c.make_credential(&token, json!({"name": "3"})).expect(403);
    assert_eq!(
        refused.body["error"]["message"],
        "Unable to create additional application credentials, maximum of 2 already exceeded for user."
    );
    c.s.delete(&token, &of(&c.alice, &format!("application_credentials/{}", text(&second["id"]))))
        .expect(204);
    c.credential(json!({"name": "3"}));
    let none = Cast::with("[application_credential]\nuser_limit = 0\n");
    none.make_credential(&none.s.on("alice", &none.p), json!({"name": "1"})).expect(403);
    let ceiling = Cast::with("[delegation]\nmax_credentials_per_user = 2\n");
    let token = ceiling.s.on("alice", &ceiling.p);
    let rules = json!([rule("GET", "/1"), rule("GET", "/2"), rule("GET", "/3")]);
    ceiling.make_credential(&token, json!({"name": "1", "access_rules": rules})).expect(403);
    let two = json!([rule("GET", "/1"), rule("GET", "/2")]);
    ceiling.make_credential(&token, json!({"name": "1", "access_rules": two})).expect(201);
    ceiling.make_credential(&token, json!({"name": "2", "access_rules": two})).expect(201);
    ceiling.make_credential(&token, json!({"name": "3"})).expect(403);
}

#[test]
fn the_method_must_be_configured() {
    let c = Cast::with("[auth]\nmethods = password,token\n");
    let made = c.credential(json!({"name": "one"}));
    let refused = c.log_in(&made).expect(401);
    assert_eq!(refused.body["error"]["message"], "Attempted to authenticate with an unsupported method.");
}

#[test]
fn its_owner_sees_it_among_their_delegations() {
    let c = Cast::new();
    let made = c.credential(
        json!({"name": "one", "expires_at": iso(START + 60 * SECOND), "roles": [{"name": "reader"}]}),
    );
    let shown = || {
        let path = of(&c.alice, "delegations");
        let all = c.s.get(&c.s.on("alice", &c.q), &path).expect(200);
        all.body["delegations"]["application_credentials"][0].clone()
    };
    let live = shown();
    assert_eq!(live["id"], made["id"]);
    assert_eq!((&live["name"], &live["project_id"]), (&json!("one"), &json!(c.p)));
    assert_eq!(live["expires_at"], iso(START + 60 * SECOND));
    assert_eq!(live["roles"], json!([{"id": c.s.role("reader")}]));
    assert_eq!((&live["state"], &live["unrestricted"]), (&json!("live"), &json!(false)));
    let admin = c.s.admin();
    for role in ["member", "heat_stack_owner"] {
        let grant = format!("/v3/projects/{}/users/{}/roles/{}", c.p, c.alice, c.s.role(role));
        c.s.delete(&admin, &grant).expect(204);
    }
    c.s.clock.advance(SECOND);
    assert_eq!(shown()["state"], "suspended");
    assert_eq!(shown()["reason"], format!("role {} is not held", c.s.role("reader")));
    c.s.clock.advance(60 * SECOND);
    assert_eq!(shown()["state"], "expired");
}

#[test]
fn nothing_of_it_is_left_when_what_it_rests_on_is_deleted() {
    for gone in ["user", "project", "role"] {
        let c = Cast::new();
        let with = json!({"name": "one", "access_rules": [rule("GET", "/v3/**")], "roles": [{"name": "heat_stack_owner"}]});
        let (made, other) =
            (c.credential(with), c.credential(json!({"name": "two", "roles": [{"name": "member"}]})));
        let (token, others) = (c.token_of(&made), c.token_of(&other));
        let path = match gone {
            "user" => format!("/v3/users/{}", c.alice),
            "project" => format!("/v3/projects/{}", c.p),
            _ => format!("/v3/roles/{}", c.s.role("heat_stack_owner")),
        };
        c.s.delete(&c.s.admin(), &path).expect(204);
        c.log_in(&made).expect(401);
        let headers = [("X-Subject-Token", token.as_str()), ("OpenStack-Identity-Access-Rules", "1")];
        let admin = c.s.admin();
        let asked = [("X-Auth-Token", admin.as_str()), headers[0], headers[1]];
        c.s.call("GET", "/v3/auth/tokens", &asked, None).expect(404);
        // Those that do not carry the role lost nothing.
        assert_eq!(left(&c.s, "application_credential"), usize::from(gone == "role"), "{gone}");
        assert_eq!(c.s.validate(&others).status, if gone == "role" { 200 } else { 404 });
        assert_eq!(left(&c.s, "application_credential_access_rule"), 0);
        assert_eq!(left(&c.s, "access_rule"), usize::from(gone != "user"));
    }
}

#[test]
fn policies_know_it() {
    let c = Cast::new();
    let made = c.credential(json!({"name": "one"}));
    let rules = [
        ("identity:get_application_credential", "token.application_credential.restricted:True or rule:owner"),
        ("identity:delete_application_credential", "role:admin"),
    ];
    let s = c.s.replica_with_rules(&rules, |_| {});
    let path = of(&c.alice, &format!("application_credentials/{}", text(&made["id"])));
    let stranger = on_project(&s, "stranger", "member", &c.q);
    s.get(&stranger, &path).expect(403);
    s.get(&c.token_of(&made), &path).expect(200);
    s.delete(&c.s.on("alice", &c.p), &path).expect(403);
}
