//! Endpoints that are named for projects, one by one or in groups, and what tokens show of them.

use serde_json::{Value, json};
use vicar::args;

use crate::support::{Answer, Server, count, domain, id, ids, on_domain, on_project, persona};

const GROUPS: &str = "/v3/OS-EP-FILTER/endpoint_groups";

/// A service with an endpoint for the public and an internal one in region `r`; a project `p` and somebody there.
struct Cloud {
    s: Server,
    admin: String,
    service: String,
    public: String,
    internal: String,
    p: String,
    somebody: String,
}

impl Cloud {
    fn new() -> Self {
        Self::with("")
    }

    fn with(ini: &str) -> Self {
        let s = Server::with(ini);
        let admin = s.admin();
        s.post(&admin, "/v3/regions", json!({"region": {"id": "r"}})).expect(201);
        let service = json!({"service": {"type": "compute", "name": "nova"}});
        let service = id(&s.post(&admin, "/v3/services", service).expect(201), "service");
        let endpoint = |interface: &str, region: Value| {
            let body = json!({"interface": interface, "service_id": service, "region_id": region, "url": "http://h"});
            id(&s.post(&admin, "/v3/endpoints", json!({"endpoint": body})).expect(201), "endpoint")
        };
        let (public, internal) = (endpoint("public", Value::Null), endpoint("internal", json!("r")));
        let p = s.project("p");
        let somebody = on_project(&s, "somebody", "member", &p);
        Self { s, admin, service, public, internal, p, somebody }
    }

    fn get(&self, path: &str) -> Answer {
        self.s.get(&self.admin, path)
    }

    fn put(&self, path: &str) -> Answer {
        self.s.put(&self.admin, path)
    }

    fn delete(&self, path: &str) -> Answer {
        self.s.delete(&self.admin, path)
    }

    fn post(&self, body: Value) -> Answer {
        self.s.post(&self.admin, GROUPS, json!({"endpoint_group": body}))
    }

    /// A new group.
    #[track_caller]
    fn group(&self, filters: Value) -> String {
        id(&self.post(json!({"name": "g", "filters": filters})).expect(201), "endpoint_group")
    }

    /// The path of what names an endpoint for a project.
    fn named(&self, endpoint: &str) -> String {
        format!("/v3/OS-EP-FILTER/projects/{}/endpoints/{endpoint}", self.p)
    }

    /// The same of a group.
    fn named_group(&self, group: &str) -> String {
        format!("{GROUPS}/{group}/projects/{}", self.p)
    }

    #[track_caller]
    fn list(&self, path: &str, name: &str) -> Vec<String> {
        ids(&self.get(&format!("/v3/OS-EP-FILTER/{path}")).expect(200), name)
    }

    /// The endpoints in the catalog of somebody on the project, sorted; the same wherever they look.
    #[track_caller]
    fn seen(&self) -> Vec<String> {
        let catalog = self.catalog(&self.somebody);
        let new = self.s.login("somebody", "pw", json!({"project": {"id": self.p}})).expect(201).token();
        for other in [&self.s.validate(&self.somebody).body["token"], &self.s.validate(&new).body["token"]] {
            assert_eq!(other["catalog"], catalog);
        }
        let mut seen: Vec<String> = catalog
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|s| s["endpoints"].as_array().into_iter().flatten())
            .filter_map(|e| e["id"].as_str().map(str::to_owned))
            .collect();
        seen.sort();
        seen
    }

    fn catalog(&self, token: &str) -> Value {
        self.s.get(token, "/v3/auth/catalog").expect(200).body["catalog"].clone()
    }

    fn both(&self) -> Vec<String> {
        let mut both = vec![self.public.clone(), self.internal.clone()];
        both.sort();
        both
    }
}

