//! `/v3/role_assignments`, as stored and as effective.

use serde_json::{Value, json};

use crate::support::Server;
use crate::support::scope::{on_domain, on_project, on_system};

/// A little world: domain d with projects top > mid > leaf, domain e with project far; ann and ben in d
/// and in group g, cid in e; role prior implies role next.
struct World {
    s: Server,
    admin: String,
    d: String,
    e: String,
    top: String,
    mid: String,
    leaf: String,
    far: String,
    ann: String,
    ben: String,
    cid: String,
    g: String,
    prior: String,
    next: String,
}

impl World {
    fn new() -> Self {
        let s = Server::start();
        let admin = s.admin();
        let (d, e) = (s.domain("d"), s.domain("e"));
        let top = s.project_below("top", &d, None);
        let mid = s.project_below("mid", &d, Some(&top));
        let leaf = s.project_below("leaf", &d, Some(&mid));
        let far = s.project_below("far", &e, None);
        let (ann, ben, cid) = (s.user_in("ann", &d), s.user_in("ben", &d), s.user_in("cid", &e));
        let g = s.group("g", &d, &[&ann, &ben]);
        let (prior, next) = (s.role("prior"), s.role("next"));
        s.put(&admin, &format!("/v3/roles/{prior}/implies/{next}")).expect(201);
        Self { s, admin, d, e, top, mid, leaf, far, ann, ben, cid, g, prior, next }
    }

    #[track_caller]
    fn grant(&self, path: &str) {
        self.s.put(&self.admin, &format!("/v3{path}")).expect(204);
    }

    /// The items of a list; ids are spelled as names, links without the server.
    #[track_caller]
    fn list(&self, token: &str, query: &str) -> Vec<Value> {
        let answer = self.s.get(token, &format!("/v3/role_assignments?{query}")).expect(200);
        assert_eq!(answer.body["links"]["next"], Value::Null);
        let mut text = answer.body["role_assignments"].to_string().replace(&format!("{}/v3", self.s.url), "");
        for (name, id) in [
            ("d", &self.d),
            ("e", &self.e),
            ("top", &self.top),
            ("mid", &self.mid),
            ("leaf", &self.leaf),
            ("far", &self.far),
            ("ann", &self.ann),
            ("ben", &self.ben),
            ("cid", &self.cid),
            ("g", &self.g),
            ("prior", &self.prior),
            ("next", &self.next),
        ] {
            text = text.replace(id, name);
        }
        let mut items: Vec<Value> = serde_json::from_str(&text).expect("items");
        items.sort_by_key(|i| (i["links"]["assignment"].to_string(), i.to_string()));
        items
    }

    #[track_caller]
    fn all(&self, query: &str) -> Vec<Value> {
        self.list(&self.admin, query)
    }
}

fn item(kind: &str, actor: &str, scope: Value, role: &str, link: &str) -> Value {
    json!({"scope": scope, kind: {"id": actor}, "role": {"id": role}, "links": {"assignment": link}})
}

/// With further links.
fn linked(mut item: Value, links: &[(&str, &str)]) -> Value {
    for (name, link) in links {
        item["links"][*name] = json!(link);
    }
    item
}

fn inherited(place: &str, id: &str) -> Value {
    json!({place: {"id": id}, "OS-INHERIT:inherited_to": "projects"})
}

