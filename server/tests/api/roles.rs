//! Roles and implied roles.

use serde_json::{Value, json};
use vicar::args;

use crate::support::scope::{on_domain, on_project, on_system};
use crate::support::{Answer, Cast, Server};

fn make(s: &Server, role: Value) -> Answer {
    s.post(&s.admin(), "/v3/roles", json!({"role": role}))
}

/// The id of a new role.
#[track_caller]
fn id_of(s: &Server, role: Value) -> String {
    make(s, role).expect(201).body["role"]["id"].as_str().expect("an id").to_owned()
}

fn names(answer: &Answer) -> Vec<&str> {
    let roles = answer.body["roles"].as_array().expect("roles");
    roles.iter().map(|r| r["name"].as_str().expect("a name")).collect()
}

fn implies(prior: &str, implied: &str) -> String {
    format!("/v3/roles/{prior}/implies/{implied}")
}

#[test]
fn a_role_is_made_shown_changed_and_deleted() {
    let s = Server::start();
    let admin = s.admin();
    let asked =
        json!({"name": "operator", "id": "mine", "links": 1, "colour": "red", "a": {"b": [1]}, "x-y": 1});
    let made = make(&s, asked).expect(201).body["role"].clone();
    let id = made["id"].as_str().expect("an id").to_owned();
    let path = format!("/v3/roles/{id}");
    assert_ne!(id, "mine");
    let whole = json!({
        "id": id, "name": "operator", "domain_id": null, "description": null, "options": {},
        "colour": "red", "a": {"b": [1]}, "x_y": 1, "links": {"self": format!("{}{path}", s.url)},
    });
    assert_eq!(made, whole);
    assert_eq!(s.get(&admin, &path).expect(200).body["role"], whole);
    assert_eq!(s.head(&admin, &path).expect(200).text, "");

    let change = json!({"role": {"name": "op", "description": "d", "colour": null, "id": id}});
    let changed = s.patch(&admin, &path, change).expect(200).body["role"].clone();
    assert_eq!(
        (&changed["name"], &changed["description"], &changed["colour"], &changed["a"]),
        (&json!("op"), &json!("d"), &json!(null), &json!({"b": [1]}))
    );
    assert_eq!(s.get(&admin, &path).expect(200).body["role"], changed);

    // A name is unique among the global roles, and in each domain.
    make(&s, json!({"name": "op"})).expect(409);
    let other = id_of(&s, json!({"name": "other"}));
    s.patch(&admin, &format!("/v3/roles/{other}"), json!({"role": {"name": "op"}})).expect(409);
    let domain = s.domain("d");
    let own = json!({"name": "op", "domain_id": domain});
    assert_eq!(make(&s, own.clone()).expect(201).body["role"]["domain_id"], domain.as_str());
    make(&s, own).expect(409);

    let list = |query: &str| s.get(&admin, &format!("/v3/roles{query}")).expect(200);
    assert_eq!(names(&list("")), ["admin", "manager", "member", "op", "other", "reader", "service"]);
    assert_eq!(names(&list("?name=op")), ["op"]);
    assert_eq!(names(&list("?name__contains=e&name__endswith=r")), ["manager", "member", "other", "reader"]);
    assert_eq!(names(&list(&format!("?domain_id={domain}"))), ["op"]);
    assert_eq!(names(&list("?domain_id=unknown")), [""; 0]);
    let page = list("?limit=2");
    assert_eq!(names(&page), ["admin", "manager"]);
    let next = page.body["links"]["next"].as_str().expect("a link").strip_prefix(&s.url).expect("ours");
    assert_eq!(names(&s.get(&admin, next).expect(200)), ["member", "op"]);

    s.delete(&admin, &path).expect(204);
    for answer in [s.get(&admin, &path), s.delete(&admin, &path)] {
        answer.expect(404);
    }
}

