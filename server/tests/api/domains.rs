//! Domains: projects that act as such, with everything in them.

use serde_json::{Value, json};

use crate::support::{Server, count, grant, group_of, in_db, names, on_domain, on_project, one, token, user};

#[track_caller]
fn domain(s: &Server, t: &str, body: Value) -> String {
    let made = s.post(t, "/v3/domains", json!({"domain": body})).expect(201);
    made.body["domain"]["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_domain_is_made_read_changed_and_deleted() {
    let s = Server::start();
    let t = s.admin();
    let body =
        json!({"domain": {"name": " d ", "description": null, "more": 1, "tags": ["a"], "parent_id": "x"}});
    let made = s.post(&t, "/v3/domains", body).expect(201).body["domain"].clone();
    let id = made["id"].as_str().expect("an id");
    let path = format!("/v3/domains/{id}");
    assert_eq!(
        made,
        json!({"id": id, "name": "d", "description": null, "enabled": true, "tags": ["a"], "options": {},
               "more": 1, "links": {"self": format!("{}{path}", s.url)}})
    );
    assert_eq!(s.get(&t, &path).expect(200).body["domain"], made);
    // The same row, seen as a project.
    let seen = s.get(&t, &format!("/v3/projects/{id}")).expect(200).body["project"].clone();
    assert_eq!(
        (&seen["is_domain"], &seen["domain_id"], &seen["parent_id"]),
        (&json!(true), &Value::Null, &Value::Null)
    );
    let patch = |body: Value| s.patch(&t, &path, json!({"domain": body}));
    assert_eq!(patch(json!({"name": "e", "more": 2})).expect(200).body["domain"]["more"], 2);
    patch(json!({})).expect(400);
    patch(json!({"name": "Default"})).expect(409);
    patch(json!({"name": "federated"})).expect(400);
    patch(json!({"description": "x".repeat(256)})).expect(400);
    s.delete(&t, &path).expect(403);
    patch(json!({"enabled": false, "options": {"immutable": true}})).expect(200);
    s.delete(&t, &path).expect(403);
    patch(json!({"options": {"immutable": false}})).expect(200);
    s.delete(&t, &path).expect(204);
    s.delete(&t, &path).expect(404);
    s.get(&t, &path).expect(404);
    patch(json!({"name": "x"})).expect(404);
}

#[test]
fn names_and_ids_of_domains_are_checked() {
    let s = Server::start();
    let t = s.admin();
    let id = "0123456789abcdef0123456789abcdef";
    assert_eq!(domain(&s, &t, json!({"name": "d", "explicit_domain_id": id})), id);
    let post = |body: Value| s.post(&t, "/v3/domains", json!({"domain": body}));
    post(json!({"name": "d"})).expect(409);
    post(json!({"name": "e", "explicit_domain_id": id})).expect(409);
    for bad in ["x", "0123456789ABCDEF0123456789abcdef", "01234567-89ab-cdef-0123-456789abcdef"] {
        post(json!({"name": "e", "explicit_domain_id": bad})).expect(400);
    }
    for bad in
        [json!({}), json!({"name": ""}), json!({"name": "Federated"}), json!({"name": "e", "enabled": "no"})]
    {
        post(bad).expect(400);
    }
    let p = s.post(&t, "/v3/projects", json!({"project": {"name": "p"}})).expect(201);
    let p = format!("/v3/domains/{}", p.body["project"]["id"].as_str().expect("an id"));
    s.get(&t, &p).expect(404);
    s.patch(&t, &p, json!({"domain": {"name": "x"}})).expect(404);
    s.delete(&t, &p).expect(404);
    // A domain may be made as a project, and is one.
    let made = s.post(&t, "/v3/projects", json!({"project": {"name": "f", "is_domain": true}})).expect(201);
    let made = format!("/v3/projects/{}", made.body["project"]["id"].as_str().expect("an id"));
    s.delete(&t, &made).expect(403);
    s.patch(&t, &made, json!({"project": {"enabled": false}})).expect(200);
    let list = |query: &str| names(&s.get(&t, &format!("/v3/domains?{query}")).expect(200).body, "domains");
    assert_eq!(list(""), ["Default", "d", "f"]);
    assert_eq!(list("enabled=false"), ["f"]);
    assert_eq!(list("name=d"), ["d"]);
    assert_eq!(list("name__istartswith=D"), ["Default", "d"]);
    let wrong = s.get(&t, "/v3/domains?enabled=foo").expect(400);
    let message = wrong.body["error"]["message"].as_str().expect("a message");
    assert!(message.ends_with(r#""on", "ON", "off", "OFF", "yes" or "no""#), "all are named: {message}");
    s.delete(&t, &made).expect(204);
}

#[test]
fn who_may_see_and_change_domains() {
    let s = Server::start();
    let t = s.admin();
    let d = domain(&s, &t, json!({"name": "d"}));
    let e = domain(&s, &t, json!({"name": "e"}));
    let manager = on_domain(&s, "m", "manager", &d);
    let admin = on_domain(&s, "a", "admin", &d);
    let p = s.post(&t, "/v3/projects", json!({"project": {"name": "p", "domain_id": d}})).expect(201);
    let inside = on_project(&s, "i", "reader", p.body["project"]["id"].as_str().expect("an id"));
    let at = |id: &str| format!("/v3/domains/{id}");
    for who in [&manager, &inside] {
        s.get(who, &at(&d)).expect(200);
        s.get(who, &at(&e)).expect(403);
        s.get(who, &at("nope")).expect(403);
    }
    assert_eq!(names(&s.get(&manager, "/v3/domains").expect(200).body, "domains"), ["d"]);
    assert_eq!(names(&s.get(&admin, "/v3/domains").expect(200).body, "domains"), ["d"]);
    s.get(&inside, "/v3/domains").expect(403);
    for who in [&manager, &inside, &admin] {
        s.post(who, "/v3/domains", json!({"domain": {"name": "n"}})).expect(403);
        s.patch(who, &at(&d), json!({"domain": {"name": "n"}})).expect(403);
        s.delete(who, &at(&d)).expect(403);
        // Unlike reading, these tell what is not there, as in Keystone.
        s.patch(who, &at("nope"), json!({"domain": {"name": "n"}})).expect(404);
        s.delete(who, &at("nope")).expect(404);
    }
    s.get(&t, &at("nope")).expect(404);
    s.get("", "/v3/domains").expect(401);
}

#[test]
fn a_disabled_domain_silences_all_who_are_in_it() {
    let s = Server::start();
    let t = s.admin();
    let d = domain(&s, &t, json!({"name": "d"}));
    let u = user(&s, "u", &d);
    grant(&s, "UserDomain", &u, &d, "member", false);
    let p = s.post(&t, "/v3/projects", json!({"project": {"name": "p", "domain_id": d}})).expect(201);
    let p = p.body["project"]["id"].as_str().expect("an id").to_owned();
    let on_it = token(&s, &u, json!({"domain": {"id": d}}));
    let unscoped = token(&s, &u, Value::Null);
    let guest = on_project(&s, "guest", "member", &p);
    let set =
        |on: bool| s.patch(&t, &format!("/v3/domains/{d}"), json!({"domain": {"enabled": on}})).expect(200);
    set(false);
    for dead in [&on_it, &unscoped, &guest] {
        s.validate(dead).expect(404);
    }
    s.clock.advance(1_000_000);
    set(true);
    for dead in [&on_it, &unscoped, &guest] {
        s.validate(dead).expect(404);
    }
    s.clock.advance(1_000_000);
    s.validate(&token(&s, &u, json!({"domain": {"id": d}}))).expect(200);
}

#[test]
fn deleting_a_domain_takes_everything_in_it_along() {
    let s = Server::start();
    let t = s.admin();
    let before: Vec<usize> =
        TABLES.iter().map(|table| count(&s, &format!("SELECT 1 FROM {table}"), &[])).collect();
    let d = domain(&s, &t, json!({"name": "d"}));
    let post = |body: Value| {
        let made = s.post(&t, "/v3/projects", json!({"project": body})).expect(201);
        made.body["project"]["id"].as_str().expect("an id").to_owned()
    };
    let p = post(json!({"name": "p", "domain_id": d, "tags": ["x"]}));
    let q = post(json!({"name": "q", "parent_id": p, "domain_id": d}));
    let u = user(&s, "u", &d);
    let g = group_of(&s, &u, &d);
    grant(&s, "UserProject", &u, &q, "member", false);
    grant(&s, "GroupDomain", &g, &d, "reader", true);
    // Somebody from elsewhere who is a member of this domain's group.
    let guest = user(&s, "guest", "default");
    in_db(&s, async |tx| {
        let sql = "INSERT INTO user_group_membership (user_id, group_id) VALUES (?, ?)";
        tx.raw(&vicar::system::System::CommandLine, sql, vicar::args![&guest, &g]).await.expect("membership");
        let sql = "INSERT INTO role (id, name, extra, domain_id) VALUES ('dr', 'dr', '{}', ?)";
        tx.raw(&vicar::system::System::CommandLine, sql, vicar::args![&d]).await.expect("role");
    });
    grant(&s, "UserProject", &u, &p, "dr", false);
    let guests = token(&s, &guest, json!({"project": {"id": q}}));
    s.patch(&t, &format!("/v3/domains/{d}"), json!({"domain": {"enabled": false}})).expect(200);
    s.delete(&t, &format!("/v3/domains/{d}")).expect(204);
    s.validate(&guests).expect(404);
    in_db(&s, async |tx| {
        for sql in [
            "DELETE FROM password WHERE local_user_id IN (SELECT id FROM local_user WHERE user_id = ?)",
            "DELETE FROM local_user WHERE user_id = ?",
            "DELETE FROM \"user\" WHERE id = ?",
        ] {
            tx.raw(&vicar::system::System::CommandLine, sql, vicar::args![&guest])
                .await
                .expect("the guest goes");
        }
    });
    let after: Vec<usize> =
        TABLES.iter().map(|table| count(&s, &format!("SELECT 1 FROM {table}"), &[])).collect();
    assert_eq!(before, after, "{TABLES:?}");
    assert_eq!(one(&s, "SELECT name FROM project WHERE name = 'q'"), None);
}

const TABLES: &[&str] = &[
    "project",
    "project_tag",
    "project_option",
    "\"user\"",
    "local_user",
    "password",
    "\"group\"",
    "user_group_membership",
    "assignment",
    "role",
];

#[test]
fn an_immutable_project_keeps_its_domain() {
    let s = Server::start();
    let t = s.admin();
    let d = domain(&s, &t, json!({"name": "d"}));
    let body = json!({"project": {"name": "p", "domain_id": d, "options": {"immutable": true}}});
    s.post(&t, "/v3/projects", body).expect(201);
    let u = user(&s, "u", &d);
    s.patch(&t, &format!("/v3/domains/{d}"), json!({"domain": {"enabled": false}})).expect(200);
    s.delete(&t, &format!("/v3/domains/{d}")).expect(403);
    // All or nothing.
    assert_eq!(count(&s, "SELECT 1 FROM \"user\" WHERE id = ?", vicar::args![&u]), 1);
}