#[test]
fn assignments_are_listed_as_stored() {
    let w = World::new();
    w.grant(&format!("/projects/{}/users/{}/roles/{}", w.top, w.ann, w.prior));
    w.grant(&format!("/domains/{}/groups/{}/roles/{}", w.d, w.g, w.next));
    w.grant(&format!("/OS-INHERIT/domains/{}/users/{}/roles/{}/inherited_to_projects", w.d, w.ann, w.next));
    w.grant(&format!(
        "/OS-INHERIT/projects/{}/groups/{}/roles/{}/inherited_to_projects",
        w.mid, w.g, w.prior
    ));
    w.grant(&format!("/system/users/{}/roles/{}", w.ann, w.next));
    w.grant(&format!("/projects/{}/users/{}/roles/{}", w.far, w.cid, w.next));
    let on_top = item(
        "user",
        "ann",
        json!({"project": {"id": "top"}}),
        "prior",
        "/projects/top/users/ann/roles/prior",
    );
    let by_group =
        item("group", "g", json!({"domain": {"id": "d"}}), "next", "/domains/d/groups/g/roles/next");
    let below_d = item(
        "user",
        "ann",
        inherited("domain", "d"),
        "next",
        "/OS-INHERIT/domains/d/users/ann/roles/next/inherited_to_projects",
    );
    let below_mid = item(
        "group",
        "g",
        inherited("project", "mid"),
        "prior",
        "/OS-INHERIT/projects/mid/groups/g/roles/prior/inherited_to_projects",
    );
    let system =
        item("user", "ann", json!({"system": {"all": true}}), "next", "/system/users/ann/roles/next");
    let far =
        item("user", "cid", json!({"project": {"id": "far"}}), "next", "/projects/far/users/cid/roles/next");
    let (d, top, mid) = (&w.d, &w.top, &w.mid);
    for (query, wanted) in [
        (format!("user.id={}", w.ann), vec![&below_d, &on_top, &system]),
        (format!("group.id={}", w.g), vec![&below_mid, &by_group]),
        (format!("role.id={}", w.next), vec![&below_d, &by_group, &far, &system]),
        (format!("scope.domain.id={d}"), vec![&below_d, &by_group]),
        (format!("scope.project.id={top}"), vec![&on_top]),
        (format!("scope.project.id={top}&include_subtree"), vec![&below_mid, &on_top]),
        (format!("scope.project.id={mid}&include_subtree"), vec![&below_mid]),
        (format!("scope.system=all&role.id={}", w.next), vec![&system]),
        (format!("scope.OS-INHERIT:inherited_to=projects&scope.domain.id={d}"), vec![&below_d]),
        (format!("scope.OS-INHERIT:inherited_to=none&scope.domain.id={d}"), vec![&by_group]),
        (format!("user.id={}&role.id={}", w.ann, w.prior), vec![&on_top]),
        (format!("user.id={}&limit=1", w.ann), vec![&below_d, &on_top, &system]),
        ("user.id=unknown".to_owned(), vec![]),
        ("scope.project.id=unknown".to_owned(), vec![]),
    ] {
        assert_eq!(w.all(&query).iter().collect::<Vec<_>>(), wanted, "{query}");
    }
    // Nothing is lost without filters: the administrator's own two are there too.
    assert_eq!(w.all("").len(), 8);
    let named = w.all(&format!("include_names&scope.domain.id={d}"));
    assert_eq!(
        named[1],
        json!({
            "scope": {"domain": {"id": "d", "name": "d"}},
            "group": {"id": "g", "name": "g", "domain": {"id": "d", "name": "d"}},
            "role": {"id": "next", "name": "next"},
            "links": {"assignment": "/domains/d/groups/g/roles/next"},
        })
    );
    let named = w.all(&format!("include_names&scope.project.id={top}"));
    assert_eq!(
        named[0]["scope"]["project"],
        json!({"id": "top", "name": "top", "domain": {"id": "d", "name": "d"}})
    );
    assert_eq!(named[0]["user"], json!({"id": "ann", "name": "ann", "domain": {"id": "d", "name": "d"}}));
}