#[test]
fn an_immutable_role_must_be_unlocked_first() {
    let s = Server::start();
    let admin = s.admin();
    let id = id_of(&s, json!({"name": "fixed", "options": {"immutable": true}}));
    let path = format!("/v3/roles/{id}");
    let patch = |role: Value| s.patch(&admin, &path, json!({"role": role}));
    s.delete(&admin, &path).expect(403);
    for change in [
        json!({"name": "free"}),
        json!({"options": {}}),
        json!({"options": {"immutable": true}}),
        json!({"name": "free", "options": {"immutable": false}}),
    ] {
        patch(change).expect(403);
    }
    let unlocked = patch(json!({"options": {"immutable": false}})).expect(200);
    assert_eq!(unlocked.body["role"]["options"], json!({"immutable": false}));
    assert_eq!(
        patch(json!({"name": "free"})).expect(200).body["role"]["options"],
        json!({"immutable": false})
    );
    patch(json!({"options": {"immutable": true}})).expect(200);
    assert_eq!(patch(json!({"options": {"immutable": null}})).expect(200).body["role"]["options"], json!({}));
    s.delete(&admin, &path).expect(204);
    // The roles that come with the server are such.
    s.delete(&admin, &format!("/v3/roles/{}", s.role("reader"))).expect(403);
}

#[test]
fn a_bad_role_is_refused_by_the_name_of_its_field() {
    let s = Server::start();
    let admin = s.admin();
    let id = id_of(&s, json!({"name": "plain"}));
    let long = "x".repeat(256);
    for (field, value) in [
        ("name", json!("")),
        ("name", json!(" ")),
        ("name", json!(null)),
        ("name", json!(5)),
        ("name", json!(long)),
        ("description", json!(5)),
        ("description", json!(long)),
        ("options", json!(null)),
        ("options", json!({"immutable": "true"})),
        ("options", json!({"mutable": true})),
        ("domain_id", json!("a_b")),
        ("domain_id", json!(5)),
    ] {
        let mut role = json!({"name": "new"});
        role[field] = value.clone();
        let refused = make(&s, role).expect(400);
        assert!(refused.text.contains(field), "{field} {value}: {}", refused.text);
        let change = json!({"role": {field: value}});
        let refused = s.patch(&admin, &format!("/v3/roles/{id}"), change).expect(400);
        assert!(refused.text.contains(field), "{field} {value}: {}", refused.text);
    }
    make(&s, json!({})).expect(400);
    make(&s, json!([])).expect(400);
    s.post(&admin, "/v3/roles", json!({})).expect(400);
    for change in [json!({}), json!({"id": "other"}), json!({"domain_id": "default"})] {
        s.patch(&admin, &format!("/v3/roles/{id}"), json!({"role": change})).expect(400);
    }
    s.patch(&admin, &format!("/v3/roles/{id}"), json!({"role": {"domain_id": null}})).expect(200);
    for query in ["name=", "domain_id=", "domain_id=a_b", "limit=0", "limit=x"] {
        s.get(&admin, &format!("/v3/roles?{query}")).expect(400);
    }
}