#[test]
fn a_group_is_made_shown_changed_and_deleted() {
    let c = Cloud::new();
    let made = c.post(json!({"name": "g", "filters": {"interface": "public"}})).expect(201);
    let of = id(&made, "endpoint_group");
    let path = format!("{GROUPS}/{of}");
    let mut golden = json!({
        "id": of, "name": "g", "description": null, "filters": {"interface": "public"},
        "links": {"self": format!("{}{path}", c.s.url)},
    });
    assert_eq!(made.body["endpoint_group"], golden);
    assert_eq!(c.get(&path).expect(200).body["endpoint_group"], golden);
    let patch = |body: Value| c.s.patch(&c.admin, &path, json!({"endpoint_group": body}));
    let changed = patch(json!({"name": "h", "description": "d", "filters": {"region_id": null}})).expect(200);
    (golden["name"], golden["description"]) = (json!("h"), json!("d"));
    golden["filters"] = json!({"region_id": null});
    assert_eq!(changed.body["endpoint_group"], golden);
    assert_eq!(patch(json!({"filters": {}})).expect(200).body["endpoint_group"]["filters"], json!({}));
    for bad in [
        json!({}),
        json!({"id": of}),
        json!({"more": 1}),
        json!({"name": ""}),
        json!({"name": null}),
        json!({"name": "x".repeat(256)}),
        json!({"description": 1}),
        json!({"filters": {"url": "http://h"}}),
        json!({"filters": {"enabled": true}}),
        json!({"filters": {"interface": "other"}}),
        json!({"filters": {"interface": null}}),
        json!({"filters": {"service_id": null}}),
        json!({"filters": {"region_id": 1}}),
        json!({"filters": null}),
        json!({"filters": []}),
    ] {
        patch(bad.clone()).expect(400);
        let mut new = json!({"name": "g", "filters": {"interface": "public"}});
        for (name, value) in bad.as_object().expect("an object") {
            new[name] = value.clone();
        }
        if bad != json!({}) {
            c.post(new).expect(400);
        }
    }
    c.post(json!({"name": "g"})).expect(400);
    c.post(json!({"filters": {"interface": "public"}})).expect(400);
    c.post(json!({"name": "g", "filters": {}})).expect(400);
    let other = c.group(json!({"service_id": "nowhere"}));
    assert_eq!(c.list("endpoint_groups?name=g", "endpoint_groups"), [other]);
    assert_eq!(c.list("endpoint_groups", "endpoint_groups").len(), 2);
    c.get(&format!("{GROUPS}?name=")).expect(400);
    c.s.patch(&c.admin, &format!("{GROUPS}/nope"), json!({"endpoint_group": {"name": "x"}})).expect(404);
    c.delete(&path).expect(204);
    c.delete(&path).expect(404);
    c.get(&path).expect(404);
}

#[test]
fn an_endpoint_is_named_for_a_project() {
    let c = Cloud::new();
    let path = c.named(&c.public);
    c.get(&path).expect(404);
    c.delete(&path).expect(404);
    c.put(&path).expect(204);
    c.put(&path).expect(409);
    c.get(&path).expect(204);
    c.s.head(&c.admin, &path).expect(204);
    assert_eq!(c.list(&format!("projects/{}/endpoints", c.p), "endpoints"), [c.public.as_str()]);
    let projects = c.get(&format!("/v3/OS-EP-FILTER/endpoints/{}/projects", c.public)).expect(200);
    let project = c.get(&format!("/v3/projects/{}", c.p)).expect(200).body["project"].clone();
    assert_eq!(projects.body["projects"], json!([project]));
    assert_eq!(c.list(&format!("endpoints/{}/projects", c.internal), "projects"), Vec::<String>::new());
    // A domain is a project too.
    c.put(&format!("/v3/OS-EP-FILTER/projects/default/endpoints/{}", c.public)).expect(204);
    assert_eq!(c.list(&format!("endpoints/{}/projects", c.public), "projects").len(), 2);
    assert_eq!(c.list(&format!("endpoints/{}/projects?limit=1", c.public), "projects").len(), 1);
    c.delete(&path).expect(204);
    c.get(&path).expect(404);
    let nowhere = c.named("nope");
    let of_nobody = format!("/v3/OS-EP-FILTER/projects/nope/endpoints/{}", c.public);
    for path in [&nowhere, &of_nobody] {
        c.get(path).expect(404);
        c.put(path).expect(404);
        c.delete(path).expect(404);
    }
    for path in ["endpoints/nope/projects", "projects/nope/endpoints", "projects/nope/endpoint_groups"] {
        c.get(&format!("/v3/OS-EP-FILTER/{path}")).expect(404);
    }
    // What an endpoint of another time left behind is removed by its name.
    c.s.sql_run("INSERT INTO project_endpoint (endpoint_id, project_id) VALUES ('gone', ?)", args![&c.p]);
    assert_eq!(c.list(&format!("projects/{}/endpoints", c.p), "endpoints"), Vec::<String>::new());
    assert_eq!(c.seen().len(), 5, "no endpoint is named");
    c.delete(&c.named("gone")).expect(204);
}