#[test]
fn effective_assignments_resolve_groups_inheritance_and_implications() {
    let w = World::new();
    w.grant(&format!(
        "/OS-INHERIT/projects/{}/groups/{}/roles/{}/inherited_to_projects",
        w.top, w.g, w.prior
    ));
    w.grant(&format!("/domains/{}/users/{}/roles/{}", w.d, w.ben, w.next));
    w.grant(&format!("/system/groups/{}/roles/{}", w.g, w.prior));
    let link = "/OS-INHERIT/projects/top/groups/g/roles/prior/inherited_to_projects";
    let held = |user: &str, project: &str| {
        let member = format!("/groups/g/users/{user}");
        let prior = item("user", user, inherited("project", project), "prior", link);
        let next = item("user", user, inherited("project", project), "next", link);
        [
            linked(prior, &[("membership", &member)]),
            linked(next, &[("membership", &member), ("prior_role", "/prior_role/next/implies/prior")]),
        ]
    };
    let sorted = |sets: &[[Value; 2]]| {
        let mut all = sets.concat();
        all.sort_by_key(|i| (i["links"]["assignment"].to_string(), i.to_string()));
        all
    };
    let (ann, ben) = (&w.ann, &w.ben);
    let of_ann = sorted(&[held("ann", "mid"), held("ann", "leaf")]);
    assert_eq!(w.all(&format!("effective&user.id={ann}")), of_ann);
    let leaf = sorted(&[held("ann", "leaf"), held("ben", "leaf")]);
    assert_eq!(w.all(&format!("effective&scope.project.id={}", w.leaf)), leaf);
    assert!(w.all(&format!("effective&scope.project.id={}", w.top)).is_empty());
    let tree = sorted(&[held("ann", "mid"), held("ann", "leaf"), held("ben", "mid"), held("ben", "leaf")]);
    assert_eq!(w.all(&format!("effective&scope.project.id={}&include_subtree", w.top)), tree);
    assert_eq!(w.all(&format!("effective&scope.project.id={}&include_subtree", w.mid)), tree);
    // A wanted role may follow from another.
    let next = w.all(&format!("effective&scope.project.id={}&user.id={ben}&role.id={}", w.leaf, w.next));
    assert_eq!(next, [held("ben", "leaf")[1].clone()]);
    let direct =
        item("user", "ben", json!({"domain": {"id": "d"}}), "next", "/domains/d/users/ben/roles/next");
    assert_eq!(w.all(&format!("effective&scope.domain.id={}", w.d)), [direct]);
    // The inherited only; the direct only.
    let of_ben = format!("effective&user.id={ben}&scope.OS-INHERIT:inherited_to");
    assert_eq!(w.all(&format!("{of_ben}=projects")).len(), 4);
    assert_eq!(w.all(&format!("{of_ben}=none")).len(), 1);
    // On the system, when it is asked for.
    let system = w.all(&format!("effective&scope.system=all&user.id={ann}"));
    assert_eq!(system.len(), 2);
    assert_eq!(system[0]["links"]["assignment"], "/system/groups/g/roles/prior");
    assert_eq!(system[0]["links"]["membership"], "/groups/g/users/ann");
}

#[test]
fn roles_of_domains_imply_but_are_not_effective_themselves() {
    let w = World::new();
    let made =
        w.s.post(&w.admin, "/v3/roles", json!({"role": {"name": "own", "domain_id": w.d}})).expect(201);
    let own = made.body["role"]["id"].as_str().expect("an id");
    w.s.put(&w.admin, &format!("/v3/roles/{own}/implies/{}", w.next)).expect(201);
    w.grant(&format!("/projects/{}/users/{}/roles/{own}", w.top, w.ann));
    let stored = w.all(&format!("include_names&user.id={}", w.ann));
    assert_eq!(stored[0]["role"], json!({"id": own, "name": "own", "domain": {"id": "d", "name": "d"}}));
    let effective = w.all(&format!("effective&user.id={}", w.ann));
    assert_eq!(effective.len(), 1);
    assert_eq!(effective[0]["role"]["id"], "next");
    assert_eq!(effective[0]["links"]["assignment"], format!("/projects/top/users/ann/roles/{own}"));
}

#[test]
fn filters_that_contradict_each_other_are_refused() {
    let w = World::new();
    for query in [
        "include_subtree",
        "user.id=a&group.id=b",
        "scope.project.id=a&scope.domain.id=b",
        "scope.project.id=a&scope.system=all",
        "scope.domain.id=a&scope.system=all",
        "effective&group.id=a",
        "effective&scope.domain.id=a&scope.OS-INHERIT:inherited_to=projects",
        "scope.project.id=",
        "group.id=",
        "role.id=a_b",
    ] {
        w.s.get(&w.admin, &format!("/v3/role_assignments?{query}")).expect(400);
    }
    for query in [
        "effective&user.id=unknown",
        "effective&scope.project.id=unknown",
        "include_subtree&scope.project.id=unknown",
    ] {
        w.s.get(&w.admin, &format!("/v3/role_assignments?{query}")).expect(404);
    }
}