#[test]
fn who_may_see_and_change_roles() {
    let s = Server::start();
    let domain = s.domain("d");
    let project = s.project_below("p", &domain, None);
    let plain = id_of(&s, json!({"name": "plain"}));
    let own = id_of(&s, json!({"name": "own", "domain_id": domain}));
    let member = s.role("member");
    let on = |role: &str, scope: Value| s.persona(role, &domain, scope);
    // Token; list, get of a global role, of `member`, of the domain's role; may change anything?
    for (who, token, list, get, get_member, get_own, changes) in [
        ("system admin", on("admin", on_system()), 200, 200, 200, 200, true),
        ("system reader", on("reader", on_system()), 200, 200, 200, 200, false),
        ("domain admin", on("admin", on_domain(&domain)), 200, 200, 200, 403, false),
        ("domain manager", on("manager", on_domain(&domain)), 200, 403, 200, 403, false),
        ("domain reader", on("reader", on_domain(&domain)), 403, 403, 403, 403, false),
        ("project admin", on("admin", on_project(&project)), 200, 200, 200, 200, true),
        ("project manager", on("manager", on_project(&project)), 403, 403, 200, 403, false),
        ("project member", on("member", on_project(&project)), 403, 403, 403, 403, false),
    ] {
        let path = |id: &str| format!("/v3/roles/{id}");
        assert_eq!(s.get(&token, "/v3/roles").status, list, "{who}");
        for (id, status) in [(&plain, get), (&member, get_member), (&own, get_own)] {
            assert_eq!(s.get(&token, &path(id)).status, status, "{who}");
        }
        assert_eq!(s.get(&token, &format!("/v3/roles?domain_id={domain}")).status, get_own, "{who}");
        let status = |yes: u16| if changes { yes } else { 403 };
        for of in [json!(null), json!(domain)] {
            let role = json!({"role": {"name": who, "domain_id": of}});
            let made = s.post(&token, "/v3/roles", role).expect(status(201));
            if let Some(id) = made.body["role"]["id"].as_str() {
                s.delete(&token, &path(id)).expect(204);
            }
        }
        for id in [&plain, &own] {
            s.patch(&token, &path(id), json!({"role": {"description": who}})).expect(status(200));
        }
        assert_eq!(s.put(&token, &implies(&own, &plain)).status, status(201), "{who}");
        let read = if get_own == 200 { 200 } else { 403 };
        for path in [format!("/v3/roles/{plain}/implies"), "/v3/role_inferences".to_owned()] {
            assert_eq!(s.get(&token, &path).status, read, "{who} {path}");
        }
        assert_eq!(s.delete(&token, &implies(&own, &plain)).status, status(204), "{who}");
        // What is not there is 404 for anybody with a token.
        for answer in [s.get(&token, &path("unknown")), s.delete(&token, &path("unknown"))] {
            answer.expect(404);
        }
    }
    s.call("GET", "/v3/roles", &[], None).expect(401);
}

#[test]
fn implications_are_made_shown_and_ended() {
    let s = Server::with("[assignment]\nprohibited_implied_role = admin, crown\n");
    let admin = s.admin();
    let domain = s.domain("d");
    let [a, b, crown] = ["a", "b", "crown"].map(|n| id_of(&s, json!({"name": n})));
    let own = id_of(&s, json!({"name": "own", "domain_id": domain}));
    let brief = |id: &str, name: &str| json!({"id": id, "name": name, "links": {"self": format!("{}/v3/roles/{id}", s.url)}});
    let path = implies(&a, &b);
    let whole = json!({
        "role_inference": {"prior_role": brief(&a, "a"), "implies": brief(&b, "b")},
        "links": {"self": format!("{}{path}", s.url)},
    });
    s.get(&admin, &path).expect(404);
    assert_eq!(s.put(&admin, &path).expect(201).body, whole);
    s.put(&admin, &path).expect(409);
    assert_eq!(s.get(&admin, &path).expect(200).body, whole);
    s.head(&admin, &path).expect(204);
    assert_eq!(
        s.get(&admin, &format!("/v3/roles/{a}/implies")).expect(200).body,
        json!({
            "role_inference": {"prior_role": brief(&a, "a"), "implies": [brief(&b, "b")]},
            "links": {"self": format!("{}/v3/roles/{a}/implies", s.url)},
        })
    );
    let all = s.get(&admin, "/v3/role_inferences").expect(200).body;
    let one = json!({"prior_role": brief(&a, "a"), "implies": [brief(&b, "b")]});
    assert!(all["role_inferences"].as_array().expect("a list").contains(&one), "{all}");

    for forbidden in [&crown, &s.role("admin"), &own] {
        s.put(&admin, &implies(&a, forbidden)).expect(403);
    }
    s.put(&admin, &implies(&own, &a)).expect(201);
    for missing in [implies("unknown", &b), implies(&a, "unknown")] {
        for method in ["GET", "HEAD", "PUT", "DELETE"] {
            s.call(method, &missing, &[("X-Auth-Token", &admin)], None).expect(404);
        }
    }
    // A circle is possible and harms nobody.
    s.put(&admin, &implies(&b, &a)).expect(201);
    s.put(&admin, &implies(&b, &b)).expect(201);
    let (user, project) = (s.user("u"), s.project("p"));
    s.grant(&user, &project, "a");
    let login = s.login("u", "u-pw", on_project(&project)).expect(201);
    assert_eq!(login.body["token"]["roles"].as_array().expect("roles").len(), 2);

    s.delete(&admin, &path).expect(204);
    s.delete(&admin, &path).expect(404);
    s.head(&admin, &path).expect(404);
}