#[test]
fn a_group_is_named_for_a_project() {
    let c = Cloud::new();
    let group = c.group(json!({"interface": "internal", "service_id": c.service, "region_id": "r"}));
    let path = c.named_group(&group);
    c.get(&path).expect(404);
    c.delete(&path).expect(404);
    c.put(&path).expect(204);
    c.put(&path).expect(409);
    let shown = json!({
        "endpoint_group_id": group, "project_id": c.p, "links": {"self": format!("{}{path}", c.s.url)},
    });
    assert_eq!(c.get(&path).expect(200).body, json!({"project_endpoint_group": shown}));
    c.s.head(&c.admin, &path).expect(200);
    assert_eq!(c.list(&format!("endpoint_groups/{group}/projects"), "projects"), [c.p.as_str()]);
    assert_eq!(c.list(&format!("endpoint_groups/{group}/endpoints"), "endpoints"), [c.internal.as_str()]);
    let groups = c.get(&format!("/v3/OS-EP-FILTER/projects/{}/endpoint_groups", c.p)).expect(200);
    let one = c.get(&format!("{GROUPS}/{group}")).expect(200).body["endpoint_group"].clone();
    assert_eq!(groups.body["endpoint_groups"], json!([one]));
    let endpoints = c.get(&format!("/v3/OS-EP-FILTER/projects/{}/endpoints", c.p)).expect(200);
    let endpoint = c.get(&format!("/v3/endpoints/{}", c.internal)).expect(200).body["endpoint"].clone();
    assert_eq!(endpoints.body["endpoints"], json!([endpoint]));
    // Named twice, by whatever way, it is one.
    c.put(&c.named(&c.internal)).expect(204);
    c.put(&c.named(&c.public)).expect(204);
    assert_eq!(c.list(&format!("projects/{}/endpoints", c.p), "endpoints"), c.both());
    for path in [format!("{GROUPS}/nope/projects/{}", c.p), format!("{GROUPS}/{group}/projects/nope")] {
        c.get(&path).expect(404);
        c.put(&path).expect(404);
        c.delete(&path).expect(404);
    }
    c.get(&format!("{GROUPS}/nope/endpoints")).expect(404);
    // As in Keystone.
    assert_eq!(c.list("endpoint_groups/nope/projects", "projects"), Vec::<String>::new());
    c.delete(&path).expect(204);
    c.get(&path).expect(404);
    // Without filters it is everything.
    c.s.patch(&c.admin, &format!("{GROUPS}/{group}"), json!({"endpoint_group": {"filters": {}}})).expect(200);
    assert_eq!(c.list(&format!("endpoint_groups/{group}/endpoints"), "endpoints").len(), 5);
    let nowhere = c.group(json!({"region_id": null, "service_id": c.service}));
    assert_eq!(c.list(&format!("endpoint_groups/{nowhere}/endpoints"), "endpoints"), [c.public.as_str()]);
}

#[test]
fn a_catalog_shows_what_is_named() {
    let c = Cloud::new();
    let whole = c.seen();
    assert_eq!(whole.len(), 5);
    c.put(&c.named(&c.public)).expect(204);
    assert_eq!(c.seen(), [c.public.as_str()]);
    let catalog = c.catalog(&c.somebody);
    assert_eq!(catalog.as_array().map(Vec::len), Some(1), "services without endpoints are left out");
    let group = c.group(json!({"interface": "internal", "service_id": c.service}));
    c.put(&c.named_group(&group)).expect(204);
    assert_eq!(c.seen(), c.both());
    c.delete(&c.named(&c.public)).expect(204);
    assert_eq!(c.seen(), [c.internal.as_str()]);
    // The group follows its filters, and endpoints what they are.
    let path = format!("{GROUPS}/{group}");
    let filters =
        |f: Value| c.s.patch(&c.admin, &path, json!({"endpoint_group": {"filters": f}})).expect(200);
    filters(json!({"region_id": null}));
    assert_eq!(c.seen(), [c.public.as_str()]);
    filters(json!({"region_id": "r"}));
    assert_eq!(c.seen(), [c.internal.as_str()]);
    let endpoint = format!("/v3/endpoints/{}", c.internal);
    c.s.patch(&c.admin, &endpoint, json!({"endpoint": {"region_id": null}})).expect(200);
    assert_eq!(c.seen(), whole, "no endpoint is named any more");
    filters(json!({}));
    assert_eq!(c.seen(), whole);
    // Others see all the while what they saw.
    assert_eq!(c.catalog(&c.admin).as_array().map(Vec::len), Some(2));
    c.delete(&path).expect(204);
    assert_eq!(c.seen(), whole);
}

