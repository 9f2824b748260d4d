//! Projects: their hierarchy, their rules, their tags, and who sees them.

use serde_json::{Value, json};

use crate::support::{
    Cast, Server, count, grant, group_of, in_db, names, on_domain, on_project, token, user,
};

#[track_caller]
fn project(s: &Server, t: &str, body: Value) -> String {
    let made = s.post(t, "/v3/projects", json!({"project": body})).expect(201);
    made.body["project"]["id"].as_str().expect("an id").to_owned()
}

#[track_caller]
fn domain(s: &Server, t: &str, name: &str) -> String {
    let made = s.post(t, "/v3/domains", json!({"domain": {"name": name}})).expect(201);
    made.body["domain"]["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_project_is_made_read_changed_and_deleted() {
    let s = Server::start();
    let t = s.admin();
    let body = json!({"project": {"name": " p ", "more": {"x": 1}, "a-b": 2, "id": "mine"}});
    let made = s.post(&t, "/v3/projects", body).expect(201).body["project"].clone();
    assert_eq!(made["name"], "p");
    assert_eq!(made["description"], "");
    assert_eq!(made["enabled"], true);
    assert_eq!((made["domain_id"].as_str(), made["parent_id"].as_str()), (Some("default"), Some("default")));
    assert_eq!((&made["more"], &made["a_b"], &made["options"]), (&json!({"x": 1}), &json!(2), &json!({})));
    let id = made["id"].as_str().expect("an id");
    assert_ne!(id, "mine");
    let path = format!("/v3/projects/{id}");
    assert_eq!(made["links"]["self"], format!("{}{path}", s.url));
    assert_eq!(s.get(&t, &path).expect(200).body["project"], made);
    s.head(&t, &path).expect(200);

    let change = json!({"project": {"description": null, "more": null, "name": "q", "id": id}});
    let new = s.patch(&t, &path, change).expect(200).body["project"].clone();
    assert_eq!((&new["description"], &new["more"], &new["a_b"]), (&Value::Null, &Value::Null, &json!(2)));
    assert_eq!(new["extra"], json!({"more": null, "a_b": 2}));

    s.delete(&t, &path).expect(204);
    s.get(&t, &path).expect(404);
    s.patch(&t, &path, json!({"project": {}})).expect(404);
    s.delete(&t, &path).expect(404);
    for root in
        ["/v3/projects/%3C%3Ckeystone.domain.root%3E%3E", "/v3/domains/%3C%3Ckeystone.domain.root%3E%3E"]
    {
        s.get(&t, root).expect(404);
        s.delete(&t, root).expect(404);
    }
}

#[test]
fn bad_bodies_and_queries_are_refused_by_name() {
    let s = Server::start();
    let t = s.admin();
    let id = project(&s, &t, json!({"name": "p"}));
    s.post(&t, "/v3/projects", json!({"project": {"name": "p"}})).expect(409);
    for (field, value) in [
        ("name", json!("")),
        ("name", json!("  ")),
        ("name", json!("x".repeat(65))),
        ("name", json!(5)),
        ("name", Value::Null),
        ("enabled", json!("FALSE")),
        ("enabled", Value::Null),
        ("description", json!(5)),
        ("tags", json!(["a,b"])),
        ("tags", json!(["a", "a"])),
        ("tags", json!((0..81).map(|i| i.to_string()).collect::<Vec<_>>())),
        ("options", json!({"other": 1})),
        ("options", json!({"immutable": "true"})),
    ] {
        let mut body = json!({"project": {"name": "n"}});
        body["project"][field] = value;
        let made = s.post(&t, "/v3/projects", body.clone()).expect(400);
        assert!(made.text.contains(field), "{}", made.text);
        s.patch(&t, &format!("/v3/projects/{id}"), body).expect(400);
    }
    let other = project(&s, &t, json!({"name": "other"}));
    s.patch(&t, &format!("/v3/projects/{other}"), json!({"project": {"name": "p"}})).expect(409);
    let same = json!({"project": {"domain_id": "default", "parent_id": "default", "is_domain": false}});
    s.patch(&t, &format!("/v3/projects/{id}"), same).expect(200);
    for (body, status) in [
        (json!({"domain_id": "x"}), 400),
        (json!({"is_domain": true}), 400),
        (json!({"id": "x"}), 400),
        (json!({"parent_id": other}), 403),
    ] {
        s.patch(&t, &format!("/v3/projects/{id}"), json!({"project": body})).expect(status);
    }
    for body in ["", "{", "[]", "null", "{}", r#"{"project": null}"#, r#"{"project": {}}"#] {
        s.call("POST", "/v3/projects", &[("X-Auth-Token", &t)], Some(body.as_bytes())).expect(400);
    }
    for query in
        ["enabled=foo", "is_domain=2", "domain_id=a_b", "name=", "limit=x", "marker=nope", "name=%ff"]
    {
        s.get(&t, &format!("/v3/projects?{query}")).expect(400);
    }
    for id in ["%00", &"x".repeat(5000), "%E2%82%AC", "'"] {
        s.get(&t, &format!("/v3/projects/{id}")).expect(404);
        s.delete(&t, &format!("/v3/projects/{id}")).expect(404);
    }
    s.get("", "/v3/projects").expect(401);
    s.call("POST", "/v3/projects", &[], Some(b"{")).expect(401);
}

#[test]
fn a_hierarchy_agrees_with_itself_and_is_not_too_deep() {
    let s = Server::start();
    let t = s.admin();
    let d = domain(&s, &t, "d");
    let top = project(&s, &t, json!({"name": "top"}));
    let mid = project(&s, &t, json!({"name": "mid", "parent_id": top}));
    let low = project(&s, &t, json!({"name": "low", "parent_id": mid, "domain_id": "default"}));
    for body in [
        json!({"name": "x", "domain_id": "nope"}),
        json!({"name": "x", "domain_id": top}),
        json!({"name": "x", "parent_id": "nope"}),
        json!({"name": "x", "parent_id": d}),
        json!({"name": "x", "parent_id": top, "domain_id": d}),
        json!({"name": "x", "is_domain": true, "domain_id": d}),
        json!({"name": "x", "is_domain": true, "parent_id": top}),
    ] {
        s.post(&t, "/v3/projects", json!({"project": body})).expect(400);
    }
    let read = |query: &str, id: &str| {
        s.get(&t, &format!("/v3/projects/{id}?{query}")).expect(200).body["project"].clone()
    };
    assert_eq!(read("parents_as_ids", &low)["parents"], json!({&mid: {&top: {"default": null}}}));
    assert_eq!(read("parents_as_ids", "default")["parents"], Value::Null);
    assert_eq!(read("subtree_as_ids", &top)["subtree"], json!({&mid: {&low: null}}));
    assert_eq!(read("subtree_as_ids", &low)["subtree"], Value::Null);
    assert!(read("parents_as_ids=0", &low).get("parents").is_none());
    // Lists hold only what the caller has a role on.
    assert_eq!(read("parents_as_list", &low)["parents"], json!([]));
    let me = s.validate(&t).body["token"]["user"]["id"].as_str().expect("an id").to_owned();
    grant(&s, "UserProject", &me, &mid, "reader", false);
    assert_eq!(read("parents_as_list", &low)["parents"][0]["project"]["id"], json!(mid));
    assert_eq!(read("subtree_as_list", &top)["subtree"][0]["project"]["id"], json!(mid));
    s.get(&t, &format!("/v3/projects/{low}?parents_as_list&parents_as_ids")).expect(400);
    s.get(&t, &format!("/v3/projects/{low}?subtree_as_list&subtree_as_ids")).expect(400);

    // A branch is switched off from its end and on from its root.
    let set =
        |id: &str, on: bool| s.patch(&t, &format!("/v3/projects/{id}"), json!({"project": {"enabled": on}}));
    set(&top, false).expect(403);
    for id in [&low, &mid, &top] {
        set(id, false).expect(200);
    }
    set(&low, true).expect(403);
    s.post(&t, "/v3/projects", json!({"project": {"name": "x", "parent_id": mid}})).expect(400);
    for id in [&top, &mid, &low] {
        set(id, true).expect(200);
    }
    s.delete(&t, &format!("/v3/projects/{mid}")).expect(403);

    let four = project(&s, &t, json!({"name": "4", "parent_id": low}));
    let five = project(&s, &t, json!({"name": "5", "parent_id": four}));
    s.post(&t, "/v3/projects", json!({"project": {"name": "6", "parent_id": five}})).expect(403);
}

#[test]
fn a_hierarchy_shows_the_limits_of_its_projects_when_asked() {
    let s = Server::start();
    let t = s.admin();
    let d = domain(&s, &t, "d");
    let below = |name: &str, parent: &str| s.project_below(name, &d, Some(parent));
    let top = s.project_below("top", &d, None);
    let mid = below("mid", &top);
    let (low, hidden) = (below("low", &mid), below("hidden", &mid));
    let service = s.post(&t, "/v3/services", json!({"service": {"type": "t"}})).expect(201);
    let service = service.body["service"]["id"].clone();
    let registered = json!([{"service_id": service, "resource_name": "cores", "default_limit": 5}]);
    s.post(&t, "/v3/registered_limits", json!({"registered_limits": registered})).expect(201);
    let limit = |of: &str, id: &str| json!({"service_id": service, "resource_name": "cores", "resource_limit": 7, of: id});
    let limits = [("project_id", &top), ("project_id", &low), ("project_id", &hidden), ("domain_id", &d)];
    let limits: Vec<Value> = limits.iter().map(|(of, id)| limit(of, id)).collect();
    s.post(&t, "/v3/limits", json!({"limits": limits})).expect(201);
    let reader = user(&s, "reader", "default");
    for project in [&top, &mid, &low] {
        grant(&s, "UserProject", &reader, project, "reader", false);
    }
    let reader = token(&s, &reader, json!({"project": {"id": mid}}));
    let read = |query: &str| {
        s.get(&reader, &format!("/v3/projects/{mid}?{query}")).expect(200).body["project"].clone()
    };
    let shown = |id: &str| {
        json!([{"project_id": id, "domain_id": null, "service_id": service, "region_id": null,
                "resource_name": "cores", "resource_limit": 7, "description": null}])
    };
    let both = read("parents_as_list&subtree_as_list&include_limits");
    for (list, id) in [("parents", &top), ("subtree", &low)] {
        // Only where the caller holds a role.
        assert_eq!(both[list].as_array().map(Vec::len), Some(1), "{list}");
        let mut limits = both[list][0]["project"]["limits"].clone();
        let own = limits[0].as_object_mut().and_then(|limit| limit.remove("id"));
        assert!(own.is_some_and(|id| id.is_string()), "{list}");
        assert_eq!(limits, shown(id), "{list}");
    }
    assert_eq!(both.get("limits"), None);
    // Without a list there is nothing to show them with; 0 is no.
    assert_eq!(read("include_limits").get("limits"), None);
    assert_eq!(read("subtree_as_ids&include_limits")["subtree"], json!({&low: null, &hidden: null}));
    assert_eq!(read("subtree_as_list&include_limits=0")["subtree"][0]["project"].get("limits"), None);
    let mixed = read("parents_as_ids&subtree_as_list&include_limits=false");
    assert_eq!(mixed["parents"], json!({&top: {&d: null}}));
    assert_eq!(mixed["subtree"][0]["project"]["limits"].as_array().map(Vec::len), Some(1));
    let of_top = s.get(&t, &format!("/v3/projects/{top}?subtree_as_list&include_limits")).expect(200);
    assert_eq!(of_top.body["project"]["subtree"], json!([]));
    // A project without limits has an empty list.
    let admin = s.validate(&t).body["token"]["user"]["id"].as_str().expect("an id").to_owned();
    grant(&s, "UserProject", &admin, &mid, "reader", false);
    let of_top = s.get(&t, &format!("/v3/projects/{top}?subtree_as_list&include_limits")).expect(200);
    assert_eq!(of_top.body["project"]["subtree"][0]["project"]["limits"], json!([]));
    // Both of a kind are refused, whichever else is asked; not before the policy is.
    for bad in [
        "parents_as_list&parents_as_ids",
        "subtree_as_list&subtree_as_ids&include_limits",
        "parents_as_list&parents_as_ids&subtree_as_list&subtree_as_ids",
    ] {
        s.get(&reader, &format!("/v3/projects/{mid}?{bad}")).expect(400);
        s.get(&reader, &format!("/v3/projects/{low}?{bad}")).expect(403);
        s.get(&t, &format!("/v3/projects/nope?{bad}")).expect(404);
    }
}

#[test]
fn an_immutable_project_stays_as_it_is() {
    let s = Server::start();
    let t = s.admin();
    let id = project(&s, &t, json!({"name": "p", "tags": ["a"], "options": {"immutable": true}}));
    let path = format!("/v3/projects/{id}");
    let patch = |body: Value| s.patch(&t, &path, json!({"project": body}));
    patch(json!({"name": "q"})).expect(403);
    patch(json!({"name": "q", "options": {"immutable": false}})).expect(403);
    patch(json!({"options": {"immutable": true}})).expect(403);
    s.delete(&t, &path).expect(403);
    s.put(&t, &format!("{path}/tags/b")).expect(403);
    s.delete(&t, &format!("{path}/tags/a")).expect(403);
    s.delete(&t, &format!("{path}/tags")).expect(403);
    let thawed = patch(json!({"options": {"immutable": null}})).expect(200);
    assert_eq!(thawed.body["project"]["options"], json!({}));
    s.delete(&t, &path).expect(204);
}

#[test]
fn lists_are_filtered() {
    let s = Server::start();
    let t = s.admin();
    let d = domain(&s, &t, "d");
    let p = project(&s, &t, json!({"name": "Red", "tags": ["r", "s"]}));
    project(&s, &t, json!({"name": "blue", "tags": ["r"], "parent_id": p}));
    project(&s, &t, json!({"name": "green", "tags": ["u"], "enabled": false, "domain_id": d}));
    let list = |query: &str| names(&s.get(&t, &format!("/v3/projects?{query}")).expect(200).body, "projects");
    assert_eq!(list(""), ["Red", "admin", "blue", "green"]);
    assert_eq!(list("is_domain=true"), ["Default", "d"]);
    assert_eq!(list(&format!("domain_id={d}")), ["green"]);
    assert_eq!(list(&format!("parent_id={p}")), ["blue"]);
    assert_eq!(list("enabled=0"), ["green"]);
    assert_eq!(list("name=Red"), ["Red"]);
    assert_eq!(list("name__icontains=RE"), ["Red", "green"]);
    assert_eq!(list("name__contains=RE"), [""; 0]);
    for (query, wanted) in [
        ("tags=r", &["Red", "blue"][..]),
        ("tags=r,s", &["Red"]),
        ("tags-any=s,u", &["Red", "green"]),
        ("not-tags=r,s", &["admin", "blue", "green"]),
        ("not-tags-any=s,u", &["admin", "blue"]),
        ("tags=r&not-tags-any=s", &["blue"]),
        // All of them hold. A Keystone that is asked for both of the last two shows what one of them is to hide,
        // and forgets those before when they find nothing.
        ("tags=r&tags-any=s,u", &["Red"]),
        ("not-tags=r,s&not-tags-any=u", &["admin", "blue"]),
        ("tags=nobody&not-tags=u", &[]),
        ("tags-any=nobody&not-tags-any=u", &[]),
        ("tags=", &[]),
    ] {
        assert_eq!(list(query), wanted, "{query}");
    }
    let page = s.get(&t, "/v3/projects?limit=1").expect(200).body;
    assert_eq!(page["projects"].as_array().map(Vec::len), Some(1));
    assert!(page["links"]["next"].as_str().is_some_and(|n| n.contains("marker=")));
}

#[test]
fn tags_come_and_go() {
    let s = Server::start();
    let t = s.admin();
    let path = format!("/v3/projects/{}/tags", project(&s, &t, json!({"name": "p"})));
    let one = |tag: &str| format!("{path}/{tag}");
    let added = s.put(&t, &one("b")).expect(201);
    assert_eq!(added.header("location"), Some(format!("{}{path}/b", s.url).as_str()));
    s.put(&t, &one("%20a%20")).expect(201);
    s.put(&t, &one("a")).expect(400);
    for bad in ["a,b", "a%2Fb", "%20", &"x".repeat(256)] {
        s.put(&t, &one(bad)).expect(400);
    }
    s.get(&t, &one("a")).expect(204);
    s.head(&t, &one("a")).expect(204);
    s.get(&t, &one("A")).expect(404);
    assert_eq!(s.get(&t, &path).expect(200).body["tags"], json!(["a", "b"]));
    s.delete(&t, &one("a")).expect(204);
    s.delete(&t, &one("a")).expect(404);
    let replace = |tags: Value| {
        let body = json!({"tags": tags}).to_string();
        s.call("PUT", &path, &[("X-Auth-Token", &t)], Some(body.as_bytes()))
    };
    assert_eq!(replace(json!(["x", " y "])).expect(200).body["tags"], json!(["x", "y"]));
    for bad in [json!("x"), Value::Null, json!(["x", "x "]), json!([" "]), json!([1])] {
        replace(bad).expect(400);
    }
    let eighty: Vec<String> = (0..80).map(|i| i.to_string()).collect();
    replace(json!(eighty)).expect(200);
    s.put(&t, &one("x")).expect(400);
    s.delete(&t, &path).expect(204);
    assert_eq!(s.get(&t, &path).expect(200).body["tags"], json!([]));
    s.get(&t, "/v3/projects/nope/tags").expect(404);
}

#[test]
fn who_may_do_what_follows_the_stored_domain() {
    let s = Server::start();
    let t = s.admin();
    let d = domain(&s, &t, "d");
    let e = domain(&s, &t, "e");
    let p = project(&s, &t, json!({"name": "p", "domain_id": d, "tags": ["a"]}));
    let q = project(&s, &t, json!({"name": "q", "domain_id": e}));
    let manager = on_domain(&s, "manager", "manager", &d);
    let reader = on_domain(&s, "reader", "reader", &d);
    let stranger = on_domain(&s, "stranger", "manager", &e);
    let inside = on_project(&s, "inside", "reader", &p);
    let at = |id: &str| format!("/v3/projects/{id}");

    for (who, own, other) in
        [(&manager, 200, 403), (&reader, 200, 403), (&stranger, 403, 200), (&inside, 200, 403)]
    {
        s.get(who, &at(&p)).expect(own);
        s.get(who, &format!("{}/tags", at(&p))).expect(own);
        s.get(who, &at(&q)).expect(other);
        // Without a permission nothing is learnt about what is there.
        s.get(who, "/v3/projects/nope").expect(403);
        s.delete(who, "/v3/projects/nope").expect(403);
    }
    let change = || json!({"project": {"description": "x"}});
    for who in [&reader, &stranger, &inside] {
        s.patch(who, &at(&p), change()).expect(403);
        s.delete(who, &at(&p)).expect(403);
        s.put(who, &format!("{}/tags/b", at(&p))).expect(403);
        s.delete(who, &format!("{}/tags", at(&p))).expect(403);
        s.post(who, "/v3/projects", json!({"project": {"name": "n", "domain_id": d}})).expect(403);
    }
    s.patch(&manager, &at(&p), change()).expect(200);
    s.put(&manager, &format!("{}/tags/b", at(&p))).expect(201);
    // What the body says of the domain is what happens, however it is spelled.
    let made = project(&s, &manager, json!({"name": "n", "domain_id": d, "domain-id": e, "domain:id": e}));
    assert_eq!(s.get(&t, &at(&made)).body["project"]["domain_id"], json!(d));
    for body in [
        json!({"name": "m"}),
        json!({"name": "m", "domain_id": e}),
        json!({"name": "m", "domain-id": d}),
        json!({"name": "m", "is_domain": true}),
    ] {
        s.post(&manager, "/v3/projects", json!({"project": body})).expect(403);
    }
    s.post(&manager, "/v3/projects", json!({"project": {"name": "m", "domain_id": d, "parent_id": q}}))
        .expect(400);
    s.post(&manager, "/v3/projects", json!({"project": {"name": "m", "domain_id": d, "is_domain": true}}))
        .expect(400);

    assert_eq!(names(&s.get(&reader, "/v3/projects").expect(200).body, "projects"), ["n", "p"]);
    assert_eq!(
        names(&s.get(&reader, &format!("/v3/projects?domain_id={e}")).expect(200).body, "projects"),
        [""; 0]
    );
    s.get(&inside, "/v3/projects").expect(403);
    s.get(&inside, &format!("/v3/projects?domain_id={d}")).expect(403);
    s.delete(&manager, &at(&made)).expect(204);
}

#[test]
fn a_switched_off_project_gives_no_tokens_and_takes_those_it_gave() {
    let s = Server::start();
    let t = s.admin();
    let p = project(&s, &t, json!({"name": "p"}));
    let old = on_project(&s, "u", "member", &p);
    let u = s.validate(&old).body["token"]["user"]["id"].as_str().expect("an id").to_owned();
    let set =
        |on: bool| s.patch(&t, &format!("/v3/projects/{p}"), json!({"project": {"enabled": on}})).expect(200);
    set(false);
    s.validate(&old).expect(404);
    set(true);
    // What was ended stays ended.
    s.validate(&old).expect(404);
    s.clock.advance(1_000_000);
    s.validate(&token(&s, &u, json!({"project": {"id": p}}))).expect(200);
}

#[test]
fn deleting_a_project_leaves_nothing_of_it() {
    let s = Server::start();
    let t = s.admin();
    let p = project(&s, &t, json!({"name": "p", "tags": ["a"], "options": {"immutable": false}}));
    let u = user(&s, "u", "default");
    grant(&s, "UserProject", &u, &p, "member", false);
    in_db(&s, async |tx| {
        for sql in [
            "UPDATE \"user\" SET default_project_id = ? WHERE id = ?",
            "INSERT INTO application_credential (internal_id, id, name, secret_hash, project_id, user_id)
             VALUES (7, 'ac', 'ac', 'x', ?, ?)",
            "INSERT INTO credential (id, encrypted_blob, type, key_hash, extra, project_id, user_id)
             VALUES ('c', '', 'cert', '', '{}', ?, ?)",
        ] {
            tx.raw(&vicar::system::System::CommandLine, sql, vicar::args![&p, &u]).await.expect("a row");
        }
        let role =
            "INSERT INTO application_credential_role (application_credential_id, role_id) VALUES (7, 'r')";
        tx.raw(&vicar::system::System::CommandLine, role, &[]).await.expect("a row");
    });
    s.delete(&t, &format!("/v3/projects/{p}")).expect(204);
    for rest in [
        "assignment WHERE actor_id = (SELECT user_id FROM local_user WHERE name = 'u')",
        "project_tag",
        "project_option",
        "application_credential",
        "application_credential_role",
        "credential",
        "\"user\" WHERE default_project_id IS NOT NULL",
    ] {
        assert_eq!(count(&s, &format!("SELECT 1 FROM {rest}"), &[]), 0, "{rest}");
    }
    s.post(&t, "/v3/projects", json!({"project": {"name": "p"}})).expect(201);
}

#[test]
fn everybody_sees_where_he_holds_roles() {
    let s = Server::start();
    let t = s.admin();
    let d = domain(&s, &t, "d");
    let direct = project(&s, &t, json!({"name": "direct"}));
    let by_group = project(&s, &t, json!({"name": "by group"}));
    let above = project(&s, &t, json!({"name": "above"}));
    project(&s, &t, json!({"name": "below", "parent_id": above}));
    project(&s, &t, json!({"name": "in d", "domain_id": d}));
    let off = project(&s, &t, json!({"name": "off"}));
    project(&s, &t, json!({"name": "another's"}));
    let u = user(&s, "u", "default");
    let g = group_of(&s, &u, "default");
    grant(&s, "UserProject", &u, &direct, "reader", false);
    grant(&s, "GroupProject", &g, &by_group, "member", false);
    grant(&s, "UserProject", &u, &above, "reader", true);
    grant(&s, "GroupDomain", &g, &d, "reader", true);
    grant(&s, "UserProject", &u, &off, "reader", false);
    s.patch(&t, &format!("/v3/projects/{off}"), json!({"project": {"enabled": false}})).expect(200);
    let own = token(&s, &u, Value::Null);
    let go = s.get(&own, "/v3/auth/projects").expect(200);
    assert_eq!(names(&go.body, "projects"), ["below", "by group", "direct", "in d"]);
    assert_eq!(names(&s.get(&own, "/v3/auth/domains").expect(200).body, "domains"), [""; 0]);
    grant(&s, "UserDomain", &u, &d, "reader", false);
    assert_eq!(names(&s.get(&own, "/v3/auth/domains").expect(200).body, "domains"), ["d"]);
    // Every place that is listed gives a token, and the others do not.
    for p in go.body["projects"].as_array().expect("a list") {
        token(&s, &u, json!({"project": {"id": p["id"]}}));
    }

    let path = format!("/v3/users/{u}/projects");
    let all = ["below", "by group", "direct", "in d", "off"];
    assert_eq!(names(&s.get(&own, &path).expect(200).body, "projects"), all);
    assert_eq!(names(&s.get(&t, &path).expect(200).body, "projects"), all);
    assert_eq!(names(&s.get(&t, &format!("{path}?enabled=false")).expect(200).body, "projects"), ["off"]);
    assert_eq!(names(&s.get(&t, &format!("{path}?domain_id={d}")).expect(200).body, "projects"), ["in d"]);
    let other = on_project(&s, "other", "admin", &direct);
    s.get(&other, &path).expect(200);
    let reader = on_project(&s, "reader", "reader", &direct);
    s.get(&reader, &path).expect(403);
    s.get(&reader, "/v3/users/nope/projects").expect(403);
    s.get(&t, "/v3/users/nope/projects").expect(404);
    s.get(&on_domain(&s, "in d", "reader", &d), &path).expect(403);

    // With the domain switched off there is nothing to go to in it.
    s.patch(&t, &format!("/v3/domains/{d}"), json!({"domain": {"enabled": false}})).expect(200);
    s.clock.advance(1_000_000);
    let own = token(&s, &u, Value::Null);
    assert_eq!(names(&s.get(&own, "/v3/auth/projects").body, "projects"), ["below", "by group", "direct"]);
    assert_eq!(names(&s.get(&own, "/v3/auth/domains").body, "domains"), [""; 0]);
}

#[test]
fn a_delegate_sees_his_own_project_only() {
    let c = Cast::new();
    let trust = c.trust(json!({}));
    let bobs = c.s.consume("bob", &trust).expect(201).token();
    let alices = c.s.on("alice", &c.p);
    for path in ["/v3/auth/projects".to_owned(), format!("/v3/users/{}/projects", c.alice)] {
        let ids = |t: &str| -> Vec<String> {
            let body = c.s.get(t, &path).expect(200).body;
            let list = body["projects"].as_array().cloned().unwrap_or_default();
            list.iter().filter_map(|p| p["id"].as_str().map(str::to_owned)).collect()
        };
        assert_eq!(ids(&alices).len(), 2, "{path}");
        assert_eq!(ids(&bobs), [c.p.as_str()], "{path}");
    }
    assert_eq!(c.s.get(&bobs, "/v3/auth/domains").expect(200).body["domains"], json!([]));
}

#[test]
fn trusts_end_with_their_project_and_rest_while_it_is_off() {
    let c = Cast::new();
    let t = c.s.admin();
    let [root, _, leaf] = c.chain();
    let path = format!("/v3/projects/{}", c.p);
    let set = |on: bool| c.s.patch(&t, &path, json!({"project": {"enabled": on}})).expect(200);
    let daves = c.s.consume("dave", &leaf).expect(201).token();
    set(false);
    c.s.consume("dave", &leaf).expect(401);
    set(true);
    // The trust is back; a token from before is not.
    c.s.validate(&daves).expect(404);
    c.s.clock.advance(1_000_000);
    let daves = c.s.consume("dave", &leaf).expect(201).token();
    c.s.delete(&t, &path).expect(204);
    c.s.validate(&daves).expect(404);
    for trust in [&root, &leaf] {
        c.s.get(&t, &format!("/v3/OS-TRUST/trusts/{trust}")).expect(404);
    }
    c.s.consume("dave", &leaf).expect(401);
}

#[test]
fn trusts_end_with_their_domain() {
    let c = Cast::new();
    let t = c.s.admin();
    let d = domain(&c.s, &t, "d");
    let p = project(&c.s, &t, json!({"name": "in d", "domain_id": d}));
    let guest = user(&c.s, "guest", &d);
    c.s.grant(&c.alice, &p, "member");
    // One on a project of the domain, one to a user of the domain.
    let inside = c.trust(json!({"project_id": p, "roles": [{"name": "member"}]}));
    let outwards = c.trust(json!({"trustee_user_id": guest}));
    c.s.patch(&t, &format!("/v3/domains/{d}"), json!({"domain": {"enabled": false}})).expect(200);
    c.s.consume("bob", &inside).expect(401);
    c.s.delete(&t, &format!("/v3/domains/{d}")).expect(204);
    for trust in [&inside, &outwards] {
        c.s.get(&t, &format!("/v3/OS-TRUST/trusts/{trust}")).expect(404);
    }
}