#[test]
fn an_implication_that_ends_takes_the_tokens_of_trusts_with_it() {
    let c = Cast::new();
    let admin = c.s.admin();
    let path = implies(&c.s.role("heat_stack_owner"), &id_of(&c.s, json!({"name": "viewer"})));
    c.s.put(&admin, &path).expect(201);
    let trust = c.trust(json!({"roles": [{"name": "viewer"}]}));
    let token = c.s.consume("bob", &trust).expect(201).token();
    c.s.validate(&token).expect(200);
    c.s.delete(&admin, &path).expect(204);
    c.s.consume("bob", &trust).expect(401);
    c.s.clock.advance(1_000_000);
    c.s.put(&admin, &path).expect(201);
    // The trust lives again, what was taken does not.
    c.s.validate(&token).expect(404);
    c.s.consume("bob", &trust).expect(201);
}

#[test]
fn a_deleted_role_is_gone_everywhere() {
    let c = Cast::new();
    let admin = c.s.admin();
    let role = c.s.role("heat_stack_owner");
    let group = c.s.group("g", "default", &[&c.carol]);
    for path in [
        format!("/v3/domains/default/groups/{group}/roles/{role}"),
        format!("/v3/system/users/{}/roles/{role}", c.dave),
        format!("/v3/OS-INHERIT/domains/default/users/{}/roles/{role}/inherited_to_projects", c.bob),
        implies(&role, &c.s.role("reader")),
        implies(&c.s.role("manager"), &role),
    ] {
        assert!([201, 204].contains(&c.s.put(&admin, &path).status), "{path}");
    }
    for (n, name, holds) in [(1, "with", role.as_str()), (2, "without", &c.s.role("member"))] {
        c.s.sql_run(
            "INSERT INTO application_credential (internal_id, id, name, secret_hash, user_id, project_id)
             VALUES (?, ?, ?, 'x', ?, ?)",
            args![i64::from(n), name, name, &c.alice, &c.p],
        );
        c.s.sql_run(
            "INSERT INTO application_credential_role (application_credential_id, role_id) VALUES (?, ?)",
            args![i64::from(n), holds],
        );
    }
    let trust = c.trust(json!({"roles": [{"name": "heat_stack_owner"}, {"name": "member"}]}));
    let other = c.trust(json!({}));
    let token = c.s.consume("bob", &trust).expect(201).token();
    let kept = c.s.consume("bob", &other).expect(201).token();

    c.s.delete(&admin, &format!("/v3/roles/{role}")).expect(204);
    // Tokens tell whole seconds: a login of this one would wait for the next.
    c.s.clock.advance(vicar::clock::SECOND);
    let count = |sql: &str| c.s.sql_text(sql, &[]).expect("a count");
    for (table, column) in [
        ("assignment", "role_id"),
        ("system_assignment", "role_id"),
        ("implied_role", "prior_role_id"),
        ("implied_role", "implied_role_id"),
        ("application_credential_role", "role_id"),
    ] {
        assert_eq!(count(&format!("SELECT COUNT(*) FROM {table} WHERE {column} = '{role}'")), "0", "{table}");
    }
    let left = c.s.sql_text("SELECT MAX(name) FROM application_credential", &[]);
    assert_eq!(
        (left.as_deref(), count("SELECT COUNT(*) FROM application_credential").as_str()),
        (Some("without"), "1")
    );
    // The trust that carried it is worth nothing any more; others live.
    c.s.validate(&token).expect(404);
    c.s.consume("bob", &trust).expect(401);
    c.s.validate(&kept).expect(200);
    let shown = c.s.get(&c.s.on("alice", &c.p), &format!("/v3/OS-TRUST/trusts/{trust}")).expect(200);
    assert_eq!(names(&Answer { body: shown.body["trust"].clone(), ..shown }), ["member"]);
}