/// An endpoint that is not enabled is named all the same: what is left is nothing, and not everything.
#[test]
fn who_is_given_only_what_is_switched_off_sees_nothing() {
    let c = Cloud::new();
    let off = |endpoint: &str| {
        let body = json!({"endpoint": {"enabled": false}});
        c.s.patch(&c.admin, &format!("/v3/endpoints/{endpoint}"), body).expect(200);
    };
    let group = c.group(json!({"interface": "internal", "service_id": c.service}));
    c.put(&c.named_group(&group)).expect(204);
    assert_eq!(c.seen(), [c.internal.as_str()]);
    off(&c.internal);
    assert_eq!(c.catalog(&c.somebody), json!([]));
    c.put(&c.named(&c.public)).expect(204);
    assert_eq!(c.seen(), [c.public.as_str()]);
    off(&c.public);
    assert_eq!(c.catalog(&c.somebody), json!([]));
    c.delete(&c.named_group(&group)).expect(204);
    assert_eq!(c.catalog(&c.somebody), json!([]));
    c.delete(&c.named(&c.public)).expect(204);
    assert_eq!(c.seen().len(), 3);
}

#[test]
fn without_a_name_there_is_everything_or_nothing() {
    for (says, all) in [("true", true), ("false", false)] {
        let c = Cloud::with(&format!("[endpoint_filter]\nreturn_all_endpoints_if_no_filter = {says}\n"));
        domain(&c.s, "d");
        let of_domain = on_domain(&c.s, "a", "admin", "d");
        let (_, of_system) = persona(&c.s, "b", "admin", "system");
        for who in [&of_domain, &of_system, &c.somebody] {
            let catalog = c.catalog(who);
            assert_eq!(catalog.as_array().map(|c| !c.is_empty()), Some(all), "{says}");
            assert_eq!(c.s.validate(who).body["token"]["catalog"], catalog);
        }
        c.put(&c.named(&c.public)).expect(204);
        assert_eq!(c.seen(), [c.public.as_str()], "{says}");
        // A group that nothing is in names nothing.
        c.delete(&c.named(&c.public)).expect(204);
        c.put(&c.named_group(&c.group(json!({"service_id": "nowhere"})))).expect(204);
        assert_eq!(c.seen().is_empty(), !all, "{says}");
    }
}

#[test]
fn names_go_with_what_they_name() {
    let c = Cloud::new();
    let left = || {
        let rows = |table: &str| count(&c.s, &format!("SELECT project_id FROM {table}"), &[]);
        (rows("project_endpoint"), rows("project_endpoint_group"))
    };
    let group = c.group(json!({"interface": "internal"}));
    c.put(&c.named_group(&group)).expect(204);
    c.delete(&format!("{GROUPS}/{group}")).expect(204);
    assert_eq!(left(), (0, 0));
    c.put(&c.named(&c.public)).expect(204);
    c.delete(&format!("/v3/endpoints/{}", c.public)).expect(204);
    assert_eq!(left(), (0, 0));
    c.put(&c.named(&c.internal)).expect(204);
    c.delete(&format!("/v3/services/{}", c.service)).expect(204);
    assert_eq!(left(), (0, 0));
    assert_eq!(c.seen().len(), 3, "all that are left");

    // A project, and a domain with the projects in it.
    domain(&c.s, "d");
    let inner = c.s.project_below("inner", "d", None);
    let group = c.group(json!({"interface": "public"}));
    let endpoint = c.list(&format!("endpoint_groups/{group}/endpoints"), "endpoints").remove(0);
    for project in [&c.p, &inner, "d"] {
        c.put(&format!("/v3/OS-EP-FILTER/projects/{project}/endpoints/{endpoint}")).expect(204);
        c.put(&format!("{GROUPS}/{group}/projects/{project}")).expect(204);
    }
    assert_eq!(left(), (3, 3));
    c.delete(&format!("/v3/projects/{}", c.p)).expect(204);
    assert_eq!(left(), (2, 2));
    c.s.patch(&c.admin, "/v3/domains/d", json!({"domain": {"enabled": false}})).expect(200);
    c.delete("/v3/domains/d").expect(204);
    assert_eq!(left(), (0, 0));
    assert_eq!(c.list(&format!("endpoint_groups/{group}/projects"), "projects"), Vec::<String>::new());
}