#[test]
fn a_domain_sees_its_own_assignments_only() {
    let w = World::new();
    w.grant(&format!("/projects/{}/users/{}/roles/{}", w.leaf, w.cid, w.next));
    w.grant(&format!("/domains/{}/users/{}/roles/{}", w.d, w.cid, w.next));
    w.grant(&format!("/projects/{}/users/{}/roles/{}", w.far, w.cid, w.next));
    w.grant(&format!("/domains/{}/users/{}/roles/{}", w.e, w.cid, w.next));
    w.grant(&format!("/system/users/{}/roles/{}", w.cid, w.next));
    let query = format!("user.id={}", w.cid);
    let on = |role: &str, scope: Value| w.s.persona(role, &w.d, scope);
    let (reader, admin) = (on("reader", on_domain(&w.d)), on("admin", on_domain(&w.d)));
    for token in [&reader, &admin] {
        let seen = w.list(token, &query);
        let links: Vec<&str> =
            seen.iter().map(|i| i["links"]["assignment"].as_str().expect("a link")).collect();
        assert_eq!(links, ["/domains/d/users/cid/roles/next", "/projects/leaf/users/cid/roles/next"]);
        assert_eq!(w.list(token, &format!("scope.domain.id={}", w.e)).len(), 0);
    }
    // Whoever holds them: by a group and inherited too, and a role on the project that is the domain is not shown.
    w.grant(&format!("/OS-INHERIT/domains/{}/groups/{}/roles/{}/inherited_to_projects", w.d, w.g, w.prior));
    w.grant(&format!("/OS-INHERIT/domains/{}/users/{}/roles/{}/inherited_to_projects", w.e, w.cid, w.prior));
    w.grant(&format!(
        "/OS-INHERIT/projects/{}/users/{}/roles/{}/inherited_to_projects",
        w.mid, w.ben, w.next
    ));
    w.s.assign("UserProject", &w.cid, &w.d, &w.next, false);
    let roles = format!("role.id={}", w.next);
    let links = |token: &str, query: &str| -> Vec<String> {
        let seen = w.list(token, query);
        seen.iter().map(|i| i["links"]["assignment"].as_str().expect("a link").to_owned()).collect()
    };
    for token in [&reader, &admin] {
        assert_eq!(
            links(token, &roles),
            [
                "/OS-INHERIT/projects/mid/users/ben/roles/next/inherited_to_projects",
                "/domains/d/users/cid/roles/next",
                "/projects/leaf/users/cid/roles/next",
            ]
        );
        let on_group = "/OS-INHERIT/domains/d/groups/g/roles/prior/inherited_to_projects";
        let below = "/OS-INHERIT/projects/mid/users/ben/roles/next/inherited_to_projects";
        let mut wanted = vec![on_group; 6];
        wanted.extend([below, "/domains/d/users/cid/roles/next", "/projects/leaf/users/cid/roles/next"]);
        assert_eq!(links(token, &format!("effective&{roles}")), wanted);
    }
    for token in [&on("reader", on_system()), &on("admin", on_project(&w.top))] {
        assert_eq!(w.list(token, &query).len(), 7);
    }
    let status = |token: &str, query: &str| w.s.get(token, &format!("/v3/role_assignments?{query}")).status;
    let nobody = on("manager", on_project(&w.top));
    assert_eq!(status(&nobody, &query), 403);
    // Trees: of a project in the own domain.
    let tree = |project: &str| format!("include_subtree&scope.project.id={project}");
    for (token, own, other, none) in [
        (&reader, 200, 403, 403),
        (&admin, 200, 200, 404),
        (&on("reader", on_system()), 200, 200, 404),
        (&nobody, 403, 403, 403),
    ] {
        assert_eq!(status(token, &tree(&w.top)), own);
        assert_eq!(status(token, &tree(&w.far)), other);
        assert_eq!(status(token, &tree("unknown")), none);
    }
    w.s.call("GET", "/v3/role_assignments?include_subtree", &[], None).expect(401);
}