#[test]
fn administrators_name_and_readers_of_the_system_look() {
    let c = Cloud::new();
    domain(&c.s, "d");
    let manager = on_project(&c.s, "m", "manager", &c.p);
    let of_domain = on_domain(&c.s, "a", "admin", "d");
    let (_, reader) = persona(&c.s, "reader", "reader", "system");
    let group = c.group(json!({"interface": "public"}));
    c.put(&c.named(&c.public)).expect(204);
    c.put(&c.named_group(&group)).expect(204);
    let to_read = [
        GROUPS.to_owned(),
        format!("{GROUPS}/{group}"),
        format!("{GROUPS}/{group}/endpoints"),
        format!("{GROUPS}/{group}/projects"),
        c.named_group(&group),
        format!("/v3/OS-EP-FILTER/projects/{}/endpoint_groups", c.p),
        format!("/v3/OS-EP-FILTER/projects/{}/endpoints", c.p),
        c.named(&c.public),
        format!("/v3/OS-EP-FILTER/endpoints/{}/projects", c.public),
    ];
    for path in &to_read {
        assert!(c.s.get(&reader, path).status < 300, "{path}");
        assert!(c.s.head(&reader, path).status < 300, "{path}");
        for who in [&manager, &of_domain] {
            c.s.get(who, path).expect(403);
            // Nobody is told whether it is there.
            for id in [&group, &c.p, &c.public] {
                c.s.get(who, &path.replace(id.as_str(), "nope")).expect(403);
            }
        }
    }
    let body = json!({"endpoint_group": {"name": "x", "filters": {"interface": "public"}}});
    for who in [&manager, &of_domain, &reader] {
        c.s.post(who, GROUPS, body.clone()).expect(403);
        for path in [format!("{GROUPS}/{group}"), format!("{GROUPS}/nope")] {
            c.s.patch(who, &path, body.clone()).expect(403);
            c.s.delete(who, &path).expect(403);
        }
        for path in [c.named(&c.internal), c.named("nope"), c.named_group(&group), c.named_group("nope")] {
            c.s.put(who, &path).expect(403);
            c.s.delete(who, &path).expect(403);
        }
    }
    assert_eq!(c.list(&format!("projects/{}/endpoint_groups", c.p), "endpoint_groups"), [group]);
}

/// More than is read at once.
#[test]
fn projects_of_an_endpoint_come_in_pages() {
    let c = Cloud::new();
    let many = 450;
    let mut expected: Vec<String> = (0..many).map(|n| format!("{n:032x}")).collect();
    for id in &expected {
        c.s.sql_run(
            "INSERT INTO project (id, name, domain_id, parent_id, enabled, is_domain) VALUES (?, ?, 'default', 'default', ?, ?)",
            args![id, id, true, false],
        );
        c.s.sql_run(
            "INSERT INTO project_endpoint (endpoint_id, project_id) VALUES (?, ?)",
            args![&c.public, id],
        );
    }
    let path = format!("endpoints/{}/projects", c.public);
    assert_eq!(c.list(&path, "projects"), expected);
    let (mut found, mut next) = (Vec::new(), Some(format!("{}/v3/OS-EP-FILTER/{path}?limit=200", c.s.url)));
    while let Some(link) = next {
        let page = c.get(link.strip_prefix(&c.s.url).expect("a link to this server")).expect(200);
        found.extend(ids(&page, "projects"));
        next = page.body["links"]["next"].as_str().map(str::to_owned);
    }
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn what_there_was_with_pki_tokens_is_gone() {
    for (ini, status) in [("", 403), ("[token]\nrevoke_by_id = false\n", 410)] {
        let s = Server::with(ini);
        // Nobody is asked who they are.
        for token in ["", "gAAAA", &s.admin()] {
            let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("X-Auth-Token", token)] };
            for (path, status) in [
                ("/v3/OS-SIMPLE-CERT/ca", 410),
                ("/v3/OS-SIMPLE-CERT/certificates", 410),
                ("/v3/auth/tokens/OS-PKI/revoked", status),
            ] {
                let answer = s.call("GET", path, headers, None).expect(status);
                assert_eq!(answer.body["error"]["code"], status);
                s.call("HEAD", path, headers, None).expect(status);
                s.call("POST", path, headers, Some(b"{}")).expect(405);
            }
        }
    }
}
